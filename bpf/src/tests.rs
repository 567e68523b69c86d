//! Layout against `events.h`, and parsing of what is right and what is not.

use std::collections::BTreeMap;
use std::mem::offset_of;

use super::*;

/// (struct, member) -> (offset, size), as the C compiler checked it (see `LAYOUT` in the header).
fn layout_in_c() -> BTreeMap<(String, String), (usize, usize)> {
    let mut layout = BTreeMap::new();
    for line in include_str!("events.h").lines() {
        if let Some(args) = line.strip_prefix("LAYOUT(").and_then(|rest| rest.strip_suffix(");")) {
            let args: Vec<&str> = args.split(", ").collect();
            let place = (args[2].parse().unwrap(), args[3].parse().unwrap());
            layout.insert((args[0].to_owned(), args[1].to_owned()), place);
        } else if let Some(args) = line.strip_prefix("SIZE(").and_then(|rest| rest.strip_suffix(");")) {
            let (name, size) = args.split_once(", ").unwrap();
            layout.insert((name.to_owned(), String::new()), (0, size.parse().unwrap()));
        }
    }
    layout
}

fn size_of_field<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! layout_in_rust {
    ($layout:ident, $c:literal, $rust:ty, [$($field:ident),*]) => {
        $layout.insert(($c.to_owned(), String::new()), (0, size_of::<$rust>()));
        $($layout.insert(
            ($c.to_owned(), stringify!($field).to_owned()),
            (offset_of!($rust, $field), size_of_field(|event: &$rust| &event.$field)),
        );)*
    };
}

/// Every member of every event stands at the same offset with the same size in C and in Rust, and none is forgotten.
#[test]
fn layouts_agree() {
    let mut rust = BTreeMap::new();
    layout_in_rust!(
        rust,
        "tcp_connect_event",
        TcpConnectEvent,
        [end_ns, latency_ns, cgroup_id, pid, error, family, local_port, remote_port, result, zero, local_addr, remote_addr, comm]
    );
    layout_in_rust!(rust, "process_event", ProcessEvent, [time_ns, cgroup_id, pid, parent_pid, kind, exit_code, comm, path]);
    assert_eq!(layout_in_c(), rust);
}

/// The slots of the counters are the header's.
#[test]
fn counters_agree() {
    let header = include_str!("events.h");
    for (name, counter) in [
        ("COUNT_SENT", Counter::Sent),
        ("COUNT_RING_FULL", Counter::RingFull),
        ("COUNT_NO_START", Counter::NoStart),
        ("COUNT_NO_SLOT", Counter::NoSlot),
    ] {
        assert!(header.contains(&format!("\t{name} = {},", counter as u32)), "{name}");
    }
}

fn connect_bytes(family: u16, result: u8, error: u32) -> Vec<u8> {
    let mut bytes = vec![0; size_of::<TcpConnectEvent>()];
    let mut put = |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
    put(0, &7_000_u64.to_le_bytes());
    put(8, &1_500_u64.to_le_bytes());
    put(16, &42_u64.to_le_bytes());
    put(24, &1234_u32.to_le_bytes());
    put(28, &error.to_le_bytes());
    put(32, &family.to_le_bytes());
    put(34, &50_000_u16.to_le_bytes());
    put(36, &443_u16.to_le_bytes());
    put(38, &[result]);
    put(40, &[127, 0, 0, 1]);
    put(56, &[10, 1, 2, 3]);
    put(72, b"curl\0junk");
    bytes
}

/// A connect event's fields come out as they went in.
#[test]
fn parses_a_connect() {
    let event = TcpConnectEvent::parse(&connect_bytes(2, 1, 0)).unwrap();
    assert_eq!((event.end_ns, event.latency_ns, event.cgroup_id, event.pid), (7_000, 1_500, 42, 1234));
    assert_eq!(event.outcome(), Outcome::Established);
    assert_eq!(event.remote(), "10.1.2.3:443".parse().unwrap());
    assert_eq!(event.local(), "127.0.0.1:50000".parse().unwrap());
    assert_eq!(event.comm, Comm::new(*b"curl\0\0\0\0\0\0\0\0\0\0\0\0"), "what follows the NUL is no part of a name");
    assert_eq!(event.comm.to_string(), "curl");
}

/// Failure keeps its errno; without one it is an abort.
#[test]
fn tells_failures_apart() {
    assert_eq!(TcpConnectEvent::parse(&connect_bytes(2, 2, 111)).unwrap().outcome(), Outcome::Failed(111));
    assert_eq!(TcpConnectEvent::parse(&connect_bytes(2, 2, 0)).unwrap().outcome(), Outcome::Aborted);
}

/// An IPv4-mapped IPv6 address is IPv4, a real one stays IPv6.
#[test]
fn unmaps_ipv4() {
    let mut bytes = connect_bytes(10, 1, 0);
    bytes[56..72].copy_from_slice(&"::ffff:10.9.8.7".parse::<std::net::Ipv6Addr>().unwrap().octets());
    assert_eq!(TcpConnectEvent::parse(&bytes).unwrap().remote(), "10.9.8.7:443".parse().unwrap());
    bytes[56..72].copy_from_slice(&"2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    assert_eq!(TcpConnectEvent::parse(&bytes).unwrap().remote(), "[2001:db8::1]:443".parse().unwrap());
}

/// No length but the struct's own is taken, and unknown values are named; nothing panics.
#[test]
fn refuses_what_no_program_writes() {
    for len in 0..400 {
        let bytes = vec![0xff; len];
        assert!(TcpConnectEvent::parse(&bytes).is_err(), "{len}");
        assert!(ProcessEvent::parse(&bytes).is_err(), "{len}");
    }
    assert_eq!(TcpConnectEvent::parse(&connect_bytes(3, 1, 0)), Err(Malformed::Field { name: "family", value: 3 }));
    assert_eq!(TcpConnectEvent::parse(&connect_bytes(2, 9, 0)), Err(Malformed::Field { name: "result", value: 9 }));
}

fn process_bytes(kind: u32, exit_code: u32, path: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; size_of::<ProcessEvent>()];
    bytes[16..20].copy_from_slice(&77_u32.to_le_bytes());
    bytes[20..24].copy_from_slice(&1_u32.to_le_bytes());
    bytes[24..28].copy_from_slice(&kind.to_le_bytes());
    bytes[28..32].copy_from_slice(&exit_code.to_le_bytes());
    bytes[32..34].copy_from_slice(b"sh");
    bytes[48..48 + path.len()].copy_from_slice(path);
    bytes
}

/// Exit codes and signals are unpacked as wait(2) has them; a core dump's bit is no signal.
#[test]
fn parses_processes() {
    let exec = ProcessEvent::parse(&process_bytes(1, 0, b"/bin/sh")).unwrap();
    assert_eq!((exec.kind(), exec.path(), exec.pid, exec.parent_pid), (ProcessKind::Exec, &b"/bin/sh"[..], 77, 1));
    let exit = |code| ProcessEvent::parse(&process_bytes(2, code, b"")).unwrap().kind();
    assert_eq!(exit(3 << 8), ProcessKind::Exit(ExitStatus::Code(3)));
    assert_eq!(exit(9), ProcessKind::Exit(ExitStatus::Signal(9)));
    assert_eq!(exit(11 | 0x80), ProcessKind::Exit(ExitStatus::Signal(11)));
    let full = ProcessEvent::parse(&process_bytes(1, 0, &[b'x'; 128])).unwrap();
    assert_eq!(full.path().len(), 128, "a path without NUL ends with its field");
}

/// A name that is not UTF-8 is shown, not lost.
#[test]
fn shows_any_name() {
    assert_eq!(Comm::new(*b"a\xffb\0\0\0\0\0\0\0\0\0\0\0\0\0").to_string(), "a\u{fffd}b");
}

/// The objects are where an ELF reader can use them.
#[test]
fn objects_are_aligned_elf() {
    for object in [TCP_CONNECT, PROCESS] {
        assert_eq!(object.as_ptr().align_offset(16), 0);
        assert_eq!(object.first_chunk(), Some(b"\x7fELF"));
    }
}
