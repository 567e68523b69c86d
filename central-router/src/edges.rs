//! The allow-list: which edges may connect, and whose records each may carry.
//!
//! ```yaml
//! edges:
//!   "eu-west-1":
//!     tenants: ["acme", "beta"]
//! ```
//!
//! The file is read again when it changes ([`Watched`]); a bad one changes nothing, and why is logged and shown by `/readyz`. An edge
//! that is taken off is cut off on its live connection too.
//! At most [`MAX_EDGES`] edges of [`MAX_TENANTS`] tenants each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use federation_proto::identity::{EdgeName, TenantId};
use schemars::JsonSchema;
use serde::Deserialize;
use service::config::ConfigError;
use tokio::sync::watch;

pub use service::watched::Refresh;
use service::watched::Watched;

/// Edges that one list may name.
pub const MAX_EDGES: usize = 10_000;
/// Tenants that one edge may carry.
pub const MAX_TENANTS: usize = 4_096;

/// What one edge may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// Whose records it may carry.
    pub tenants: BTreeSet<TenantId>,
}

/// The list as its file has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Edges {
    /// Edges by name.
    pub edges: BTreeMap<EdgeName, Edge>,
}

impl Edges {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ConfigError`] with file, line and key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let list: Self = service::config::load_file(path)?;
        let widest = list.edges.iter().find(|(_, edge)| edge.tenants.len() > MAX_TENANTS);
        if list.edges.len() > MAX_EDGES {
            return Err(ConfigError::file(
                path,
                format!("{} edges: at most {MAX_EDGES} are taken; run another router for the rest", list.edges.len()),
            ));
        }
        if let Some((name, edge)) = widest {
            return Err(ConfigError::file(path, format!("edges.{name}: {} tenants: at most {MAX_TENANTS} are taken", edge.tenants.len())));
        }
        Ok(list)
    }

    /// The file's text. Names are of a narrow alphabet and quoted, so that `1.0` or `null` stay names.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut text = String::from(
            "# Which edges may connect, and whose records each may carry. Read again when it changes.\n\
             # `tributary-router pki issue` rewrites this file: comments are not kept.\n",
        );
        if self.edges.is_empty() {
            text.push_str("edges: {}\n");
            return text;
        }
        text.push_str("edges:\n");
        for (name, edge) in &self.edges {
            let tenants: Vec<String> = edge.tenants.iter().map(|tenant| format!("\"{tenant}\"")).collect();
            text.push_str(&format!("  \"{name}\":\n    tenants: [{}]\n", tenants.join(", ")));
        }
        text
    }
}

/// The list in force, kept up with its file.
pub struct AllowList(Watched<Edges>);

impl AllowList {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// [`ConfigError`]: a router does not start without a list.
    pub fn open(path: &Path) -> Result<Self, ConfigError> {
        let file = path.to_owned();
        Watched::open(vec![path.to_owned()], move || Edges::load(&file), PartialEq::eq).map(Self)
    }

    /// A list that is in no file; `read` gives it, at first and whenever [`AllowList::refresh`] is asked.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn told(read: impl Fn() -> Result<Edges, ConfigError> + Send + Sync + 'static) -> Result<Self, ConfigError> {
        Watched::open(Vec::new(), read, PartialEq::eq).map(Self)
    }

    /// The list in force.
    #[must_use]
    pub fn current(&self) -> Arc<Edges> {
        self.0.current()
    }

    /// Changes with the list.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes()
    }

    /// May this edge connect?
    #[must_use]
    pub fn has(&self, edge: &EdgeName) -> bool {
        self.current().edges.contains_key(edge)
    }

    /// May `edge` carry records of `tenant`? `None` when the edge is not on the list.
    #[must_use]
    pub fn may_carry(&self, edge: &EdgeName, tenant: &TenantId) -> Option<bool> {
        self.current().edges.get(edge).map(|edge| edge.tenants.contains(tenant))
    }

    /// Reads the file again if it changed since the last look.
    pub fn refresh(&self) -> Refresh {
        self.0.refresh()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(edges: &[(&str, &[&str])]) -> Edges {
        let edge = |tenants: &&[&str]| Edge { tenants: tenants.iter().map(|t| TenantId::new(t).unwrap()).collect() };
        Edges { edges: edges.iter().map(|(name, tenants)| (EdgeName::new(name).unwrap(), edge(tenants))).collect() }
    }

    /// Whatever names are allowed, the file written is the list read, words that YAML takes for numbers and nulls included.
    #[test]
    fn the_file_gives_the_list_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edges.yaml");
        for edges in [list(&[]), list(&[("1.0", &["null", "true", "1e3"]), ("eu", &[])])] {
            std::fs::write(&path, edges.to_yaml()).unwrap();
            assert_eq!(Edges::load(&path).unwrap(), edges);
        }
    }

    /// A new file takes effect, a bad one changes nothing and is reported once, and the next good one is taken again.
    #[test]
    fn a_bad_file_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("edges.yaml");
        std::fs::write(&path, list(&[("eu", &["acme"])]).to_yaml()).unwrap();
        let allowed = AllowList::open(&path).unwrap();
        let (eu, us, acme) = (EdgeName::new("eu").unwrap(), EdgeName::new("us").unwrap(), TenantId::new("acme").unwrap());
        assert_eq!(allowed.refresh(), Refresh::Same);
        assert_eq!(allowed.may_carry(&eu, &acme), Some(true));
        assert_eq!(allowed.may_carry(&us, &acme), None);

        std::fs::write(&path, "edges: {eu: {tenants: [\"NOT A NAME\"]}}").unwrap();
        let Refresh::Kept(why) = allowed.refresh() else { panic!("a bad list was taken") };
        assert!(why.contains("edges.yaml") && why.contains("NOT A NAME"), "{why}");
        assert_eq!(allowed.refresh(), Refresh::Same, "reported once");
        assert_eq!(allowed.may_carry(&eu, &acme), Some(true));

        std::fs::write(&path, list(&[("eu", &["acme"])]).to_yaml()).unwrap();
        assert_eq!(allowed.refresh(), Refresh::Confirmed, "the complaint is over");
        std::fs::write(&path, list(&[("us", &["acme"])]).to_yaml() + "\n").unwrap();
        assert_eq!(allowed.refresh(), Refresh::Changed);
        assert_eq!(allowed.may_carry(&eu, &acme), None);
        assert_eq!(allowed.may_carry(&us, &acme), Some(true));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(allowed.refresh(), Refresh::Kept(_)));
        assert_eq!(allowed.may_carry(&us, &acme), Some(true));
    }
}
