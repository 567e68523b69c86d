//! `otel_metrics_gauge`, `_sum`, `_histogram`, `_exponential_histogram`, `_summary`: the same columns around what each kind has of its own.

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use federation_proto::columns::{BucketsRef, Number};

use super::sheet::Sheet;
use super::{PointRow, Table, hex, service_name};

pub(super) fn build(table: Table, rows: &[PointRow<'_>]) -> Result<RecordBatch, ArrowError> {
    let mut sheet = Sheet::new(rows);
    whose(&mut sheet)?;
    match table {
        Table::Sum => {
            sheet.optional_f64s("Value", |r| r.of.number(r.at).map(float));
            flags(&mut sheet);
            exemplars(&mut sheet)?;
            temporality(&mut sheet);
            sheet.bools("IsMonotonic", |r| r.of.metric(r.at).monotonic());
        }
        Table::Histogram => {
            count_and_sum(&mut sheet);
            sheet.u64_lists("BucketCounts", |r| r.of.bucket_counts(r.at).iter().copied());
            sheet.f64_lists("ExplicitBounds", |r| r.of.explicit_bounds(r.at).iter().copied());
            exemplars(&mut sheet)?;
            flags(&mut sheet);
            min_and_max(&mut sheet);
            temporality(&mut sheet);
        }
        Table::ExponentialHistogram => {
            count_and_sum(&mut sheet);
            exponential(&mut sheet);
            exemplars(&mut sheet)?;
            flags(&mut sheet);
            min_and_max(&mut sheet);
            temporality(&mut sheet);
        }
        Table::Summary => {
            count_and_sum(&mut sheet);
            sheet.f64_lists("ValueAtQuantiles.Quantile", |r| r.of.quantiles(r.at).map(|(quantile, _)| quantile));
            sheet.f64_lists("ValueAtQuantiles.Value", |r| r.of.quantiles(r.at).map(|(_, value)| value));
            flags(&mut sheet);
        }
        Table::Gauge | Table::Traces | Table::Logs => {
            sheet.optional_f64s("Value", |r| r.of.number(r.at).map(float));
            flags(&mut sheet);
            exemplars(&mut sheet)?;
        }
    }
    sheet.finish()
}

fn whose<'a>(sheet: &mut Sheet<'a, PointRow<'a>>) -> Result<(), ArrowError> {
    sheet.attributes("ResourceAttributes", |r| r.of.resource(r.at).attrs())?;
    sheet.texts("ResourceSchemaUrl", |r| r.of.resource(r.at).schema_url());
    sheet.texts("ScopeName", |r| r.of.scope(r.at).name());
    sheet.texts("ScopeVersion", |r| r.of.scope(r.at).version());
    sheet.attributes("ScopeAttributes", |r| r.of.scope(r.at).attrs())?;
    sheet.u32s("ScopeDroppedAttrCount", |r| r.of.scope(r.at).dropped_attributes());
    sheet.texts("ScopeSchemaUrl", |r| r.of.scope(r.at).schema_url());
    sheet.texts("ServiceName", |r| service_name(r.of.resource(r.at)));
    sheet.texts("MetricName", |r| r.of.metric(r.at).name());
    sheet.texts("MetricDescription", |r| r.of.metric(r.at).description());
    sheet.texts("MetricUnit", |r| r.of.metric(r.at).unit());
    sheet.attributes("Attributes", |r| r.of.attrs(r.at))?;
    sheet.times("StartTimeUnix", |r| r.of.start_time(r.at));
    sheet.times("TimeUnix", |r| r.of.time(r.at));
    Ok(())
}

fn count_and_sum<'a>(sheet: &mut Sheet<'a, PointRow<'a>>) {
    sheet.u64s("Count", |r| r.of.count(r.at));
    sheet.optional_f64s("Sum", |r| r.of.sum(r.at));
}

fn exponential<'a>(sheet: &mut Sheet<'a, PointRow<'a>>) {
    sheet.i32s("Scale", |r| r.of.scale(r.at));
    sheet.u64s("ZeroCount", |r| r.of.zero_count(r.at));
    sheet.i32s("PositiveOffset", |r| r.of.positive(r.at).map_or(0, |buckets| buckets.offset));
    sheet.u64_lists("PositiveBucketCounts", |r| counts(r.of.positive(r.at)));
    sheet.i32s("NegativeOffset", |r| r.of.negative(r.at).map_or(0, |buckets| buckets.offset));
    sheet.u64_lists("NegativeBucketCounts", |r| counts(r.of.negative(r.at)));
}

fn counts(buckets: Option<BucketsRef<'_>>) -> impl Iterator<Item = u64> {
    buckets.map_or(&[][..], |buckets| buckets.counts).iter().copied()
}

fn exemplars<'a>(sheet: &mut Sheet<'a, PointRow<'a>>) -> Result<(), ArrowError> {
    sheet.attribute_lists("Exemplars.FilteredAttributes", |r| r.of.exemplars(r.at).map(|exemplar| exemplar.attrs()))?;
    sheet.time_lists("Exemplars.TimeUnix", |r| r.of.exemplars(r.at).map(|exemplar| exemplar.time()));
    sheet.optional_f64_lists("Exemplars.Value", |r| r.of.exemplars(r.at).map(|exemplar| exemplar.value().map(float)));
    sheet.text_lists("Exemplars.SpanId", |r| r.of.exemplars(r.at).map(|exemplar| hex(exemplar.span_id())));
    sheet.text_lists("Exemplars.TraceId", |r| r.of.exemplars(r.at).map(|exemplar| hex(exemplar.trace_id())));
    Ok(())
}

fn flags<'a>(sheet: &mut Sheet<'a, PointRow<'a>>) {
    sheet.u32s("Flags", |r| r.of.flags(r.at));
}

fn min_and_max<'a>(sheet: &mut Sheet<'a, PointRow<'a>>) {
    sheet.optional_f64s("Min", |r| r.of.min(r.at));
    sheet.optional_f64s("Max", |r| r.of.max(r.at));
}

fn temporality<'a>(sheet: &mut Sheet<'a, PointRow<'a>>) {
    sheet.i32s("AggregationTemporality", |r| r.of.metric(r.at).temporality());
}

/// The exporter's one type for values: integers beyond 2^53 are rounded.
fn float(number: Number) -> f64 {
    match number {
        Number::Int(int) => int as f64,
        Number::Double(double) => double,
    }
}
