//! Log records: templates with variables, correlated with spans.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

use super::{Generator, Made, RecordId, Rng, int, scope, text};

const RECORDS_PER_RESOURCE: usize = 10;

pub(super) fn request(generator: &mut Generator, now_unix_nano: u64, count: usize) -> Made<ExportLogsServiceRequest> {
    let mut ids = Vec::with_capacity(count);
    let mut resource_logs = Vec::new();
    while ids.len() < count {
        let resource = generator.pick_resource();
        let want = RECORDS_PER_RESOURCE.min(count - ids.len());
        let log_records: Vec<LogRecord> = (0..want).map(|_| record(&mut generator.rng, now_unix_nano)).collect();
        ids.extend(log_records.iter().map(|record| RecordId::Span(record.span_id.as_slice().try_into().unwrap_or_default())));
        let scope_logs = vec![ScopeLogs { scope: Some(scope("shop.log")), log_records, ..ScopeLogs::default() }];
        resource_logs.push(ResourceLogs { resource: Some(resource), scope_logs, ..ResourceLogs::default() });
    }
    Made { request: ExportLogsServiceRequest { resource_logs }, ids }
}

fn record(rng: &mut Rng, now_unix_nano: u64) -> LogRecord {
    let (severity_number, severity_text, body) = match rng.below(10) {
        0 => (17, "ERROR", format!("payment {} declined by gateway after {} ms", rng.below(1 << 30), rng.below(3000))),
        1 | 2 => (13, "WARN", format!("retrying request to inventory, attempt {}", 1 + rng.below(4))),
        3..=6 => (
            9,
            "INFO",
            format!("order {} accepted for user u-{:06} with {} items", rng.below(1 << 30), rng.below(20_000), 1 + rng.below(9)),
        ),
        _ => (5, "DEBUG", format!("cache lookup key=product:{} took {} us", rng.below(100_000), rng.below(900))),
    };
    let time = now_unix_nano.saturating_sub(rng.below(400_000_000));
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time + rng.below(2_000_000),
        severity_number,
        severity_text: severity_text.to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
        attributes: vec![
            text("code.namespace", "io.shop.orders"),
            text("code.function", ["accept", "lookup", "charge"][rng.below(3) as usize]),
            int("code.lineno", 10 + rng.below(400) as i64),
            text("thread.name", &format!("worker-{}", rng.below(16))),
        ],
        flags: 1,
        trace_id: rng.id::<16>().to_vec(),
        span_id: rng.id::<8>().to_vec(),
        ..LogRecord::default()
    }
}
