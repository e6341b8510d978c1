//! What share of the log the small queue gets.
//!
//! With a small queue of a tenth, as S3-FIFO has it, the main queue keeps what was asked for often,
//! which is best as long as the same keys stay popular. When others become popular instead, the
//! main queue is full of keys that nobody wants any more, and new ones are evicted from the small
//! queue before they are asked for again. A large small queue, which is nearly LRU, does better
//! then.
//!
//! Which of the two it is shows in the keys that come back after they were evicted. Each of the
//! keys that are remembered comes back with some chance; when the chance is higher for those that
//! were evicted from the small queue, it is too small, and when it is higher for the others, the main queue
//! is. What is compared is returns per remembered key and eviction, and not the numbers of returns,
//! so that it does not matter how many keys are evicted from each queue, nor that their returns come later.

use super::ghosts::{Ghost, GhostChange, Ghosts};
use super::pages::Kind;

/// Parts that the log is shared out in.
const PARTS: u64 = 20;

/// Parts for the small queue at least: what S3-FIFO gives it.
const SMALL_PARTS_MIN: u64 = 2;

/// Parts for the small queue at most. More than that and what is hit has no place to stay: a
/// shifting working set does worse again from here on.
const SMALL_PARTS_MAX: u64 = 14;

/// Parts for the small queue at the start. More would suit a store that has just filled up, most of
/// whose keys have not had the time to be asked for again; but where few keys are evicted, it takes
/// long until the queues fit.
const SMALL_PARTS_FIRST: u64 = 8;

/// With so many parts, it is keys' last hits that matter and not how many they had.
const SHIFTING_PARTS_MIN: u64 = 8;

/// One part is moved, or none, after so many evictions: a share of the keys, and a number.
const JUDGED_SHARE: u64 = 16;
const JUDGED_EVICTIONS_MIN: u64 = 1024;

/// With few values, the number is theirs but not less than this one, so that it does not take dozens
/// of turnovers until the queues fit.
const JUDGED_EVICTIONS_LEAST: u64 = 256;

/// Fewer returns than that are no evidence: some are false memories.
const RETURNS_MIN: u64 = 32;

/// The small queue grows when its keys come back so much more often, in hundredths. It shrinks
/// again as soon as the main queue's come back more often at all.
const GROWS_PERCENT: u64 = 125;

/// Evictions and returns that a partition counts for itself at most before it reports them: a number, and
/// a share of its keys. Where there are few keys, more than that would be most of what is remembered.
const EVENTS_PER_REPORT_MAX: u64 = 16;
const EVENTS_PER_REPORT_SHARE: u64 = 16;

/// What happened to the keys that were evicted from one queue.
#[derive(Debug, Clone, Copy, Default)]
struct Chance {
    /// Keys that were remembered, summed up over the evictions.
    remembered: u64,
    returned: u64,
}

/// What one partition has counted since it last reported.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) evictions: u64,
    /// Keys that came back, by the queue that they were evicted from.
    pub(super) returned: [u64; 2],
    /// How the numbers of keys that are remembered have changed.
    pub(super) remembered: GhostChange,
}

impl Tally {
    /// A key was evicted from a queue.
    pub(super) fn count_eviction(&mut self, ghosts: &Ghosts, hash: u64, kind: Kind) {
        self.evictions += 1;
        ghosts.remember(hash, kind, &mut self.remembered);
    }

    /// Whether a partition of so many keys is to report it.
    pub(super) fn is_due(&self, keys: u64) -> bool {
        let events = self.evictions + self.returned[0] + self.returned[1];
        events >= (keys / EVENTS_PER_REPORT_SHARE).clamp(1, EVENTS_PER_REPORT_MAX)
    }

    /// A key is back that was remembered.
    pub(super) fn count_return(&mut self, ghost: Ghost<'_>) {
        self.returned[ghost.kind().queue()] += 1;
        ghost.forget(&mut self.remembered);
    }
}

/// One for all partitions.
#[derive(Debug)]
pub(super) struct QueueSizer {
    small_parts: u64,
    small: Chance,
    main: Chance,
    evictions: u64,
    /// Keys that are remembered, of the small queue and of the main one.
    remembered: GhostChange,
}

/// What share of the log is the small queue's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) small_parts: u64,
}

impl Share {
    /// Whether the small queue has more than its share.
    pub(super) fn small_is_first(self, [small, main]: [u64; 2]) -> bool {
        small * PARTS > (small + main) * self.small_parts
    }

    /// Whether the working set is moving on.
    pub(super) fn is_shifting(self) -> bool {
        self.small_parts >= SHIFTING_PARTS_MIN
    }
}

impl QueueSizer {
    pub(super) const fn new() -> Self {
        let none = Chance { remembered: 0, returned: 0 };
        Self {
            small_parts: SMALL_PARTS_FIRST,
            small: none,
            main: none,
            evictions: 0,
            remembered: [0; 2],
        }
    }

    pub(super) fn share(&self) -> Share {
        Share { small_parts: self.small_parts }
    }

    /// Goes on with a share that was found right before, or with the nearest that there is.
    pub(super) fn set_small_parts(&mut self, parts: u64) {
        self.small_parts = parts.clamp(SMALL_PARTS_MIN, SMALL_PARTS_MAX);
    }

    /// Records what happened in a partition of a store of so many keys.
    pub(super) fn record(&mut self, tally: &Tally, keys: u64) {
        for (sum, change) in self.remembered.iter_mut().zip(tally.remembered) {
            *sum += change;
        }
        let [small, main] = self.remembered.map(|count| count.max(0) as u64);
        self.small.remembered += small * tally.evictions;
        self.main.remembered += main * tally.evictions;
        self.small.returned += tally.returned[0];
        self.main.returned += tally.returned[1];
        self.evictions += tally.evictions;
        if self.evictions >= judged_evictions(keys) {
            self.judge();
        }
    }

    fn judge(&mut self) {
        // One fraction against another, without the division.
        let times = |a: u64, b: u64| u128::from(a) * u128::from(b);
        let small = times(self.small.returned, self.main.remembered);
        let main = times(self.main.returned, self.small.remembered);
        if self.small.returned + self.main.returned < RETURNS_MIN {
            // Wait for more.
        } else if small * 100 > main * u128::from(GROWS_PERCENT) {
            self.small_parts = (self.small_parts + 1).min(SMALL_PARTS_MAX);
        } else if main > small {
            self.small_parts = (self.small_parts - 1).max(SMALL_PARTS_MIN);
        }
        for chance in [&mut self.small, &mut self.main] {
            // What was before counts half.
            chance.remembered /= 2;
            chance.returned /= 2;
        }
        self.evictions = 0;
    }
}

/// Evictions between one judgement and the next.
fn judged_evictions(keys: u64) -> u64 {
    (keys / JUDGED_SHARE).max(keys.clamp(JUDGED_EVICTIONS_LEAST, JUDGED_EVICTIONS_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(sizer: &mut QueueSizer, small: u64, main: u64) -> u64 {
        for _ in 0..40 {
            let returned = [small, main];
            sizer.record(&Tally { returned, ..Tally::default() }, 5000);
            let evictions = JUDGED_EVICTIONS_MIN;
            sizer.record(&Tally { evictions, ..Tally::default() }, 5000);
        }
        sizer.small_parts
    }

    #[test]
    fn the_queue_whose_keys_come_back_grows() {
        let mut sizer = QueueSizer::new();
        sizer.record(&Tally { remembered: [4000, 1000], ..Tally::default() }, 5000);
        assert!(sizer.share().is_shifting());
        // 50 of 4,000 against 25 of 1,000.
        assert_eq!(after(&mut sizer, 50, 25), SMALL_PARTS_MIN);
        assert!(!sizer.share().is_shifting());
        // One queue's chance is about as high as the other's.
        assert_eq!(after(&mut sizer, 44, 10), SMALL_PARTS_MIN);
        assert_eq!(after(&mut sizer, 60, 10), SMALL_PARTS_MAX);
        assert_eq!(after(&mut sizer, 0, 0), SMALL_PARTS_MAX);
        let share = sizer.share();
        assert!(share.small_is_first([71, 29]) && !share.small_is_first([69, 31]));
    }
}
