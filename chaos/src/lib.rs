//! A whole federation on one machine: the demo, and what later fault scenarios are made of.
//!
//! Everything runs as real processes over real sockets; this crate only starts them, feeds them, breaks things between them and
//! compares what senders logged as acknowledged with what lies in the tier.

pub mod demo;
pub mod part;
pub mod stand;
pub mod telemetry;
