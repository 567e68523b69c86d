//! `otel_traces`.

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;

use super::sheet::Sheet;
use super::{SpanRow, hex, service_name};

pub(super) fn build(rows: &[SpanRow<'_>]) -> Result<RecordBatch, ArrowError> {
    let mut sheet = Sheet::new(rows);
    sheet.times("Timestamp", |r| r.of.start_time(r.at));
    sheet.texts("TraceId", |r| hex(r.of.trace_id(r.at)));
    sheet.texts("SpanId", |r| hex(r.of.span_id(r.at)));
    sheet.texts("ParentSpanId", |r| hex(r.of.parent_span_id(r.at)));
    sheet.texts("TraceState", |r| r.of.trace_state(r.at));
    sheet.texts("SpanName", |r| r.of.name(r.at));
    sheet.texts("SpanKind", |r| span_kind(r.of.kind(r.at)));
    sheet.texts("ServiceName", |r| service_name(r.of.resource(r.at)));
    sheet.attributes("ResourceAttributes", |r| r.of.resource(r.at).attrs())?;
    sheet.texts("ScopeName", |r| r.of.scope(r.at).name());
    sheet.texts("ScopeVersion", |r| r.of.scope(r.at).version());
    sheet.attributes("SpanAttributes", |r| r.of.attrs(r.at))?;
    sheet.u64s("Duration", |r| r.of.end_time(r.at).saturating_sub(r.of.start_time(r.at)));
    sheet.texts("StatusCode", |r| status_code(r.of.status(r.at).map_or(0, |status| status.code)));
    sheet.texts("StatusMessage", |r| r.of.status(r.at).map_or("", |status| status.message));
    sheet.time_lists("Events.Timestamp", |r| r.of.events(r.at).map(|event| event.time()));
    sheet.text_lists("Events.Name", |r| r.of.events(r.at).map(|event| event.name()));
    sheet.attribute_lists("Events.Attributes", |r| r.of.events(r.at).map(|event| event.attrs()))?;
    sheet.text_lists("Links.TraceId", |r| r.of.links(r.at).map(|link| hex(link.trace_id())));
    sheet.text_lists("Links.SpanId", |r| r.of.links(r.at).map(|link| hex(link.span_id())));
    sheet.text_lists("Links.TraceState", |r| r.of.links(r.at).map(|link| link.trace_state()));
    sheet.attribute_lists("Links.Attributes", |r| r.of.links(r.at).map(|link| link.attrs()))?;
    sheet.finish()
}

fn span_kind(kind: i32) -> std::borrow::Cow<'static, str> {
    match kind {
        0 => "Unspecified".into(),
        1 => "Internal".into(),
        2 => "Server".into(),
        3 => "Client".into(),
        4 => "Producer".into(),
        5 => "Consumer".into(),
        other => other.to_string().into(),
    }
}

fn status_code(code: i32) -> std::borrow::Cow<'static, str> {
    match code {
        0 => "Unset".into(),
        1 => "Ok".into(),
        2 => "Error".into(),
        other => other.to_string().into(),
    }
}
