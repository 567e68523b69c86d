//! OTLP load against any endpoint: seeded, realistic, cheap to make, and with a log of what was acknowledged.
//!
//! Rows are those of [`crate::telemetry`]: 50 services, 150 pods, 12 attributes a span. Requests are rendered from templates
//! ([`template`]), so that the load takes little of the machine that it measures; what it takes it says.
//!
//! A connection has one request in flight. At a fixed rate a request's latency counts from when it was due: a receiver that stalls pays
//! for those that had to wait. Bounds: [`MAX_CONNECTIONS`] requests in memory, [`MAX_ROWS`] rows each; [`MAX_SECONDS`]; a load
//! whose receiver is silent ends after [`SILENCE`].

mod answer;
mod connection;
mod ids;
pub mod latency;
mod pace;
mod report;
mod run;
pub mod supply;
pub mod tally;
mod template;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use federation_proto::identity::Signal;
use service::shutdown::Shutdown;

pub use connection::Target;
pub use report::Report;
pub use run::{Ended, Plan, run};

use crate::progress::Progress;
use tally::Tally;

/// Connections of one load.
pub const MAX_CONNECTIONS: u64 = 1024;
/// Rows of one request.
pub const MAX_ROWS: u64 = 50_000;
/// How long a load may run.
pub const MAX_SECONDS: u64 = 86_400;
/// A load that hears nothing for so long ends.
pub const SILENCE: Duration = Duration::from_secs(30);

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP, protobuf.
    Http,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SignalChoice {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
    /// Data points of all five kinds.
    Metrics,
    /// Four requests of spans to two of log records to one of data points.
    Mixed,
}

impl SignalChoice {
    /// The signals of requests in a row.
    fn pattern(self) -> &'static [Signal] {
        use Signal::{Logs, Metrics, Traces};
        match self {
            Self::Traces => &[Traces],
            Self::Logs => &[Logs],
            Self::Metrics => &[Metrics],
            Self::Mixed => &[Traces, Logs, Traces, Metrics, Traces, Logs, Traces],
        }
    }
}

/// How requests are compressed: each at its fastest level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, level 1.
    Gzip,
    /// zstd, level 1.
    Zstd,
}

impl Compression {
    fn encoding(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// What a load is made of, wherever it goes; `bench` takes the same.
#[derive(Debug, Clone, clap::Args)]
pub struct Shape {
    /// How OTLP is spoken.
    #[arg(long, value_enum, default_value_t = Protocol::Grpc)]
    pub protocol: Protocol,
    /// What is sent.
    #[arg(long, value_enum, default_value_t = SignalChoice::Traces)]
    pub signal: SignalChoice,
    /// Rows a second, as N or N/s; without it as fast as requests are answered.
    #[arg(long, value_parser = parse_rate)]
    pub rate: Option<u64>,
    /// Connections, one request in flight on each.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=MAX_CONNECTIONS))]
    pub connections: u64,
    /// Spans, log records or data points of a request.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=MAX_ROWS))]
    pub rows_per_request: u64,
    /// How requests are compressed; costs the load far more than making them.
    #[arg(long, value_enum, default_value_t = Compression::None)]
    pub compression: Compression,
    /// Seed of ids and contents; another run into the same tier needs another seed.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// `tributary-chaos load`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// An OTLP endpoint, `http://HOST:PORT`.
    #[arg(long)]
    pub endpoint: String,
    #[command(flatten)]
    shape: Shape,
    /// Stop after so many seconds (10 when --rows is not given either).
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=MAX_SECONDS))]
    pub seconds: Option<u64>,
    /// Stop after so many rows, rounded up to whole requests.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub rows: Option<u64>,
    /// Bearer token.
    #[arg(long, env = "TRIBUTARY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// New file for the ids of acknowledged records, as `verify` reads it.
    #[arg(long)]
    pub ack_log: Option<PathBuf>,
    /// Repeat a request that is not acknowledged, with the same bytes, until it is or the time is over.
    #[arg(long)]
    pub retry: bool,
    /// Print one JSON object to standard output; progress stays on standard error.
    #[arg(long)]
    pub json: bool,
}

fn parse_rate(text: &str) -> Result<u64, String> {
    let rate = text.strip_suffix("/s").unwrap_or(text).parse::<u64>();
    rate.ok().filter(|rate| (1..=100_000_000).contains(rate)).ok_or_else(|| "expected rows a second, 1 to 100000000".to_owned())
}

impl Args {
    fn plan(&self) -> std::io::Result<Plan> {
        let seconds = self.seconds.unwrap_or(if self.rows.is_some() { MAX_SECONDS } else { 10 });
        Ok(Plan {
            target: Target::new(&self.endpoint, self.shape.protocol, self.shape.compression, self.token.as_deref())?,
            shape: self.shape.clone(),
            most: Duration::from_secs(seconds),
            rows: self.rows,
            ack_log: self.ack_log.clone(),
            retry: self.retry,
            stop: Shutdown::new(),
        })
    }
}

/// Runs the load and prints its report; succeeds when anything was acknowledged.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let loaded = args.plan().and_then(|plan| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let tally = Arc::new(Tally::default());
        runtime.block_on(async {
            let progress = Progress::new(tokio::time::Instant::now());
            Ok(Report::new(&run(plan, Arc::clone(&tally), Some(&progress)).await?, &tally))
        })
    });
    match loaded {
        Ok(report) => {
            let text = if args.json { serde_json::to_string_pretty(&report).unwrap_or_default() } else { report.to_string() };
            println!("{text}");
            if report.acknowledged > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
