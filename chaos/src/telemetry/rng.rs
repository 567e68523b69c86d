//! SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): tiny, seeded, good enough for load.

/// A seeded stream of numbers. Not for secrets.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "an endless stream, not an iterator that may end")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound` (at least 1); the bias of at most `bound / 2^64` does not matter for load.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// Bytes of a random id; never all zero, which OTLP calls invalid.
    pub fn id<const N: usize>(&mut self) -> [u8; N] {
        let mut id = [0; N];
        for chunk in id.chunks_mut(8) {
            let bytes = self.next().to_be_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        id[N - 1] |= 1;
        id
    }
}
