//! An edge to be attacked, and senders that write what no client would.

use std::sync::Arc;

use bytes::Bytes;
use edge_gateway::Edge;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls::pki_types::ServerName;
use service::shutdown::Shutdown;
use service::tls::TlsFiles;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::support::*;

/// An edge without a router, its keys and its disk.
pub(crate) struct Victim {
    pub(crate) edge: Edge,
    pub(crate) pki: Pki,
    claimable_bytes: usize,
    _data: tempfile::TempDir,
}

impl Victim {
    /// `receive` is YAML behind the two listeners on free ports: `, max_request: 64KiB`.
    pub(crate) async fn start(receive: &str) -> Self {
        Self::start_with(Pki::new(), receive, "").await
    }

    pub(crate) async fn start_with(pki: Pki, receive: &str, more: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let text = format!("receive: {{ grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\"{receive} }}\ndrain: 100ms\n{more}");
        let edge = Edge::start(config(&pki, data.path(), nowhere(), &text)).await.unwrap();
        let claimable_bytes = edge.unclaimed_bytes();
        Self { edge, pki, claimable_bytes, _data: data }
    }

    /// It still takes what is good, and no memory is held for what was not.
    pub(crate) async fn is_well(&self) {
        let ids = 1 << 40..(1 << 40) + 1;
        assert_eq!(post_logs(&self.edge, ids).await, 200);
        eventually("memory comes back", || self.edge.unclaimed_bytes() + (64 << 10) >= self.claimable_bytes).await;
    }

    /// Waits until the edge's metrics say `line`: a name with its labels, and a value of at least one.
    pub(crate) async fn counts(&self, name: &str, labels: &[&str]) {
        let counted = async {
            let mut tick = tokio::time::interval(std::time::Duration::from_millis(5));
            while !self.has_counted(name, labels).await {
                tick.tick().await;
            }
        };
        assert!(tokio::time::timeout(LONG, counted).await.is_ok(), "never counted: {name} {labels:?}");
    }

    async fn has_counted(&self, name: &str, labels: &[&str]) -> bool {
        let mut stream = TcpStream::connect(self.edge.bound.admin).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: edge\r\nconnection: close\r\n\r\n").await.unwrap();
        let text = String::from_utf8(read_answer(stream).await.body).unwrap();
        text.lines().any(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)) && !line.ends_with(" 0"))
    }

    pub(crate) async fn stop(self) {
        let shutdown = Shutdown::new();
        shutdown.request();
        self.edge.run(shutdown).await;
    }
}

/// Reads until the edge ends the connection, however it does.
pub(crate) async fn until_it_ends(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    tokio::time::timeout(LONG, stream.read_to_end(&mut all)).await.expect("the edge ends it").ok();
    all
}

/// A connection of HTTP/2 over any stream.
pub(crate) async fn http2<B>(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> SendRequest<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// What a gRPC answer says.
#[derive(Debug, PartialEq)]
pub(crate) struct GrpcAnswer {
    pub(crate) code: i32,
    pub(crate) message: String,
    pub(crate) retry: bool,
}

pub(crate) const GRPC_LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

pub(crate) fn grpc_request<B>(headers: &[(&str, &str)], body: B) -> Request<B> {
    let mut request = Request::post(format!("http://edge{GRPC_LOGS}")).header("content-type", "application/grpc").header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

pub(crate) async fn grpc_answer<B>(sender: &mut SendRequest<B>, request: Request<B>) -> GrpcAnswer
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let answering = async {
        sender.ready().await.unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let (head, body) = response.into_parts();
        let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or(head.headers);
        said(&trailers)
    };
    tokio::time::timeout(LONG, answering).await.expect("an answer")
}

fn said(headers: &HeaderMap) -> GrpcAnswer {
    let text = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap());
    let retry = text("grpc-status-details-bin").len() > text("grpc-message").len() && {
        let status = tonic::Status::from_header_map(headers).unwrap();
        String::from_utf8_lossy(status.details()).contains("google.rpc.RetryInfo")
    };
    GrpcAnswer { code: text("grpc-status").parse().unwrap(), message: text("grpc-message").to_owned(), retry }
}

/// One gRPC call with these bytes as its whole body.
pub(crate) async fn grpc(edge: &Edge, headers: &[(&str, &str)], body: Vec<u8>) -> GrpcAnswer {
    let mut sender = http2::<Full<Bytes>>(TcpStream::connect(grpc_at(edge)).await.unwrap()).await;
    grpc_answer(&mut sender, grpc_request(headers, Full::new(body.into()))).await
}

/// A message behind its prefix.
pub(crate) fn framed(compressed: bool, message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[u8::from(compressed)], &len[..], message].concat()
}

/// TLS to a listener whose certificate is for `edge.test`, as the sender whose files these are.
pub(crate) async fn tls(to: std::net::SocketAddr, sender: &TlsFiles, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::clone(&sender.client_config(&[alpn]).unwrap()));
    let name = ServerName::try_from("edge.test").unwrap();
    connector.connect(name, TcpStream::connect(to).await.unwrap()).await
}

/// A `google.rpc.Status` in protobuf.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}
