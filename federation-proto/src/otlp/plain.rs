//! KeyValues in the form in which nearly all come: recognised at a glance, without the general walk.

use super::wire::Reader;

/// A KeyValue of a key and one scalar, each length in one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plain<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: Scalar<'a>,
}

/// The value of a [`Plain`] one; strings are not yet known to be UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar<'a> {
    Str(&'a [u8]),
    Bool(bool),
    Int(u64),
    /// The bits of a double.
    Double(u64),
}

/// The KeyValue in `pair`. `None` says nothing of it: the general walk decides.
#[inline]
pub(crate) fn plain(pair: &[u8]) -> Option<Plain<'_>> {
    let [0x0a, key_len @ 0..0x80, rest @ ..] = pair else { return None };
    let (key, [0x12, value_len @ 0..0x80, value @ ..]) = rest.split_at_checked(usize::from(*key_len))? else { return None };
    if value.len() != usize::from(*value_len) {
        return None;
    }
    let value = match value {
        [0x0a, len @ 0..0x80, text @ ..] if text.len() == usize::from(*len) => Scalar::Str(text),
        [0x10, value @ 0..0x80] => Scalar::Bool(*value != 0),
        [0x18, value @ ..] => {
            let mut r = Reader::new(value);
            let value = r.varint().ok()?;
            if !r.is_done() {
                return None;
            }
            Scalar::Int(value)
        }
        [0x21, bits @ ..] => Scalar::Double(u64::from_le_bytes(bits.try_into().ok()?)),
        _ => return None,
    };
    Some(Plain { key, value })
}

impl Plain<'_> {
    /// Whether key and value are ASCII; `pair` is what it was read from.
    #[inline]
    pub(crate) fn is_ascii(&self, pair: &[u8]) -> bool {
        // Between key and string stand only lengths below 128 and tags, ASCII too: one look for both.
        is_ascii(if matches!(self.value, Scalar::Str(_)) { pair } else { self.key })
    }
}

/// Whether all bytes are ASCII: for short strings, eight bytes at a time, the last eight overlapping what went before.
#[inline]
pub(crate) fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let Some(last) = bytes.last_chunk::<8>() else { return bytes.iter().fold(0, |all, byte| all | byte) < 0x80 };
    let (chunks, _) = bytes.as_chunks::<8>();
    chunks.iter().fold(u64::from_le_bytes(*last), |all, chunk| all | u64::from_le_bytes(*chunk)) & HIGH == 0
}
