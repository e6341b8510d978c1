//! Ghosts: which keys were evicted a short while ago.
//!
//! A key that comes back soon after it was evicted belongs into the main queue, and tells which
//! queue is too small. Remembered are 15 bits of its hash, and the queue that it was evicted from,
//! in sets of 31 that each forget their oldest; a false memory, one time in 1,000, only costs a
//! worse place in the queue.

#![allow(unsafe_code)] // Says that a set may live in zeroed memory.

use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU16, AtomicUsize};

use super::budget::Budget;
use super::mapping::SMALL_BYTES;
use super::memory::{Region, Zeroed};
use super::pages::Kind;

const PRINTS: usize = 31;

/// Sets that are charged to the budget together.
const SETS_PER_CHARGE: usize = SMALL_BYTES / size_of::<Set>();

/// Keys that are remembered at least.
const KEYS_MIN: usize = 4;

/// So many times as many sets as there are keys for, and some are released.
const SHRINKS_FROM: usize = 2;

/// One cache line of ghosts.
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

/// The ghosts of all partitions, which share them so that their number can follow the number of
/// values also where a partition has only a few.
#[derive(Debug)]
pub(super) struct Ghosts {
    sets: Region<Set>,
    /// Sets that are in use, and prints of each.
    in_use: AtomicUsize,
    prints: AtomicUsize,
    /// Who holds the lock changes the numbers above, and how much memory there is.
    changing: Mutex<()>,
}

/// How the numbers of keys that are remembered have changed, of the small queue and the main one.
pub(super) type GhostChange = [i64; 2];

impl Ghosts {
    /// Reserves address space for the keys of a store of so many bytes.
    pub(super) fn reserve(bytes_max: u64) -> io::Result<Self> {
        let keys = usize::try_from(bytes_max / 32).map_err(|_| io::ErrorKind::InvalidInput)?;
        let sets = (keys / PRINTS + 1).next_multiple_of(SETS_PER_CHARGE);
        Ok(Self {
            sets: Region::reserve(sets, None)?,
            in_use: AtomicUsize::new(0),
            prints: AtomicUsize::new(0),
            changing: Mutex::new(()),
        })
    }

    pub(super) fn charged_bytes(&self) -> u64 {
        self.sets.charged_bytes()
    }

    /// Lets the memory follow the number of keys, a step at a time: as many are remembered as
    /// there are. False if the budget does not allow for it.
    pub(super) fn follow(&self, keys: u64, budget: &Budget, change: &mut GhostChange) -> bool {
        // Whoever changes it at the moment does it for all.
        let Ok(_changing) = self.changing.try_lock() else { return true };
        let keys = (keys as usize).max(KEYS_MIN);
        let (in_use, wanted) = (self.in_use.load(Relaxed), keys.div_ceil(PRINTS));
        let sets = if wanted > in_use {
            let more = wanted.min(in_use.next_multiple_of(SETS_PER_CHARGE) + SETS_PER_CHARGE);
            let more = more.min(self.sets.len());
            if !self.sets.extend_to(more, budget) {
                return false;
            }
            more
        } else if wanted * SHRINKS_FROM < in_use {
            wanted.max(in_use.saturating_sub(SETS_PER_CHARGE))
        } else {
            in_use
        };
        // Only so few sets are walked at once; with more of them, whole ones come and go.
        let is_few = sets <= SETS_PER_CHARGE;
        let prints = if is_few { keys.div_ceil(sets).min(PRINTS) } else { PRINTS };
        let before = self.prints.load(Relaxed);
        // Small changes are not worth the walk.
        let prints = if before.abs_diff(prints) * 8 <= before { before } else { prints };
        // Whoever sees the number may write to the sets: their memory comes first.
        self.in_use.store(sets, Release);
        self.prints.store(prints, Relaxed);
        self.clear(sets..in_use.max(sets), 0, change);
        if prints < before {
            self.clear(0..sets, prints, change);
        }
        // Who still writes to a set that is given back writes to fresh memory.
        self.sets.shrink_to(sets, budget);
        true
    }

    /// Gives memory back that is too much for the number of keys, a step at a time. Whether there
    /// was any.
    pub(super) fn shrink(&self, keys: u64, budget: &Budget, change: &mut GhostChange) -> bool {
        let in_use = self.in_use.load(Relaxed);
        let wanted = (keys as usize).max(KEYS_MIN).div_ceil(PRINTS);
        let is_too_much = in_use > SETS_PER_CHARGE && wanted * SHRINKS_FROM < in_use;
        is_too_much && self.follow(keys, budget, change) && self.in_use.load(Relaxed) < in_use
    }

    /// Forgets the prints of these sets from the one numbered `from` on.
    fn clear(&self, sets: Range<usize>, from: usize, change: &mut GhostChange) {
        for print in self.sets[sets].iter().flat_map(|set| &set.prints[from..]) {
            forget(print.swap(0, Relaxed), change);
        }
    }

    fn set(&self, hash: u64) -> Option<&Set> {
        let in_use = self.in_use.load(Acquire);
        if in_use == 0 {
            return None;
        }
        // As in the index, so that growing moves few of the ghosts out of sight.
        let mask = in_use.next_power_of_two() - 1;
        let set = hash as usize & mask;
        self.sets.get(if set < in_use { set } else { set & (mask >> 1) })
    }

    /// Remembers a key that was evicted from a queue, and forgets another.
    pub(super) fn remember(&self, hash: u64, kind: Kind, change: &mut GhostChange) {
        let Some(set) = self.set(hash) else { return };
        let prints = self.prints.load(Relaxed).clamp(1, PRINTS);
        let oldest = usize::from(set.oldest.load(Relaxed)) % prints;
        let forgotten = set.prints[oldest].swap(print_of(hash) | queue_of(kind), Relaxed);
        set.oldest.store((oldest + 1) as u16, Relaxed);
        change[usize::from(queue_of(kind))] += 1;
        forget(forgotten, change);
    }

    /// What is remembered of a key.
    pub(super) fn recall(&self, hash: u64) -> Option<Ghost<'_>> {
        let print = print_of(hash);
        let is = |stored: &&AtomicU16| stored.load(Relaxed) & !QUEUE_BIT == print;
        let place = self.set(hash)?.prints.iter().find(is)?;
        Some(Ghost { place, print: place.load(Relaxed) })
    }
}

/// A key that is remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ghost<'a> {
    place: &'a AtomicU16,
    print: u16,
}

impl Ghost<'_> {
    /// The queue that the key was evicted from.
    pub(super) fn kind(self) -> Kind {
        if self.print & QUEUE_BIT == 0 { Kind::Small } else { Kind::Main }
    }

    /// Forgets the key, unless another one has taken its place since.
    pub(super) fn forget(self, change: &mut GhostChange) {
        if self.place.compare_exchange(self.print, 0, Relaxed, Relaxed).is_ok() {
            forget(self.print, change);
        }
    }
}

fn forget(print: u16, change: &mut GhostChange) {
    if print != 0 {
        change[usize::from(print & QUEUE_BIT)] -= 1;
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

    fn hash(i: u64) -> u64 {
        i.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i << 20
    }

    fn kind(i: u64) -> Kind {
        if i.is_multiple_of(4) { Kind::Main } else { Kind::Small }
    }

    /// How many of the keys are remembered, and with their queue.
    fn recalled(ghosts: &Ghosts, keys: Range<u64>) -> usize {
        keys.filter(|&i| ghosts.recall(hash(i)).map(Ghost::kind) == Some(kind(i))).count()
    }

    #[test]
    fn recent_keys_are_remembered_and_old_ones_forgotten() {
        let budget = Budget::new(1 << 20);
        let (ghosts, mut change) = (Ghosts::reserve(1 << 20).expect("address space"), [0; 2]);
        assert!(ghosts.recall(1).is_none());
        assert!(ghosts.follow((SETS_PER_CHARGE * PRINTS) as u64, &budget, &mut change));
        (0..20_000).for_each(|i| ghosts.remember(hash(i), kind(i), &mut change));
        let [small, main] = change;
        assert_eq!(small + main, (SETS_PER_CHARGE * PRINTS) as i64);
        assert!(main * 3 < small * 2 && small < main * 5, "{small} and {main}");
        assert!(recalled(&ghosts, 0..1000) < 20);
        assert!(recalled(&ghosts, 19_000..20_000) > 950);
        for found in (19_000..20_000).filter_map(|i| ghosts.recall(hash(i))) {
            found.forget(&mut change);
        }
        assert!(recalled(&ghosts, 19_000..20_000) < 20);
        assert!(change.into_iter().sum::<i64>() < small + main - 950);
    }

    #[test]
    fn as_many_keys_are_remembered_as_there_are() {
        let budget = Budget::new(1 << 20);
        let (ghosts, mut change) = (Ghosts::reserve(1 << 20).expect("address space"), [0; 2]);
        for (round, keys) in [7, 31, 300, 5000, 100, 31, 7].into_iter().enumerate() {
            // A step at a time.
            for _ in 0..100 {
                assert!(ghosts.follow(keys, &budget, &mut change));
            }
            let from = round as u64 * 100_000;
            (from..from + 20_000).for_each(|i| ghosts.remember(hash(i), kind(i), &mut change));
            let remembered = change.into_iter().sum::<i64>() as u64;
            let least = keys - keys / 8;
            assert!(least <= remembered && remembered <= keys * 2 + 31, "{remembered} of {keys}");
            let seen = recalled(&ghosts, from..from + 20_000) as u64;
            assert!(seen.abs_diff(remembered) <= remembered / 10 + 20, "{seen} of {remembered}");
        }
    }

    #[test]
    fn memory_that_few_keys_do_not_need_is_given_back() {
        let budget = Budget::new(1 << 20);
        let (ghosts, mut change) = (Ghosts::reserve(1 << 20).expect("address space"), [0; 2]);
        let per_page = (SETS_PER_CHARGE * PRINTS) as u64;
        assert!((0..4).all(|_| ghosts.follow(4 * per_page, &budget, &mut change)));
        assert_eq!(budget.charged_bytes(), 4 * SMALL_BYTES as u64);
        (0..20_000).for_each(|i| ghosts.remember(hash(i), kind(i), &mut change));
        let mut shrink = |keys| ghosts.shrink(keys, &budget, &mut change);
        assert!(!shrink(2 * per_page), "there are as many keys as half of it is for");
        assert!(shrink(100) && shrink(100) && shrink(100));
        assert!(!shrink(100), "some is kept");
        assert_eq!(budget.charged_bytes(), SMALL_BYTES as u64);
        let remembered = change.into_iter().sum::<i64>() as u64;
        assert!(remembered <= per_page, "what was forgotten does not count: {remembered}");
    }
}
