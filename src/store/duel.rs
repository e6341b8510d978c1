//! Whether large values are best evicted by their last use, as LRU does, or as S3-FIFO does.
//!
//! Which of the two misses less depends on the requests, and where few values fill a store the
//! [queue sizer](super::queue_sizer) can't tell in time: it counts returns, and there are few. So both
//! policies are played through with the keys alone, of as many large values as there are, and the one that would
//! have missed less lately is followed. With many values those of one key in 2, 4, 8 … are
//! enough: a share of the keys in that share of the memory misses as often as all keys in all of it.

use std::collections::VecDeque;

/// Values that either policy may hold: with more, half of the keys are left out.
const VALUES_MAX: usize = 256;

/// If both hold fewer than that, they are taken in again.
const VALUES_MIN: usize = VALUES_MAX / 8;

/// What a policy is ahead by counts for so many requests, for each value that fits.
const REQUESTS_PER_VALUE: i64 = 32;

/// The other one is followed when it is so many misses ahead.
const LEAD_MIN: i64 = 4;

/// Parts that a miss is counted in, so that the lead can fade away little by little.
const PARTS: i64 = 1 << 16;

/// Hits that count at most, as in a slot.
const HITS_MAX: u8 = 3;

/// A value that would be there.
#[derive(Debug, Clone, Copy)]
struct Held {
    key: u64,
    pages: u64,
    hits: u8,
}

/// Values in the order in which they are looked at, and their pages.
#[derive(Debug, Default)]
struct Queue {
    values: VecDeque<Held>,
    pages: u64,
}

/// The game.
#[derive(Debug, Default)]
pub(super) struct Duel {
    by_use: Queue,
    small: Queue,
    main: Queue,
    /// Keys that were evicted from the small queue.
    ghosts: VecDeque<u64>,
    /// Misses, in parts, that S3-FIFO had more than LRU.
    lead: i64,
    is_by_use: bool,
    /// Keys are left out by so many bits of their hash.
    bits: u32,
}

impl Queue {
    fn push(&mut self, value: Held) {
        self.pages += value.pages;
        self.values.push_back(value);
    }

    fn pop(&mut self) -> Option<Held> {
        let value = self.values.pop_front()?;
        self.pages -= value.pages;
        Some(value)
    }

    fn find(&mut self, key: u64) -> Option<&mut Held> {
        self.values.iter_mut().find(|value| value.key == key)
    }

    fn remove(&mut self, key: u64) -> bool {
        let Some(at) = self.values.iter().position(|value| value.key == key) else { return false };
        self.pages -= self.values.remove(at).map_or(0, |value| value.pages);
        true
    }

    fn keep(&mut self, is_kept: impl Fn(u64) -> bool) {
        self.values.retain(|value| is_kept(value.key));
        self.pages = self.values.iter().map(|value| value.pages).sum();
    }
}

/// Whether a key takes part.
pub(super) fn takes_part(hash: u64, bits: u32) -> bool {
    hash.trailing_zeros() >= bits
}

impl Duel {
    /// Whether large values are to be evicted by their last use.
    pub(super) fn is_by_use(&self) -> bool {
        self.is_by_use
    }

    /// So many bits of a hash are zeroes if the key takes part.
    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    /// A value of so many pages was asked for or stored, and all large values have so many.
    pub(super) fn request(&mut self, key: u64, pages: u64, all_pages: u64) {
        let capacity = (all_pages >> self.bits).max(pages);
        let missed_by_use = self.miss_by_use(key, pages, capacity);
        let missed = self.miss(key, pages, capacity);
        self.lead += (i64::from(missed) - i64::from(missed_by_use)) * PARTS;
        self.lead -= self.lead / (self.by_use.values.len() as i64 * REQUESTS_PER_VALUE).max(1);
        let lead_min = if self.is_by_use { -LEAD_MIN } else { LEAD_MIN };
        self.is_by_use = self.lead > lead_min * PARTS;
        self.choose_keys();
    }

    fn miss_by_use(&mut self, key: u64, pages: u64, capacity: u64) -> bool {
        let is_there = self.by_use.remove(key);
        if !is_there {
            while self.by_use.pages + pages > capacity && self.by_use.pop().is_some() {}
        }
        self.by_use.push(Held { key, pages, hits: 0 });
        !is_there
    }

    fn miss(&mut self, key: u64, pages: u64, capacity: u64) -> bool {
        if let Some(value) = self.small.find(key).or_else(|| self.main.find(key)) {
            value.hits = (value.hits + 1).min(HITS_MAX);
            return false;
        }
        while self.small.pages + self.main.pages + pages > capacity {
            self.evict(capacity);
        }
        let ghost = self.ghosts.iter().position(|&ghost| ghost == key);
        ghost.and_then(|at| self.ghosts.remove(at));
        let queue = if ghost.is_some() { &mut self.main } else { &mut self.small };
        queue.push(Held { key, pages, hits: 0 });
        true
    }

    /// A step of S3-FIFO with a small queue of a tenth.
    fn evict(&mut self, capacity: u64) {
        if self.small.pages * 10 >= capacity || self.main.values.is_empty() {
            let Some(value) = self.small.pop() else { return };
            if value.hits > 0 {
                return self.main.push(Held { hits: 0, ..value });
            }
            self.ghosts.push_back(value.key);
            let held = self.small.values.len() + self.main.values.len();
            while self.ghosts.len() > held.max(1) {
                self.ghosts.pop_front();
            }
        } else if let Some(value) = self.main.pop()
            && value.hits > 0
        {
            self.main.push(Held { hits: value.hits - 1, ..value });
        }
    }

    /// Leaves out half of the keys, or takes as many in again, if there are too many or too few.
    fn choose_keys(&mut self) {
        // Where lengths differ, what S3-FIFO keeps of the short ones may be many times what LRU holds.
        let by_use = self.by_use.values.len();
        let values = by_use.max(self.small.values.len() + self.main.values.len());
        if values > VALUES_MAX {
            self.bits += 1;
            let bits = self.bits;
            let is_kept = |key| takes_part(key, bits);
            for queue in [&mut self.by_use, &mut self.small, &mut self.main] {
                queue.keep(is_kept);
            }
            self.ghosts.retain(|&key| is_kept(key));
        } else if values < VALUES_MIN && self.bits > 0 {
            self.bits -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests of `keys` in turns, in a cache of so many values.
    fn play(duel: &mut Duel, values: u64, keys: impl Iterator<Item = u64>) {
        for key in keys {
            let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15).swap_bytes();
            if takes_part(hash, duel.bits()) {
                duel.request(hash, 4, 4 * values);
            }
        }
    }

    /// Each key is asked for three times, a while apart, and then never again.
    fn moving_on(keys: u64, apart: u64) -> impl Iterator<Item = u64> {
        (2 * apart..keys).flat_map(move |at| [at, at - apart, at - 2 * apart])
    }

    /// A few keys again and again, in no order, between others that come once.
    fn staying(rounds: u64, popular: u64) -> impl Iterator<Item = u64> {
        const ONCE: u64 = 1 << 40;
        let key = move |at: u64| ((at * at) ^ (at >> 3)) % popular;
        (0..rounds).flat_map(move |at| [key(at), ONCE + 2 * at, ONCE + 2 * at + 1])
    }

    #[test]
    fn the_policy_that_misses_less_is_followed() {
        for values in [7, 31, 250, 5000] {
            let mut duel = Duel::default();
            assert!(!duel.is_by_use());
            play(&mut duel, values, moving_on(values * 200, values / 4));
            assert!(duel.is_by_use(), "{values}: what was used lately is used again");
            play(&mut duel, values, staying(values * 200, values / 2));
            assert!(!duel.is_by_use(), "{values}: what was used often is used again");
            play(&mut duel, values, moving_on(values * 200, values / 4));
            assert!(duel.is_by_use(), "{values}: and again");
        }
    }

    #[test]
    fn it_is_played_with_few_keys_however_many_there_are() {
        let mut duel = Duel::default();
        play(&mut duel, 100_000, moving_on(200_000, 1000));
        assert!(duel.bits() >= 8, "{} bits", duel.bits());
        assert!(duel.by_use.values.len() <= VALUES_MAX && duel.ghosts.len() <= VALUES_MAX);
        play(&mut duel, 100, moving_on(100_000, 10));
        assert!(duel.bits() <= 1, "{} bits: of fewer values, more take part", duel.bits());
    }

    /// LRU lets the short ones go for the long ones, and S3-FIFO keeps all that were asked for twice.
    #[test]
    fn short_values_among_long_ones_are_not_more_than_others() {
        let mut duel = Duel::default();
        let mut request = |key: u64, pages: u64| {
            let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15).swap_bytes();
            if takes_part(hash, duel.bits()) {
                duel.request(hash, pages, 100_000);
            }
            assert!(duel.small.values.len() + duel.main.values.len() <= VALUES_MAX);
            assert!(duel.by_use.values.len() <= VALUES_MAX && duel.ghosts.len() <= VALUES_MAX);
        };
        for round in 0..2_000 {
            for key in 20 * round..20 * (round + 1) {
                request(key, 1);
                request(key, 1);
            }
            for key in 0..20 {
                request(1 << 40 | (20 * round + key), 10_000);
            }
        }
    }
}
