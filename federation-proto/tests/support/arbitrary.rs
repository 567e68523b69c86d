//! Arbitrary Export requests with everything that is legal and nasty: odd ids, duplicate keys, any bits in times and doubles, unknown enum
//! values, absent against empty, nested values, hostile numbers of keys. `Nasty::new(seed, size)`: a smaller size is a simpler request.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use federation_proto::identity::Signal;
use prost::Message;

use super::rng::Rng;

pub struct Nasty {
    pub rng: Rng,
    size: usize,
    one_nan: bool,
}

impl Nasty {
    pub fn new(seed: u64, size: usize) -> Self {
        Self { rng: Rng(seed), size: size.max(1), one_nan: false }
    }

    /// With no NaN but the usual one: for forms that write it as a word.
    pub fn with_one_nan(self) -> Self {
        Self { one_nan: true, ..self }
    }

    /// An Export request of this signal, as prost encodes it.
    pub fn body(&mut self, signal: Signal) -> Vec<u8> {
        match signal {
            Signal::Traces => self.traces().encode_to_vec(),
            Signal::Logs => self.logs().encode_to_vec(),
            _ => self.metrics().encode_to_vec(),
        }
    }

    fn some<T>(&mut self, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.rng.below(self.size + 1)).map(|_| item(self)).collect()
    }

    /// Mostly one or some, seldom none.
    fn groups<T>(&mut self, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        let count = if self.rng.one_in(10) { 0 } else { 1 + self.rng.below(1 + self.size / 3) };
        (0..count).map(|_| item(self)).collect()
    }

    fn few<T>(&mut self, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        let most = if self.rng.one_in(2) { 4 } else { 1 };
        (0..self.rng.below(most)).map(|_| item(self)).collect()
    }

    fn maybe<T>(&mut self, item: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (!self.rng.one_in(3)).then(|| item(self))
    }

    pub fn text(&mut self) -> String {
        match self.rng.below(6) {
            0 => String::new(),
            1 => ["GET /a", "POST /b", "cart", "ünïcode ✓", "\0"][self.rng.below(5)].to_owned(),
            2 => "long ".repeat(self.rng.below(80)),
            3 => char::from_u32(self.rng.below(0xd7ff) as u32).unwrap_or(' ').to_string(),
            _ => format!("value-{}", self.rng.below(40)),
        }
    }

    fn key(&mut self) -> String {
        match self.rng.below(12) {
            0 => String::new(),
            1 => format!("random.{}", self.rng.next()),
            2 => "k".repeat(self.rng.below(300)),
            _ => ["http.method", "http.route", "user", "clé", "n"][self.rng.below(5)].to_owned(),
        }
    }

    fn u64(&mut self) -> u64 {
        match self.rng.below(5) {
            0 => 0,
            1 => self.rng.next(),
            2 => u64::MAX - self.rng.below(2) as u64,
            _ => 1_780_000_000_000_000_000 + self.rng.below(1 << 30) as u64,
        }
    }

    fn u32(&mut self) -> u32 {
        match self.rng.below(4) {
            0 => self.rng.next() as u32,
            1 => self.rng.below(4) as u32,
            _ => 0,
        }
    }

    fn i32(&mut self) -> i32 {
        self.u32() as i32
    }

    fn f64(&mut self) -> f64 {
        let value = self.any_f64();
        if value.is_nan() && self.one_nan { f64::NAN } else { value }
    }

    fn any_f64(&mut self) -> f64 {
        match self.rng.below(5) {
            0 => f64::from_bits(self.rng.next()),
            1 => *self.rng.pick(&[0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE]),
            2 => f64::from_bits(0x7ff8_0000_0000_0000 | self.rng.next() & 0xffff),
            _ => self.rng.below(1000) as f64 / 8.0,
        }
    }

    fn id(&mut self, len: usize) -> Vec<u8> {
        match self.rng.below(10) {
            0 => Vec::new(),
            1 => {
                let len = self.rng.below(40);
                self.rng.bytes(len)
            }
            2..6 => vec![self.rng.below(6) as u8; len],
            _ => self.rng.bytes(len),
        }
    }

    fn any(&mut self, depth: usize) -> AnyValue {
        let value = match self.rng.below(if depth == 0 { 8 } else { 10 }) {
            0 => None,
            1 => Some(Value::BoolValue(self.rng.one_in(2))),
            2 => Some(Value::IntValue(self.u64() as i64)),
            3 => Some(Value::DoubleValue(self.f64())),
            4 => Some(Value::BytesValue(self.id(20))),
            5 => Some(Value::StringValueStrindex(self.i32())),
            6 | 7 => Some(Value::StringValue(self.text())),
            8 => Some(Value::ArrayValue(ArrayValue { values: self.few(|g| g.any(depth - 1)) })),
            _ => Some(Value::KvlistValue(KeyValueList { values: self.few(|g| g.pair(depth - 1)) })),
        };
        AnyValue { value }
    }

    fn pair(&mut self, depth: usize) -> KeyValue {
        let value = if self.rng.one_in(8) { None } else { Some(self.any(depth)) };
        let key_strindex = if self.rng.one_in(10) { self.i32() } else { 0 };
        KeyValue { key: self.key(), value, key_strindex }
    }

    fn attrs(&mut self) -> Vec<KeyValue> {
        match self.rng.below(8) {
            0 => Vec::new(),
            1..4 => self.some(|g| g.pair(3)),
            _ => ["a", "b", "a"].iter().take(self.rng.below(4)).map(|key| self.string_pair(key)).collect(),
        }
    }

    fn string_pair(&mut self, key: &str) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(Value::StringValue(self.text())) }), key_strindex: 0 }
    }

    fn resource(&mut self) -> Resource {
        Resource {
            attributes: self.attrs(),
            dropped_attributes_count: self.u32(),
            entity_refs: self.few(|g| EntityRef {
                schema_url: g.text(),
                r#type: g.text(),
                id_keys: g.few(Self::text),
                description_keys: g.few(Self::text),
            }),
        }
    }

    fn scope(&mut self) -> InstrumentationScope {
        InstrumentationScope { name: self.text(), version: self.text(), attributes: self.attrs(), dropped_attributes_count: self.u32() }
    }

    pub fn traces(&mut self) -> ExportTraceServiceRequest {
        let resource_spans = self.groups(|g| ResourceSpans {
            resource: g.maybe(Self::resource),
            scope_spans: g.groups(|g| ScopeSpans { scope: g.maybe(Self::scope), spans: g.some(Self::span), schema_url: g.text() }),
            schema_url: g.text(),
        });
        ExportTraceServiceRequest { resource_spans }
    }

    fn span(&mut self) -> Span {
        Span {
            trace_id: self.id(16),
            span_id: self.id(8),
            trace_state: self.text(),
            parent_span_id: self.id(8),
            flags: self.u32(),
            name: self.text(),
            kind: self.i32(),
            start_time_unix_nano: self.u64(),
            end_time_unix_nano: self.u64(),
            attributes: self.attrs(),
            dropped_attributes_count: self.u32(),
            events: self.few(|g| Event {
                time_unix_nano: g.u64(),
                name: g.text(),
                attributes: g.attrs(),
                dropped_attributes_count: g.u32(),
            }),
            dropped_events_count: self.u32(),
            links: self.few(|g| Link {
                trace_id: g.id(16),
                span_id: g.id(8),
                trace_state: g.text(),
                attributes: g.attrs(),
                dropped_attributes_count: g.u32(),
                flags: g.u32(),
            }),
            dropped_links_count: self.u32(),
            status: self.maybe(|g| Status { message: g.text(), code: g.i32() }),
        }
    }

    pub fn logs(&mut self) -> ExportLogsServiceRequest {
        let resource_logs = self.groups(|g| ResourceLogs {
            resource: g.maybe(Self::resource),
            scope_logs: g.groups(|g| ScopeLogs { scope: g.maybe(Self::scope), log_records: g.some(Self::log), schema_url: g.text() }),
            schema_url: g.text(),
        });
        ExportLogsServiceRequest { resource_logs }
    }

    fn log(&mut self) -> LogRecord {
        LogRecord {
            time_unix_nano: self.u64(),
            observed_time_unix_nano: self.u64(),
            severity_number: self.i32(),
            severity_text: self.text(),
            body: self.maybe(|g| g.any(3)),
            attributes: self.attrs(),
            dropped_attributes_count: self.u32(),
            flags: self.u32(),
            trace_id: self.id(16),
            span_id: self.id(8),
            event_name: self.text(),
        }
    }

    pub fn metrics(&mut self) -> ExportMetricsServiceRequest {
        let resource_metrics = self.groups(|g| ResourceMetrics {
            resource: g.maybe(Self::resource),
            scope_metrics: g.groups(|g| ScopeMetrics { scope: g.maybe(Self::scope), metrics: g.some(Self::metric), schema_url: g.text() }),
            schema_url: g.text(),
        });
        ExportMetricsServiceRequest { resource_metrics }
    }

    fn metric(&mut self) -> Metric {
        let aggregation_temporality = self.i32();
        let data = match self.rng.below(6) {
            0 => None,
            1 => Some(Data::Gauge(Gauge { data_points: self.some(Self::number) })),
            2 => Some(Data::Sum(Sum { data_points: self.some(Self::number), aggregation_temporality, is_monotonic: self.rng.one_in(2) })),
            3 => Some(Data::Histogram(Histogram { data_points: self.some(Self::histogram), aggregation_temporality })),
            4 => Some(Data::ExponentialHistogram(ExponentialHistogram {
                data_points: self.some(Self::exponential),
                aggregation_temporality,
            })),
            _ => Some(Data::Summary(Summary { data_points: self.some(Self::summary) })),
        };
        Metric { name: self.text(), description: self.text(), unit: self.text(), metadata: self.attrs(), data }
    }

    fn exemplars(&mut self) -> Vec<Exemplar> {
        self.few(|g| Exemplar {
            filtered_attributes: g.attrs(),
            time_unix_nano: g.u64(),
            span_id: g.id(8),
            trace_id: g.id(16),
            value: match g.rng.below(3) {
                0 => None,
                1 => Some(exemplar::Value::AsDouble(g.f64())),
                _ => Some(exemplar::Value::AsInt(g.u64() as i64)),
            },
        })
    }

    fn number(&mut self) -> NumberDataPoint {
        NumberDataPoint {
            attributes: self.attrs(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            exemplars: self.exemplars(),
            flags: self.u32(),
            value: match self.rng.below(4) {
                0 => None,
                1 => Some(number_data_point::Value::AsInt(self.u64() as i64)),
                _ => Some(number_data_point::Value::AsDouble(self.f64())),
            },
        }
    }

    fn histogram(&mut self) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes: self.attrs(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            count: self.u64(),
            sum: self.maybe(Self::f64),
            bucket_counts: self.some(Self::u64),
            explicit_bounds: if self.rng.one_in(2) { vec![0.5, 1.0, 10.0] } else { self.some(Self::f64) },
            exemplars: self.exemplars(),
            flags: self.u32(),
            min: self.maybe(Self::f64),
            max: self.maybe(Self::f64),
        }
    }

    fn exponential(&mut self) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint {
            attributes: self.attrs(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            count: self.u64(),
            sum: self.maybe(Self::f64),
            scale: self.i32(),
            zero_count: self.u64(),
            positive: self.maybe(|g| Buckets { offset: g.i32(), bucket_counts: g.some(Self::u64) }),
            negative: self.maybe(|g| Buckets { offset: g.i32(), bucket_counts: g.some(Self::u64) }),
            flags: self.u32(),
            exemplars: self.exemplars(),
            min: self.maybe(Self::f64),
            max: self.maybe(Self::f64),
            zero_threshold: self.f64(),
        }
    }

    fn summary(&mut self) -> SummaryDataPoint {
        SummaryDataPoint {
            attributes: self.attrs(),
            start_time_unix_nano: self.u64(),
            time_unix_nano: self.u64(),
            count: self.u64(),
            sum: self.f64(),
            quantile_values: self.some(|g| ValueAtQuantile { quantile: g.f64(), value: g.f64() }),
            flags: self.u32(),
        }
    }
}
