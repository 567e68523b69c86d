//! How the next input comes from the last: libFuzzer's own changes, changes that know the format, and now and then a new start.

use super::support::rng::Rng;

/// libFuzzer's mutation of a buffer of which so many bytes are in use; gives how many are then.
pub type Plain = fn(&mut [u8], usize, usize) -> usize;

/// libFuzzer's mutations of a piece of an input.
pub struct Bytes<'a> {
    plain: &'a Plain,
    room: usize,
}

impl Bytes<'_> {
    /// `content`, changed; it may grow as far as the input has room.
    pub fn mutate(&mut self, content: &[u8]) -> Vec<u8> {
        let mut buffer = content.to_vec();
        buffer.resize(content.len() + self.room.clamp(1, 64), 0);
        let room = buffer.len();
        let len = (self.plain)(&mut buffer, content.len(), room);
        buffer.truncate(len);
        buffer
    }
}

/// A change that knows the format; `None` where it does not apply.
pub type Change = fn(&[u8], &mut Rng, &mut Bytes<'_>) -> Option<Vec<u8>>;

/// One mutation of the `size` bytes in use of `data`: one in 40 begins anew with `fresh`, most others go through `change`, the rest are
/// libFuzzer's. Gives the new size.
pub fn mutate(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    plain: Plain,
    fresh: fn(&mut Rng) -> Vec<u8>,
    change: Change,
) -> usize {
    let mut rng = Rng(u64::from(seed));
    let new = if size == 0 || rng.one_in(40) {
        Some(fresh(&mut rng))
    } else if rng.one_in(4) {
        None
    } else {
        change(&data[..size], &mut rng, &mut Bytes { plain: &plain, room: max_size.saturating_sub(size) })
    };
    match new.filter(|new| new.len() <= max_size) {
        Some(new) => {
            data[..new.len()].copy_from_slice(&new);
            new.len()
        }
        None => plain(data, size, max_size),
    }
}

/// For formats that have no structure worth keeping.
pub fn none(_: &[u8], _: &mut Rng, _: &mut Bytes<'_>) -> Option<Vec<u8>> {
    None
}

/// A text of which a word is removed, repeated, exchanged with another, or replaced by one of `values`; `ends` are what words end with.
pub fn words(text: &str, ends: &[char], values: &[&str], rng: &mut Rng) -> Option<String> {
    let mut words: Vec<&str> = text.split_inclusive(ends).collect();
    if words.is_empty() {
        return None;
    }
    let (at, other) = (rng.below(words.len()), rng.below(words.len()));
    match rng.below(6) {
        0 => drop(words.remove(at)),
        1 => words.insert(other, words[at]),
        2 => words.swap(at, other),
        3 => words.insert(at, values[rng.below(values.len())]),
        _ => words[at] = values[rng.below(values.len())],
    }
    Some(words.concat())
}

/// A protobuf message behind `N` bytes that choose.
pub fn message_behind<const N: usize>(input: &[u8], rng: &mut Rng, bytes: &mut Bytes<'_>) -> Option<Vec<u8>> {
    let (head, message) = input.split_at_checked(N)?;
    Some([head, &super::protobuf::mutate(message, rng, bytes)?].concat())
}
