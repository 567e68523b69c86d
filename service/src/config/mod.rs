//! Configuration: one YAML file, environment overrides, and errors that say which line to change.
//!
//! ```text
//! edge.yaml:12:5: ship.link_cap: invalid value "10 Mbps": expected a rate such as 10Mbit/s or 4MiB/s
//! router.yaml:9:11: tiers[1].pth: unknown key: did you mean path?
//! TRIBUTARY_EDGE__SHIP__LINK_CAP: ship.link_cap: invalid value "fast": expected a rate such as ...
//! ```
//!
//! A binary declares a raw struct with serde (a key it does not have is an error, with
//! `deny_unknown_fields` or without; `flatten` alone defeats that) and either takes it as it is
//! ([`load`]) or makes of it a `Config` that can only be valid ([`load_valid`]). Enums with content
//! are best left externally tagged: serde buffers the values of internally tagged ones, and errors
//! within them are then placed by the key or value they name, as long as that is unique.
//!
//! Bounds: a file has at most [`MAX_FILE_BYTES`], 32 levels and 100,000 values;
//! the environment at most 1024 overrides of 64 KiB.

mod de;
mod error;
mod fault;
mod overrides;
mod tree;
mod units;

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub use error::{ConfigError, Invalid, Origin};
pub use units::{ByteSize, InvalidUnit, Listen, Rate, Span};

/// The largest file that is read.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads `path`, lays the environment's overrides (`<env_prefix>__SECTION__KEY=value`) over it, and
/// makes a `T` of both.
///
/// # Errors
/// One line with place, key, and what is expected.
pub fn load<T: DeserializeOwned>(path: &Path, env_prefix: &str) -> Result<T, ConfigError> {
    Document::read(path, env_prefix)?.parse()
}

/// Reads a YAML file that is not a process's own configuration (an allow-list): without overrides,
/// with the same errors.
///
/// # Errors
/// One line with place, key, and what is expected.
pub fn load_file<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    Document::from_text(path, &read(path)?, "", std::iter::empty())?.parse()
}

/// Like [`load`], then makes a valid configuration of the raw one. What `validate` finds wrong is
/// reported with the line its key stands on, or the variable that set it.
///
/// ```no_run
/// # use service::config::{self, Invalid, Span};
/// # #[derive(serde::Deserialize)] struct Raw { drain: Span }
/// # struct Config { drain: std::time::Duration }
/// let config = config::load_valid("edge.yaml".as_ref(), "TRIBUTARY_EDGE", |raw: Raw| {
///     if raw.drain.0.is_zero() {
///         return Err(Invalid::new("drain", "must be longer than 0s"));
///     }
///     Ok(Config { drain: raw.drain.0 })
/// })?;
/// # Ok::<(), config::ConfigError>(())
/// ```
///
/// # Errors
/// One line with place, key, and what is expected.
pub fn load_valid<T: DeserializeOwned, V>(
    path: &Path,
    env_prefix: &str,
    validate: impl FnOnce(T) -> Result<V, Invalid>,
) -> Result<V, ConfigError> {
    let document = Document::read(path, env_prefix)?;
    validate(document.parse()?).map_err(|invalid| document.error(invalid))
}

/// A configuration as written, with the place of every value.
#[derive(Debug)]
pub struct Document {
    path: PathBuf,
    root: tree::Node,
}

impl Document {
    /// Reads `path` and lays this process's environment over it.
    ///
    /// # Errors
    /// If the file cannot be read, is not YAML, or an override cannot be applied.
    pub fn read(path: &Path, env_prefix: &str) -> Result<Self, ConfigError> {
        let text = read(path)?;
        Self::from_text(path, &text, env_prefix, std::env::vars_os())
    }

    /// Like [`Document::read`] with the file's text and the environment given; `path` is only
    /// named in errors.
    ///
    /// # Errors
    /// If the text is not YAML, or an override cannot be applied.
    pub fn from_text(
        path: &Path,
        text: &str,
        env_prefix: &str,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut root = tree::parse(text)
            .map_err(|(origin, message)| ConfigError::new(path, origin, String::new(), format!("not valid YAML: {message}")))?;
        overrides::apply(&mut root, env_prefix, variables.into_iter()).map_err(|refused| {
            let origin = Origin::Environment(refused.name);
            ConfigError::new(path, Some(origin), refused.key_path, refused.message)
        })?;
        Ok(Self { path: path.to_path_buf(), root })
    }

    /// Makes a `T` of it.
    ///
    /// # Errors
    /// If a key is unknown or missing, or a value is not what `T` expects.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        T::deserialize(&self.root).map_err(|fault| {
            let fault = fault.within(&self.root);
            let key_path = fault.key_path();
            ConfigError::new(&self.path, fault.origin, key_path, fault.message)
        })
    }

    /// The error that `invalid` names, with the place of its key, or of the innermost key around
    /// it that was written.
    pub fn error(&self, invalid: Invalid) -> ConfigError {
        let origin = self.root.origin_of(&invalid.key_path).clone();
        ConfigError::new(&self.path, Some(origin), invalid.key_path, invalid.message)
    }
}

/// Reads a text file of bounded size.
fn read(path: &Path) -> Result<String, ConfigError> {
    let refuse = |message: String| ConfigError::file(path, message);
    let unreadable =
        |error: std::io::Error| refuse(format!("cannot be read: {error}: check the path given to --config and who may read it"));
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(refuse("larger than 1MiB: this is not a configuration file; check the path".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        refuse(format!("not UTF-8 on line {line}: save the file as UTF-8"))
    })
}

#[cfg(test)]
mod tests;
