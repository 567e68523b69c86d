//! `tributary-chaos look`: the newest records of one table of a local tier, without the SQL engine.
//!
//! Reads the Parquet files of the newest hours until there are enough rows. Bounds: [`MAX_ROWS`] rows of [`MAX_FILES`] files are read, and
//! it says so when there were more.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{Array, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType};
use central_router::civil::rfc3339;
use federation_proto::identity::TenantId;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};
use service::terminal;

use crate::verify::tier::for_each_file;

/// Rows read for one answer.
const MAX_ROWS: usize = 100_000;
/// Files read for one answer.
const MAX_FILES: usize = 256;

/// Below the options in `--help`.
pub const HELP: &str = "Examples:\n  tributary-chaos look --dir /tmp/try logs\n  tributary-chaos look --tier data/tier --tenant acme traces --limit 100 --json | jq .SpanName";

/// `tributary-chaos look`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of `tributary-chaos dev` or of a demo.
    #[arg(long, required_unless_present = "tier")]
    dir: Option<PathBuf>,
    /// A local tier's directory, instead.
    #[arg(long)]
    tier: Option<PathBuf>,
    /// Whose records.
    #[arg(long, default_value = crate::dev::TENANT)]
    tenant: TenantId,
    /// traces, logs, metrics, or the name of a table. Without it: which tables there are, and how many rows each has.
    table: Option<String>,
    /// Records shown at most, the newest.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// One JSON object a line, with all columns that hold something.
    #[arg(long)]
    json: bool,
}

/// Shows them; the exit code says whether the tier could be read.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    match show(args).and_then(|text| terminal::print(&text)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("look: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(args: &Args) -> io::Result<String> {
    let tier = match (&args.tier, &args.dir) {
        (Some(tier), _) => tier.clone(),
        (None, Some(dir)) => dir.join("tier"),
        (None, None) => return Err(io::Error::other("give --dir or --tier")),
    };
    let files = files(&tier, &args.tenant)?;
    let Some(table) = &args.table else { return tables(&files) };
    let wanted: Vec<(&String, &PathBuf)> =
        files.iter().rev().filter(|(_, name, _)| is_of(table, name)).map(|(hour, _, path)| (hour, path)).collect();
    if wanted.is_empty() {
        let names: BTreeSet<&str> = files.iter().map(|(_, name, _)| name.as_str()).collect();
        let there = if names.is_empty() { "nothing yet".to_owned() } else { names.into_iter().collect::<Vec<_>>().join(", ") };
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("{}: no {table} of tenant {}: there is {there}", tier.display(), args.tenant),
        ));
    }
    let mut rows = Vec::new();
    let mut newest = None;
    for (hour, path) in wanted.iter().take(MAX_FILES) {
        // An older hour has nothing newer.
        if rows.len() >= args.limit && newest.is_some_and(|newest| newest != hour) {
            break;
        }
        newest = Some(hour);
        read(path, &mut rows)?;
    }
    rows.sort_by(|(one, _), (other, _)| other.cmp(one));
    rows.truncate(args.limit);
    rows.reverse();
    let line = |row: &Map<String, Value>| if args.json { format!("{}\n", Value::Object(row.clone())) } else { page_line(row) };
    Ok(rows.iter().map(|(_, row)| line(row)).collect())
}

/// Partition, table and path of each of the tenant's files, the oldest hour first.
fn files(tier: &Path, tenant: &TenantId) -> io::Result<Vec<(String, String, PathBuf)>> {
    if !tier.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("{}: is not there: nothing was stored yet, or another --dir", tier.display()),
        ));
    }
    let mut files = Vec::new();
    for_each_file(tier, &mut |of, table, path| {
        if of == tenant {
            let part = |key: &str| path.iter().filter_map(|name| name.to_str()).find_map(|name| name.strip_prefix(key)).unwrap_or_default();
            files.push((format!("{} {:0>2}", part("day="), part("hour=")), table.to_owned(), path.to_owned()));
        }
        Ok(())
    })?;
    files.sort();
    Ok(files)
}

fn is_of(wanted: &str, table: &str) -> bool {
    wanted == table
        || table
            .strip_prefix("otel_")
            .is_some_and(|name| name == wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('_')))
}

fn tables(files: &[(String, String, PathBuf)]) -> io::Result<String> {
    let mut table = terminal::Table::new(&["table", "files", "rows"]);
    let names: BTreeSet<&str> = files.iter().map(|(_, name, _)| name.as_str()).collect();
    if names.is_empty() {
        return Ok("nothing was stored yet\n".to_owned());
    }
    for name in names {
        let of_it: Vec<&PathBuf> = files.iter().filter(|(_, table, _)| table == name).map(|(_, _, path)| path).collect();
        let mut rows = 0;
        for path in &of_it {
            rows += builder(path)?.metadata().file_metadata().num_rows();
        }
        table.row([name.to_owned(), of_it.len().to_string(), rows.to_string()]);
    }
    Ok(table.to_string())
}

fn builder(path: &Path) -> io::Result<ParquetRecordBatchReaderBuilder<File>> {
    let unreadable = |error: &dyn std::error::Error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()));
    ParquetRecordBatchReaderBuilder::try_new(File::open(path)?).map_err(|error| unreadable(&error))
}

type Row = (i64, Map<String, Value>);

fn read(path: &Path, into: &mut Vec<Row>) -> io::Result<()> {
    let broken = |error: &dyn std::error::Error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()));
    for batch in builder(path)?.build().map_err(|error| broken(&error))? {
        let batch = batch.map_err(|error| broken(&error))?;
        for row in 0..batch.num_rows() {
            if into.len() >= MAX_ROWS {
                return Ok(());
            }
            into.push((time(&batch, row), to_json(&batch, row).map_err(|error| broken(&error))?));
        }
    }
    Ok(())
}

/// The record's time in nanoseconds, for the order.
fn time(batch: &RecordBatch, row: usize) -> i64 {
    let column = batch.column_by_name("Timestamp").or_else(|| batch.column_by_name("TimeUnix"));
    let times = column.and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>());
    times.map_or(0, |times| times.value(row))
}

fn to_json(batch: &RecordBatch, row: usize) -> Result<Map<String, Value>, ArrowError> {
    let mut json = Map::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let value = value(column, row)?;
        let empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(all) => all.is_empty(),
            Value::Object(all) => all.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        if !empty {
            json.insert(field.name().clone(), value);
        }
    }
    Ok(json)
}

/// One value of a column of the tier's: numbers and text as they are, times in UTC, lists and maps of such.
fn value(column: &dyn Array, row: usize) -> Result<Value, ArrowError> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    if let Some(times) = column.as_primitive_opt::<TimestampNanosecondType>() {
        return Ok(Value::String(rfc3339(u64::try_from(times.value(row)).unwrap_or(0))));
    }
    if let Some(lists) = column.as_list_opt::<i32>() {
        let list = lists.value(row);
        return (0..list.len()).map(|at| value(&list, at)).collect();
    }
    if let Some(maps) = column.as_map_opt() {
        let entries = maps.value(row);
        let (keys, values) = (entries.column(0), entries.column(1));
        let pair = |at| Ok((value(keys, at)?.as_str().unwrap_or_default().to_owned(), value(values, at)?));
        return Ok(Value::Object((0..entries.len()).map(pair).collect::<Result<_, ArrowError>>()?));
    }
    let text = ArrayFormatter::try_new(column, &FormatOptions::default())?.value(row).to_string();
    let plain = column.data_type().is_numeric() || *column.data_type() == DataType::Boolean;
    Ok(if plain { serde_json::from_str(&text).unwrap_or(Value::String(text)) } else { Value::String(text) })
}

/// Time, service, what it is, attributes.
fn page_line(row: &Map<String, Value>) -> String {
    let text = |key: &str| row.get(key).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).unwrap_or_default();
    let first = |keys: &[&str]| keys.iter().map(|key| text(key)).find(|text| !text.is_empty()).unwrap_or_default();
    let what: Vec<String> = ["SeverityText", "SpanKind", "SpanName", "Body", "StatusCode", "MetricName", "Value", "Count", "Sum"]
        .iter()
        .map(|key| text(key))
        .filter(|text| !text.is_empty())
        .collect();
    let attributes = ["SpanAttributes", "LogAttributes", "Attributes"].iter().find_map(|key| row.get(*key)?.as_object());
    let pairs = attributes.into_iter().flatten().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    let line = format!(
        "{}  {}  {}  {}",
        first(&["Timestamp", "TimeUnix"]),
        text("ServiceName"),
        what.join(" "),
        pairs.collect::<Vec<_>>().join(" ")
    );
    terminal::plain(line.trim_end()) + "\n"
}
