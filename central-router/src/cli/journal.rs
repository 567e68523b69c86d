//! `tributary-router journal`: the batches that the router has acknowledged and some tier has not written, for the operator who has the
//! files. What it is asked is the crate `repair`'s; here is what only a router can do. What changes something takes the journal's lock and
//! does what a start does, so that the router has to be stopped: a tier may be writing any batch of a running one.

use std::path::Path;

use federation_proto::identity::Seq;
use repair::command::{Command, Part, Repaired};
use repair::dropping::{self, Answer};
use repair::ls::Progress;
use repair::{Look, Owner, RepairError};
use serde_json::json;
use service::admin::client::Client;
use service::config::ConfigError;

use super::unix_seconds;
use crate::config::Config;
use crate::journal::{JournalOptions, OWNER, Offline};

/// A router, and its journal.
#[derive(Debug, Clone)]
pub struct Router;

/// `journal`.
pub type JournalCommand = Command<Router>;

impl Part for Router {
    type Config = Config;
    const OWNER: Owner = OWNER;
    const CONFIG_ENV: &'static str = "TRIBUTARY_ROUTER_CONFIG";
    const DONE: &'static str = "every tier has written it, or it was given up: `tributary-router ledger` counts both";
    const DROP: &'static str = "--apply needs the router stopped. Only batches that some tier has not written are dropped.\n";

    fn load(path: &Path) -> Result<Config, ConfigError> {
        Config::load(path)
    }

    fn data_dir(config: &Config) -> &Path {
        &config.data_dir
    }

    fn now() -> u64 {
        unix_seconds()
    }

    /// How far the tiers are.
    async fn progress(config: &Config, look: &Look) -> Option<Progress> {
        let said = Client::new(config.admin.addr()).json("/ledger").await.ok()?;
        if said["journal"]["id"].as_str() != look.id().as_deref() {
            return None;
        }
        let floor = said["tiers"].as_array()?.iter().filter_map(|tier| tier["cursor"].as_u64()).min()?;
        Some(Progress { floor: Seq(floor), ..Progress::default() })
    }

    fn repair(config: &Config) -> Result<Repaired, String> {
        let offline = offline(config)?;
        let notes = offline.opened.notes.clone();
        offline.close().map_err(|error| error.to_string())?;
        let mut text: String = notes.iter().map(|note| format!("{note}\n")).collect();
        text += "repaired: what is damaged is put aside, and its rows are counted as dropped (damaged) at each tier\n";
        Ok(Repaired { value: json!({"notes": notes}), text, well: true })
    }

    async fn apply(config: &Config, drop: &dropping::Drop, now: u64) -> Result<Answer, RepairError> {
        let failed = |error: &dyn std::fmt::Display| RepairError::Refused(format!("nothing was dropped: {error}"));
        let mut offline = offline(config).map_err(|error| failed(&error))?;
        let dropped = offline.drop(&drop.selection, now);
        offline.close().map_err(|error| failed(&error))?;
        dropping::note(&config.data_dir, now, &drop.selection, &drop.reason, &dropped)?;
        Ok(Answer { dropped, on_their_way: 0 })
    }
}

fn offline(config: &Config) -> Result<Offline, String> {
    let tiers: Vec<String> = config.tiers.iter().map(|(name, _)| name.clone()).collect();
    Offline::open(&config.data_dir.join("journal"), &JournalOptions::of(config), &tiers).map_err(|error| error.to_string())
}
