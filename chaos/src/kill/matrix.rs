//! The running matrix: the stand, the load on it, and the strikes.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use federation_proto::identity::TenantId;
use serde_json::Value;
use service::shutdown::Shutdown;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::plan::{Strike, Victim};
use super::report::Recovery;
use super::witness::{Connects, Witness};
use crate::demo::traffic::Traffic;
use crate::load::tally::Tally;
use crate::load::{self, Compression, Ended, Plan, Protocol, Shape, SignalChoice, Target};
use crate::progress::Progress;
use crate::stand::layout::{EdgeSpec, Layout, Tuning};
use crate::stand::{Stand, Who, ledger};
use crate::usage;

/// Small files and quick flushes, so that kills also fall into what is seldom otherwise: new segments, checkpoints, manifests.
const TUNING: Tuning = Tuning {
    tier: "flush_interval: 500ms",
    router: "journal: {budget: 2GiB, segment: 4MiB}\n",
    edge: "spool: {budget: 2GiB, segment: 4MiB}\n",
};
/// A killed part that does not move data after this has failed.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
const CONNECT_EVERY: Duration = Duration::from_millis(20);
const ROWS_PER_REQUEST: u64 = 200;
const CONNECTIONS: u64 = 4;

/// Stand, load, agent with its witness and something to see, and what came of the kills so far.
pub(super) struct Matrix {
    stand: Stand,
    witness: Witness,
    traffic: Traffic,
    probes: bool,
    senders: JoinSet<io::Result<Ended>>,
    tallies: Vec<Arc<Tally>>,
    stop: Shutdown,
    ack_logs: Vec<(TenantId, PathBuf)>,
    recoveries: BTreeMap<Victim, Recovery>,
}

/// What is left to judge when all parts have ended.
pub(super) struct Remains {
    pub(super) ack_logs: Vec<(TenantId, PathBuf)>,
    pub(super) connects: Connects,
    pub(super) port: u16,
    pub(super) probes: bool,
    pub(super) retried: u64,
    pub(super) ledgers: BTreeMap<String, Value>,
    pub(super) recoveries: BTreeMap<Victim, Recovery>,
}

impl Matrix {
    /// Builds it up and starts to send `rate` rows a second.
    pub(super) async fn start(layout: &Layout, seed: u64, rate: u64, progress: &Progress) -> io::Result<Self> {
        progress.say("making a CA, starting a router, an edge and an agent");
        let specs = vec![EdgeSpec::new("edge", "eu-central-1", &["acme", "globex"])?];
        let mut stand = Stand::start_tuned(layout, std::env::current_exe()?, specs, &TUNING).await?;
        let traffic = Traffic::start(CONNECT_EVERY).await?;
        let witness = Witness::start(stand.edges[0].spec.grpc, traffic.address().port()).await?;
        let probes = stand.start_agent_through(witness.address()).await?;
        if !probes {
            progress.say(&format!("the agent runs without its kernel programs: {} says what is missing", layout.log("agent").display()));
        }
        let (senders, tallies, stop) = (JoinSet::new(), Vec::new(), Shutdown::new());
        let (ack_logs, recoveries) = (Vec::new(), BTreeMap::new());
        let mut matrix = Self { stand, witness, traffic, probes, senders, tallies, stop, ack_logs, recoveries };
        matrix.start_senders(layout, seed, rate)?;
        matrix.until_all_send().await?;
        Ok(matrix)
    }

    /// A sender that finds nobody at its very first connect gives up: nothing is killed before each was told its first OK.
    async fn until_all_send(&mut self) -> io::Result<()> {
        let began = Instant::now();
        while self.tallies.iter().any(|tally| tally.acknowledged_rows() == 0) {
            self.still_waiting(Victim::Edge, began).await?;
        }
        Ok(())
    }

    /// One sender a tenant: as an SDK does over gRPC, and as a Collector does over HTTP with zstd. Both repeat what got no answer.
    fn start_senders(&mut self, layout: &Layout, seed: u64, rate: u64) -> io::Result<()> {
        let edge = &self.stand.edges[0].spec;
        let ways = [(Protocol::Grpc, edge.grpc, Compression::None), (Protocol::Http, edge.http, Compression::Zstd)];
        for (nth, ((tenant, token), (protocol, address, compression))) in edge.tenants.iter().zip(ways).enumerate() {
            let ack_log = layout.acknowledged().join(format!("{tenant}.log"));
            self.ack_logs.push((TenantId::new(tenant).map_err(io::Error::other)?, ack_log.clone()));
            let shape = Shape {
                protocol,
                signal: SignalChoice::Mixed,
                rate: Some((rate / 2).max(1)),
                connections: CONNECTIONS,
                rows_per_request: ROWS_PER_REQUEST,
                compression,
                seed: seed.wrapping_mul(2).wrapping_add(nth as u64),
            };
            let plan = Plan {
                target: Target::new(&format!("http://{address}"), protocol, compression, Some(token))?,
                shape,
                most: Duration::from_secs(load::MAX_SECONDS),
                rows: None,
                ack_log: Some(ack_log),
                retry: true,
                stop: self.stop.clone(),
            };
            let tally = Arc::new(Tally::default());
            self.tallies.push(Arc::clone(&tally));
            self.senders.spawn(load::run(plan, tally, None));
        }
        Ok(())
    }

    /// Rows that the load's senders were told OK for.
    pub(super) fn acknowledged(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.acknowledged_rows()).sum()
    }

    /// Kills as planned, starts again, and waits until data moves through all that were hit.
    pub(super) async fn strike(&mut self, strike: &Strike) -> io::Result<()> {
        sleep(strike.before).await;
        self.check().await?;
        self.kill(strike, false).await?;
        sleep(strike.down).await;
        self.start_again(strike)?;
        if let Some(again) = strike.again {
            sleep(again).await;
            self.kill(strike, true).await?;
            self.start_again(strike)?;
        }
        let began = Instant::now();
        for &victim in &strike.whom {
            let ready = self.until_ready(victim, began).await?;
            let moving = self.until_moving(victim, began).await?;
            let recovery = self.recoveries.entry(victim).or_default();
            recovery.ready.push(ready);
            recovery.moving.push(moving);
        }
        Ok(())
    }

    async fn kill(&mut self, strike: &Strike, during_recovery: bool) -> io::Result<()> {
        for &victim in &strike.whom {
            let recovery = self.recoveries.entry(victim).or_default();
            recovery.kills += 1;
            recovery.in_pairs += u64::from(strike.whom.len() > 1);
            recovery.during_recovery += u64::from(during_recovery);
        }
        self.look_at_memory();
        let whom: Vec<Who> = strike.whom.iter().map(|victim| victim.who()).collect();
        self.stand.kill(&whom).await
    }

    fn start_again(&mut self, strike: &Strike) -> io::Result<()> {
        strike.whom.iter().try_for_each(|victim| self.stand.start_again(victim.who()))
    }

    fn look_at_memory(&mut self) {
        for victim in Victim::ALL {
            // A process that was killed before it could be looked at has no peak.
            let peak = self.stand.id(victim.who()).and_then(|id| usage::peak_memory(id).ok());
            let recovery = self.recoveries.entry(victim).or_default();
            recovery.rss_bytes = recovery.rss_bytes.max(peak.unwrap_or_default());
        }
    }

    async fn until_ready(&mut self, victim: Victim, began: Instant) -> io::Result<Duration> {
        loop {
            let ready = match victim {
                // Without its programs the agent is never ready; that its endpoint answers must do.
                Victim::Agent if !self.probes => self.stand.answers(victim.who()).await,
                _ => self.stand.ready(victim.who()).await,
            };
            if ready {
                return Ok(began.elapsed());
            }
            self.still_waiting(victim, began).await?;
        }
    }

    /// Data moves through the edge when senders are told OK, through the router when rows come into its journal, out of the agent when
    /// the edge says OK to it.
    async fn until_moving(&mut self, victim: Victim, began: Instant) -> io::Result<Duration> {
        if victim == Victim::Agent && !self.probes {
            return Ok(began.elapsed());
        }
        let first = self.moved(victim).await?;
        while self.moved(victim).await? <= first {
            self.still_waiting(victim, began).await?;
        }
        Ok(began.elapsed())
    }

    async fn moved(&self, victim: Victim) -> io::Result<u64> {
        match victim {
            Victim::Edge => Ok(self.acknowledged()),
            Victim::Agent => Ok(self.witness.acknowledged()),
            Victim::Router => Ok(ledger::sum(&self.stand.ledger(victim.who()).await?, "journalled")),
        }
    }

    async fn still_waiting(&mut self, victim: Victim, began: Instant) -> io::Result<()> {
        if began.elapsed() > RECOVERY_DEADLINE {
            return Err(self.stand.silent(victim.who(), RECOVERY_DEADLINE));
        }
        self.check().await?;
        sleep(POLL).await;
        Ok(())
    }

    /// No part has ended by itself, and no sender gave up.
    async fn check(&mut self) -> io::Result<()> {
        self.stand.still_running()?;
        if let Some(ended) = self.senders.try_join_next() {
            ended.map_err(io::Error::other)??;
            return Err(io::Error::other("a sender ended before its time"));
        }
        Ok(())
    }

    /// Stops the senders, lets everything come to rest, and ends all parts.
    pub(super) async fn finish(mut self, drain: Duration) -> io::Result<Remains> {
        self.look_at_memory();
        self.stop.request();
        while let Some(ended) = self.senders.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        self.traffic.stop().await;
        self.stand.stop_agent().await?;
        let ledgers = self.stand.drained(drain).await?;
        self.stand.stop().await?;
        self.recoveries.values_mut().for_each(Recovery::finish);
        Ok(Remains {
            ack_logs: self.ack_logs,
            connects: self.witness.connects(),
            port: self.traffic.address().port(),
            probes: self.probes,
            retried: self.tallies.iter().map(|tally| tally.retries()).sum(),
            ledgers,
            recoveries: self.recoveries,
        })
    }
}
