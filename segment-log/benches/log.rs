//! How fast a log takes records to disk, and how fast it opens again. On a temporary directory: `TMPDIR` chooses the disk.

#![expect(clippy::unwrap_used, reason = "a bench has nobody to report to")]

use std::path::Path;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use segment_log::{FileStore, Log, MemoryIndex, Options, SledIndex};

/// A batch as the edge makes them: about 31 B for each of 1,000 to 10,000 spans.
const RECORD_BYTES: usize = 64 << 10;
const RECORDS: u64 = 2_000;

fn main() {
    divan::main();
}

fn options() -> Options {
    Options { budget_bytes: 16 << 30, ..Options::default() }
}

fn open(dir: &Path, sled: bool) -> Log {
    let store = Arc::new(FileStore::new(dir.join("log")).unwrap());
    let index: Box<dyn segment_log::Index> = if sled { Box::new(SledIndex::new(dir.join("index"))) } else { Box::new(MemoryIndex::new()) };
    Log::open(store, index, options()).unwrap().0
}

/// One fsync for each group of so many records; everything is acked and let go, so that the disk does not fill.
#[divan::bench(args = [1, 8, 64], sample_count = 20)]
fn append_and_sync(bencher: Bencher<'_, '_>, group: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), true);
    let payload = vec![0xA7; RECORD_BYTES];
    bencher.counter(BytesCount::new(group * RECORD_BYTES as u64)).bench_local(|| {
        for _ in 0..group {
            let seq = log.append(b"header", &payload).unwrap();
            divan::black_box(seq);
        }
        log.sync().unwrap();
        while let Some(seq) = log.first_pending() {
            log.ack(seq);
        }
        if log.bytes_on_disk() > 1 << 30 {
            log.checkpoint(b"").unwrap();
        }
    });
}

/// Opening a log of 125 MiB: by its sled index, and by a scan of every record.
#[divan::bench(args = [true, false], sample_count = 10)]
fn reopen(bencher: Bencher<'_, '_>, sled: bool) {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path(), sled);
    let payload = vec![0xA7; RECORD_BYTES];
    for _ in 0..RECORDS {
        log.append(b"header", &payload).unwrap();
    }
    log.sync().unwrap();
    drop(log);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let log = open(dir.path(), sled);
        assert_eq!(log.pending_records(), RECORDS);
    });
}
