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
    assert_eq!(verdict, Verdict { acknowledged: 5, found_once: 2, lost: 2, doubled: 2, unacknowledged: 2 });
    assert!(!verdict.is_clean());
}

/// Connects come as counts: too few are lost, too many doubled, and those that nobody acknowledged are neither.
#[test]
fn judges_counts_by_key() {
    let acknowledged = [("a", 5), ("b", 5), ("c", 5)].into_iter().collect();
    let verdict = of_counts(&acknowledged, [("a", 2), ("a", 3), ("b", 4), ("c", 10), ("d", 7)]);
    assert_eq!(verdict, Verdict { acknowledged: 15, found_once: 14, lost: 1, doubled: 5, unacknowledged: 7 });
}
