//! `otel_logs`.

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;

use super::sheet::Sheet;
use super::{LogRow, hex, log_time, service_name};

pub(super) fn build(rows: &[LogRow<'_>]) -> Result<RecordBatch, ArrowError> {
    let mut sheet = Sheet::new(rows);
    sheet.times("Timestamp", |r| log_time(r.of, r.at));
    sheet.texts("TraceId", |r| hex(r.of.trace_id(r.at)));
    sheet.texts("SpanId", |r| hex(r.of.span_id(r.at)));
    // The low byte holds the W3C trace flags; OTLP reserves the rest.
    sheet.u8s("TraceFlags", |r| (r.of.flags(r.at) & 0xff) as u8);
    sheet.texts("SeverityText", |r| r.of.severity_text(r.at));
    sheet.u8s("SeverityNumber", |r| u8::try_from(r.of.severity_number(r.at).max(0)).unwrap_or(u8::MAX));
    sheet.texts("ServiceName", |r| service_name(r.of.resource(r.at)));
    sheet.texts("Body", |r| r.of.body(r.at).map(|body| body.to_text()).unwrap_or_default());
    sheet.texts("ResourceSchemaUrl", |r| r.of.resource(r.at).schema_url());
    sheet.attributes("ResourceAttributes", |r| r.of.resource(r.at).attrs())?;
    sheet.texts("ScopeSchemaUrl", |r| r.of.scope(r.at).schema_url());
    sheet.texts("ScopeName", |r| r.of.scope(r.at).name());
    sheet.texts("ScopeVersion", |r| r.of.scope(r.at).version());
    sheet.attributes("ScopeAttributes", |r| r.of.scope(r.at).attrs())?;
    sheet.attributes("LogAttributes", |r| r.of.attrs(r.at))?;
    sheet.texts("EventName", |r| r.of.event_name(r.at));
    sheet.finish()
}
