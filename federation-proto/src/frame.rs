//! How control messages stand on their stream, and with which codes a connection is closed.
//!
//! A control message is a `u32` little-endian length (1 to [`MAX_CONTROL_LEN`]) and that many bytes of protobuf. A data stream is a
//! batch header (see [`crate::header`]) and its payload, nothing else; its end is the batch's end.

use std::marker::PhantomData;

use bytes::{Buf, BytesMut};
use prost::Message;

/// ALPN protocol name of this version of the wire.
pub const ALPN: &[u8] = b"tributary/1";
/// Version stated in Hello and Welcome.
pub const PROTOCOL: u32 = 1;
/// Longest control message, in bytes.
pub const MAX_CONTROL_LEN: usize = 256 * 1024;

/// Why a peer closed the connection: QUIC application error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum CloseCode {
    /// Done; come back when you like.
    Drain = 0,
    /// Bytes that are no frame, header or message of the protocol.
    Malformed = 1,
    /// No common protocol version or encoding.
    Version = 2,
    /// The certificate names no edge that this router knows.
    UnknownEdge = 3,
    /// A frame, header or batch beyond the stated limits.
    TooLarge = 4,
    /// The peer did not do in time what the protocol asks of it.
    Timeout = 5,
    /// The closing side is at its limit of connections.
    Busy = 6,
    /// The closing side failed; its log says how.
    Internal = 7,
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> u32 {
        self as u32
    }

    /// The code of that number, when this version knows it.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        use CloseCode::{Busy, Drain, Internal, Malformed, Timeout, TooLarge, UnknownEdge, Version};
        [Drain, Malformed, Version, UnknownEdge, TooLarge, Timeout, Busy, Internal]
            .into_iter()
            .find(|known| u64::from(known.code()) == code)
    }

    /// The label in metrics and the word in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::UnknownEdge => "unknown_edge",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::Busy => "busy",
            Self::Internal => "internal",
        }
    }
}

/// Bytes on a control stream that are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length outside 1 to [`MAX_CONTROL_LEN`].
    #[error("control frame states {0} bytes: expected 1 to {MAX_CONTROL_LEN}")]
    Length(usize),
    /// Not the protobuf that was expected.
    #[error("control frame is no message: {0}")]
    Message(#[from] prost::DecodeError),
}

/// The frame of one control message.
///
/// # Errors
/// [`FrameError::Length`] for a message that the peer would refuse.
pub fn encode_control<M: Message>(message: &M) -> Result<Vec<u8>, FrameError> {
    let len = message.encoded_len();
    if !(1..=MAX_CONTROL_LEN).contains(&len) {
        return Err(FrameError::Length(len));
    }
    let mut out = Vec::with_capacity(4 + len);
    out.extend_from_slice(&(len as u32).to_le_bytes());
    message.encode_raw(&mut out);
    Ok(out)
}

/// Takes bytes as they come and gives back whole messages. Holds at most one frame and what the last push brought.
#[derive(Debug)]
pub struct ControlDecoder<M> {
    buffer: BytesMut,
    kind: PhantomData<fn() -> M>,
}

impl<M> Default for ControlDecoder<M> {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), kind: PhantomData }
    }
}

impl<M: Message + Default> ControlDecoder<M> {
    /// Bytes as read from the stream. Call [`ControlDecoder::next_message`] until it is empty before the next push.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if it is there.
    ///
    /// # Errors
    /// [`FrameError`]: the stream is of no use after it.
    pub fn next_message(&mut self) -> Result<Option<M>, FrameError> {
        let Some(len) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_le_bytes(*len) as usize;
        if !(1..=MAX_CONTROL_LEN).contains(&len) {
            return Err(FrameError::Length(len));
        }
        if self.buffer.len() < 4 + len {
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(M::decode(self.buffer.split_to(len))?))
    }

    /// Is a frame begun and not at its end? True also while whole messages wait.
    #[must_use]
    pub fn is_within(&self) -> bool {
        !self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::control::{EdgeMessage, Status};

    proptest! {
        /// Messages come out as they went in, however the stream is cut.
        #[test]
        fn any_cut(depths in proptest::collection::vec(1u64..u64::MAX, 1..6), step in 1usize..40) {
            let messages: Vec<EdgeMessage> = depths.iter().map(|&queued_bytes| Status { queued_bytes, ..Status::default() }.into()).collect();
            let wire: Vec<u8> = messages.iter().flat_map(|m| encode_control(m).unwrap()).collect();
            let mut decoder = ControlDecoder::<EdgeMessage>::default();
            let mut seen = Vec::new();
            for piece in wire.chunks(step) {
                decoder.push(piece);
                while let Some(message) = decoder.next_message().unwrap() {
                    seen.push(message);
                }
            }
            prop_assert_eq!(seen, messages);
        }

        /// Noise is an error, a wait or a message, never a panic.
        #[test]
        fn noise(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = ControlDecoder::<EdgeMessage>::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_message() {}
        }
    }

    /// A length beyond the cap is refused before a byte of it is awaited.
    #[test]
    fn the_cap_holds() {
        let mut decoder = ControlDecoder::<EdgeMessage>::default();
        decoder.push(&(MAX_CONTROL_LEN as u32 + 1).to_le_bytes());
        assert_eq!(decoder.next_message(), Err(FrameError::Length(MAX_CONTROL_LEN + 1)));
    }
}
