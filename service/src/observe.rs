//! What a process says about itself: logs on stderr, metrics in one recorder per process.
//!
//! Both are installed once. A process may run several parts (the demo does), so installing again
//! is harmless and gives the same recorder.
//!
//! Bounds: samples of histograms and summaries are folded into buckets every 5 s by a
//! thread of its own, whether or not anybody scrapes; without it they would pile up. The number of
//! series is up to who declares them: labels come from enums and configuration, never from input.

mod process;

pub(crate) use process::describe_metrics;

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// The environment variable with the log filter, for example `info,edge_gateway=debug`.
pub const LOG_VARIABLE: &str = "TRIBUTARY_LOG";

/// How often samples are folded into buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Upper bounds in seconds for every metric whose name ends in `_seconds`: 100 µs to 60 s.
const SECONDS: [f64; 18] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Upper bounds for every metric whose name ends in `_bytes`: 256 B to 64 MiB by factors of four.
const BYTES: [f64; 10] = [256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

/// Starts logging to stderr, as text or as one JSON object per line.
///
/// The filter is [`LOG_VARIABLE`], `info` if it is not set. A filter that does not parse is
/// reported and `info` is used: a typo there must not keep a process from starting. A process
/// that logs already keeps its first settings.
pub fn init_tracing(json: bool) {
    init_tracing_at(json, "info");
}

/// As [`init_tracing`], with another filter than `info` where [`LOG_VARIABLE`] is not set.
pub fn init_tracing_at(json: bool, default: &str) {
    let wanted = std::env::var(LOG_VARIABLE).unwrap_or_default();
    let (filter, problem) = filter(if wanted.is_empty() { default } else { &wanted });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = if json {
        builder.json().finish().try_init()
    } else {
        let ansi = std::io::stderr().is_terminal();
        builder.with_ansi(ansi).finish().try_init()
    };
    if let (Ok(()), Some(problem)) = (installed, problem) {
        tracing::warn!("{problem}");
    }
}

fn filter(wanted: &str) -> (EnvFilter, Option<String>) {
    if wanted.is_empty() {
        return (EnvFilter::new("info"), None);
    }
    match EnvFilter::try_new(wanted) {
        Ok(filter) => (filter, None),
        Err(error) => (
            EnvFilter::new("info"),
            Some(format!("{LOG_VARIABLE}={wanted:?}: {error}: using info; expected a filter such as info,edge_gateway=debug")),
        ),
    }
}

/// The process's metrics, ready to be rendered. Clones share the recorder.
#[derive(Clone)]
pub struct MetricsHandle {
    recorder: PrometheusHandle,
}

impl std::fmt::Debug for MetricsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetricsHandle")
    }
}

impl MetricsHandle {
    /// All metrics in the Prometheus text format, followed by the process's own
    /// (`process_resident_memory_bytes`, `process_cpu_seconds_total`, `process_open_fds`,
    /// `process_threads`), named as Prometheus' client libraries name them.
    pub fn render(&self) -> String {
        let mut text = self.recorder.render();
        process::render(&mut text);
        text
    }
}

/// Installs the process's recorder for the `metrics` macros, or gives the one installed before.
///
/// Never fails: if another library has taken the recorder's place, or a bound is not accepted, it
/// logs the error and the handle renders what it has.
pub fn install_metrics() -> MetricsHandle {
    static INSTALLED: OnceLock<MetricsHandle> = OnceLock::new();
    INSTALLED.get_or_init(install).clone()
}

fn install() -> MetricsHandle {
    let builder = with_buckets(PrometheusBuilder::new()).unwrap_or_else(|error| {
        tracing::error!(%error, "metrics: bucket bounds refused; histograms become summaries");
        PrometheusBuilder::new()
    });
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if let Err(error) = metrics::set_global_recorder(recorder) {
        tracing::error!(%error, "metrics: another recorder is installed; /metrics will be empty");
    }
    let upkeep = handle.clone();
    let spawned = std::thread::Builder::new().name("metrics-upkeep".into()).spawn(move || {
        loop {
            std::thread::park_timeout(UPKEEP);
            upkeep.run_upkeep();
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "metrics: no upkeep thread; histograms grow until they are scraped");
    }
    MetricsHandle { recorder: handle }
}

fn with_buckets(builder: PrometheusBuilder) -> Result<PrometheusBuilder, BuildError> {
    builder
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".into()), &BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two parts in one process share the recorder, and what either counts is rendered with the
    /// process's own figures.
    #[test]
    fn metrics_are_installed_once() {
        let first = install_metrics();
        let second = install_metrics();
        metrics::counter!("tributary_service_test_total").increment(2);
        metrics::histogram!("tributary_service_test_seconds").record(0.2);
        for handle in [first, second] {
            let text = handle.render();
            assert!(text.contains("tributary_service_test_total 2"), "{text}");
            assert!(text.contains("tributary_service_test_seconds_bucket{le=\"0.25\"} 1"), "{text}");
            assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
        }
    }

    /// A filter with a typo is reported with its remedy and does not stop the process.
    #[test]
    fn a_bad_filter_falls_back_to_info() {
        let (used, problem) = filter("edge=loud");
        assert_eq!(used.to_string(), "info");
        let problem = problem.expect("reported");
        assert!(problem.contains("TRIBUTARY_LOG=\"edge=loud\""), "{problem}");
        assert!(problem.contains("expected a filter such as"), "{problem}");
        assert!(filter("edge=debug").1.is_none());
        assert_eq!(filter("").0.to_string(), "info");
    }
}
