//! A whole federation on one machine: the demo, the kill matrix, the load, the verdict and the benches, and what later fault scenarios
//! are made of.
//!
//! `dev` plays an edge and a router in its own process, for who wants to try them. All else runs as real processes over real sockets;
//! this crate only starts them, feeds them, breaks things between them and compares what senders logged as acknowledged with what lies
//! in the tier.

pub mod ask;
pub mod bench;
pub mod cli;
pub mod clock;
pub mod demo;
pub mod dev;
pub mod kill;
pub mod lab;
pub mod load;
pub mod look;
pub mod part;
pub mod progress;
pub mod reference;
pub mod sim;
pub mod stand;
pub mod telemetry;
pub mod usage;
pub mod verify;
