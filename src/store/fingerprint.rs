//! What a value's bytes are recognised by.

use std::fmt;
use std::num::NonZeroU128;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// 128 bits that follow from a value's bytes alone, the same in every process (XXH3). Equal values
/// have equal ones, and different values different ones unless somebody makes them collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(NonZeroU128);

impl Fingerprint {
    /// The fingerprint of these bytes, in time linear in their number.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_hash(xxh3_128(bytes))
    }

    /// The bits.
    #[must_use]
    pub fn bits(self) -> u128 {
        self.0.get()
    }

    fn from_hash(hash: u128) -> Self {
        // 0 stands for none.
        Self(NonZeroU128::new(hash).unwrap_or(NonZeroU128::MIN))
    }

    pub(super) fn from_words(low: u64, high: u64) -> Option<Self> {
        NonZeroU128::new(u128::from(high) << 64 | u128::from(low)).map(Self)
    }

    pub(super) fn to_words(self) -> [u64; 2] {
        [self.bits() as u64, (self.bits() >> 64) as u64]
    }
}

/// Works out the fingerprint of bytes that come in pieces.
#[derive(Default)]
pub struct Fingerprinter(Box<Xxh3>);

impl Fingerprinter {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The fingerprint of all bytes so far.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::from_hash(self.0.digest128())
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fingerprinter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_the_fingerprint_of_the_whole() {
        let bytes: Vec<u8> = (0..5000_u32).map(|i| (i * 7 + i / 256) as u8).collect();
        for len in [0, 1, 8, 100, 240, 241, 1024, 5000] {
            let mut pieces = Fingerprinter::default();
            bytes[..len].chunks(77).for_each(|piece| pieces.push(piece));
            let whole = Fingerprint::of(&bytes[..len]);
            assert_eq!(pieces.fingerprint(), whole, "{len}");
            let [low, high] = whole.to_words();
            assert_eq!(Fingerprint::from_words(low, high), Some(whole));
        }
    }
}
