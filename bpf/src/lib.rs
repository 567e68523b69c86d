//! The kernel's side of the agent: compiled programs, and the events they send.
//!
//! The programs are C in `src/*.bpf.c`, compiled by `build.sh` into `obj/` and checked in, so that building this crate
//! needs no clang; `check.sh` proves that objects and sources agree. An event crosses a ring buffer as the bytes of one
//! fixed-size C struct (`src/events.h`). Here each struct has a twin of the same layout, and a `parse` that reads it
//! field by field, checked and without `unsafe`: what comes from a ring is input like any other.
//!
//! Bounds: an event is at most [`MAX_EVENT_LEN`] bytes; parsing allocates nothing.

#![cfg_attr(not(test), no_std)]

mod bytes;
mod process;
mod tcp_connect;
#[cfg(test)]
mod tests;

pub use bytes::{Comm, Malformed};
pub use process::{ExitStatus, ProcessEvent, ProcessKind};
pub use tcp_connect::{Outcome, TcpConnectEvent};

/// The longest event of any program, in bytes.
pub const MAX_EVENT_LEN: usize = size_of::<ProcessEvent>();

/// Name of the ring buffer map that every object has.
pub const EVENTS_MAP: &str = "events";
/// Name of the per-CPU array of [`Counter`]s that every object has.
pub const COUNTERS_MAP: &str = "counters";

/// Slots of an object's per-CPU counters (`enum counter` in `events.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// Events given to the ring.
    Sent = 0,
    /// Events lost because the ring had no room.
    RingFull = 1,
    /// Connects whose end was seen without their start: begun before the program was, or pushed out of the LRU.
    NoStart = 2,
    /// Connects whose start could not be stored.
    NoSlot = 3,
}

/// Gives an embedded object the alignment that an ELF reader asks for.
#[repr(C, align(16))]
struct Aligned<T: ?Sized>(T);

/// Program `tcp_connect` on `tp_btf/inet_sock_set_state`; sends [`TcpConnectEvent`].
pub static TCP_CONNECT: &[u8] = {
    static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!("../obj/tcp_connect.bpf.o"));
    &OBJECT.0
};

/// Programs `process_exec` on `tp_btf/sched_process_exec` and `process_exit` on `tp_btf/sched_process_exit`; both send
/// [`ProcessEvent`].
pub static PROCESS: &[u8] = {
    static OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!("../obj/process.bpf.o"));
    &OBJECT.0
};
