//! The whole path on two cores: load, relay, edge, router and Parquet; then every acknowledged id is looked for.
//!
//! `rows_per_s` counts until the last row is in Parquet and its cursor has moved, so that no queue flatters it.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use federation_proto::identity::TenantId;
use tokio::time::Instant;

use super::report::{PartCost, mib, us_per_row};
use super::window::{self, Look};
use super::{Args, DRAIN_DEADLINE, Report, TENANT, edge, size};
use crate::stand::layout::{EdgeSpec, Layout};
use crate::stand::{Stand, ledger};
use crate::usage;
use crate::verify::{self, Verdict};

pub(super) async fn measure(args: &Args, layout: &Layout) -> io::Result<Report> {
    let otlp_zstd_bytes_per_row = size::otlp_zstd_bytes_per_row(&args.shape);
    let specs = vec![EdgeSpec::new("edge-1", "eu-central-1", &[TENANT])?];
    let mut stand = Stand::start(layout, std::env::current_exe()?, specs).await?;
    let ack_log = layout.acknowledged().join("edge-1-acme.log");
    let mut plan = edge::plan(args, &stand.edges[0].spec)?;
    plan.ack_log = Some(ack_log.clone());
    let processes = stand.processes();
    let cpu = || processes.iter().map(|(_, pid)| usage::cpu_time(*pid)).sum::<io::Result<Duration>>();
    let before = processes.iter().map(|(_, pid)| usage::cpu_time(*pid)).collect::<io::Result<Vec<_>>>()?;
    let own_before = usage::own_cpu_time();
    let loaded = window::load(plan, args.measuring(), || Ok(Look { cpu: cpu()?, ..Look::default() })).await?;

    let load_ended = Instant::now();
    let ledgers = stand.drained(DRAIN_DEADLINE).await?;
    let (drain, took) = (load_ended.elapsed(), loaded.began.elapsed());
    let own_cpu = usage::own_cpu_time().saturating_sub(own_before);
    let mut parts = BTreeMap::new();
    let mut total = (Duration::ZERO, 0);
    for ((name, pid), before) in processes.iter().zip(before) {
        let (cpu, rss) = (usage::cpu_time(*pid)?.saturating_sub(before), usage::peak_memory(*pid)?);
        total = (total.0 + cpu, total.1 + rss);
        parts.insert(*name, PartCost { cpu_us_per_row: us_per_row(cpu, loaded.rows), rss_mib: mib(rss) });
    }
    let left: u64 = ledgers.values().map(ledger::queued).sum();
    let carried = stand.stop().await?;
    if left > 0 {
        return Err(io::Error::other(format!("{left} rows are still queued after {drain:?}: see {}", layout.logs().display())));
    }
    let tenant = TenantId::new(TENANT).map_err(io::Error::other)?;
    let verdict = Verdict::sum(verify::verify(&layout.tier(), &[(tenant, ack_log)])?.values());
    let mut report = Report {
        measured: "load, relay, edge, router and Parquet together on two cores, until the last row is in Parquet".to_owned(),
        rows: loaded.rows,
        rows_per_s: loaded.rows as f64 / took.as_secs_f64(),
        acknowledged_per_s: loaded.acknowledged_per_s,
        cpu_us_per_row: us_per_row(total.0, loaded.rows),
        cpu_share: loaded.cpu_share,
        rss_mib: mib(total.1),
        wire_bytes_per_row: Some(carried.up_bytes as f64 / loaded.rows.max(1) as f64),
        otlp_zstd_bytes_per_row,
        otlp_bytes_per_row: loaded.otlp_bytes_per_row,
        drain_s: Some(drain.as_secs_f64()),
        own_cpu_us_per_row: us_per_row(own_cpu, loaded.rows),
        parts,
        verdict: Some(verdict),
        ..Report::default()
    };
    report.answers(loaded.answers);
    Ok(report)
}
