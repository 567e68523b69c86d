//! The declarations themselves, as in the .proto files: add a field of a later OTLP here, and scan and JSON know it.

use super::Form::{
    Bool, Bytes, Double, Enum, FallbackTime, Fixed32, Fixed64, Id, Int32, Int64, Message, Sfixed64, Sint32, Str, Time, Uint32, Uint64,
};
use super::{Decl, Form, Label, Msg};

/// The fields of each message.
pub(super) const fn fields(msg: Msg) -> &'static [Decl] {
    match msg {
        Msg::TracesRequest => TRACES_REQUEST,
        Msg::LogsRequest => LOGS_REQUEST,
        Msg::MetricsRequest => METRICS_REQUEST,
        Msg::ResourceSpans => RESOURCE_SPANS,
        Msg::ResourceLogs => RESOURCE_LOGS,
        Msg::ResourceMetrics => RESOURCE_METRICS,
        Msg::ScopeSpans => SCOPE_SPANS,
        Msg::ScopeLogs => SCOPE_LOGS,
        Msg::ScopeMetrics => SCOPE_METRICS,
        Msg::Resource => RESOURCE,
        Msg::Scope => SCOPE,
        Msg::EntityRef => ENTITY_REF,
        Msg::KeyValue => KEY_VALUE,
        Msg::AnyValue => ANY_VALUE,
        Msg::Array => ARRAY,
        Msg::KeyValueList => KEY_VALUE_LIST,
        Msg::Span => SPAN,
        Msg::Event => EVENT,
        Msg::Link => LINK,
        Msg::Status => STATUS,
        Msg::LogRecord => LOG_RECORD,
        Msg::Metric => METRIC,
        Msg::Gauge => GAUGE,
        Msg::Sum => SUM,
        Msg::Histogram => HISTOGRAM,
        Msg::ExpHistogram => EXP_HISTOGRAM,
        Msg::Summary => SUMMARY,
        Msg::NumberPoint => NUMBER_POINT,
        Msg::HistogramPoint => HISTOGRAM_POINT,
        Msg::ExpHistogramPoint => EXP_HISTOGRAM_POINT,
        Msg::SummaryPoint => SUMMARY_POINT,
        Msg::Buckets => BUCKETS,
        Msg::Quantile => QUANTILE,
        Msg::Exemplar => EXEMPLAR,
    }
}

const fn one(number: u32, name: &'static str, form: Form) -> Decl {
    Decl { number, name, form, label: Label::One }
}

const fn optional(number: u32, name: &'static str, form: Form) -> Decl {
    Decl { number, name, form, label: Label::Optional }
}

const fn either(number: u32, name: &'static str, form: Form) -> Decl {
    Decl { number, name, form, label: Label::Either }
}

const fn many(number: u32, name: &'static str, form: Form) -> Decl {
    Decl { number, name, form, label: Label::Many }
}

const TRACES_REQUEST: &[Decl] = &[many(1, "resourceSpans", Message(Msg::ResourceSpans))];

const LOGS_REQUEST: &[Decl] = &[many(1, "resourceLogs", Message(Msg::ResourceLogs))];

const METRICS_REQUEST: &[Decl] = &[many(1, "resourceMetrics", Message(Msg::ResourceMetrics))];

const RESOURCE_SPANS: &[Decl] =
    &[one(1, "resource", Message(Msg::Resource)), many(2, "scopeSpans", Message(Msg::ScopeSpans)), one(3, "schemaUrl", Str)];

const RESOURCE_LOGS: &[Decl] =
    &[one(1, "resource", Message(Msg::Resource)), many(2, "scopeLogs", Message(Msg::ScopeLogs)), one(3, "schemaUrl", Str)];

const RESOURCE_METRICS: &[Decl] =
    &[one(1, "resource", Message(Msg::Resource)), many(2, "scopeMetrics", Message(Msg::ScopeMetrics)), one(3, "schemaUrl", Str)];

const SCOPE_SPANS: &[Decl] = &[one(1, "scope", Message(Msg::Scope)), many(2, "spans", Message(Msg::Span)), one(3, "schemaUrl", Str)];

const SCOPE_LOGS: &[Decl] =
    &[one(1, "scope", Message(Msg::Scope)), many(2, "logRecords", Message(Msg::LogRecord)), one(3, "schemaUrl", Str)];

const SCOPE_METRICS: &[Decl] = &[one(1, "scope", Message(Msg::Scope)), many(2, "metrics", Message(Msg::Metric)), one(3, "schemaUrl", Str)];

const RESOURCE: &[Decl] = &[
    many(1, "attributes", Message(Msg::KeyValue)),
    one(2, "droppedAttributesCount", Uint32),
    many(3, "entityRefs", Message(Msg::EntityRef)),
];

const SCOPE: &[Decl] =
    &[one(1, "name", Str), one(2, "version", Str), many(3, "attributes", Message(Msg::KeyValue)), one(4, "droppedAttributesCount", Uint32)];

const ENTITY_REF: &[Decl] = &[one(1, "schemaUrl", Str), one(2, "type", Str), many(3, "idKeys", Str), many(4, "descriptionKeys", Str)];

const KEY_VALUE: &[Decl] = &[one(1, "key", Str), one(2, "value", Message(Msg::AnyValue)), one(3, "keyStrindex", Int32)];

const ANY_VALUE: &[Decl] = &[
    either(1, "stringValue", Str),
    either(2, "boolValue", Bool),
    either(3, "intValue", Int64),
    either(4, "doubleValue", Double),
    either(5, "arrayValue", Message(Msg::Array)),
    either(6, "kvlistValue", Message(Msg::KeyValueList)),
    either(7, "bytesValue", Bytes),
    either(8, "stringValueStrindex", Int32),
];

const ARRAY: &[Decl] = &[many(1, "values", Message(Msg::AnyValue))];

const KEY_VALUE_LIST: &[Decl] = &[many(1, "values", Message(Msg::KeyValue))];

const SPAN: &[Decl] = &[
    one(1, "traceId", Id),
    one(2, "spanId", Id),
    one(3, "traceState", Str),
    one(4, "parentSpanId", Id),
    one(5, "name", Str),
    one(6, "kind", Enum),
    one(7, "startTimeUnixNano", Time),
    one(8, "endTimeUnixNano", Fixed64),
    many(9, "attributes", Message(Msg::KeyValue)),
    one(10, "droppedAttributesCount", Uint32),
    many(11, "events", Message(Msg::Event)),
    one(12, "droppedEventsCount", Uint32),
    many(13, "links", Message(Msg::Link)),
    one(14, "droppedLinksCount", Uint32),
    one(15, "status", Message(Msg::Status)),
    one(16, "flags", Fixed32),
];

const EVENT: &[Decl] = &[
    one(1, "timeUnixNano", Fixed64),
    one(2, "name", Str),
    many(3, "attributes", Message(Msg::KeyValue)),
    one(4, "droppedAttributesCount", Uint32),
];

const LINK: &[Decl] = &[
    one(1, "traceId", Id),
    one(2, "spanId", Id),
    one(3, "traceState", Str),
    many(4, "attributes", Message(Msg::KeyValue)),
    one(5, "droppedAttributesCount", Uint32),
    one(6, "flags", Fixed32),
];

const STATUS: &[Decl] = &[one(2, "message", Str), one(3, "code", Enum)];

const LOG_RECORD: &[Decl] = &[
    one(1, "timeUnixNano", Time),
    one(2, "severityNumber", Enum),
    one(3, "severityText", Str),
    one(5, "body", Message(Msg::AnyValue)),
    many(6, "attributes", Message(Msg::KeyValue)),
    one(7, "droppedAttributesCount", Uint32),
    one(8, "flags", Fixed32),
    one(9, "traceId", Id),
    one(10, "spanId", Id),
    one(11, "observedTimeUnixNano", FallbackTime),
    one(12, "eventName", Str),
];

const METRIC: &[Decl] = &[
    one(1, "name", Str),
    one(2, "description", Str),
    one(3, "unit", Str),
    either(5, "gauge", Message(Msg::Gauge)),
    either(7, "sum", Message(Msg::Sum)),
    either(9, "histogram", Message(Msg::Histogram)),
    either(10, "exponentialHistogram", Message(Msg::ExpHistogram)),
    either(11, "summary", Message(Msg::Summary)),
    many(12, "metadata", Message(Msg::KeyValue)),
];

const GAUGE: &[Decl] = &[many(1, "dataPoints", Message(Msg::NumberPoint))];

const SUM: &[Decl] =
    &[many(1, "dataPoints", Message(Msg::NumberPoint)), one(2, "aggregationTemporality", Enum), one(3, "isMonotonic", Bool)];

const HISTOGRAM: &[Decl] = &[many(1, "dataPoints", Message(Msg::HistogramPoint)), one(2, "aggregationTemporality", Enum)];

const EXP_HISTOGRAM: &[Decl] = &[many(1, "dataPoints", Message(Msg::ExpHistogramPoint)), one(2, "aggregationTemporality", Enum)];

const SUMMARY: &[Decl] = &[many(1, "dataPoints", Message(Msg::SummaryPoint))];

const NUMBER_POINT: &[Decl] = &[
    one(2, "startTimeUnixNano", Fixed64),
    one(3, "timeUnixNano", Time),
    either(4, "asDouble", Double),
    many(5, "exemplars", Message(Msg::Exemplar)),
    either(6, "asInt", Sfixed64),
    many(7, "attributes", Message(Msg::KeyValue)),
    one(8, "flags", Uint32),
];

const HISTOGRAM_POINT: &[Decl] = &[
    one(2, "startTimeUnixNano", Fixed64),
    one(3, "timeUnixNano", Time),
    one(4, "count", Fixed64),
    optional(5, "sum", Double),
    many(6, "bucketCounts", Fixed64),
    many(7, "explicitBounds", Double),
    many(8, "exemplars", Message(Msg::Exemplar)),
    many(9, "attributes", Message(Msg::KeyValue)),
    one(10, "flags", Uint32),
    optional(11, "min", Double),
    optional(12, "max", Double),
];

const EXP_HISTOGRAM_POINT: &[Decl] = &[
    many(1, "attributes", Message(Msg::KeyValue)),
    one(2, "startTimeUnixNano", Fixed64),
    one(3, "timeUnixNano", Time),
    one(4, "count", Fixed64),
    optional(5, "sum", Double),
    one(6, "scale", Sint32),
    one(7, "zeroCount", Fixed64),
    one(8, "positive", Message(Msg::Buckets)),
    one(9, "negative", Message(Msg::Buckets)),
    one(10, "flags", Uint32),
    many(11, "exemplars", Message(Msg::Exemplar)),
    optional(12, "min", Double),
    optional(13, "max", Double),
    one(14, "zeroThreshold", Double),
];

const SUMMARY_POINT: &[Decl] = &[
    one(2, "startTimeUnixNano", Fixed64),
    one(3, "timeUnixNano", Time),
    one(4, "count", Fixed64),
    one(5, "sum", Double),
    many(6, "quantileValues", Message(Msg::Quantile)),
    many(7, "attributes", Message(Msg::KeyValue)),
    one(8, "flags", Uint32),
];

const BUCKETS: &[Decl] = &[one(1, "offset", Sint32), many(2, "bucketCounts", Uint64)];

const QUANTILE: &[Decl] = &[one(1, "quantile", Double), one(2, "value", Double)];

const EXEMPLAR: &[Decl] = &[
    one(2, "timeUnixNano", Fixed64),
    either(3, "asDouble", Double),
    one(4, "spanId", Id),
    one(5, "traceId", Id),
    either(6, "asInt", Sfixed64),
    many(7, "filteredAttributes", Message(Msg::KeyValue)),
];
