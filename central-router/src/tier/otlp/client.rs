//! Driver: one request to the destination and its answer, over connections that are opened when needed and kept.
//!
//! gRPC is spoken by hand (a five-byte prefix and a trailer), so that both protocols have one client and a body is sent as it was
//! encoded.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use federation_proto::identity::{Signal, TenantId};
use federation_proto::otlp::{grpc_path, http_path};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::answer::{Answer, Size};
use super::body::Body;
use super::config::{OtlpConfig, Protocol};
use super::headers::Headers;
use crate::tier::TierOpenError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const IDLE: Duration = Duration::from_secs(60);
/// Bytes of an answer that are kept; what comes behind is passed over.
const MAX_ANSWER: usize = 64 << 10;
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("tributary-router/", env!("CARGO_PKG_VERSION")));

/// See the module.
pub(super) struct Client {
    hyper: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    config: OtlpConfig,
    target: Uri,
    headers: ArcSwap<Headers>,
}

impl Client {
    /// Reads certificates and headers; connects to nothing yet.
    pub(super) fn new(config: &OtlpConfig) -> Result<Self, TierOpenError> {
        let failed = |problem: String| TierOpenError { place: config.endpoint.clone(), problem };
        let target = config.target().map_err(|invalid| failed(invalid.to_string()))?;
        let headers = Headers::resolve(&config.headers).map_err(failed)?;
        let tls = match &config.tls {
            Some(files) => files.client_config().map_err(|error| failed(error.to_string()))?,
            None => no_tls(),
        };
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let connector = match config.protocol {
            Protocol::Grpc => connector.enable_http2().wrap_connector(tcp),
            Protocol::Http => connector.enable_http1().wrap_connector(tcp),
        };
        let mut builder = HyperClient::builder(TokioExecutor::new());
        builder.timer(TokioTimer::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(config.concurrency);
        if config.protocol == Protocol::Grpc {
            builder.http2_only(true).http2_keep_alive_interval(KEEP_ALIVE).http2_keep_alive_timeout(KEEP_ALIVE);
        }
        Ok(Self { hyper: builder.build(connector), config: config.clone(), target, headers: ArcSwap::from_pointee(headers) })
    }

    /// Sends one request and waits for what becomes of it, within the tier's time.
    pub(super) async fn send(&self, tenant: &TenantId, signal: Signal, body: Body, rows: usize) -> Answer {
        let size = Size { rows, bytes: body.plain_bytes };
        let answered = tokio::time::timeout(self.config.timeout.0, self.exchange(tenant, signal, body, size)).await;
        let answer = match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => Answer::none(why),
            Err(_) => Answer::none(format!("no answer within {}", self.config.timeout)),
        };
        if matches!(answer, Answer::Later { denied: true, .. }) {
            self.read_headers_again();
        }
        answer
    }

    async fn exchange(&self, tenant: &TenantId, signal: Signal, body: Body, size: Size) -> Result<Answer, String> {
        let request = self.request(tenant, signal, body.bytes).map_err(|error| error.to_string())?;
        let response = self.hyper.request(request).await.map_err(|error| causes(&error))?;
        let (head, body) = response.into_parts();
        let (body, trailers) = read(body).await.map_err(|error| causes(&error))?;
        Ok(match self.config.protocol {
            Protocol::Grpc => Answer::of_grpc(head.status, &head.headers, trailers.as_ref(), &body, size),
            Protocol::Http => Answer::of_http(head.status, &head.headers, &body, size),
        })
    }

    fn request(&self, tenant: &TenantId, signal: Signal, body: Bytes) -> Result<Request<Full<Bytes>>, http::Error> {
        let grpc = self.config.protocol == Protocol::Grpc;
        let base = self.target.path().trim_end_matches('/');
        let path = if grpc { grpc_path(signal).to_owned() } else { format!("{base}{}", http_path(signal)) };
        let mut parts = self.target.clone().into_parts();
        parts.path_and_query = Some(path.try_into()?);
        let mut request = Request::builder().method(Method::POST).uri(Uri::from_parts(parts)?).header(header::USER_AGENT, USER_AGENT);
        let encoding = if grpc { "grpc-encoding" } else { header::CONTENT_ENCODING.as_str() };
        request = if grpc {
            let timeout = format!("{}m", self.config.timeout.0.as_millis());
            let request = request.version(Version::HTTP_2).header(header::CONTENT_TYPE, "application/grpc");
            request.header(header::TE, "trailers").header("grpc-timeout", timeout)
        } else {
            request.header(header::CONTENT_TYPE, "application/x-protobuf")
        };
        if let Some(name) = self.config.compression.encoding() {
            request = request.header(encoding, name);
        }
        let mut request = request.body(Full::new(body))?;
        self.headers.load().add_to(request.headers_mut(), tenant);
        Ok(request)
    }

    /// A file with a token may have been written anew.
    fn read_headers_again(&self) {
        match Headers::resolve(&self.config.headers) {
            Ok(headers) => self.headers.store(Arc::new(headers)),
            Err(why) => tracing::warn!(endpoint = self.config.endpoint, why, "keeping the headers of before"),
        }
    }
}

/// Body, up to a bound, and trailers.
async fn read(mut body: Incoming) -> Result<(BytesMut, Option<HeaderMap>), hyper::Error> {
    let (mut kept, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => kept.extend_from_slice(&data[..data.len().min(MAX_ANSWER - kept.len())]),
            Err(other) => trailers = other.into_trailers().ok(),
        }
    }
    Ok((kept, trailers))
}

/// A connector wants one, though `http` never uses it: nobody is trusted.
fn no_tls() -> rustls::ClientConfig {
    service::tls::install_provider();
    rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

/// An error with what caused it: hyper's own words stop before the cause.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
