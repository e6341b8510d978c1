//! The least rate at which bytes have to move, and what a connection has left of its time by it.
//!
//! A token bucket, filled with time: a body, or a peer's reading, starts with the grace; each byte
//! that moves pays for the time that it takes at the least rate; and time that passes is spent.
//! Who has none left is too slow, and the slower, the sooner. What bytes pay for is kept up to a
//! limit only, so that a fast start does not pay for hours of next to nothing.

use std::time::Duration;

/// What the kernel may have taken for a peer that has not read it yet: it takes bytes in lumps,
/// and as soon as it has any room. The peer gets the time to read them.
const LUMP_BYTES: u64 = 128 << 10;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The least rate of a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct MinRate {
    /// No rate is too low if this is 0.
    pub(super) bytes_per_second: u64,
    pub(super) grace: Duration,
}

/// What a connection has left, and what it has done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    nanos: i64,
    spent: Duration,
    moved_bytes: u64,
}

impl Pace {
    pub(super) const ENDLESS: Self = Self::with(i64::MAX);

    const fn with(nanos: i64) -> Self {
        Self { nanos, spent: Duration::ZERO, moved_bytes: 0 }
    }

    /// Time passes.
    pub(super) fn spend(&mut self, time: Duration) {
        self.spent = self.spent.saturating_add(time);
        if self.nanos != i64::MAX {
            self.nanos = self.nanos.saturating_sub(nanos(time));
        }
    }

    pub(super) fn is_used_up(self) -> bool {
        self.nanos < 0
    }

    /// Bytes that have moved since it began.
    pub(super) fn moved_bytes(self) -> u64 {
        self.moved_bytes
    }

    /// Whether so many bytes in all take longer than `whole` as they have moved so far. Nobody knows
    /// before `grace` is over.
    pub(super) fn is_behind(self, bytes: u64, whole: Duration, grace: Duration) -> bool {
        let times = |bytes: u64, time: Duration| u128::from(bytes).saturating_mul(time.as_nanos());
        self.spent >= grace && times(self.moved_bytes, whole) < times(bytes, self.spent)
    }
}

impl MinRate {
    /// What a body starts with.
    pub(super) fn receiving(self) -> Pace {
        self.pace(nanos(self.grace))
    }

    /// What a peer starts with that is to read.
    pub(super) fn sending(self) -> Pace {
        self.pace(nanos(self.grace).saturating_add(self.worth(LUMP_BYTES)))
    }

    fn pace(self, nanos: i64) -> Pace {
        if self.bytes_per_second == 0 { Pace::ENDLESS } else { Pace::with(nanos) }
    }

    /// Bytes were received. They pay for a pause of at most `pause`.
    pub(super) fn received(self, pace: &mut Pace, bytes: usize, pause: Duration) {
        self.earn(pace, bytes, nanos(pause.max(self.grace)));
    }

    /// Bytes were sent. They pay for a pause of at most `pause`, and for reading them.
    pub(super) fn sent(self, pace: &mut Pace, bytes: usize, pause: Duration) {
        let max = nanos(pause.max(self.grace)).saturating_add(self.worth(LUMP_BYTES));
        self.earn(pace, bytes, max);
    }

    fn earn(self, pace: &mut Pace, bytes: usize, max: i64) {
        pace.moved_bytes = pace.moved_bytes.saturating_add(bytes as u64);
        if self.bytes_per_second > 0 {
            pace.nanos = pace.nanos.saturating_add(self.worth(bytes as u64)).min(max);
        }
    }

    /// The time that bytes pay for.
    fn worth(self, bytes: u64) -> i64 {
        let nanos = bytes.saturating_mul(NANOS_PER_SECOND).checked_div(self.bytes_per_second);
        nanos.map_or(0, |nanos| i64::try_from(nanos).unwrap_or(i64::MAX))
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: MinRate = MinRate { bytes_per_second: 1_000, grace: Duration::from_secs(10) };
    const PAUSE: Duration = Duration::from_secs(30);

    /// Seconds until a body is too slow of which so many bytes come each second.
    fn lasts(pace: &mut Pace, bytes: usize) -> Option<u32> {
        (1..100_000).find(|_| {
            pace.spend(Duration::from_secs(1));
            RATE.received(pace, bytes, PAUSE);
            pace.is_used_up()
        })
    }

    #[test]
    fn the_slower_a_body_the_sooner_it_ends() {
        assert_eq!(lasts(&mut RATE.receiving(), 0), Some(11));
        assert_eq!(lasts(&mut RATE.receiving(), 500), Some(21));
        assert_eq!(lasts(&mut RATE.receiving(), 900), Some(101));
        assert_eq!(lasts(&mut RATE.receiving(), 1_000), None);
    }

    #[test]
    fn a_fast_start_pays_for_one_pause() {
        let mut pace = RATE.receiving();
        RATE.received(&mut pace, 1 << 30, PAUSE);
        assert_eq!(lasts(&mut pace, 1), Some(31));
    }

    #[test]
    fn who_takes_too_long_for_the_whole_is_behind_after_the_grace() {
        let (whole, grace) = (Duration::from_secs(60), Duration::from_secs(5));
        let mut pace = RATE.receiving();
        pace.spend(Duration::from_millis(4_999));
        assert!(!pace.is_behind(60_000, whole, grace));
        RATE.received(&mut pace, 5_000, PAUSE);
        pace.spend(Duration::from_millis(1));
        assert!(!pace.is_behind(60_000, whole, grace) && pace.is_behind(60_001, whole, grace));
        pace.spend(Duration::from_secs(55));
        RATE.received(&mut pace, 54_999, PAUSE);
        assert!(pace.is_behind(60_000, whole, grace) && !pace.is_behind(59_999, whole, grace));
        assert_eq!(pace.moved_bytes(), 59_999);
    }

    #[test]
    fn extremes_are_cut_off() {
        let slow = MinRate { bytes_per_second: 1, grace: Duration::MAX };
        let mut pace = slow.sending();
        slow.sent(&mut pace, usize::MAX, Duration::MAX);
        pace.spend(Duration::MAX);
        assert!(!pace.is_used_up());
        let none = MinRate { bytes_per_second: 0, ..RATE };
        let mut pace = none.receiving();
        none.received(&mut pace, usize::MAX, PAUSE);
        none.received(&mut pace, usize::MAX, PAUSE);
        pace.spend(Duration::MAX);
        pace.spend(Duration::MAX);
        assert!(!pace.is_used_up() && !pace.is_behind(u64::MAX, Duration::MAX, Duration::ZERO));
    }
}
