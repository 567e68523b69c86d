//! Addresses to listen on.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::{InvalidUnit, serde_as_text};

/// An address and port to listen on: `127.0.0.1:4317`, `[::]:4317`. Names such as `localhost` are
/// refused: they may stand for several addresses, and a listener takes exactly one. Port 0 lets
/// the kernel choose.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Listen(pub SocketAddr);

impl Listen {
    /// As the standard library's type.
    pub const fn addr(self) -> SocketAddr {
        self.0
    }
}

impl From<SocketAddr> for Listen {
    fn from(addr: SocketAddr) -> Self {
        Self(addr)
    }
}

impl From<Listen> for SocketAddr {
    fn from(listen: Listen) -> Self {
        listen.0
    }
}

impl FromStr for Listen {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        text.parse().map(Self).map_err(|_| InvalidUnit::new(text, "expected an IP address and a port such as 127.0.0.1:4317 or [::]:4317"))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

serde_as_text!(Listen, "address": ["string"], "an IP address and a port such as 127.0.0.1:4317");
