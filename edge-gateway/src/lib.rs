//! The edge gateway: one per cluster, KVM host or region. Takes OTLP, answers OK when it is on disk, makes batches of columns, keeps
//! them in a spool and ships them to a router over QUIC.
//!
//! | Module | What it decides or does |
//! |---|---|
//! | [`receiver`], [`identity`] | Requests off the sockets; whose they are |
//! | [`ingest`] | Scan, dedup, disk, OK |
//! | [`inbox`], [`compression`] | How a request lies on disk |
//! | [`custody`] | Who holds each row; the ledger; what a crash leaves |
//! | [`batcher`], [`encoder`] | When a batch closes; columns |
//! | [`spool`] | How a batch lies on disk |
//! | [`shipper`], [`link`] | What is sent next; the connection |
//! | [`config`], [`run`](mod@run) | What it is told; the whole |
//! | [`cli`] | What a person asks: `status`, `spool` |
//!
//! **Invariants.** Sync before OK. A row is in a batch once, across any crash. Only what is synced is shipped. Only a router's ack, or
//! a reason in the ledger, ends the edge's care for a row. All memory and disk is bounded by the configuration.

#![forbid(unsafe_code)]

pub mod batcher;
pub mod cli;
pub mod clock;
pub mod compression;
pub mod config;
pub mod custody;
pub mod encoder;
pub mod identity;
pub mod inbox;
pub mod ingest;
pub mod link;
pub mod receiver;
pub mod run;
pub mod shipper;
pub mod spool;

pub use config::Config;
pub use run::{Edge, RunError, check, describe_metrics, run};
