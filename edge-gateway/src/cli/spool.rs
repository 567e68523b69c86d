//! `tributary-edge spool`: the batches on an edge's disk, for the operator who has the files. What it is asked is the crate `repair`'s; here
//! is what only an edge can do: it asks the running one, or takes both logs' locks and does what a start does.

use std::path::Path;

use federation_proto::identity::Seq;
use repair::command::{Command, Part, Repaired};
use repair::dropping::{self, Answer};
use repair::kept::Kept;
use repair::ls::Progress;
use repair::{Look, Owner, RepairError};
use serde_json::{Value, json};
use service::admin::client::{AskError, Client};
use service::config::ConfigError;
use service::operator;

use crate::clock;
use crate::config::Config;
use crate::link::Rejected;
use crate::run::Offline;
use crate::run::status::DROP;
use crate::spool::OWNER;

/// An edge, and its spool.
#[derive(Debug, Clone)]
pub struct Edge;

/// `spool`.
pub type Spool = Command<Edge>;

impl Part for Edge {
    type Config = Config;
    const OWNER: Owner = OWNER;
    const CONFIG_ENV: &'static str = "TRIBUTARY_EDGE_CONFIG";
    const DONE: &'static str = "a router has it, or it was given up: `tributary-edge status` counts both";
    const DROP: &'static str = "";

    fn load(path: &Path) -> Result<Config, ConfigError> {
        Config::load(path)
    }

    fn data_dir(config: &Config) -> &Path {
        &config.data_dir
    }

    fn now() -> u64 {
        clock::unix_seconds()
    }

    /// How far the router is.
    async fn progress(config: &Config, look: &Look) -> Option<Progress> {
        let said = Client::new(config.admin).json("/spool").await.ok()?;
        if said["spool_id"].as_str() != look.id().as_deref() {
            return None;
        }
        let sent = said["sent"].as_array()?.iter().filter_map(Value::as_u64).map(Seq).collect();
        Some(Progress { floor: Seq(said["floor"].as_u64()?), sent })
    }

    /// Which batches a router has refused.
    fn complete(look: &mut Look, data_dir: &Path) {
        let Ok(kept) = Kept::at(&Rejected::dir(data_dir)) else { return };
        let of_this_spool = kept.batches.iter().map(|batch| batch.header.id).filter(|id| Some(id.spool.0) == look.seen.id());
        look.refused = of_this_spool.map(|id| id.seq).collect();
    }

    fn repair(config: &Config) -> Result<Repaired, String> {
        let offline = Offline::open(config).map_err(|error| error.to_string())?;
        let lost: Vec<Value> =
            offline.lost.iter().map(|(tenant, signal, rows)| json!({"tenant": tenant, "signal": signal, "rows": rows})).collect();
        let (put_aside, unread, rows) = (offline.put_aside, offline.unread, offline.lost.iter().map(|(_, _, rows)| rows).sum::<u64>());
        offline.close().map_err(|error| error.to_string())?;
        let mut text =
            format!("repaired: {put_aside} damaged places of spool and inbox put aside, {rows} rows counted as dropped (damaged)\n");
        if unread > 0 {
            text += &format!("{unread} records cannot be read now and are left alone: check the disk\n");
        }
        Ok(Repaired { value: json!({"put_aside": put_aside, "unread": unread, "lost": lost}), text, well: unread == 0 })
    }

    /// Asks the running edge; if none runs, does it here.
    async fn apply(config: &Config, drop: &dropping::Drop, now: u64) -> Result<Answer, RepairError> {
        let client = Client::new(config.admin);
        let asked = |error: AskError| RepairError::Refused(error.with_remedy("edge"));
        match client.get("/healthz").await {
            Err(AskError::Unreachable { .. }) => {}
            Err(error) => return Err(asked(error)),
            Ok(_) => {
                let token = operator::read(&config.data_dir).map_err(RepairError::Refused)?;
                let request = dropping::Request { selection: drop.selection.clone(), reason: drop.reason.clone() };
                let answer = client.with_token(&token).post(DROP, &json!(request)).await.map_err(asked)?;
                return serde_json::from_value(answer).map_err(|error| RepairError::Refused(format!("the edge's answer: {error}")));
            }
        }
        let failed = |error: &dyn std::fmt::Display| RepairError::Refused(format!("nothing was dropped: {error}"));
        let mut offline = Offline::open(config).map_err(|error| failed(&error))?;
        let dropped = offline.drop(&drop.selection, now);
        offline.close().map_err(|error| failed(&error))?;
        dropping::note(&config.data_dir, now, &drop.selection, &drop.reason, &dropped)?;
        Ok(Answer { dropped, on_their_way: 0 })
    }
}
