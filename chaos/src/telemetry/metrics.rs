//! Data points of all five kinds.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, Summary, SummaryDataPoint,
};

use super::{Generator, Made, RecordId, Rng, scope, text};

const POINTS_PER_METRIC: usize = 5;
const BOUNDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
const CUMULATIVE: i32 = 2;
const DELTA: i32 = 1;
const START_UNIX_NANO: u64 = 1_700_000_000_000_000_000;

pub(super) fn request(generator: &mut Generator, now_unix_nano: u64, count: usize) -> Made<ExportMetricsServiceRequest> {
    let mut ids = Vec::with_capacity(count);
    let mut resource_metrics = Vec::new();
    while ids.len() < count {
        let resource = generator.pick_resource();
        let mut metrics = Vec::new();
        for kind in 0..5 {
            let want = POINTS_PER_METRIC.min(count - ids.len());
            if want == 0 {
                break;
            }
            let times: Vec<u64> = (0..want).map(|_| generator.point_time(now_unix_nano)).collect();
            metrics.push(metric(&mut generator.rng, kind, &times));
            let sender = generator.sender;
            ids.extend(times.into_iter().map(|time_unix_nano| RecordId::Point { sender, time_unix_nano }));
        }
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope("shop.meter")), metrics, ..ScopeMetrics::default() }];
        resource_metrics.push(ResourceMetrics { resource: Some(resource), scope_metrics, ..ResourceMetrics::default() });
    }
    Made { request: ExportMetricsServiceRequest { resource_metrics }, ids }
}

fn metric(rng: &mut Rng, kind: u8, times: &[u64]) -> Metric {
    let (name, unit, data) = match kind {
        0 => ("process.memory.usage", "By", Data::Gauge(Gauge { data_points: numbers(rng, times) })),
        1 => {
            let sum = Sum { data_points: numbers(rng, times), aggregation_temporality: CUMULATIVE, is_monotonic: true };
            ("http.server.request.count", "{request}", Data::Sum(sum))
        }
        2 => {
            let data_points = times.iter().map(|&time| histogram_point(rng, time)).collect();
            let data = Histogram { data_points, aggregation_temporality: CUMULATIVE };
            ("http.server.request.duration", "s", Data::Histogram(data))
        }
        3 => {
            let data_points = times.iter().map(|&time| exponential_point(rng, time)).collect();
            let data = ExponentialHistogram { data_points, aggregation_temporality: DELTA };
            ("db.client.operation.duration", "s", Data::ExponentialHistogram(data))
        }
        _ => {
            let data_points = times.iter().map(|&time| summary_point(rng, time)).collect();
            ("rpc.client.duration", "ms", Data::Summary(Summary { data_points }))
        }
    };
    Metric {
        name: name.to_owned(),
        description: format!("{name} as measured by the shop"),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn series(rng: &mut Rng) -> Vec<KeyValue> {
    vec![
        text("http.route", ["/api/v1/orders", "/api/v1/products", "/api/v1/search"][rng.below(3) as usize]),
        text("http.request.method", if rng.below(4) == 0 { "POST" } else { "GET" }),
    ]
}

fn numbers(rng: &mut Rng, times: &[u64]) -> Vec<NumberDataPoint> {
    times
        .iter()
        .map(|&time_unix_nano| NumberDataPoint {
            attributes: series(rng),
            start_time_unix_nano: START_UNIX_NANO,
            time_unix_nano,
            value: Some(if rng.below(2) == 0 {
                Value::AsInt(rng.below(1 << 20) as i64)
            } else {
                Value::AsDouble(rng.below(1 << 20) as f64 / 64.0)
            }),
            ..NumberDataPoint::default()
        })
        .collect()
}

fn histogram_point(rng: &mut Rng, time_unix_nano: u64) -> HistogramDataPoint {
    let bucket_counts: Vec<u64> = (0..=BOUNDS.len()).map(|_| rng.below(200)).collect();
    HistogramDataPoint {
        attributes: series(rng),
        start_time_unix_nano: START_UNIX_NANO,
        time_unix_nano,
        count: bucket_counts.iter().sum(),
        sum: Some(rng.below(1 << 20) as f64 / 128.0),
        bucket_counts,
        explicit_bounds: BOUNDS.to_vec(),
        ..HistogramDataPoint::default()
    }
}

fn exponential_point(rng: &mut Rng, time_unix_nano: u64) -> ExponentialHistogramDataPoint {
    let bucket_counts: Vec<u64> = (0..16).map(|_| rng.below(50)).collect();
    ExponentialHistogramDataPoint {
        attributes: series(rng),
        start_time_unix_nano: START_UNIX_NANO,
        time_unix_nano,
        count: bucket_counts.iter().sum(),
        sum: Some(rng.below(1 << 20) as f64 / 512.0),
        scale: 3,
        positive: Some(Buckets { offset: -20, bucket_counts }),
        zero_threshold: 1e-9,
        ..ExponentialHistogramDataPoint::default()
    }
}

fn summary_point(rng: &mut Rng, time_unix_nano: u64) -> SummaryDataPoint {
    let base = rng.below(1 << 12) as f64;
    let quantile_values = [0.5, 0.9, 0.99].map(|quantile| ValueAtQuantile { quantile, value: base * (1.0 + quantile) });
    SummaryDataPoint {
        attributes: series(rng),
        start_time_unix_nano: START_UNIX_NANO,
        time_unix_nano,
        count: 1 + rng.below(1 << 16),
        sum: base * 100.0,
        quantile_values: quantile_values.to_vec(),
        ..SummaryDataPoint::default()
    }
}
