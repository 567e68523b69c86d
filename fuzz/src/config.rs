//! A configuration is refused in one line that a person can use, or keeps every bound that its module states; nothing panics.
//!
//! Input: which binary (1), then YAML and behind each byte 1 an override `SECTION__KEY=value`.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use service::config::{ConfigError, Document, Invalid};

use super::mutate::{self, Bytes};
use super::support::rng::Rng;

const EDGE: &str = "name: eu-1\ndata_dir: /d\nlabels: { region: eu-west-1 }\nreceive: { grpc: 0.0.0.0:4317, http: 0.0.0.0:4318, \
    max_request: 16MiB, memory: 256MiB, wait: 500ms }\nidentity: { default_tenant: acme, tokens: [ { sha256: abc, tenant: acme } ] }\n\
    tenants: { acme: { class: high } }\nbatch: { rows: 10000, raw: 4MiB, age: 5s, open: 64MiB, workers: 2 }\n\
    inbox: { budget: 1GiB, commit_wait: 2ms, recent: 65536 }\nspool: { budget: 8GiB, segment: 64MiB, rejected: 256MiB }\n\
    ship: { endpoints: [ \"r:4433\" ], link_cap: 10Mbit/s, tls: { ca: c, cert: e, key: k }, in_flight: 64, backoff: { min: 100ms, max: 10s } }\n\
    admin: { listen: 127.0.0.1:9464 }\ndrain: 20s\nlog_json: false\n";
const ROUTER: &str = "data_dir: /d\nlisten: 0.0.0.0:4400\nadmin: { listen: 127.0.0.1:9400 }\ntls: { ca: c, cert: e, key: k }\nedges: e.yaml\n\
    max_batch: 8MiB\nconnections: 64\nmemory: 1GiB\njournal: { budget: 16GiB, segment: 64MiB }\ntenants: { acme: { rate: 1MiB/s, burst: 8MiB } }\n\
    default_rate: 10MiB/s\ntiers: { parquet: { local: { path: /p } } }\ndrain: 20s\n";
const AGENT: &str = "node: { name: worker-7 }\nedge: { endpoint: 'http://127.0.0.1:4317', token_file: /t, timeout: 10s }\ninterval: 5s\ndrain: 10s\n\
    admin: { listen: 127.0.0.1:9470 }\nprobes: { tcp_connect: auto, process: auto }\n\
    limits: { ring: 1MiB, series: 8MiB, records: 4MiB, queue: 16MiB }\n";

pub fn check(input: &[u8]) {
    let Some((&which, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let mut parts = text.split('\u{1}');
    let yaml = parts.next().unwrap_or_default();
    let variables = |prefix: &str| -> Vec<(OsString, OsString)> {
        let named = parts.clone().filter_map(|part| part.split_once('='));
        named.map(|(name, value)| (format!("{prefix}__{name}").into(), value.into())).collect()
    };
    let outcome = match which % 3 {
        0 => edge(yaml, variables(edge_gateway::config::ENV_PREFIX)),
        1 => router(yaml, variables(central_router::config::ENV_PREFIX)),
        _ => agent(yaml, variables(agent::config::ENV_PREFIX)),
    };
    if let Err(error) = outcome {
        let line = error.to_string();
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(line.len() < 8192 && !error.message().is_empty(), "{line:?}");
        assert!(line.starts_with("c.yaml") || line.starts_with("TRIBUTARY_"), "{line:?}");
    }
}

fn document(yaml: &str, prefix: &str, variables: Vec<(OsString, OsString)>) -> Result<Document, ConfigError> {
    Document::from_text(Path::new("c.yaml"), yaml, prefix, variables)
}

/// What a process adds to its clock.
fn can_be_waited(span: Duration) {
    assert!(span <= service::config::Span::MAX.0, "{span:?}");
}

fn edge(yaml: &str, variables: Vec<(OsString, OsString)>) -> Result<(), ConfigError> {
    let document = document(yaml, edge_gateway::config::ENV_PREFIX, variables)?;
    let config = edge_gateway::Config::from_raw(document.parse()?).map_err(|invalid: Invalid| document.error(invalid))?;
    assert!(config.labels.len() <= 32 && config.labels.iter().all(|(key, value)| key.len() <= 256 && value.len() <= 256));
    assert!((64 << 10..=64 << 20).contains(&config.receive.max_request_bytes));
    assert!(config.receive.memory_bytes / 4 >= config.receive.max_request_bytes && !config.receive.listeners.is_empty());
    let connections = &config.receive.connections;
    let bounds = [connections.handshake, connections.idle, connections.body, connections.answer, connections.keep_alive];
    assert!(bounds.iter().chain([&connections.max_age, &connections.grace]).all(|span| !span.is_zero()));
    assert!((1..=1_000_000).contains(&config.batch.rows) && !config.batch.age.is_zero());
    assert!((16 << 10..=64 << 20).contains(&config.batch.raw_bytes) && config.batch.open_bytes >= config.batch.raw_bytes);
    assert!((1..=64).contains(&config.workers) || config.workers <= std::thread::available_parallelism().map_or(2, usize::from));
    assert!(config.inbox.budget_bytes >= 16 << 20 && config.inbox.budget_bytes / 4 >= config.inbox.segment_bytes);
    assert!(config.inbox.commit_wait <= Duration::from_millis(2) && config.inbox.recent <= 1 << 20);
    assert!(config.spool.budget_bytes / 2 >= config.spool.segment_bytes && config.spool.segment_bytes >= 1 << 20);
    let ship = &config.ship;
    assert!(!ship.endpoints.is_empty() && (1..=4096).contains(&ship.in_flight));
    assert!(!ship.backoff_min.is_zero() && ship.backoff_min <= ship.backoff_max && ship.link_cap != Some(0));
    [config.batch.age, config.receive.wait, ship.backoff_max, config.drain].into_iter().for_each(can_be_waited);
    assert!(config.spool.segment_bytes <= 2 << 30, "the log of the spool refuses a segment of {} bytes", config.spool.segment_bytes);
    Ok(())
}

fn router(yaml: &str, variables: Vec<(OsString, OsString)>) -> Result<(), ConfigError> {
    let document = document(yaml, central_router::config::ENV_PREFIX, variables)?;
    let config = central_router::config::Config::check(document.parse()?).map_err(|invalid: Invalid| document.error(invalid))?;
    assert!((64 << 10..=256 << 20).contains(&config.max_batch) && (1..=10_000).contains(&config.connections));
    assert!(config.credit >= u64::from(config.max_batch) && config.credit.saturating_mul(config.connections.into()) <= config.memory);
    assert!(config.journal_segment <= 1 << 30 && config.journal_budget / 4 >= config.journal_segment);
    assert!((1..=16).contains(&config.tiers.len()));
    for ceiling in config.tenants.values().chain(&config.default_ceiling) {
        assert!(ceiling.rate >= 1024 && ceiling.burst >= u64::from(config.max_batch));
    }
    can_be_waited(config.drain);
    Ok(())
}

fn agent(yaml: &str, variables: Vec<(OsString, OsString)>) -> Result<(), ConfigError> {
    let config = agent::config::Config::from_document(&document(yaml, agent::config::ENV_PREFIX, variables)?)?;
    assert!(config.limits.ring.is_power_of_two() && config.limits.ring >= 4096);
    assert!((1 << 20..=4 << 30).contains(&config.limits.queue) && config.limits.series <= 1 << 30 && config.limits.records <= 1 << 30);
    assert!((Duration::from_millis(100)..=Duration::from_secs(300)).contains(&config.interval));
    assert!(config.node.is_none_or(|name| !name.trim().is_empty() && name.len() <= 255));
    can_be_waited(config.drain);
    Ok(())
}

/// The longest file of a binary, or a part of it.
pub fn fresh(rng: &mut Rng) -> Vec<u8> {
    let which = rng.below(3);
    let all = [EDGE, ROUTER, AGENT][which];
    let whole = rng.one_in(2);
    let mut text: String = all.split_inclusive('\n').filter(|_| whole || !rng.one_in(4)).collect();
    if rng.one_in(3) {
        text.push_str("\u{1}DRAIN=1m30s\u{1}ADMIN__LISTEN=[::1]:0");
    }
    [&[which as u8][..], text.as_bytes()].concat()
}

/// Exchanges lines or words.
pub fn change(input: &[u8], rng: &mut Rng, _: &mut Bytes<'_>) -> Option<Vec<u8>> {
    const VALUES: &[&str] = &[
        "0 ",
        "1 ",
        "-1 ",
        "18446744073709551615 ",
        "1e9 ",
        ".nan ",
        "null ",
        "true ",
        "\"\" ",
        "[] ",
        "{} ",
        "0s ",
        "36500d ",
        "1ns ",
        "16EiB ",
        "1B ",
        "2.5MiB ",
        "1bit/s ",
        "[::]:0 ",
        "&a ",
        "*a ",
        "<<: ",
        "\u{1}SHIP__ENDPOINTS__0=a:1",
    ];
    let (&which, text) = input.split_first()?;
    let ends: &[char] = if rng.one_in(3) { &['\n'] } else { &[' ', '\n', '\u{1}'] };
    let text = mutate::words(std::str::from_utf8(text).ok()?, ends, VALUES, rng)?;
    Some([&[which][..], text.as_bytes()].concat())
}
