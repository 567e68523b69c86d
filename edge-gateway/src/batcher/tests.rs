use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { rows: 100, raw_bytes: 10_000, age: Duration::from_secs(5), open_bytes: 25_000 };

#[expect(clippy::disallowed_methods, reason = "a starting point; the tests move it by hand")]
fn start() -> Instant {
    Instant::now()
}

fn key(tenant: u8, signal: Signal) -> Key {
    Key { tenant: TenantId::new(&format!("t{tenant}")).unwrap(), signal, class: Class::Medium }
}

fn arrival(source: u64, rows: u32, bytes: usize) -> Arrival {
    Arrival { source: Seq(source), rows: 0..rows, of: rows, body: Bytes::from(vec![0; bytes]) }
}

/// Rows of each (key, entry) in what was closed, sorted.
fn rows_seen(closed: &[Closed]) -> BTreeMap<(Key, u64), Vec<u32>> {
    let mut seen: BTreeMap<(Key, u64), Vec<u32>> = BTreeMap::new();
    for batch in closed {
        for part in &batch.parts {
            seen.entry((batch.key.clone(), part.source.0)).or_default().extend(part.rows.clone());
        }
    }
    seen.values_mut().for_each(|rows| rows.sort_unstable());
    seen
}

proptest! {
    /// Whatever comes, each row leaves once, under its own key, in a batch within the limits; open bytes stay within the budget.
    #[test]
    fn each_row_once_within_limits(
        arrivals in proptest::collection::vec((0u8..4, 1u32..350, 1usize..40_000, 0u64..3_000), 1..60),
    ) {
        let mut now = start();
        let mut batcher = Batcher::new(LIMITS);
        let mut closed = Vec::new();
        let mut pushed = BTreeMap::new();
        for (source, (tenant, rows, bytes, wait_ms)) in arrivals.into_iter().enumerate() {
            now += Duration::from_millis(wait_ms);
            closed.extend(batcher.due(now));
            let key = key(tenant, Signal::Traces);
            pushed.insert((key.clone(), source as u64), (0..rows).collect::<Vec<_>>());
            closed.extend(batcher.push(now, &key, arrival(source as u64, rows, bytes)));
            prop_assert!(batcher.open_bytes() <= LIMITS.open_bytes);
            prop_assert!(batcher.next_deadline().is_none_or(|due| due > now && due <= now + LIMITS.age));
        }
        closed.extend(batcher.drain());
        prop_assert_eq!(batcher.next_deadline(), None);
        prop_assert_eq!(rows_seen(&closed), pushed);
        for batch in &closed {
            prop_assert!(batch.rows <= LIMITS.rows);
            prop_assert!(batch.raw_bytes <= LIMITS.raw_bytes || batch.rows == 1, "{} bytes, {} rows", batch.raw_bytes, batch.rows);
            prop_assert_eq!(batch.rows, batch.parts.iter().map(|part| part.rows.end - part.rows.start).sum::<u32>());
        }
    }
}

/// A batch waits for its age from its first row, not from its last, and not a moment less.
#[test]
fn age_counts_from_the_first_row() {
    let t0 = start();
    let mut batcher = Batcher::new(LIMITS);
    let key = key(0, Signal::Logs);
    assert!(batcher.push(t0, &key, arrival(1, 1, 10)).is_empty());
    assert!(batcher.push(t0 + Duration::from_secs(4), &key, arrival(2, 1, 10)).is_empty());
    assert_eq!(batcher.next_deadline(), Some(t0 + LIMITS.age));
    assert!(batcher.due(t0 + LIMITS.age - Duration::from_nanos(1)).is_empty());
    let closed = batcher.due(t0 + LIMITS.age);
    assert_eq!((closed.len(), closed[0].rows, closed[0].why), (1, 2, Why::Age));
}

/// A full batch leaves at once, and what would overflow an open batch goes whole into the next.
#[test]
fn a_request_that_fits_a_batch_is_not_cut() {
    let now = start();
    let mut batcher = Batcher::new(LIMITS);
    let key = key(0, Signal::Metrics);
    assert!(batcher.push(now, &key, arrival(1, 60, 600)).is_empty());
    let closed = batcher.push(now, &key, arrival(2, 60, 600));
    assert_eq!((closed.len(), closed[0].rows, closed[0].why), (1, 60, Why::Full));
    let closed = batcher.push(now, &key, arrival(3, 40, 400));
    assert_eq!((closed.len(), closed[0].rows, closed[0].why), (1, 100, Why::Full));
    assert_eq!(batcher.open_bytes(), 0);
}

/// Over the budget the largest goes, and only the largest.
#[test]
fn the_budget_takes_the_largest() {
    let now = start();
    let mut batcher = Batcher::new(LIMITS);
    for (tenant, bytes) in [(0, 8_000), (1, 9_000), (2, 7_000)] {
        assert!(batcher.push(now, &key(tenant, Signal::Traces), arrival(u64::from(tenant), 1, bytes)).is_empty());
    }
    let closed = batcher.push(now, &key(3, Signal::Traces), arrival(9, 1, 2_000));
    assert_eq!(closed.iter().map(|batch| (batch.key.clone(), batch.why)).collect::<Vec<_>>(), [(key(1, Signal::Traces), Why::Budget)]);
    assert_eq!(batcher.open_bytes(), 17_000);
}
