//! `/status` and `/spool` of the admin endpoint: what an operator asks first, as JSON.
//!
//! `/status` has readiness, link, disks and the account of every tenant (as `/ledger`); `/spool` says how far the router is with the
//! spool's batches, which the files alone do not tell. Bounds: accounts are bounded by the tenants that the configuration names; `sent` by
//! `ship.in_flight`.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use federation_proto::identity::{EdgeName, Seq, SpoolId, TenantId};
use federation_proto::ledger::Reason;
use repair::dropping;
use serde::Serialize;
use service::admin::Report;
use service::operator::{self, Secret};

use super::offline::is_selected;
use super::{Parts, report};
use crate::clock;
use crate::config::{Config, WhenFull};
use crate::link::LinkStatus;

/// Where an operator drops batches.
pub(crate) const DROP: &str = "/spool/drop";

#[derive(Serialize)]
struct Status {
    edge: EdgeName,
    version: &'static str,
    #[serde(flatten)]
    readiness: Report,
    link: Link,
    inbox: Inbox,
    spool: Queue,
    /// As in `/ledger`.
    tenants: serde_json::Value,
}

#[derive(Serialize)]
struct Link {
    #[serde(flatten)]
    status: LinkStatus,
    cap_bytes_per_second: Option<u64>,
}

#[derive(Serialize)]
struct Inbox {
    #[serde(flatten)]
    disk: Disk,
    /// Rows in no batch yet: in requests that are being taken, or on disk.
    rows: u64,
}

#[derive(Serialize)]
struct Disk {
    disk_bytes: u64,
    budget_bytes: u64,
}

#[derive(Serialize)]
struct Queue {
    id: SpoolId,
    #[serde(flatten)]
    disk: Disk,
    batches: u64,
    rows: u64,
    bytes: u64,
    in_flight_bytes: u64,
    /// Time of the oldest record in it, Unix nanoseconds; none if it is empty or no record has a time.
    oldest_unix_nano: Option<u64>,
    stalled: bool,
    when_full: WhenFull,
    max_age_seconds: Option<u64>,
    /// What one tenant may hold, in bytes.
    tenant_share_bytes: Option<u64>,
    /// Tenants that are refused, since they hold their share.
    refused_tenants: Vec<TenantId>,
}

/// How far the router is with the batches of the spool.
#[derive(Serialize)]
struct Progress {
    spool_id: SpoolId,
    /// Every batch below has left the spool.
    floor: Seq,
    /// Batches that are on their way, or wait for the router's verdict.
    sent: Vec<Seq>,
}

/// What the routes need.
struct Desk {
    name: EdgeName,
    link_cap: Option<u64>,
    parts: Arc<Parts>,
    data_dir: PathBuf,
    /// Who may drop batches.
    operator: Option<Secret>,
}

/// The routes to add to the admin endpoint.
pub(super) fn routes(config: &Config, parts: &Arc<Parts>) -> Router {
    let operator = operator::renew(&config.data_dir);
    let operator =
        operator.inspect_err(|error| tracing::warn!(%error, "no operator's token: batches can be dropped with the edge stopped only"));
    let desk = Desk {
        name: config.name.clone(),
        link_cap: config.ship.link_cap,
        parts: Arc::clone(parts),
        data_dir: config.data_dir.clone(),
        operator: operator.ok(),
    };
    let status = |State(desk): State<Arc<Desk>>| answer(desk, Desk::status);
    let spool = |State(desk): State<Arc<Desk>>| answer(desk, Desk::progress);
    Router::new().route("/status", get(status)).route("/spool", get(spool)).route(DROP, post(drop_batches)).with_state(Arc::new(desk))
}

/// For the operator alone: batches are dropped. What is asked is small (bodies here are at most 64 KiB).
async fn drop_batches(State(desk): State<Arc<Desk>>, headers: HeaderMap, Json(request): Json<dropping::Request>) -> Response {
    if !desk.operator.as_ref().is_some_and(|operator| operator.is_in(&headers)) {
        return (StatusCode::UNAUTHORIZED, "the token in data_dir/operator.token is needed\n").into_response();
    }
    if request.selection.is_empty() || request.reason.trim().is_empty() {
        return (StatusCode::BAD_REQUEST, "a selection and a reason are needed\n").into_response();
    }
    answer(desk, move |desk| desk.drop_batches(&request, clock::unix_seconds())).await
}

/// On a thread that may block: the answer takes locks and walks the queue.
async fn answer<T: Serialize + Send + 'static>(desk: Arc<Desk>, what: impl FnOnce(&Desk) -> T + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(move || what(&desk)).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => {
            tracing::error!(%error, "admin: the status cannot be reported");
            (StatusCode::INTERNAL_SERVER_ERROR, "cannot be reported; see the log\n").into_response()
        }
    }
}

impl Desk {
    fn status(&self) -> Status {
        let parts = &self.parts;
        let mut ledger = report::ledger(&self.name, parts);
        Status {
            edge: self.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            readiness: parts.readiness.report(),
            link: Link { status: parts.link.status.lock().clone(), cap_bytes_per_second: self.link_cap },
            inbox: self.inbox(),
            spool: self.queue(),
            tenants: ledger["tenants"].take(),
        }
    }

    fn inbox(&self) -> Inbox {
        let parts = &self.parts;
        let disk_bytes = parts.inbox.committer.with(|log| log.bytes_on_disk());
        let custody = parts.link.custody.lock();
        let rows = custody.accounts().map(|(_, _, _, queued, _)| queued.requests + queued.inbox).sum();
        Inbox { disk: Disk { disk_bytes, budget_bytes: parts.budgets.inbox_bytes }, rows }
    }

    fn queue(&self) -> Queue {
        let parts = &self.parts;
        let disk = Disk { disk_bytes: parts.link.spool.with(|log| log.bytes_on_disk()), budget_bytes: parts.budgets.spool_bytes };
        let (stalled, refused_tenants) = {
            let custody = parts.link.custody.lock();
            (custody.is_stalled(), custody.over_share().iter().cloned().collect())
        };
        let policy = &parts.bounds.spool;
        let shipper = parts.link.shipper.lock();
        let depth = shipper.depth();
        Queue {
            id: parts.link.spool_id,
            disk,
            batches: depth.batches,
            rows: shipper.items().map(|item| u64::from(item.rows)).sum(),
            bytes: depth.bytes,
            in_flight_bytes: depth.in_flight_bytes,
            oldest_unix_nano: shipper.items().map(|item| item.oldest_unix_nano).filter(|nanos| *nanos > 0).min(),
            stalled,
            when_full: policy.when_full,
            max_age_seconds: policy.max_age.map(|age| age.as_secs()),
            tenant_share_bytes: policy.tenant_bytes,
            refused_tenants,
        }
    }

    /// Batches that are on their way to a router stay; the others go, and with the checkpoint of this second for good.
    fn drop_batches(&self, request: &dropping::Request, now: u64) -> dropping::Answer {
        let link = &self.parts.link;
        let all: Vec<Seq> = link.shipper.lock().items().map(|item| item.seq).collect();
        let is_meant = |seq: &Seq| link.spool.with(|log| is_selected(log, *seq, &request.selection, now));
        let meant: Vec<Seq> = all.into_iter().filter(is_meant).collect();
        let mut dropped = dropping::Sum::default();
        for item in link.give_up(&meant, Reason::Operator) {
            dropped.add_rows(&item.tenant, item.signal, item.class, item.rows.into());
        }
        tracing::warn!(batches = dropped.batches(), rows = dropped.rows(), reason = request.reason, "an operator dropped batches");
        if let Err(error) = dropping::note(&self.data_dir, now, &request.selection, &request.reason, &dropped) {
            tracing::error!(%error, "what an operator dropped is not noted");
        }
        dropping::Answer { on_their_way: meant.len() as u64 - dropped.batches(), dropped }
    }

    fn progress(&self) -> Progress {
        let shipper = self.parts.link.shipper.lock();
        Progress { spool_id: self.parts.link.spool_id, floor: shipper.floor(), sent: shipper.in_flight().collect() }
    }
}
