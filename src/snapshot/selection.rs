//! What of a snapshot is loaded when it does not fit: the least popular entries go.

use xxhash_rust::xxh3::xxh3_64;

use crate::store::{POPULARITY_RANKS, Popularity};

/// What is loaded costs so much of the memory at most, in percent: costs are estimates, and for a few
/// percent too much there is eviction.
const COST_PERCENT_MAX: u64 = 103;

/// Which entries are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Selection {
    /// Those of lower ranks are not, and of this one only a part.
    rank: usize,
    /// That part, of 2^32.
    part: u64,
}

impl Selection {
    /// The most popular ones that fit, by what those of each rank cost.
    pub(super) fn new(cost_by_rank: &[u64; POPULARITY_RANKS], memory_bytes_max: u64) -> Self {
        let mut left = memory_bytes_max.saturating_mul(COST_PERCENT_MAX) / 100;
        for (rank, &cost) in cost_by_rank.iter().enumerate().rev() {
            if cost > left {
                let part = u128::from(left) << 32;
                return Self { rank, part: (part / u128::from(cost)) as u64 };
            }
            left -= cost;
        }
        Self { rank: 0, part: 1 << 32 }
    }

    /// Whether it is loaded; of the rank of which only a part is, by the key.
    pub(super) fn has(&self, popularity: Popularity, key: &[u8]) -> bool {
        let rank = popularity.rank();
        rank > self.rank || (rank == self.rank && xxh3_64(key) >> 32 < self.part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_popular_ones_that_fit_are_taken() {
        let costs = [100, 100, 100, 100, 100, 100, 100, 100];
        assert_eq!(Selection::new(&costs, 1000), Selection { rank: 0, part: 1 << 32 });
        // 257 of 800: two ranks, and 57 % of the next one.
        let selection = Selection::new(&costs, 250);
        assert_eq!(selection.rank, 5);
        let has = |rank: usize| {
            let popularity = Popularity::of_rank(rank).expect("a rank");
            (0..1000_u32).filter(|key| selection.has(popularity, &key.to_le_bytes())).count()
        };
        assert_eq!((has(7), has(6), has(4), has(0)), (1000, 1000, 0, 0));
        assert!(has(5).abs_diff(570) < 60, "{}", has(5));
        assert_eq!(Selection::new(&[u64::MAX; 8], u64::MAX).rank, 7);
    }
}
