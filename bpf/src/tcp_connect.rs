//! The end of an outgoing TCP connect.

use core::mem::offset_of;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::bytes::{Comm, Fields, Malformed};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const CONNECT_OK: u8 = 1;
const CONNECT_FAILED: u8 = 2;

/// `struct tcp_connect_event` of `events.h`. Made by [`TcpConnectEvent::parse`] alone, so that `family` and `result`
/// are among the known ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TcpConnectEvent {
    /// `CLOCK_MONOTONIC` nanoseconds at the end.
    pub end_ns: u64,
    /// Nanoseconds from `connect` to the end.
    pub latency_ns: u64,
    /// Cgroup v2 id of the caller.
    pub cgroup_id: u64,
    /// Process (thread group) id of the caller in the initial PID namespace.
    pub pid: u32,
    pub(crate) error: u32,
    pub(crate) family: u16,
    /// Local port; 0 where none was bound yet.
    pub local_port: u16,
    pub(crate) remote_port: u16,
    pub(crate) result: u8,
    pub(crate) zero: u8,
    pub(crate) local_addr: [u8; 16],
    pub(crate) remote_addr: [u8; 16],
    /// Name of the caller's process.
    pub comm: Comm,
}

/// How a connect ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Established.
    Established,
    /// Failed with this errno.
    Failed(u32),
    /// Closed by its own side before an answer, or for a local reason that the socket does not keep.
    Aborted,
}

impl TcpConnectEvent {
    /// Reads one event.
    ///
    /// # Errors
    /// [`Malformed`] where the length or a field is not what the program writes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let fields = Fields::new(bytes, size_of::<Self>())?;
        let event = Self {
            end_ns: fields.u64(offset_of!(Self, end_ns))?,
            latency_ns: fields.u64(offset_of!(Self, latency_ns))?,
            cgroup_id: fields.u64(offset_of!(Self, cgroup_id))?,
            pid: fields.u32(offset_of!(Self, pid))?,
            error: fields.u32(offset_of!(Self, error))?,
            family: fields.u16(offset_of!(Self, family))?,
            local_port: fields.u16(offset_of!(Self, local_port))?,
            remote_port: fields.u16(offset_of!(Self, remote_port))?,
            result: fields.u8(offset_of!(Self, result))?,
            zero: fields.u8(offset_of!(Self, zero))?,
            local_addr: fields.array(offset_of!(Self, local_addr))?,
            remote_addr: fields.array(offset_of!(Self, remote_addr))?,
            comm: Comm::new(fields.array(offset_of!(Self, comm))?),
        };
        if !matches!(event.family, AF_INET | AF_INET6) {
            return Err(Malformed::Field { name: "family", value: event.family.into() });
        }
        if !matches!(event.result, CONNECT_OK | CONNECT_FAILED) {
            return Err(Malformed::Field { name: "result", value: event.result.into() });
        }
        Ok(event)
    }

    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        match (self.result, self.error) {
            (CONNECT_OK, _) => Outcome::Established,
            (_, 0) => Outcome::Aborted,
            (_, errno) => Outcome::Failed(errno),
        }
    }

    /// Where to; an IPv4 address in IPv6 clothes is given as IPv4, which is what goes over the wire.
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.address(self.remote_addr), self.remote_port)
    }

    /// Where from, in the same manner.
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(self.address(self.local_addr), self.local_port)
    }

    fn address(&self, raw: [u8; 16]) -> IpAddr {
        let [a, b, c, d, ..] = raw;
        if self.family == AF_INET { IpAddr::V4(Ipv4Addr::new(a, b, c, d)) } else { IpAddr::V6(Ipv6Addr::from(raw)).to_canonical() }
    }
}
