//! One connection to a receiver: one request at a time, opened again when it breaks.
//!
//! Spoken by hand over hyper, so that a request's bytes go to the socket as they were rendered: gRPC is a five-byte prefix and a trailer.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use federation_proto::identity::Signal;
use federation_proto::otlp::{grpc_path, http_path};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answer::Answer;
use super::{Compression, Protocol};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const RECONNECT_WAIT: Duration = Duration::from_millis(100);
/// Largest answer read.
const MAX_ANSWER: usize = 64 << 10;
/// gRPC: compressed or not, then the message's length.
const GRPC_PREFIX: usize = 5;

/// Where requests go, and how.
#[derive(Debug, Clone)]
pub struct Target {
    authority: String,
    path: String,
    protocol: Protocol,
    compression: Compression,
    authorization: Option<HeaderValue>,
}

impl Target {
    /// An endpoint as `http://host:port[/path]`.
    ///
    /// # Errors
    /// When it is none, or the token cannot be sent.
    pub fn new(endpoint: &str, protocol: Protocol, compression: Compression, token: Option<&str>) -> io::Result<Self> {
        let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{endpoint}: {why}: expected http://HOST:PORT"));
        let uri: Uri = endpoint.parse().map_err(|_| wrong("not a URI"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("only plain HTTP is spoken"));
        }
        let port = uri.port_u16().unwrap_or(if protocol == Protocol::Grpc { 4317 } else { 4318 });
        let host = uri.host().ok_or_else(|| wrong("no host"))?;
        let bearer = token.map(|token| HeaderValue::try_from(format!("Bearer {token}"))).transpose();
        let authorization = bearer.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the token is no header value"))?;
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { authority: format!("{host}:{port}"), path, protocol, compression, authorization })
    }

    /// Bytes to leave before a rendered request.
    pub(super) fn room(&self) -> usize {
        if self.protocol == Protocol::Grpc { GRPC_PREFIX } else { 0 }
    }

    /// The body as it goes on the wire: `rendered` has [`Target::room`] bytes before the message.
    pub(super) fn finish(&self, rendered: Vec<u8>) -> io::Result<Bytes> {
        let mut body = match self.compression {
            Compression::None => rendered,
            Compression::Gzip => {
                let mut out = vec![0; self.room()];
                out.reserve(rendered.len() / 4);
                let mut gzip = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
                gzip.write_all(&rendered[self.room()..])?;
                gzip.finish()?
            }
            Compression::Zstd => {
                let mut out = vec![0; self.room()];
                out.append(&mut zstd::bulk::compress(&rendered[self.room()..], 1)?);
                out
            }
        };
        if self.protocol == Protocol::Grpc {
            let len = u32::try_from(body.len() - GRPC_PREFIX).map_err(io::Error::other)?;
            body[0] = u8::from(self.compression != Compression::None);
            body[1..GRPC_PREFIX].copy_from_slice(&len.to_be_bytes());
        }
        Ok(Bytes::from(body))
    }

    fn request(&self, signal: Signal, body: Bytes) -> Result<Request<Full<Bytes>>, http::Error> {
        let grpc = self.protocol == Protocol::Grpc;
        let path = if grpc { grpc_path(signal) } else { http_path(signal) };
        let mut request = Request::builder().method(Method::POST);
        request = if grpc {
            let uri = format!("http://{}{}{path}", self.authority, self.path);
            request.uri(uri).version(Version::HTTP_2).header(header::TE, "trailers").header(header::CONTENT_TYPE, "application/grpc")
        } else {
            let uri = format!("{}{path}", self.path);
            request.uri(uri).header(header::HOST, &self.authority).header(header::CONTENT_TYPE, "application/x-protobuf")
        };
        if let Some(name) = self.compression.encoding() {
            request = request.header(if grpc { "grpc-encoding" } else { "content-encoding" }, name);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.body(Full::new(body))
    }
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A connection, open or to be opened with the next request.
pub(super) struct Connection {
    target: Arc<Target>,
    sender: Option<Sender>,
}

impl Connection {
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self { target, sender: None }
    }

    /// Opens it, unless it is.
    pub(super) async fn open(&mut self) -> io::Result<()> {
        if self.sender.is_none() {
            let opened = timeout(CONNECT_TIMEOUT, connect(&self.target)).await;
            let no_answer = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {CONNECT_TIMEOUT:?}"));
            let opened = opened.map_err(no_answer).and_then(|opened| opened);
            self.sender = Some(opened.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.target.authority)))?);
        }
        Ok(())
    }

    /// Sends one request and waits for its answer, at most [`REQUEST_TIMEOUT`].
    pub(super) async fn send(&mut self, signal: Signal, body: Bytes) -> Answer {
        if let Err(error) = self.open().await {
            tracing::debug!(%error, "not connected");
            return Answer::refused("not_connected", RECONNECT_WAIT);
        }
        let answer = match timeout(REQUEST_TIMEOUT, self.exchange(signal, body)).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => {
                tracing::debug!(%error, "connection broken");
                Answer::refused("connection_broken", RECONNECT_WAIT)
            }
            Err(_) => Answer::refused("timeout", Duration::ZERO),
        };
        self.sender = None;
        answer
    }

    async fn exchange(&mut self, signal: Signal, body: Bytes) -> io::Result<Answer> {
        let request = self.target.request(signal, body).map_err(io::Error::other)?;
        let response = match &mut self.sender {
            Some(Sender::Http1(sender)) => {
                sender.ready().await.map_err(io::Error::other)?;
                sender.send_request(request).await
            }
            Some(Sender::Http2(sender)) => {
                sender.ready().await.map_err(io::Error::other)?;
                sender.send_request(request).await
            }
            None => return Err(io::ErrorKind::NotConnected.into()),
        };
        let (head, body) = response.map_err(io::Error::other)?.into_parts();
        self.read(head.status, &head.headers, body).await
    }

    async fn read(&self, status: StatusCode, headers: &HeaderMap, body: Incoming) -> io::Result<Answer> {
        let collected = Limited::new(body, MAX_ANSWER).collect().await.map_err(io::Error::other)?;
        let trailers = collected.trailers().cloned();
        let body = collected.to_bytes();
        Ok(match self.target.protocol {
            Protocol::Grpc => Answer::of_grpc(status, headers, trailers.as_ref(), &body),
            Protocol::Http => Answer::of_http(status, headers, &body),
        })
    }
}

async fn connect(target: &Target) -> io::Result<Sender> {
    let stream = TcpStream::connect(&target.authority).await?;
    stream.set_nodelay(true)?;
    let io = TokioIo::new(stream);
    // The task ends with its connection, which ends with its sender.
    match target.protocol {
        Protocol::Grpc => {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(io::Error::other)?;
            tokio::spawn(connection);
            Ok(Sender::Http2(sender))
        }
        Protocol::Http => {
            let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
            tokio::spawn(connection);
            Ok(Sender::Http1(sender))
        }
    }
}
