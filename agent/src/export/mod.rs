//! What was seen, as OTLP requests: pure, ready to be sent.
//!
//! A request is encoded once and kept as bytes, since a retry must be the same bytes: the edge knows a request that it has
//! already taken by them. Bounds: at most [`MAX_ROWS`] rows per request, some 500 KiB, well below the 4 MiB at which
//! gRPC servers refuse.
//!
//! Names follow the OpenTelemetry semantic conventions; what they have no name for is ours: `tributary.tcp.connect.duration`,
//! `linux.cgroup.id`, `process.exit.signal`.

mod attributes;
mod logs;
mod metrics;

pub use attributes::errno_name;
pub use logs::process_records;
pub use metrics::connect_durations;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::clock::UnixNanos;
use attributes::text;

/// Rows (data points, log records) in one request.
pub const MAX_ROWS: usize = 1_000;

/// The two kinds of request that the agent makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `MetricsService/Export`; a row is a data point.
    Metrics,
    /// `LogsService/Export`; a row is a log record.
    Logs,
}

impl Signal {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Metrics, Self::Logs];

    /// The label in metrics and the word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// Path of the gRPC method.
    pub fn path(self) -> &'static str {
        match self {
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }
}

/// One encoded `Export*ServiceRequest`. Clones share the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which service it is for.
    pub signal: Signal,
    /// Data points or log records in it.
    pub rows: u64,
    /// The protobuf message.
    pub body: Bytes,
}

/// The interval that deltas stand for.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The end of the interval before.
    pub start: UnixNanos,
    /// Now.
    pub end: UnixNanos,
}

/// Whose telemetry it is.
#[derive(Clone, Debug)]
pub struct Node {
    /// `host.name`.
    pub name: String,
}

impl Node {
    fn resource(&self) -> Resource {
        Resource {
            attributes: vec![
                text("service.name", "tributary-agent"),
                text("service.version", env!("CARGO_PKG_VERSION")),
                text("host.name", self.name.clone()),
                text("os.type", "linux"),
            ],
            ..Resource::default()
        }
    }
}

fn scope(probe: &str) -> InstrumentationScope {
    InstrumentationScope {
        name: format!("tributary.agent.{probe}"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        attributes: Vec::<KeyValue>::new(),
        dropped_attributes_count: 0,
    }
}

#[cfg(test)]
mod tests;
