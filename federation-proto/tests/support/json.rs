//! OTLP/JSON written from prost's structs by the specification alone, knowing nothing of the table that the reader uses. Of the forms that
//! the rules allow, it takes one at random: absent, null or explicit defaults, numbers or strings, either alphabet, unknown keys.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use serde_json::{Map, Value, json};

use federation_proto::identity::Signal;
use prost::Message;

use super::rng::Rng;

pub struct JsonWriter(pub Rng);

type Fields = Vec<(&'static str, Option<Value>)>;

impl JsonWriter {
    /// The JSON form of a protobuf body.
    pub fn body(&mut self, signal: Signal, body: &[u8]) -> Vec<u8> {
        let request = match signal {
            Signal::Traces => self.traces(&ExportTraceServiceRequest::decode(body).expect("valid")),
            Signal::Logs => self.logs(&ExportLogsServiceRequest::decode(body).expect("valid")),
            _ => self.metrics(&ExportMetricsServiceRequest::decode(body).expect("valid")),
        };
        if self.0.one_in(2) { serde_json::to_vec(&request) } else { serde_json::to_vec_pretty(&request) }.expect("writes")
    }

    /// An object of these fields; `None` is a default, absent or null.
    fn object(&mut self, fields: Fields) -> Value {
        let mut out = Map::new();
        for (name, value) in fields {
            match value {
                Some(value) => drop(out.insert(name.to_owned(), value)),
                None if self.0.one_in(4) => drop(out.insert(name.to_owned(), Value::Null)),
                None => {}
            }
        }
        if self.0.one_in(10) {
            out.insert("somethingNew".to_owned(), json!({"traceId": [1, {"name": null}], "n": 1.5e300}));
            out.insert("trace_id".to_owned(), json!(7));
        }
        Value::Object(out)
    }

    /// A default that may also be written.
    fn implied(&mut self, value: Value, is_default: bool) -> Option<Value> {
        (!is_default || self.0.one_in(3)).then_some(value)
    }

    fn text(&mut self, text: &str) -> Option<Value> {
        self.implied(text.into(), text.is_empty())
    }

    fn bits64(&mut self, number: u64) -> Option<Value> {
        let value = if self.0.one_in(4) { number.into() } else { number.to_string().into() };
        self.implied(value, number == 0)
    }

    fn int(&mut self, number: impl Into<i64>) -> Option<Value> {
        let number = number.into();
        self.implied(number.into(), number == 0)
    }

    fn double(&mut self, number: f64) -> Value {
        match number {
            _ if number.is_nan() => "NaN".into(),
            f64::INFINITY => "Infinity".into(),
            f64::NEG_INFINITY => "-Infinity".into(),
            _ if self.0.one_in(8) => format!("{number:e}").into(),
            _ if number == number.trunc() && number.abs() < 1e15 && number.to_bits() != (-0.0f64).to_bits() => (number as i64).into(),
            _ => number.into(),
        }
    }

    fn signed(&mut self, number: i64) -> Value {
        if self.0.one_in(4) { number.into() } else { number.to_string().into() }
    }

    fn id(&mut self, id: &[u8]) -> Option<Value> {
        let upper = self.0.one_in(2);
        let hex: String = id.iter().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }).collect();
        self.implied(hex.into(), id.is_empty())
    }

    fn base64(&mut self, bytes: &[u8]) -> Value {
        let url = self.0.one_in(2);
        let last: &[u8; 2] = if url { b"-_" } else { b"+/" };
        let digits: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*last).collect();
        let mut out = String::new();
        for group in bytes.chunks(3) {
            let bits = group.iter().fold(0usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - group.len()));
            out.extend((0..=group.len()).map(|at| char::from(digits[bits >> (18 - 6 * at) & 63])));
            if !url {
                out.push_str(&"=="[..3 - group.len()]);
            }
        }
        out.into()
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T) -> Value) -> Option<Value> {
        let list = Value::Array(items.iter().map(|item| write(self, item)).collect());
        self.implied(list, items.is_empty())
    }

    fn any(&mut self, any: &AnyValue) -> Value {
        let (name, value) = match &any.value {
            None => return self.object(vec![("stringValue", None), ("intValue", None)]),
            Some(Any::StringValue(text)) => ("stringValue", json!(text)),
            Some(Any::BoolValue(value)) => ("boolValue", json!(value)),
            Some(Any::IntValue(number)) => ("intValue", self.signed(*number)),
            Some(Any::DoubleValue(number)) => ("doubleValue", self.double(*number)),
            Some(Any::ArrayValue(array)) => {
                let values = self.list(&array.values, Self::any);
                ("arrayValue", self.object(vec![("values", values)]))
            }
            Some(Any::KvlistValue(list)) => {
                let values = self.list(&list.values, Self::pair);
                ("kvlistValue", self.object(vec![("values", values)]))
            }
            Some(Any::BytesValue(bytes)) => ("bytesValue", self.base64(bytes)),
            Some(Any::StringValueStrindex(index)) => ("stringValueStrindex", json!(index)),
        };
        self.object(vec![(name, Some(value))])
    }

    fn pair(&mut self, pair: &KeyValue) -> Value {
        let fields = vec![
            ("key", self.text(&pair.key)),
            ("value", pair.value.as_ref().map(|any| self.any(any))),
            ("keyStrindex", self.int(pair.key_strindex)),
        ];
        self.object(fields)
    }

    fn attrs(&mut self, attrs: &[KeyValue]) -> Option<Value> {
        self.list(attrs, Self::pair)
    }

    fn resource(&mut self, resource: &Resource) -> Value {
        let fields = vec![
            ("attributes", self.attrs(&resource.attributes)),
            ("droppedAttributesCount", self.int(resource.dropped_attributes_count)),
            ("entityRefs", self.list(&resource.entity_refs, Self::entity)),
        ];
        self.object(fields)
    }

    fn entity(&mut self, entity: &EntityRef) -> Value {
        let fields = vec![
            ("schemaUrl", self.text(&entity.schema_url)),
            ("type", self.text(&entity.r#type)),
            ("idKeys", self.list(&entity.id_keys, |_, key| json!(key))),
            ("descriptionKeys", self.list(&entity.description_keys, |_, key| json!(key))),
        ];
        self.object(fields)
    }

    fn scope(&mut self, scope: &InstrumentationScope) -> Value {
        let fields = vec![
            ("name", self.text(&scope.name)),
            ("version", self.text(&scope.version)),
            ("attributes", self.attrs(&scope.attributes)),
            ("droppedAttributesCount", self.int(scope.dropped_attributes_count)),
        ];
        self.object(fields)
    }

    fn traces(&mut self, request: &ExportTraceServiceRequest) -> Value {
        let groups = self.list(&request.resource_spans, |w, group| {
            let scopes = w.list(&group.scope_spans, |w, of| {
                let spans = w.list(&of.spans, Self::span);
                let fields =
                    vec![("scope", of.scope.as_ref().map(|scope| w.scope(scope))), ("spans", spans), ("schemaUrl", w.text(&of.schema_url))];
                w.object(fields)
            });
            w.group(group.resource.as_ref(), ("scopeSpans", scopes), &group.schema_url)
        });
        self.object(vec![("resourceSpans", groups)])
    }

    fn group(&mut self, resource: Option<&Resource>, scopes: (&'static str, Option<Value>), schema_url: &str) -> Value {
        let fields = vec![("resource", resource.map(|resource| self.resource(resource))), scopes, ("schemaUrl", self.text(schema_url))];
        self.object(fields)
    }

    fn span(&mut self, span: &Span) -> Value {
        let status = span.status.as_ref().map(|status| {
            let fields = vec![("message", self.text(&status.message)), ("code", self.int(status.code))];
            self.object(fields)
        });
        let fields = vec![
            ("traceId", self.id(&span.trace_id)),
            ("spanId", self.id(&span.span_id)),
            ("traceState", self.text(&span.trace_state)),
            ("parentSpanId", self.id(&span.parent_span_id)),
            ("flags", self.int(span.flags)),
            ("name", self.text(&span.name)),
            ("kind", self.int(span.kind)),
            ("startTimeUnixNano", self.bits64(span.start_time_unix_nano)),
            ("endTimeUnixNano", self.bits64(span.end_time_unix_nano)),
            ("attributes", self.attrs(&span.attributes)),
            ("droppedAttributesCount", self.int(span.dropped_attributes_count)),
            ("events", self.list(&span.events, Self::event)),
            ("droppedEventsCount", self.int(span.dropped_events_count)),
            ("links", self.list(&span.links, Self::link)),
            ("droppedLinksCount", self.int(span.dropped_links_count)),
            ("status", status),
        ];
        self.object(fields)
    }

    fn event(&mut self, event: &Event) -> Value {
        let fields = vec![
            ("timeUnixNano", self.bits64(event.time_unix_nano)),
            ("name", self.text(&event.name)),
            ("attributes", self.attrs(&event.attributes)),
            ("droppedAttributesCount", self.int(event.dropped_attributes_count)),
        ];
        self.object(fields)
    }

    fn link(&mut self, link: &Link) -> Value {
        let fields = vec![
            ("traceId", self.id(&link.trace_id)),
            ("spanId", self.id(&link.span_id)),
            ("traceState", self.text(&link.trace_state)),
            ("attributes", self.attrs(&link.attributes)),
            ("droppedAttributesCount", self.int(link.dropped_attributes_count)),
            ("flags", self.int(link.flags)),
        ];
        self.object(fields)
    }

    fn logs(&mut self, request: &ExportLogsServiceRequest) -> Value {
        let groups = self.list(&request.resource_logs, |w, group| {
            let scopes = w.list(&group.scope_logs, |w, of| {
                let logs = w.list(&of.log_records, Self::log);
                let fields = vec![
                    ("scope", of.scope.as_ref().map(|scope| w.scope(scope))),
                    ("logRecords", logs),
                    ("schemaUrl", w.text(&of.schema_url)),
                ];
                w.object(fields)
            });
            w.group(group.resource.as_ref(), ("scopeLogs", scopes), &group.schema_url)
        });
        self.object(vec![("resourceLogs", groups)])
    }

    fn log(&mut self, log: &LogRecord) -> Value {
        let fields = vec![
            ("timeUnixNano", self.bits64(log.time_unix_nano)),
            ("observedTimeUnixNano", self.bits64(log.observed_time_unix_nano)),
            ("severityNumber", self.int(log.severity_number)),
            ("severityText", self.text(&log.severity_text)),
            ("body", log.body.as_ref().map(|any| self.any(any))),
            ("attributes", self.attrs(&log.attributes)),
            ("droppedAttributesCount", self.int(log.dropped_attributes_count)),
            ("flags", self.int(log.flags)),
            ("traceId", self.id(&log.trace_id)),
            ("spanId", self.id(&log.span_id)),
            ("eventName", self.text(&log.event_name)),
        ];
        self.object(fields)
    }

    fn metrics(&mut self, request: &ExportMetricsServiceRequest) -> Value {
        let groups = self.list(&request.resource_metrics, |w, group| {
            let scopes = w.list(&group.scope_metrics, |w, of| {
                let metrics = w.list(&of.metrics, Self::metric);
                let fields = vec![
                    ("scope", of.scope.as_ref().map(|scope| w.scope(scope))),
                    ("metrics", metrics),
                    ("schemaUrl", w.text(&of.schema_url)),
                ];
                w.object(fields)
            });
            w.group(group.resource.as_ref(), ("scopeMetrics", scopes), &group.schema_url)
        });
        self.object(vec![("resourceMetrics", groups)])
    }

    fn metric(&mut self, metric: &Metric) -> Value {
        let mut fields = vec![
            ("name", self.text(&metric.name)),
            ("description", self.text(&metric.description)),
            ("unit", self.text(&metric.unit)),
            ("metadata", self.attrs(&metric.metadata)),
        ];
        fields.extend(metric.data.as_ref().map(|data| self.data(data)));
        self.object(fields)
    }

    fn data(&mut self, data: &Data) -> (&'static str, Option<Value>) {
        let (name, fields) = match data {
            Data::Gauge(data) => ("gauge", vec![("dataPoints", self.list(&data.data_points, Self::number))]),
            Data::Sum(data) => {
                let points = self.list(&data.data_points, Self::number);
                let monotonic = self.implied(data.is_monotonic.into(), !data.is_monotonic);
                let temporality = self.int(data.aggregation_temporality);
                ("sum", vec![("dataPoints", points), ("isMonotonic", monotonic), ("aggregationTemporality", temporality)])
            }
            Data::Histogram(data) => {
                let points = self.list(&data.data_points, Self::histogram);
                ("histogram", vec![("dataPoints", points), ("aggregationTemporality", self.int(data.aggregation_temporality))])
            }
            Data::ExponentialHistogram(data) => {
                let points = self.list(&data.data_points, Self::exponential);
                ("exponentialHistogram", vec![("dataPoints", points), ("aggregationTemporality", self.int(data.aggregation_temporality))])
            }
            Data::Summary(data) => ("summary", vec![("dataPoints", self.list(&data.data_points, Self::summary))]),
        };
        (name, Some(self.object(fields)))
    }

    fn number(&mut self, point: &NumberDataPoint) -> Value {
        let mut fields = self.times(&point.attributes, point.start_time_unix_nano, point.time_unix_nano, point.flags);
        fields.push(("exemplars", self.list(&point.exemplars, Self::exemplar)));
        fields.extend(point.value.as_ref().map(|value| match value {
            number_data_point::Value::AsDouble(number) => ("asDouble", Some(self.double(*number))),
            number_data_point::Value::AsInt(number) => ("asInt", Some(self.signed(*number))),
        }));
        self.object(fields)
    }

    fn times(&mut self, attrs: &[KeyValue], start: u64, time: u64, flags: u32) -> Fields {
        vec![
            ("attributes", self.attrs(attrs)),
            ("startTimeUnixNano", self.bits64(start)),
            ("timeUnixNano", self.bits64(time)),
            ("flags", self.int(flags)),
        ]
    }

    fn exemplar(&mut self, exemplar: &Exemplar) -> Value {
        let mut fields = vec![
            ("filteredAttributes", self.attrs(&exemplar.filtered_attributes)),
            ("timeUnixNano", self.bits64(exemplar.time_unix_nano)),
            ("spanId", self.id(&exemplar.span_id)),
            ("traceId", self.id(&exemplar.trace_id)),
        ];
        fields.extend(exemplar.value.as_ref().map(|value| match value {
            exemplar::Value::AsDouble(number) => ("asDouble", Some(self.double(*number))),
            exemplar::Value::AsInt(number) => ("asInt", Some(self.signed(*number))),
        }));
        self.object(fields)
    }

    fn bounds(&mut self, sum: Option<f64>, min: Option<f64>, max: Option<f64>) -> Fields {
        vec![
            ("sum", sum.map(|number| self.double(number))),
            ("min", min.map(|number| self.double(number))),
            ("max", max.map(|number| self.double(number))),
        ]
    }

    fn counts(&mut self, counts: &[u64]) -> Option<Value> {
        self.list(counts, |w, count| if w.0.one_in(2) { (*count).into() } else { count.to_string().into() })
    }

    fn histogram(&mut self, point: &HistogramDataPoint) -> Value {
        let mut fields = self.times(&point.attributes, point.start_time_unix_nano, point.time_unix_nano, point.flags);
        fields.extend(self.bounds(point.sum, point.min, point.max));
        fields.extend([
            ("count", self.bits64(point.count)),
            ("bucketCounts", self.counts(&point.bucket_counts)),
            ("explicitBounds", self.list(&point.explicit_bounds, |w, bound| w.double(*bound))),
            ("exemplars", self.list(&point.exemplars, Self::exemplar)),
        ]);
        self.object(fields)
    }

    fn exponential(&mut self, point: &ExponentialHistogramDataPoint) -> Value {
        let mut fields = self.times(&point.attributes, point.start_time_unix_nano, point.time_unix_nano, point.flags);
        fields.extend(self.bounds(point.sum, point.min, point.max));
        let threshold = self.double(point.zero_threshold);
        fields.extend([
            ("count", self.bits64(point.count)),
            ("scale", self.int(point.scale)),
            ("zeroCount", self.bits64(point.zero_count)),
            ("positive", point.positive.as_ref().map(|buckets| self.buckets(buckets))),
            ("negative", point.negative.as_ref().map(|buckets| self.buckets(buckets))),
            ("zeroThreshold", self.implied(threshold, point.zero_threshold.to_bits() == 0)),
            ("exemplars", self.list(&point.exemplars, Self::exemplar)),
        ]);
        self.object(fields)
    }

    fn buckets(&mut self, buckets: &Buckets) -> Value {
        let fields = vec![("offset", self.int(buckets.offset)), ("bucketCounts", self.counts(&buckets.bucket_counts))];
        self.object(fields)
    }

    fn summary(&mut self, point: &SummaryDataPoint) -> Value {
        let mut fields = self.times(&point.attributes, point.start_time_unix_nano, point.time_unix_nano, point.flags);
        let sum = self.double(point.sum);
        fields.extend([
            ("count", self.bits64(point.count)),
            ("sum", self.implied(sum, point.sum.to_bits() == 0)),
            ("quantileValues", self.list(&point.quantile_values, Self::quantile)),
        ]);
        self.object(fields)
    }

    fn quantile(&mut self, quantile: &ValueAtQuantile) -> Value {
        let (at, value) = (self.double(quantile.quantile), self.double(quantile.value));
        let fields = vec![
            ("quantile", self.implied(at, quantile.quantile.to_bits() == 0)),
            ("value", self.implied(value, quantile.value.to_bits() == 0)),
        ];
        self.object(fields)
    }
}
