//! Log records by row.

use super::attrs::{AttrIter, Attrs};
use super::resource::{Origins, ResourceRef, ScopeRef};
use super::store::{Blobs, Ints, Strs};
use super::value::Value;

/// A batch of log records. Rows are in the batch's own order, not in the order of arrival.
#[derive(Debug, Default)]
pub struct Logs {
    pub(crate) rows: usize,
    pub(crate) origins: Origins,
    pub(crate) time: Ints,
    /// Observed time since the time, wrapping.
    pub(crate) observed: Ints,
    pub(crate) severity_number: Ints,
    pub(crate) severity_text: Strs,
    /// The body as an attribute without a key; a row without one has no body.
    pub(crate) body: Attrs,
    pub(crate) attrs: Attrs,
    pub(crate) dropped_attributes: Ints,
    pub(crate) flags: Ints,
    pub(crate) trace_ids: Blobs,
    pub(crate) span_ids: Blobs,
    pub(crate) event_name: Strs,
}

impl Logs {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// When it happened, nanoseconds since 1970; 0 if unknown.
    #[must_use]
    pub fn time(&self, row: usize) -> u64 {
        self.time.get(row)
    }

    /// When it was observed, nanoseconds since 1970; 0 if unknown.
    #[must_use]
    pub fn observed_time(&self, row: usize) -> u64 {
        self.time.get(row).wrapping_add(self.observed.get(row))
    }

    /// SeverityNumber, unknown values included.
    #[must_use]
    pub fn severity_number(&self, row: usize) -> i32 {
        self.severity_number.get(row) as i32
    }

    /// Severity as the source wrote it.
    #[must_use]
    pub fn severity_text(&self, row: usize) -> &str {
        self.severity_text.get(row)
    }

    /// Body; `None` if the record has none ([`Value::Empty`] if it has one that holds nothing).
    #[must_use]
    pub fn body(&self, row: usize) -> Option<Value<'_>> {
        self.body.row(row).next().map(|(_, value)| value)
    }

    /// Attributes, in their order.
    #[must_use]
    pub fn attrs(&self, row: usize) -> AttrIter<'_> {
        self.attrs.row(row)
    }

    /// The first attribute with this key.
    #[must_use]
    pub fn attr(&self, row: usize, key: &str) -> Option<Value<'_>> {
        self.attrs.find(row, key)
    }

    /// `dropped_attributes_count`.
    #[must_use]
    pub fn dropped_attributes(&self, row: usize) -> u32 {
        self.dropped_attributes.get(row) as u32
    }

    /// LogRecordFlags.
    #[must_use]
    pub fn flags(&self, row: usize) -> u32 {
        self.flags.get(row) as u32
    }

    /// Trace id, often empty.
    #[must_use]
    pub fn trace_id(&self, row: usize) -> &[u8] {
        self.trace_ids.get(row)
    }

    /// Span id, often empty.
    #[must_use]
    pub fn span_id(&self, row: usize) -> &[u8] {
        self.span_ids.get(row)
    }

    /// Name of the event, if the record is one.
    #[must_use]
    pub fn event_name(&self, row: usize) -> &str {
        self.event_name.get(row)
    }

    /// The record's resource.
    #[must_use]
    pub fn resource(&self, row: usize) -> ResourceRef<'_> {
        self.origins.resource(row)
    }

    /// The record's scope.
    #[must_use]
    pub fn scope(&self, row: usize) -> ScopeRef<'_> {
        self.origins.scope(row)
    }
}
