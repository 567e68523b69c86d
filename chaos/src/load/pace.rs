//! When the next request is due, and when there are no more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use service::shutdown::Shutdown;
use tokio::time::Instant;

/// One schedule for all connections: whichever is free takes the next request.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    ends: Instant,
    requests: u64,
    /// Between two requests; `None`: as fast as they are answered.
    interval: Option<Duration>,
    next: AtomicU64,
    stop: Shutdown,
}

impl Pace {
    /// At most `requests`, none due at `ends` or later, none once `stop` is requested.
    pub(super) fn new(began: Instant, ends: Instant, requests: u64, interval: Option<Duration>, stop: Shutdown) -> Self {
        Self { began, ends, requests, interval, next: AtomicU64::new(0), stop }
    }

    /// When the request that the caller is to send is due; `None`: there are no more.
    pub(super) fn claim(&self, now: Instant) -> Option<Instant> {
        let nth = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.interval.map_or(now, |interval| self.began + interval.mul_f64(nth as f64));
        (nth < self.requests && !self.over(due.max(now))).then_some(due)
    }

    /// Is nothing sent or repeated any more?
    pub(super) fn over(&self, now: Instant) -> bool {
        now >= self.ends || self.stop.is_requested()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fixed rate stays on its schedule however late the callers are; the end holds for it and for any other.
    #[tokio::test]
    async fn keeps_schedule_and_end() {
        let began = Instant::now();
        let ms = |n| began + Duration::from_millis(n);
        let paced = Pace::new(began, ms(40), 100, Some(Duration::from_millis(10)), Shutdown::new());
        assert_eq!([paced.claim(ms(0)), paced.claim(ms(25)), paced.claim(ms(26))], [Some(ms(0)), Some(ms(10)), Some(ms(20))]);
        assert_eq!([paced.claim(ms(41)), paced.claim(ms(30))], [None, None], "due, but the time is over; then beyond the end");
        let free = Pace::new(began, ms(40), 2, None, Shutdown::new());
        assert_eq!([free.claim(ms(3)), free.claim(ms(4)), free.claim(ms(5))], [Some(ms(3)), Some(ms(4)), None]);
        let stop = Shutdown::new();
        let stopped = Pace::new(began, ms(40), 100, None, stop.clone());
        assert!(stopped.claim(ms(0)).is_some());
        stop.request();
        assert!(stopped.claim(ms(1)).is_none() && stopped.over(ms(1)));
    }
}
