//! How long ago something was, also across restarts.
//!
//! Within one boot of the system that is told by a clock that nobody sets. Across boots there is only the
//! wall clock: when it shows an earlier time than before, it was set back, and nothing is known.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

pub(super) const MOMENT_BYTES: usize = 32;

/// A point in time, in milliseconds on two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Which boot of which system it was in; 0 if that is not known.
    boot: u128,
    /// Since that boot.
    uptime: u64,
    /// Since 1970.
    wall: u64,
}

impl Moment {
    pub(super) fn now() -> Self {
        let uptime = clock_gettime(ClockId::Boottime);
        let (seconds, nanoseconds) = (uptime.tv_sec as u64, uptime.tv_nsec as u64);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            boot: boot_id().unwrap_or(0),
            uptime: seconds * 1000 + nanoseconds / 1_000_000,
            wall: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// The time from an earlier moment to this one, if it is known.
    pub(super) fn since(&self, earlier: &Self) -> Option<Duration> {
        let is_same_boot = self.boot != 0 && self.boot == earlier.boot;
        let uptime = self.uptime.checked_sub(earlier.uptime).filter(|_| is_same_boot);
        let millis = uptime.or_else(|| self.wall.checked_sub(earlier.wall));
        millis.map(Duration::from_millis)
    }

    pub(super) fn to_bytes(self) -> [u8; MOMENT_BYTES] {
        let mut bytes = [0; MOMENT_BYTES];
        bytes[..16].copy_from_slice(&self.boot.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.uptime.to_le_bytes());
        bytes[24..].copy_from_slice(&self.wall.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; MOMENT_BYTES]) -> Self {
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let boot = u128::from_le_bytes(std::array::from_fn(|i| bytes[i]));
        Self { boot, uptime: number(16), wall: number(24) }
    }
}

/// What the kernel calls this boot (random(4)).
fn boot_id() -> Option<u128> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_counts_only_across_boots() {
        let at = |boot, uptime, wall| Moment { boot, uptime, wall };
        let then = at(7, 1_000, 50_000);
        let seconds = |now: Moment| now.since(&then).map(|time| time.as_secs());
        assert_eq!(seconds(at(7, 6_000, 40_000)), Some(5), "it was set back");
        assert_eq!(seconds(at(7, 6_000, 90_000)), Some(5), "it was set forward");
        assert_eq!(seconds(at(8, 6_000, 90_000)), Some(40), "another boot");
        assert_eq!(seconds(at(0, 6_000, 90_000)), Some(40), "no boot is known");
        assert_eq!(seconds(at(8, 6_000, 40_000)), None, "another boot, and set back");
        assert_eq!(Moment::from_bytes(&then.to_bytes()), then);
        let (first, second) = (Moment::now(), Moment::now());
        assert!(second.since(&first).is_some_and(|time| time < Duration::from_secs(60)));
    }
}
