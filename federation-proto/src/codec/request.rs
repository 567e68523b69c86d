//! The levels that all signals share: request, resource, scope, record. Walks them, counts rows, and interns who sent a record, but only
//! when a row of theirs is taken: resources and scopes without rows are not kept.

use std::ops::Range;

use super::encoder::EncodeError;
use super::origins::{Head, Origins};
use super::source::Sources;
use super::streams::Streams;
use crate::otlp::Malformed;
use crate::otlp::wire::{Reader, Wire};

/// Earliest and latest time of the rows that have one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    oldest: u64,
    newest: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { oldest: u64::MAX, newest: 0 }
    }
}

impl Times {
    #[inline]
    pub(crate) fn note(&mut self, time: u64) {
        if time != 0 {
            self.oldest = self.oldest.min(time);
            self.newest = self.newest.max(time);
        }
    }

    /// 0 and 0 if no row has a time.
    pub(crate) fn oldest_newest(&self) -> (u64, u64) {
        if self.newest == 0 { (0, 0) } else { (self.oldest, self.newest) }
    }
}

/// Which rows of a body are taken.
pub(crate) struct Window {
    take: Range<u32>,
    seen: u32,
}

impl Window {
    pub(crate) fn new(take: Range<u32>) -> Self {
        Self { take, seen: 0 }
    }

    /// Counts one row; whether it is taken.
    #[inline]
    pub(crate) fn admit(&mut self) -> bool {
        let row = self.seen;
        self.seen = row.saturating_add(1);
        self.take.contains(&row)
    }

    pub(crate) fn seen(&self) -> u32 {
        self.seen
    }
}

/// What a record's parser may ask for: whether a row is taken, and the group (resource and scope) it then belongs to.
pub(crate) struct Context<'c, 'a> {
    origins: &'c mut Origins,
    window: &'c mut Window,
    resource: Head<'a>,
    scope: Head<'a>,
    /// The resource's number, shared by its scopes once it is interned.
    resource_index: &'c mut Option<u32>,
    group: Option<u32>,
}

impl Context<'_, '_> {
    /// Counts one row; its group if it is taken.
    #[inline]
    pub(crate) fn admit(&mut self) -> Result<Option<u32>, Malformed> {
        if !self.window.admit() {
            return Ok(None);
        }
        if self.group.is_none() {
            let resource = match *self.resource_index {
                Some(index) => index,
                None => *self.resource_index.insert(self.origins.resource(&self.resource)?),
            };
            self.group = Some(self.origins.group(resource, &self.scope)?);
        }
        Ok(self.group)
    }
}

/// The rows of one signal: takes records in, writes columns out.
pub(crate) trait Records: Default {
    /// Starts a batch.
    fn begin(&mut self);

    /// Takes in one record message (a span, a log record, a metric).
    fn record(&mut self, record: Reader<'_>, context: &mut Context<'_, '_>) -> Result<(), Malformed>;

    /// Rows taken so far.
    fn rows(&self) -> usize;

    /// Times of the rows taken so far.
    fn times(&self) -> Times;

    /// Sorts the rows and writes all columns, those of `origins` first.
    fn finish(&mut self, origins: &mut Origins, sources: &Sources<'_>, out: &mut Streams) -> Result<(), EncodeError>;
}

/// Takes in the rows of one request whose first byte has address `start`.
pub(crate) fn walk<R: Records>(
    records: &mut R,
    origins: &mut Origins,
    start: usize,
    body: &[u8],
    window: &mut Window,
) -> Result<(), Malformed> {
    let mut request = Reader::at(body, start);
    while !request.is_done() {
        let (field, wire) = request.key()?;
        if (field, wire) == (1, Wire::Len) {
            of_resource(records, origins, request.message()?, window)?;
        } else {
            request.skip(field, wire, 100)?;
        }
    }
    Ok(())
}

fn of_resource<R: Records>(records: &mut R, origins: &mut Origins, body: Reader<'_>, window: &mut Window) -> Result<(), Malformed> {
    let resource = head(body)?;
    let mut index = None;
    let mut r = body;
    while !r.is_done() {
        let (field, wire) = r.key()?;
        if (field, wire) != (2, Wire::Len) {
            r.skip(field, wire, 100)?;
            continue;
        }
        let body = r.message()?;
        let scope = head(body)?;
        let mut context =
            Context { origins: &mut *origins, window: &mut *window, resource, scope, resource_index: &mut index, group: None };
        let mut r = body;
        while !r.is_done() {
            let (field, wire) = r.key()?;
            if (field, wire) == (2, Wire::Len) {
                records.record(r.message()?, &mut context)?;
            } else {
                r.skip(field, wire, 100)?;
            }
        }
    }
    Ok(())
}

/// What stands beside the records, at the level of a resource or of a scope: the message (field 1) and the schema URL (field 3).
fn head(body: Reader<'_>) -> Result<Head<'_>, Malformed> {
    let mut head = Head::default();
    let mut r = body;
    while !r.is_done() {
        match r.key()? {
            (1, Wire::Len) => head.message = Some(r.message()?),
            (3, Wire::Len) => head.schema_url = r.bytes()?,
            (field, wire) => r.skip(field, wire, 100)?,
        }
    }
    Ok(head)
}
