//! Records back, whole and right or not at all; and damaged ones put aside.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use federation_proto::identity::Seq;

use super::quarantine::Stretch;
use super::{Damage, DamageKind, Location, Log, Record};
use crate::error::ReadError;
use crate::mutation::{self, Mutation};
use crate::segment::{Kind, PATIENT_READS, Part, RECORD_HEADER_BYTES, RecordHeader, SegmentKey};
use crate::store::StoreFile;

/// A record that was found; [`PendingRead::run`] reads it without the log, and even after its segment was removed.
#[must_use = "nothing is read before run()"]
pub struct PendingRead {
    pub(super) seq: Seq,
    pub(super) location: Location,
    pub(super) key: SegmentKey,
    pub(super) file: Arc<dyn StoreFile>,
}

impl PendingRead {
    /// Reads and checks the record. Memory: the record, once.
    ///
    /// # Errors
    /// [`ReadError::Damaged`], [`ReadError::Io`].
    pub fn run(self) -> Result<Record, ReadError> {
        let (header, body) = self.checked(self.location.bytes())?;
        let meta = body.slice(..header.meta_len as usize);
        let payload = body.slice(header.meta_len as usize..);
        let crc = crc32c::crc32c_append(self.key.seed(self.location.offset.into(), Part::Payload), &payload);
        if !header.payload_is(crc) && !mutation::is(Mutation::TornTailAccepted) {
            return Err(self.damaged("payload CRC"));
        }
        Ok(Record { meta, payload })
    }

    /// Reads and checks the meta alone.
    pub(super) fn meta(self) -> Result<Bytes, ReadError> {
        Ok(self.checked(self.location.meta_len.into())?.1)
    }

    /// The header, checked, and `bytes` of what follows it, with the meta checked.
    fn checked(&self, bytes: u64) -> Result<(RecordHeader, Bytes), ReadError> {
        let offset = u64::from(self.location.offset);
        let mut buffer = vec![0; RECORD_HEADER_BYTES + bytes as usize];
        let read = self.file.read_at(&mut buffer, offset).map_err(|error| self.io(error))?;
        if read < buffer.len() {
            return Err(self.damaged("cut short"));
        }
        let header = RecordHeader::decode(&buffer, self.key, offset).ok_or_else(|| self.damaged("header CRC"))?;
        let expected = (Kind::Data, self.seq, self.location.meta_len, self.location.payload_len);
        if (header.kind, header.stamp.seq, header.meta_len, header.payload_len) != expected {
            return Err(self.damaged("another record stands there"));
        }
        let body = Bytes::from(buffer).slice(RECORD_HEADER_BYTES..);
        if !header.meta_is(crc32c::crc32c_append(self.key.seed(offset, Part::Meta), &body[..header.meta_len as usize])) {
            return Err(self.damaged("meta CRC"));
        }
        Ok((header, body))
    }

    fn damaged(&self, what: &'static str) -> ReadError {
        ReadError::Damaged { seq: self.seq, segment: self.location.segment, offset: self.location.offset.into(), what }
    }

    fn io(&self, error: io::Error) -> ReadError {
        ReadError::Io { seq: self.seq, segment: self.location.segment, source: Arc::new(error) }
    }
}

impl Log {
    /// A pending record.
    ///
    /// # Errors
    /// [`ReadError::NotPending`]; [`ReadError::Damaged`] (see [`Log::quarantine`]); [`ReadError::Io`].
    pub fn read(&self, seq: Seq) -> Result<Record, ReadError> {
        self.prepare_read(seq)?.run()
    }

    /// The meta of a pending record, without reading its payload.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_meta(&self, seq: Seq) -> Result<Bytes, ReadError> {
        self.prepare_read(seq)?.meta()
    }

    /// As [`Log::read_meta`], for a start, which has to know the record: a read that the disk refuses once says nothing of it. Only what it
    /// refuses three times in a row is an error.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_meta_patiently(&self, seq: Seq) -> Result<Bytes, ReadError> {
        let mut tries = 1;
        loop {
            match self.read_meta(seq) {
                Err(ReadError::Io { .. }) if tries < PATIENT_READS => tries += 1,
                read => return read,
            }
        }
    }

    /// Finds a pending record, for a driver that reads without holding a lock.
    ///
    /// # Errors
    /// [`ReadError::NotPending`]; [`ReadError::Io`] if its segment cannot be opened.
    pub fn prepare_read(&self, seq: Seq) -> Result<PendingRead, ReadError> {
        let location = *self.pending.get(&seq.0).ok_or(ReadError::NotPending(seq))?;
        let file = self.file_of(location).map_err(|error| ReadError::Io { seq, segment: location.segment, source: Arc::new(error) })?;
        Ok(PendingRead { seq, location, key: SegmentKey::new(&self.id, location.segment), file })
    }

    pub(super) fn file_of(&self, location: Location) -> io::Result<Arc<dyn StoreFile>> {
        if let Some(active) = &self.active
            && active.number == location.segment
        {
            return Ok(Arc::clone(&active.file));
        }
        let segment = self.segments.get(&location.segment).ok_or(io::ErrorKind::NotFound)?;
        self.files.get(&*self.store, location.segment, &segment.name)
    }

    /// Gives a pending record up for damaged: copies its bytes aside, counts it and acknowledges it. `None` if it was not pending. What the
    /// caller does about the rows in it is the caller's to count.
    pub fn quarantine(&mut self, seq: Seq) -> Option<Damage> {
        let location = *self.pending.get(&seq.0)?;
        let (segment, offset, bytes) = (location.segment, u64::from(location.offset), location.end() - u64::from(location.offset));
        let meta = self.read_meta(seq).ok().map(|meta| meta.to_vec());
        let quarantined = self.file_of(location).ok().and_then(|file| {
            let stretch = Stretch { file: &*file, segment, offset, bytes, torn: false };
            self.quarantine.copy(&*self.store, &stretch)
        });
        self.ack(seq);
        self.stats.damages_total += 1;
        self.stats.damaged_records_total += 1;
        tracing::error!(place = self.store.place(), %seq, %segment, offset, "damaged record put aside");
        Some(Damage { kind: DamageKind::Records, segment, offset, bytes, seqs: seq..seq.next(), meta, quarantined })
    }
}
