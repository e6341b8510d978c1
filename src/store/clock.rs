//! The coarse clock that expiry goes by.
//!
//! A tick is an eighth of a second, so that a time stamp taken once per turn of the event loop
//! is good enough to promise "at least the TTL, at most one second longer".

use std::time::{Duration, Instant};

const TICKS_PER_SECOND: u32 = 8;

/// Longest time to live, in seconds: 3,650 days. Longer ones are cut to it. The clock itself goes on for
/// 17 years, so that it holds in the first seven of a process's life.
pub const TTL_SECONDS_MAX: u32 = 3_650 * 86_400;

const _: () = assert!(TTL_SECONDS_MAX < u32::MAX / TICKS_PER_SECOND / 17 * 10);

/// Slack that keeps "at least the TTL" true although a tick is rounded down and the time stamp
/// of a write is as old as the turn of the loop that it is part of.
const TICKS_OF_GRACE: u32 = 4;

/// Monotonic time in eighths of a second since the process's [`Clock`] was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u32);

impl Tick {
    /// Ticks of a second.
    pub const PER_SECOND: u32 = TICKS_PER_SECOND;

    /// The tick this many whole seconds later.
    #[must_use]
    pub fn plus_seconds(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(TICKS_PER_SECOND)))
    }
}

/// When an entry ends: from that tick on it is absent. Never: [`Expiry::NEVER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry(u32);

impl Expiry {
    /// The entry has no time to live.
    pub const NEVER: Self = Self(u32::MAX);

    /// The end of a life of `seconds`, clamped to `1..=TTL_SECONDS_MAX`, that starts now.
    #[must_use]
    pub fn after(now: Tick, seconds: u32) -> Self {
        let ticks = seconds.clamp(1, TTL_SECONDS_MAX) * TICKS_PER_SECOND + TICKS_OF_GRACE;
        Self(now.0.saturating_add(ticks).min(u32::MAX - 1))
    }

    /// Whether the entry has ended by `now`.
    #[must_use]
    #[inline]
    pub fn is_due(self, now: Tick) -> bool {
        // NEVER is never reached: a clock that runs 17 years stops there.
        self.0 <= now.0 && self != Self::NEVER
    }

    /// Whole seconds that are left at `now` of what was promised; `None` if it never ends.
    #[must_use]
    pub fn seconds_left(self, now: Tick) -> Option<u32> {
        let ticks = self.0.saturating_sub(now.0).saturating_sub(TICKS_OF_GRACE);
        (self != Self::NEVER).then_some(ticks / TICKS_PER_SECOND)
    }

    /// The tick as a number, for compact storage; [`Expiry::from_bits`] takes it back.
    #[must_use]
    pub fn to_bits(self) -> u32 {
        self.0
    }

    /// See [`Expiry::to_bits`].
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

/// Start of the process's coarse time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose tick 0 is now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The tick that `instant` falls into.
    #[must_use]
    #[inline]
    pub fn tick(&self, instant: Instant) -> Tick {
        let since: Duration = instant.saturating_duration_since(self.start);
        let eighths = since.as_secs() * u64::from(TICKS_PER_SECOND)
            + u64::from(since.subsec_nanos() / (1_000_000_000 / TICKS_PER_SECOND));
        Tick(u32::try_from(eighths).unwrap_or(u32::MAX - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lives_its_ttl_and_at_most_a_second_longer() {
        let clock = Clock::start();
        for millis in 0..2_000u64 {
            let written = clock.start + Duration::from_millis(millis);
            let expiry = Expiry::after(clock.tick(written), 1);
            assert!(!expiry.is_due(clock.tick(written + Duration::from_millis(1_000))));
            assert!(expiry.is_due(clock.tick(written + Duration::from_millis(2_000))));
            assert_eq!(expiry.seconds_left(clock.tick(written)), Some(1));
            assert_eq!(expiry.seconds_left(clock.tick(written + Duration::from_secs(3))), Some(0));
        }
        assert_eq!(Expiry::NEVER.seconds_left(Tick(7)), None);
    }

    #[test]
    fn the_longest_life_is_3650_days() {
        let expiry = Expiry::after(Tick(0), u32::MAX);
        assert!(!expiry.is_due(Tick(0).plus_seconds(3_650 * 86_400)));
        assert!(expiry.is_due(Tick(0).plus_seconds(3_650 * 86_400 + 1)));
        let seven_years = Tick(0).plus_seconds(7 * 365 * 86_400);
        let expiry = Expiry::after(seven_years, u32::MAX);
        assert!(!expiry.is_due(seven_years.plus_seconds(3_650 * 86_400)));
    }

    #[test]
    fn never_is_never_due() {
        assert!(!Expiry::NEVER.is_due(Tick(u32::MAX)));
        assert!(Expiry::after(Tick(5), u32::MAX) < Expiry::NEVER);
    }
}
