//! What lies in the local tier, read back from its Parquet files: ids of records, and the agent's connects.

use std::fs::File;
use std::io;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampNanosecondType, UInt64Type};
use arrow_array::{Array, MapArray, RecordBatch};
use federation_proto::identity::{Signal, TenantId};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::telemetry::RecordId;

/// Connects of one process from one cgroup, as the agent's data in the tier tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectsOf {
    /// The process.
    pub pid: u32,
    /// Inode of its cgroup v2 directory.
    pub cgroup: u64,
    /// When its interval ended, in Unix nanoseconds.
    pub time_unix_nano: u64,
    /// How many.
    pub count: u64,
}

/// The agent's data on connects to `port`: one item a data point, so a process may have several.
///
/// # Errors
/// When a Parquet file cannot be read.
pub fn connects(tier: &Path, port: u16) -> io::Result<Vec<ConnectsOf>> {
    let port = port.to_string();
    let mut all = Vec::new();
    for_each_file(tier, &mut |_, table, path| {
        if table != "otel_metrics_histogram" {
            return Ok(());
        }
        for_each_batch(path, &["Attributes", "TimeUnix", "Count"], |batch| {
            let (attributes, count) = (column(batch, "Attributes")?.as_map_opt(), column(batch, "Count")?.as_primitive_opt::<UInt64Type>());
            let times = column(batch, "TimeUnix")?.as_primitive_opt::<TimestampNanosecondType>();
            let (Some(attributes), Some(count), Some(times)) = (attributes, count, times) else {
                return Err(unexpected(path, "Attributes is no map, TimeUnix no timestamp or Count no u64"));
            };
            for row in (0..batch.num_rows()).filter(|&row| entry(attributes, row, "network.peer.port").as_ref() == Some(&port)) {
                let number = |key: &str| entry(attributes, row, key).and_then(|text| text.parse::<u64>().ok());
                let pid = number("process.pid").and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
                let (cgroup, time) = (number("linux.cgroup.id").unwrap_or_default(), u64::try_from(times.value(row)).unwrap_or_default());
                all.push(ConnectsOf { pid, cgroup, time_unix_nano: time, count: count.value(row) });
            }
            Ok(())
        })
    })?;
    Ok(all)
}

/// Every Parquet file of the tier with its tenant and table, as its path names them.
pub(crate) fn for_each_file(tier: &Path, each: &mut impl FnMut(&TenantId, &str, &Path) -> io::Result<()>) -> io::Result<()> {
    let mut folders = vec![tier.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                let part = |key: &str| path.iter().filter_map(|name| name.to_str()).find_map(|name| name.strip_prefix(key));
                let tenant = part("tenant=").and_then(|name| TenantId::new(name).ok());
                let (Some(tenant), Some(table)) = (tenant, part("table=")) else {
                    return Err(unexpected(&path, "no tenant= and table= in its path"));
                };
                each(&tenant, table, &path)?;
            }
        }
    }
    Ok(())
}

/// The signal whose records a table has.
pub(super) fn signal_of(table: &str) -> Signal {
    match table {
        "otel_traces" => Signal::Traces,
        "otel_logs" => Signal::Logs,
        _ => Signal::Metrics,
    }
}

pub(super) fn for_each_id(table: &str, path: &Path, mut each: impl FnMut(RecordId)) -> io::Result<()> {
    if signal_of(table) == Signal::Metrics {
        return for_each_point(path, each);
    }
    for_each_batch(path, &["SpanId"], |batch| {
        let spans = column(batch, "SpanId")?;
        let Some(spans) = spans.as_string_opt::<i32>() else { return Err(unexpected(path, "SpanId is no string")) };
        for id in spans.iter().flatten().filter_map(|id| u64::from_str_radix(id, 16).ok()) {
            each(RecordId::Span(id.to_be_bytes()));
        }
        Ok(())
    })
}

fn for_each_point(path: &Path, mut each: impl FnMut(RecordId)) -> io::Result<()> {
    for_each_batch(path, &["ResourceAttributes", "TimeUnix"], |batch| {
        let (resources, times) = (column(batch, "ResourceAttributes")?, column(batch, "TimeUnix")?);
        let (Some(resources), Some(times)) = (resources.as_map_opt(), times.as_primitive_opt::<TimestampNanosecondType>()) else {
            return Err(unexpected(path, "ResourceAttributes is no map or TimeUnix no timestamp"));
        };
        for row in 0..batch.num_rows() {
            let sender = entry(resources, row, "service.instance.id").and_then(|id| id.parse().ok());
            if let (Some(sender), Ok(time_unix_nano)) = (sender, u64::try_from(times.value(row))) {
                each(RecordId::Point { sender, time_unix_nano });
            }
        }
        Ok(())
    })
}

/// The value of a key in a row's map of strings.
fn entry(map: &MapArray, row: usize, key: &str) -> Option<String> {
    let entries = map.value(row);
    let (keys, values) = (entries.column(0).as_string_opt::<i32>()?, entries.column(1).as_string_opt::<i32>()?);
    let at = (0..keys.len()).find(|&at| keys.value(at) == key)?;
    Some(values.value(at).to_owned())
}

fn for_each_batch(path: &Path, columns: &[&str], mut each: impl FnMut(&RecordBatch) -> io::Result<()>) -> io::Result<()> {
    let readable = |error: &dyn std::error::Error| unexpected(path, &error.to_string());
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?).map_err(|error| readable(&error))?;
    let roots: Vec<usize> = columns.iter().filter_map(|name| builder.schema().index_of(name).ok()).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    for batch in builder.with_projection(mask).build().map_err(|error| readable(&error))? {
        each(&batch.map_err(|error| readable(&error))?)?;
    }
    Ok(())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> io::Result<&'a dyn Array> {
    batch.column_by_name(name).map(AsRef::as_ref).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no column {name}")))
}

fn unexpected(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()))
}
