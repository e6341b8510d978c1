//! How worth keeping eviction holds an entry to be.

use super::bucket::FREQUENCY_MAX;
use super::pages::Kind;

/// Ranks that there are, see [`Popularity::rank`].
pub const POPULARITY_RANKS: usize = 2 * (FREQUENCY_MAX as usize + 1);

/// What eviction knows of an entry: its queue, and how often it was hit lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Popularity {
    kind: Kind,
    frequency: u8,
}

impl Popularity {
    pub(super) fn new(kind: Kind, frequency: u8) -> Self {
        let kind = if kind == Kind::Main { Kind::Main } else { Kind::Small };
        Self { kind, frequency: frequency.min(FREQUENCY_MAX) }
    }

    /// From 0 for what goes first to [`POPULARITY_RANKS`] - 1: by frequency, and of the same frequency
    /// the small queue before the main one.
    #[must_use]
    pub fn rank(self) -> usize {
        2 * usize::from(self.frequency) + self.kind.queue()
    }

    /// That of a rank; `None` if there is no such rank.
    #[must_use]
    pub fn of_rank(rank: usize) -> Option<Self> {
        let kind = if rank.is_multiple_of(2) { Kind::Small } else { Kind::Main };
        (rank < POPULARITY_RANKS).then(|| Self::new(kind, (rank / 2) as u8))
    }

    pub(super) fn kind(self) -> Kind {
        self.kind
    }

    pub(super) fn frequency(self) -> u8 {
        self.frequency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rank_is_one_popularity() {
        for rank in 0..POPULARITY_RANKS {
            assert_eq!(Popularity::of_rank(rank).map(Popularity::rank), Some(rank));
        }
        assert_eq!(Popularity::of_rank(POPULARITY_RANKS), None);
    }
}
