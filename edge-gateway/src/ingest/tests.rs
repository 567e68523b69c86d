//! The way in over disks that fail while it works.

use std::collections::HashMap;

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
        let record = LogRecord { time_unix_nano: n, severity_text: "x".repeat(100), ..LogRecord::default() };
        let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
        let request = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] };
        let body = Body { open: Bytes::from(request.encode_to_vec()), packed: None };
        self.ingest.accept(Signal::Logs, &TenantId::new("acme").unwrap(), body).await
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
