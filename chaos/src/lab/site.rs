//! The hosts of the lab: two edge clusters, a KVM host, and a centre with two routers. Each is a network namespace.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// One host, and the part on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Site {
    /// An edge cluster.
    West,
    /// Another.
    East,
    /// A KVM host: an edge, and an agent where the scenario asks for one.
    Kvm,
    /// The router that edges prefer.
    R1,
    /// The router that they go to when it is away.
    R2,
}

impl Site {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::West, Self::East, Self::Kvm, Self::R1, Self::R2];

    /// Name of the host, of its namespace, and of the part on it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::West => "west",
            Self::East => "east",
            Self::Kvm => "kvm",
            Self::R1 => "r1",
            Self::R2 => "r2",
        }
    }

    /// Where it would be.
    #[must_use]
    pub fn region(self) -> &'static str {
        match self {
            Self::West => "us-west-2",
            Self::East => "us-central1",
            Self::Kvm => "on-premises",
            Self::R1 | Self::R2 => "eu-central-1",
        }
    }

    /// Is it one of the centre's?
    #[must_use]
    pub fn is_router(self) -> bool {
        matches!(self, Self::R1 | Self::R2)
    }

    fn number(self) -> u8 {
        match self {
            Self::West => 1,
            Self::East => 2,
            Self::Kvm => 3,
            Self::R1 => 4,
            Self::R2 => 5,
        }
    }

    /// Its address on the wide area network; the other is for [`super::scenario::What::Readdress`].
    #[must_use]
    pub fn address(self, other: bool) -> Ipv4Addr {
        Ipv4Addr::new(10, 20, self.number(), if other { 3 } else { 2 })
    }

    /// The wide area network's address towards it.
    #[must_use]
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 20, self.number(), 1)
    }

    /// Its address towards the lab: senders and admin endpoints; no fault touches these.
    #[must_use]
    pub fn control(self, port: u16) -> SocketAddr {
        (Ipv4Addr::new(10, 99, self.number(), 2), port).into()
    }

    /// The lab's address towards it.
    #[must_use]
    pub fn lab(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.number(), 1)
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
