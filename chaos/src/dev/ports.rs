//! Ports: the usual one if it is free, else another, and which.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::stand::layout::free_address;

/// A loopback address, and whether it is the one a user expects.
pub(super) fn choose(option: &str, wanted: Option<u16>, usual: u16, taken: &[SocketAddr]) -> io::Result<(SocketAddr, bool)> {
    let is_free = |address: SocketAddr| !taken.contains(&address) && TcpListener::bind(address).is_ok();
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match wanted {
        Some(port) if is_free(at(port)) => Ok((at(port), true)),
        Some(port) => {
            let why = format!("{option} {port}: in use; end what has it, name another port, or leave {option} out");
            Err(io::Error::new(io::ErrorKind::AddrInUse, why))
        }
        None if is_free(at(usual)) => Ok((at(usual), true)),
        None => Ok((free_address()?, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A port that was asked for is had or refused; the usual one gives way to a free one.
    #[test]
    fn what_is_asked_for_is_had_or_refused() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let error = choose("--port-grpc", Some(port), 1, &[]).unwrap_err().to_string();
        assert!(error.contains("--port-grpc") && error.contains(&port.to_string()), "{error}");
        let (other, usual) = choose("--port-grpc", None, port, &[]).unwrap();
        assert!(!usual && other.port() != port);
        let free = free_address().unwrap();
        assert_eq!(choose("--port-grpc", Some(free.port()), 1, &[]).unwrap(), (free, true));
        assert!(choose("--port-http", Some(free.port()), 1, &[free]).is_err(), "not twice");
    }
}
