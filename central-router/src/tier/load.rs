//! Journal records into a unit: read, checked, decoded. What is damaged or does not decode is counted, put aside, and passed over.
//!
//! Memory: a unit is planned by what headers say of raw bytes, which an edge may understate. A batch whose columns take more than its
//! header makes likely ([`likely`]) therefore ends its unit: at most one such batch is in memory, whatever the headers say.

use std::sync::Arc;

use federation_proto::codec::{DecodeError, DecodeLimits, Decoder};
use federation_proto::header::BatchHeader;
use federation_proto::ledger::{Ledger, Reason, TierTerms};
use segment_log::ReadError;
use service::supervise;

use super::{Unit, UnitBatch};
use crate::journal::Journal;
use crate::journal::book::{Plan, Planned};
use crate::quarantine::Quarantine;

/// May a unit end before its plan does?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Behind a batch that takes more memory than its header makes likely.
    BehindHeavy,
    /// It was begun as exactly this.
    Never,
}

/// A unit and what reading it cost.
pub struct Loaded {
    /// What the tier is to write.
    pub unit: Arc<Unit>,
    /// What is not in it.
    pub outcome: Ledger<TierTerms>,
}

/// The records of `plan`, decoded; what is damaged or does not decode is in the outcome.
///
/// # Errors
/// The disk refuses a read; nothing was counted then.
pub fn load(journal: &Journal, quarantine: &Quarantine, plan: &Plan, cut: Cut) -> Result<Loaded, ReadError> {
    let mut batches = Vec::with_capacity(plan.batches.len());
    let mut outcome = Ledger::<TierTerms>::default();
    let mut range = plan.range.clone();
    let mut drop = |planned: &Planned, reason: Reason| {
        *outcome.account(&planned.tenant, planned.signal).dropped.entry(reason).or_default() += planned.rows;
        metrics::counter!("tributary_router_dropped_rows_total", "reason" => reason.as_str()).increment(planned.rows);
    };
    for planned in &plan.batches {
        let record = match journal.read(planned.seq) {
            Ok(record) => record,
            Err(error @ ReadError::Io { .. }) => return Err(error),
            Err(error) => {
                tracing::error!(seq = planned.seq.0, %error, "a journal record is lost");
                journal.quarantine(planned.seq);
                drop(planned, Reason::Damaged);
                continue;
            }
        };
        match survive(|| decode(planned, &record.meta, &record.payload)) {
            Ok((batch, heavy)) => {
                batches.push(batch);
                if heavy && cut == Cut::BehindHeavy {
                    range = *range.start()..=planned.seq.0;
                    break;
                }
            }
            Err(why) => {
                let kept = quarantine.keep(journal.id(), planned.seq.0, &record.meta, &record.payload);
                let kept = kept.map_or_else(|error| format!("not kept: {error}"), |path| path.display().to_string());
                tracing::error!(seq = planned.seq.0, tenant = %planned.tenant, why, kept, "a batch does not decode");
                drop(planned, Reason::Undecodable);
            }
        }
    }
    let unit = Unit { journal: journal.id(), range, batches };
    Ok(Loaded { unit: Arc::new(unit), outcome })
}

/// A panic costs the batch that it met, as any other fault of it would: it must not stop the tier, now or after a restart.
pub(crate) fn survive<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    supervise::survive_now(decode).unwrap_or_else(|panic| {
        supervise::count("decode", &panic);
        Err(format!("the decoder {panic}"))
    })
}

/// The batch, and whether it takes more memory than its header makes likely.
fn decode(planned: &Planned, meta: &[u8], payload: &[u8]) -> Result<(UnitBatch, bool), String> {
    let (header, _) = BatchHeader::decode(meta).map_err(|error| error.to_string())?;
    let decode = |limits: &DecodeLimits| Decoder::decode(header.signal, header.encoding, payload, limits);
    let (decoded, heavy) = match decode(&likely(&header)) {
        Err(DecodeError::Limit(_)) => (decode(&DecodeLimits { max_rows: header.rows, ..DecodeLimits::default() }), true),
        decoded => (decoded, false),
    };
    let columns = decoded.map_err(|error| error.to_string())?;
    if columns.rows() as u64 != planned.rows {
        return Err(format!("{} rows in the payload, {} by its header", columns.rows(), planned.rows));
    }
    let BatchHeader { tenant, signal, raw_bytes, .. } = header;
    Ok((UnitBatch { seq: planned.seq.0, tenant, signal, raw_bytes, columns }, heavy))
}

/// What a batch with this header is likely to take: eight times its raw bytes, 1 KiB a row, 64 KiB.
pub(crate) fn likely(header: &BatchHeader) -> DecodeLimits {
    let most = DecodeLimits::default();
    let bytes = header.raw_bytes.saturating_mul(8).saturating_add((u64::from(header.rows) << 10) + (64 << 10));
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    DecodeLimits {
        max_raw_bytes: most.max_raw_bytes.min(bytes),
        max_rows: header.rows,
        max_memory_bytes: most.max_memory_bytes.min(bytes),
        max_text_bytes: most.max_text_bytes.min(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A panic while decoding is a fault of the batch, with words for the log.
    #[test]
    fn a_panic_is_a_fault_of_the_batch() {
        assert_eq!(survive(|| Ok(1)), Ok(1));
        assert!(survive::<()>(|| panic!("a bug")).unwrap_err().contains("panicked"));
    }
}
