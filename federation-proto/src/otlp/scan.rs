//! The validating pass: accepts what prost 0.14 accepts, counts rows, finds their times, notes what is unusual.

use super::plain::{is_ascii, plain};
use super::schema::{Field, Kind, Msg};
use super::wire::{Reader, Wire};
use super::{Fault, Limits, Malformed, Scan};
use crate::identity::Signal;

/// How many messages and groups may stand in one another, as prost limits them.
pub(super) const MAX_DEPTH: u32 = 100;

/// Counts of exponential buckets that a body may have per row that it may have: as wide integers they take eight bytes each in a batch,
/// which must stay within what its reader takes.
const BUCKETS_PER_ROW: u64 = 4;

/// Validates an Export request of `signal` and counts its rows, in one pass and without allocating.
///
/// # Errors
/// [`Malformed`] where prost would refuse the body, and beyond `limits`.
pub fn scan(signal: Signal, body: &[u8], limits: &Limits) -> Result<Scan, Malformed> {
    let root = root(signal)?;
    if body.len() > limits.max_bytes {
        return Err(Malformed { at: limits.max_bytes, fault: Fault::TooLarge });
    }
    let mut walk = Walk::new(limits.max_rows);
    walk.message(root, Reader::new(body), MAX_DEPTH)?;
    Ok(Scan {
        rows: walk.rows,
        raw_bytes: body.len() as u64,
        canonical: walk.canonical,
        oldest_unix_nano: if walk.newest == 0 { 0 } else { walk.oldest },
        newest_unix_nano: walk.newest,
    })
}

/// How many messages stand in a body of `signal`, the outermost apart.
pub(super) fn count_messages(signal: Signal, body: &[u8]) -> Result<u64, Malformed> {
    let mut walk = Walk::new(u32::MAX);
    walk.message(root(signal)?, Reader::new(body), MAX_DEPTH)?;
    Ok(walk.messages)
}

pub(super) fn root(signal: Signal) -> Result<Msg, Malformed> {
    match signal {
        Signal::Traces => Ok(Msg::TracesRequest),
        Signal::Logs => Ok(Msg::LogsRequest),
        Signal::Metrics => Ok(Msg::MetricsRequest),
        Signal::Profiles => Err(Malformed { at: 0, fault: Fault::Unsupported }),
    }
}

/// Whether `bytes` are a valid and canonical message of type `msg` in which at most `depth` messages stand in one another.
pub(crate) fn check(msg: Msg, bytes: &[u8], depth: u32) -> bool {
    let mut walk = Walk::new(u32::MAX);
    walk.message(msg, Reader::new(bytes), depth).is_ok() && walk.canonical
}

struct Walk {
    rows: u32,
    /// Events and the like.
    parts: u32,
    /// Counts of exponential buckets.
    buckets: u64,
    /// Messages below the outermost.
    messages: u64,
    max_rows: u32,
    canonical: bool,
    oldest: u64,
    newest: u64,
}

/// The times of the row being walked.
#[derive(Default)]
struct Times {
    time: u64,
    fallback: u64,
}

impl Walk {
    fn new(max_rows: u32) -> Self {
        Self { rows: 0, parts: 0, buckets: 0, messages: 0, max_rows, canonical: true, oldest: u64::MAX, newest: 0 }
    }

    fn message(&mut self, msg: Msg, mut r: Reader<'_>, depth: u32) -> Result<(), Malformed> {
        let mut seen = 0u32;
        let mut times = Times::default();
        while !r.is_done() {
            let (number, wire) = r.key()?;
            let field = msg.field(number);
            if field.mark & seen != 0 {
                self.canonical = false;
            }
            seen |= field.mark;
            match field.kind {
                Kind::Message(inner) => {
                    expect(&r, wire, Wire::Len)?;
                    let body = r.message()?;
                    if depth == 0 {
                        return Err(r.fault(Fault::Depth));
                    }
                    self.messages += 1;
                    if inner != Msg::KeyValue || depth < 2 || !is_plain(body.rest()) {
                        self.message(inner, body, depth - 1)?;
                    }
                }
                Kind::Unknown => r.skip(number, wire, depth)?,
                _ => self.scalar(field, wire, &mut r, &mut times)?,
            }
        }
        match msg {
            _ if msg.is_row() => self.row(&r, &times),
            _ if msg.is_part() => self.part(&r),
            _ => Ok(()),
        }
    }

    #[inline]
    fn scalar(&mut self, field: Field, wire: Wire, r: &mut Reader<'_>, times: &mut Times) -> Result<(), Malformed> {
        match field.kind {
            Kind::Varint => {
                expect(r, wire, Wire::Varint)?;
                r.varint().map(drop)
            }
            Kind::Fixed64 => {
                expect(r, wire, Wire::Fixed64)?;
                r.fixed64().map(drop)
            }
            Kind::Time => {
                expect(r, wire, Wire::Fixed64)?;
                r.fixed64().map(|t| times.time = t)
            }
            Kind::FallbackTime => {
                expect(r, wire, Wire::Fixed64)?;
                r.fixed64().map(|t| times.fallback = t)
            }
            Kind::Fixed32 => {
                expect(r, wire, Wire::Fixed32)?;
                r.fixed32().map(drop)
            }
            Kind::Bytes => {
                expect(r, wire, Wire::Len)?;
                r.bytes().map(drop)
            }
            Kind::Str => {
                expect(r, wire, Wire::Len)?;
                let at = *r;
                if is_utf8(r.bytes()?) { Ok(()) } else { Err(at.fault(Fault::Utf8)) }
            }
            Kind::PackedFixed64 => self.packed(wire, r, Wire::Fixed64),
            Kind::PackedVarint => self.packed(wire, r, Wire::Varint),
            Kind::Unknown | Kind::Message(_) => Ok(()),
        }
    }

    /// A repeated number: packed into one run, or (unusual) one field per value.
    fn packed(&mut self, wire: Wire, r: &mut Reader<'_>, unpacked: Wire) -> Result<(), Malformed> {
        let one = |r: &mut Reader<'_>| if unpacked == Wire::Varint { r.varint() } else { r.fixed64() };
        if wire == Wire::Len {
            let mut values = r.message()?;
            while !values.is_done() {
                one(&mut values)?;
                self.buckets += u64::from(unpacked == Wire::Varint);
            }
            return if self.buckets <= BUCKETS_PER_ROW * u64::from(self.max_rows) { Ok(()) } else { Err(r.fault(Fault::TooManyParts)) };
        }
        expect(r, wire, unpacked)?;
        self.canonical = false;
        one(r).map(drop)
    }

    fn row(&mut self, r: &Reader<'_>, times: &Times) -> Result<(), Malformed> {
        if self.rows >= self.max_rows {
            return Err(r.fault(Fault::TooManyRows));
        }
        self.rows += 1;
        let time = if times.time == 0 { times.fallback } else { times.time };
        if time != 0 {
            self.oldest = self.oldest.min(time);
            self.newest = self.newest.max(time);
        }
        Ok(())
    }

    fn part(&mut self, r: &Reader<'_>) -> Result<(), Malformed> {
        if self.parts >= self.max_rows {
            return Err(r.fault(Fault::TooManyParts));
        }
        self.parts += 1;
        Ok(())
    }
}

#[inline]
fn expect(r: &Reader<'_>, found: Wire, declared: Wire) -> Result<(), Malformed> {
    if found == declared { Ok(()) } else { Err(r.fault(Fault::WireType)) }
}

#[inline]
fn is_utf8(bytes: &[u8]) -> bool {
    is_ascii(bytes) || simdutf8::basic::from_utf8(bytes).is_ok()
}

/// A KeyValue that needs no walk.
#[inline]
fn is_plain(pair: &[u8]) -> bool {
    plain(pair).is_some_and(|found| found.is_ascii(pair))
}
