//! Who may begin a handshake: bounded in all and for each address, so that neither a crowd nor one host keeps the others out.
//!
//! Past [`RETRY_ABOVE`] handshakes, or [`RETRY_ABOVE_PER_ADDRESS`] of one address, an address has to prove itself first: that costs the
//! router nothing, and who only pretends to be an address takes none of its places. An address is an IPv4 address or an IPv6 /64.
//! Bounds: an entry for each address with a handshake under way, so at most [`MAX_HANDSHAKES`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{MAX_HANDSHAKES, MAX_HANDSHAKES_PER_ADDRESS};

/// Handshakes under way past which an address has to prove itself first.
pub(super) const RETRY_ABOVE: usize = 32;
/// The same for those of one address.
pub(super) const RETRY_ABOVE_PER_ADDRESS: usize = 4;

/// See the module. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Door(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A handshake under way; its place is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    door: Door,
    address: IpAddr,
}

/// What becomes of a newcomer.
#[derive(Debug)]
pub(super) enum Answer {
    /// Shake hands.
    Enter(Place),
    /// Have it prove its address.
    Prove,
    /// Send it away, for this reason.
    Refuse(&'static str),
}

impl Door {
    /// A newcomer at `address`, which it has proved or not.
    pub(super) fn ask(&self, address: IpAddr, proved: bool) -> Answer {
        let address = network(address);
        let mut inside = self.0.lock();
        let of_address = inside.by_address.get(&address).copied().unwrap_or(0);
        if inside.all >= MAX_HANDSHAKES {
            return Answer::Refuse("handshakes");
        }
        if !proved && (inside.all >= RETRY_ABOVE || of_address >= RETRY_ABOVE_PER_ADDRESS) {
            return Answer::Prove;
        }
        if of_address >= MAX_HANDSHAKES_PER_ADDRESS {
            return Answer::Refuse("handshakes_of_address");
        }
        inside.all += 1;
        inside.by_address.insert(address, of_address + 1);
        Answer::Enter(Place { door: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.door.0.lock();
        inside.all -= 1;
        if let Some(of_address) = inside.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                inside.by_address.remove(&self.address);
            }
        }
    }
}

/// What one host is likely to have: an IPv6 host has its whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    fn entered(door: &Door, address: IpAddr, proved: bool) -> Option<Place> {
        match door.ask(address, proved) {
            Answer::Enter(place) => Some(place),
            Answer::Prove | Answer::Refuse(_) => None,
        }
    }

    /// Who writes another's address into its packets takes only the places that need no proof: the other still gets in, up to its bound.
    #[test]
    fn a_forged_address_keeps_nobody_out() {
        let door = Door::default();
        let forged: Vec<_> = (0..100).filter_map(|_| entered(&door, v4(1), false)).collect();
        assert_eq!(forged.len(), RETRY_ABOVE_PER_ADDRESS);
        assert!(matches!(door.ask(v4(1), false), Answer::Prove));
        let real: Vec<_> = (0..100).filter_map(|_| entered(&door, v4(1), true)).collect();
        assert_eq!(forged.len() + real.len(), MAX_HANDSHAKES_PER_ADDRESS);
        assert!(matches!(door.ask(v4(1), true), Answer::Refuse("handshakes_of_address")));
        assert!(entered(&door, v4(2), false).is_some(), "another address is kept out");
        drop(real);
        assert!(entered(&door, v4(1), true).is_some(), "places are given back");
    }

    /// A crowd of addresses is bounded, has to prove itself early, and leaves nothing behind.
    #[test]
    fn a_crowd_is_bounded() {
        let door = Door::default();
        let places: Vec<_> =
            (0..=u16::MAX).filter_map(|n| entered(&door, IpAddr::from([10, 1, (n >> 8) as u8, n as u8]), n > 1000)).collect();
        assert_eq!(places.len(), MAX_HANDSHAKES);
        assert!(matches!(door.ask(v4(1), true), Answer::Refuse("handshakes")));
        drop(places);
        let inside = door.0.lock();
        assert_eq!((inside.all, inside.by_address.len()), (0, 0));
    }

    /// A host cannot have more places by using more of its own IPv6 addresses, nor by writing IPv4 as IPv6.
    #[test]
    fn a_host_is_one_address() {
        let host = |n: u16| IpAddr::from([0x2001, 0xdb8, 1, 2, 0, 0, 0, n]);
        assert_eq!(network(host(1)), network(host(2)));
        assert_ne!(network(host(1)), network(IpAddr::from([0x2001, 0xdb8, 1, 3, 0, 0, 0, 1])));
        assert_eq!(network(IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x0a00, 1])), v4(1));
    }
}
