//! Asks a part's admin endpoint.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(3);
const MAX_BODY: usize = 8 << 20;

/// A client for all admin endpoints.
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http() }
    }
}

impl Admin {
    /// Does `/readyz` answer 200?
    pub async fn ready(&self, admin: SocketAddr) -> bool {
        self.get(admin, "/readyz").await.is_ok_and(|(status, _)| status == 200)
    }

    /// `/ledger`.
    ///
    /// # Errors
    /// When the part does not answer with JSON in time.
    pub async fn ledger(&self, admin: SocketAddr) -> io::Result<Value> {
        let (_, body) = self.get(admin, "/ledger").await?;
        serde_json::from_slice(&body).map_err(io::Error::other)
    }

    async fn get(&self, admin: SocketAddr, path: &str) -> io::Result<(u16, Bytes)> {
        let uri = format!("http://{admin}{path}").parse().map_err(io::Error::other)?;
        let answer = async {
            let response = self.client.get(uri).await.map_err(io::Error::other)?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(io::Error::other)?;
            Ok((status, body.to_bytes()))
        };
        timeout(TIMEOUT, answer)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("http://{admin}{path} does not answer")))?
    }
}
