//! Any other OTLP receiver under the same load. What it sends on is its own affair: nothing is known of its wire or its queue, so its
//! cost is that of the window, for each row that it acknowledged in it.

use std::io;
use std::time::Duration;

use service::shutdown::Shutdown;

use super::report::{mib, us_per_row};
use super::window::{self, Look};
use super::{Args, Report, size};
use crate::load::{Plan, Target};
use crate::usage;

pub(super) async fn measure(args: &Args, endpoint: &str, pid: u32) -> io::Result<Report> {
    let plan = Plan {
        target: Target::new(endpoint, args.shape.protocol, args.shape.compression, args.token.as_deref())?,
        shape: args.shape.clone(),
        most: Duration::ZERO,
        rows: None,
        ack_log: None,
        retry: false,
        stop: Shutdown::new(),
    };
    let otlp_zstd_bytes_per_row = size::otlp_zstd_bytes_per_row(&args.shape);
    let loaded = window::load(plan, args.measuring(), || Ok(Look { cpu: usage::cpu_time(pid)?, ..Look::default() })).await?;
    let (cpu, rows) = loaded.window;
    let mut report = Report {
        measured: format!("process {pid} behind {endpoint}"),
        rows: loaded.rows,
        rows_per_s: loaded.passed_per_s,
        acknowledged_per_s: loaded.acknowledged_per_s,
        cpu_us_per_row: us_per_row(cpu, rows),
        cpu_share: loaded.cpu_share,
        rss_mib: mib(usage::peak_memory(pid)?),
        otlp_zstd_bytes_per_row,
        otlp_bytes_per_row: loaded.otlp_bytes_per_row,
        own_cpu_us_per_row: us_per_row(loaded.own_cpu, loaded.rows),
        ..Report::default()
    };
    report.answers(loaded.answers);
    Ok(report)
}
