//! An edge on one core, between the load and a sink on another.

use std::io;
use std::time::Duration;

use service::shutdown::Shutdown;
use tokio::time::{Instant, sleep};

use super::machine::{self, Ticks};
use super::report::{mib, us_per_row};
use super::sink::Sink;
use super::window::{self, Loaded, Look};
use super::{Args, Cores, DRAIN_DEADLINE, POLL, Report, STOP_DEADLINE, TENANT, ready, size};
use crate::load::{Plan, Target};
use crate::part::Role;
use crate::stand::admin::Admin;
use crate::stand::layout::{self, EdgeSpec, Layout};
use crate::stand::process::Process;
use crate::stand::{ledger, make_certificates};
use crate::usage;

/// An edge by itself on its cores, and the sink that takes what it ships.
pub(super) struct Alone {
    spec: EdgeSpec,
    process: Process,
    cores: Vec<usize>,
    pub(super) pid: u32,
    pub(super) sink: Sink,
}

impl Alone {
    pub(super) async fn start(layout: &Layout, cores: &Cores) -> io::Result<Self> {
        let spec = EdgeSpec::new("edge-1", "eu-central-1", &[TENANT])?;
        make_certificates(layout, std::slice::from_ref(&spec))?;
        let sink = Sink::start(&layout.router_tls())?;
        let config = layout.write_config(spec.name, &layout::edge_yaml(layout, &spec, sink.address()?))?;
        let program = std::env::current_exe()?;
        let mut process = usage::on_cores(&cores.part, || Process::start(&program, Role::Edge, &config, &layout.log(spec.name)))?;
        let pid = ready(&mut process, &Admin, spec.admin).await?;
        Ok(Self { spec, process, cores: cores.part.clone(), pid, sink })
    }

    pub(super) async fn load(&self, args: &Args, measuring: Duration) -> io::Result<Loaded> {
        let look = || Ok(Look { cpu: usage::cpu_time(self.pid)?, passed: Some(self.sink.rows()), ticks: Ticks::of(&self.cores)? });
        window::load(plan(args, &self.spec)?, measuring, look).await
    }

    /// Waits until everything acknowledged, `rows` since the start, has come out at the sink and the edge has nothing queued.
    pub(super) async fn drained(&mut self, rows: u64) -> io::Result<Duration> {
        let began = Instant::now();
        loop {
            self.process.still_running()?;
            let queued = ledger::queued(&Admin.ledger(self.spec.admin).await?);
            let shipped = self.sink.rows();
            if shipped >= rows && queued == 0 {
                return Ok(began.elapsed());
            }
            if began.elapsed() > DRAIN_DEADLINE {
                return Err(io::Error::other(format!(
                    "{rows} rows acknowledged, {shipped} shipped, {queued} queued after {DRAIN_DEADLINE:?}"
                )));
            }
            sleep(POLL).await;
        }
    }

    pub(super) async fn stop(self) -> io::Result<()> {
        self.process.stop(STOP_DEADLINE).await
    }
}

pub(super) async fn measure(args: &Args, layout: &Layout, cores: &Cores) -> io::Result<Report> {
    let otlp_zstd_bytes_per_row = size::otlp_zstd_bytes_per_row(&args.shape);
    let disk = machine::disk_alone(&layout.dir, size::request_bytes(&args.shape), &cores.part)?;
    let mut edge = Alone::start(layout, cores).await?;
    let loaded = edge.load(args, args.measuring()).await?;
    let drain = edge.drained(loaded.rows).await?;
    let (cpu, rss) = (usage::cpu_time(edge.pid)?, usage::peak_memory(edge.pid)?);
    let (at_open, at_close, window) = loaded.ticks;
    let mut report = Report {
        measured: format!(
            "an edge with durability on disk, on core {:?}; load and a sink that acknowledges without a journal on {:?}; {} batches came twice",
            cores.part,
            cores.own,
            edge.sink.doubled()
        ),
        rows: loaded.rows,
        rows_per_s: loaded.passed_per_s,
        acknowledged_per_s: loaded.acknowledged_per_s,
        cpu_us_per_row: us_per_row(cpu.saturating_sub(loaded.cpu_before), loaded.rows),
        cpu_share: loaded.cpu_share,
        rss_mib: mib(rss),
        wire_bytes_per_row: Some(edge.sink.udp_bytes() as f64 / edge.sink.rows().max(1) as f64),
        otlp_zstd_bytes_per_row,
        otlp_bytes_per_row: loaded.otlp_bytes_per_row,
        drain_s: Some(drain.as_secs_f64()),
        own_cpu_us_per_row: us_per_row(loaded.own_cpu, loaded.rows),
        machine: Some(disk.beside(at_open, at_close, loaded.window.0, window)),
        ..Report::default()
    };
    report.answers(loaded.answers);
    edge.stop().await?;
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
