//! The local tier against crashes at every step, and its files read back.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use bytes::Bytes;
use federation_proto::codec::{DecodeLimits, Decoder};
use federation_proto::identity::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use prost::Message;

use super::disk::SimDisk;
use super::*;
use crate::testing::{batch_id, encoded};

const HOUR: u64 = 3_600_000_000_000;
const JOURNAL: [u8; 16] = [0xab; 16];

fn config(path: &str) -> LocalConfig {
    LocalConfig {
        path: PathBuf::from(path),
        flush_interval: default_flush_interval(),
        flush_bytes: default_flush_bytes(),
        flush_rows: default_flush_rows(),
        zstd_level: 1,
    }
}

fn text(value: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) })
}

/// A batch of log records with these bodies and times.
fn logs(seq: u64, tenant: &str, records: &[(String, u64)]) -> UnitBatch {
    let records = records.iter().map(|(body, time)| LogRecord { time_unix_nano: *time, body: text(body), ..LogRecord::default() });
    let scope = ScopeLogs { log_records: records.collect(), ..ScopeLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }] };
    let (header, payload) = encoded(batch_id(1, seq), tenant, Signal::Logs, &request.encode_to_vec());
    let columns = Decoder::decode(header.signal, header.encoding, &payload, &DecodeLimits::default()).unwrap();
    UnitBatch { seq, tenant: header.tenant, signal: header.signal, raw_bytes: header.raw_bytes, columns }
}

/// Record `seq` of the journal: two rows of one tenant or the other, an hour apart.
fn record(seq: u64) -> UnitBatch {
    let tenant = if seq.is_multiple_of(2) { "acme" } else { "beta" };
    logs(seq, tenant, &[(format!("{seq}a"), 500_000 * HOUR + seq), (format!("{seq}b"), 500_001 * HOUR + seq)])
}

fn unit(range: RangeInclusive<u64>) -> Unit {
    Unit { journal: JOURNAL, batches: range.clone().map(record).collect(), range }
}

/// All rows of the whole files on a disk: body by path.
fn read_back(files: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<(PathBuf, String)> {
    let mut rows = Vec::new();
    for (path, content) in files.iter().filter(|(path, _)| path.extension().is_some_and(|extension| extension == "parquet")) {
        for batch in batches_of(content) {
            let bodies = batch.column_by_name("Body").unwrap().as_string::<i32>();
            rows.extend(bodies.iter().map(|body| (path.clone(), body.unwrap().to_owned())));
        }
    }
    rows
}

fn batches_of(content: &[u8]) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(content)).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

/// A router that writes records 0..`records` in units, from a durable cursor: what is between cursor and `arrived` is there to be
/// written. Each attempt ends at a power cut or when all is written.
struct Router {
    disk: SimDisk,
    cursor: u64,
    arrived: u64,
    records: u64,
}

impl Router {
    fn attempt(&mut self) -> Result<(), Write> {
        let open = LocalTier::on_disk(Box::new(self.disk.clone()), &config("/p"), JOURNAL);
        let mut tier = open.map_err(|error| Write::Retry { after: RETRY_DISK, why: error.to_string() })?;
        let begun = tier.unfinished(self.cursor)?;
        assert_eq!(begun.delivered_below, None);
        let mut redo = begun.redo;
        while self.cursor < self.records {
            let range = redo.take().unwrap_or(self.cursor..=self.arrived - 1);
            assert_eq!(*range.start(), self.cursor);
            tier.write_now(&unit(range.clone()))?;
            if self.disk.is_off() {
                return Err(Write::Retry { after: RETRY_DISK, why: "the power went before the cursor moved".to_owned() });
            }
            self.cursor = range.end() + 1;
            self.arrived = (self.arrived + 1).min(self.records);
        }
        Ok(())
    }
}

fn steps() -> u64 {
    let mut router = Router { disk: SimDisk::default(), cursor: 0, arrived: 2, records: 4 };
    router.attempt().unwrap();
    router.disk.steps()
}

/// The power goes at every step of writing units, with more records waiting after the restart than before it: each row is in the files
/// once, whether the disk kept what was not synced or lost it.
#[test]
fn a_crash_at_any_step_leaves_each_row_once() {
    let expected: Vec<String> = (0..4).flat_map(|seq| [format!("{seq}a"), format!("{seq}b")]).collect();
    for lucky in [false, true] {
        for cut in 0..=steps() {
            let mut router = Router { disk: SimDisk::default(), cursor: 0, arrived: 2, records: 4 };
            router.disk.cut_power_at(cut);
            if router.attempt().is_err() {
                router.disk.restart(lucky);
                router.arrived = 4;
                router.attempt().unwrap_or_else(|error| panic!("cut at {cut}, lucky {lucky}: {error}"));
            }
            router.disk.restart(false);
            let mut found: Vec<String> = read_back(&router.disk.files()).into_iter().map(|(_, body)| body).collect();
            found.sort();
            assert_eq!(found, expected, "cut at {cut}, lucky {lucky}");
        }
    }
}

/// The journal fell back to an older checkpoint: what the newest manifest says was delivered is not written again, and its own unit is
/// written as it was.
#[test]
fn a_cursor_that_fell_back_doubles_nothing() {
    let disk = SimDisk::default();
    let mut tier = LocalTier::on_disk(Box::new(disk.clone()), &config("/p"), JOURNAL).unwrap();
    for range in [0..=1, 2..=3, 4..=5] {
        tier.write_now(&unit(range)).unwrap();
    }
    assert_eq!(tier.unfinished(2).unwrap(), Unfinished { delivered_below: Some(4), redo: Some(4..=5) });
    assert_eq!(tier.unfinished(4).unwrap(), Unfinished { delivered_below: None, redo: Some(4..=5) });
    assert_eq!(tier.unfinished(6).unwrap(), Unfinished::default());
    tier.write_now(&unit(4..=5)).unwrap();
    assert_eq!(read_back(&disk.files()).len(), 12);
    let mut other = LocalTier::on_disk(Box::new(disk.clone()), &config("/p"), [0xcd; 16]).unwrap();
    assert_eq!(other.unfinished(0).unwrap(), Unfinished::default(), "another journal's manifest says nothing here");
}

/// A damaged manifest does not stop the tier, and its unit is still the same.
#[test]
fn a_damaged_manifest_still_says_which_unit() {
    let disk = SimDisk::default();
    let mut tier = LocalTier::on_disk(Box::new(disk.clone()), &config("/p"), JOURNAL).unwrap();
    tier.write_now(&unit(3..=5)).unwrap();
    let path = disk.files().into_keys().find(|path| path.starts_with("/p/_manifests")).unwrap();
    drop(disk.create(&path).unwrap());
    assert_eq!(tier.unfinished(3).unwrap().redo, Some(3..=5));
    tier.write_now(&unit(3..=5)).unwrap();
    assert_eq!(read_back(&disk.files()).len(), 6);
}

/// A second attempt at a unit that finds fewer records (one was damaged meanwhile) leaves no file of the first attempt behind.
#[test]
fn an_attempt_replaces_all_of_the_one_before() {
    let disk = SimDisk::default();
    let tier = LocalTier::on_disk(Box::new(disk.clone()), &config("/p"), JOURNAL).unwrap();
    tier.write_now(&unit(0..=1)).unwrap();
    let mut second = unit(0..=1);
    second.batches.remove(1);
    let delivered = tier.write_now(&second).unwrap();
    let mut bodies: Vec<String> = read_back(&disk.files()).into_iter().map(|(_, body)| body).collect();
    bodies.sort();
    assert_eq!(bodies, ["0a", "0b"]);
    assert_eq!(delivered.iter().map(|(_, _, terms)| terms.delivered).sum::<u64>(), 2);
}

/// Files lie where a query engine prunes by tenant, table, day and hour, are named after journal and run, and are sorted by time.
#[test]
fn files_lie_by_tenant_table_day_and_hour() {
    let disk = SimDisk::default();
    let tier = LocalTier::on_disk(Box::new(disk.clone()), &config("/p"), JOURNAL).unwrap();
    let time = 1_795_359_600_000_000_000; // 2026-11-22T15:00:00Z
    let rows = [("late".to_owned(), time + 9), ("early".to_owned(), time + 1), ("none".to_owned(), 0)];
    tier.write_now(&Unit { journal: JOURNAL, range: 7..=7, batches: vec![logs(7, "acme", &rows)] }).unwrap();
    let name = format!("{}-7-7.parquet", "ab".repeat(16));
    let place = |day: &str, hour: &str| PathBuf::from(format!("/p/tenant=acme/table=otel_logs/day={day}/hour={hour}/{name}"));
    let expected = [
        (place("1970-01-01", "00"), "none".to_owned()),
        (place("2026-11-22", "15"), "early".to_owned()),
        (place("2026-11-22", "15"), "late".to_owned()),
    ];
    assert_eq!(read_back(&disk.files()), expected);
}

/// A sender with a broken clock gets a bounded number of files; the hours with most rows keep theirs, and no row is lost.
#[test]
fn broken_clocks_make_a_bounded_number_of_files() {
    let disk = SimDisk::default();
    let tier = LocalTier::on_disk(Box::new(disk.clone()), &config("/p"), JOURNAL).unwrap();
    let mut rows: Vec<(String, u64)> = (1..=200).map(|n| (format!("scattered {n}"), n * HOUR)).collect();
    rows.extend((0..10).map(|n| (format!("true {n}"), 500_000 * HOUR + n)));
    tier.write_now(&Unit { journal: JOURNAL, range: 0..=0, batches: vec![logs(0, "acme", &rows)] }).unwrap();
    let found = read_back(&disk.files());
    let mut files: Vec<&PathBuf> = found.iter().map(|(path, _)| path).collect();
    files.dedup();
    assert_eq!((found.len(), files.len()), (210, partition::MAX_HOURS + 1));
    let truly: Vec<&PathBuf> = found.iter().filter(|(_, body)| body.starts_with("true")).map(|(path, _)| path).collect();
    assert!(truly.iter().all(|path| path.to_str().unwrap().contains("day=2027-01-15/hour=08")), "{truly:?}");
}

/// Rows that share a huge resource are written in small chunks: memory does not grow with rows times resource.
#[test]
fn huge_resources_make_small_chunks() {
    let attribute = KeyValue { key: "blob".to_owned(), value: text(&"x".repeat(1 << 20)), ..KeyValue::default() };
    let resource = opentelemetry_proto::tonic::resource::v1::Resource { attributes: vec![attribute], ..Default::default() };
    let scope = ScopeLogs { log_records: vec![LogRecord { time_unix_nano: 1, ..LogRecord::default() }; 200], ..ScopeLogs::default() };
    let resource_logs = ResourceLogs { resource: Some(resource), scope_logs: vec![scope], ..ResourceLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![resource_logs] };
    let (header, payload) = encoded(batch_id(1, 1), "acme", Signal::Logs, &request.encode_to_vec());
    let columns = Decoder::decode(header.signal, header.encoding, &payload, &DecodeLimits::default()).unwrap();
    let batches = [UnitBatch { seq: 1, tenant: header.tenant, signal: header.signal, raw_bytes: header.raw_bytes, columns }];
    let rows: Vec<RowRef> = (0..200).map(|row| RowRef { time: 1, batch: 0, row }).collect();
    let fits = weight::Weights::default().prefix(&rows, &batches, CHUNK_ROWS, CHUNK_BYTES);
    assert!((24..=32).contains(&fits), "{fits} rows of 1 MiB in 32 MiB");
    let giant = weight::Weights::default().prefix(&rows, &batches, CHUNK_ROWS, 1);
    assert_eq!(giant, 1, "a row larger than the bound goes alone");
}

/// Rows that share a large text, which the batch has once, are written in small chunks too: what a header says of their size is not asked.
#[test]
fn shared_text_makes_small_chunks() {
    let body = "x".repeat(256 << 10);
    let batches = [logs(1, "acme", &vec![(body, 1); 200])];
    let rows: Vec<RowRef> = (0..200).map(|row| RowRef { time: 1, batch: 0, row }).collect();
    let fits = weight::Weights::default().prefix(&rows, &batches, CHUNK_ROWS, CHUNK_BYTES);
    assert!((100..=128).contains(&fits), "{fits} rows of 256 KiB in 32 MiB");
}

/// On a real directory: written, synced, renamed; nothing but whole files and the manifest is left.
#[test]
fn a_real_directory_holds_whole_files_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/on/demand");
    let tier = LocalTier::open(&config(path.to_str().unwrap()), JOURNAL).unwrap();
    tier.write_now(&unit(0..=0)).unwrap();
    tier.write_now(&unit(1..=1)).unwrap();
    let manifests = OsDisk::default().list(&path.join("_manifests")).unwrap();
    assert_eq!(manifests, [format!("{}-1-1.json", "ab".repeat(16))]);
    let hour = path.join("tenant=acme/table=otel_logs/day=2027-01-15/hour=08");
    assert_eq!(OsDisk::default().list(&hour).unwrap(), [format!("{}-0-0.parquet", "ab".repeat(16))]);
    let content = OsDisk::default().read(&hour.join(format!("{}-0-0.parquet", "ab".repeat(16))), 1 << 20).unwrap();
    assert_eq!(batches_of(&content)[0].num_rows(), 1);
    assert_eq!(
        OsDisk::default().read(&hour.join(format!("{}-0-0.parquet", "ab".repeat(16))), 3).unwrap_err().kind(),
        io::ErrorKind::InvalidData
    );
}

/// Fails at, or panics over, rows whose bodies say so.
fn faulty_writer(
    file: Box<dyn DiskFile>,
    table: Table,
    rows: &[RowRef],
    batches: &[UnitBatch],
    level: ZstdLevel,
) -> Result<(), WriteError> {
    for row in rows {
        match batches[row.batch as usize].seq {
            2 => return Err(WriteError::Data("an offset overflows".to_owned())),
            4 => panic!("a bug in the writer"),
            _ => {}
        }
    }
    writer::write(file, table, rows, batches, level)
}

/// A batch that cannot be written, or at which the writer panics, costs its own rows and no other's, of its tenant or another; that is
/// the same at every attempt.
#[test]
fn a_batch_that_cannot_be_written_is_left_out_alone() {
    let disk = SimDisk::default();
    let mut tier = LocalTier::on_disk(Box::new(disk.clone()), &config("/p"), JOURNAL).unwrap();
    Arc::get_mut(&mut tier.shared).unwrap().write_with = faulty_writer;
    for _ in 0..2 {
        let outcome = tier.write_now(&unit(0..=5)).unwrap();
        let terms = |name: &str| outcome.iter().find(|(tenant, ..)| tenant.as_str() == name).map(|(.., terms)| terms.clone()).unwrap();
        let (acme, beta) = (terms("acme"), terms("beta"));
        assert_eq!((acme.delivered, acme.rejected.get(&Reason::Unwritable)), (2, Some(&4)));
        assert_eq!((beta.delivered, beta.rejected.is_empty()), (6, true));
        let mut bodies: Vec<String> = read_back(&disk.files()).into_iter().map(|(_, body)| body).collect();
        bodies.sort();
        assert_eq!(bodies, ["0a", "0b", "1a", "1b", "3a", "3b", "5a", "5b"]);
    }
}
