//! Seeded telemetry that looks like a shop's: 50 services, 150 pods, about 12 attributes a span, random ids.
//!
//! Every record can be told apart in any tier, by what its signal has anyway: a span by its span id, a log record by the span id
//! it is correlated with (used once), a data point by its service instance and time (used once).

mod logs;
mod metrics;
mod rng;
mod traces;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

pub use rng::Rng;

const SERVICES: u64 = 50;
const PODS: u64 = 150;

/// What tells one record from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordId {
    /// A span or a log record: its span id.
    Span([u8; 8]),
    /// A data point: the number of its sender and its time in Unix nanoseconds.
    Point {
        /// The sender's number, as in `service.instance.id`.
        sender: u32,
        /// The point's time.
        time_unix_nano: u64,
    },
}

/// A request and the ids of its records.
#[derive(Debug)]
pub struct Made<T> {
    /// Ready to export.
    pub request: T,
    /// One id a record, in the request's order.
    pub ids: Vec<RecordId>,
}

/// One sender's stream of telemetry; the same seed and times give the same records.
#[derive(Debug)]
pub struct Generator {
    rng: Rng,
    sender: u32,
    resources: Vec<Resource>,
    last_point: u64,
}

impl Generator {
    /// A sender of its own number in a region.
    #[must_use]
    pub fn new(seed: u64, sender: u32, region: &str) -> Self {
        let mut rng = Rng::new(seed ^ (u64::from(sender) << 32));
        let resources = (0..PODS).map(|pod| resource(&mut rng, pod, region, sender)).collect();
        Self { rng, sender, resources, last_point: 0 }
    }

    /// A request of `count` spans in traces of 1 to 12, ending about `now`.
    pub fn traces(&mut self, now_unix_nano: u64, count: usize) -> Made<ExportTraceServiceRequest> {
        traces::request(self, now_unix_nano, count)
    }

    /// A request of `count` log records from about `now`.
    pub fn logs(&mut self, now_unix_nano: u64, count: usize) -> Made<ExportLogsServiceRequest> {
        logs::request(self, now_unix_nano, count)
    }

    /// A request of `count` data points, of all five kinds, at about `now`.
    pub fn metrics(&mut self, now_unix_nano: u64, count: usize) -> Made<ExportMetricsServiceRequest> {
        metrics::request(self, now_unix_nano, count)
    }

    /// A time for a data point: about `now`, never given before.
    fn point_time(&mut self, now_unix_nano: u64) -> u64 {
        self.last_point = now_unix_nano.max(self.last_point + 1);
        self.last_point
    }

    fn pick_resource(&mut self) -> Resource {
        let at = self.rng.below(PODS) as usize;
        self.resources[at].clone()
    }
}

fn resource(rng: &mut Rng, pod: u64, region: &str, sender: u32) -> Resource {
    let service = pod % SERVICES;
    let name = format!("svc-{service:02}");
    let attributes = vec![
        text("service.name", &name),
        text("service.version", &format!("1.{}.{}", service % 7, service % 3)),
        text("service.instance.id", &sender.to_string()),
        text("k8s.namespace.name", if service.is_multiple_of(3) { "shop" } else { "platform" }),
        text("k8s.deployment.name", &name),
        text("k8s.pod.name", &format!("{name}-{:08x}-{:05x}", rng.next() as u32, rng.below(1 << 20))),
        text("k8s.node.name", &format!("node-{}", pod % 9)),
        text("cloud.region", region),
        text("telemetry.sdk.language", ["go", "java", "rust", "python"][(service % 4) as usize]),
    ];
    Resource { attributes, ..Resource::default() }
}

fn scope(name: &str) -> InstrumentationScope {
    InstrumentationScope { name: name.to_owned(), version: "0.9.1".to_owned(), ..InstrumentationScope::default() }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

#[cfg(test)]
mod tests;
