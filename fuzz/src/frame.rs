//! The control stream gives the same messages and the same first error however it is cut, and a length beyond the cap is refused at once.
//!
//! Input: direction (1), seed of the cuts (1), stream.

use federation_proto::control::{EdgeMessage, RouterMessage};
use federation_proto::frame::{ControlDecoder, FrameError, MAX_CONTROL_LEN, encode_control};
use prost::Message;

use super::support::rng::Rng;
use super::{control, memory};

pub fn check(input: &[u8]) {
    let Some(([direction, seed], stream)) = input.split_first_chunk() else { return };
    if direction & 1 == 0 { cut::<EdgeMessage>(stream, *seed) } else { cut::<RouterMessage>(stream, *seed) }
}

fn cut<M: Message + Default + PartialEq + std::fmt::Debug>(stream: &[u8], seed: u8) {
    let whole = messages::<M>(std::iter::once(stream));
    let single = messages::<M>(stream.chunks(1));
    assert_eq!(whole, single, "byte by byte");
    let mut rng = Rng(u64::from(seed));
    let mut rest = stream;
    let pieces = std::iter::from_fn(|| {
        let (piece, behind) = rest.split_at_checked(1 + rng.skewed(64)).or((!rest.is_empty()).then_some((rest, &[][..])))?;
        rest = behind;
        Some(piece)
    });
    assert_eq!(whole, messages::<M>(pieces), "in pieces");
}

/// All messages, and what ended them.
fn messages<'a, M: Message + Default>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<M>, Option<FrameError>) {
    let mut decoder = ControlDecoder::<M>::default();
    let mut out = Vec::new();
    for piece in pieces {
        let ((), taken) = memory::peak(|| decoder.push(piece));
        assert!(taken <= 2 * (4 + MAX_CONTROL_LEN + piece.len()) + 64, "a push takes {taken} bytes");
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => out.push(message),
                Ok(None) => break,
                Err(error) => return (out, Some(error)),
            }
        }
    }
    (out, None)
}

/// Some messages, one after the other.
pub fn fresh(rng: &mut Rng) -> Vec<u8> {
    let direction = rng.below(2) as u8;
    let mut out = vec![direction, rng.next() as u8];
    for _ in 0..rng.below(6) {
        let frame = if direction == 0 { encode_control(&control::from_edge(rng)) } else { encode_control(&control::from_router(rng)) };
        out.extend(frame.unwrap_or_default());
    }
    out
}
