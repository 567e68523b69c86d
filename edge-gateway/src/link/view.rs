//! How the link is, for people: in the status, the ledger, and metrics. Bounded by the configured endpoints.

use serde::Serialize;

use super::endpoints::Look;
use super::{Link, Transport};
use crate::clock;
use crate::shipper::Doubtful;

/// How the link is, for people.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LinkStatus {
    /// A router took us in.
    pub connected: bool,
    /// Its endpoint, or the last one tried.
    pub endpoint: String,
    /// What the connection goes over.
    pub transport: Option<Transport>,
    /// Its name, once it said so.
    pub router: String,
    /// Why there is no connection.
    pub error: Option<String>,
    /// Connections that a router took in, since the start.
    pub connections: u64,
    /// When it took us in, in seconds since 1970.
    pub since_unix_seconds: Option<u64>,
    /// Round trip in microseconds, as the transport last measured it.
    pub rtt_us: Option<u64>,
    /// Bytes sent in the last second: UDP payload, all of it; or TCP payload, TLS included.
    pub bytes_per_second: u64,
    /// When a router was last heard of, in seconds since 1970.
    pub heard_unix_seconds: Option<u64>,
    /// What was sent to another journal than one that may have it too, since the start.
    #[serde(flatten)]
    pub doubtful: Doubtful,
    /// When our certificate expires, in seconds since 1970.
    pub certificate_expires_unix_seconds: u64,
    /// All routers, in the order of preference.
    pub endpoints: Vec<EndpointStatus>,
}

/// How a router looks from here.
#[derive(Debug, Clone, Serialize)]
pub struct EndpointStatus {
    /// Where it is.
    pub address: String,
    /// How it looked last.
    pub look: Look,
    /// Failures since the last success.
    pub failures: u32,
    /// It is left alone for so long yet, in seconds, rounded up.
    pub wait_seconds: u64,
    /// Why it could not be had.
    pub error: Option<String>,
}

impl LinkStatus {
    pub(super) fn disconnected(&mut self) {
        self.connected = false;
        self.transport = None;
        self.since_unix_seconds = None;
        self.rtt_us = None;
        self.bytes_per_second = 0;
    }
}

impl Link {
    pub(super) fn show_certificate(&self) {
        let expires = self.dialer.expires_unix_seconds();
        metrics::gauge!("tributary_edge_certificate_expires_seconds").set(expires as f64);
        self.shared.status.lock().certificate_expires_unix_seconds = expires;
    }

    /// Puts into the status how the routers look.
    pub(super) fn show(&self) {
        let looks = self.endpoints.lock().looks(clock::now());
        let mut status = self.shared.status.lock();
        let errors: Vec<Option<String>> = status.endpoints.iter_mut().map(|endpoint| endpoint.error.take()).collect();
        let shown =
            looks.into_iter().zip(&self.ship.endpoints).enumerate().map(|(at, ((look, failures, wait), endpoint))| EndpointStatus {
                address: endpoint.address.clone(),
                look,
                failures,
                wait_seconds: wait.as_millis().div_ceil(1000) as u64,
                error: errors.get(at).cloned().flatten().filter(|_| look == Look::Failing),
            });
        status.endpoints = shown.collect();
    }

    /// Remembers why a router could not be had.
    pub(super) fn failed(&self, endpoint: usize, why: &str) {
        if let Some(endpoint) = self.shared.status.lock().endpoints.get_mut(endpoint) {
            endpoint.error = Some(why.to_owned());
        }
        self.show();
    }
}
