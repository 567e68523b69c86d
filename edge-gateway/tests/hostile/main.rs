//! Senders that mean harm, or are broken, at the ports of a whole edge: each gets a clear refusal or an end, is counted, takes no memory
//! beyond its bound, and nobody else notices. Bodies that only the codec sees are in `federation-proto/tests/hostile.rs`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests: a panic is a failed test")]

#[expect(dead_code, reason = "shared with the tests of a friendly edge")]
#[path = "../edge/support.rs"]
mod support;

#[expect(dead_code, reason = "shared with the tests of a friendly edge")]
#[path = "../edge/router.rs"]
mod router;

mod age;
mod bodies;
mod certificates;
mod connections;
mod disk;
mod frames;
mod sender;
mod slow;
