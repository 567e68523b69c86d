//! Tiers: where batches go. Each is a consumer of the journal with its own cursor; one that is slow or down stops no other.
//!
//! A new tier is one folder here, one variant of [`TierConfig`] and one line in [`TierConfig::open`].
//!
//! What a tier owes: [`Tier::write`] returns `Ok` only when the unit is durable at its destination, and a unit of the same range
//! written again replaces what the first attempt left, where the destination allows that.

pub mod consumer;
pub mod load;
pub mod local;
pub mod otlp;
pub mod stall;
pub mod unit;

use std::future::Future;
use std::ops::RangeInclusive;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use federation_proto::ledger::{Ledger, Reason, TierTerms};
use schemars::JsonSchema;
use serde::Deserialize;
use service::config::Invalid;

use crate::journal::book::UnitLimits;
pub use unit::{Unit, UnitBatch};

/// Configuration of one tier, by its kind.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TierConfig {
    /// Parquet files in a directory.
    Local(local::LocalConfig),
    /// Any receiver of OTLP: an OpenTelemetry Collector, a vendor's endpoint, another federation's edge.
    Otlp(otlp::OtlpConfig),
}

impl TierConfig {
    /// Checks what only the tier can know.
    ///
    /// # Errors
    /// The key below the tier's name, what is wrong, what is expected.
    pub fn check(&self) -> Result<(), Invalid> {
        let (kind, checked) = match self {
            Self::Local(config) => ("local", config.check()),
            Self::Otlp(config) => ("otlp", config.check()),
        };
        checked.map_err(|invalid| Invalid::new(format!("{kind}.{}", invalid.key_path), invalid.message))
    }

    /// The directory it writes to, if it does: no two tiers may share that.
    #[must_use]
    pub fn place(&self) -> Option<&Path> {
        match self {
            Self::Local(config) => Some(&config.path),
            Self::Otlp(_) => None,
        }
    }

    /// Reads what the configuration names beside itself (certificates, tokens), and touches nothing.
    ///
    /// # Errors
    /// [`TierOpenError`] when [`TierConfig::open`] would fail for it.
    pub fn verify(&self) -> Result<(), TierOpenError> {
        match self {
            Self::Local(_) => Ok(()),
            Self::Otlp(config) => otlp::verify(config),
        }
    }

    /// Opens the tier of that name for the journal with this id.
    ///
    /// # Errors
    /// [`TierOpenError`] when its destination cannot be used at all.
    pub fn open(&self, name: &str, journal: [u8; 16]) -> Result<Box<dyn Tier>, TierOpenError> {
        match self {
            Self::Local(config) => Ok(Box::new(local::LocalTier::open(config, journal)?)),
            Self::Otlp(config) => Ok(Box::new(otlp::OtlpTier::open(config, name)?)),
        }
    }
}

/// A tier that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct TierOpenError {
    /// Its destination.
    pub place: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// When a unit is due.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// At the latest this long after its first batch came.
    pub interval: Duration,
    /// At once when it is this large.
    pub limits: UnitLimits,
}

/// What a tier remembers of work that a crash interrupted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// All records below were delivered, whatever the journal's cursor says.
    pub delivered_below: Option<u64>,
    /// This run of records was begun and has to be written again as exactly this unit.
    pub redo: Option<RangeInclusive<u64>>,
}

/// Why a unit was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Write {
    /// The destination is in trouble: the same unit again, no sooner than `after`.
    #[error("{why}; tried again in {after:?}")]
    Retry {
        /// The least wait; the consumer adds back-off and jitter.
        after: Duration,
        /// For people.
        why: String,
    },
    /// The destination will never take it: counted, and the cursor moves on.
    #[error("{why}; refused for good")]
    Reject {
        /// The reason in the ledger.
        reason: Reason,
        /// For people.
        why: String,
    },
}

/// What a tier confirmed: terms to add to its ledger. `delivered` is counted by the tier from the rows it wrote.
pub type Delivered = Ledger<TierTerms>;

/// A future of a tier: boxed, since tiers are chosen at run time.
pub type Writing<'a> = Pin<Box<dyn Future<Output = Result<Delivered, Write>> + Send + 'a>>;

/// A destination.
pub trait Tier: Send + Sync {
    /// How large its units are and how often they come.
    fn pace(&self) -> Pace;

    /// What it remembers of work that a crash interrupted, seen from the journal's cursor. Called once, first.
    ///
    /// # Errors
    /// [`Write::Retry`] when its memory cannot be read now.
    fn unfinished(&mut self, cursor: u64) -> Result<Unfinished, Write>;

    /// Writes a unit; `Ok` means durable. Must be safe to call again with the same range, whatever became of the first call.
    fn write(&mut self, unit: Arc<Unit>) -> Writing<'_>;
}
