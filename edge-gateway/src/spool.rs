//! The spool: batches on disk until a router acknowledges them. One write makes a batch durable and its inbox rows consumed.
//!
//! A record's payload is the batch's payload. Its meta is the batch header followed by the batch's [`Sources`]. The header on disk
//! has `seq` 0, since the log gives the number only when it appends: [`Stored::named`] completes it from the record's own seq, so
//! that a batch's id and its place in the spool cannot disagree.

mod ages;
pub mod policy;

use federation_proto::header::{BatchHeader, HeaderError};
use federation_proto::identity::{BatchId, Seq, SpoolId};

use crate::custody::{InvalidSources, Sources};
use crate::shipper::Item;

pub use ages::Ages;
pub(crate) use ages::Mark;

/// For who repairs: whose log this is.
pub const OWNER: repair::Owner = repair::Owner {
    noun: "spool",
    part: "edge",
    program: "tributary-edge",
    header: |id, seq, meta| Stored::decode(meta).ok().map(|stored| stored.named(SpoolId(id), seq)),
};

/// What a spool record says about its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The header, without its `seq`.
    pub header: BatchHeader,
    /// Where its rows came from.
    pub sources: Sources,
}

/// Bytes that are not a spool record's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    /// No batch header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// No list of sources behind it.
    #[error(transparent)]
    Sources(#[from] InvalidSources),
}

impl Stored {
    /// The meta of the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let id = BatchId { seq: Seq(0), ..self.header.id };
        let mut meta = BatchHeader { id, ..self.header.clone() }.encode();
        self.sources.encode(&mut meta);
        meta
    }

    /// Reads what [`Stored::encode`] wrote.
    ///
    /// # Errors
    /// [`InvalidRecord`].
    pub fn decode(meta: &[u8]) -> Result<Self, InvalidRecord> {
        let (header, len) = BatchHeader::decode(meta)?;
        Ok(Self { header, sources: Sources::decode(&meta[len..])? })
    }

    /// The header as it goes on the wire: with the number that the spool gave.
    #[must_use]
    pub fn named(&self, spool: SpoolId, seq: Seq) -> BatchHeader {
        BatchHeader { id: BatchId { spool, seq }, ..self.header.clone() }
    }

    /// What the shipper must know of it.
    #[must_use]
    pub fn item(&self, seq: Seq) -> Item {
        let header = &self.header;
        let payload_bytes = u64::from(header.payload_len);
        Item {
            seq,
            tenant: header.tenant.clone(),
            signal: header.signal,
            class: header.class,
            rows: header.rows,
            wire_bytes: header.encode().len() as u64 + payload_bytes,
            payload_bytes,
            raw_bytes: header.raw_bytes,
            oldest_unix_nano: header.oldest_unix_nano,
        }
    }
}

#[cfg(test)]
mod tests {
    use federation_proto::identity::{Class, Signal, TenantId};

    use super::*;

    /// The header that ships has the record's number and is otherwise the one stored, byte for byte of the same length.
    #[test]
    fn the_log_names_the_batch() {
        let header = BatchHeader {
            id: BatchId { spool: SpoolId([1; 16]), seq: Seq(99) },
            tenant: TenantId::new("acme").unwrap(),
            signal: Signal::Traces,
            class: Class::High,
            rows: 3,
            raw_bytes: 1000,
            oldest_unix_nano: 5,
            newest_unix_nano: 6,
            encoding: 1,
            payload_len: 77,
            payload_crc: 8,
        };
        let stored = Stored { header: header.clone(), sources: Sources { inbox: [2; 16], whole: vec![4..=9], partial: Vec::new() } };
        let read = Stored::decode(&stored.encode()).unwrap();
        assert_eq!(read.sources, stored.sources);
        assert_eq!(read.header.id.seq, Seq(0));
        assert_eq!(read.named(SpoolId([1; 16]), Seq(99)), header);
        assert_eq!(read.item(Seq(99)).wire_bytes, header.encode().len() as u64 + 77);
        assert!(Stored::decode(&stored.encode()[..60]).is_err());
    }
}
