//! Asks a part's admin endpoint.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use service::admin::client::Client;

/// Asks all admin endpoints.
#[derive(Debug, Clone, Copy, Default)]
pub struct Admin;

impl Admin {
    /// Does `/readyz` answer 200?
    pub async fn ready(&self, admin: SocketAddr) -> bool {
        Client::new(admin).get("/readyz").await.is_ok_and(|(status, _)| status == 200)
    }

    /// `/ledger`.
    ///
    /// # Errors
    /// When the part does not answer with JSON in time.
    pub async fn ledger(&self, admin: SocketAddr) -> io::Result<Value> {
        Client::new(admin).json("/ledger").await.map_err(io::Error::other)
    }
}
