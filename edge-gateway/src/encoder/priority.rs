//! Encoding gives way to receiving: an encoder thread works for twenty milliseconds on end, and a request that arrives meanwhile on the
//! same core would otherwise wait for its turn at each step to its OK.
//!
//! `SCHED_IDLE` and not a nice value: whoever wakes takes the core from an idle thread at once, from a nicer one only when its slice is
//! over, which is up to a tick (4 ms). An idle thread gets what others leave, nearly nothing on a core that is full: so nobody waits for a
//! lock that it holds, and another does what takes it too long.

use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id};

/// Lowers the priority of the calling thread, and of no other. Without it everything works, only less evenly.
pub(super) fn give_way() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle) {
        tracing::debug!(%error, "an encoder thread keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use thread_priority::thread_schedule_policy;

    use super::*;

    /// The thread that gives way is idle to the scheduler, and no other thread with it.
    #[test]
    fn only_the_calling_thread_gives_way() {
        let before = thread_schedule_policy().unwrap();
        let there = std::thread::spawn(|| {
            give_way();
            thread_schedule_policy().unwrap()
        });
        assert_eq!(there.join().unwrap(), ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle));
        assert_eq!(thread_schedule_policy().unwrap(), before);
        assert_ne!(before, ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle));
    }
}
