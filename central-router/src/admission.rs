//! The ceiling of each tenant, in raw bytes a second: governor's direct limiters in an `ArcSwap` map.
//!
//! Cells are 1 KiB of raw bytes ([`CELL_BYTES`]): with single bytes as cells, the nanosecond in which governor counts quantises badly
//! (600 MB/s would admit 1,000). A batch takes all its cells or none. One that is larger than the burst takes the whole burst: it is
//! slowed, never refused for ever. What was taken for a batch that did not get onto the journal is given back: it lies apart, at most a
//! burst of it, and is taken first by the batches that come next.
//!
//! Time is an argument: the limiters read a clock that [`Admission::admit`] sets from `now`.
//! Bounds: one limiter (about 100 bytes) per tenant named by the configuration or, with a default rate, by the allow-list.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use federation_proto::identity::TenantId;
use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

/// Raw bytes that one cell of a limiter stands for.
pub const CELL_BYTES: u64 = 1024;

/// A tenant's ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// Raw bytes a second, at least [`CELL_BYTES`].
    pub rate: u64,
    /// Raw bytes that may come at once; at least the largest batch, which the configuration checks.
    pub burst: u64,
}

/// The time that the limiters see: nanoseconds since the admission was made, as last told.
#[derive(Debug, Clone, Default)]
struct ToldClock(Arc<AtomicU64>);

impl ToldClock {
    fn tell(&self, since_start: Duration) {
        let nanos = u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_max(nanos, Ordering::Relaxed);
    }
}

impl Clock for ToldClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.load(Ordering::Relaxed))
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, ToldClock, NoOpMiddleware<Nanos>>;

struct TenantLimiter {
    limiter: Limiter,
    burst_cells: NonZeroU32,
    /// Cells given back, at most `burst_cells`.
    returned: AtomicU32,
}

/// The ceilings of all tenants.
pub struct Admission {
    start: Instant,
    clock: ToldClock,
    tenants: ArcSwap<HashMap<TenantId, Arc<TenantLimiter>>>,
    default: Option<Ceiling>,
}

impl Admission {
    /// Limiters for `tenants`; a tenant not among them gets `default`, or no ceiling when that is `None`.
    #[must_use]
    pub fn new(start: Instant, tenants: &HashMap<TenantId, Ceiling>, default: Option<Ceiling>) -> Self {
        let clock = ToldClock::default();
        let limiters = tenants.iter().map(|(tenant, ceiling)| (tenant.clone(), Arc::new(TenantLimiter::new(*ceiling, &clock)))).collect();
        Self { start, clock, tenants: ArcSwap::from_pointee(limiters), default }
    }

    /// Takes the cells of a batch of `raw_bytes`.
    ///
    /// # Errors
    /// How long to wait, when the tenant is over its ceiling; nothing was taken then.
    pub fn admit(&self, now: Instant, tenant: &TenantId, raw_bytes: u64) -> Result<(), Duration> {
        self.clock.tell(now.saturating_duration_since(self.start));
        let known = self.tenants.load().get(tenant).cloned();
        match known.or_else(|| self.default_limiter(tenant)) {
            None => Ok(()),
            Some(limiter) => limiter.take(&self.clock, raw_bytes),
        }
    }

    /// Gives back what [`Admission::admit`] took for a batch of `raw_bytes` that is not on the journal after all.
    pub fn refund(&self, tenant: &TenantId, raw_bytes: u64) {
        if let Some(limiter) = self.tenants.load().get(tenant) {
            limiter.give_back(raw_bytes);
        }
    }

    fn default_limiter(&self, tenant: &TenantId) -> Option<Arc<TenantLimiter>> {
        let fresh = Arc::new(TenantLimiter::new(self.default?, &self.clock));
        self.tenants.rcu(|now| {
            let mut next = HashMap::clone(now);
            next.entry(tenant.clone()).or_insert_with(|| Arc::clone(&fresh));
            next
        });
        self.tenants.load().get(tenant).cloned()
    }
}

impl TenantLimiter {
    fn new(ceiling: Ceiling, clock: &ToldClock) -> Self {
        let burst_cells = cells(ceiling.burst);
        let nanos_per_cell = (CELL_BYTES * 1_000_000_000 / ceiling.rate.max(1)).max(1);
        let quota =
            Quota::with_period(Duration::from_nanos(nanos_per_cell)).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst_cells);
        Self { limiter: RateLimiter::direct_with_clock(quota, clock.clone()), burst_cells, returned: AtomicU32::new(0) }
    }

    fn take(&self, clock: &ToldClock, raw_bytes: u64) -> Result<(), Duration> {
        let wanted = cells(raw_bytes).min(self.burst_cells);
        let before = self.returned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(n.saturating_sub(wanted.get())));
        let from_returned = before.unwrap_or(0).min(wanted.get());
        let Some(rest) = NonZeroU32::new(wanted.get() - from_returned) else { return Ok(()) };
        let wait = match self.limiter.check_n(rest) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(not_until)) => not_until.wait_time_from(clock.now()),
            // More than the burst: `wanted` was cut to it, so this does not happen; waiting is the safe answer.
            Err(_) => Duration::from_secs(1),
        };
        self.put_back(from_returned);
        Err(wait)
    }

    fn give_back(&self, raw_bytes: u64) {
        self.put_back(cells(raw_bytes).min(self.burst_cells).get());
    }

    fn put_back(&self, cells: u32) {
        let most = self.burst_cells.get();
        let added = |n: u32| Some(n.saturating_add(cells).min(most));
        // The closure never refuses.
        let _ = self.returned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }
}

fn cells(bytes: u64) -> NonZeroU32 {
    let cells = u32::try_from(bytes.div_ceil(CELL_BYTES)).unwrap_or(u32::MAX);
    NonZeroU32::new(cells).unwrap_or(NonZeroU32::MIN)
}

// The bound that governor states for its instants.
const _: fn() = || {
    fn reference<R: Reference>() {}
    reference::<Nanos>();
};

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "an origin for the time that the test makes up")]
    fn origin() -> Instant {
        Instant::now()
    }

    fn admission(start: Instant, rate: u64, burst: u64, default: Option<Ceiling>) -> Admission {
        Admission::new(start, &HashMap::from([(tenant("acme"), Ceiling { rate, burst })]), default)
    }

    /// Offered three times its rate for a minute, a tenant gets its rate and its burst, within 1 %, at slow and at fast rates (batches of whole cells; others are charged up to the next one).
    #[test]
    fn a_tenant_gets_its_rate() {
        for rate in [MIB, 10 * MIB, 600 * MIB] {
            let start = origin();
            let admission = admission(start, rate, 2 * MIB, None);
            let batch = (rate / 100).next_multiple_of(CELL_BYTES).min(2 * MIB);
            let mut admitted = 0;
            for step in 0..18_000u64 {
                let now = start + Duration::from_nanos(step * 10_000_000 / 3);
                if admission.admit(now, &tenant("acme"), batch).is_ok() {
                    admitted += batch;
                }
            }
            let expected = (rate.min(3 * 100 * batch) * 60 + 2 * MIB) as f64;
            assert!((admitted as f64 / expected - 1.0).abs() < 0.01, "{rate}: {admitted} of {expected}");
        }
    }

    /// Who waits as long as it was told gets in; who comes a little early does not.
    #[test]
    fn the_wait_is_exact() {
        let start = origin();
        let admission = admission(start, MIB, MIB, None);
        assert_eq!(admission.admit(start, &tenant("acme"), MIB), Ok(()));
        let wait = admission.admit(start, &tenant("acme"), MIB / 2).unwrap_err();
        assert!((wait.as_secs_f64() - 0.5).abs() < 0.01, "{wait:?}");
        assert!(admission.admit(start + wait - Duration::from_millis(2), &tenant("acme"), MIB / 2).is_err());
        assert_eq!(admission.admit(start + wait, &tenant("acme"), MIB / 2), Ok(()));
    }

    /// A batch larger than the burst takes the whole burst and gets in once that is there.
    #[test]
    fn a_huge_batch_is_slowed_not_refused() {
        let start = origin();
        let admission = admission(start, MIB, MIB, None);
        assert_eq!(admission.admit(start, &tenant("acme"), u64::MAX), Ok(()));
        let wait = admission.admit(start, &tenant("acme"), 64 * MIB).unwrap_err();
        assert_eq!(admission.admit(start + wait, &tenant("acme"), 64 * MIB), Ok(()));
    }

    /// What was taken for batches that came to nothing is there again, once, and never more than a burst of it.
    #[test]
    fn what_came_to_nothing_is_given_back() {
        let start = origin();
        let admission = admission(start, MIB, MIB, None);
        let acme = tenant("acme");
        for _ in 0..5 {
            assert_eq!(admission.admit(start, &acme, MIB), Ok(()));
            assert!(admission.admit(start, &acme, MIB / 2).is_err());
            admission.refund(&acme, MIB);
        }
        for _ in 0..5 {
            admission.refund(&acme, MIB);
        }
        assert_eq!(admission.admit(start, &acme, MIB / 2), Ok(()));
        assert!(admission.admit(start, &acme, MIB).is_err(), "half is left");
        assert_eq!(admission.admit(start, &acme, MIB / 2), Ok(()), "a refusal takes nothing");
        assert!(admission.admit(start, &acme, 1).is_err(), "more than a burst was given back");
        admission.refund(&tenant("nobody"), MIB);
    }

    /// One tenant over its ceiling takes nothing from another; tenants without a ceiling of their own have the default, each its own.
    #[test]
    fn tenants_are_apart() {
        let start = origin();
        let admission = admission(start, MIB, MIB, Some(Ceiling { rate: MIB, burst: MIB }));
        for name in ["acme", "beta", "gamma"] {
            assert_eq!(admission.admit(start, &tenant(name), MIB), Ok(()), "{name}");
            assert!(admission.admit(start, &tenant(name), MIB).is_err(), "{name}");
        }
        let without = Admission::new(start, &HashMap::new(), None);
        for _ in 0..100 {
            assert_eq!(without.admit(start, &tenant("acme"), 100 * MIB), Ok(()));
        }
    }
}
