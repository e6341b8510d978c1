//! Which keys were evicted a short while ago.
//!
//! A key that comes back soon after it was evicted belongs into the main queue, and tells which
//! queue is too small. Remembered are 15 bits of its hash, and the queue that it was evicted from,
//! in sets of 31 that each forget their oldest; a false memory, one time in 1,000, only costs a
//! worse place in the queue.

#![allow(unsafe_code)] // Says that a set may live in zeroed memory.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use super::budget::Budget;
use super::mapping::SMALL_BYTES;
use super::memory::{Region, Zeroed};
use super::pages::Kind;

const PRINTS: usize = 31;

/// Sets that are charged to the budget together.
const SETS_PER_CHARGE: usize = SMALL_BYTES / size_of::<Set>();

/// One cache line of memories.
#[derive(Debug)]
#[repr(C, align(64))]
struct Set {
    /// Where the oldest print is.
    oldest: AtomicU16,
    /// Parts of hashes, and whether the key was in the main queue in the lowest bit; 0 for none.
    prints: [AtomicU16; PRINTS],
}

const _: () = assert!(size_of::<Set>() == 64);

// SAFETY: nothing but atomic integers.
unsafe impl Zeroed for Set {}

#[derive(Debug)]
pub(super) struct Ghost {
    sets: Region<Set>,
    in_use: usize,
    /// Keys that are remembered, of the small queue and of the main one.
    remembered: [u64; 2],
}

impl Ghost {
    /// Reserves address space for the keys of a store of so many bytes.
    pub(super) fn reserve(bytes_max: u64) -> io::Result<Self> {
        let keys = usize::try_from(bytes_max / 32).map_err(|_| io::ErrorKind::InvalidInput)?;
        let sets = (keys / PRINTS).next_multiple_of(SETS_PER_CHARGE);
        Ok(Self { sets: Region::reserve(sets, None)?, in_use: 0, remembered: [0; 2] })
    }

    /// Whether so many keys call for a larger memory.
    pub(super) fn is_crowded(&self, keys: u64) -> bool {
        keys as usize > self.in_use * PRINTS && self.in_use + SETS_PER_CHARGE <= self.sets.len()
    }

    /// Remembers more keys from now on, and forgets some of those it did. False if the budget
    /// does not allow for it.
    pub(super) fn grow(&mut self, budget: &Budget) -> bool {
        let granted = self.sets.extend_to(self.in_use + SETS_PER_CHARGE, budget);
        self.in_use += if granted { SETS_PER_CHARGE } else { 0 };
        granted
    }

    /// Forgets the keys of the last sets, and gives their memory back, if there are so few keys that
    /// half of the others is enough for them. Whether it did.
    pub(super) fn shrink(&mut self, keys: u64, budget: &Budget) -> bool {
        let kept = self.in_use.saturating_sub(SETS_PER_CHARGE);
        if kept == 0 || keys as usize * 2 >= kept * PRINTS {
            return false;
        }
        let prints = |set: usize| (0..PRINTS).map(move |at| (set, at));
        for (set, at) in (kept..self.in_use).flat_map(prints) {
            let print = self.sets[set].prints[at].swap(0, Relaxed);
            self.forget(print);
        }
        self.in_use = kept;
        self.sets.shrink_to(kept, budget)
    }

    fn set(&self, hash: u64) -> Option<&Set> {
        if self.in_use == 0 {
            return None;
        }
        // As in the index, so that growing moves few of the memories out of sight.
        let mask = self.in_use.next_power_of_two() - 1;
        let set = hash as usize & mask;
        self.sets.get(if set < self.in_use { set } else { set & (mask >> 1) })
    }

    /// Keys that are remembered, of the small queue and of the main one.
    pub(super) fn remembered(&self) -> [u64; 2] {
        self.remembered
    }

    pub(super) fn remember(&mut self, hash: u64, kind: Kind) {
        let Some(set) = self.set(hash) else { return };
        let oldest = usize::from(set.oldest.load(Relaxed)) % PRINTS;
        let forgotten = set.prints[oldest].swap(print_of(hash) | queue_of(kind), Relaxed);
        set.oldest.store((oldest as u16 + 1) % PRINTS as u16, Relaxed);
        self.remembered[usize::from(queue_of(kind))] += 1;
        self.forget(forgotten);
    }

    /// The queue that the key was evicted from, if it is remembered; from then on it is not.
    pub(super) fn recall(&mut self, hash: u64) -> Option<Kind> {
        let (set, print) = (self.set(hash)?, print_of(hash));
        let is = |stored: &&AtomicU16| stored.load(Relaxed) & !QUEUE_BIT == print;
        let found = set.prints.iter().find(is)?.swap(0, Relaxed);
        self.forget(found);
        Some(if found & QUEUE_BIT == 0 { Kind::Small } else { Kind::Main })
    }

    fn forget(&mut self, print: u16) {
        if print != 0 {
            self.remembered[usize::from(print & QUEUE_BIT)] -= 1;
        }
    }
}

/// Set for the main queue.
const QUEUE_BIT: u16 = 1;

fn queue_of(kind: Kind) -> u16 {
    if kind == Kind::Main { QUEUE_BIT } else { 0 }
}

fn print_of(hash: u64) -> u16 {
    ((hash >> 40) as u16 & !QUEUE_BIT).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_keys_are_remembered_and_old_ones_forgotten() {
        let budget = Budget::new(1 << 20);
        let mut ghost = Ghost::reserve(1 << 20).expect("address space");
        assert_eq!(ghost.recall(1), None);
        assert!(ghost.is_crowded(1) && ghost.grow(&budget));
        let hash = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i << 20;
        let kind = |i: u64| if i.is_multiple_of(4) { Kind::Main } else { Kind::Small };
        (0..20_000).for_each(|i| ghost.remember(hash(i), kind(i)));
        let [small, main] = ghost.remembered();
        assert_eq!(small + main, (SETS_PER_CHARGE * PRINTS) as u64);
        assert!(main * 3 < small * 2 && small < main * 5, "{small} and {main}");
        let recalled = |ghost: &mut Ghost, keys: std::ops::Range<u64>| {
            keys.filter(|&i| ghost.recall(hash(i)) == Some(kind(i))).count()
        };
        assert!(recalled(&mut ghost, 0..1000) < 20);
        assert!(recalled(&mut ghost, 19_000..20_000) > 950);
        assert!(recalled(&mut ghost, 19_000..20_000) < 20);
        assert!(ghost.remembered().into_iter().sum::<u64>() < small + main - 950);
    }

    #[test]
    fn memory_that_few_keys_need_is_given_back() {
        let budget = Budget::new(1 << 20);
        let mut ghost = Ghost::reserve(1 << 20).expect("address space");
        assert!((0..4).all(|_| ghost.grow(&budget)));
        let hash = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i << 20;
        (0..20_000).for_each(|i| ghost.remember(hash(i), Kind::Small));
        let half = (2 * SETS_PER_CHARGE * PRINTS) as u64;
        assert!(!ghost.shrink(half, &budget), "there are as many keys as half of it is for");
        assert!(ghost.shrink(100, &budget) && ghost.shrink(100, &budget));
        assert_eq!(ghost.remembered(), [half, 0], "what was forgotten does not count");
        assert!(ghost.shrink(100, &budget) && !ghost.shrink(100, &budget), "some is kept");
        assert_eq!(budget.charged_bytes(), SMALL_BYTES as u64);
        assert_eq!(
            (0..20_000).filter(|&i| ghost.recall(hash(i)).is_some()).count() as u64,
            half / 2
        );
        assert_eq!(ghost.remembered(), [0, 0]);
    }
}
