//! How much had been purged when an entry was written.
//!
//! Each purge begins a generation, and each entry has the lowest bits of the one that it was written
//! in. That these are enough is for [`super::purges`] to see to.

/// Generations in a row that can be told apart, by three bits of an entry's header.
pub(super) const DISTINCT: u64 = 8;

/// Where they begin.
const SHIFT: u32 = 29;

/// A generation: its number, in the place where a header has the lowest bits of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation(u64);

impl Generation {
    /// That of a store in which nothing was purged.
    pub(super) const FIRST: Self = Self(0);

    /// The bits of a header that belong to it.
    pub(super) const MASK: u64 = (DISTINCT - 1) << SHIFT;

    /// The one that the next purge begins.
    pub(super) fn next(self) -> Self {
        Self(self.0 + (1 << SHIFT))
    }

    /// How many came since another one.
    pub(super) fn since(self, earlier: Self) -> u64 {
        (self.0 - earlier.0) >> SHIFT
    }

    /// Its lowest bits, as a header has them.
    #[inline]
    pub(super) fn bits(self) -> u64 {
        self.0 & Self::MASK
    }

    /// The latest generation up to this one that has these bits.
    pub(super) fn latest_with(self, bits: u64) -> Self {
        Self(self.0 - (self.0.wrapping_sub(bits) & Self::MASK))
    }

    /// As a number, for an atomic; [`from_word`](Self::from_word) takes it back.
    #[inline]
    pub(super) fn to_word(self) -> u64 {
        self.0
    }

    #[inline]
    pub(super) fn from_word(word: u64) -> Self {
        Self(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_generations_are_told_apart_by_their_bits() {
        let mut all = vec![Generation::FIRST];
        for _ in 0..40 {
            let latest = all[all.len() - 1];
            for (age, &generation) in all.iter().rev().take(DISTINCT as usize).enumerate() {
                assert_eq!(latest.latest_with(generation.bits()), generation);
                assert_eq!(latest.since(generation), age as u64);
            }
            all.push(latest.next());
        }
    }
}
