//! The real programs in the real kernel: run as root with `cargo test -p agent --test kernel -- --ignored`.

#![expect(clippy::expect_used, reason = "helpers outside of #[test] functions: a panic fails the test")]

mod support;

use std::path::Path;

use agent::aggregate::Delta;
use agent::identity::{CgroupId, Cgroups, find_cgroup2};
use agent::loader::{Attached, Missing, Privileges, Step, attach};
use agent::probe::{Probe, ProbeSpec, Process, ProgramSpec, TcpConnect};
use bpf::{ExitStatus, Outcome, ProcessEvent, ProcessKind};
use support::{Child, OwnCgroup, Sink, refused_port};

const RING_BYTES: u32 = 1 << 20;

fn privileges() -> Privileges {
    Privileges::read(Path::new("/proc"))
}

fn drain(attached: &mut Attached, probe: &mut dyn Probe) -> u64 {
    let mut events = 0;
    while attached.drain(1_000, |event| {
        probe.take(event).expect("the kernel's own events are well formed");
        events += 1;
    }) > 0
    {}
    events
}

fn count(delta: &Delta, pid: u32, cgroup: CgroupId, port: u16, outcome: Outcome) -> u64 {
    let of_key = delta.series.iter().filter(|(key, _)| {
        (key.pid, key.cgroup, key.remote.port(), key.outcome) == (pid, cgroup, port, outcome) && key.remote.ip().is_loopback()
    });
    of_key.map(|(_, histogram)| histogram.count).sum()
}

/// Each connect of a process is counted once, by its pid, its cgroup, its peer and its outcome; and no other is under its pid.
#[test]
#[ignore = "needs root and BPF"]
fn every_connect_is_counted() {
    let mut probe = TcpConnect::new(8 << 20);
    let mut attached = attach(probe.spec(), RING_BYTES, &privileges()).expect("loads as root");
    assert_eq!((attached.running.as_slice(), attached.missing.len()), (&["tcp_connect"][..], 0));
    let (sink, refused) = (Sink::start(), refused_port());
    let cgroup = OwnCgroup::create("connects");
    let mut child = Child::start(&connects(sink.port, 200, refused.port, 50));
    cgroup.take(child.pid);
    child.run();
    assert_eq!(child.wait(), Some(0));

    let events = drain(&mut attached, &mut probe);
    let delta = probe.take_delta();
    assert_eq!(count(&delta, child.pid, cgroup.id, sink.port, Outcome::Established), 200);
    assert_eq!(count(&delta, child.pid, cgroup.id, refused.port, Outcome::Failed(111)), 50, "ECONNREFUSED");
    let of_child: Vec<_> = delta.series.iter().filter(|(key, _)| key.pid == child.pid).collect();
    assert_eq!(of_child.iter().map(|(_, histogram)| histogram.count).sum::<u64>(), 250, "nothing else: {of_child:?}");
    for (key, histogram) in of_child {
        assert_eq!(key.comm.to_string(), "bash");
        assert_eq!(histogram.buckets.iter().sum::<u64>(), histogram.count);
        assert!(histogram.min_ns > 0 && histogram.max_ns < 10_000_000_000, "{histogram:?}");
    }
    let counts = attached.counts().unwrap();
    assert_eq!((counts.ring_full, counts.no_slot), (0, 0));
    assert!(counts.sent >= events && events >= 250);
}

/// IPv6 connects are counted as what they are, and IPv4 in IPv6 clothes as IPv4.
#[test]
#[ignore = "needs root and BPF"]
fn addresses_are_the_wires() {
    let mut probe = TcpConnect::new(8 << 20);
    let mut attached = attach(probe.spec(), RING_BYTES, &privileges()).expect("loads as root");
    let v4 = Sink::start();
    let mapped: std::net::SocketAddr = format!("[::ffff:127.0.0.1]:{}", v4.port).parse().unwrap();
    std::net::TcpStream::connect(mapped).unwrap();
    let v6 = std::net::TcpListener::bind("[::1]:0").unwrap();
    std::net::TcpStream::connect(v6.local_addr().unwrap()).unwrap();
    drain(&mut attached, &mut probe);
    let remotes: Vec<_> =
        probe.take_delta().series.into_iter().filter(|(key, _)| key.pid == std::process::id()).map(|(key, _)| key.remote).collect();
    assert!(remotes.contains(&format!("127.0.0.1:{}", v4.port).parse().unwrap()), "{remotes:?}");
    assert!(remotes.contains(&v6.local_addr().unwrap()), "{remotes:?}");
}

/// A full ring loses events but no count of them, and does not stop the program.
#[test]
#[ignore = "needs root and BPF"]
fn ring_loss_is_counted() {
    let mut probe = TcpConnect::new(8 << 20);
    let mut attached = attach(probe.spec(), 4096, &privileges()).expect("loads as root");
    let sink = Sink::start();
    let mut child = Child::start(&connects(sink.port, 200, sink.port, 0));
    child.run();
    assert_eq!(child.wait(), Some(0));
    let counts = attached.counts().unwrap();
    assert!(counts.ring_full > 0, "{counts:?}");
    let drained = drain(&mut attached, &mut probe);
    assert!(drained > 0 && drained >= counts.sent, "what was sent is there: {drained} {counts:?}");
    assert!(counts.sent + counts.ring_full >= 200, "every connect is one or the other: {counts:?}");
}

/// Exec and exit of a process are seen with its parent, its program and how it ended: by code, by signal.
#[test]
#[ignore = "needs root and BPF"]
fn processes_are_seen() {
    let mut probe = Process::new(4 << 20);
    let mut attached = attach(probe.spec(), RING_BYTES, &privileges()).expect("loads as root");
    assert_eq!(attached.running, ["process_exec", "process_exit"]);
    let cgroup = OwnCgroup::create("processes");
    let mut by_code = Child::start("exit 7");
    cgroup.take(by_code.pid);
    by_code.run();
    assert_eq!(by_code.wait(), Some(7));
    let mut by_signal = Child::start("kill -9 $$");
    by_signal.run();
    assert_eq!(by_signal.wait(), None);

    drain(&mut attached, &mut probe);
    let events = probe.take_events();
    let of = |pid: u32| -> Vec<&ProcessEvent> { events.iter().filter(|event| event.pid == pid).collect() };
    let [exec, exit] = of(by_code.pid)[..] else { panic!("{events:?}") };
    assert_eq!((exec.kind(), exec.parent_pid), (ProcessKind::Exec, std::process::id()));
    assert!(exec.path().ends_with(b"bash"), "{exec:?}");
    assert_eq!((exec.comm.to_string(), exit.comm.to_string()), ("bash".to_owned(), "bash".to_owned()));
    assert_eq!(exit.kind(), ProcessKind::Exit(ExitStatus::Code(7)));
    assert_eq!(CgroupId(exit.cgroup_id), cgroup.id);
    assert!(exit.time_ns > exec.time_ns);
    assert_eq!(of(by_signal.pid).last().map(|event| event.kind()), Some(ProcessKind::Exit(ExitStatus::Signal(9))));
}

/// A thread that calls execve ends the old leader but not the process: one exec, one exit, at the end.
#[test]
#[ignore = "needs root, BPF and python3"]
fn an_exec_from_a_thread_is_no_exit() {
    let mut probe = Process::new(4 << 20);
    let mut attached = attach(probe.spec(), RING_BYTES, &privileges()).expect("loads as root");
    let program = "import os, threading\nt = threading.Thread(target=lambda: os.execv('/bin/true', ['true']))\nt.start()\nt.join()";
    let mut python = std::process::Command::new("python3").args(["-c", program]).spawn().expect("python3");
    let pid = python.id();
    assert!(python.wait().unwrap().success());
    drain(&mut attached, &mut probe);
    let kinds: Vec<_> = probe.take_events().iter().filter(|event| event.pid == pid).map(|event| event.kind()).collect();
    // python3 may be a script that execs the real one, so there are two execs or more.
    let execs = kinds.iter().filter(|kind| **kind == ProcessKind::Exec).count();
    assert!(execs >= 2 && execs + 1 == kinds.len(), "{kinds:?}");
    assert_eq!(kinds.last(), Some(&ProcessKind::Exit(ExitStatus::Code(0))));
}

/// A cgroup's id leads to its path while its process lives, and after that by the walk.
#[test]
#[ignore = "needs root and a cgroup2 mount"]
fn cgroups_are_found() {
    let mount = find_cgroup2(Path::new("/proc")).expect("cgroup2 is mounted");
    let cgroup = OwnCgroup::create("paths");
    let mut child = Child::start(":");
    cgroup.take(child.pid);
    #[expect(clippy::disallowed_methods, reason = "an origin for the test's own clock")]
    let now = std::time::Instant::now();
    let path = |cgroups: &Cgroups| cgroups.get(cgroup.id).map(|identity| identity.path.clone());
    let mut live = Cgroups::new(Path::new("/proc"), Some(&mount), 10);
    live.saw(now, cgroup.id, child.pid);
    assert_eq!(path(&live), Some(cgroup.path.clone()));
    child.run();
    child.wait();
    let mut gone = Cgroups::new(Path::new("/proc"), Some(&mount), 10);
    gone.saw(now, cgroup.id, child.pid);
    assert_eq!(path(&gone), Some(cgroup.path.clone()));
}

/// A program that the verifier rejects is named with the verifier's reason, and the probe's other program runs.
#[test]
#[ignore = "needs root and BPF"]
fn a_rejected_program_is_explained() {
    static PROGRAMS: [ProgramSpec; 2] = [
        ProgramSpec { name: "rejected", tracepoint: "sched_process_exit" },
        ProgramSpec { name: "accepted", tracepoint: "sched_process_exit" },
    ];
    let object = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../bpf/obj/rejected.bpf.o")).unwrap().leak();
    let spec = ProbeSpec { name: "test", object, programs: &PROGRAMS };
    let attached = attach(&spec, RING_BYTES, &privileges()).expect("one of two runs");
    assert_eq!(attached.running, ["accepted"]);
    let [missing]: &[Missing; 1] = attached.missing.as_slice().try_into().unwrap();
    assert_eq!((missing.program, missing.step), (Some("rejected"), Step::Load));
    let message = missing.to_string();
    assert!(message.starts_with("probe test: program rejected (tp_btf/sched_process_exit): cannot load: EACCES"), "{message}");
    assert!(message.contains("verifier rejected it") && message.contains("map_value_or_null"), "{message}");

    let alone = ProbeSpec { name: "test", object, programs: &PROGRAMS[..1] };
    assert_eq!(attach(&alone, RING_BYTES, &privileges()).unwrap_err().len(), 1);
}

/// A tracepoint that this kernel does not have is named.
#[test]
#[ignore = "needs root and BPF"]
fn an_unknown_tracepoint_is_named() {
    static PROGRAMS: [ProgramSpec; 1] = [ProgramSpec { name: "process_exec", tracepoint: "no_such_thing" }];
    let spec = ProbeSpec { name: "test", object: bpf::PROCESS, programs: &PROGRAMS };
    let missing = attach(&spec, RING_BYTES, &privileges()).unwrap_err();
    assert!(missing[0].to_string().contains("this kernel has no tracepoint no_such_thing"), "{}", missing[0]);
}

/// A shell script that connects so often to either port, in the shell's own process.
fn connects(port: u16, times: u32, refused: u16, refused_times: u32) -> String {
    format!(
        "for ((i = 0; i < {times}; i++)); do true 3<>/dev/tcp/127.0.0.1/{port} || exit 1; done\n\
         for ((i = 0; i < {refused_times}; i++)); do true 3<>/dev/tcp/127.0.0.1/{refused} && exit 2; done 2>/dev/null\n\
         exit 0"
    )
}
