//! The way out after an outage: an edge starts on a spool that is full, and ships it to a router that is there. Both are real processes on
//! all cores; the router journals and acknowledges, its tier waits. Beside it, before from the edge's segments and after from the router's:
//! the same bytes by raw quinn and fsync ([`raw`]), in this process.
//!
//! Payloads are random, since what is in them costs nothing on this way. Rates count from the first look at the edge that shows rows gone to
//! the one that shows none left, so the start and the handshake are not in them; they count payload bytes, and raw all bytes of the files,
//! which is half a thousandth more at most.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use edge_gateway::custody::Sources;
use edge_gateway::spool::Stored;
use federation_proto::codec::ENCODING;
use federation_proto::header::BatchHeader;
use federation_proto::identity::{BatchId, Class, Seq, Signal, SpoolId, TenantId};
use segment_log::{FileStore, Log, Options, SledIndex};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::report::mib;
use super::{Args, Cores, DRAIN_DEADLINE, POLL, STOP_DEADLINE, TENANT, raw, ready};
use crate::part::Role;
use crate::stand::admin::Admin;
use crate::stand::layout::{self, EdgeSpec, Layout};
use crate::stand::process::Process;
use crate::stand::{ledger, make_certificates};
use crate::usage;

const ROWS: u32 = 1000;
/// Batches that share an fsync while the spool is filled.
const SYNC_EVERY: u64 = 16;
const MIB: f64 = 1024.0 * 1024.0;

/// What was measured. As JSON: one object.
#[derive(Debug, Serialize)]
pub struct Drained {
    /// Batches in the spool.
    pub batches: u64,
    /// Their payload bytes.
    pub payload_bytes: u64,
    /// How long the edge took, without its start.
    pub drain_s: f64,
    /// Payload shipped, journalled and acknowledged.
    pub drain_mib_per_s: f64,
    /// Raw quinn and fsync, before and after.
    pub raw_mib_per_s: [f64; 2],
    /// Drain by the mean of both.
    pub ratio: f64,
    /// CPU seconds of edge and router.
    pub cpu_s: [f64; 2],
    /// Peak of resident memory of edge and router.
    pub rss_mib: [f64; 2],
    /// Batches on the router's journal that were none of these, or that it has twice; 0 if all is well.
    pub doubled_or_missing: u64,
}

impl Drained {
    /// Everything is on the journal once.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.batches > 0 && self.doubled_or_missing == 0
    }
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batches, drain_s, drain_mib_per_s, ratio, doubled_or_missing, .. } = self;
        let ([before, after], [edge, router], [edge_cpu, router_cpu]) = (self.raw_mib_per_s, self.rss_mib, self.cpu_s);
        writeln!(f, "an edge ships a full spool to a router that journals and acknowledges, on all cores")?;
        writeln!(f, "spool           {batches:>12} batches, {:.0} MiB of payload", self.payload_bytes as f64 / MIB)?;
        writeln!(f, "drain           {drain_mib_per_s:>12.1} MiB/s, {drain_s:.2} s")?;
        writeln!(f, "raw quinn, disk {before:>12.1} MiB/s before, {after:.1} after")?;
        writeln!(f, "ratio           {ratio:>12.2}")?;
        writeln!(f, "cpu             {edge_cpu:>12.2} s edge, {router_cpu:.2} s router")?;
        writeln!(f, "memory          {edge:>12.1} MiB edge, {router:.1} MiB router, at their peaks")?;
        write!(f, "on the journal  {}", if *doubled_or_missing == 0 { "each batch once" } else { "NOT EACH BATCH ONCE" })
    }
}

pub(super) async fn measure(args: &Args, layout: &Layout, cores: &Cores) -> io::Result<Drained> {
    let spec = EdgeSpec::new("edge-1", "eu-central-1", &[TENANT])?;
    make_certificates(layout, std::slice::from_ref(&spec))?;
    let (data, (bytes, payload)) = (layout.data(spec.name), (args.gib << 30, args.payload as usize));
    let batches = {
        let data = data.clone();
        tokio::task::spawn_blocking(move || fill(&data, bytes, payload)).await.map_err(io::Error::other)??
    };
    let (router_tls, edge_tls) = (layout.router_tls(), layout.edge_tls(spec.name));
    let carry = async |from: &Path| raw::carry(from, &layout.data("raw"), &router_tls, &edge_tls).await;
    let (_, before) = carry(&data.join("spool")).await?;

    let (listen, admin_at) = (layout::free_address()?, layout::free_address()?);
    let router = layout.write_config("router", &layout::router_yaml(layout, listen, admin_at, layout::IDLE_TIER))?;
    let edge = layout.write_config(spec.name, &layout::edge_yaml(layout, &spec, listen))?;
    let (program, admin) = (std::env::current_exe()?, Admin);
    let start =
        |role, config: &Path, name: &str| usage::on_cores(&cores.part, || Process::start(&program, role, config, &layout.log(name)));
    let mut router = start(Role::Router, &router, "router")?;
    let router_pid = ready(&mut router, &admin, admin_at).await?;
    let mut edge = start(Role::Edge, &edge, spec.name)?;
    let edge_pid = edge.id().ok_or_else(|| io::Error::other("it ended"))?;
    let (rows, took) = drained(&mut edge, &admin, &spec, batches * u64::from(ROWS)).await?;

    let of_both = |what: &dyn Fn(u32) -> io::Result<f64>| Ok::<_, io::Error>([what(edge_pid)?, what(router_pid)?]);
    let cpu_s = of_both(&|pid| Ok(usage::cpu_time(pid)?.as_secs_f64()))?;
    let rss_mib = of_both(&|pid| Ok(mib(usage::peak_memory(pid)?)))?;
    let journalled = ledger::sum(&admin.ledger(admin_at).await?, "journalled");
    edge.stop(STOP_DEADLINE).await?;
    // Writing its tier is no part of this.
    router.kill_9().await?;
    let (_, after) = carry(&layout.data("router").join("journal")).await?;
    let shipped = rows as f64 / f64::from(ROWS) * f64::from(args.payload);
    let (rate, raw) = (shipped / took / MIB, [before / MIB, after / MIB]);
    Ok(Drained {
        batches,
        payload_bytes: batches * u64::from(args.payload),
        drain_s: took,
        drain_mib_per_s: rate,
        raw_mib_per_s: raw,
        ratio: rate / ((raw[0] + raw[1]) / 2.0),
        cpu_s,
        rss_mib,
        doubled_or_missing: journalled.abs_diff(batches * u64::from(ROWS)) / u64::from(ROWS),
    })
}

/// Waits until the edge has shipped everything. Gives rows and seconds, from the first look that shows some gone.
async fn drained(edge: &mut Process, admin: &Admin, spec: &EdgeSpec, all: u64) -> io::Result<(u64, f64)> {
    let began = Instant::now();
    let mut opened = None;
    loop {
        edge.still_running()?;
        // It answers once its logs are open.
        if let Ok(said) = admin.ledger(spec.admin).await {
            let queued = ledger::queued(&said);
            let (since, then) = *opened.get_or_insert((Instant::now(), queued));
            if queued == all {
                opened = None;
            } else if queued == 0 {
                return Ok((then, since.elapsed().as_secs_f64()));
            }
        }
        if began.elapsed() > DRAIN_DEADLINE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not drained after {DRAIN_DEADLINE:?}")));
        }
        sleep(POLL).await;
    }
}

/// Fills a spool as an edge does whose router is away; gives the number of batches.
fn fill(data: &Path, bytes: u64, payload_bytes: usize) -> io::Result<u64> {
    let store = Arc::new(FileStore::new(data.join("spool"))?);
    let index = Box::new(SledIndex::new(data.join("spool-index")));
    let (mut log, _) = Log::open(store, index, Options { budget_bytes: 8 << 30, ..Options::default() }).map_err(io::Error::other)?;
    let tenant = TenantId::new(TENANT).map_err(io::Error::other)?;
    let (mut payload, mut state) = (vec![0; payload_bytes], 1_u64);
    let (id, batches) = (log.id(), bytes / payload_bytes as u64 - 1);
    for n in 0..batches {
        for word in payload.chunks_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
        }
        let meta = stored(id, n, &tenant, &payload).encode();
        log.append(&meta, &payload).map_err(io::Error::other)?;
        if n % SYNC_EVERY == 0 {
            log.sync().map_err(io::Error::other)?;
        }
    }
    log.checkpoint(&[]).map_err(io::Error::other)?;
    Ok(batches)
}

fn stored(spool: [u8; 16], n: u64, tenant: &TenantId, payload: &[u8]) -> Stored {
    let header = BatchHeader {
        id: BatchId { spool: SpoolId(spool), seq: Seq(0) },
        tenant: tenant.clone(),
        signal: Signal::Traces,
        class: Class::Medium,
        rows: ROWS,
        raw_bytes: payload.len() as u64,
        oldest_unix_nano: 1,
        newest_unix_nano: 2,
        encoding: ENCODING,
        payload_len: payload.len() as u32,
        payload_crc: crc32c::crc32c(payload),
    };
    // Of an inbox that is gone.
    Stored { header, sources: Sources { inbox: [0; 16], whole: vec![10 * n..=10 * n + 9], partial: Vec::new() } }
}
