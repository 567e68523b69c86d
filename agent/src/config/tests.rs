//! What may be written, and what is said about the rest.

use super::*;

fn read(text: &str) -> Result<Config, String> {
    let document = Document::from_text(Path::new("agent.yaml"), text, ENV_PREFIX, []).map_err(|error| error.to_string())?;
    Config::from_document(&document).map_err(|error| error.to_string())
}

/// An empty file is a whole configuration: the edge on this host, all probes where the kernel lets us.
#[test]
fn has_defaults() {
    let config = read("{}").unwrap();
    assert_eq!(config.edge.endpoint, "http://127.0.0.1:4317");
    assert_eq!(config.edge.token, Token::None);
    assert_eq!((config.probes.tcp_connect, config.probes.process), (Mode::Auto, Mode::Auto));
    assert_eq!((config.interval, config.drain), (Duration::from_secs(5), Duration::from_secs(10)));
    assert_eq!((config.limits.ring, config.limits.queue), (1 << 20, 16 << 20));
    assert_eq!(config.node, None);
}

/// Everything that the module's page shows can be written; `on` and `off` are words, not booleans.
#[test]
fn reads_everything() {
    let config = read(
        "node: { name: worker-7 }\n\
         edge: { endpoint: 'http://10.0.0.1:4317', token_file: /t, timeout: 3s }\n\
         interval: 1s\n\
         drain: 2s\n\
         admin: { listen: '127.0.0.1:1' }\n\
         probes: { tcp_connect: on, process: off }\n\
         limits: { ring: 64KiB, series: 1MiB, records: 1MiB, queue: 2MiB }\n",
    )
    .unwrap();
    assert_eq!((config.probes.tcp_connect, config.probes.process), (Mode::On, Mode::Off));
    assert_eq!(config.edge.token, Token::File("/t".into()));
    assert_eq!(config.limits.ring, 65_536);
    assert_eq!(config.node.as_deref(), Some("worker-7"));
}

/// What cannot be is one line with its place, key and remedy.
#[test]
fn refuses_with_a_place() {
    for (text, line) in [
        ("interval: 1ms", "agent.yaml:1:11: interval: 1ms is out of bounds: expected 100ms to 5m"),
        ("limits:\n  ring: 3MiB", "agent.yaml:2:9: limits.ring: must be a power of two, such as 2MiB or 4MiB"),
        ("limits: { queue: 1KiB }", "limits.queue: 1KiB is out of bounds: expected 1MiB to 4GiB"),
        ("edge: { endpoint: 'https://e:1' }", "edge.endpoint: https:// needs edge.ca_file"),
        ("edge: { endpoint: '127.0.0.1:4317' }", "edge.endpoint: invalid value \"127.0.0.1:4317\": expected http://HOST:PORT"),
        ("edge: { endpoint: 'http://e:1/v1/metrics' }", "edge.endpoint: invalid value"),
        ("edge: { token: a, token_file: b }", "edge.token: is set beside edge.token_file"),
        ("node: { name: '' }", "node.name: must have 1 to 255 bytes"),
        ("probes: { tcp_conect: on }", "tcp_conect"),
        ("probes: { process: maybe }", "probes.process"),
    ] {
        let said = read(text).unwrap_err();
        assert!(said.starts_with("agent.yaml:") && said.contains(line) && !said.contains('\n'), "{text}: {said}");
    }
}

/// A token is not printed with the configuration.
#[test]
fn hides_the_token() {
    let config = read("edge: { token: s3cret }").unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
}
