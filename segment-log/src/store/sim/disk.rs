//! What the simulated disk holds: durable, written, and the steps between.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use super::{Fault, Lies};
use crate::store::StoreEntry;

const SECTOR_BYTES: usize = 512;

/// The power is off.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("simulated power cut")]
pub(super) struct PowerCut;

#[derive(Debug, Clone)]
enum FileOp {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

#[derive(Debug, Clone)]
enum NameOp {
    Set(String, usize),
    Remove(String),
    Rename { from: String, to: String, inode: usize },
}

#[derive(Debug, Clone, Default)]
struct Inode {
    current: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<FileOp>,
}

/// What a power cut spares of one file's or the directory's unsynced steps.
#[derive(Debug, Clone, Copy)]
enum Spared {
    Nothing,
    All,
    First(usize),
    Last,
    Each,
    Sectors,
    LengthOnly,
}

#[derive(Debug)]
pub(super) struct Disk {
    seed: u64,
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    unsynced_names: Vec<NameOp>,
    identities: u64,
    pub(super) operations: u64,
    pub(super) reads: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) crashed: bool,
    pub(super) faults: BTreeMap<u64, Fault>,
    pub(super) read_faults: BTreeSet<u64>,
    pub(super) bad: Vec<(String, Range<u64>)>,
    pub(super) capacity: u64,
    pub(super) lies: Lies,
    pub(super) locked: bool,
}

/// Is this operation done, and what does it answer?
enum Step {
    Do,
    Fail(Fault),
    /// Done as far as the cache is concerned, but nobody hears of it.
    Cut,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            identities: 0,
            operations: 0,
            reads: 0,
            crash_at: None,
            crashed: false,
            faults: BTreeMap::new(),
            read_faults: BTreeSet::new(),
            bad: Vec::new(),
            capacity: u64::MAX,
            lies: Lies::default(),
            locked: false,
        }
    }

    pub(super) fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other(PowerCut)) } else { Ok(()) }
    }

    fn step(&mut self) -> io::Result<Step> {
        self.alive()?;
        self.operations += 1;
        if self.crash_at.is_some_and(|n| self.operations >= n) {
            self.crashed = true;
            return Ok(Step::Cut);
        }
        Ok(self.faults.remove(&self.operations).map_or(Step::Do, Step::Fail))
    }

    fn rng(&self) -> Rng {
        Rng(self.seed ^ self.operations.wrapping_mul(0xA076_1D64_78BD_642F))
    }

    pub(super) fn entropy(&mut self) -> [u8; 16] {
        self.identities += 1;
        let mut rng = Rng(self.seed.wrapping_add(self.identities.wrapping_mul(0xE703_7ED1_A0B4_28DB)));
        (u128::from(rng.next()) << 64 | u128::from(rng.next())).to_le_bytes()
    }

    pub(super) fn list(&self) -> io::Result<Vec<StoreEntry>> {
        self.alive()?;
        let entry = |(name, &inode): (&String, &usize)| {
            let bytes = self.inodes[inode].current.len() as u64;
            StoreEntry { name: name.clone(), bytes, disk_bytes: bytes }
        };
        Ok(self.names.iter().map(entry).collect())
    }

    pub(super) fn create_new(&mut self, name: &str) -> io::Result<usize> {
        let step = self.step()?;
        if let Step::Fail(fault) = step {
            return Err(error_of(fault));
        }
        if self.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = self.inodes.len();
        self.inodes.push(Inode::default());
        self.name_op(NameOp::Set(name.to_owned(), inode));
        self.answer(step).map(|()| inode)
    }

    pub(super) fn open(&self, name: &str) -> io::Result<usize> {
        self.alive()?;
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        let step = self.step()?;
        if let Step::Fail(fault) = step {
            return Err(error_of(fault));
        }
        self.open_even_if_cut(name)?;
        self.name_op(NameOp::Remove(name.to_owned()));
        self.answer(step)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let step = self.step()?;
        if let Step::Fail(fault) = step {
            return Err(error_of(fault));
        }
        let inode = self.open_even_if_cut(from)?;
        self.name_op(NameOp::Rename { from: from.to_owned(), to: to.to_owned(), inode });
        self.answer(step)
    }

    pub(super) fn sync_dir(&mut self) -> io::Result<()> {
        match self.step()? {
            Step::Do if self.lies.sync_dir => Ok(()),
            Step::Do => {
                self.durable_names = self.names.clone();
                self.unsynced_names.clear();
                Ok(())
            }
            Step::Fail(fault) => Err(error_of(fault)),
            Step::Cut => Err(io::Error::other(PowerCut)),
        }
    }

    pub(super) fn write_at(&mut self, inode: usize, bytes: &[u8], offset: u64) -> io::Result<()> {
        let step = self.step()?;
        let used: usize = self.names.values().map(|&inode| self.inodes[inode].current.len()).sum();
        let room = self.capacity.saturating_sub(used as u64);
        let growth_starts = (self.inodes[inode].current.len() as u64).saturating_sub(offset);
        let fits = growth_starts.saturating_add(room).min(bytes.len() as u64) as usize;
        let (written, answer) = match step {
            Step::Do if fits < bytes.len() => (fits, Err(error_of(Fault::Full))),
            Step::Do => (bytes.len(), Ok(())),
            Step::Fail(Fault::Full) => (bytes.len() / 2, Err(error_of(Fault::Full))),
            Step::Fail(Fault::Io) => (self.rng().below(bytes.len() as u64 + 1) as usize, Err(error_of(Fault::Io))),
            Step::Cut => (bytes.len(), Err(io::Error::other(PowerCut))),
        };
        if written > 0 {
            self.file_op(inode, FileOp::Write { offset: offset as usize, bytes: bytes[..written].to_vec() });
        }
        answer
    }

    pub(super) fn truncate(&mut self, inode: usize, bytes: u64) -> io::Result<()> {
        let step = self.step()?;
        if let Step::Fail(fault) = step {
            return Err(error_of(fault));
        }
        self.file_op(inode, FileOp::Truncate(bytes as usize));
        self.answer(step)
    }

    pub(super) fn sync(&mut self, inode: usize) -> io::Result<()> {
        let step = self.step()?;
        let mut rng = self.rng();
        let file = &mut self.inodes[inode];
        match step {
            Step::Do if self.lies.sync => Ok(()),
            Step::Do => {
                for op in file.unsynced.drain(..) {
                    apply(&mut file.durable, &op);
                }
                Ok(())
            }
            // The cache calls its pages clean from now on; some were written, the others never will be.
            Step::Fail(fault) => {
                for op in file.unsynced.drain(..) {
                    if rng.coin() {
                        apply(&mut file.durable, &op);
                    }
                }
                Err(error_of(fault))
            }
            Step::Cut => Err(io::Error::other(PowerCut)),
        }
    }

    pub(super) fn read_at(&mut self, inode: usize, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.alive()?;
        self.reads += 1;
        let end = offset + buffer.len() as u64;
        let touches =
            |(name, bytes): &(String, Range<u64>)| self.names.get(name) == Some(&inode) && offset < bytes.end && bytes.start < end;
        if self.read_faults.remove(&self.reads) || self.bad.iter().any(touches) {
            return Err(error_of(Fault::Io));
        }
        let content = self.inodes[inode].current.get(offset as usize..).unwrap_or_default();
        let read = content.len().min(buffer.len());
        buffer[..read].copy_from_slice(&content[..read]);
        Ok(read)
    }

    pub(super) fn size(&self, inode: usize) -> io::Result<u64> {
        self.alive()?;
        Ok(self.inodes[inode].current.len() as u64)
    }

    pub(super) fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.names.get(name).map(|&inode| self.inodes[inode].current.clone())
    }

    pub(super) fn edit(&mut self, name: &str, change: impl Fn(&mut Vec<u8>)) {
        if let Some(&inode) = self.names.get(name) {
            change(&mut self.inodes[inode].current);
            change(&mut self.inodes[inode].durable);
        }
    }

    pub(super) fn put(&mut self, name: &str, bytes: &[u8]) {
        let inode = self.inodes.len();
        self.inodes.push(Inode { current: bytes.to_vec(), durable: bytes.to_vec(), unsynced: Vec::new() });
        self.names.insert(name.to_owned(), inode);
        self.durable_names.insert(name.to_owned(), inode);
    }

    /// The disk after a power cut. This one is dead from now on.
    pub(super) fn restart(&mut self, seed: u64) -> Self {
        self.crashed = true;
        let mut rng = Rng(seed ^ self.seed.rotate_left(17) ^ self.operations.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut names = self.durable_names.clone();
        let spared = Spared::choose(&mut rng, self.unsynced_names.len());
        for (n, op) in self.unsynced_names.iter().enumerate() {
            if spared.spares(n, self.unsynced_names.len(), &mut rng) {
                apply_name(&mut names, op);
            }
        }
        let mut next = self.successor();
        for (name, inode) in names {
            next.put(&name, &survivor(&self.inodes[inode], &mut rng));
        }
        next
    }

    /// The disk after a kill -9. This one is dead from now on.
    pub(super) fn kill(&mut self) -> Self {
        self.crashed = true;
        let mut next = self.successor();
        next.inodes = self.inodes.clone();
        next.names = self.names.clone();
        next.durable_names = self.durable_names.clone();
        next.unsynced_names = self.unsynced_names.clone();
        next
    }

    fn successor(&self) -> Self {
        let mut next = Self::new(self.seed);
        next.identities = self.identities;
        next.bad = self.bad.clone();
        next.capacity = self.capacity;
        next.lies = self.lies;
        next
    }

    fn open_even_if_cut(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn answer(&self, step: Step) -> io::Result<()> {
        if matches!(step, Step::Cut) { Err(io::Error::other(PowerCut)) } else { Ok(()) }
    }

    fn name_op(&mut self, op: NameOp) {
        apply_name(&mut self.names, &op);
        self.unsynced_names.push(op);
    }

    fn file_op(&mut self, inode: usize, op: FileOp) {
        let file = &mut self.inodes[inode];
        apply(&mut file.current, &op);
        file.unsynced.push(op);
    }
}

fn error_of(fault: Fault) -> io::Error {
    match fault {
        Fault::Full => io::ErrorKind::StorageFull.into(),
        Fault::Io => io::Error::other("simulated input/output error"),
    }
}

fn apply_name(names: &mut BTreeMap<String, usize>, op: &NameOp) {
    match op {
        NameOp::Set(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        NameOp::Remove(name) => {
            names.remove(name);
        }
        NameOp::Rename { from, to, inode } => {
            names.remove(from);
            names.insert(to.clone(), *inode);
        }
    }
}

fn apply(content: &mut Vec<u8>, op: &FileOp) {
    match op {
        FileOp::Write { offset, bytes } => write(content, *offset, bytes),
        FileOp::Truncate(bytes) => content.resize(*bytes, 0),
    }
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

/// What a power cut leaves of a file.
fn survivor(file: &Inode, rng: &mut Rng) -> Vec<u8> {
    let mut content = file.durable.clone();
    let spared = Spared::choose(rng, file.unsynced.len());
    for (n, op) in file.unsynced.iter().enumerate() {
        match (spared, op) {
            (Spared::Sectors, FileOp::Write { offset, bytes }) => write_some_sectors(&mut content, *offset, bytes, rng),
            (Spared::LengthOnly, FileOp::Write { offset, bytes }) => {
                let end = offset + bytes.len();
                content.resize(content.len().max(end), 0);
            }
            // The last write spared in order may be torn.
            (Spared::First(k), FileOp::Write { offset, bytes }) if n == k => {
                let torn = rng.below(bytes.len() as u64 + 1) as usize;
                write(&mut content, *offset, &bytes[..torn]);
            }
            _ if spared.spares(n, file.unsynced.len(), rng) => apply(&mut content, op),
            _ => {}
        }
    }
    content
}

fn write_some_sectors(content: &mut Vec<u8>, offset: usize, bytes: &[u8], rng: &mut Rng) {
    let mut at = 0;
    while at < bytes.len() {
        let len = (SECTOR_BYTES - (offset + at) % SECTOR_BYTES).min(bytes.len() - at);
        if rng.coin() {
            write(content, offset + at, &bytes[at..at + len]);
        }
        at += len;
    }
}

impl Spared {
    fn choose(rng: &mut Rng, steps: usize) -> Self {
        match rng.below(8) {
            0 => Self::Nothing,
            1 => Self::All,
            2 | 3 => Self::First(rng.below(steps as u64 + 1) as usize),
            4 => Self::Last,
            5 => Self::Each,
            6 => Self::Sectors,
            _ => Self::LengthOnly,
        }
    }

    fn spares(self, n: usize, steps: usize, rng: &mut Rng) -> bool {
        match self {
            Self::Nothing | Self::LengthOnly => false,
            Self::All => true,
            Self::First(k) => n < k,
            Self::Last => n + 1 == steps,
            Self::Each | Self::Sectors => rng.coin(),
        }
    }
}

/// splitmix64: a few lines that give the same numbers everywhere and for ever.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}
