//! What crosses a process border of Tributary: identities, the batch and its columns, the codec, the frames, the ledger's terms.
//!
//! No tokio, no sockets, no files: everything here is a function of its arguments, so that seeds and fuzzers can drive it.

pub mod chunk;
pub mod codec;
pub mod columns;
pub mod control;
pub mod frame;
pub mod header;
pub mod identity;
pub mod intervals;
pub mod ledger;
pub mod otlp;
