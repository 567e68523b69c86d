//! `tiers.<name>.otlp` in the configuration.
//!
//! ```yaml
//! tiers:
//!   collector:
//!     otlp:
//!       endpoint: https://collector.example:4317
//!       protocol: grpc                       # or http/protobuf
//!       headers:
//!         authorization: {env: COLLECTOR_AUTHORIZATION}   # or {file: PATH}, {value: TEXT}
//!         x-scope-orgid: tenant              # the tenant whose records are in the request
//!       compression: gzip                    # or zstd, none
//!       tls: {ca: /etc/ssl/certs/ca-certificates.crt}
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use federation_proto::identity::Signal;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderName, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use service::config::{ByteSize, Invalid, Span};
use service::tls::ClientFiles;

/// Headers that one tier may have.
const MAX_HEADERS: usize = 32;

/// `tiers.<name>.otlp` in the configuration.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtlpConfig {
    /// Where: `http://HOST:PORT`, or `https://HOST:PORT` with `tls`. OTLP/HTTP may have a path, behind which `/v1/traces` and so on come.
    pub endpoint: String,
    /// `grpc` (the default) or `http/protobuf`.
    #[serde(default)]
    pub protocol: Protocol,
    /// Headers of each request, by name: `{value: TEXT}`, `{env: VARIABLE}`, `{file: PATH}` (read again when the destination refuses
    /// it), or `tenant`: the name of the tenant whose records are in the request. Default: none. Values are never logged.
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderSource>,
    /// `gzip` (the default), `zstd` or `none`.
    #[serde(default)]
    pub compression: Compression,
    /// How long one request may take, from connecting to its answer; 100ms to 10m, default 10s.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// For `https`: whom to trust, and the certificate to show.
    #[serde(default)]
    pub tls: Option<ClientFiles>,
    /// Bytes of one request before compression, at most; 64KiB to 64MiB, default 4MiB: what gRPC servers take unless told otherwise. A
    /// record larger than this is counted as rejected.
    #[serde(default = "default_max_request")]
    pub max_request: ByteSize,
    /// Requests on their way at once; 1 to 64, default 4.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
    /// Records wait at most this long for others to go in one request; 10ms to 1h, default 1s.
    #[serde(default = "default_flush_interval")]
    pub flush_interval: Span,
    /// Which signals it takes, default `[traces, logs, metrics]`. Records of others are counted as not routed.
    #[serde(default = "default_signals")]
    pub signals: BTreeSet<Signal>,
}

/// How requests are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// OTLP/gRPC.
    #[default]
    #[serde(rename = "grpc")]
    Grpc,
    /// OTLP/HTTP with protobuf.
    #[serde(rename = "http/protobuf")]
    Http,
}

impl Protocol {
    /// The label in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

/// How requests are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not.
    None,
    /// What every receiver takes.
    #[default]
    Gzip,
    /// Smaller and quicker, where the receiver takes it.
    Zstd,
}

impl Compression {
    /// The value of `grpc-encoding` and `content-encoding`.
    #[must_use]
    pub fn encoding(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// Where a header's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeaderSource {
    /// As written here.
    Value(Secret),
    /// The name of a variable of the router's environment.
    Env(Variable),
    /// A file with the value; white space at its ends is left out. Read again when the destination refuses the value.
    File(ValueFile),
    /// The name of the tenant.
    Tenant,
}

/// The name of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Variable(pub String);

/// A file with one value in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ValueFile(pub PathBuf);

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

fn default_timeout() -> Span {
    Span::from_secs(10)
}

fn default_max_request() -> ByteSize {
    ByteSize(4 << 20)
}

fn default_concurrency() -> usize {
    4
}

fn default_flush_interval() -> Span {
    Span::from_secs(1)
}

fn default_signals() -> BTreeSet<Signal> {
    BTreeSet::from([Signal::Traces, Signal::Logs, Signal::Metrics])
}

impl OtlpConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// The key, what is wrong, what is expected.
    pub fn check(&self) -> Result<(), Invalid> {
        let tls = self.target()?.scheme() == Some(&Scheme::HTTPS);
        match &self.tls {
            None if tls => {
                return Err(Invalid::new(
                    "tls",
                    "is missing: for https name whom to trust, such as {ca: /etc/ssl/certs/ca-certificates.crt}",
                ));
            }
            Some(_) if !tls => return Err(Invalid::new("tls", "is given, but endpoint is http: expected https://HOST:PORT")),
            Some(files) if files.cert.is_some() != files.key.is_some() => {
                return Err(Invalid::new("tls", "has one of cert and key: expected both or none"));
            }
            _ => {}
        }
        if self.headers.len() > MAX_HEADERS {
            return Err(Invalid::new("headers", format!("{} of them: expected at most {MAX_HEADERS}", self.headers.len())));
        }
        self.headers.keys().try_for_each(|name| check_header(name))?;
        within("timeout", self.timeout, Duration::from_millis(100), Duration::from_secs(600))?;
        within("flush_interval", self.flush_interval, Duration::from_millis(10), Duration::from_secs(3600))?;
        if !(64 << 10..=64 << 20).contains(&self.max_request.0) {
            return Err(Invalid::new("max_request", format!("{}: expected 64KiB to 64MiB", self.max_request)));
        }
        if !(1..=64).contains(&self.concurrency) {
            return Err(Invalid::new("concurrency", format!("{}: expected 1 to 64", self.concurrency)));
        }
        if self.signals.is_empty() || self.signals.contains(&Signal::Profiles) {
            return Err(Invalid::new("signals", "expected one or more of traces, logs and metrics"));
        }
        Ok(())
    }

    /// The endpoint: scheme and authority are there, the path has no slash at its end.
    pub(super) fn target(&self) -> Result<Uri, Invalid> {
        let wrong = |why: &str| Invalid::new("endpoint", format!("{why}: expected http://HOST:PORT or https://HOST:PORT"));
        let uri: Uri = self.endpoint.parse().map_err(|_| wrong("is no URI"))?;
        let mut parts = uri.into_parts();
        if parts.scheme != Some(Scheme::HTTP) && parts.scheme != Some(Scheme::HTTPS) {
            return Err(wrong("is neither http nor https"));
        }
        if parts.authority.as_ref().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err(wrong("has user and password in it (give them as a header)"));
        }
        let path = parts.path_and_query.as_ref().map_or("", PathAndQuery::as_str).trim_end_matches('/');
        if path.contains('?') || (self.protocol == Protocol::Grpc && !path.is_empty()) {
            return Err(wrong(if self.protocol == Protocol::Grpc { "has a path, which gRPC has not" } else { "has a query" }));
        }
        parts.path_and_query = Some(PathAndQuery::try_from(if path.is_empty() { "/" } else { path }).map_err(|_| wrong("is no URI"))?);
        Uri::from_parts(parts).map_err(|_| wrong("is no URI"))
    }
}

fn within(key: &str, value: Span, least: Duration, most: Duration) -> Result<(), Invalid> {
    if (least..=most).contains(&value.0) {
        return Ok(());
    }
    Err(Invalid::new(key, format!("{value}: expected {} to {}", Span(least), Span(most))))
}

/// A header that is the protocol's own must not be replaced.
fn check_header(name: &str) -> Result<(), Invalid> {
    const OWN: [&str; 8] =
        ["connection", "content-encoding", "content-length", "content-type", "host", "te", "transfer-encoding", "user-agent"];
    let wrong = |why: &str| Err(Invalid::new(format!("headers.{name}"), why));
    match HeaderName::try_from(name) {
        Err(_) => wrong("is no header's name: expected one such as authorization"),
        Ok(header) if OWN.contains(&header.as_str()) || header.as_str().starts_with("grpc-") => {
            wrong("is set by the protocol: take it out")
        }
        Ok(_) => Ok(()),
    }
}
