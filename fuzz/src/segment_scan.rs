//! A log opens whatever stands in its directory, gives back only whole and right records, and takes new ones that the next open finds.
//!
//! Input: seed (1), records (1), steps that fill a log of 3 KiB segments (a size (2) each: appended; every fourth step by its low bits
//! synced, acked or checkpointed), which index the open finds (1), then damage to the end: which (1) and what it needs. Damage by a *forger*, who knows the log's id and
//! makes checksums right, is tried too; then what a record says proves nothing, and only panics, memory and that the log opens count.

use std::collections::BTreeMap;
use std::sync::Arc;

use segment_log::{AppendError, Log, MemoryIndex, OpenError, Options, ReadError, Record, SimStore, Store};

use super::input::Input;
use super::memory;
use super::support::rng::Rng;

const OPTIONS: Options = Options { segment_bytes: 3 << 10, budget_bytes: 256 << 10, max_record_bytes: 8 << 10, quarantine_bytes: 1 << 20 };
/// Heap that an open may take: what the disk of this size has several times over, since it is in memory too.
const OPEN_HEAP: usize = 8 << 20;
const SEGMENT_HEADER: usize = 128;

/// What was written.
type Written = BTreeMap<u64, Record>;

pub fn check(input: &[u8]) {
    let mut input = Input::new(input);
    let store = SimStore::new(input.u8().into());
    let index = MemoryIndex::new();
    let (written, id, old) = fill(&store, &index, &mut input);
    let index = match input.u8() % 3 {
        0 => MemoryIndex::new(),
        1 => index,
        _ => old,
    };
    let mut forged = false;
    while !input.is_done() {
        forged |= damage(&store, &id, &mut input);
    }
    let Some(mut log) = open(&store, &index) else { return };
    let before = records(&log, (!forged && log.id() == id).then_some(&written));
    let Some((seq, new)) = go_on(&mut log, before.keys().next_back().copied().filter(|_| !forged)) else { return };
    drop(log);
    let Some(log) = open(&store, &MemoryIndex::new()) else { panic!("what was just written to does not open") };
    let after = records(&log, None);
    if forged {
        return;
    }
    assert_eq!(after.get(&seq), Some(&new), "what was synced is there");
    for (seq, record) in &before {
        assert_eq!(after.get(seq), Some(record), "record {seq} was pending and is not changed by opening");
    }
}

/// A log with some records; what is in it, its id, and its index at half time.
fn fill(store: &SimStore, index: &MemoryIndex, input: &mut Input<'_>) -> (Written, [u8; 16], MemoryIndex) {
    let (mut log, _) = Log::open(Arc::new(store.clone()), Box::new(index.clone()), OPTIONS).expect("an empty directory");
    let mut written = Written::new();
    let count = input.u8() % 32;
    let mut old = MemoryIndex::new();
    for step in 0..count {
        let size = input.u16();
        let record = record(written.len() as u64, usize::from(size % 1500));
        match log.append(&record.meta, &record.payload) {
            Ok(seq) => drop(written.insert(seq.0, record)),
            Err(error) => panic!("{error}"),
        }
        match size >> 11 {
            0..8 => drop(log.sync().expect("synced")),
            8..12 => {
                if let Some(first) = log.first_pending() {
                    assert!(log.ack(first));
                }
            }
            12..14 => log.checkpoint(&size.to_le_bytes()).expect("a checkpoint"),
            _ => {}
        }
        if step == count / 2 {
            old = index.snapshot();
        }
    }
    (written, log.id(), old)
}

fn record(id: u64, bytes: usize) -> Record {
    let payload: Vec<u8> = (0..bytes).map(|n| (id.wrapping_mul(0x9E37_79B9).wrapping_add(n as u64 * 31) >> 3) as u8).collect();
    Record { meta: id.to_le_bytes().to_vec().into(), payload: payload.into() }
}

/// Opens; `None` where no log can be.
fn open(store: &SimStore, index: &MemoryIndex) -> Option<Log> {
    let (opened, taken) = memory::peak(|| Log::open(Arc::new(store.clone()), Box::new(index.clone()), OPTIONS));
    assert!(taken <= OPEN_HEAP, "opening takes {taken} bytes");
    match opened {
        Ok((log, recovery)) => {
            let pending: Vec<u64> = log.pending().map(|(seq, _)| seq.0).collect();
            assert!(recovery.after_checkpoint.iter().all(|seq| pending.binary_search(&seq.0).is_ok()), "what is to be replayed is pending");
            let cursors = log.cursors();
            assert!(cursors.acked <= cursors.sent && cursors.sent <= cursors.synced && cursors.synced <= cursors.appended, "{cursors:?}");
            Some(log)
        }
        Err(OpenError::NewerFormat { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// The pending records that are whole; each is as it was written.
fn records(log: &Log, written: Option<&Written>) -> Written {
    let mut out = Written::new();
    for (seq, bytes) in log.pending() {
        match log.read(seq) {
            Ok(record) => {
                assert_eq!((record.meta.len() + record.payload.len()) as u64, bytes);
                if let Some(written) = written {
                    assert_eq!(written.get(&seq.0), Some(&record), "record {seq} is not what was written");
                }
                out.insert(seq.0, record);
            }
            Err(ReadError::Damaged { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    out
}

/// Appends, syncs, takes a checkpoint: the new record, if there was room.
fn go_on(log: &mut Log, last: Option<u64>) -> Option<(u64, Record)> {
    let new = record(77, 100);
    let seq = match log.append(&new.meta, &new.payload) {
        Ok(seq) => seq,
        Err(AppendError::Full { .. }) => return None,
        Err(error) if error.to_string().contains("no seqs left") => return None,
        Err(error) => panic!("{error}"),
    };
    assert!(last.is_none_or(|last| seq.0 > last), "{seq} is used twice");
    assert_eq!(log.sync().expect("synced"), seq.next());
    assert_eq!(log.read(seq).expect("just written"), new);
    log.checkpoint(b"state").expect("a checkpoint");
    Some((seq.0, new))
}

/// Does one thing to the directory; true if it was done by a forger.
fn damage(store: &SimStore, id: &[u8; 16], input: &mut Input<'_>) -> bool {
    let names: Vec<String> =
        store.list().expect("a listing").into_iter().map(|entry| entry.name).filter(|name| !name.contains('/')).collect();
    let which = input.u8();
    let name = names.get(usize::from(input.u8()) % names.len().max(1)).cloned();
    let bytes = name.as_ref().and_then(|name| store.content(name)).unwrap_or_default();
    let at = usize::from(input.u16()) % (bytes.len() + 1);
    let Some(name) = name else { return false };
    match which % 12 {
        0 | 1 => store.flip_bit(&name, at as u64, input.u8()),
        2 => {
            let len = usize::from(input.u8());
            let piece = input.bytes(len);
            store.put(&name, &overwritten(bytes, at, piece));
        }
        3 => store.cut(&name, at as u64),
        4 => {
            let (number, base) = (input.u8(), input.u8());
            let len = usize::from(input.u16());
            store.put(&file_name(number.into(), base.into()), input.bytes(len));
        }
        5 => store.put(&file_name(input.u32(), input.u64()), &bytes),
        6 => {
            let len = usize::from(input.u8());
            store.put(&name, &[&bytes, input.bytes(len)].concat());
        }
        7 => store.remove(&name).expect("it is there"),
        8 => {
            let len = usize::from(input.u16()) % 600;
            store.put(&name, &overwritten(bytes, at, &vec![0; len]));
        }
        9 => {
            let from = usize::from(input.u16()) % (bytes.len() + 1);
            let piece = bytes[from..].iter().copied().take(usize::from(input.u8())).collect::<Vec<u8>>();
            store.put(&name, &overwritten(bytes, at / 8 * 8, &piece));
        }
        10 => return forge_record(store, id, &name, bytes, at, input),
        _ => {
            let (number, base) = (input.u32(), input.u64());
            let len = usize::from(input.u8());
            store.put(&file_name(number, base), &[&segment_header(id, number, base), input.bytes(len)].concat());
            return true;
        }
    }
    false
}

fn file_name(number: u32, base: u64) -> String {
    format!("{number:010}-{base:020}.seg")
}

fn overwritten(mut bytes: Vec<u8>, at: usize, piece: &[u8]) -> Vec<u8> {
    bytes.resize(bytes.len().max(at + piece.len()), 0);
    bytes[at..at + piece.len()].copy_from_slice(piece);
    bytes
}

/// A record with right checksums, over what stands at `at` or behind everything.
fn forge_record(store: &SimStore, id: &[u8; 16], name: &str, bytes: Vec<u8>, at: usize, input: &mut Input<'_>) -> bool {
    let Some(number) = name.get(..10).and_then(|digits| digits.parse().ok()) else { return false };
    let at = if input.u8() & 1 == 0 { bytes.len().next_multiple_of(8) } else { at / 8 * 8 }.max(SEGMENT_HEADER);
    let key = crc32c::crc32c_append(crc32c::crc32c(id), &u32::to_le_bytes(number));
    let seed = |part: u8| crc32c::crc32c_append(key, &[&(at as u64).to_le_bytes()[..], &[part]].concat());
    let mut record = b"TRec".to_vec();
    record.extend([input.u8() % 5, 0, 0, 0]);
    record.extend(input.u64().to_le_bytes());
    record.extend(input.u64().to_le_bytes());
    let (meta_len, payload_len) = (input.u8(), input.u8());
    let checkpoints = input.u32();
    let meta = input.bytes(meta_len.into());
    let payload = input.bytes(payload_len.into());
    record.extend((meta.len() as u32).to_le_bytes());
    record.extend((payload.len() as u32).to_le_bytes());
    record.extend(crc32c::crc32c_append(seed(2), meta).to_le_bytes());
    record.extend(crc32c::crc32c_append(seed(3), payload).to_le_bytes());
    record.extend(checkpoints.to_le_bytes());
    record.extend(crc32c::crc32c_append(seed(1), &record).to_le_bytes());
    record.extend(meta);
    record.extend(payload);
    record.resize(record.len().next_multiple_of(8), 0);
    store.put(name, &overwritten(bytes, at, &record));
    true
}

fn segment_header(id: &[u8; 16], number: u32, base: u64) -> Vec<u8> {
    let mut copy = [0; 64];
    copy[..8].copy_from_slice(b"TRIBSEG\0");
    copy[8] = 1;
    copy[16..32].copy_from_slice(id);
    copy[32..36].copy_from_slice(&number.to_le_bytes());
    copy[40..48].copy_from_slice(&base.to_le_bytes());
    let crc = crc32c::crc32c(&copy[..60]);
    copy[60..].copy_from_slice(&crc.to_le_bytes());
    [copy, copy].concat()
}

/// A log and a few damages.
pub fn fresh(rng: &mut Rng) -> Vec<u8> {
    let count = rng.below(24);
    let mut out = vec![rng.next() as u8, count as u8];
    (0..count).for_each(|_| out.extend((rng.next() as u16).to_le_bytes()));
    out.push(rng.below(3) as u8);
    for _ in 0..rng.below(4) {
        out.extend([rng.below(12) as u8, rng.below(8) as u8]);
        out.extend((rng.below(4000) as u16).to_le_bytes());
        let more = rng.below(50);
        out.extend(rng.bytes(more));
    }
    out
}
