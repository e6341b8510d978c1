//! Which keys were evicted a short while ago.
//!
//! A key that comes back soon after it was evicted from the small queue belongs into the main
//! one. Remembered are two bytes of its hash, in sets of 31 that each forget their oldest; a
//! false memory, one time in 2,000, only costs a worse place in the queue.

#![allow(unsafe_code)] // Says that a set may live in zeroed memory.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use super::budget::Budget;
use super::memory::{Region, SMALL_BYTES, Zeroed};

const PRINTS: usize = 31;

/// Sets that are charged to the budget together.
const SETS_PER_CHARGE: usize = SMALL_BYTES / size_of::<Set>();

/// One cache line of memories.
#[derive(Debug)]
#[repr(C, align(64))]
struct Set {
    /// Where the oldest print is.
    oldest: AtomicU16,
    /// Parts of hashes; 0 for none.
    prints: [AtomicU16; PRINTS],
}

const _: () = assert!(size_of::<Set>() == 64);

// SAFETY: nothing but atomic integers.
unsafe impl Zeroed for Set {}

#[derive(Debug)]
pub(super) struct Ghost {
    sets: Region<Set>,
    in_use: usize,
}

impl Ghost {
    /// Reserves address space for the keys of a store of so many bytes.
    pub(super) fn reserve(bytes_max: u64) -> io::Result<Self> {
        let keys = usize::try_from(bytes_max / 32).map_err(|_| io::ErrorKind::InvalidInput)?;
        let sets = (keys / PRINTS).next_multiple_of(SETS_PER_CHARGE);
        Ok(Self { sets: Region::reserve(sets, false)?, in_use: 0 })
    }

    pub(super) fn charged_bytes(&self) -> u64 {
        (self.in_use * size_of::<Set>()) as u64
    }

    /// Whether so many keys call for a larger memory.
    pub(super) fn is_crowded(&self, keys: u64) -> bool {
        keys as usize > self.in_use * PRINTS && self.in_use + SETS_PER_CHARGE <= self.sets.len()
    }

    /// Remembers more keys from now on, and forgets some of those it did. False if the budget
    /// does not allow for it.
    pub(super) fn grow(&mut self, budget: &Budget) -> bool {
        if !budget.charge(SMALL_BYTES as u64) {
            return false;
        }
        self.in_use += SETS_PER_CHARGE;
        true
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

    pub(super) fn remember(&mut self, hash: u64) {
        let Some(set) = self.set(hash) else { return };
        let oldest = usize::from(set.oldest.load(Relaxed)) % PRINTS;
        set.prints[oldest].store(print_of(hash), Relaxed);
        set.oldest.store((oldest as u16 + 1) % PRINTS as u16, Relaxed);
    }

    /// Whether the key is remembered; from then on it is not.
    pub(super) fn recall(&mut self, hash: u64) -> bool {
        let Some(set) = self.set(hash) else { return false };
        let print = print_of(hash);
        let found = set.prints.iter().find(|stored| stored.load(Relaxed) == print);
        found.is_some_and(|stored| {
            stored.store(0, Relaxed);
            true
        })
    }
}

fn print_of(hash: u64) -> u16 {
    ((hash >> 40) as u16).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_keys_are_remembered_and_old_ones_forgotten() {
        let budget = Budget::new(1 << 20);
        let mut ghost = Ghost::reserve(1 << 20).expect("address space");
        assert!(!ghost.recall(1));
        assert!(ghost.is_crowded(1) && ghost.grow(&budget));
        let hash = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i << 20;
        (0..20_000).for_each(|i| ghost.remember(hash(i)));
        let recalled = |ghost: &mut Ghost, keys: std::ops::Range<u64>| {
            keys.filter(|&i| ghost.recall(hash(i))).count()
        };
        assert!(recalled(&mut ghost, 0..1000) < 20);
        assert!(recalled(&mut ghost, 19_000..20_000) > 950);
        assert!(recalled(&mut ghost, 19_000..20_000) < 20);
    }
}
