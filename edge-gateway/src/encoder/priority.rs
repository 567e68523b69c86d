//! Encoding gives way to receiving: an encoder thread works for twenty milliseconds on end, and a request that arrives meanwhile on the
//! same core would otherwise wait for its turn at each step to its OK.
//!
//! `SCHED_IDLE` and not a nice value: whoever wakes takes the core from an idle thread at once, from a nicer one only when its slice is
//! over, which is up to a tick (4 ms). An idle thread gets what others leave, nearly nothing on a core that is full: the pool has a thread
//! for that.

use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id};

/// Lowers the priority of the calling thread, and of no other. Without it everything works, only less evenly.
pub(super) fn give_way() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle) {
        tracing::debug!(%error, "an encoder thread keeps its priority");
    }
}
