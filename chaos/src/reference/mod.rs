//! The references in `docs/`, made from the code: metrics from their descriptions, settings from the raw configurations' types, defaults
//! and comments. `cargo reference` writes them; `cargo reference --check` and a test compare them.

mod config;
mod markdown;
mod metrics;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args as ClapArgs;

/// How a person brings the files up to date.
pub const COMMAND: &str = "cargo reference";

/// `tributary-chaos reference`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Write nothing; exit 1 if a file is not what the code says.
    #[arg(long)]
    check: bool,
    /// The repository.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/.."))]
    root: PathBuf,
}

/// One file of the references.
#[derive(Debug)]
pub struct File {
    /// Below the repository.
    pub path: &'static str,
    /// What belongs into it.
    pub text: String,
}

/// Why a reference is not right.
#[derive(Debug)]
pub enum Fault {
    /// A file cannot be written.
    Write(PathBuf, std::io::Error),
    /// A file is not what the code says.
    Stale(PathBuf),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(path, error) => write!(f, "{}: cannot be written: {error}", path.display()),
            Self::Stale(path) => write!(f, "{}: not what the code says: run `{COMMAND}` and look at the difference", path.display()),
        }
    }
}

impl Error for Fault {}

/// All files, as the code has them now.
#[must_use]
pub fn files() -> Vec<File> {
    let mut files = vec![File { path: "docs/metrics.md", text: metrics::page() }, File { path: "docs/config.md", text: config::page() }];
    files.extend(config::DOCUMENTS.iter().map(|document| File { path: document.path, text: document.json() }));
    files
}

/// Compares the files below `root` with the code.
///
/// # Errors
/// [`Fault::Stale`] for the first that differs or is not there.
pub fn check(root: &Path) -> Result<(), Fault> {
    let stale = files().into_iter().find(|file| std::fs::read_to_string(root.join(file.path)).ok().as_deref() != Some(&file.text));
    stale.map_or(Ok(()), |file| Err(Fault::Stale(root.join(file.path))))
}

/// Writes the files below `root`.
///
/// # Errors
/// [`Fault::Write`] for the first that cannot be written.
pub fn write(root: &Path) -> Result<(), Fault> {
    files().into_iter().try_for_each(|file| {
        let path = root.join(file.path);
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        folder.and_then(|()| std::fs::write(&path, file.text)).map_err(|error| Fault::Write(path, error))
    })
}

/// Does what was asked.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let done = if args.check { check(&args.root) } else { write(&args.root) };
    service::exit_code(done.map_err(Box::<dyn Error + Send + Sync>::from))
}
