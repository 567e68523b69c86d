//! One record of a batch, whatever its signal: what a filter asks of it, and how it is written as JSON.
//!
//! | Key | Of | Value |
//! |---|---|---|
//! | `signal`, `time`, `service`, `attributes`, `resource`, `scope` | all | `time` is RFC 3339 in UTC, of a span its start; null if unknown |
//! | `severity`, `body`, `event`, `trace_id`, `span_id` | logs | |
//! | `name`, `kind`, `duration_ns`, `status`, `status_message`, `trace_id`, `span_id`, `parent_span_id` | traces | |
//! | `name`, `type`, `unit`, `value` or `count` and `sum` | metrics | |
//!
//! Attributes keep their types where JSON has them; bytes are base64, lists and maps are JSON, a number that is not finite is text. Of
//! equal keys the last is shown.

use federation_proto::columns::{AttrIter, Columns, Logs, Number, PointKind, Points, ResourceRef, Spans, Value};
use serde_json::{Map, Value as Json, json};

use crate::civil::rfc3339;

/// A record in its columns.
#[derive(Clone, Copy)]
pub enum Row<'a> {
    /// A span.
    Span(&'a Spans, usize),
    /// A log record.
    Log(&'a Logs, usize),
    /// A data point.
    Point(&'a Points, usize),
}

impl<'a> Row<'a> {
    /// The record at `row`, which is below `columns.rows()`.
    #[must_use]
    pub fn of(columns: &'a Columns, row: usize) -> Self {
        match columns {
            Columns::Traces(spans) => Self::Span(spans, row),
            Columns::Logs(logs) => Self::Log(logs, row),
            Columns::Metrics(points) => Self::Point(points, row),
        }
    }

    /// Its attributes.
    #[must_use]
    pub fn attrs(&self) -> AttrIter<'a> {
        match *self {
            Self::Span(spans, row) => spans.attrs(row),
            Self::Log(logs, row) => logs.attrs(row),
            Self::Point(points, row) => points.attrs(row),
        }
    }

    /// Its resource.
    #[must_use]
    pub fn resource(&self) -> ResourceRef<'a> {
        match *self {
            Self::Span(spans, row) => spans.resource(row),
            Self::Log(logs, row) => logs.resource(row),
            Self::Point(points, row) => points.resource(row),
        }
    }

    /// Name of the span, the metric, or the event that a log record is.
    #[must_use]
    pub fn name(&self) -> &'a str {
        match *self {
            Self::Span(spans, row) => spans.name(row),
            Self::Log(logs, row) => logs.event_name(row),
            Self::Point(points, row) => points.metric(row).name(),
        }
    }

    /// Severity of a log record as its source wrote it, or the name of its number.
    #[must_use]
    pub fn severity(&self) -> &'a str {
        match *self {
            Self::Log(logs, row) => match logs.severity_text(row) {
                "" => severity_name(logs.severity_number(row)),
                text => text,
            },
            Self::Span(..) | Self::Point(..) => "",
        }
    }

    /// Trace id in hex; empty if it has none.
    #[must_use]
    pub fn trace_id(&self) -> String {
        match *self {
            Self::Span(spans, row) => hex(spans.trace_id(row)),
            Self::Log(logs, row) => hex(logs.trace_id(row)),
            Self::Point(..) => String::new(),
        }
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut json = match *self {
            Self::Span(spans, row) => span(spans, row),
            Self::Log(logs, row) => log(self, logs, row),
            Self::Point(points, row) => point(points, row),
        };
        let resource = self.resource();
        json["service"] = resource.attr("service.name").map_or(Json::Null, |name| Json::String(name.to_text()));
        json["attributes"] = attributes(self.attrs());
        json["resource"] = attributes(resource.attrs());
        json["scope"] = Json::String(
            match *self {
                Self::Span(spans, row) => spans.scope(row),
                Self::Log(logs, row) => logs.scope(row),
                Self::Point(points, row) => points.scope(row),
            }
            .name()
            .to_owned(),
        );
        json
    }
}

fn time(unix_nano: u64) -> Json {
    if unix_nano == 0 { Json::Null } else { Json::String(rfc3339(unix_nano)) }
}

fn span(spans: &Spans, row: usize) -> Json {
    let (code, message) = spans.status(row).map_or((0, ""), |status| (status.code, status.message));
    json!({
        "signal": "traces",
        "time": time(spans.start_time(row)),
        "name": spans.name(row),
        "kind": span_kind(spans.kind(row)),
        "duration_ns": spans.end_time(row).saturating_sub(spans.start_time(row)),
        "status": match code { 0 => "UNSET", 1 => "OK", 2 => "ERROR", _ => "UNKNOWN" },
        "status_message": message,
        "trace_id": hex(spans.trace_id(row)),
        "span_id": hex(spans.span_id(row)),
        "parent_span_id": hex(spans.parent_span_id(row)),
    })
}

fn log(of: &Row<'_>, logs: &Logs, row: usize) -> Json {
    let happened = if logs.time(row) == 0 { logs.observed_time(row) } else { logs.time(row) };
    json!({
        "signal": "logs",
        "time": time(happened),
        "severity": of.severity(),
        "body": logs.body(row).map_or(Json::Null, value),
        "event": logs.event_name(row),
        "trace_id": hex(logs.trace_id(row)),
        "span_id": hex(logs.span_id(row)),
    })
}

fn point(points: &Points, row: usize) -> Json {
    let metric = points.metric(row);
    let kind = match metric.kind() {
        PointKind::Gauge => "gauge",
        PointKind::Sum => "sum",
        PointKind::Histogram => "histogram",
        PointKind::ExponentialHistogram => "exponential_histogram",
        PointKind::Summary => "summary",
    };
    let mut json = json!({
        "signal": "metrics",
        "time": time(points.time(row)),
        "name": metric.name(),
        "type": kind,
        "unit": metric.unit(),
    });
    match metric.kind() {
        PointKind::Gauge | PointKind::Sum => {
            json["value"] = match points.number(row) {
                Some(Number::Int(number)) => number.into(),
                Some(Number::Double(number)) => double(number),
                None => Json::Null,
            };
        }
        PointKind::Histogram | PointKind::ExponentialHistogram | PointKind::Summary => {
            json["count"] = points.count(row).into();
            json["sum"] = points.sum(row).map_or(Json::Null, double);
        }
    }
    json
}

fn attributes(attrs: AttrIter<'_>) -> Json {
    Json::Object(attrs.map(|(key, found)| (key.to_owned(), value(found))).collect::<Map<_, _>>())
}

fn value(of: Value<'_>) -> Json {
    match of {
        Value::Empty => Json::Null,
        Value::Bool(flag) => flag.into(),
        Value::Int(number) => number.into(),
        Value::Double(number) => double(number),
        Value::Str(text) => text.into(),
        Value::Bytes(_) => of.to_text().into(),
        Value::Nested(_) => {
            let text = of.to_text();
            serde_json::from_str(&text).unwrap_or(Json::String(text))
        }
    }
}

fn double(number: f64) -> Json {
    serde_json::Number::from_f64(number).map_or_else(|| Json::String(number.to_string()), Json::Number)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn span_kind(kind: i32) -> &'static str {
    match kind {
        1 => "INTERNAL",
        2 => "SERVER",
        3 => "CLIENT",
        4 => "PRODUCER",
        5 => "CONSUMER",
        _ => "UNSPECIFIED",
    }
}

/// The short name of a SeverityNumber's range; source: OpenTelemetry's logs data model, "Field: SeverityNumber".
fn severity_name(number: i32) -> &'static str {
    match number {
        1..=4 => "TRACE",
        5..=8 => "DEBUG",
        9..=12 => "INFO",
        13..=16 => "WARN",
        17..=20 => "ERROR",
        21..=24 => "FATAL",
        _ => "",
    }
}
