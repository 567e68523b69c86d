//! Where a batch's bytes come from: the bodies of its parts, addressed as if they stood one after the other.

use super::encoder::{EncodeError, Part};
use crate::otlp::Malformed;
use crate::otlp::wire::Reader;

/// A piece of the parts' bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) at: u32,
    pub(crate) len: u32,
}

impl Span {
    pub(crate) fn new(at: usize, len: usize) -> Self {
        Self { at: at as u32, len: len as u32 }
    }

    /// In one word, so that a slot can hold either a number or a span.
    #[inline]
    pub(crate) fn pack(self) -> u64 {
        u64::from(self.at) << 32 | u64::from(self.len)
    }

    #[inline]
    pub(crate) fn unpack(word: u64) -> Self {
        Self { at: (word >> 32) as u32, len: word as u32 }
    }
}

/// Most bytes of the bodies of one batch together, so that 32 bits address each of them and whatever is derived from them.
const MAX_BYTES: usize = 1 << 30;

/// The bodies of a batch's parts.
pub(crate) struct Sources<'a> {
    parts: Vec<(usize, &'a [u8])>,
}

impl<'a> Sources<'a> {
    pub(crate) fn new(parts: &[Part<'a>]) -> Result<Self, EncodeError> {
        let mut end = 0usize;
        let mut out = Vec::with_capacity(parts.len());
        for part in parts {
            out.push((end, part.body));
            end += part.body.len();
        }
        if end > MAX_BYTES {
            return Err(EncodeError::TooLarge("bodies"));
        }
        Ok(Self { parts: out })
    }

    /// Each part's first address and body.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (usize, &'a [u8])> + '_ {
        self.parts.iter().copied()
    }

    /// The bytes of a span that was taken from one of the parts.
    #[inline]
    pub(crate) fn get(&self, span: Span) -> &'a [u8] {
        let at = span.at as usize;
        let part = match self.parts.as_slice() {
            [only] => only,
            parts => match parts.get(parts.partition_point(|(start, _)| *start <= at).wrapping_sub(1)) {
                Some(part) => part,
                None => return &[],
            },
        };
        part.1.get(at - part.0..).and_then(|rest| rest.get(..span.len as usize)).unwrap_or_default()
    }
}

/// A trace or span id: short ones in place, so that comparing and writing them does not look back into the body.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Id {
    word: [u8; 8],
    span: Span,
}

impl Id {
    /// Reads a bytes field.
    #[inline]
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let bytes = r.bytes()?;
        let at = r.offset() - bytes.len();
        let mut word = [0; 8];
        if let Some(short) = word.get_mut(..bytes.len()) {
            short.copy_from_slice(bytes);
        }
        Ok(Self { word, span: Span::new(at, bytes.len()) })
    }

    pub(crate) fn len(&self) -> usize {
        self.span.len as usize
    }

    /// The id as a number, if it has the usual eight bytes.
    pub(crate) fn word(&self) -> Option<u64> {
        (self.span.len == 8).then_some(u64::from_le_bytes(self.word))
    }

    #[inline]
    pub(crate) fn bytes<'a>(&'a self, sources: &Sources<'a>) -> &'a [u8] {
        self.word.get(..self.len()).unwrap_or_else(|| sources.get(self.span))
    }
}
