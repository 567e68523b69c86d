//! A small tier with two tenants, and statements against it.

mod formats;
mod isolation;
mod limits;
mod pruning;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow_schema::{Field, Schema, SchemaRef};
use federation_proto::identity::TenantId;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::output::Bounded;
use crate::{Format, Limits, Queries, QueryError, Table, Written};

/// 2026-11-22T00:00:00Z.
const MIDNIGHT: i64 = 1_795_305_600_000_000_000;
const HOUR: i64 = 3_600_000_000_000;

fn rows(rows: &[(i64, &str)]) -> RecordBatch {
    let times = TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.0)).with_timezone("UTC");
    let bodies = StringArray::from_iter_values(rows.iter().map(|row| row.1));
    let values: Float64Array = rows.iter().map(|row| (row.1 != "none").then_some(0.5)).collect();
    let names = MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let mut attributes = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for (_, body) in rows {
        attributes.keys().append_value("body.is");
        attributes.values().append_value(body);
        attributes.append(true).unwrap();
    }
    let columns: [(&str, ArrayRef, bool); 4] = [
        ("Timestamp", Arc::new(times), false),
        ("Body", Arc::new(bodies), false),
        ("Value", Arc::new(values), true),
        ("LogAttributes", Arc::new(attributes.finish()), false),
    ];
    let fields: Vec<Field> = columns.iter().map(|(name, array, null)| Field::new(*name, array.data_type().clone(), *null)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|column| column.1).collect()).unwrap()
}

fn schema() -> SchemaRef {
    rows(&[]).schema()
}

fn tables() -> Vec<Table> {
    ["otel_logs", "otel_empty"].map(|name| Table { name: name.to_owned(), schema: schema(), time: "Timestamp".to_owned() }).into()
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

/// A tier in a directory of its own.
struct Tier(tempfile::TempDir);

impl Tier {
    /// acme has two rows in each of the hours 14, 15 and 16 of 2026-11-22, and one row without a time; beta has a secret.
    fn new() -> Self {
        let tier = Self(tempfile::tempdir().unwrap());
        for hour in [14, 15, 16] {
            let start = MIDNIGHT + hour * HOUR;
            tier.put(
                "acme",
                &format!("day=2026-11-22/hour={hour:02}"),
                &rows(&[(start, &format!("{hour}a")), (start + 1, &format!("{hour}b"))]),
            );
        }
        tier.put("acme", "day=1970-01-01/hour=00", &rows(&[(0, "none")]));
        tier.put("beta", "day=2026-11-22/hour=15", &rows(&[(MIDNIGHT + 15 * HOUR, SECRET)]));
        tier
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn dir(&self, of: &str, partition: &str) -> PathBuf {
        self.path().join(format!("tenant={of}/table=otel_logs/{partition}"))
    }

    fn put(&self, of: &str, partition: &str, rows: &RecordBatch) {
        let dir = self.dir(of, partition);
        std::fs::create_dir_all(&dir).unwrap();
        let file = std::fs::File::create(dir.join("0-1-2.parquet")).unwrap();
        let zstd = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap())).build();
        let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(zstd)).unwrap();
        writer.write(rows).unwrap();
        writer.close().unwrap();
    }

    /// Replaces the hour's file with bytes that are no Parquet: whoever opens it fails.
    fn spoil(&self, of: &str, partition: &str) {
        std::fs::write(self.dir(of, partition).join("0-1-2.parquet"), "not a parquet file, and whoever opens it says so").unwrap();
    }

    fn queries(&self) -> Queries {
        Queries::new(self.path(), tables(), 4).unwrap()
    }
}

/// What beta's one record says.
const SECRET: &str = "beta-secret";

fn ask_with(queries: &Queries, of: &str, sql: &str, limits: Limits, format: Format) -> Result<(String, Written), QueryError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let of = tenant(of);
    let answer = queries.answer(&of, sql.to_owned(), limits, format, Bounded::new(1 << 20));
    runtime.block_on(answer).map(|(sink, written)| (String::from_utf8(sink.into_bytes()).unwrap(), written))
}

/// acme asks, with the limits of a user who set none.
fn ask(tier: &Tier, sql: &str) -> Result<String, QueryError> {
    ask_with(&tier.queries(), "acme", sql, Limits::default(), Format::Csv).map(|(text, _)| text)
}
