//! The scenarios that the program knows: the files of `chaos/scenarios/`, built in. A path to another file does as well.

use std::path::Path;

use service::config::{ConfigError, Document};

use super::{Raw, Scenario};

macro_rules! scenarios {
    ($($name:literal),* $(,)?) => {
        /// Name and text, in the order in which `all` runs them.
        pub const ALL: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../../scenarios/", $name, ".yaml")))),*];
    };
}

scenarios![
    "link-cut",
    "link-flapping",
    "delay-loss-1",
    "delay-loss-5",
    "udp-blocked",
    "router-killed",
    "router-failover",
    "routers-down",
    "edge-kills",
    "edge-disk-full",
    "router-disk-full",
    "tier-slow",
    "tier-refusing",
    "tier-down",
    "clock-ahead",
    "clock-behind",
    "backlog-fresh",
    "certificate-expired",
    "certificate-revoked",
    "certificate-rotated",
    "address-change",
    "spool-flipped",
    "spool-truncated",
    "spool-index",
    "rolling-upgrade",
];

/// All scenarios, each checked.
///
/// # Errors
/// The first that is none, with file and key.
pub fn all() -> Result<Vec<Scenario>, ConfigError> {
    ALL.iter().map(|(name, text)| parse(name, Path::new(&format!("chaos/scenarios/{name}.yaml")), text)).collect()
}

/// One of the library by its name, or a file by its path.
///
/// # Errors
/// When there is none, or it is not as it should be.
pub fn find(name: &str) -> Result<Scenario, ConfigError> {
    let path = Path::new(name);
    if let Some((name, text)) = ALL.iter().find(|(known, _)| *known == name) {
        return parse(name, path, text);
    }
    if path.extension().is_none() {
        let known = ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        return Err(ConfigError::file(path, format!("no such scenario: expected all, a file, or one of {known}")));
    }
    let document = Document::read(path, "TRIBUTARY_LAB")?;
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("scenario");
    document.parse::<Raw>()?.check(stem).map_err(|invalid| document.error(invalid))
}

fn parse(name: &str, path: &Path, text: &str) -> Result<Scenario, ConfigError> {
    let document = Document::from_text(path, text, "TRIBUTARY_LAB", [])?;
    document.parse::<Raw>()?.check(name).map_err(|invalid| document.error(invalid))
}
