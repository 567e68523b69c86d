//! The central router: `listener → admission → journal → ack`, then each tier reads the journal at its own pace.
//!
//! | Module | What it is |
//! |---|---|
//! | [`config`], [`cli`], [`pki`], [`edges`] | What it was told: file, command line, certificates, allow-list |
//! | [`listener`] | QUIC: the driver of connections and batch streams |
//! | [`intake`], [`session`] | One connection, decided: what comes and goes; who, what, which verdict on a batch. Pure |
//! | [`admission`], [`dedup`] | Ceilings per tenant; ids that are on the journal already. Pure |
//! | [`journal`] | The durable log and the [`journal::book`] about it: cursors, queue, ledger |
//! | [`tier`] | Destinations: the registry, the consumer loop, and [`tier::local`] |
//! | [`ledger`], [`quarantine`] | What `/ledger` says; what does not decode |
//! | [`sql`] | Questions to the local tier: `query` and `POST /api/v1/query` |
//! | [`tail`], [`roster`] | What is journalled, live; which edges there are |
//! | [`run`](mod@run) | All of it together |
//!
//! What holds: an ack follows the fsync of the batch's record; a batch is on the journal once, whatever is sent again; a tier's cursor
//! moves after the tier confirmed, and durably before anything that relies on it; no connection and no tier stops another.

#![forbid(unsafe_code)]

pub mod admission;
pub mod civil;
pub mod cli;
pub mod config;
pub mod dedup;
pub mod edges;
mod housekeeping;
pub mod intake;
pub mod journal;
pub mod ledger;
pub mod listener;
pub mod pki;
pub mod quarantine;
pub mod roster;
pub mod run;
pub mod session;
pub mod sql;
pub mod tail;
#[cfg(test)]
mod testing;
pub mod tier;

pub use run::{Ready, RunError, check_dates, describe_metrics, run, run_with};
