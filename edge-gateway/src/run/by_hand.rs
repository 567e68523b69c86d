//! An edge without threads, sockets and clocks, for a simulation: the same logs, account, batcher, encoders and shipper, on any disks, and
//! each step done when it is told to. What a router says goes to [`ByHand::link`].

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use segment_log::{CheckpointError, Committer, CommitterOptions, Hand, Log};

use super::alive::Alive;
use super::bounds::Pace;
use super::open::{self, Disks, Driver};
use super::tasks::{self, Trim};
use super::{Parts, RunError, SharedCustody};
use crate::clock::Clock;
use crate::compression::Thrift;
use crate::config::Config;
use crate::encoder::{EncoderPool, OnStored};
use crate::ingest::Ingest;
use crate::link;

/// The edge. Dropped, it is gone as after a kill: what waits for a disk is not written.
pub struct ByHand {
    ingest: Ingest,
    parts: Parts,
    /// Does the inbox's rounds.
    pub inbox: Hand,
    /// Does the spool's rounds.
    pub spool: Hand,
    trim: Trim,
    pace: Pace,
}

struct Hands {
    hands: Vec<Hand>,
    verdict: Duration,
}

impl Driver for Hands {
    fn verdict(&self) -> Duration {
        self.verdict
    }

    fn committer(&mut self, log: Log, options: CommitterOptions) -> Committer {
        let (committer, hand) = Committer::by_hand(log, &options);
        self.hands.push(hand);
        committer
    }

    fn encoders(
        &mut self,
        custody: SharedCustody,
        spool: Committer,
        on_stored: OnStored,
        _: &dyn Fn() -> Alive,
    ) -> io::Result<EncoderPool> {
        Ok(EncoderPool::by_hand(custody, spool, on_stored))
    }
}

impl ByHand {
    /// Opens an edge on these disks. A sent batch without a verdict for `verdict` is sent again.
    ///
    /// # Errors
    /// [`RunError::Log`]: what the disks say.
    pub fn open(config: &Config, disks: Disks, clock: Clock, verdict: Duration) -> Result<Self, RunError> {
        let mut driver = Hands { hands: Vec::new(), verdict };
        let parts = open::open_on(config, disks, &mut driver)?;
        let (Some(inbox), Some(spool)) = (driver.hands.pop(), driver.hands.pop()) else {
            return Err(RunError::Threads(io::Error::other("no hands")));
        };
        let (custody, encoders) = (Arc::clone(&parts.link.custody), parts.encoders.clone());
        let trim = Trim::new(clock.now());
        let thrift = Thrift::new(config.inbox.budget_bytes);
        let ingest = Ingest::on_clock(custody, parts.inbox.committer.clone(), encoders, config.receive.max_request_bytes, thrift, clock);
        let pace = Pace::of(&parts);
        Ok(Self { ingest, parts, inbox, spool, trim, pace })
    }

    /// The way in.
    #[must_use]
    pub fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    /// What the link works on.
    #[must_use]
    pub fn link(&self) -> &Arc<link::Shared> {
        &self.parts.link
    }

    /// The inbox.
    #[must_use]
    pub fn inbox_log(&self) -> &Committer {
        &self.parts.inbox.committer
    }

    /// Batches that wait to be encoded.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.parts.encoders.waiting()
    }

    /// Encodes one batch; false when none waits.
    pub fn encode(&self) -> bool {
        self.parts.encoders.step()
    }

    /// Closes batches whose time has come.
    pub fn close_by_age(&self, now: Instant) {
        let closed = self.parts.link.custody.lock().due(now);
        self.parts.encoders.submit(closed);
    }

    /// Reads the oldest entry of the backlog; false when there is none, or none now.
    pub fn read_backlog(&self, now: Instant) -> bool {
        self.parts.read_backlog(now)
    }

    /// What the spool's policy says, as an edge does once a second before [`ByHand::maintain`]: what is too old, beyond a tenant's share, or
    /// in the way of what comes is dropped and counted. `wall` is Unix seconds.
    pub fn keep_bounds(&mut self, now: Instant, wall: u64) {
        self.parts.keep_bounds(now, wall, &mut self.pace);
    }

    /// What happens once a second: checkpoints, and a stalled spool is tried again.
    pub fn maintain(&mut self, now: Instant) {
        self.parts.take_checkpoints(now, &mut self.trim);
        self.parts.resume();
    }

    /// A drain: everything to disk, and the last checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`]: the next start reads more of the logs.
    pub fn close(self) -> Result<(), CheckpointError> {
        self.ingest.drain();
        self.inbox.step();
        let closed = self.parts.link.custody.lock().drain();
        self.parts.encoders.submit(closed);
        while self.encode() {}
        self.parts.inbox.committer.close();
        self.parts.link.spool.close();
        tasks::checkpoint(&self.parts.link.custody, &self.parts.link.spool, &self.parts.inbox.committer)
    }
}
