//! What all partitions decide by when room is to be made: from which queue keys are evicted next, and in
//! which partition.
//!
//! With many values a partition, all of them hold keys of about the same age, and each makes room
//! by itself. A partition with a few large ones does not: by chance it holds none, or nothing but
//! those that everybody asks for. So each shows how much its queues hold and how long what is next
//! in them has been there, and room is made where that is longest.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::budget::Budget;
use super::duel::{self, Duel};
use super::ghosts::{Ghost, Ghosts};
use super::pages::{Kind, PAGE_BYTES};
use super::queue_sizer::{QueueSizer, Share, Tally};

/// Spare pages that another partition has beyond that are taken before anything is evicted, as a
/// number and as a share of the memory.
const SPARE_PAGES_MAX: u64 = 16;
const SPARE_SHARE: u64 = 128;

/// A partition evicts its own keys if they have been there for so many eighths of the time that
/// the oldest have: moving memory from one to another has its cost.
const OWN_AGE_EIGHTHS: u64 = 7;

/// Units of age that a log page's stamp can tell apart within one turnover of the memory.
const STAMPS_PER_TURNOVER: u64 = 256;

/// Nothing is in a queue.
const EMPTY: u64 = u64::MAX;

/// What a partition shows of itself to those who don't hold its lock.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Summary {
    keys: AtomicU64,
    spare_pages: AtomicU32,
    /// Pages of the small and the main queue, those of large values included.
    weights: [AtomicU64; 2],
    /// When what is next in each queue entered it, and when the large value was used that was used last
    /// the longest ago, by the policy's clock; or [`EMPTY`].
    entered: [AtomicU64; 3],
    /// Pages of large values.
    large_pages: AtomicU64,
}

impl Summary {
    /// Shows how much there is of what.
    pub(super) fn show(&self, keys: u64, spare_pages: u32, weights: [u64; 2], large_pages: u64) {
        self.keys.store(keys, Relaxed);
        self.large_pages.store(large_pages, Relaxed);
        self.spare_pages.store(spare_pages, Relaxed);
        for (shown, weight) in self.weights.iter().zip(weights) {
            shown.store(weight, Relaxed);
        }
    }
}

/// Where room is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) partition: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) struct Policy {
    pub(super) ghosts: Ghosts,
    /// What the ghosts are charged to.
    pub(super) budget: Budget,
    queue_sizer: Mutex<QueueSizer>,
    small_parts: AtomicU64,
    duel: Mutex<Duel>,
    /// What the duel says, and with which keys it is played.
    is_by_use: AtomicBool,
    duel_bits: AtomicU32,
    /// Pages that entries and values were put into since the start.
    clock: AtomicU64,
    /// The clock's bits that a log page's stamp leaves out.
    stamp_shift: u32,
    /// Spare pages that a partition keeps to itself at most.
    spare_pages_max: u32,
    summaries: Box<[Summary]>,
}

impl Policy {
    pub(super) fn new(partitions: usize, budget: Budget) -> io::Result<Self> {
        let bytes_max = budget.bytes_max();
        let queue_sizer = QueueSizer::new();
        let pages = bytes_max / PAGE_BYTES as u64;
        let summaries: Box<[Summary]> = (0..partitions).map(|_| Summary::default()).collect();
        for entered in summaries.iter().flat_map(|summary| &summary.entered) {
            entered.store(EMPTY, Relaxed);
        }
        let spare = (pages / (SPARE_SHARE * partitions as u64)).min(SPARE_PAGES_MAX);
        Ok(Self {
            spare_pages_max: spare as u32,
            ghosts: Ghosts::reserve(bytes_max)?,
            budget,
            small_parts: AtomicU64::new(queue_sizer.share().small_parts),
            queue_sizer: Mutex::new(queue_sizer),
            duel: Mutex::default(),
            is_by_use: AtomicBool::new(false),
            duel_bits: AtomicU32::new(0),
            clock: AtomicU64::new(0),
            stamp_shift: (pages / STAMPS_PER_TURNOVER).max(1).ilog2(),
            summaries,
        })
    }

    pub(super) fn share(&self) -> Share {
        Share { small_parts: self.small_parts.load(Relaxed) }
    }

    /// Goes on with a share of the small queue that was found right before.
    pub(super) fn set_small_parts(&self, parts: u64) {
        let mut queue_sizer = self.queue_sizer.lock().unwrap_or_else(PoisonError::into_inner);
        queue_sizer.set_small_parts(parts);
        self.small_parts.store(queue_sizer.share().small_parts, Relaxed);
    }

    /// Whether large values are evicted by their last use, and with them what else is older.
    pub(super) fn is_by_use(&self) -> bool {
        self.is_by_use.load(Relaxed)
    }

    /// A large value of so many pages was asked for or stored, in a partition whose large values have so
    /// many altogether.
    pub(super) fn note_use(&self, partition: usize, hash: u64, pages: u64, all_pages: u64) {
        self.summaries[partition].large_pages.store(all_pages, Relaxed);
        if !duel::takes_part(hash, self.duel_bits.load(Relaxed)) {
            return;
        }
        // Who meets another here leaves a request out of the game.
        let Ok(mut duel) = self.duel.try_lock() else { return };
        duel.request(hash, pages, self.large_pages());
        self.is_by_use.store(duel.is_by_use() && self.is_mostly_large(), Relaxed);
        self.duel_bits.store(duel.bits(), Relaxed);
    }

    fn large_pages(&self) -> u64 {
        self.summaries.iter().map(|summary| summary.large_pages.load(Relaxed)).sum()
    }

    /// Whether large values have at least half of the memory. With fewer of them the small ones, which take
    /// no part in the duel, would have to follow it.
    fn is_mostly_large(&self) -> bool {
        self.large_pages() * PAGE_BYTES as u64 * 2 >= self.budget.bytes_max()
    }

    /// Whether it is chosen by what the partitions show of themselves.
    pub(super) fn looks_at_summaries(&self) -> bool {
        self.summaries.len() > 1 || self.is_by_use()
    }

    pub(super) fn summary(&self, partition: usize) -> &Summary {
        &self.summaries[partition]
    }

    /// Moves the clock on by so many pages; the time before.
    pub(super) fn pass(&self, pages: u32) -> u64 {
        self.clock.fetch_add(u64::from(pages), Relaxed)
    }

    pub(super) fn time(&self) -> u64 {
        self.clock.load(Relaxed)
    }

    /// What is kept of a time in a log page's record.
    pub(super) fn stamp(&self, time: u64) -> u16 {
        (time >> self.stamp_shift) as u16
    }

    /// The latest time that has this stamp.
    pub(super) fn time_of_stamp(&self, stamp: u16) -> u64 {
        let now = self.clock.load(Relaxed) >> self.stamp_shift;
        let age = (now as u16).wrapping_sub(stamp);
        now.saturating_sub(u64::from(age)) << self.stamp_shift
    }

    /// The latest time that ends in these 32 bits.
    pub(super) fn time_of_bits(&self, bits: u32) -> u64 {
        let now = self.clock.load(Relaxed);
        now.saturating_sub(u64::from((now as u32).wrapping_sub(bits)))
    }

    /// Shows since when what is next in a partition's queue has been there.
    pub(super) fn show_entered(&self, partition: usize, kind: Kind, time: Option<u64>) {
        let at = if kind == Kind::Large { 2 } else { kind.queue() };
        let entered = &self.summaries[partition].entered[at];
        entered.store(time.unwrap_or(EMPTY), Relaxed);
    }

    /// Where to make room for a partition: its own, unless another has pages to spare or keys that
    /// are clearly older. `None` if there is nothing left to evict.
    pub(super) fn choose(&self, own: usize) -> Option<Choice> {
        let mut weights = [0; 2];
        let mut oldest = [(EMPTY, own); 2];
        for (at, summary) in self.summaries.iter().enumerate() {
            if at != own && summary.spare_pages.load(Relaxed) > self.spare_pages_max {
                return Some(Choice { partition: at, kind: Kind::Free });
            }
            for queue in 0..2 {
                weights[queue] += summary.weights[queue].load(Relaxed);
                let entered = summary.entered[queue].load(Relaxed);
                oldest[queue] = oldest[queue].min((entered, at));
            }
        }
        if self.is_by_use() {
            return self.choose_oldest(own);
        }
        let small =
            oldest[0].0 != EMPTY && (oldest[1].0 == EMPTY || self.share().small_is_first(weights));
        let kind = if small { Kind::Small } else { Kind::Main };
        let (entered, partition) = oldest[kind.queue()];
        if entered == EMPTY {
            return None;
        }
        let mine = self.summaries[own].entered[kind.queue()].load(Relaxed);
        Some(Choice { partition: if self.is_near(mine, entered) { own } else { partition }, kind })
    }

    /// What was used, or entered a queue, the longest ago.
    fn choose_oldest(&self, own: usize) -> Option<Choice> {
        let oldest_of = |partition: usize| {
            let entered = &self.summaries[partition].entered;
            // Of what is as old, the large value: in a queue it only makes room for what is behind it.
            let kinds = [(2, Kind::Large), (0, Kind::Small), (1, Kind::Main)];
            let times = kinds.map(|(at, kind)| (entered[at].load(Relaxed), kind));
            let (time, kind) = times.into_iter().min_by_key(|&(time, _)| time)?;
            Some((time, Choice { partition, kind })).filter(|_| time != EMPTY)
        };
        let all = (0..self.summaries.len()).filter_map(oldest_of);
        let (time, oldest) = all.min_by_key(|&(time, _)| time)?;
        Some(match oldest_of(own) {
            Some((mine, choice)) if self.is_near(mine, time) => choice,
            _ => oldest,
        })
    }

    /// Whether a time of one's own is nearly as long ago as the oldest.
    fn is_near(&self, mine: u64, oldest: u64) -> bool {
        let now = self.clock.load(Relaxed);
        let age = |time: u64| now.saturating_sub(time);
        mine != EMPTY && age(mine) * 8 >= age(oldest) * OWN_AGE_EIGHTHS
    }

    /// Keys of all partitions, of which one has so many now.
    pub(super) fn keys(&self, partition: usize, keys: u64) -> u64 {
        let others = self.summaries.iter().enumerate().filter(|&(at, _)| at != partition);
        keys + others.map(|(_, summary)| summary.keys.load(Relaxed)).sum::<u64>()
    }

    /// The queue that a key starts in that is not in the store, and its ghost if there is one.
    pub(super) fn queue_for_new(&self, hash: u64) -> (Kind, Option<Ghost<'_>>) {
        let ghost = self.ghosts.recall(hash);
        (if ghost.is_some() { Kind::Main } else { Kind::Small }, ghost)
    }

    /// Records what a partition of a store of so many keys has counted.
    pub(super) fn record(&self, tally: &Tally, keys: u64) {
        let mut queue_sizer = self.queue_sizer.lock().unwrap_or_else(PoisonError::into_inner);
        queue_sizer.record(tally, keys);
        self.small_parts.store(queue_sizer.share().small_parts, Relaxed);
        if self.is_by_use() && !self.is_mostly_large() {
            self.is_by_use.store(false, Relaxed);
        }
    }
}
