use std::fs;
use std::sync::Arc;

use federation_proto::identity::{BatchId, Class, Signal, SpoolId, TenantId};
use segment_log::{FileStore, Log, MemoryIndex, Options};

use super::*;
use crate::dropping::{Drop, Sum};
use crate::export::{Export, Format};
use crate::fsck::Report;

const OWNER: Owner = Owner {
    noun: "journal",
    part: "router",
    program: "tributary-router",
    header: |_, _, meta| BatchHeader::decode(meta).ok().map(|(header, _)| header),
};
/// Unix seconds.
const NOW: u64 = 1_000_000;

fn header(seq: u64, tenant: &str, age: u64) -> BatchHeader {
    let payload = payload(seq);
    BatchHeader {
        id: BatchId { spool: SpoolId([7; 16]), seq: Seq(seq) },
        tenant: TenantId::new(tenant).unwrap(),
        signal: Signal::Logs,
        class: Class::Medium,
        rows: 10,
        raw_bytes: 1000,
        oldest_unix_nano: (NOW - age) * 1_000_000_000,
        newest_unix_nano: (NOW - age) * 1_000_000_000,
        encoding: 1,
        payload_len: payload.len() as u32,
        payload_crc: crc32c::crc32c(&payload),
    }
}

fn payload(seq: u64) -> Vec<u8> {
    vec![seq as u8; 100]
}

/// Batches 1 to 6 of two tenants, an hour apart; 1 is done with.
fn log(dir: &Path) {
    let store = Arc::new(FileStore::new(dir).unwrap());
    let (mut log, _) = Log::open(store, Box::new(MemoryIndex::new()), Options::default()).unwrap();
    for seq in 1..=6 {
        let header = header(seq, if seq % 2 == 0 { "acme" } else { "other" }, (7 - seq) * 3600);
        log.append(&header.encode(), &payload(seq)).unwrap();
    }
    log.sync().unwrap();
    log.ack(Seq(1));
    log.checkpoint(b"").unwrap();
}

/// A bit of the payload of one batch.
fn damage(dir: &Path, seq: u64) {
    let look = Look::at(dir, OWNER).unwrap();
    let record = look.seen.records().find(|record| record.seq == Seq(seq)).unwrap();
    let name =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|e| e == "seg")).unwrap();
    let mut content = fs::read(&name).unwrap();
    content[record.offset as usize + 200] ^= 1;
    fs::write(name, content).unwrap();
}

fn drop_of(arguments: &[&str]) -> Drop {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        drop: Drop,
    }
    let arguments = ["drop", "--reason", "test"].iter().chain(arguments);
    <Line as clap::Parser>::parse_from(arguments).drop
}

/// What is damaged is named by tenant, signal, rows and time, once; what the log is done with is no loss, and looking changes nothing.
#[test]
fn damage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path());
    assert!(Report::of(&Look::at(dir.path(), OWNER).unwrap(), NOW).unwrap().is_well());
    damage(dir.path(), 1);
    assert!(Report::of(&Look::at(dir.path(), OWNER).unwrap(), NOW).unwrap().is_well(), "acknowledged: no loss");
    damage(dir.path(), 4);
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let report = Report::of(&Look::at(dir.path(), OWNER).unwrap(), NOW).unwrap();
    assert!(!report.is_well());
    let page = report.page(false, None);
    assert!(page.contains("DAMAGED: record 4: tenant acme, logs, 10 rows, from 3h to 3h ago"), "{page}");
    assert!(page.contains("notes.txt: not of this journal") && page.contains("tributary-router journal fsck --repair"), "{page}");
    let value: serde_json::Value = serde_json::from_str(&report.page(true, None)).unwrap();
    assert_eq!((value["damaged"].as_array().unwrap().len(), &value["damaged"][0]["rows"], &value["ok"]), (1, &10.into(), &false.into()));
    assert_eq!(value["whole"]["batches"], 4);
}

/// Each condition of a selection narrows it, and all must hold.
#[test]
fn selections_narrow() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path());
    let look = Look::at(dir.path(), OWNER).unwrap();
    let batches = |arguments: &[&str]| drop_of(arguments).plan(&look, NOW).batches();
    assert_eq!(batches(&["--signal", "logs"]), 5, "all but what is done with");
    assert_eq!(batches(&["--tenant", "acme"]), 3);
    assert_eq!(batches(&["--tenant", "acme", "--seqs", "3-5"]), 1);
    assert_eq!(batches(&["--older-than", "3h30m"]), 2);
    assert_eq!((batches(&["--signal", "traces"]), batches(&["--class", "high"]), batches(&["--seqs", "9"])), (0, 0, 0));
    assert!(drop_of(&[]).check().is_err() && drop_of(&["--class", "low"]).check().is_ok());
}

/// Exported files are the batches as on the wire; a damaged one is told of and costs no other.
#[test]
fn export_writes_what_is_whole() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    log(dir.path());
    let look = Look::at(dir.path(), OWNER).unwrap();
    damage(dir.path(), 4);
    let selection = drop_of(&["--tenant", "acme"]).selection;
    let export = Export { selection, out: out.path().join("new"), format: Format::Batch, json: true };
    let exported = export.run(&look, NOW).unwrap();
    let page: serde_json::Value = serde_json::from_str(&export.page(&exported)).unwrap();
    assert!(!exported.is_whole() && page["failed"].as_array().unwrap().len() == 1, "{page}");
    assert_eq!((&page["batches"], &page["rows"]), (&2.into(), &20.into()));
    let file = fs::read(out.path().join("new").join(format!("{}-6.batch", SpoolId([7; 16])))).unwrap();
    let (header, len) = BatchHeader::decode(&file).unwrap();
    assert!(header.id.seq == Seq(6) && header.matches(&file[len..]));
    assert_eq!(fs::read_dir(out.path().join("new")).unwrap().count(), 2, "nothing half written");
}

/// Who dropped what and why stays written down, within its bound.
#[test]
fn drops_are_noted() {
    let dir = tempfile::tempdir().unwrap();
    let mut sum = Sum::default();
    sum.add(&header(4, "acme", 0));
    sum.add(&header(6, "acme", 0));
    let selection = drop_of(&["--tenant", "acme"]).selection;
    dropping::note(dir.path(), NOW, &selection, "disk is needed", &sum).unwrap();
    let text = fs::read_to_string(dir.path().join("drops.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&line["reason"], &line["selection"]["tenant"]), (&"disk is needed".into(), &"acme".into()));
    assert_eq!((&line["dropped"][0]["batches"], &line["dropped"][0]["rows"]), (&2.into(), &20.into()));
    fs::write(dir.path().join("drops.jsonl"), vec![b'x'; dropping::MAX_NOTES_BYTES as usize + 1]).unwrap();
    dropping::note(dir.path(), NOW, &selection, "again", &sum).unwrap();
    assert!(fs::metadata(dir.path().join("drops.jsonl")).unwrap().len() < 1000 && dir.path().join("drops.jsonl.old").is_file());
}

/// A place without a log, and a segment of a newer version, are errors that say where and what to do.
#[test]
fn what_cannot_be_read_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Look::at(&dir.path().join("journal"), OWNER).unwrap_err().to_string();
    assert!(missing.contains("--data-dir") && missing.contains("router"), "{missing}");
}

/// What the log is done with is listed as done only when it is asked for, and what was refused for good is told apart.
#[test]
fn done_and_refused_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path());
    let mut look = Look::at(dir.path(), OWNER).unwrap();
    let state_of_1 = |look: &Look, all| {
        let value: serde_json::Value = serde_json::from_str(&ls::Ls { all, json: true }.page(look, None, NOW).0).unwrap();
        value["batches"].as_array().unwrap().iter().find(|batch| batch["seq"] == 1).map(|batch| batch["state"].clone())
    };
    assert_eq!(state_of_1(&look, true), Some("done".into()));
    look.refused = [Seq(1), Seq(2)].into();
    assert_eq!((state_of_1(&look, true), state_of_1(&look, false)), (Some("refused".into()), None));
    let page = ls::Ls { all: true, json: false }.page(&look, None, NOW).0;
    assert_eq!(page.matches("refused").count(), 1, "2 is pending, whatever lies in rejected: {page}");
}

/// Batches that are kept as files are listed, exported and removed as they are selected; what is none is named and stays.
#[test]
fn kept_batches_are_looked_after() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(kept::Kept::at(&dir.path().join("rejected")).unwrap().batches.is_empty(), "none was ever refused");
    for seq in [3, 4, 5] {
        let mut content = header(seq, if seq == 4 { "acme" } else { "other" }, 0).encode();
        content.extend(if seq == 5 { b"damaged".to_vec() } else { payload(seq) });
        fs::write(dir.path().join(format!("x-{seq}.batch")), content).unwrap();
    }
    fs::write(dir.path().join("notes.batch"), "mine").unwrap();
    let kept = || kept::Kept::at(dir.path()).unwrap();
    let page = kept().page(false, NOW);
    assert!(page.contains("3 batches, 30 rows") && page.contains("notes.batch: no batch; left alone"), "{page}");
    let export = Export { selection: Selection::default(), out: out.path().to_owned(), format: Format::Batch, json: false };
    assert!(!export.run_kept(&kept()).unwrap().is_whole(), "5 is damaged");
    let file = fs::read(out.path().join(format!("{}-4.batch", SpoolId([7; 16])))).unwrap();
    assert_eq!(file, fs::read(dir.path().join("x-4.batch")).unwrap());
    kept().narrowed(&drop_of(&["--tenant", "other"]).selection, NOW).remove().unwrap();
    assert_eq!(kept().batches.iter().map(|batch| batch.header.id.seq).collect::<Vec<_>>(), [Seq(4)]);
    assert!(dir.path().join("notes.batch").is_file());
}
