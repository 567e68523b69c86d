//! Which file a row goes to: tenant, table, and the hour of its record time.
//!
//! `tenant=acme/table=otel_traces/day=2026-11-22/hour=15`. Rows without a time, and rows beyond [`MAX_HOURS`] hours of one tenant and
//! table in one unit, go to `day=1970-01-01/hour=00`: a sender with a broken clock cannot make a file per row. The hours that keep
//! their own file are those with the most rows, later ones first among equals: the same for every attempt at a unit.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use federation_proto::columns::Columns;
use federation_proto::identity::TenantId;

use super::tables::Table;
use crate::civil::Date;
use crate::tier::Unit;

/// Hours of one tenant and table in one unit that have a file of their own.
pub const MAX_HOURS: usize = 48;
/// Where rows without a time go.
const NO_HOUR: u64 = 0;
const NANOS_PER_HOUR: u64 = 3_600_000_000_000;

/// A row by its place in a unit. Sorts by time, then by the order of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowRef {
    /// Its time: Unix nanoseconds, 0 for none.
    pub time: u64,
    /// Its batch's index in the unit.
    pub batch: u32,
    /// Its row in the batch.
    pub row: u32,
}

/// A file's place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// Whose rows.
    pub tenant: TenantId,
    /// Of what kind.
    pub table: Table,
    /// Hours since the Unix epoch.
    pub hour: u64,
}

impl Partition {
    /// Its directory, relative to the tier's path.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        let (day, hour) = (Date::from_unix_days(self.hour / 24), self.hour % 24);
        [format!("tenant={}", self.tenant), format!("table={}", self.table.name()), format!("day={day}"), format!("hour={hour:02}")]
            .iter()
            .collect()
    }
}

/// Every row of the unit, by the file it goes to, sorted by time.
#[must_use]
pub fn partition(unit: &Unit) -> BTreeMap<Partition, Vec<RowRef>> {
    let mut by_table: BTreeMap<(&TenantId, Table), Vec<RowRef>> = BTreeMap::new();
    for (at, batch) in unit.batches.iter().enumerate() {
        for row in 0..batch.columns.rows() {
            let (table, time) = table_and_time(&batch.columns, row);
            let row = RowRef { time, batch: at as u32, row: row as u32 };
            by_table.entry((&batch.tenant, table)).or_default().push(row);
        }
    }
    let mut files: BTreeMap<Partition, Vec<RowRef>> = BTreeMap::new();
    for ((tenant, table), mut rows) in by_table {
        rows.sort_unstable();
        let kept = hours_kept(&rows);
        for row in rows {
            let hour = Some(row.time / NANOS_PER_HOUR).filter(|hour| kept.contains_key(hour)).unwrap_or(NO_HOUR);
            files.entry(Partition { tenant: tenant.clone(), table, hour }).or_default().push(row);
        }
    }
    files
}

fn table_and_time(columns: &Columns, row: usize) -> (Table, u64) {
    match columns {
        Columns::Traces(spans) => (Table::Traces, spans.start_time(row)),
        Columns::Logs(logs) => (Table::Logs, super::tables::log_time(logs, row)),
        Columns::Metrics(points) => (Table::of_points(points.kind(row)), points.time(row)),
    }
}

fn hours_kept(rows: &[RowRef]) -> HashMap<u64, usize> {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for row in rows {
        *counts.entry(row.time / NANOS_PER_HOUR).or_default() += 1;
    }
    if counts.len() <= MAX_HOURS {
        return counts;
    }
    let mut by_count: Vec<(u64, usize)> = counts.into_iter().collect();
    by_count.sort_unstable_by_key(|&(hour, count)| std::cmp::Reverse((count, hour)));
    by_count.truncate(MAX_HOURS);
    by_count.into_iter().collect()
}
