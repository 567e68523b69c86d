//! The wire where UDP is blocked: what QUIC's streams carry, in chunks over TLS 1.3 on TCP.
//!
//! One connection has one control stream each way and a stream for each batch, from the edge. A chunk is a head of [`HEAD_LEN`] bytes,
//! little-endian, and its content:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | kind, see [`Kind`] |
//! | 3 | length of the content: 0 to [`MAX_CONTENT_LEN`] |
//! | 8 | stream: the edge's number for it, not used twice on a connection; 0 where there is none |
//! | n | content |
//!
//! Control and data have the bytes that [`crate::frame`] describes for QUIC, cut anywhere. Chunks of several batches are interleaved in
//! the order that the edge's shipper decides; control goes before data. A router that stops a stream ignores what still comes of it, until
//! its last chunk or its reset. Chunks are not flow-controlled one by one: a router takes no payload beyond the credit that it gave.
//!
//! A ping is answered by a pong, as TCP does not tell in time that the other end is gone. Bounds: a decoder holds one chunk and what the
//! last read brought.

use bytes::{Buf, Bytes, BytesMut};

use crate::frame::CloseCode;

/// ALPN protocol name of this version of the wire over TCP.
pub const ALPN: &[u8] = b"tributary-tcp/1";
/// Bytes before the content.
pub const HEAD_LEN: usize = 12;
/// Longest content, in bytes.
pub const MAX_CONTENT_LEN: usize = 64 * 1024;
/// Longest reason of a close, in bytes.
pub const MAX_REASON_LEN: usize = 512;

/// What a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Bytes of the control stream.
    Control = 0,
    /// Bytes of a batch.
    Data = 1,
    /// Bytes of a batch, the last.
    Last = 2,
    /// From the edge: it takes the stream back.
    Reset = 3,
    /// From the router: it wants no more of the stream.
    Stop = 4,
    /// From the router: it has all of the stream.
    Got = 5,
    /// Are you there?
    Ping = 6,
    /// Yes.
    Pong = 7,
    /// The last chunk: a [`CloseCode`] (4 bytes) and a reason for people.
    Close = 8,
}

impl Kind {
    const ALL: [Self; 9] = [Self::Control, Self::Data, Self::Last, Self::Reset, Self::Stop, Self::Got, Self::Ping, Self::Pong, Self::Close];

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// A piece of a stream, or a word about one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// What it is.
    pub kind: Kind,
    /// Of which stream.
    pub stream: u64,
    /// Its bytes.
    pub content: Bytes,
}

/// Bytes that are no chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A kind that is none.
    #[error("chunk of kind {0}: expected 0 to 8")]
    Kind(u8),
    /// A length beyond the cap.
    #[error("chunk states {0} bytes: expected at most {MAX_CONTENT_LEN}")]
    Length(usize),
}

/// The head of a chunk. `len` is at most [`MAX_CONTENT_LEN`]; more is cut to it.
#[must_use]
pub fn head(kind: Kind, stream: u64, len: usize) -> [u8; HEAD_LEN] {
    let [a, b, c, _] = (len.min(MAX_CONTENT_LEN) as u32).to_le_bytes();
    let mut head = [0; HEAD_LEN];
    head[..4].copy_from_slice(&[kind as u8, a, b, c]);
    head[4..].copy_from_slice(&stream.to_le_bytes());
    head
}

/// Appends `content` as chunks of a kind that has any length.
pub fn put(out: &mut Vec<u8>, kind: Kind, stream: u64, content: &[u8]) {
    for piece in content.chunks(MAX_CONTENT_LEN) {
        out.extend_from_slice(&head(kind, stream, piece.len()));
        out.extend_from_slice(piece);
    }
}

/// Appends a chunk that says all by its kind.
pub fn put_word(out: &mut Vec<u8>, kind: Kind, stream: u64) {
    out.extend_from_slice(&head(kind, stream, 0));
}

/// Appends the last chunk; the reason is cut to [`MAX_REASON_LEN`].
pub fn put_close(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    let mut cut = reason.len().min(MAX_REASON_LEN);
    while !reason.is_char_boundary(cut) {
        cut -= 1;
    }
    let content = [&code.code().to_le_bytes(), &reason.as_bytes()[..cut]].concat();
    put(out, Kind::Close, 0, &content);
}

/// What a [`Kind::Close`] says: its code, when this version knows it, and the reason.
#[must_use]
pub fn close_of(content: &[u8]) -> (Option<CloseCode>, String) {
    let (code, reason) = content.split_first_chunk::<4>().unwrap_or((&[0xff; 4], content));
    let reason = &reason[..reason.len().min(MAX_REASON_LEN)];
    (CloseCode::from_code(u32::from_le_bytes(*code).into()), String::from_utf8_lossy(reason).into_owned())
}

/// Takes bytes as they come and gives back whole chunks.
#[derive(Debug, Default)]
pub struct ChunkDecoder {
    buffer: BytesMut,
}

impl ChunkDecoder {
    /// Where to read to: has room for `least` bytes more. Call [`ChunkDecoder::next_chunk`] until it is empty before the next read.
    pub fn room(&mut self, least: usize) -> &mut BytesMut {
        self.buffer.reserve(least);
        &mut self.buffer
    }

    /// Bytes of a chunk that is not whole yet.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole chunk, if it is there. Its content shares the memory that it was read to.
    ///
    /// # Errors
    /// [`ChunkError`]: the connection is of no use after it.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, ChunkError> {
        let Some(&[code, a, b, c]) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let kind = Kind::from_code(code).ok_or(ChunkError::Kind(code))?;
        let len = u32::from_le_bytes([a, b, c, 0]) as usize;
        if len > MAX_CONTENT_LEN {
            return Err(ChunkError::Length(len));
        }
        if self.buffer.len() < HEAD_LEN + len {
            return Ok(None);
        }
        self.buffer.advance(4);
        let stream = self.buffer.get_u64_le();
        Ok(Some(Chunk { kind, stream, content: self.buffer.split_to(len).freeze() }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunks(pieces: impl Iterator<Item = Vec<u8>>) -> (Vec<Chunk>, Option<ChunkError>) {
        let (mut decoder, mut found) = (ChunkDecoder::default(), Vec::new());
        for piece in pieces {
            decoder.room(piece.len()).extend_from_slice(&piece);
            loop {
                match decoder.next_chunk() {
                    Ok(Some(chunk)) => found.push(chunk),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error)),
                }
            }
        }
        (found, None)
    }

    proptest! {
        /// Chunks come out as they went in, however the connection is cut.
        #[test]
        fn any_cut(parts in proptest::collection::vec((0u8..9, any::<u64>(), 0usize..300), 0..8), step in 1usize..50) {
            let mut wire = Vec::new();
            let mut expected = Vec::new();
            for (code, stream, len) in parts {
                let (kind, content) = (Kind::from_code(code).unwrap(), vec![code; len]);
                if len == 0 { put_word(&mut wire, kind, stream) } else { put(&mut wire, kind, stream, &content) }
                expected.push(Chunk { kind, stream, content: content.into() });
            }
            prop_assert_eq!(chunks(wire.chunks(step).map(<[u8]>::to_vec)), (expected, None));
        }

        /// Noise is the same chunks and the same error however it is cut, and never a panic.
        #[test]
        fn noise(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let whole = chunks(std::iter::once(bytes.clone()));
            prop_assert_eq!(chunks(bytes.chunks(1).map(<[u8]>::to_vec)), whole);
        }
    }

    /// A kind that is none and a length beyond the cap are refused before a byte of the content is awaited.
    #[test]
    fn the_caps_hold() {
        assert_eq!(chunks(std::iter::once(vec![9, 0, 0, 0])).1, Some(ChunkError::Kind(9)));
        let [a, b, c, _] = (MAX_CONTENT_LEN as u32 + 1).to_le_bytes();
        assert_eq!(chunks(std::iter::once(vec![1, a, b, c])).1, Some(ChunkError::Length(MAX_CONTENT_LEN + 1)));
    }

    /// Content longer than a chunk is cut into several; a reason is cut between letters.
    #[test]
    fn long_things_are_cut() {
        let mut wire = Vec::new();
        put(&mut wire, Kind::Data, 3, &vec![7; MAX_CONTENT_LEN + 5]);
        put_close(&mut wire, CloseCode::Busy, &"ä".repeat(MAX_REASON_LEN));
        let (found, _) = chunks(std::iter::once(wire));
        assert_eq!(found.iter().map(|chunk| chunk.content.len()).collect::<Vec<_>>(), [MAX_CONTENT_LEN, 5, 4 + MAX_REASON_LEN]);
        assert_eq!(close_of(&found[2].content), (Some(CloseCode::Busy), "ä".repeat(MAX_REASON_LEN / 2)));
        assert_eq!(close_of(&[1]), (None, "\u{1}".to_owned()));
    }
}
