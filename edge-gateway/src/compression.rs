//! How a request body stands on the wire and in the inbox, and how it is opened: bounded, whatever the bytes claim.
//!
//! A sender's gzip or zstd is stored as it came. A body that came plain is stored plain while the disk has time and room for it, and with
//! lz4 when not ([`Thrift`]): it is read again only after a crash, and lz4 was the largest single share of the edge's work.

use std::io::{self, Read};

use bytes::Bytes;

/// Largest zstd window accepted: 8 MiB, as the format asks every decoder to support.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Bodies below this are stored as they are, in bytes.
const LZ4_FROM: usize = 256;

/// The form of a body. The numbers are those on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// As it is.
    Plain = 0,
    /// An lz4 block; its length is stated beside it.
    Lz4 = 1,
    /// gzip members.
    Gzip = 2,
    /// zstd frames.
    Zstd = 3,
}

/// Why a body cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Inflate {
    /// Larger than the limit, in bytes.
    #[error("larger than {0} bytes when decompressed")]
    TooLarge(usize),
    /// Not what it says it is.
    #[error("does not decompress")]
    Malformed,
}

impl Compression {
    /// The form of that number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Plain, Self::Lz4, Self::Gzip, Self::Zstd].into_iter().find(|known| *known as u8 == code)
    }

    /// The label in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Lz4 => "lz4",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The form that an HTTP or gRPC encoding header names.
    #[must_use]
    pub fn from_encoding(name: &str) -> Option<Self> {
        match name.trim() {
            "" | "identity" => Some(Self::Plain),
            "gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// How long the body claims to be, in bytes; only good for a first guess.
    #[must_use]
    pub fn claimed_len(self, bytes: &[u8]) -> usize {
        let guess = bytes.len().saturating_mul(16);
        match self {
            Self::Plain => bytes.len(),
            Self::Lz4 => guess,
            // RFC 1952: the last four bytes of a member are its length modulo 2^32.
            Self::Gzip => bytes.last_chunk::<4>().map_or(guess, |len| u32::from_le_bytes(*len) as usize),
            Self::Zstd => match zstd::zstd_safe::get_frame_content_size(bytes) {
                Ok(Some(len)) => usize::try_from(len).unwrap_or(usize::MAX),
                _ => guess,
            },
        }
    }

    /// The body in the open, never more than `limit` bytes of it. An lz4 block must give exactly `limit`.
    ///
    /// # Errors
    /// [`Inflate`].
    pub fn inflate(self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Inflate> {
        match self {
            Self::Plain if bytes.len() > limit => Err(Inflate::TooLarge(limit)),
            Self::Plain => Ok(bytes.to_vec()),
            Self::Lz4 => {
                let out = lz4_flex::block::decompress(bytes, limit).map_err(|_| Inflate::Malformed)?;
                if out.len() == limit { Ok(out) } else { Err(Inflate::Malformed) }
            }
            Self::Gzip => read_all(flate2::read::MultiGzDecoder::new(bytes), self.claimed_len(bytes), limit),
            Self::Zstd => {
                let open = || -> io::Result<_> {
                    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
                    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                    Ok(decoder)
                };
                read_all(open().map_err(|_| Inflate::Malformed)?, self.claimed_len(bytes), limit)
            }
        }
    }
}

fn read_all(reader: impl Read, claimed: usize, limit: usize) -> Result<Vec<u8>, Inflate> {
    let mut out = Vec::with_capacity(claimed.min(limit));
    reader.take(limit as u64 + 1).read_to_end(&mut out).map_err(|_| Inflate::Malformed)?;
    if out.len() > limit { Err(Inflate::TooLarge(limit)) } else { Ok(out) }
}

/// When a body that came plain is worth compressing: when the disk is short of time or of room.
#[derive(Debug, Clone, Copy)]
pub struct Thrift {
    /// Bytes that may wait for the disk.
    pub waiting_bytes: u64,
    /// Bytes that may lie on it.
    pub used_bytes: u64,
}

impl Thrift {
    /// Some milliseconds of a slow disk's work, and half of the inbox's budget: what lies there is mostly gone within two seconds.
    #[must_use]
    pub fn new(budget_bytes: u64) -> Self {
        Self { waiting_bytes: 1 << 20, used_bytes: budget_bytes / 2 }
    }

    /// Compress now?
    #[must_use]
    pub fn is_due(&self, waiting_bytes: u64, used_bytes: u64) -> bool {
        waiting_bytes >= self.waiting_bytes || used_bytes >= self.used_bytes
    }
}

/// A plain body as the inbox stores it when bytes on disk count.
#[must_use]
pub fn for_disk(body: &Bytes) -> (Compression, Bytes) {
    if body.len() >= LZ4_FROM {
        let packed = lz4_flex::block::compress(body);
        if packed.len() < body.len() {
            return (Compression::Lz4, Bytes::from(packed));
        }
    }
    (Compression::Plain, body.clone())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    proptest! {
        /// What was packed comes out as it was, and one byte less of limit refuses it.
        #[test]
        fn round_trip(body in proptest::collection::vec(0u8..4, 1..4000)) {
            let (form, stored) = for_disk(&Bytes::from(body.clone()));
            prop_assert_eq!(form.inflate(&stored, body.len()).unwrap(), body.clone());
            for (form, packed) in [(Compression::Gzip, gzip(&body)), (Compression::Zstd, zstd::encode_all(&body[..], 1).unwrap())] {
                prop_assert_eq!(form.inflate(&packed, body.len()).unwrap(), body.clone());
                prop_assert_eq!(form.inflate(&packed, body.len() - 1), Err(Inflate::TooLarge(body.len() - 1)));
                prop_assert!(form.inflate(&packed[..packed.len() - 1], body.len()).is_err());
            }
        }

        /// Noise is refused or opened within the limit.
        #[test]
        fn noise(bytes in proptest::collection::vec(any::<u8>(), 0..300), code in 0u8..4) {
            let form = Compression::from_code(code).unwrap();
            if let Ok(out) = form.inflate(&bytes, 1000) {
                prop_assert!(out.len() <= 1000);
            }
        }
    }

    /// A body that unpacks to a thousand times the limit costs no more than the limit.
    #[test]
    fn a_bomb_is_refused() {
        let bomb = vec![0; 8 << 20];
        for (form, packed) in [(Compression::Gzip, gzip(&bomb)), (Compression::Zstd, zstd::encode_all(&bomb[..], 1).unwrap())] {
            assert!(packed.len() < 1 << 20);
            assert_eq!(form.inflate(&packed, 64 << 10), Err(Inflate::TooLarge(64 << 10)));
        }
    }

    /// Bodies are compressed from when the disk falls behind, or fills.
    #[test]
    fn thrift_begins_at_either_bound() {
        let thrift = Thrift::new(4000);
        let waiting = thrift.waiting_bytes;
        assert!(!thrift.is_due(0, 0) && !thrift.is_due(waiting - 1, 1999));
        assert!(thrift.is_due(waiting, 0) && thrift.is_due(0, 2000));
    }

    /// The codes on disk are for ever.
    #[test]
    fn codes_stay() {
        for (code, form) in [Compression::Plain, Compression::Lz4, Compression::Gzip, Compression::Zstd].into_iter().enumerate() {
            assert_eq!(Compression::from_code(code as u8), Some(form));
        }
        assert_eq!(Compression::from_code(4), None);
    }
}
