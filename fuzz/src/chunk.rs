//! What comes over TCP gives the same chunks and the same first error however it is cut, within the caps, and what was cut into chunks
//! again is the same.
//!
//! Input: seed of the cuts (1), stream.

use federation_proto::chunk::{self, Chunk, ChunkDecoder, ChunkError, HEAD_LEN, Kind, MAX_CONTENT_LEN, MAX_REASON_LEN};
use federation_proto::frame::CloseCode;

use super::memory;
use super::support::rng::Rng;

pub fn check(input: &[u8]) {
    let Some((&seed, stream)) = input.split_first() else { return };
    let whole = chunks(std::iter::once(stream));
    assert_eq!(whole, chunks(stream.chunks(1)), "byte by byte");
    let mut rng = Rng(u64::from(seed));
    let mut rest = stream;
    let pieces = std::iter::from_fn(|| {
        let (piece, behind) = rest.split_at_checked(1 + rng.skewed(200)).or((!rest.is_empty()).then_some((rest, &[][..])))?;
        rest = behind;
        Some(piece)
    });
    assert_eq!(whole, chunks(pieces), "in pieces");
    let mut again = Vec::new();
    for Chunk { kind, stream, content } in &whole.0 {
        assert!(content.len() <= MAX_CONTENT_LEN);
        if *kind == Kind::Close {
            let (_, reason) = chunk::close_of(content);
            assert!(reason.len() <= 3 * MAX_REASON_LEN, "each byte that is no text is one replacement of three");
        }
        if content.is_empty() { chunk::put_word(&mut again, *kind, *stream) } else { chunk::put(&mut again, *kind, *stream, content) }
    }
    assert!(stream.starts_with(&again), "there is one way to write a chunk");
}

/// All chunks, and what ended them.
fn chunks<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Chunk>, Option<ChunkError>) {
    let (mut decoder, mut out) = (ChunkDecoder::default(), Vec::new());
    for piece in pieces {
        let ((), taken) = memory::peak(|| decoder.room(piece.len()).extend_from_slice(piece));
        assert!(taken <= 4 * (HEAD_LEN + MAX_CONTENT_LEN + piece.len()) + 1024, "{} bytes take {taken}", piece.len());
        loop {
            match decoder.next_chunk() {
                Ok(Some(chunk)) => out.push(chunk),
                Ok(None) => break,
                Err(error) => return (out, Some(error)),
            }
        }
        assert!(decoder.pending_bytes() < HEAD_LEN + MAX_CONTENT_LEN, "more than a chunk is held back");
    }
    (out, None)
}

/// Some chunks of every kind, one after the other.
pub fn fresh(rng: &mut Rng) -> Vec<u8> {
    const KINDS: [Kind; 8] = [Kind::Control, Kind::Data, Kind::Last, Kind::Reset, Kind::Stop, Kind::Got, Kind::Ping, Kind::Pong];
    let mut out = vec![rng.next() as u8];
    for _ in 0..rng.below(8) {
        let (kind, stream) = (KINDS[rng.below(KINDS.len())], rng.below(3) as u64);
        match rng.below(4) {
            0 => chunk::put_word(&mut out, kind, stream),
            1 => chunk::put_close(&mut out, CloseCode::Busy, "full"),
            _ => chunk::put(&mut out, kind, stream, &vec![rng.next() as u8; rng.skewed(600)]),
        }
    }
    out
}
