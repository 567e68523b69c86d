//! Asks an admin endpoint: what `status`, `edges`, `ledger` and `tail` do on behalf of a person.
//!
//! One connection per request, HTTP/1.1, no redirects. Bounds: [`TIMEOUT`] to connect and until the answer's head, as long again for
//! its body; [`MAX_ANSWER_BYTES`] of an answer that is read whole, [`MAX_LINE_BYTES`] of one line of an answer that is read by lines.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long an endpoint may take to answer.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read whole.
pub const MAX_ANSWER_BYTES: usize = 64 << 20;
/// The longest line of an answer that is read by lines.
pub const MAX_LINE_BYTES: usize = 4 << 20;

/// Where an endpoint listens that no configuration names.
pub const DEFAULT_ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error("nothing answers at http://{addr}: {error}")]
    Unreachable {
        /// The endpoint.
        addr: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// It does not answer, or stops in the middle.
    #[error("http://{addr}{path}: no whole answer: {why}")]
    Broken {
        /// The endpoint.
        addr: SocketAddr,
        /// The route.
        path: String,
        /// What happened.
        why: String,
    },
    /// It refuses.
    #[error("http://{addr}{path}: {status}: {message}")]
    Refused {
        /// The endpoint.
        addr: SocketAddr,
        /// The route.
        path: String,
        /// The HTTP status.
        status: u16,
        /// Its first line.
        message: String,
    },
}

impl AskError {
    /// What happened, and what a person can do about it, who asked the process `part` (`edge`, `router`) with one of its commands.
    #[must_use]
    pub fn with_remedy(&self, part: &str) -> String {
        if matches!(self, Self::Unreachable { .. }) {
            let start = format!("Start it with `tributary-{part} run`, or name its admin.listen with --config or --admin");
            return format!("{self}; is the {part} running? {start}");
        }
        // These say themselves what is wrong with the question.
        if matches!(self, Self::Refused { status: 400 | 401 | 403, .. }) {
            return self.to_string();
        }
        format!("{self}; does the {part} of this version listen there? --config or --admin names another address")
    }
}

/// An endpoint to ask.
#[derive(Debug, Clone)]
pub struct Client {
    addr: SocketAddr,
    authorization: Option<String>,
}

impl Client {
    /// The endpoint that listens at `addr`; an address that means "all of this machine's" is asked over loopback.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        let ip = match addr.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self { addr: SocketAddr::new(ip, addr.port()), authorization: None }
    }

    /// Sends `Authorization: Bearer <token>` with every request.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.authorization = Some(format!("Bearer {token}"));
        self
    }

    /// Where it asks.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The status and the body of `path`, whatever the status.
    ///
    /// # Errors
    /// [`AskError::Unreachable`] and [`AskError::Broken`].
    pub async fn get(&self, path: &str) -> Result<(u16, Bytes), AskError> {
        let (status, body, _connection) = self.ask(path, None).await?;
        Ok((status, self.whole(path, body).await?))
    }

    /// The JSON that `path` answers with 200.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn json(&self, path: &str) -> Result<serde_json::Value, AskError> {
        let (status, body) = self.get(path).await?;
        if status != 200 {
            return Err(self.refused(path, status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| self.broken(path, format!("not JSON: {error}")))
    }

    /// The JSON that `path` answers with 200 to a POST of `question`.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn post(&self, path: &str, question: &serde_json::Value) -> Result<serde_json::Value, AskError> {
        let (status, body, _connection) = self.ask(path, Some(question)).await?;
        let body = self.whole(path, body).await?;
        if status != 200 {
            return Err(self.refused(path, status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| self.broken(path, format!("not JSON: {error}")))
    }

    /// The lines that `path` answers with 200 to a POST of `question`, as they come.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn lines(&self, path: &str, question: &serde_json::Value) -> Result<Lines, AskError> {
        let (status, body, connection) = self.ask(path, Some(question)).await?;
        if status != 200 {
            let body = self.whole(path, body).await?;
            return Err(self.refused(path, status, &body));
        }
        Ok(Lines { client: self.clone(), path: path.to_owned(), body, connection, read: Vec::new(), taken: 0 })
    }

    async fn ask(&self, path: &str, question: Option<&serde_json::Value>) -> Result<(u16, Incoming, Connection), AskError> {
        let unreachable = |error| AskError::Unreachable { addr: self.addr, error };
        let connecting = timeout(TIMEOUT, TcpStream::connect(self.addr)).await;
        let stream = connecting.map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))?.map_err(unreachable)?;
        let broken = |error: &dyn std::error::Error| self.broken(path, error.to_string());
        let answer = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
            let connection = Connection(tokio::spawn(async move {
                // What ends it is seen by who reads the answer.
                let _ = connection.await;
            }));
            let mut request = Request::builder().uri(path).header(header::HOST, self.addr.to_string());
            if let Some(authorization) = &self.authorization {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let request = match question {
                None => request.body(Body::empty()),
                Some(json) => request.method("POST").header(header::CONTENT_TYPE, "application/json").body(Body::from(json.to_string())),
            };
            let request = request.map_err(|error| broken(&error))?;
            let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
            Ok((response.status().as_u16(), response.into_body(), connection))
        };
        timeout(TIMEOUT, answer).await.map_err(|_| self.broken(path, format!("no answer within {TIMEOUT:?}")))?
    }

    async fn whole(&self, path: &str, body: Incoming) -> Result<Bytes, AskError> {
        let reading = timeout(TIMEOUT, Limited::new(body, MAX_ANSWER_BYTES).collect()).await;
        let read = reading.map_err(|_| self.broken(path, format!("it stalled for {TIMEOUT:?}")))?;
        Ok(read.map_err(|error| self.broken(path, error.to_string()))?.to_bytes())
    }

    fn broken(&self, path: &str, why: String) -> AskError {
        AskError::Broken { addr: self.addr, path: without_query(path), why }
    }

    fn refused(&self, path: &str, status: u16, body: &[u8]) -> AskError {
        let message = String::from_utf8_lossy(body).lines().next().unwrap_or_default().to_owned();
        AskError::Refused { addr: self.addr, path: without_query(path), status, message }
    }
}

fn without_query(path: &str) -> String {
    path.split('?').next().unwrap_or_default().to_owned()
}

/// The task that drives a connection; ends with what is read from it.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer that is read by lines, as it comes.
#[derive(Debug)]
pub struct Lines {
    client: Client,
    path: String,
    body: Incoming,
    #[expect(dead_code, reason = "held for its Drop")]
    connection: Connection,
    read: Vec<u8>,
    taken: usize,
}

impl Lines {
    /// The next line without its end; `None` at the end of the answer.
    ///
    /// # Errors
    /// [`AskError::Broken`]: the connection ended before the answer did, or a line is longer than [`MAX_LINE_BYTES`].
    pub async fn next(&mut self) -> Result<Option<String>, AskError> {
        loop {
            if let Some(end) = self.read[self.taken..].iter().position(|&byte| byte == b'\n') {
                let line = String::from_utf8_lossy(&self.read[self.taken..self.taken + end]).into_owned();
                self.taken += end + 1;
                return Ok(Some(line));
            }
            self.read.drain(..self.taken);
            self.taken = 0;
            if self.read.len() > MAX_LINE_BYTES {
                return Err(self.client.broken(&self.path, format!("a line is longer than {MAX_LINE_BYTES} bytes")));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.read.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Err(self.client.broken(&self.path, error.to_string())),
                None => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers one request with these bytes, in these pieces; gives what was asked.
    async fn server(pieces: &'static [&'static [u8]]) -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            for piece in pieces {
                stream.write_all(piece).await.unwrap();
                stream.flush().await.unwrap();
            }
            String::from_utf8(request[..read].to_vec()).unwrap()
        });
        (addr, task)
    }

    /// A token goes with the request, and JSON comes back as what it is.
    #[tokio::test]
    async fn json_is_asked_for_with_the_token() {
        let (addr, asked) = server(&[b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{\"a\": 1}"]).await;
        let answer = Client::new(addr).with_token("secret").json("/ledger").await.unwrap();
        assert_eq!(answer["a"], 1);
        let asked = asked.await.unwrap().to_lowercase();
        assert!(asked.starts_with("get /ledger") && asked.contains("authorization: bearer secret"), "{asked}");
    }

    /// Lines come whole, however they were cut on the wire; an answer that breaks off is an error and no end.
    #[tokio::test]
    async fn lines_are_whole() {
        let (addr, _server) =
            server(&[b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\none\n\r\n", b"2\r\ntw\r\n", b"2\r\no\n\r\n"]).await;
        let mut lines = Client::new(addr).lines("/", &serde_json::Value::Null).await.unwrap();
        assert_eq!(lines.next().await.unwrap().as_deref(), Some("one"));
        assert_eq!(lines.next().await.unwrap().as_deref(), Some("two"));
        assert!(matches!(lines.next().await, Err(AskError::Broken { .. })));
    }

    /// A refusal is told with its status and its first line, an address where nobody listens as that.
    #[tokio::test]
    async fn what_went_wrong_is_said() {
        let (addr, _server) = server(&[b"HTTP/1.1 403 Forbidden\r\ncontent-length: 9\r\n\r\nnot yours"]).await;
        let refused = Client::new(addr).json("/edges?x=1").await.unwrap_err().with_remedy("router");
        assert!(refused.ends_with("/edges: 403: not yours"), "{refused}");
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        let error = Client::new(nobody).json("/").await.unwrap_err();
        assert!(matches!(error, AskError::Unreachable { .. }) && error.to_string().contains(&nobody.to_string()), "{error}");
        assert!(error.with_remedy("edge").ends_with("name its admin.listen with --config or --admin"), "{error}");
    }

    /// An endpoint on all addresses is asked on one that can be connected to.
    #[test]
    fn unspecified_addresses_are_asked_over_loopback() {
        for (listen, asked) in [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("192.0.2.1:80", "192.0.2.1:80")] {
            assert_eq!(Client::new(listen.parse().unwrap()).addr().to_string(), asked);
        }
    }
}
