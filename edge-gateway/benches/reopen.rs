//! How long a spool takes to reopen after `kill -9`, and how much memory: `cargo bench -p edge-gateway --bench reopen -- --gib 4`, or
//! `-- --batches 120960 --payload 256` for many small ones (a week at 1,000 rows/s). Needs that much disk in `--dir` (default: the
//! system's for temporary files), and removes it.
//!
//! A child process fills the spool as an edge does, with its index, a checkpoint every second, and is killed; then one process each opens it
//! with the index, without it, and as the whole of an edge's start does (logs, account, list of what is to be shipped). Time is from the
//! first look at the directory to the end; memory is the process's peak (VmHWM). The page cache is as the writer left it.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench: a panic is its report, and it reads the clock")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use edge_gateway::Config;
use edge_gateway::custody::Sources;
use edge_gateway::run::Offline;
use edge_gateway::spool::Stored;
use federation_proto::header::BatchHeader;
use federation_proto::identity::{BatchId, Class, Seq, Signal, SpoolId, TenantId};
use segment_log::{FileStore, Index, Log, MemoryIndex, Options, SledIndex};

/// Measures reopening.
#[derive(Parser)]
struct Args {
    /// Spool to fill, in GiB, with payloads of `--payload`.
    #[arg(long, default_value_t = 0)]
    gib: u64,
    /// Batches to fill it with, instead.
    #[arg(long, default_value_t = 0)]
    batches: u64,
    /// Bytes of a payload; 5,000 rows of 30 B.
    #[arg(long, default_value_t = 150_000)]
    payload: usize,
    /// Where.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// What a child process does.
    #[arg(long, hide = true)]
    role: Option<String>,
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    match (args.role.as_deref(), &args.dir) {
        (Some("fill"), Some(dir)) => fill(dir, &args),
        (Some(role), Some(dir)) => reopen(dir, role),
        _ => measure(&args),
    }
}

fn options() -> Options {
    Options { budget_bytes: 1 << 40, ..Options::default() }
}

fn measure(args: &Args) {
    if args.gib == 0 && args.batches == 0 {
        return println!("nothing to fill: give --gib 4, or --batches 120960 --payload 256");
    }
    let made = tempfile::tempdir_in(args.dir.clone().unwrap_or_else(std::env::temp_dir)).unwrap();
    let dir = made.path().to_str().unwrap();
    let (gib, batches, payload) = (args.gib.to_string(), args.batches.to_string(), args.payload.to_string());
    let child = |role: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--dir", dir, "--role", role, "--gib", &gib, "--batches", &batches, "--payload", &payload]);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut filling = child("fill");
    let mut lines = BufReader::new(filling.stdout.take().unwrap()).lines();
    println!("{}", lines.next().unwrap().unwrap());
    // kill -9, with the index open and everything synced.
    filling.kill().unwrap();
    filling.wait().unwrap();
    for role in ["index", "whole", "no-index", "whole-no-index"] {
        if role.ends_with("no-index") {
            // The one before made none anew.
            let _ = std::fs::remove_dir_all(made.path().join("spool-index"));
        }
        let output = child(role).wait_with_output().unwrap();
        assert!(output.status.success());
        print!("{}", String::from_utf8(output.stdout).unwrap());
    }
}

fn fill(dir: &Path, args: &Args) {
    let (mut log, _) = open(dir, Box::new(SledIndex::new(dir.join("spool-index"))));
    let id = log.id();
    let mut payload: Vec<u8> = vec![0; args.payload];
    let (mut batches, mut state, mut checkpoint) = (0, 1u64, Instant::now());
    while if args.gib > 0 { log.bytes_on_disk() < args.gib << 30 } else { batches < args.batches } {
        for word in payload.chunks_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
        }
        log.append(&stored(id, batches, &payload).encode(), &payload).unwrap();
        batches += 1;
        if batches % 64 == 0 {
            log.sync().unwrap();
        }
        if checkpoint.elapsed() > Duration::from_secs(1) {
            log.checkpoint(&[]).unwrap();
            checkpoint = Instant::now();
        }
    }
    log.sync().unwrap();
    println!("filled: {batches} batches, {:.2} GiB on disk", log.bytes_on_disk() as f64 / f64::from(1 << 30));
    std::thread::park();
}

fn stored(spool: [u8; 16], n: u64, payload: &[u8]) -> Stored {
    let header = BatchHeader {
        id: BatchId { spool: SpoolId(spool), seq: Seq(0) },
        tenant: TenantId::new(&format!("tenant-{}", n % 8)).unwrap(),
        signal: Signal::Traces,
        class: Class::Medium,
        rows: 5_000,
        raw_bytes: 3_000_000,
        oldest_unix_nano: 1,
        newest_unix_nano: 2,
        encoding: 2,
        payload_len: payload.len() as u32,
        payload_crc: 0,
    };
    Stored { header, sources: Sources { inbox: [9; 16], whole: vec![100 * n..=100 * n + 99], partial: Vec::new() } }
}

fn open(dir: &Path, index: Box<dyn Index>) -> (Log, segment_log::Recovery) {
    Log::open(Arc::new(FileStore::new(dir.join("spool")).unwrap()), index, options()).unwrap()
}

fn reopen(dir: &Path, role: &str) {
    let sled = || Box::new(SledIndex::new(dir.join("spool-index")));
    let (what, batches, took, checkpoint) = match role {
        "index" => log_of("log, with its index", dir, sled()),
        "no-index" => log_of("log, without its index", dir, Box::new(MemoryIndex::new())),
        _ => {
            let config = config(dir);
            let started = Instant::now();
            let offline = Offline::open(&config).unwrap();
            let took = started.elapsed();
            let what = if role == "whole" { "whole start, with its index" } else { "whole start, without its index" };
            (what, offline.batches(), took, 0)
        }
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let peak_mib = peak.parse::<f64>().unwrap() / 1024.0;
    let more = if checkpoint > 0 { format!(", checkpoint of {checkpoint} B") } else { String::new() };
    println!("{what}: {batches} batches in {:.3} s, peak RSS {peak_mib:.1} MiB{more}", took.as_secs_f64());
    // As after a kill, for the next.
    std::process::exit(0);
}

fn log_of(what: &'static str, dir: &Path, index: Box<dyn Index>) -> (&'static str, usize, Duration, u64) {
    let started = Instant::now();
    let (mut log, _) = open(dir, index);
    let took = started.elapsed();
    let (batches, before) = (log.pending().count(), log.bytes_on_disk());
    log.checkpoint(&[]).unwrap();
    (what, batches, took, log.bytes_on_disk() - before)
}

fn config(dir: &Path) -> Config {
    let path = dir.join("edge.yaml");
    let text = format!(
        "name: bench\ndata_dir: {}\nidentity: {{ default_tenant: acme }}\nspool: {{ budget: 1TiB }}\n\
         ship: {{ endpoints: [\"router.test:4433\"], tls: {{ ca: ca.pem, cert: edge.pem, key: edge.key }} }}\n",
        dir.display()
    );
    std::fs::write(&path, text).unwrap();
    Config::load(&path).unwrap()
}
