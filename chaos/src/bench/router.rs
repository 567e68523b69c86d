//! A router on one core, fed with batches that were encoded before: admit, journal, acknowledge. Its tier waits, so nothing is decoded.
//!
//! The tier waits for [`IDLE_TIER_RAW_BYTES`] at most, so the bench ends before: after so many rows (some seconds of them, of which an
//! eighth warms up), if not by time. Then the router is killed; writing its tier is no part of this.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use federation_proto::codec::{Encoder, Part};
use federation_proto::header::BatchHeader;
use federation_proto::identity::{BatchId, Class, Seq, Signal, SpoolId, TenantId};
use tokio::time::{Instant, sleep_until};

use super::push::{Prepared, Pusher};
use super::report::{mib, us_per_row};
use super::{Args, Cores, Report, TENANT, WARM_UP, ready, size};
use crate::load::supply::Supply;
use crate::load::tally::Tally;
use crate::part::Role;
use crate::stand::admin::Admin;
use crate::stand::layout::{self, EdgeSpec, IDLE_TIER_RAW_BYTES, Layout};
use crate::stand::make_certificates;
use crate::stand::process::Process;
use crate::{clock, usage};

/// Different batches, sent in turn.
const BATCHES: usize = 8;

pub(super) async fn measure(args: &Args, layout: &Layout, cores: &Cores) -> io::Result<Report> {
    let spec = EdgeSpec::new("edge-1", "eu-central-1", &[TENANT])?;
    make_certificates(layout, std::slice::from_ref(&spec))?;
    let (listen, admin_at) = (layout::free_address()?, layout::free_address()?);
    let config = layout.write_config("router", &layout::router_yaml(layout, listen, admin_at, layout::IDLE_TIER))?;
    let batches = prepare(args)?;
    let otlp_zstd_bytes_per_row = size::otlp_zstd_bytes_per_row(&args.shape);
    let program = std::env::current_exe()?;
    let mut router = usage::on_cores(&cores.part, || Process::start(&program, Role::Router, &config, &layout.log("router")))?;
    let pid = ready(&mut router, &Admin, admin_at).await?;

    let tally = Arc::new(Tally::default());
    let spool = SpoolId(u128::from(clock::unix_nano()).to_be_bytes());
    let mut pusher = Pusher::connect(listen, spec.name, &layout.edge_tls(spec.name), spool, Arc::clone(&tally)).await?;
    let (cpu_before, own_before) = (usage::cpu_time(pid)?, usage::own_cpu_time());
    let pushed = push_all(args, &mut pusher, &batches, &tally, || usage::cpu_time(pid)).await?;
    let (cpu, rss, own_cpu) = (usage::cpu_time(pid)?, usage::peak_memory(pid)?, usage::own_cpu_time());
    let rows = tally.acknowledged_rows();
    let raw = batches.iter().map(|batch| batch.header.raw_bytes).sum::<u64>() as f64;
    let mut report = Report {
        measured: format!(
            "a router on core {:?}: admit, journal, acknowledge; its tier waits; batches of {} rows, encoded before, from {:?}",
            cores.part, args.batch_rows, cores.own
        ),
        rows,
        rows_per_s: pushed.rows_per_s,
        acknowledged_per_s: pushed.rows_per_s,
        cpu_us_per_row: us_per_row(cpu.saturating_sub(cpu_before), rows),
        cpu_share: pushed.cpu_share,
        rss_mib: mib(rss),
        wire_bytes_per_row: Some(pusher.udp_bytes() as f64 / rows.max(1) as f64),
        otlp_zstd_bytes_per_row,
        otlp_bytes_per_row: raw / batches.iter().map(|batch| f64::from(batch.header.rows)).sum::<f64>(),
        own_cpu_us_per_row: us_per_row(own_cpu.saturating_sub(own_before), rows),
        ..Report::default()
    };
    report.answers(tally.answers());
    router.kill_9().await?;
    Ok(report)
}

struct Pushed {
    rows_per_s: f64,
    cpu_share: f64,
}

/// Pushes until the time is over or the tier would begin to write; rates are those of the window behind the warm-up.
async fn push_all(
    args: &Args,
    pusher: &mut Pusher,
    batches: &[Prepared],
    tally: &Tally,
    cpu: impl Fn() -> io::Result<Duration>,
) -> io::Result<Pushed> {
    let began = Instant::now();
    let interval = args.shape.rate.map(|rate| Duration::from_secs_f64(args.batch_rows as f64 / rate as f64));
    let warm = WARM_UP.min(args.measuring());
    let (mut raw_bytes, mut opened) = (0, None);
    pusher.open_room(batches.iter().map(|batch| batch.payload.len()).max().unwrap_or_default());
    for (nth, batch) in batches.iter().cycle().enumerate() {
        let due = interval.map(|interval| began + interval.mul_f64(nth as f64));
        if let Some(due) = due {
            sleep_until(due).await;
        }
        if opened.is_none() && (began.elapsed() >= warm || raw_bytes >= IDLE_TIER_RAW_BYTES / 8) {
            tally.forget_latencies();
            opened = Some((Instant::now(), tally.acknowledged_rows(), cpu()?));
        }
        raw_bytes += batch.header.raw_bytes;
        if began.elapsed() >= warm + args.measuring() || raw_bytes >= IDLE_TIER_RAW_BYTES {
            break;
        }
        pusher.push(batch, due.filter(|due| due.elapsed() > Duration::from_millis(2))).await?;
    }
    pusher.settled().await?;
    let (since, rows, cpu_before) = opened.ok_or_else(|| io::Error::other("it ended while warming up: measure for longer"))?;
    let seconds = since.elapsed().as_secs_f64();
    let cpu_share = cpu()?.saturating_sub(cpu_before).as_secs_f64() / seconds;
    Ok(Pushed { rows_per_s: (tally.acknowledged_rows() - rows) as f64 / seconds, cpu_share })
}

/// Batches as an edge would have made them of the load's requests.
fn prepare(args: &Args) -> io::Result<Vec<Prepared>> {
    let supply = Supply::new(args.shape.seed, args.shape.signal, args.shape.rows_per_request as usize, clock::unix_nano());
    let tenant = TenantId::new(TENANT).map_err(io::Error::other)?;
    let mut encoder = Encoder::new();
    let mut batches = Vec::with_capacity(BATCHES);
    while batches.len() < BATCHES {
        let first = supply.next(clock::unix_nano(), 0);
        let signal = first.signal;
        let (mut rows, mut requests) = (first.rows, vec![first]);
        while rows < args.batch_rows {
            let request = supply.next(clock::unix_nano(), 0);
            if request.signal == signal {
                rows += request.rows;
                requests.push(request);
            }
        }
        batches.push(encode(&mut encoder, &tenant, signal, &requests)?);
    }
    Ok(batches)
}

fn encode(encoder: &mut Encoder, tenant: &TenantId, signal: Signal, requests: &[crate::load::supply::Request]) -> io::Result<Prepared> {
    let parts: Vec<Part<'_>> = requests.iter().map(|request| Part { body: &request.body, rows: 0..request.rows as u32 }).collect();
    let encoded = encoder.encode(signal, &parts).map_err(io::Error::other)?;
    let header = BatchHeader {
        id: BatchId { spool: SpoolId([0; 16]), seq: Seq(0) },
        tenant: tenant.clone(),
        signal,
        class: Class::Medium,
        rows: encoded.rows,
        raw_bytes: encoded.raw_bytes,
        oldest_unix_nano: encoded.oldest_unix_nano,
        newest_unix_nano: encoded.newest_unix_nano,
        encoding: encoded.encoding,
        payload_len: u32::try_from(encoded.payload.len()).map_err(io::Error::other)?,
        payload_crc: crc32c::crc32c(&encoded.payload),
    };
    Ok(Prepared { header, payload: Bytes::from(encoded.payload) })
}
