//! How large rows get as Arrow, about: a row repeats its resource's and scope's attributes, which a batch has once, and text that many
//! rows share. Without this, ten thousand rows of a resource of a megabyte would be ten gigabytes, and a text column beyond Arrow's
//! 2 GiB would panic. Measured from the columns, since headers may lie.

use std::collections::HashMap;

use federation_proto::columns::{AttrIter, Columns, Logs, Points, ResourceRef, ScopeRef, Spans, Value};

use super::partition::RowRef;
use crate::tier::UnitBatch;

/// Columns without text, lists and attributes.
const FIXED_BYTES: u64 = 256;
/// Columns of an event, link or exemplar without text and attributes.
const CHILD_BYTES: u64 = 64;

/// Weights of what is repeated, kept for one file: one entry per resource and scope of each batch.
#[derive(Debug, Default)]
pub(super) struct Weights {
    resources: HashMap<(u32, usize), u64>,
    scopes: HashMap<(u32, usize), u64>,
}

impl Weights {
    /// How many of the first `rows` fit; at least one of those that there are.
    pub(super) fn prefix(&mut self, rows: &[RowRef], batches: &[UnitBatch], most_rows: usize, most_bytes: u64) -> usize {
        let mut bytes = 0u64;
        for (count, row) in rows.iter().take(most_rows).enumerate() {
            bytes = bytes.saturating_add(batches.get(row.batch as usize).map_or(0, |batch| self.row(*row, batch)));
            if bytes > most_bytes && count > 0 {
                return count;
            }
        }
        rows.len().min(most_rows)
    }

    fn row(&mut self, row: RowRef, batch: &UnitBatch) -> u64 {
        let at = row.row as usize;
        let (resource, scope, own) = match &batch.columns {
            Columns::Traces(spans) => (spans.resource(at), spans.scope(at), of_span(spans, at)),
            Columns::Logs(logs) => (logs.resource(at), logs.scope(at), of_log(logs, at)),
            Columns::Metrics(points) => (points.resource(at), points.scope(at), of_point(points, at)),
        };
        let resource = *self.resources.entry((row.batch, resource.index())).or_insert_with(|| of_resource(resource));
        let scope = *self.scopes.entry((row.batch, scope.index())).or_insert_with(|| of_scope(scope));
        FIXED_BYTES + own + resource + scope
    }
}

fn of_resource(resource: ResourceRef<'_>) -> u64 {
    of_attributes(resource.attrs()) + resource.schema_url().len() as u64
}

fn of_scope(scope: ScopeRef<'_>) -> u64 {
    of_attributes(scope.attrs()) + (scope.name().len() + scope.version().len() + scope.schema_url().len()) as u64
}

fn of_span(spans: &Spans, row: usize) -> u64 {
    let message = spans.status(row).map_or(0, |status| status.message.len());
    let text = (spans.trace_state(row).len() + spans.name(row).len() + message) as u64;
    let events = spans.events(row).map(|event| CHILD_BYTES + event.name().len() as u64 + of_attributes(event.attrs()));
    let links = spans.links(row).map(|link| CHILD_BYTES + link.trace_state().len() as u64 + of_attributes(link.attrs()));
    text + of_attributes(spans.attrs(row)) + events.sum::<u64>() + links.sum::<u64>()
}

fn of_log(logs: &Logs, row: usize) -> u64 {
    let text = (logs.severity_text(row).len() + logs.event_name(row).len()) as u64;
    text + logs.body(row).map_or(0, of_value) + of_attributes(logs.attrs(row))
}

fn of_point(points: &Points, row: usize) -> u64 {
    let metric = points.metric(row);
    let text = metric.name().len() + metric.description().len() + metric.unit().len();
    let buckets = [points.positive(row), points.negative(row)].into_iter().flatten().map(|buckets| buckets.counts.len()).sum::<usize>();
    let numbers = points.bucket_counts(row).len() + points.explicit_bounds(row).len() + buckets + 2 * points.quantiles(row).len();
    let exemplars = points.exemplars(row).map(|exemplar| CHILD_BYTES + of_attributes(exemplar.attrs()));
    (text + 8 * numbers) as u64 + of_attributes(points.attrs(row)) + exemplars.sum::<u64>()
}

fn of_value(value: Value<'_>) -> u64 {
    let bytes = match value {
        Value::Str(text) => text.len(),
        // As base64, or as JSON.
        Value::Bytes(bytes) => 2 * bytes.len(),
        Value::Nested(any) => 3 * any.bytes().len(),
        _ => 16,
    };
    bytes as u64
}

fn of_attributes(attributes: AttrIter<'_>) -> u64 {
    attributes.map(|(key, value)| key.len() as u64 + of_value(value) + 16).sum()
}
