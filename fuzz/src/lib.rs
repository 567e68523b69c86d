//! What must hold for any input: one module per fuzz target. Its `check` panics where the promise is broken; its `fresh` makes an input
//! that is worth mutating, so that no target has to find its formats by chance.
//!
//! `fuzz_targets/` drives these with libFuzzer; `chaos/tests/fuzz_corpus.rs` includes this file and replays the checked-in inputs, found
//! crashes among them, with plain `cargo test`. Nothing here depends on what ran before: an input that fails, fails alone.
//!
//! Bounds: inputs are as long as libFuzzer makes them (4 KiB, `codec_*` and `otlp_scan` 16 KiB); memory is asserted by [`memory`] where a
//! module promises a bound, and by `-rss_limit_mb` for the rest.
#![allow(dead_code, reason = "cargo test replays inputs and does not mutate them")]
#![allow(missing_docs, unreachable_pub, reason = "a test tool: the modules say what holds")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a check stops at what it did not expect")]

#[path = "../../federation-proto/tests/support/mod.rs"]
pub mod support;

pub mod chunk;
pub mod codec_decode;
pub mod codec_encode;
pub mod config;
pub mod container;
pub mod control;
pub mod frame;
pub mod header;
pub mod input;
pub mod json;
pub mod memory;
pub mod mutate;
pub mod otlp_scan;
pub mod protobuf;
pub mod segment_scan;
pub mod session;

/// A target: what is checked, and how a new input is made from a seed.
pub struct Target {
    pub name: &'static str,
    pub check: fn(&[u8]),
    pub fresh: fn(&mut support::rng::Rng) -> Vec<u8>,
}

/// All targets, as `fuzz_targets/` names them.
pub const TARGETS: &[Target] = &[
    Target { name: "chunk", check: chunk::check, fresh: chunk::fresh },
    Target { name: "codec_decode", check: codec_decode::check, fresh: codec_decode::fresh },
    Target { name: "codec_encode", check: codec_encode::check, fresh: codec_encode::fresh },
    Target { name: "config", check: config::check, fresh: config::fresh },
    Target { name: "control", check: control::check, fresh: control::fresh },
    Target { name: "frame", check: frame::check, fresh: frame::fresh },
    Target { name: "header", check: header::check, fresh: header::fresh },
    Target { name: "json", check: json::check, fresh: json::fresh },
    Target { name: "otlp_scan", check: otlp_scan::check, fresh: otlp_scan::fresh },
    Target { name: "segment_scan", check: segment_scan::check, fresh: segment_scan::fresh },
    Target { name: "session", check: session::check, fresh: session::fresh },
];
