//! Manifests: what is about to be written, written first.
//!
//! `_manifests/<journal id>-<first seq>-<last seq>.json`: `{"version": 1, "journal": …, "first": …, "last": …, "files": […]}`.
//!
//! A manifest is durable before the first data file of its unit is begun, so that after a crash the same run of records is written
//! under the same names and replaces what was left. It goes when the next unit's manifest is durable, not before: should the journal
//! ever fall back to an older checkpoint, the newest manifest still says that all before its first record was delivered.

use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::Disk;
use crate::tier::Unfinished;
use crate::tier::unit::unit_name;

/// Longest manifest read, in bytes.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
const VERSION: u32 = 1;
const SUFFIX: &str = ".json";

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    journal: String,
    /// First record of the unit.
    pub first: u64,
    /// Last record of the unit.
    pub last: u64,
    /// Its files, relative to the tier's path.
    pub files: Vec<PathBuf>,
}

impl Manifest {
    /// The manifest of a unit.
    #[must_use]
    pub fn new(journal: [u8; 16], range: &RangeInclusive<u64>, files: Vec<PathBuf>) -> Self {
        Self { version: VERSION, journal: journal_name(journal), first: *range.start(), last: *range.end(), files }
    }
}

fn journal_name(journal: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(journal))
}

/// The directory of manifests, for one journal.
pub struct Manifests<'a> {
    disk: &'a dyn Disk,
    dir: PathBuf,
    journal: [u8; 16],
}

impl<'a> Manifests<'a> {
    /// Those of `journal` below the tier's path.
    #[must_use]
    pub fn new(disk: &'a dyn Disk, tier: &Path, journal: [u8; 16]) -> Self {
        Self { disk, dir: tier.join("_manifests"), journal }
    }

    /// Makes the manifest durable, then removes those of earlier units.
    ///
    /// # Errors
    /// What the disk says; the manifest may or may not be there then.
    pub fn write(&self, manifest: &Manifest) -> io::Result<()> {
        let name = format!("{}{SUFFIX}", unit_name(self.journal, &(manifest.first..=manifest.last)));
        let path = self.dir.join(&name);
        let beside = self.dir.join(format!("{name}.tmp"));
        self.disk.make_dir(&self.dir)?;
        let mut file = self.disk.create(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(manifest)?)?;
        file.sync()?;
        drop(file);
        self.disk.rename(&beside, &path)?;
        self.disk.sync_dir(&self.dir)?;
        for other in self.names()? {
            if other != name {
                self.disk.remove(&self.dir.join(other))?;
            }
        }
        Ok(())
    }

    /// The newest manifest of this journal. Its name alone says what has to be written again: damaged content costs no more than the
    /// list of files that an attempt before may have left.
    ///
    /// # Errors
    /// What the disk says.
    pub fn newest(&self) -> io::Result<Option<Manifest>> {
        let runs = self.names()?.into_iter().filter_map(|name| Some((run_of(&name)?, name)));
        let Some((run, name)) = runs.max_by_key(|(run, _)| *run.start()) else { return Ok(None) };
        let content = self.disk.read(&self.dir.join(&name), MAX_BYTES)?;
        let manifest = serde_json::from_slice::<Manifest>(&content).ok().filter(|manifest| manifest.version == VERSION);
        if manifest.is_none() {
            tracing::warn!(name, "a manifest is damaged; its name says enough");
        }
        let files = manifest.map_or(Vec::new(), |manifest| manifest.files);
        Ok(Some(Manifest::new(self.journal, &run, files)))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let ours = journal_name(self.journal);
        Ok(self.disk.list(&self.dir)?.into_iter().filter(|name| name.starts_with(&ours)).collect())
    }
}

/// The run of records that a manifest's name states.
fn run_of(name: &str) -> Option<RangeInclusive<u64>> {
    let mut parts = name.strip_suffix(SUFFIX)?.rsplitn(3, '-');
    let last = parts.next()?.parse().ok()?;
    let first = parts.next()?.parse().ok()?;
    (first <= last).then_some(first..=last)
}

/// What the newest manifest means to a journal whose cursor stands at `cursor`.
#[must_use]
pub fn unfinished(newest: Option<&Manifest>, cursor: u64) -> Unfinished {
    match newest {
        // Its unit was settled: the manifest only waits for the next one.
        Some(manifest) if manifest.last < cursor => Unfinished::default(),
        // The cursor fell back behind delivered units: manifests are written in order, each after the one before was delivered.
        Some(manifest) if manifest.first > cursor => {
            Unfinished { delivered_below: Some(manifest.first), redo: Some(manifest.first..=manifest.last) }
        }
        Some(manifest) if manifest.first == cursor => Unfinished { delivered_below: None, redo: Some(manifest.first..=manifest.last) },
        // The cursor is inside: no run of ours leaves that. What is left of it is written under its own name.
        Some(_) | None => Unfinished::default(),
    }
}
