use std::ops::RangeInclusive;

use federation_proto::header::BatchHeader;
use federation_proto::identity::Signal;
use federation_proto::ledger::Reason;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use parking_lot::Mutex;
use prost::Message;
use segment_log::{MemoryIndex, SimStore};

use super::*;
use crate::journal::JournalOptions;
use crate::journal::book::UnitLimits;
use crate::testing::{batch_id, encoded, header, origin};
use crate::tier::{Pace, Unfinished};

const PACE: Pace = Pace { interval: Duration::from_secs(5), limits: UnitLimits { rows: 100, raw_bytes: 1000 } };

fn plan(full: bool) -> Plan {
    Plan { range: 0..=0, batches: Vec::new(), rows: 1, raw_bytes: 1, full }
}

/// A unit is due its interval after its first batch was seen, however it grows; at once when full; never when nothing waits.
#[test]
fn a_unit_is_due_when_full_or_old() {
    let (start, mut pacer) = (origin(), Pacer::default());
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(pacer.look(at(0), None, &PACE, true), Due::Idle);
    assert_eq!(pacer.look(at(1), Some(&plan(false)), &PACE, false), Due::At(at(6)));
    assert_eq!(pacer.look(at(4), Some(&plan(false)), &PACE, false), Due::At(at(6)));
    assert_eq!(pacer.look(at(4), Some(&plan(true)), &PACE, false), Due::Now);
    assert_eq!(pacer.look(at(4), Some(&plan(false)), &PACE, true), Due::Now);
    assert_eq!(pacer.look(at(6), Some(&plan(false)), &PACE, false), Due::Now);
    pacer.taken();
    assert_eq!(pacer.look(at(7), Some(&plan(false)), &PACE, false), Due::At(at(12)));
    assert_eq!(pacer.look(at(8), None, &PACE, false), Due::Idle);
    assert_eq!(pacer.look(at(9), Some(&plan(false)), &PACE, false), Due::At(at(14)));
}

/// Waits double up to their bound, are never shorter than the tier asks for, and start small again after a success.
#[test]
fn waits_double_within_their_bound() {
    let mut backoff = Backoff::default();
    let waits: Vec<Duration> = (0..40).map(|_| backoff.next_wait(Duration::ZERO, 0.0)).collect();
    assert_eq!(waits[..3], [Backoff::FIRST, Backoff::FIRST * 2, Backoff::FIRST * 4]);
    assert_eq!(waits[39], Backoff::MOST);
    assert_eq!(backoff.next_wait(Duration::from_secs(100), 1.0), Duration::from_secs(100));
    assert_eq!(backoff.next_wait(Duration::ZERO, 1.0), Backoff::MOST.mul_f64(1.25));
    backoff.reset();
    assert_eq!(backoff.next_wait(Duration::ZERO, 0.0), Backoff::FIRST);
}

/// What a scripted tier does with its next write.
#[derive(Debug, Clone, Copy)]
enum Next {
    Take,
    Refuse,
    Reject,
    Panic,
}

/// A tier that follows a script, then takes everything, and remembers what it took.
struct Scripted {
    unfinished: Unfinished,
    script: std::collections::VecDeque<Next>,
    taken: Arc<Mutex<Vec<RangeInclusive<u64>>>>,
}

impl Tier for Scripted {
    fn pace(&self) -> Pace {
        Pace { interval: Duration::from_secs(5), limits: UnitLimits { rows: 4, raw_bytes: u64::MAX } }
    }

    fn unfinished(&mut self, _: u64) -> Result<Unfinished, Write> {
        Ok(self.unfinished.clone())
    }

    fn write(&mut self, unit: Arc<Unit>) -> crate::tier::Writing<'_> {
        let next = self.script.pop_front().unwrap_or(Next::Take);
        Box::pin(async move {
            match next {
                Next::Take => {
                    self.taken.lock().push(unit.range.clone());
                    let mut delivered = Ledger::<TierTerms>::default();
                    for batch in &unit.batches {
                        delivered.account(&batch.tenant, batch.signal).delivered += batch.columns.rows() as u64;
                    }
                    Ok(delivered)
                }
                Next::Refuse => Err(Write::Retry { after: Duration::from_secs(3), why: "down".to_owned() }),
                Next::Panic => panic!("a bug in the writer"),
                Next::Reject => Err(Write::Reject { reason: Reason::TooLarge, why: "too large".to_owned() }),
            }
        })
    }
}

/// A journal with two batches of two rows, and for one of its tiers a consumer with a script.
struct Bench {
    journal: Journal,
    readiness: Readiness,
    flush: Shutdown,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(tiers: &[&str]) -> Self {
        let store = SimStore::new(1);
        let options = JournalOptions { budget: 64 << 20, segment: 1 << 20, max_batch: 1 << 20, queue: 1 << 20 };
        let tiers: Vec<String> = tiers.iter().map(|&t| t.to_owned()).collect();
        let (journal, _) = Journal::on_store(Arc::new(store), Box::new(MemoryIndex::new()), &options, &tiers).unwrap();
        Self { journal, readiness: Readiness::new(), flush: Shutdown::new(), dir: tempfile::tempdir().unwrap() }
    }

    fn put(&self, header: BatchHeader, payload: Vec<u8>) {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        self.journal.append(header, payload.into(), move |result| answer.send(result).unwrap());
        answered.recv().unwrap().unwrap();
    }

    fn put_logs(&self, seqs: RangeInclusive<u64>) {
        for seq in seqs {
            let scope = ScopeLogs { log_records: vec![LogRecord { time_unix_nano: 1, ..LogRecord::default() }; 2], ..ScopeLogs::default() };
            let request =
                ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }] };
            let (header, payload) = encoded(batch_id(1, seq), "acme", Signal::Logs, &request.encode_to_vec());
            self.put(header, payload);
        }
    }

    fn consumer(&self, index: usize, script: &[Next]) -> (Consumer, Arc<Mutex<Vec<RangeInclusive<u64>>>>) {
        self.interrupted(index, script, Unfinished::default())
    }

    fn interrupted(&self, index: usize, script: &[Next], unfinished: Unfinished) -> (Consumer, Arc<Mutex<Vec<RangeInclusive<u64>>>>) {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let tier = Box::new(Scripted { unfinished, script: script.iter().copied().collect(), taken: Arc::clone(&taken) });
        let consumer = Consumer {
            index,
            name: format!("t{index}"),
            tier,
            journal: self.journal.clone(),
            quarantine: Arc::new(Quarantine::new(self.dir.path())),
            readiness: self.readiness.clone(),
            flush: self.flush.clone(),
        };
        (consumer, taken)
    }

    fn terms(&self, index: usize) -> TierTerms {
        let book = self.journal.book();
        let tier = book.tiers().nth(index).unwrap();
        tier.ledger.iter().next().map(|(_, _, terms)| terms.clone()).unwrap_or_default()
    }
}

/// A tier that refuses keeps its cursor, is not ready meanwhile, and gets exactly the same unit again until it takes it.
#[tokio::test(start_paused = true)]
async fn a_refusing_tier_gets_the_same_unit_again() {
    let bench = Bench::new(&["t0"]);
    bench.put_logs(0..=1);
    let (consumer, taken) = bench.consumer(0, &[Next::Refuse, Next::Refuse, Next::Take]);
    let started = tokio::time::Instant::now();
    let running = tokio::spawn(consumer.run());
    while bench.terms(0).delivered == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(started.elapsed() >= Duration::from_secs(6), "twice the wait that the tier asked for");
    assert_eq!(taken.lock().len(), 1);
    assert!(bench.readiness.is_ready());
    bench.flush.request();
    running.await.unwrap();
    assert_eq!((bench.terms(0).delivered, bench.terms(0).journalled), (4, 4));
}

/// What a tier refuses for good is in the ledger with its reason, and the tier goes on with the next unit.
#[tokio::test(start_paused = true)]
async fn a_unit_refused_for_good_is_counted_and_passed() {
    let bench = Bench::new(&["t0"]);
    bench.put_logs(0..=3);
    let (consumer, taken) = bench.consumer(0, &[Next::Reject]);
    bench.flush.request();
    consumer.run().await;
    let terms = bench.terms(0);
    assert_eq!((terms.rejected[&Reason::TooLarge], terms.delivered), (4, 4));
    assert!(federation_proto::ledger::Terms::balanced(&terms, 0));
    assert_eq!(taken.lock().len(), 1);
}

/// A tier that is down does not hold another one up, and its records stay on the journal.
#[tokio::test(start_paused = true)]
async fn a_tier_that_is_down_stops_no_other() {
    let bench = Bench::new(&["t0", "t1"]);
    bench.put_logs(0..=3);
    let (down, _) = bench.consumer(0, &[Next::Refuse; 1000]);
    let (up, taken) = bench.consumer(1, &[]);
    bench.flush.request();
    down.run().await;
    up.run().await;
    assert_eq!(taken.lock().len(), 2);
    assert_eq!((bench.terms(0).delivered, bench.terms(1).delivered), (0, 8));
    assert!(!bench.readiness.is_ready(), "the one that is down says so");
    let book = bench.journal.book();
    assert_eq!(book.tiers().next().unwrap().queued.values().sum::<u64>(), 8);
}

/// A batch that does not decode, or has other rows than its header says, is kept for a person, counted, and holds nothing up.
#[tokio::test(start_paused = true)]
async fn what_does_not_decode_is_kept_and_counted() {
    let bench = Bench::new(&["t0"]);
    bench.put(header(1, 0, b"no batch"), b"no batch".to_vec());
    bench.put_logs(1..=1);
    let (consumer, taken) = bench.consumer(0, &[]);
    bench.flush.request();
    consumer.run().await;
    let terms = bench.terms(0);
    assert_eq!((terms.dropped[&Reason::Undecodable], terms.delivered), (10, 2));
    assert_eq!(taken.lock().len(), 2);
    let kept: Vec<_> = std::fs::read_dir(bench.dir.path().join("quarantine")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 1);
    let expected = [header(1, 0, b"no batch").encode(), b"no batch".to_vec()].concat();
    assert_eq!(std::fs::read(&kept[0]).unwrap(), expected);
}

/// What a crash interrupted is written again as the same unit, though more waits; what was delivered before is not written again.
#[tokio::test(start_paused = true)]
async fn what_was_begun_is_finished_as_it_was() {
    let bench = Bench::new(&["t0"]);
    bench.put_logs(0..=5);
    let first = bench.journal.book().plan(0, UnitLimits { rows: 2, raw_bytes: u64::MAX }).unwrap().batches[0].seq.0;
    let unfinished = Unfinished { delivered_below: Some(first + 2), redo: Some(first + 2..=first + 2) };
    let (consumer, taken) = bench.interrupted(0, &[], unfinished);
    bench.flush.request();
    consumer.run().await;
    assert_eq!(*taken.lock(), [first + 2..=first + 2, first + 3..=first + 4, first + 5..=first + 5]);
    assert_eq!((bench.terms(0).delivered, bench.terms(0).journalled), (12, 12));
}

/// A tier that remembers records which the journal never had (the journal was put back from a copy) makes no record skipped.
#[tokio::test(start_paused = true)]
async fn a_journal_put_back_from_a_copy_skips_nothing() {
    let bench = Bench::new(&["t0"]);
    bench.put_logs(0..=1);
    let (consumer, taken) = bench.interrupted(0, &[], Unfinished { delivered_below: Some(500), redo: Some(500..=600) });
    bench.flush.request();
    consumer.run().await;
    assert_eq!(taken.lock().len(), 1);
    assert_eq!(bench.terms(0).delivered, 4);
}

/// Batches whose headers understate them are not decoded side by side; what was begun as one unit still is one.
#[tokio::test(start_paused = true)]
async fn understated_batches_come_one_at_a_time() {
    let body = any_value::Value::StringValue("x".repeat(200 << 10));
    let record = LogRecord { time_unix_nano: 1, body: Some(AnyValue { value: Some(body) }), ..LogRecord::default() };
    let scope = ScopeLogs { log_records: vec![record; 2], ..ScopeLogs::default() };
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }] };
    for (raw_bytes, begun, units) in [(0, false, 2), (0, true, 1), (400 << 10, false, 1)] {
        let bench = Bench::new(&["t0"]);
        let first = bench.journal.book().applied().0;
        for seq in 0..2 {
            let (header, payload) = encoded(batch_id(1, seq), "acme", Signal::Logs, &request.encode_to_vec());
            bench.put(BatchHeader { raw_bytes, ..header }, payload);
        }
        let redo = begun.then(|| first..=first + 1);
        let (consumer, taken) = bench.interrupted(0, &[], Unfinished { delivered_below: None, redo });
        bench.flush.request();
        consumer.run().await;
        assert_eq!(taken.lock().len(), units, "{raw_bytes} raw bytes, begun: {begun}");
        assert_eq!((bench.terms(0).delivered, bench.terms(0).journalled), (4, 4));
    }
}

/// A tier that panics once writes the unit after all; a unit at which it panics each time is counted, kept for a person, and passed
/// over, and what comes behind it is delivered.
#[tokio::test(start_paused = true)]
async fn a_unit_that_panics_each_time_is_put_aside() {
    for (panics, taken, delivered, kept) in [(1, 2, 6, 0), (MAX_PANICS, 1, 2, 2)] {
        let bench = Bench::new(&["t0"]);
        bench.put_logs(0..=2);
        let (consumer, units) = bench.consumer(0, &vec![Next::Panic; panics as usize]);
        let running = tokio::spawn(consumer.run());
        while bench.journal.book().cursor(0) != Some(Seq(3)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bench.flush.request();
        running.await.unwrap();
        let terms = bench.terms(0);
        assert_eq!((units.lock().len(), terms.delivered, terms.journalled), (taken, delivered, 6), "{panics} panics");
        assert_eq!(terms.rejected.get(&Reason::Unwritable).copied().unwrap_or(0), 6 - delivered);
        let files = std::fs::read_dir(bench.dir.path().join("quarantine")).map_or(0, Iterator::count);
        assert_eq!(files, kept);
    }
}
