"""Exports traces, logs and metrics with the OpenTelemetry Python SDK, over OTLP/gRPC and OTLP/HTTP, and writes down what it exported.

usage: send.py GRPC_ENDPOINT HTTP_ENDPOINT TOKEN EXPECTED.json

The expectation is made from the SDK's own objects, as they pass to the SDK's own exporters, in the words of the OpenTelemetry
ClickHouse exporter's tables; nothing of it comes from Tributary.
"""

import base64
import json
import sys

from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

ROWS = {}


def row(table, **columns):
    ROWS.setdefault(table, []).append(columns)


def text(value):
    """An attribute's value as the ClickHouse exporter writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (list, tuple)):
        return json.dumps(list(value), separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return str(value)


def texts(attributes):
    return {key: text(value) for key, value in (attributes or {}).items()}


def common(resource, scope):
    return {
        "ServiceName": resource.attributes["service.name"],
        "ResourceAttributes": texts(resource.attributes),
        "ScopeName": scope.name,
        "ScopeVersion": scope.version or "",
    }


def tee(exporter, note):
    """The SDK's exporter, noting what passes."""
    export = exporter.export

    def noting(batch, *args, **kwargs):
        result = export(batch, *args, **kwargs)
        assert result.name == "SUCCESS", f"{exporter}: {result}"
        note(batch)
        return result

    exporter.export = noting
    return exporter


def note_spans(spans):
    for span in spans:
        context = span.get_span_context()
        row(
            "otel_traces",
            **common(span.resource, span.instrumentation_scope),
            Timestamp=span.start_time,
            TraceId=f"{context.trace_id:032x}",
            SpanId=f"{context.span_id:016x}",
            ParentSpanId=f"{span.parent.span_id:016x}" if span.parent else "",
            TraceState=context.trace_state.to_header(),
            SpanName=span.name,
            SpanKind=span.kind.name.capitalize(),
            SpanAttributes=texts(span.attributes),
            Duration=span.end_time - span.start_time,
            StatusCode=span.status.status_code.name.capitalize(),
            StatusMessage=span.status.description or "",
            **{
                "Events.Timestamp": [event.timestamp for event in span.events],
                "Events.Name": [event.name for event in span.events],
                "Events.Attributes": [texts(event.attributes) for event in span.events],
                "Links.TraceId": [f"{link.context.trace_id:032x}" for link in span.links],
                "Links.SpanId": [f"{link.context.span_id:016x}" for link in span.links],
                "Links.TraceState": [link.context.trace_state.to_header() for link in span.links],
                "Links.Attributes": [texts(link.attributes) for link in span.links],
            },
        )


def note_logs(records):
    for readable in records:
        record = readable.log_record
        row(
            "otel_logs",
            **common(readable.resource, readable.instrumentation_scope),
            Timestamp=record.timestamp or record.observed_timestamp,
            TraceId=f"{record.trace_id:032x}" if record.trace_id else "",
            SpanId=f"{record.span_id:016x}" if record.span_id else "",
            TraceFlags=int(record.trace_flags or 0),
            SeverityText=record.severity_text or "",
            SeverityNumber=record.severity_number.value if record.severity_number else 0,
            Body=text(record.body),
            LogAttributes=texts(record.attributes),
            EventName=record.event_name or "",
        )


def note_metrics(data):
    for resource_metrics in data.resource_metrics:
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                for point in metric.data.data_points:
                    note_point(common(resource_metrics.resource, scope_metrics.scope), metric, point)


def note_point(base, metric, point):
    kind = type(metric.data).__name__
    base |= {
        "MetricName": metric.name,
        "MetricDescription": metric.description or "",
        "MetricUnit": metric.unit or "",
        "Attributes": texts(point.attributes),
        "StartTimeUnix": point.start_time_unix_nano or 0,
        "TimeUnix": point.time_unix_nano,
    }
    if kind == "Gauge":
        return row("otel_metrics_gauge", **base, Value=float(point.value))
    base["AggregationTemporality"] = int(metric.data.aggregation_temporality)
    if kind == "Sum":
        return row("otel_metrics_sum", **base, Value=float(point.value), IsMonotonic=metric.data.is_monotonic)
    base |= {"Count": point.count, "Sum": float(point.sum), "Min": float(point.min), "Max": float(point.max)}
    if kind == "Histogram":
        return row(
            "otel_metrics_histogram",
            **base,
            BucketCounts=list(point.bucket_counts),
            ExplicitBounds=[float(bound) for bound in point.explicit_bounds],
        )
    assert kind == "ExponentialHistogram", kind
    row(
        "otel_metrics_exponential_histogram",
        **base,
        Scale=point.scale,
        ZeroCount=point.zero_count,
        PositiveOffset=point.positive.offset,
        PositiveBucketCounts=list(point.positive.bucket_counts),
        NegativeOffset=point.negative.offset,
        NegativeBucketCounts=list(point.negative.bucket_counts),
    )


def send_spans(provider):
    tracer = provider.get_tracer("interop.tracer", "1.2.3")
    elsewhere = SpanContext(trace_id=0xABC << 64 | 7, span_id=0xDEF, is_remote=True, trace_flags=TraceFlags(1))
    for n in range(40):
        with tracer.start_as_current_span(f"GET /orders/{n % 4}", kind=SpanKind.SERVER) as parent:
            parent.set_attributes({"http.route": "/orders/{id}", "http.response.status_code": 200 + n, "cached": n % 2 == 0, "ratio": n + 0.5})
            parent.set_attribute("tags", ["a", "b\"c", "ü"])
            parent.set_attribute("sizes", [1, 2, n])
            with tracer.start_as_current_span("SELECT orders", kind=SpanKind.CLIENT, links=[Link(elsewhere, {"why": "retry"})]) as child:
                child.set_attribute("db.system.name", "postgresql")
                child.add_event("row fetched", {"row": n, "empty": ""})
                child.add_event("done")
                if n % 5 == 0:
                    child.set_status(Status(StatusCode.ERROR, f"timeout {n}"))
    tracer.start_span("no attributes at all").end()


def send_logs(provider):
    logger = provider.get_logger("interop.logger", "0.1")
    for n in range(30):
        logger.emit(
            timestamp=1_790_000_000_000_000_000 + n,
            observed_timestamp=1_790_000_000_000_000_999,
            severity_number=SeverityNumber.WARN if n % 3 else SeverityNumber.ERROR3,
            severity_text="WARN" if n % 3 else "ERROR3",
            body=f"order {n} was declined: \u2603",
            attributes={"n": n, "flag": True, "list": [1.5, 2.5], "raw": b"\x00\xff\x10"},
            event_name="order.declined" if n % 2 else None,
        )
    logger.emit(observed_timestamp=1_790_000_000_000_000_001, body={"nested": {"k": [1, "two"]}, "a": "b"})


def send_metrics(provider):
    meter = provider.get_meter("interop.meter", "9")
    requests = meter.create_counter("requests", unit="{request}", description="requests served")
    depth = meter.create_up_down_counter("depth", unit="1")
    level = meter.create_gauge("level", unit="m")
    latency = meter.create_histogram("latency", unit="s", explicit_bucket_boundaries_advisory=[0.1, 0.5, 1.0])
    size = meter.create_histogram("size.exp", unit="By")
    for n in range(60):
        attributes = {"route": f"/r{n % 3}"}
        requests.add(n, attributes)
        depth.add(1 if n % 3 else -2, attributes)
        level.set(n * 0.25, attributes)
        latency.record(n / 32, attributes)
        size.record(n * 128 - 256, attributes)


def main(grpc, http, token, expected):
    bearer = {"authorization": f"Bearer {token}"}
    transports = [
        ("interop-grpc", dict(endpoint=grpc, insecure=True, headers=bearer), GrpcSpans, GrpcLogs, GrpcMetrics, ["", "", ""]),
        ("interop-http", dict(headers=bearer, compression=Compression.Gzip), HttpSpans, HttpLogs, HttpMetrics, ["traces", "logs", "metrics"]),
    ]
    for service, options, spans, logs, metrics, paths in transports:
        resource = Resource.create({"service.name": service, "service.version": "4.5.6", "host.cpus": 8})
        at = [options | ({"endpoint": f"{http}/v1/{path}"} if path else {}) for path in paths]

        tracers = TracerProvider(resource=resource)
        tracers.add_span_processor(BatchSpanProcessor(tee(spans(**at[0]), note_spans)))
        send_spans(tracers)
        loggers = LoggerProvider(resource=resource)
        loggers.add_log_record_processor(BatchLogRecordProcessor(tee(logs(**at[1]), note_logs)))
        send_logs(loggers)
        reader = PeriodicExportingMetricReader(tee(metrics(**at[2]), note_metrics), export_interval_millis=3_600_000)
        exponential = View(instrument_name="size.exp", aggregation=ExponentialBucketHistogramAggregation())
        meters = MeterProvider(resource=resource, metric_readers=[reader], views=[exponential])
        send_metrics(meters)
        for provider in (tracers, loggers, meters):
            provider.force_flush()
            provider.shutdown()
    json.dump(ROWS, open(expected, "w"))
    print({table: len(rows) for table, rows in ROWS.items()})


main(*sys.argv[1:])
