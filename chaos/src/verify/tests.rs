//! A verdict that could not say "lost" or "doubled" would prove nothing.

use std::sync::Arc;

use std::fs::File;

use arrow_array::{Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;

use super::ack_log::AckLog;
use super::*;

fn spans(tier: &Path, tenant: &str, file: &str, ids: &[u64]) {
    let folder = tier.join(format!("tenant={tenant}/table=otel_traces/day=2026-01-01/hour=00"));
    std::fs::create_dir_all(&folder).unwrap();
    let ids: StringArray = ids.iter().map(|id| Some(format!("{id:016x}"))).collect();
    let batch = RecordBatch::try_from_iter([("SpanId", Arc::new(ids) as Arc<dyn Array>)]).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(folder.join(file)).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Lost, doubled and misplaced records are each seen; records nobody acknowledged count only when they are there twice.
#[test]
fn tells_lost_from_found_from_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let (tier, log) = (dir.path().join("tier"), dir.path().join("log"));
    let ids = |ids: &[u64]| ids.iter().map(|id| RecordId::Span(id.to_be_bytes())).collect::<Vec<_>>();
    let mut acks = AckLog::create(&log).unwrap();
    acks.acknowledged(Signal::Traces, ids(&[1, 2, 3, 4, 5])).unwrap();
    acks.finish().unwrap();
    spans(&tier, "acme", "a.parquet", &[1, 2, 3, 77, 78]);
    spans(&tier, "acme", "b.parquet", &[3, 78]);
    spans(&tier, "globex", "c.parquet", &[4]);
    let verdicts = verify(&tier, &[(TenantId::new("acme").unwrap(), log)]).unwrap();
    let verdict = verdicts[&Signal::Traces];
    assert_eq!(verdict, Verdict { acknowledged: 5, found_once: 2, lost: 2, doubled: 2, possibly_doubled: 0, unacknowledged: 2 });
    assert!(!verdict.is_clean());
}

/// A record at two routers is possibly doubled; twice at one of them it is doubled, whatever the other has.
#[test]
fn tells_doubles_across_routers_from_doubles_at_one() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two, log) = (dir.path().join("r1"), dir.path().join("r2"), dir.path().join("log"));
    let mut acks = AckLog::create(&log).unwrap();
    acks.acknowledged(Signal::Traces, [1u64, 2, 3, 4].map(|id| RecordId::Span(id.to_be_bytes()))).unwrap();
    acks.finish().unwrap();
    spans(&one, "acme", "a.parquet", &[1, 2, 3, 3]);
    spans(&two, "acme", "b.parquet", &[2, 3]);
    let verdicts = verify_all(&[one, two], &[(TenantId::new("acme").unwrap(), log)]).unwrap();
    let told = Verdict { acknowledged: 4, found_once: 1, lost: 1, doubled: 1, possibly_doubled: 1, unacknowledged: 0 };
    assert_eq!(verdicts[&Signal::Traces], told);
    assert!(!told.is_clean() && Verdict { lost: 0, doubled: 0, acknowledged: 2, ..told }.is_clean());
}

/// Connects come as counts: too few are lost, too many doubled, and those that nobody acknowledged are neither.
#[test]
fn judges_counts_by_key() {
    let acknowledged = [("a", 5), ("b", 5), ("c", 5)].into_iter().collect();
    let verdict = of_counts(&acknowledged, [("a", 2), ("a", 3), ("b", 4), ("c", 10), ("d", 7)]);
    assert_eq!(verdict, Verdict { acknowledged: 15, found_once: 14, lost: 1, doubled: 5, possibly_doubled: 0, unacknowledged: 7 });
}
