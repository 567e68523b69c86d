//! What is wrong with a configuration, in one line: where, which key, what, and what to write.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a value was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// In the file; both count from 1, columns in characters.
    File {
        /// The line.
        line: u64,
        /// The column.
        column: u64,
    },
    /// In the environment variable of this name.
    Environment(Arc<str>),
}

/// A configuration that cannot be used. Prints as exactly one line:
///
/// ```text
/// edge.yaml:12:5: ship.link_cap: invalid value "10 Mbps": expected a rate such as 10Mbit/s or 4MiB/s
/// TRIBUTARY_EDGE__SHIP__LINK_CAP: ship.link_cap: invalid value "fast": expected a rate such as ...
/// edge.yaml: cannot be read: No such file or directory (os error 2): ...
/// ```
///
/// [`exit_code`](crate::exit_code) turns it into exit code 2.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", self.line())]
pub struct ConfigError(Box<Parts>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Parts {
    path: PathBuf,
    origin: Option<Origin>,
    key_path: String,
    message: String,
}

impl ConfigError {
    /// An error of the file as a whole.
    pub fn file(path: &Path, message: impl fmt::Display) -> Self {
        Self::new(path, None, String::new(), message)
    }

    pub(super) fn new(path: &Path, origin: Option<Origin>, key_path: String, message: impl fmt::Display) -> Self {
        Self(Box::new(Parts { path: path.to_path_buf(), origin, key_path: shown(&key_path), message: shown(&message.to_string()) }))
    }

    /// Where the wrong value stands; `None` if it is the file as a whole.
    pub fn origin(&self) -> Option<&Origin> {
        self.0.origin.as_ref()
    }

    /// The key's path such as `tiers[1].path`; empty if it is the file as a whole.
    pub fn key_path(&self) -> &str {
        &self.0.key_path
    }

    /// What is wrong and what is expected.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    fn line(&self) -> String {
        let Parts { path, origin, key_path, message } = &*self.0;
        let at = match origin {
            None => shown(&path.display().to_string()),
            Some(Origin::File { line, column }) => {
                format!("{}:{line}:{column}", shown(&path.display().to_string()))
            }
            Some(Origin::Environment(name)) => shown(name),
        };
        if key_path.is_empty() { format!("{at}: {message}") } else { format!("{at}: {key_path}: {message}") }
    }
}

/// A value that parsed but cannot be: what a binary's own validation reports to
/// [`load_valid`](super::load_valid), which knows the line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{key_path}: {message}")]
pub struct Invalid {
    /// The key's path as an error prints it: `tiers[1].path`.
    pub key_path: String,
    /// What is wrong and what is expected.
    pub message: String,
}

impl Invalid {
    /// The value at `key_path` (`tiers[1].path`) is wrong as `message` says.
    pub fn new(key_path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key_path: key_path.into(), message: message.into() }
    }
}

/// `text` on one line and of bounded length: no control characters, since it may come from a
/// file that is not what it should be.
fn shown(text: &str) -> String {
    const MAX_CHARS: usize = 512;
    let mut line: String = text.chars().take(MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() < text.len() {
        line.push('…');
    }
    line
}
