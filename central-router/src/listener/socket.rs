//! The UDP socket: 4 MiB of buffer each way, since the kernel's default of 208 KiB loses thousands of datagrams per GB.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

const BUFFER_BYTES: usize = 4 << 20;

pub(super) fn bind(listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(BUFFER_BYTES)?;
    socket.set_send_buffer_size(BUFFER_BYTES)?;
    // Linux reports twice what it grants.
    let granted = socket.recv_buffer_size()? / 2;
    if granted < BUFFER_BYTES {
        tracing::warn!(
            granted_bytes = granted,
            wanted_bytes = BUFFER_BYTES,
            "the UDP receive buffer is small: raise sysctl net.core.rmem_max (and wmem_max)"
        );
    }
    socket.bind(&listen.into())?;
    Ok(socket.into())
}
