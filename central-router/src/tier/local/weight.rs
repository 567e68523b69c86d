//! How large rows get as Arrow, about: a row repeats its resource's and scope's attributes, which a batch has once. Without this, ten
//! thousand rows of a resource of a megabyte would be ten gigabytes.

use std::collections::HashMap;

use federation_proto::columns::{AttrIter, Columns, ResourceRef, ScopeRef, Value};

use super::partition::RowRef;
use crate::tier::UnitBatch;

/// Columns without attributes.
const FIXED_BYTES: u64 = 256;

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
        let (resource, scope) = match &batch.columns {
            Columns::Traces(spans) => (spans.resource(at), spans.scope(at)),
            Columns::Logs(logs) => (logs.resource(at), logs.scope(at)),
            Columns::Metrics(points) => (points.resource(at), points.scope(at)),
        };
        let resource = *self.resources.entry((row.batch, resource.index())).or_insert_with(|| of_resource(resource));
        let scope = *self.scopes.entry((row.batch, scope.index())).or_insert_with(|| of_scope(scope));
        FIXED_BYTES + batch.row_bytes + resource + scope
    }
}

fn of_resource(resource: ResourceRef<'_>) -> u64 {
    of_attributes(resource.attrs()) + resource.schema_url().len() as u64
}

fn of_scope(scope: ScopeRef<'_>) -> u64 {
    of_attributes(scope.attrs()) + (scope.name().len() + scope.version().len() + scope.schema_url().len()) as u64
}

fn of_attributes(attributes: AttrIter<'_>) -> u64 {
    let value = |value: Value<'_>| match value {
        Value::Str(text) => text.len(),
        // As base64, or as JSON.
        Value::Bytes(bytes) => 2 * bytes.len(),
        Value::Nested(any) => 3 * any.bytes().len(),
        _ => 16,
    };
    attributes.map(|(key, v)| (key.len() + value(v) + 16) as u64).sum()
}
