//! Seeded telemetry like that of a shop of 50 services: about 12 attributes and 590 OTLP bytes a span, templated logs, counters and gauges.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::rng::Rng;

const SERVICES: usize = 50;
const PODS: usize = 3;
const NOUNS: [&str; 12] =
    ["orders", "users", "carts", "items", "payments", "invoices", "sessions", "products", "reviews", "shipments", "quotes", "ads"];
const EPOCH: u64 = 1_780_000_000_000_000_000;

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(Value::StringValue(value.into())) }), key_strindex: 0 }
}

fn int(key: &str, value: i64) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(Value::IntValue(value)) }), key_strindex: 0 }
}

fn scope(name: &str) -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: name.into(), version: "0.23.0".into(), ..InstrumentationScope::default() })
}

/// A generator whose requests follow one another in time.
pub struct Shop {
    rng: Rng,
    pods: Vec<Resource>,
    now: u64,
    counters: Vec<i64>,
}

impl Shop {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let pods = (0..SERVICES * PODS).map(|pod| resource(&mut rng, pod)).collect();
        Self { rng, pods, now: EPOCH, counters: vec![0; 4000] }
    }

    /// A positive number around 1, now and then much larger.
    fn around_one(&mut self) -> f64 {
        ((0..6).map(|_| self.rng.float()).sum::<f64>() - 3.0).mul_add(1.2, 0.0).exp()
    }

    fn uuid(&mut self) -> String {
        let (a, b) = (self.rng.next(), self.rng.next());
        format!("{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}", a >> 32, a >> 16 & 0xffff, a & 0xfff, b >> 52, b & 0xffff_ffff_ffff)
    }

    fn route(&self, service: usize, k: usize) -> (&'static str, String) {
        let noun = NOUNS[(service + k) % 12];
        let method = ["GET", "POST", "GET", "PUT", "GET", "DELETE", "GET", "POST"][k];
        let id = if k.is_multiple_of(2) { "/{id}" } else { "" };
        (method, format!("/api/v{}/{noun}{id}", 1 + k % 3))
    }

    fn http(&mut self, service: usize) -> (String, Vec<KeyValue>) {
        let k = self.rng.skewed(8);
        let (method, route) = self.route(service, k);
        let id = self.rng.below(200_000);
        let agent = self.rng.skewed(40);
        let mut attrs = vec![
            text("http.request.method", method),
            text("http.route", &route),
            text("url.path", route.replace("{id}", &id.to_string())),
            text("url.scheme", "https"),
            int("http.response.status_code", [200, 200, 200, 201, 204, 304, 400, 404, 500][self.rng.skewed(9)]),
            text("server.address", format!("svc-{service}.team-{}.svc.cluster.local", service % 7)),
            int("server.port", 8080),
            text("client.address", format!("10.{}.{}.{}", self.rng.below(4), self.rng.skewed(64), self.rng.below(250))),
            text(
                "user_agent.original",
                format!(
                    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.{} (KHTML, like Gecko) Chrome/1{}.0.0.0 Safari/537.36",
                    agent % 7,
                    10 + agent
                ),
            ),
            text("network.protocol.version", "1.1"),
            int("http.request.body.size", (self.around_one() * 400.0) as i64),
            int("http.response.body.size", (self.around_one() * 3000.0) as i64),
        ];
        if self.rng.below(10) < 3 {
            attrs.push(text("http.request.header.x-request-id", self.uuid()));
        }
        (format!("{method} {route}"), attrs)
    }

    fn rpc(&mut self) -> (String, Vec<KeyValue>) {
        let service = self.rng.skewed(50);
        let method = ["Get", "List", "Create", "Update", "Check"][self.rng.skewed(5)];
        let attrs = vec![
            text("rpc.system", "grpc"),
            text("rpc.service", format!("shop.v1.Svc{service}")),
            text("rpc.method", method),
            int("rpc.grpc.status_code", [0, 0, 0, 0, 4, 14][self.rng.skewed(6)]),
            text("server.address", format!("svc-{service}.team-{}.svc.cluster.local", service % 7)),
            int("server.port", 9090),
            text("network.peer.address", format!("10.0.{}.{}", service % 8, self.rng.below(3) + service)),
            int("network.peer.port", 32768 + self.rng.below(28000) as i64),
            text("network.transport", "tcp"),
            int("thread.id", 20 + self.rng.below(64) as i64),
            text("thread.name", format!("grpc-worker-{}", self.rng.below(64))),
        ];
        (format!("shop.v1.Svc{service}/{method}"), attrs)
    }

    fn db(&mut self, service: usize) -> (String, Vec<KeyValue>) {
        let k = self.rng.skewed(120);
        let table = NOUNS[k % 12];
        let (verb, query) = match k % 3 {
            0 => (
                "SELECT",
                format!("SELECT id, name, price, created_at FROM {table} WHERE tenant_id = $1 AND col{k} = $2 LIMIT {}", 10 * (k % 5)),
            ),
            1 => ("INSERT", format!("INSERT INTO {table} (id, col{k}, payload) VALUES ($1, $2, $3)")),
            _ => ("UPDATE", format!("UPDATE {table} SET col{k} = $1, updated_at = now() WHERE id = $2")),
        };
        let attrs = vec![
            text("db.system.name", "postgresql"),
            text("db.namespace", format!("shop_{}", service % 6)),
            text("db.collection.name", table),
            text("db.operation.name", verb),
            text("db.query.text", query),
            text("server.address", format!("pg-{}.db.svc.cluster.local", service % 6)),
            int("server.port", 5432),
            int("db.response.returned_rows", self.rng.skewed(100) as i64),
            int("thread.id", 20 + self.rng.below(64) as i64),
            text("thread.name", format!("pool-1-thread-{}", self.rng.below(64))),
            text("network.peer.address", format!("10.9.0.{}", service % 6)),
            text("enduser.id", format!("u-{}", self.rng.skewed(30_000))),
        ];
        (format!("{verb} {table}"), attrs)
    }

    fn messaging(&mut self, service: usize) -> (String, Vec<KeyValue>) {
        let topic = self.rng.skewed(20);
        let offset = 10_000_000 + (self.now / 1_000_000 % 100_000_000) as i64 + self.rng.below(100) as i64;
        let attrs = vec![
            text("messaging.system", "kafka"),
            text("messaging.destination.name", format!("topic-{topic}")),
            text("messaging.operation.type", "process"),
            text("messaging.client.id", format!("consumer-{service}")),
            int("messaging.kafka.offset", offset),
            int("messaging.destination.partition.id", self.rng.below(24) as i64),
            text("messaging.consumer.group.name", format!("cg-{service}")),
            int("messaging.message.body.size", (self.around_one() * 900.0) as i64),
            text("server.address", format!("kafka-{}.kafka.svc.cluster.local", self.rng.below(3))),
            int("server.port", 9092),
            int("thread.id", 20 + self.rng.below(64) as i64),
        ];
        (format!("topic-{topic} process"), attrs)
    }

    /// Whole traces of 1 to 40 spans, `spans` in all.
    pub fn traces(&mut self, spans: usize) -> ExportTraceServiceRequest {
        let mut by_pod: Vec<Vec<Span>> = vec![Vec::new(); self.pods.len()];
        let mut made = 0;
        while made < spans {
            made += self.trace(spans - made, &mut by_pod);
        }
        let resource_spans = by_pod.into_iter().zip(&self.pods).filter(|(spans, _)| !spans.is_empty()).map(|(spans, pod)| ResourceSpans {
            resource: Some(pod.clone()),
            scope_spans: vec![ScopeSpans { scope: scope("go.opentelemetry.io/auto"), spans, schema_url: String::new() }],
            schema_url: String::new(),
        });
        ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
    }

    fn trace(&mut self, most: usize, by_pod: &mut [Vec<Span>]) -> usize {
        let trace_id = self.rng.bytes(16);
        let len = (1 + (self.around_one() * 6.0) as usize).min(40).min(most);
        self.now += (self.around_one() * 800_000.0) as u64;
        // Span id, start, duration and service of each span.
        let mut nodes: Vec<(Vec<u8>, u64, u64, usize)> = Vec::new();
        for index in 0..len {
            let (parent_span_id, start, duration, service) = if index == 0 {
                (Vec::new(), self.now, (self.around_one() * 40_000_000.0) as u64 + 50_000, self.rng.skewed(SERVICES))
            } else {
                let (id, start, duration, service) = nodes[self.rng.below(nodes.len())].clone();
                let start = start + (self.rng.float() * duration as f64 * 0.6) as u64;
                let duration = (duration as f64 * self.rng.float() * 0.4) as u64 + 3_000;
                (id, start, duration, (service + 1 + self.rng.skewed(4)) % SERVICES)
            };
            let kind = if index == 0 { 0 } else { [2, 1, 0, 3][self.rng.skewed(4)] };
            let (name, attributes) = match kind {
                0 => self.http(service),
                1 => self.rpc(),
                2 => self.db(service),
                _ => self.messaging(service),
            };
            let failed = self.rng.one_in(50);
            let events = if failed { vec![self.exception(start + duration / 2)] } else { Vec::new() };
            let span_id = self.rng.bytes(8);
            let pod = service * PODS + self.rng.below(PODS);
            by_pod[pod].push(Span {
                trace_id: trace_id.clone(),
                span_id: span_id.clone(),
                parent_span_id,
                name,
                kind: [2, 3, 3, 5][kind],
                start_time_unix_nano: start,
                end_time_unix_nano: start + duration,
                attributes,
                events,
                status: Some(Status { code: if failed { 2 } else { 0 }, message: String::new() }),
                flags: 257,
                ..Span::default()
            });
            nodes.push((span_id, start, duration, service));
        }
        len
    }

    fn exception(&mut self, time_unix_nano: u64) -> Event {
        let kinds = ["java.net.SocketTimeoutException", "io.grpc.StatusRuntimeException", "TimeoutError"];
        let attributes = vec![
            text("exception.type", *self.rng.pick(&kinds)),
            text("exception.message", format!("deadline exceeded after {}ms", self.rng.below(5000))),
        ];
        Event { time_unix_nano, name: "exception".into(), attributes, dropped_attributes_count: 0 }
    }

    /// Lines from 100 templates; four in ten within a trace.
    pub fn logs(&mut self, records: usize) -> ExportLogsServiceRequest {
        let mut by_pod: Vec<Vec<LogRecord>> = vec![Vec::new(); self.pods.len()];
        for _ in 0..records {
            self.now += (self.around_one() * 100_000.0) as u64;
            let pod = self.rng.skewed(self.pods.len());
            let record = self.log(pod);
            by_pod[pod].push(record);
        }
        let resource_logs =
            by_pod.into_iter().zip(&self.pods).filter(|(logs, _)| !logs.is_empty()).map(|(log_records, pod)| ResourceLogs {
                resource: Some(pod.clone()),
                scope_logs: vec![ScopeLogs { scope: scope("filelog"), log_records, schema_url: String::new() }],
                schema_url: String::new(),
            });
        ExportLogsServiceRequest { resource_logs: resource_logs.collect() }
    }

    fn log(&mut self, pod: usize) -> LogRecord {
        let template = self.rng.skewed(100);
        let (tenant, id, millis) = (self.rng.skewed(200), self.rng.below(1_000_000), (self.around_one() * 50.0) as u32);
        let what = ["Request", "Job", "Transaction", "Sync", "Cache refresh"][template % 5];
        let body = format!("{what} {} {template} finished for tenant=t{tenant} id={id} in {millis}ms", NOUNS[template % 12]);
        let traced = self.rng.below(10) < 4;
        let severity = self.rng.skewed(4);
        LogRecord {
            time_unix_nano: self.now,
            observed_time_unix_nano: self.now + 1_000_000 + self.rng.below(3_000_000) as u64,
            severity_number: [9, 5, 13, 17][severity],
            severity_text: ["INFO", "DEBUG", "WARN", "ERROR"][severity].into(),
            body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
            attributes: vec![
                text("log.file.path", format!("/var/log/pods/{pod}/app/0.log")),
                text("log.iostream", "stdout"),
                text("code.function.name", format!("handler{template}")),
                int("code.line.number", 20 + template as i64 * 7),
                text("thread.name", format!("worker-{}", self.rng.below(32))),
                text("tenant", format!("t{tenant}")),
            ],
            trace_id: if traced { self.rng.bytes(16) } else { Vec::new() },
            span_id: if traced { self.rng.bytes(8) } else { Vec::new() },
            flags: u32::from(traced),
            ..LogRecord::default()
        }
    }

    /// One scrape of 4,000 series: counters, gauges and histograms over all pods.
    pub fn metrics(&mut self) -> ExportMetricsServiceRequest {
        const NAMES: [&str; 8] = [
            "http.server.request.count",
            "http.server.active_requests",
            "process.cpu.time",
            "process.memory.usage",
            "rpc.client.calls",
            "db.client.connections.usage",
            "http.server.request.duration",
            "system.network.io",
        ];
        self.now += 15_000_000_000;
        let per_pod = self.counters.len() / self.pods.len();
        let mut series = 0;
        let mut resource_metrics = Vec::new();
        for pod in 0..self.pods.len() {
            let mut metrics = Vec::new();
            for (m, name) in NAMES.iter().enumerate() {
                let count = per_pod / 8 + usize::from(m < per_pod % 8);
                let data = self.data(pod, m, series..series + count);
                series += count;
                metrics.push(Metric {
                    name: (*name).into(),
                    unit: "1".into(),
                    description: format!("Measures {name}"),
                    data: Some(data),
                    ..Metric::default()
                });
            }
            resource_metrics.push(ResourceMetrics {
                resource: Some(self.pods[pod].clone()),
                scope_metrics: vec![ScopeMetrics { scope: scope("otelcol/hostmetrics"), metrics, schema_url: String::new() }],
                schema_url: String::new(),
            });
        }
        ExportMetricsServiceRequest { resource_metrics }
    }

    fn data(&mut self, pod: usize, metric: usize, series: std::ops::Range<usize>) -> Data {
        if metric == 6 {
            let data_points = series.map(|series| self.histogram(pod, series)).collect();
            return Data::Histogram(Histogram { data_points, aggregation_temporality: 2 });
        }
        let is_int = metric.is_multiple_of(2);
        let data_points: Vec<NumberDataPoint> = series.map(|series| self.number(pod, series, is_int)).collect();
        if is_int {
            Data::Sum(Sum { data_points, aggregation_temporality: 2, is_monotonic: true })
        } else {
            Data::Gauge(Gauge { data_points })
        }
    }

    fn series(&self, pod: usize, series: usize) -> Vec<KeyValue> {
        let (method, route) = self.route(pod / PODS, series % 8);
        vec![
            text("http.route", route),
            text("http.request.method", method),
            int("http.response.status_code", [200, 404, 500][series % 3]),
            text("direction", ["in", "out"][series % 2]),
            text("device", "eth0"),
            text("tenant", format!("t{}", series % 200)),
        ]
    }

    fn number(&mut self, pod: usize, series: usize, is_int: bool) -> NumberDataPoint {
        self.counters[series] += (self.around_one() * 40.0) as i64;
        let count = self.counters[series];
        let value = if is_int {
            number_data_point::Value::AsInt(count)
        } else {
            number_data_point::Value::AsDouble(count as f64 * 0.25 + (self.rng.float() * 100.0).round() / 100.0)
        };
        NumberDataPoint {
            attributes: self.series(pod, series),
            start_time_unix_nano: EPOCH,
            time_unix_nano: self.now + pod as u64 * 1_000_003,
            value: Some(value),
            ..NumberDataPoint::default()
        }
    }

    fn histogram(&mut self, pod: usize, series: usize) -> HistogramDataPoint {
        let bucket_counts: Vec<u64> = (0..15u32).map(|k| (self.around_one() * 40.0) as u64 >> k.abs_diff(5)).collect();
        let count = bucket_counts.iter().sum();
        let sum = (count as f64 * self.around_one() * 100.0).round() / 1000.0;
        HistogramDataPoint {
            attributes: self.series(pod, series),
            start_time_unix_nano: EPOCH,
            time_unix_nano: self.now + pod as u64 * 1_000_003,
            count,
            sum: Some(sum),
            bucket_counts,
            explicit_bounds: vec![0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0],
            ..HistogramDataPoint::default()
        }
    }
}

fn resource(rng: &mut Rng, pod: usize) -> Resource {
    let service = pod / PODS;
    let name = format!("{}-{}", NOUNS[service % 12], ["service", "api", "worker", "gateway", "frontend"][service / 12 % 5]);
    let (a, b) = (rng.next(), rng.next());
    let container: String = rng.bytes(32).iter().map(|byte| format!("{byte:02x}")).collect();
    let attributes = vec![
        text("service.name", &name),
        text("service.namespace", format!("team-{}", service % 7)),
        text("service.version", format!("2.{}.{}", service % 9, service % 4)),
        text("service.instance.id", format!("{:08x}-{:04x}-4{:03x}-a000-{b:012x}", a >> 32, a >> 16 & 0xffff, a & 0xfff)),
        text("k8s.pod.name", format!("{name}-{:08x}-{:05x}", (b >> 40) as u32, b & 0xf_ffff)),
        text("k8s.namespace.name", format!("team-{}", service % 7)),
        text("k8s.node.name", format!("ip-10-0-{}-{}.ec2.internal", rng.below(4), rng.below(12))),
        text("k8s.cluster.name", "prod-eu-1"),
        text("cloud.region", "eu-west-1"),
        text("host.arch", "amd64"),
        text("container.id", container),
        text("telemetry.sdk.language", ["go", "java", "rust", "python"][service % 4]),
        text("telemetry.sdk.version", "1.38.0"),
        int("process.pid", 1 + (pod % PODS) as i64),
    ];
    Resource { attributes, ..Resource::default() }
}
