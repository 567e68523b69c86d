use super::*;

const RETURN: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(60);
const MIN: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(10);

#[expect(clippy::disallowed_methods, reason = "a starting point; the tests move it by hand")]
fn start() -> Instant {
    Instant::now()
}

fn endpoints(count: usize) -> Endpoints {
    Endpoints::new(count, (MIN, MAX), 7, RETURN, Some(RETRY))
}

/// Runs the probes of the preferred router until `end`; gives when it was returned to.
fn probe(endpoints: &mut Endpoints, from: Instant, end: Instant, well: impl Fn(Duration) -> bool) -> Option<Duration> {
    let mut now = from;
    while now < end {
        match endpoints.scout(now, false) {
            Ok(scout) => {
                assert_eq!(scout, Scout { endpoint: 0, purpose: Purpose::Return });
                if endpoints.scouted(now, scout, well(now - from)) {
                    return Some(now - from);
                }
            }
            Err(at) => now = at.expect("there is a preferred one"),
        }
    }
    None
}

/// A router that is lost lets the next be dialled at once; when all have failed, the wait is bounded and grows.
#[test]
fn the_next_is_dialled_at_once() {
    let now = start();
    let mut endpoints = endpoints(2);
    assert_eq!(endpoints.choose(now), Choice::Dial(0));
    endpoints.connected(now, 0, Transport::Quic);
    endpoints.lost(now, false);
    assert_eq!(endpoints.choose(now), Choice::Dial(1));
    assert_eq!(endpoints.failed(now, 1), 1);
    let Choice::Wait(at) = endpoints.choose(now) else { panic!("both have failed") };
    assert!(at > now && at <= now + MIN);
    let mut last = now;
    for _ in 0..20 {
        for endpoint in 0..2 {
            endpoints.failed(last, endpoint);
        }
        let Choice::Wait(at) = endpoints.choose(last) else { panic!("both have failed") };
        assert!(at <= last + MAX);
        last = at;
    }
    assert!(matches!(endpoints.choose(last), Choice::Dial(_)));
}

/// The preferred router is returned to once it has answered for as long as was set, and not by one that fails in between.
#[test]
fn a_return_needs_a_steady_router() {
    let now = start();
    let mut endpoints = endpoints(2);
    endpoints.connected(now, 1, Transport::Quic);
    let back = probe(&mut endpoints, now, now + Duration::from_secs(300), |_| true).unwrap();
    assert!(back >= RETURN && back <= RETURN + 2 * PROBE_EVERY, "{back:?}");
    endpoints.connected(now, 1, Transport::Quic);
    let flapping = |at: Duration| at.as_secs() % 30 >= 5;
    assert_eq!(probe(&mut endpoints, now, now + Duration::from_secs(600), flapping), None);
}

/// When the connection is lost, a preferred router that failed its last probe is not the one to dial first; one that answered it is.
#[test]
fn a_router_that_fails_its_probes_is_not_dialled_first() {
    let now = start();
    let mut endpoints = endpoints(2);
    endpoints.connected(now, 1, Transport::Quic);
    let scout = Scout { endpoint: 0, purpose: Purpose::Return };
    assert!(!endpoints.scouted(now, scout, false));
    endpoints.lost(now, false);
    let Choice::Wait(at) = endpoints.choose(now) else { panic!("the other is a moment away") };
    assert!(at <= now + MIN);
    assert_eq!(endpoints.choose(at), Choice::Dial(1));
    endpoints.connected(at, 1, Transport::Quic);
    assert!(!endpoints.scouted(at + PROBE_EVERY, scout, true));
    endpoints.lost(at + PROBE_EVERY, false);
    assert_eq!(endpoints.choose(at + PROBE_EVERY), Choice::Dial(0));
}

/// On TCP, QUIC is tried now and then and taken when it answers; on QUIC, or where the transport is set, never.
#[test]
fn quic_is_tried_again() {
    let now = start();
    let mut one = endpoints(1);
    one.connected(now, 0, Transport::Tcp);
    assert_eq!(one.scout(now, false), Err(Some(now + RETRY)));
    let scout = one.scout(now + RETRY, false).unwrap();
    assert_eq!(scout.purpose, Purpose::Upgrade);
    assert!(!one.scouted(now + RETRY, scout, false));
    assert_eq!(one.scout(now + RETRY, false), Err(Some(now + 2 * RETRY)));
    assert!(one.scouted(now + 2 * RETRY, scout, true));
    one.connected(now, 0, Transport::Quic);
    assert_eq!(one.scout(now + 2 * RETRY, false), Err(None));
    let mut set = Endpoints::new(1, (MIN, MAX), 7, RETURN, None);
    set.connected(now, 0, Transport::Tcp);
    assert_eq!(set.scout(now + 2 * RETRY, false), Err(None));
}

/// With another certificate the router is dialled anew beside the connection, again after a while if that fails, and one that waits
/// out a failure is free at once.
#[test]
fn a_new_certificate_is_used_at_once() {
    let now = start();
    let mut one = endpoints(1);
    one.failed(now, 0);
    assert!(matches!(one.choose(now), Choice::Wait(_)));
    one.renewed(now);
    assert_eq!(one.choose(now), Choice::Dial(0));
    one.connected(now, 0, Transport::Quic);
    assert_eq!(one.scout(now, false), Err(None), "what it was made with is the new one");
    one.renewed(now);
    let scout = Scout { endpoint: 0, purpose: Purpose::Renew };
    assert_eq!(one.scout(now, false), Ok(scout));
    assert!(!one.scouted(now, scout, false));
    assert_eq!(one.scout(now, false), Err(Some(now + RENEW_AGAIN)));
    assert!(one.scouted(now + RENEW_AGAIN, scout, true));
    one.connected(now, 0, Transport::Quic);
    assert_eq!(one.scout(now + 2 * RENEW_AGAIN, false), Err(None));
}

/// Each router is shown as it looked last.
#[test]
fn routers_are_shown_as_they_look() {
    let now = start();
    let mut three = endpoints(3);
    three.failed(now, 0);
    three.connected(now, 1, Transport::Quic);
    let looks: Vec<_> = three.looks(now).into_iter().map(|(look, failures, _)| (look, failures)).collect();
    assert_eq!(looks, [(Look::Failing, 1), (Look::Connected, 0), (Look::Untried, 0)]);
    three.scouted(now, Scout { endpoint: 0, purpose: Purpose::Return }, true);
    assert_eq!(three.looks(now)[0].0, Look::Well);
}

/// A silent router is escaped to another, the one that failed least lately first; alone there is nowhere to go.
#[test]
fn silence_is_escaped() {
    let now = start();
    let mut three = endpoints(3);
    three.connected(now, 0, Transport::Quic);
    let escape = |endpoint| Ok(Scout { endpoint, purpose: Purpose::Escape });
    assert_eq!(three.scout(now, true), escape(1));
    assert!(!three.scouted(now, three.scout(now, true).unwrap(), false));
    assert_eq!(three.scout(now, true), escape(2));
    assert!(three.scouted(now, three.scout(now, true).unwrap(), true));
    let mut one = endpoints(1);
    one.connected(now, 0, Transport::Quic);
    assert_eq!(one.scout(now, true), Err(None));
    assert!(!one.has_another());
}
