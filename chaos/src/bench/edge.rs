//! An edge on one core, between the load and a sink on another.

use std::io;
use std::time::Duration;

use service::shutdown::Shutdown;
use tokio::time::{Instant, sleep};

use super::machine::{self, Ticks};
use super::report::{mib, us_per_row};
use super::sink::Sink;
use super::window::{self, Look};
use super::{Args, Cores, DRAIN_DEADLINE, POLL, Report, STOP_DEADLINE, TENANT, ready, size};
use crate::load::{Plan, Target};
use crate::part::Role;
use crate::stand::admin::Admin;
use crate::stand::layout::{self, EdgeSpec, Layout};
use crate::stand::process::Process;
use crate::stand::{ledger, make_certificates};
use crate::usage;

pub(super) async fn measure(args: &Args, layout: &Layout, cores: &Cores) -> io::Result<Report> {
    let spec = EdgeSpec::new("edge-1", "eu-central-1", &[TENANT])?;
    make_certificates(layout, std::slice::from_ref(&spec))?;
    let otlp_zstd_bytes_per_row = size::otlp_zstd_bytes_per_row(&args.shape);
    let disk = machine::disk_alone(&layout.dir, size::request_bytes(&args.shape), &cores.part)?;
    let sink = Sink::start(&layout.router_tls())?;
    let config = layout.write_config(spec.name, &layout::edge_yaml(layout, &spec, sink.address()?))?;
    let program = std::env::current_exe()?;
    let mut edge = usage::on_cores(&cores.part, || Process::start(&program, Role::Edge, &config, &layout.log(spec.name)))?;
    let admin = Admin;
    let pid = ready(&mut edge, &admin, spec.admin).await?;
    let look = || Ok(Look { cpu: usage::cpu_time(pid)?, passed: Some(sink.rows()), ticks: Ticks::of(&cores.part)? });
    let loaded = window::load(plan(args, &spec)?, args.measuring(), look).await?;
    let drain = drained(&mut edge, &admin, &spec, &sink, loaded.rows).await?;
    let (cpu, rss) = (usage::cpu_time(pid)?, usage::peak_memory(pid)?);
    let udp_bytes = sink.udp_bytes();
    let (at_open, at_close, window) = loaded.ticks;
    edge.stop(STOP_DEADLINE).await?;
    let mut report = Report {
        measured: format!(
            "an edge with durability on disk, on core {:?}; load and a sink that acknowledges without a journal on {:?}; {} batches came twice",
            cores.part,
            cores.own,
            sink.doubled()
        ),
        rows: loaded.rows,
        rows_per_s: loaded.passed_per_s,
        acknowledged_per_s: loaded.acknowledged_per_s,
        cpu_us_per_row: us_per_row(cpu.saturating_sub(loaded.cpu_before), loaded.rows),
        cpu_share: loaded.cpu_share,
        rss_mib: mib(rss),
        wire_bytes_per_row: Some(udp_bytes as f64 / sink.rows().max(1) as f64),
        otlp_zstd_bytes_per_row,
        otlp_bytes_per_row: loaded.otlp_bytes_per_row,
        drain_s: Some(drain.as_secs_f64()),
        own_cpu_us_per_row: us_per_row(loaded.own_cpu, loaded.rows),
        machine: Some(disk.beside(at_open, at_close, loaded.window.0, window)),
        ..Report::default()
    };
    report.answers(loaded.answers);
    Ok(report)
}

/// The load at an edge, as its first tenant.
pub(super) fn plan(args: &Args, spec: &EdgeSpec) -> io::Result<Plan> {
    let (address, scheme) = (if args.shape.protocol == crate::load::Protocol::Grpc { spec.grpc } else { spec.http }, "http");
    let token = spec.tenants.first().map(|(_, token)| token.as_str());
    Ok(Plan {
        target: Target::new(&format!("{scheme}://{address}"), args.shape.protocol, args.shape.compression, token)?,
        shape: args.shape.clone(),
        most: Duration::ZERO,
        rows: None,
        ack_log: None,
        retry: false,
        stop: Shutdown::new(),
    })
}

/// Waits until everything acknowledged has come out at the sink and the edge has nothing queued.
async fn drained(edge: &mut Process, admin: &Admin, spec: &EdgeSpec, sink: &Sink, rows: u64) -> io::Result<Duration> {
    let began = Instant::now();
    loop {
        edge.still_running()?;
        let queued = ledger::queued(&admin.ledger(spec.admin).await?);
        if sink.rows() >= rows && queued == 0 {
            return Ok(began.elapsed());
        }
        if began.elapsed() > DRAIN_DEADLINE {
            let shipped = sink.rows();
            return Err(io::Error::other(format!("{rows} rows acknowledged, {shipped} shipped, {queued} queued after {DRAIN_DEADLINE:?}")));
        }
        sleep(POLL).await;
    }
}
