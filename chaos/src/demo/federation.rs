//! The running demo: the stand, and on it an agent, senders and HTTP traffic.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use federation_proto::identity::TenantId;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Options;
use super::baseline::Baseline;
use super::sender::{self, SenderPlan};
use super::traffic::Traffic;
use crate::progress::Progress;
use crate::stand::layout::{EdgeSpec, Layout};
use crate::stand::relay::Carried;
use crate::stand::{Stand, Who};

const CONNECT_EVERY: Duration = Duration::from_millis(50);
const WEST: usize = 0;
const EAST: usize = 1;

/// Stand, agent, senders and traffic.
pub struct Federation {
    stand: Stand,
    traffic: Traffic,
    senders: JoinSet<io::Result<u64>>,
    stop: watch::Sender<bool>,
    counters: Arc<sender::Progress>,
    baseline: Arc<Mutex<Baseline>>,
    ack_logs: Vec<(TenantId, PathBuf)>,
}

/// What the senders and the traffic made.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// Requests sent again.
    pub retried: u64,
    /// OTLP bytes of what was acknowledged.
    pub otlp_bytes: u64,
    /// The same after zstd.
    pub otlp_zstd_bytes: u64,
    /// HTTP connects.
    pub connects: u64,
    /// The port they went to.
    pub traffic_port: u16,
}

/// What is left when all parts have ended.
#[derive(Debug)]
pub struct Ended {
    /// Bytes on both links.
    pub carried: Carried,
    /// The senders' logs.
    pub ack_logs: Vec<(TenantId, PathBuf)>,
}

impl Federation {
    /// Builds it up and starts to send.
    pub(super) async fn start(layout: &Layout, options: &Options, progress: &Progress) -> io::Result<Self> {
        progress.say("making a CA, starting a router and two edges");
        let specs =
            vec![EdgeSpec::new("edge-west", "us-west-2", &["acme", "globex"])?, EdgeSpec::new("edge-east", "us-central1", &["globex"])?];
        let mut stand = Stand::start(layout, std::env::current_exe()?, specs).await?;
        if !stand.start_agent().await? {
            progress.say(&format!("the agent runs without its kernel programs: {} says what is missing", layout.log("agent").display()));
        }
        let (stop, _) = watch::channel(false);
        let mut federation = Self {
            stand,
            traffic: Traffic::start(CONNECT_EVERY).await?,
            senders: JoinSet::new(),
            stop,
            counters: Arc::default(),
            baseline: Arc::default(),
            ack_logs: Vec::new(),
        };
        federation.start_senders(layout, options)?;
        progress.say("all are ready; sending spans, log records and data points to both edges");
        Ok(federation)
    }

    fn start_senders(&mut self, layout: &Layout, options: &Options) -> io::Result<()> {
        let mut number = 0;
        for edge in self.stand.edges.iter().map(|edge| &edge.spec) {
            for (tenant, token) in &edge.tenants {
                number += 1;
                let ack_log = layout.acknowledged().join(format!("{}-{tenant}.log", edge.name));
                self.ack_logs.push((TenantId::new(tenant).map_err(io::Error::other)?, ack_log.clone()));
                let plan = SenderPlan {
                    number,
                    seed: options.seed,
                    region: edge.region.to_owned(),
                    endpoint: format!("http://{}", edge.grpc),
                    token: token.clone(),
                    gzip: number % 2 == 0,
                    spans_per_s: options.spans_per_s,
                    ack_log,
                };
                self.senders.spawn(sender::run(plan, Arc::clone(&self.counters), Arc::clone(&self.baseline), self.stop.subscribe()));
            }
        }
        Ok(())
    }

    /// Watches over all parts until then, and shows how it stands once a second.
    pub(super) async fn watch_until(&mut self, until: Instant, progress: &Progress) -> io::Result<()> {
        let mut second = 0;
        while Instant::now() < until {
            sleep_until((Instant::now() + Duration::from_secs(1)).min(until)).await;
            self.stand.still_running()?;
            second += 1;
            let acknowledged = self.counters.acknowledged.load(Ordering::Relaxed);
            let queued = self.stand.queued_at_edges().await;
            let up: u64 = self.stand.edges.iter().map(|edge| edge.link.carried().up_bytes).sum();
            progress.status(second, &format!("{acknowledged} records acknowledged, {queued} rows on edge disks, {up} bytes shipped"));
        }
        Ok(())
    }

    /// Cuts or mends the link of edge-west.
    pub(super) fn cut_west(&self, cut: bool) {
        self.stand.edges[WEST].link.set_cut(cut);
    }

    /// Kills edge-east with -9.
    pub(super) async fn kill_east(&mut self) -> io::Result<()> {
        self.stand.kill(&[Who::Edge(EAST)]).await
    }

    /// Starts edge-east again.
    pub(super) fn restart_east(&mut self) -> io::Result<()> {
        self.stand.start_again(Who::Edge(EAST))
    }

    /// Stops senders and traffic; what they had acknowledged is in their logs.
    pub(super) async fn stop_senders(&mut self) -> io::Result<Made> {
        self.stop.send_replace(true);
        while let Some(sender) = self.senders.join_next().await {
            sender.map_err(io::Error::other)??;
        }
        self.traffic.stop().await;
        let baseline = std::mem::take(&mut *self.baseline.lock().unwrap_or_else(PoisonError::into_inner));
        let (otlp_bytes, otlp_zstd_bytes) = baseline.finish();
        Ok(Made {
            retried: self.counters.retried.load(Ordering::Relaxed),
            otlp_bytes,
            otlp_zstd_bytes,
            connects: self.traffic.connects(),
            traffic_port: self.traffic.address().port(),
        })
    }

    /// Stops the agent (it sends what it has), then waits until edges and tier are empty.
    pub(super) async fn drain(&mut self, progress: &Progress, within: Duration) -> io::Result<BTreeMap<String, Value>> {
        progress.say("senders have stopped; stopping the agent, waiting until edges and tier are empty");
        self.stand.stop_agent().await?;
        self.stand.drained(within).await
    }

    /// Ends every part by SIGTERM.
    pub(super) async fn stop(self, progress: &Progress) -> io::Result<Ended> {
        progress.say("stopping edges and router");
        Ok(Ended { carried: self.stand.stop().await?, ack_logs: self.ack_logs })
    }
}
