//! The way in over disks that fail while it works.

use std::collections::HashMap;
use std::task::Poll;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use segment_log::{CommitterOptions, Fault, Log, MemoryIndex, Options, SimStore};

use super::*;
use crate::batcher;
use crate::compression::Thrift;
use crate::config::RawIdentity;
use crate::custody::{Settings, recover};
use crate::identity::Identities;

struct Disks {
    inbox: SimStore,
    spool: SimStore,
}

/// The edge's middle: no sockets before it, no link behind it.
struct Middle {
    ingest: Ingest,
    custody: Arc<Mutex<Custody>>,
    inbox: Committer,
}

fn log(store: &SimStore) -> (Log, segment_log::Recovery) {
    let options = Options { segment_bytes: 64 << 10, budget_bytes: 1 << 20, max_record_bytes: 32 << 10, ..Options::default() };
    Log::open(Arc::new(store.clone()), Box::new(MemoryIndex::new()), options).unwrap()
}

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn body(n: u64) -> Bytes {
    let record = LogRecord { time_unix_nano: n, severity_text: "x".repeat(100), ..LogRecord::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] };
    Bytes::from(request.encode_to_vec())
}

/// A body whose last owner panics.
struct Bomb(Bytes);

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the test's own");
    }
}

impl Middle {
    fn start(disks: &Disks) -> Self {
        let ((inbox, inbox_found), (spool, spool_found)) = (log(&disks.inbox), log(&disks.spool));
        let batch = batcher::Limits { rows: 1000, raw_bytes: 1 << 20, age: Duration::from_secs(60), open_bytes: 1 << 20 };
        let identities = Identities::from_raw(&RawIdentity::default(), HashMap::new()).unwrap();
        let recovered = recover(Settings { batch, recent: 64, identities }, (&inbox, &inbox_found), (&spool, &spool_found));
        let custody = Arc::new(Mutex::new(recovered.custody));
        let committer = |log| Committer::start(log, CommitterOptions::default());
        let (inbox, spool) = (committer(inbox), committer(spool));
        let encoders = EncoderPool::start(1, Arc::clone(&custody), spool, Box::new(|_| ()), || ()).unwrap();
        let ingest = Ingest::new(Arc::clone(&custody), inbox.clone(), encoders, 16 << 10, Thrift::new(1 << 20));
        Self { ingest, custody, inbox }
    }

    async fn send(&self, n: u64) -> Result<(), Refusal> {
        self.give(body(n)).await
    }

    async fn give(&self, open: Bytes) -> Result<(), Refusal> {
        self.ingest.accept(Signal::Logs, &acme(), Body { open, packed: None }).await
    }

    /// Rows received, rows refused with `reason`, and rows that lie here.
    fn account(&self, reason: Reason) -> (u64, u64, u64) {
        let custody = self.custody.lock();
        let (_, _, terms, queued, _) = custody.accounts().next().unwrap();
        (terms.received, terms.refused.get(&reason).copied().unwrap_or(0), queued.total())
    }
}

/// A disk that becomes full, one that fails, and one that takes nothing any more, under way: who sends is told to come again, each row of
/// it is counted with its reason, and the edge goes on when the disk does; what had its OK is there after the next start, and what had
/// none is not counted as if it were.
#[tokio::test]
async fn a_disk_that_fails_under_way_refuses_and_loses_nothing() {
    let disks = Disks { inbox: SimStore::new(1), spool: SimStore::new(2) };
    let middle = Middle::start(&disks);
    for n in 0..5 {
        middle.send(n).await.unwrap();
    }
    disks.inbox.set_capacity(0);
    for n in 5..8 {
        let refused = middle.send(n).await.unwrap_err();
        assert!(matches!(refused, Refusal::Unavailable(_)), "{refused}");
    }
    assert!(middle.ingest.disk_refuses());
    disks.inbox.set_capacity(u64::MAX);
    middle.send(5).await.unwrap();
    assert!(!middle.ingest.disk_refuses());
    let mut refusals = 3;
    for fault in [Fault::Io, Fault::Full] {
        // Several in a row: the inbox's own thread may still be at work behind the last answer.
        let done = disks.inbox.operations();
        (1..=4).for_each(|n| disks.inbox.fail_at(done + n, fault));
        let refused = middle.send(6).await.unwrap_err();
        assert!(matches!(refused, Refusal::Unavailable(_)), "{refused}");
        assert!(middle.ingest.disk_refuses());
        refusals += 1;
    }
    // The faults that are left meet the next ones.
    while middle.send(6).await.is_err() {
        refusals += 1;
        assert!(refusals < 32, "the edge goes on when the disk does");
    }
    assert_eq!(middle.account(Reason::Disk), (7 + refusals, refusals, 7));
    middle.inbox.close();
    let after = Disks { inbox: disks.inbox.restart(3), spool: disks.spool.restart(4) };
    let again = Middle::start(&after);
    assert_eq!(again.account(Reason::Disk).2, 7, "all that had an OK is there");
}

/// An inbox whose thread is gone takes nothing and says so, for good.
#[tokio::test]
async fn a_closed_inbox_refuses_retryably() {
    let disks = Disks { inbox: SimStore::new(1), spool: SimStore::new(2) };
    let middle = Middle::start(&disks);
    assert!(middle.inbox.is_running());
    middle.inbox.close();
    assert!(!middle.inbox.is_running());
    assert!(matches!(middle.send(1).await, Err(Refusal::Unavailable(_))));
    assert_eq!(middle.account(Reason::Draining), (1, 1, 0));
}

/// A panic between counting a request in and giving it to the inbox leaves nothing on its way: its rows are counted as refused, and who
/// sends it again is taken, also one that waited for the first.
#[tokio::test]
async fn a_panic_before_the_inbox_is_a_refusal() {
    let disks = Disks { inbox: SimStore::new(1), spool: SimStore::new(2) };
    let middle = Middle::start(&disks);
    let hash = inbox::body_hash(&middle.ingest.shared.inbox_id, &acme(), Signal::Logs, &body(1));
    let request = Request { tenant: acme(), signal: Signal::Logs, rows: 1, hash };
    let offered = middle.ingest.offer(request).await.unwrap();
    let mut twin = std::pin::pin!(middle.send(1));
    let waits = std::future::poll_fn(|context| Poll::Ready(twin.as_mut().poll(context).is_pending())).await;
    assert!(waits, "the twin waits for the first's fate");
    let panicked = std::thread::spawn(move || {
        let _held = offered;
        panic!("the test's own");
    });
    assert!(panicked.join().is_err());
    twin.await.unwrap();
    assert_eq!(middle.account(Reason::Panicked), (2, 1, 1));
}

/// A panic behind the fsync takes no OK back: the sender hears OK, once more when it asks again, and the rows are in the inbox.
#[tokio::test]
async fn a_panic_behind_the_fsync_is_still_an_ok() {
    let disks = Disks { inbox: SimStore::new(1), spool: SimStore::new(2) };
    let middle = Middle::start(&disks);
    // Let go of at once, and so the last owner is the inbox's callback.
    middle.custody.lock().stall();
    middle.give(Bytes::from_owner(Bomb(body(1)))).await.unwrap();
    middle.send(1).await.unwrap();
    // The OK comes before the panic is counted; a later record's comes after.
    middle.send(2).await.unwrap();
    assert_eq!(middle.inbox.stats().panics_total, 1);
    assert_eq!(middle.account(Reason::Panicked), (2, 0, 2));
}
