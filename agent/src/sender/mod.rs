//! Driver: requests to the edge over OTLP/gRPC, one at a time, bytes as they are.
//!
//! The bodies are encoded already, so a codec that passes bytes stands in for the generated clients; path, metadata and
//! framing are theirs. What an answer means is decided in [`answer`].

mod answer;
mod codec;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter};
use service::admin::Readiness;
use service::shutdown::Shutdown;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};

use crate::config::{Edge, Token};
use crate::dispatch::Dispatch;
use crate::export::{Request, Signal};
use crate::outbox::{Next, Verdict};
use answer::{rejected_rows, verdict};
use codec::BytesCodec;

const EXPORTS: &str = "tributary_agent_exports_total";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// The condition in `/readyz`.
const CONDITION: &str = "edge";
/// A longer token is no token.
const MAX_TOKEN_BYTES: u64 = 16 << 10;

/// Says what the metrics declared here mean.
pub fn describe() {
    describe_counter!(EXPORTS, Unit::Count, "Tries to export one request, by gRPC status code");
}

/// Why no sender can be made.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// A file that the configuration names.
    #[error("{key}: {path}: {problem}")]
    File {
        /// The key.
        key: &'static str,
        /// The path.
        path: String,
        /// What is wrong with it, and the remedy.
        problem: String,
    },
    /// The token is no header value.
    #[error("edge.token: not a bearer token: expected visible ASCII characters in one line")]
    Token,
    /// The endpoint cannot be used.
    #[error("edge.endpoint: {endpoint}: {source}")]
    Endpoint {
        /// As configured.
        endpoint: String,
        /// What tonic says.
        source: tonic::transport::Error,
    },
}

/// A connection to the edge, made when it is first needed and again whenever it is lost.
#[derive(Debug)]
pub struct Sender {
    grpc: Grpc<Channel>,
    source: Token,
    authorization: Option<MetadataValue<Ascii>>,
    timeout: Duration,
}

impl Sender {
    /// Reads token and certificates; connects to nothing yet. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`SenderError`].
    pub fn new(edge: &Edge) -> Result<Self, SenderError> {
        let unusable = |source| SenderError::Endpoint { endpoint: edge.endpoint.to_string(), source };
        let mut endpoint = Endpoint::from(edge.endpoint.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        if let Some(path) = edge.ca_file.as_deref() {
            let pem = read("edge.ca_file", path)?;
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
            endpoint = endpoint.tls_config(tls).map_err(unusable)?;
        }
        let authorization = authorization(&edge.token)?;
        Ok(Self { grpc: Grpc::new(endpoint.connect_lazy()), source: edge.token.clone(), authorization, timeout: edge.timeout })
    }

    /// One try.
    async fn export(&mut self, request: Request) -> Result<u64, Status> {
        let signal = request.signal;
        let tried = tokio::time::timeout(self.timeout, self.call(request)).await;
        tried.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))).map(|body| rejected_rows(signal, body))
    }

    async fn call(&mut self, request: Request) -> Result<bytes::Bytes, Status> {
        let Request { signal, body, .. } = request;
        self.grpc.ready().await.map_err(|error| Status::unavailable(causes(&error)))?;
        let mut call = tonic::Request::new(body);
        call.set_timeout(self.timeout);
        if let Some(authorization) = &self.authorization {
            call.metadata_mut().insert("authorization", authorization.clone());
        }
        let answer = self.grpc.unary(call, path(signal), BytesCodec).await?;
        Ok(answer.into_inner())
    }

    /// A token file may have been written anew since.
    fn reread_token(&mut self) {
        match authorization(&self.source) {
            Ok(authorization) => self.authorization = authorization,
            Err(error) => tracing::warn!(%error, "keeping the token of before"),
        }
    }
}

/// Sends until `closing` is requested and nothing is left.
pub async fn run(mut sender: Sender, dispatch: Arc<Dispatch>, readiness: Readiness, closing: Shutdown) {
    readiness.set(CONDITION, Ok(()));
    loop {
        match dispatch.next(now()) {
            Next::Send(request) => {
                let answer = sender.export(request).await;
                settle(&mut sender, &dispatch, &readiness, answer);
            }
            Next::WaitUntil(at) => {
                tokio::select! {
                    () = tokio::time::sleep_until(at.into()) => {}
                    () = dispatch.pushed() => {}
                }
            }
            Next::Idle if closing.is_requested() => return,
            Next::Idle => dispatch.pushed().await,
        }
    }
}

fn settle(sender: &mut Sender, dispatch: &Dispatch, readiness: &Readiness, answer: Result<u64, Status>) {
    let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
    counter!(EXPORTS, "code" => code_name(code)).increment(1);
    let verdict = match &answer {
        Ok(rejected) => {
            readiness.set(CONDITION, Ok(()));
            Verdict::Accepted { rejected: *rejected }
        }
        Err(status) => {
            let reason = format!("export failed: {}: {}{}", code_name(code), causes(status), answer::remedy(code));
            readiness.set(CONDITION, Err(&reason));
            tracing::debug!(reason, "export failed");
            verdict(status)
        }
    };
    if matches!(code, Code::Unauthenticated | Code::PermissionDenied) {
        sender.reread_token();
    }
    dispatch.settle(now(), verdict);
}

fn path(signal: Signal) -> PathAndQuery {
    PathAndQuery::from_static(signal.path())
}

fn authorization(token: &Token) -> Result<Option<MetadataValue<Ascii>>, SenderError> {
    let token = match token {
        Token::None => return Ok(None),
        Token::Inline(token) => token.clone(),
        Token::File(path) => read("edge.token_file", path)?,
    };
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SenderError::Token);
    }
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| SenderError::Token)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn read(key: &'static str, path: &Path) -> Result<String, SenderError> {
    let refuse = |problem| SenderError::File { key, path: path.display().to_string(), problem };
    let length = std::fs::metadata(path).map_err(|error| refuse(format!("{error}: check the path and who may read it")))?.len();
    if key == "edge.token_file" && length > MAX_TOKEN_BYTES {
        return Err(refuse(format!("{length} bytes are no token: check the path")));
    }
    std::fs::read_to_string(path).map_err(|error| refuse(format!("{error}: check who may read it")))
}

/// A status or transport error with what lies behind it, in one line.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = match error.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text.replace(['\n', '\r'], " ")
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

#[expect(clippy::disallowed_methods, reason = "driver: reads the clock")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
