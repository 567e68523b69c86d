//! What the driver decides without a kernel.

use super::*;
use crate::probe::{Process, TcpConnect};

fn bare(probe: Box<dyn Probe>, missing: &[&str]) -> Station {
    let missing = missing.iter().map(|text| (*text).to_owned()).collect();
    Station { probe, attached: None, counts: EventCounts { missing, ..EventCounts::default() } }
}

/// Bytes that are no event are counted, and what comes after them is taken.
#[test]
fn malformed_events_are_counted() {
    let mut probe = Process::new(size_of::<bpf::ProcessEvent>() as u64);
    let mut exec = [0; size_of::<bpf::ProcessEvent>()];
    (exec[16], exec[24]) = (9, 1);
    let mut round = Round::default();
    assert_eq!(round.take(&mut probe, &[0xff; 3]), None);
    assert_eq!(round.take(&mut probe, &exec).map(|origin| origin.pid), Some(9));
    assert_eq!(round.take(&mut probe, &exec).map(|origin| origin.pid), Some(9), "over the bound, but an event");
    assert_eq!(round, Round { drained: 3, malformed: 1, over_bound: 1 });
}

/// A required probe that does not run is the reason; else it takes all of them to be down; none configured is as wished.
#[test]
fn judges_readiness() {
    let connect = || bare(Box::new(TcpConnect::new(1 << 20)), &["probe tcp_connect: no"]);
    let process = || bare(Box::new(Process::new(1 << 20)), &["probe process: no"]);
    assert_eq!(judge(&[connect(), process()], &[]).as_deref(), Some("no probe runs: probe tcp_connect: no"));
    let required = ["probe process: no".to_owned()];
    assert_eq!(judge(&[connect(), process()], &required).as_deref(), Some("probe process: no"));
    assert_eq!(judge(&[], &[]), None);
}
