//! Spans by row, with their events and links.

use super::attrs::{AttrIter, Attrs};
use super::resource::{Origins, ResourceRef, ScopeRef};
use super::store::{Blobs, Ints, Offsets, Strs};
use super::value::Value;

/// A batch of spans. Rows are in the batch's own order, not in the order of arrival.
#[derive(Debug, Default)]
pub struct Spans {
    pub(crate) rows: usize,
    pub(crate) origins: Origins,
    /// Distinct trace ids and the earliest start in each.
    pub(crate) trace_ids: Blobs,
    pub(crate) trace_starts: Ints,
    pub(crate) traces: Ints,
    pub(crate) span_ids: Blobs,
    pub(crate) parents: Vec<Parent>,
    pub(crate) other_parents: Blobs,
    pub(crate) trace_state: Strs,
    pub(crate) name: Strs,
    pub(crate) kind: Ints,
    /// Start since the trace's earliest, end since the start; both wrapping.
    pub(crate) start: Ints,
    pub(crate) duration: Ints,
    pub(crate) flags: Ints,
    /// 0 = no Status message.
    pub(crate) has_status: Ints,
    pub(crate) status_code: Ints,
    pub(crate) status_message: Strs,
    pub(crate) dropped_attributes: Ints,
    pub(crate) dropped_events: Ints,
    pub(crate) dropped_links: Ints,
    pub(crate) attrs: Attrs,
    pub(crate) event_rows: Offsets,
    pub(crate) events: Events,
    pub(crate) link_rows: Offsets,
    pub(crate) links: Links,
}

/// Where a span's parent id stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Parent {
    /// There is none.
    None,
    /// It is the span id of this row.
    Row(u32),
    /// It is not in the batch: place in `other_parents`.
    Other(u32),
}

#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Time since the span's start, wrapping.
    pub(crate) time: Ints,
    pub(crate) name: Strs,
    pub(crate) attrs: Attrs,
    pub(crate) dropped: Ints,
}

#[derive(Debug, Default)]
pub(crate) struct Links {
    pub(crate) trace_ids: Blobs,
    pub(crate) span_ids: Blobs,
    pub(crate) trace_state: Strs,
    pub(crate) attrs: Attrs,
    pub(crate) dropped: Ints,
    pub(crate) flags: Ints,
}

/// The status of a span that has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRef<'a> {
    /// StatusCode, unknown values included.
    pub code: i32,
    /// Message, often empty.
    pub message: &'a str,
}

impl Spans {
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

    /// Trace id: 16 bytes, unless the sender sent another length.
    #[must_use]
    pub fn trace_id(&self, row: usize) -> &[u8] {
        self.trace_ids.get(self.traces.get(row) as usize)
    }

    /// Span id: 8 bytes, unless the sender sent another length.
    #[must_use]
    pub fn span_id(&self, row: usize) -> &[u8] {
        self.span_ids.get(row)
    }

    /// Parent's span id; empty for a root span.
    #[must_use]
    pub fn parent_span_id(&self, row: usize) -> &[u8] {
        match self.parents[row] {
            Parent::None => &[],
            Parent::Row(parent) => self.span_ids.get(parent as usize),
            Parent::Other(place) => self.other_parents.get(place as usize),
        }
    }

    /// W3C trace state.
    #[must_use]
    pub fn trace_state(&self, row: usize) -> &str {
        self.trace_state.get(row)
    }

    /// Name of the span.
    #[must_use]
    pub fn name(&self, row: usize) -> &str {
        self.name.get(row)
    }

    /// SpanKind, unknown values included.
    #[must_use]
    pub fn kind(&self, row: usize) -> i32 {
        self.kind.get(row) as i32
    }

    /// Start, nanoseconds since 1970.
    #[must_use]
    pub fn start_time(&self, row: usize) -> u64 {
        self.trace_starts.get(self.traces.get(row) as usize).wrapping_add(self.start.get(row))
    }

    /// End, nanoseconds since 1970.
    #[must_use]
    pub fn end_time(&self, row: usize) -> u64 {
        self.start_time(row).wrapping_add(self.duration.get(row))
    }

    /// SpanFlags.
    #[must_use]
    pub fn flags(&self, row: usize) -> u32 {
        self.flags.get(row) as u32
    }

    /// Status; `None` if the span has no Status message.
    #[must_use]
    pub fn status(&self, row: usize) -> Option<StatusRef<'_>> {
        (self.has_status.get(row) != 0).then(|| StatusRef { code: self.status_code.get(row) as i32, message: self.status_message.get(row) })
    }

    /// `dropped_attributes_count`.
    #[must_use]
    pub fn dropped_attributes(&self, row: usize) -> u32 {
        self.dropped_attributes.get(row) as u32
    }

    /// `dropped_events_count`.
    #[must_use]
    pub fn dropped_events(&self, row: usize) -> u32 {
        self.dropped_events.get(row) as u32
    }

    /// `dropped_links_count`.
    #[must_use]
    pub fn dropped_links(&self, row: usize) -> u32 {
        self.dropped_links.get(row) as u32
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

    /// The span's resource.
    #[must_use]
    pub fn resource(&self, row: usize) -> ResourceRef<'_> {
        self.origins.resource(row)
    }

    /// The span's scope.
    #[must_use]
    pub fn scope(&self, row: usize) -> ScopeRef<'_> {
        self.origins.scope(row)
    }

    /// Events, in their order.
    pub fn events(&self, row: usize) -> impl ExactSizeIterator<Item = EventRef<'_>> {
        let start = self.start_time(row);
        self.event_rows.range(row).map(move |at| EventRef { events: &self.events, at, start })
    }

    /// Links, in their order.
    pub fn links(&self, row: usize) -> impl ExactSizeIterator<Item = LinkRef<'_>> {
        self.link_rows.range(row).map(move |at| LinkRef { links: &self.links, at })
    }
}

/// One event of a span.
#[derive(Clone, Copy)]
pub struct EventRef<'a> {
    events: &'a Events,
    pub(crate) at: usize,
    start: u64,
}

impl<'a> EventRef<'a> {
    /// Nanoseconds since 1970.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.start.wrapping_add(self.events.time.get(self.at))
    }

    /// Name of the event.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.events.name.get(self.at)
    }

    /// Attributes, in their order.
    #[must_use]
    pub fn attrs(&self) -> AttrIter<'a> {
        self.events.attrs.row(self.at)
    }

    /// `dropped_attributes_count`.
    #[must_use]
    pub fn dropped_attributes(&self) -> u32 {
        self.events.dropped.get(self.at) as u32
    }
}

/// One link of a span.
#[derive(Clone, Copy)]
pub struct LinkRef<'a> {
    links: &'a Links,
    pub(crate) at: usize,
}

impl<'a> LinkRef<'a> {
    /// Trace id of the linked span.
    #[must_use]
    pub fn trace_id(&self) -> &'a [u8] {
        self.links.trace_ids.get(self.at)
    }

    /// Span id of the linked span.
    #[must_use]
    pub fn span_id(&self) -> &'a [u8] {
        self.links.span_ids.get(self.at)
    }

    /// W3C trace state.
    #[must_use]
    pub fn trace_state(&self) -> &'a str {
        self.links.trace_state.get(self.at)
    }

    /// Attributes, in their order.
    #[must_use]
    pub fn attrs(&self) -> AttrIter<'a> {
        self.links.attrs.row(self.at)
    }

    /// `dropped_attributes_count`.
    #[must_use]
    pub fn dropped_attributes(&self) -> u32 {
        self.links.dropped.get(self.at) as u32
    }

    /// SpanFlags of the link.
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.links.flags.get(self.at) as u32
    }
}
