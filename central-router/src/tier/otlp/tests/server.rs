//! An OTLP receiver that follows a script, over gRPC and HTTP, and remembers what it took.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use federation_proto::otlp::status;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What to answer.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// OK.
    Take,
    /// OK, but for so many rows.
    Partly(i64),
    /// An HTTP status and the seconds of Retry-After.
    Http(u16, Option<u64>),
    /// A gRPC status.
    Grpc(tonic::Status),
    /// 413 for requests longer than this, before compression.
    AtMost(usize),
    /// Nothing, ever.
    Silence,
}

/// A request that came, whatever it was answered.
#[derive(Debug, Clone)]
pub(super) struct Got {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    /// Decompressed.
    pub(super) message: Vec<u8>,
    /// Was it answered with OK?
    pub(super) taken: bool,
}

#[derive(Default)]
struct Shared {
    script: Mutex<VecDeque<Reply>>,
    got: Mutex<Vec<Got>>,
}

/// See the module. Gone when dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// The last reply of a script is repeated for ever.
    pub(super) async fn start(script: &[Reply]) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), None, script)
    }

    pub(super) fn on(listener: TcpListener, tls: Option<TlsAcceptor>, script: &[Reply]) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { script: Mutex::new(script.iter().cloned().collect()), ..Shared::default() });
        let routes = axum::Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            match tls {
                None => axum::serve(listener, routes).await.unwrap(),
                Some(tls) => axum::serve(TlsListener(listener, tls), routes).await.unwrap(),
            }
        });
        Self { address, shared, task }
    }

    pub(super) fn got(&self) -> Vec<Got> {
        self.shared.got.lock().clone()
    }
}

struct TlsListener(TcpListener, TlsAcceptor);

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let grpc = head.headers[header::CONTENT_TYPE] == "application/grpc";
    let message = open(&head.headers, grpc, &body);
    let reply = {
        let mut script = shared.script.lock();
        if script.len() > 1 { script.pop_front().unwrap() } else { script.front().cloned().unwrap_or(Reply::Take) }
    };
    let taken = match &reply {
        Reply::Take | Reply::Partly(_) => true,
        Reply::AtMost(most) => message.len() <= *most,
        _ => false,
    };
    shared.got.lock().push(Got { path: head.uri.path().to_owned(), headers: head.headers, message, taken });
    match reply {
        Reply::Take => ok(grpc, Vec::new()),
        Reply::AtMost(_) if taken => ok(grpc, Vec::new()),
        Reply::AtMost(_) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Reply::Partly(rejected) => ok(grpc, status::encode_partial_success(rejected, "too old")),
        Reply::Http(code, after) => {
            let mut response = StatusCode::from_u16(code).unwrap().into_response();
            if let Some(after) = after {
                response.headers_mut().insert(header::RETRY_AFTER, after.into());
            }
            response
        }
        Reply::Grpc(status) => status.into_http(),
        Reply::Silence => std::future::pending().await,
    }
}

fn ok(grpc: bool, message: Vec<u8>) -> Response {
    if !grpc {
        return Response::new(Body::from(message));
    }
    let framed = [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat();
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    let body = Full::new(framed.into()).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, "application/grpc".parse().unwrap());
    response
}

fn open(headers: &HeaderMap, grpc: bool, body: &[u8]) -> Vec<u8> {
    let encoding = headers.get(if grpc { "grpc-encoding" } else { "content-encoding" }).map_or("", |name| name.to_str().unwrap());
    let body = if grpc {
        assert_eq!(u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize, body.len() - 5, "the prefix has the length");
        assert_eq!(body[0] == 1, !encoding.is_empty(), "the prefix says whether it is compressed");
        &body[5..]
    } else {
        body
    };
    let mut out = Vec::new();
    match encoding {
        "" => out.extend_from_slice(body),
        "gzip" => drop(flate2::read::GzDecoder::new(body).read_to_end(&mut out).unwrap()),
        "zstd" => out = zstd::decode_all(body).unwrap(),
        other => panic!("{other}"),
    }
    out
}
