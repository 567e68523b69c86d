//! The router's borders, under a real router on loopback and edges written by hand: what an honest edge can rely on, and that nobody
//! else can hurt it. Each case ends with a clear code or answer and a counted reason, and an honest edge goes on throughout.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests: a panic is a failed test")]

mod admin;
mod batches;
mod certificates;
mod client;
mod connections;
mod control;
mod disks;
mod honest;
mod site;
mod tcp;
#[path = "../../src/testing.rs"]
#[expect(dead_code, reason = "the unit tests use the rest")]
mod testing;
