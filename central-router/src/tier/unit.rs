//! A unit: a run of journal records, decoded, that a tier writes as one.

use std::ops::RangeInclusive;

use federation_proto::columns::Columns;
use federation_proto::identity::{Signal, TenantId};

/// One batch of a unit.
#[derive(Debug)]
pub struct UnitBatch {
    /// Its place on the journal.
    pub seq: u64,
    /// Whose records.
    pub tenant: TenantId,
    /// Which signal.
    pub signal: Signal,
    /// Bytes of the records as OTLP, as their edge says: a guess to plan with.
    pub raw_bytes: u64,
    /// The records.
    pub columns: Columns,
}

/// See the module. What could not be read or decoded is not in it; the consumer has counted that.
#[derive(Debug)]
pub struct Unit {
    /// The journal.
    pub journal: [u8; 16],
    /// First to last record, those that are missing included.
    pub range: RangeInclusive<u64>,
    /// The batches, in the order of the journal.
    pub batches: Vec<UnitBatch>,
}

impl Unit {
    /// `<journal id>-<first seq>-<last seq>`: the same for every attempt, and for no other unit.
    #[must_use]
    pub fn name(&self) -> String {
        unit_name(self.journal, &self.range)
    }
}

/// See [`Unit::name`].
#[must_use]
pub fn unit_name(journal: [u8; 16], range: &RangeInclusive<u64>) -> String {
    format!("{:032x}-{}-{}", u128::from_be_bytes(journal), range.start(), range.end())
}
