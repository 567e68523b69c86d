//! A whole edge on loopback sockets: OTLP from clients that are not ours in front, a small router of the tests behind.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests: a panic is a failed test")]

mod bounds;
mod failover;
mod link;
mod operator;
mod receiver;
mod repair;
mod router;
mod support;
