//! What one part, or the whole path, costs under load: a real process, the kernel's own account of it, and the bench beside it.
//!
//! | Bench | Measured | Beside it |
//! |---|---|---|
//! | `edge` | an edge on one core, `durability: disk` | load, and a router that only acknowledges ([`sink`]), on another core |
//! | `router` | a router on one core: admit, journal, acknowledge; its tier waits | an edge's connection that pushes batches encoded before |
//! | `overload` | the same edge under twice what it takes: no less comes through, no more memory is needed | as `edge` |
//! | `path` | load, relay, edge, router and Parquet on two cores; then every acknowledged id is looked for | |
//! | `drain` | an edge that ships a full spool to a router, both real, on all cores | the same bytes by raw quinn and fsync, before and after |
//! | `--endpoint --pid` | any other OTLP receiver (pin it yourself) | the same load |
//!
//! Warm-up ([`WARM_UP`]) counts in totals and costs, but not in rates and latencies. Bounds: the load's; ten minutes to drain.

mod drain;
mod edge;
mod machine;
mod other;
mod overload;
mod path;
mod push;
mod raw;
mod report;
mod router;
mod sink;
mod size;
mod window;

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use tokio::time::{Instant, sleep};

pub use drain::Drained;
pub use machine::Machine;
pub use overload::Overload;
pub use report::{PartCost, Report};

use crate::load::Shape;
use crate::stand::admin::Admin;
use crate::stand::layout::Layout;
use crate::stand::process::Process;
use crate::{clock, usage};

/// Load before anything is measured.
pub const WARM_UP: Duration = Duration::from_secs(2);
const READY_DEADLINE: Duration = Duration::from_secs(30);
const DRAIN_DEADLINE: Duration = Duration::from_secs(600);
const STOP_DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const TENANT: &str = "acme";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// An edge alone.
    Edge,
    /// A router alone.
    Router,
    /// An edge under twice its peak.
    Overload,
    /// Everything from the load to Parquet.
    Path,
    /// The way out after an outage: a spool that is full, and a link that is open.
    Drain,
}

/// `tributary-chaos bench`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What is measured.
    #[arg(value_enum, required_unless_present = "endpoint")]
    pub what: Option<What>,
    /// Measure another receiver: its OTLP endpoint, `http://HOST:PORT`.
    #[arg(long, requires = "pid", conflicts_with = "what")]
    pub endpoint: Option<String>,
    /// The other receiver's process.
    #[arg(long, requires = "endpoint")]
    pub pid: Option<u32>,
    /// Bearer token for the other receiver.
    #[arg(long, requires = "endpoint", env = "TRIBUTARY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The load. The router's bench takes of it signal, rate, rows of a request and seed.
    #[command(flatten)]
    pub shape: Shape,
    /// How long to measure, after the warm-up.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Router: rows of a batch.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=50_000))]
    pub batch_rows: u64,
    /// Drain: GiB in the spool. It takes three times as much of the disk.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=4))]
    pub gib: u64,
    /// Drain: payload bytes of a batch. With more than 4,096 batches the router's tier begins to read while it is measured.
    #[arg(long, default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1024..=6 << 20))]
    pub payload: u32,
    /// New or empty folder for all files; kept afterwards. Default: one in the system's temporary folder, removed afterwards.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    fn measuring(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// Where the part and the bench run.
#[derive(Debug, Clone)]
struct Cores {
    part: Vec<usize>,
    own: Vec<usize>,
}

impl Cores {
    /// The first core for the part and the last for the bench; the path has the first two for everything.
    fn choose(what: Option<What>) -> io::Result<Self> {
        let cores = usage::cores()?;
        let [first, .., last] = cores.as_slice() else {
            return Err(io::Error::other("a bench needs two cores: one for the part, one for the load"));
        };
        Ok(match what {
            Some(What::Path | What::Drain) => Self { part: cores[..2].to_vec(), own: cores[..2].to_vec() },
            Some(What::Edge | What::Overload | What::Router) => Self { part: vec![*first], own: vec![*last] },
            None => Self { part: Vec::new(), own: vec![*last] },
        })
    }
}

/// Runs the bench and prints its report; succeeds when rows were acknowledged and, on the path, each was found once.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let clean = match args.what {
        Some(What::Drain) => on_layout(args, Drained::is_clean, drain::measure).map(|report| print(args, &report, report.is_clean())),
        _ => measure(args).map(|report| print(args, &report, report.is_clean())),
    };
    match clean {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print<R: Serialize + Display>(args: &Args, report: &R, clean: bool) -> bool {
    println!("{}", if args.json { serde_json::to_string_pretty(report).unwrap_or_default() } else { report.to_string() });
    clean
}

fn measure(args: &Args) -> io::Result<Report> {
    let Some(what) = args.what else {
        let (endpoint, pid) = (args.endpoint.as_deref().unwrap_or_default(), args.pid.unwrap_or_default());
        return runtime(&Cores::choose(None)?)?.block_on(other::measure(args, endpoint, pid));
    };
    on_layout(args, Report::is_clean, async |args, layout, cores| match what {
        What::Edge => edge::measure(args, layout, cores).await,
        What::Overload => overload::measure(args, layout, cores).await,
        What::Router => router::measure(args, layout, cores).await,
        What::Path => path::measure(args, layout).await,
        What::Drain => Err(io::ErrorKind::InvalidInput.into()),
    })
}

/// On the bench's own cores.
fn runtime(cores: &Cores) -> io::Result<tokio::runtime::Runtime> {
    // Before the runtime is: its threads stay on these cores.
    usage::stay_on(&cores.own)?;
    service::tls::install_provider();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Runs a bench in a folder, which goes when it went well and has no name.
fn on_layout<R>(
    args: &Args,
    is_clean: impl Fn(&R) -> bool,
    bench: impl AsyncFnOnce(&Args, &Layout, &Cores) -> io::Result<R>,
) -> io::Result<R> {
    let cores = Cores::choose(args.what)?;
    let unnamed = || std::env::temp_dir().join(format!("tributary-bench-{:x}", clock::unix_nano() / 1000));
    let layout = Layout::create(&args.dir.clone().unwrap_or_else(unnamed))?;
    let measured = runtime(&cores)?.block_on(bench(args, &layout, &cores));
    // What failed can be looked into.
    if args.dir.is_none() && measured.as_ref().is_ok_and(is_clean) {
        std::fs::remove_dir_all(&layout.dir)?;
    }
    measured
}

/// Waits until a part that was just started is ready, and gives its id.
async fn ready(process: &mut Process, admin: &Admin, at: SocketAddr) -> io::Result<u32> {
    let deadline = Instant::now() + READY_DEADLINE;
    while !admin.ready(at).await {
        process.still_running()?;
        if Instant::now() > deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not ready after {READY_DEADLINE:?}")));
        }
        sleep(POLL).await;
    }
    process.id().ok_or_else(|| io::Error::other("it ended"))
}
