//! Damage to a spool's files while its edge is dead: what a bad disk, a torn write or a wrong copy leaves.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::scenario::HowDamaged;

/// Bytes that a damaged place has.
const SPAN: usize = 512;

/// Damages the spool below an edge's data.
pub(super) fn damage(data: &Path, how: HowDamaged) -> io::Result<()> {
    let spool = data.join("spool");
    match how {
        HowDamaged::Flipped => {
            let oldest = segments(&spool)?.into_iter().next().ok_or_else(|| nothing(&spool))?;
            let mut file = File::options().write(true).open(&oldest)?;
            let len = file.metadata()?.len();
            file.seek(SeekFrom::Start(len / 2))?;
            file.write_all(&[0xA5; SPAN])?;
            file.sync_all()
        }
        HowDamaged::Truncated => {
            let newest = segments(&spool)?.into_iter().next_back().ok_or_else(|| nothing(&spool))?;
            let file = File::options().write(true).open(&newest)?;
            let len = file.metadata()?.len();
            file.set_len(len.saturating_sub(SPAN as u64))?;
            file.sync_all()
        }
        HowDamaged::Index => {
            let index = files(&spool)?.into_iter().filter(|path| !is_segment(path)).collect::<Vec<_>>();
            for file in index {
                let len = file.metadata()?.len();
                std::fs::write(&file, vec![0x5A; usize::try_from(len).unwrap_or(SPAN).min(1 << 20)])?;
            }
            Ok(())
        }
    }
}

fn nothing(spool: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no segment that could be damaged", spool.display()))
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "seg")
}

/// In the order of their numbers.
fn segments(spool: &Path) -> io::Result<Vec<PathBuf>> {
    let mut segments: Vec<PathBuf> = files(spool)?.into_iter().filter(|path| is_segment(path)).collect();
    segments.sort_unstable();
    Ok(segments)
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    Ok(found)
}
