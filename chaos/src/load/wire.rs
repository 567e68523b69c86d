//! Just enough protobuf to find where fields stand in bytes that this program encoded itself.

use std::ops::Range;

/// A field of a message: its number, and where its value stands (for a length-delimited one: behind the length).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) value: Range<usize>,
}

/// The fields of the message at `message` of `body`, up to the first thing that is none.
pub(super) fn fields(body: &[u8], message: Range<usize>) -> impl Iterator<Item = Field> + '_ {
    let mut at = message.start;
    let end = message.end.min(body.len());
    std::iter::from_fn(move || {
        let (key, from) = varint(body.get(..end)?, at)?;
        let value = match key & 7 {
            0 => from..varint(body.get(..end)?, from)?.1,
            1 => from..from + 8,
            2 => {
                let (len, from) = varint(body.get(..end)?, from)?;
                from..from.checked_add(usize::try_from(len).ok()?)?
            }
            5 => from..from + 4,
            _ => return None,
        };
        at = value.end;
        (value.end <= end).then_some(Field { number: u32::try_from(key >> 3).ok()?, value })
    })
}

/// The values of the fields along a path of numbers, e.g. all spans of a request by `[1, 2, 2]`.
pub(super) fn along(body: &[u8], path: &[u32]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = std::iter::once(0..body.len()).collect();
    for &number in path {
        let inner = found.into_iter().flat_map(|message| fields(body, message).filter(|field| field.number == number));
        found = inner.map(|field| field.value).collect();
    }
    found
}

fn varint(body: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (n, byte) in body.get(at..)?.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, at + n + 1));
        }
    }
    None
}
