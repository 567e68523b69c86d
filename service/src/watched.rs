//! What files say, kept up with them: a process's own certificate, the router's allow-list.
//!
//! The files are read again when the modification time or length of one of them changes. Files that cannot be read or used change
//! nothing: what was read before stays in force, and why is said once for each state of the files. They are read again at each look:
//! a certificate that is not valid yet becomes so by itself.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

/// When and how large a file was: a change of either means to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    bytes: u64,
}

/// What looking at the files brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Refresh {
    /// They are as they were when last looked at.
    Same,
    /// They changed, and say what is in force.
    Confirmed,
    /// What they say now is in force.
    Changed,
    /// They are of no use; what was in force stays.
    Kept(String),
}

/// What the last look found.
#[derive(Debug, Default)]
struct Tried {
    stamps: Option<Vec<Stamp>>,
    /// Said of files that are not there.
    missing: Option<String>,
    /// Said of files that are of no use.
    useless: Option<String>,
}

type Read<T> = Box<dyn Fn() -> Result<T, String> + Send + Sync>;

/// See the module.
pub struct Watched<T> {
    paths: Vec<PathBuf>,
    read: Read<T>,
    is_same: fn(&T, &T) -> bool,
    current: ArcSwap<T>,
    tried: Mutex<Tried>,
    changes: watch::Sender<u64>,
}

impl<T> Watched<T> {
    /// Reads for the first time. `is_same` says whether a change of the files is one of what they say.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn open<E: Display>(
        paths: Vec<PathBuf>,
        read: impl Fn() -> Result<T, E> + Send + Sync + 'static,
        is_same: fn(&T, &T) -> bool,
    ) -> Result<Self, E> {
        let tried = Tried { stamps: stamps(&paths).ok(), ..Tried::default() };
        let first = read()?;
        let read = Box::new(move || read().map_err(|error| error.to_string()));
        Ok(Self { paths, read, is_same, current: ArcSwap::from_pointee(first), tried: Mutex::new(tried), changes: watch::Sender::new(0) })
    }

    /// What is in force.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Changes whenever something else comes in force.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Reads again if a file changed since the last look.
    pub fn refresh(&self) -> Refresh {
        let mut tried = self.tried.lock();
        let now = match stamps(&self.paths) {
            Ok(now) => now,
            Err(why) => {
                tried.stamps = None;
                if tried.missing.replace(why.clone()).is_some_and(|said| said == why) {
                    return Refresh::Same;
                }
                return Refresh::Kept(format!("{why}; what was read before stays in force"));
            }
        };
        tried.missing = None;
        let is_same = !self.paths.is_empty() && tried.stamps.as_ref() == Some(&now);
        let useless = tried.useless.take();
        // What is in no file is asked for each time.
        if is_same && useless.is_none() {
            return Refresh::Same;
        }
        tried.stamps = Some(now);
        match (self.read)() {
            Ok(read) if (self.is_same)(&read, &self.current.load()) => Refresh::Confirmed,
            Ok(read) => {
                self.current.store(Arc::new(read));
                self.changes.send_modify(|changes| *changes += 1);
                Refresh::Changed
            }
            Err(why) => {
                let is_said = is_same && useless.is_some_and(|said| said == why);
                tried.useless = Some(why.clone());
                if is_said { Refresh::Same } else { Refresh::Kept(format!("{why}; what was read before stays in force")) }
            }
        }
    }
}

fn stamps(paths: &[PathBuf]) -> Result<Vec<Stamp>, String> {
    let stamp = |path: &PathBuf| stamp(path).map_err(|error| format!("{}: {error}", path.display()));
    paths.iter().map(stamp).collect()
}

fn stamp(path: &Path) -> std::io::Result<Stamp> {
    let metadata = std::fs::metadata(path)?;
    Ok(Stamp { modified: metadata.modified()?, bytes: metadata.len() })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Files that are of no use yet are used once they are, although nobody touched them; meanwhile that is said once.
    #[test]
    fn what_was_of_no_use_may_become_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let is_time = Arc::new(AtomicBool::new(true));
        let (file, asked) = (path.clone(), Arc::clone(&is_time));
        let read = move || {
            let number = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
            if asked.load(Ordering::Relaxed) { Ok(number) } else { Err("not yet".to_owned()) }
        };
        let watched = Watched::open(vec![path.clone()], read, PartialEq::eq).unwrap();
        assert_eq!(watched.refresh(), Refresh::Same);
        is_time.store(false, Ordering::Relaxed);
        assert_eq!(watched.refresh(), Refresh::Same, "what is in force is not asked for again");
        for state in ["two", "three"] {
            std::fs::write(&path, state).unwrap();
            assert!(matches!(watched.refresh(), Refresh::Kept(why) if why.contains("not yet")), "{state}");
            assert_eq!(watched.refresh(), Refresh::Same);
            assert_eq!(*watched.current(), "1");
        }
        is_time.store(true, Ordering::Relaxed);
        assert_eq!(watched.refresh(), Refresh::Changed);
        assert_eq!(*watched.current(), "three");
    }
}
