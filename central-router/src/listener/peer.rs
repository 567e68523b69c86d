//! The other end of a connection, over either transport.

use std::net::SocketAddr;
use std::sync::Arc;

use federation_proto::frame::CloseCode;
use quinn::VarInt;

use super::tcp::Handle;

/// Longest reason put on the wire, in bytes.
const MAX_REASON_LEN: usize = 200;

/// See the module. Clones are of the same connection.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    Quic(quinn::Connection),
    Tcp(Arc<Handle>),
}

impl Peer {
    pub(super) fn remote(&self) -> SocketAddr {
        match self {
            Self::Quic(quic) => quic.remote_address(),
            Self::Tcp(handle) => handle.remote(),
        }
    }

    /// As people and metrics call it.
    pub(super) fn transport(&self) -> &'static str {
        match self {
            Self::Quic(_) => "quic",
            Self::Tcp(_) => "tcp",
        }
    }

    /// Ends the connection; the first word holds.
    pub(super) fn close(&self, code: CloseCode, reason: &str) {
        let mut cut = reason.len().min(MAX_REASON_LEN);
        while !reason.is_char_boundary(cut) {
            cut -= 1;
        }
        match self {
            Self::Quic(quic) => quic.close(VarInt::from_u32(code.code()), &reason.as_bytes()[..cut]),
            Self::Tcp(handle) => handle.close(code, &reason[..cut]),
        }
    }
}
