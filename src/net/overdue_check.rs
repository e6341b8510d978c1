//! The walk over a loop's connections that looks for overdue ones, some in each iteration.

use std::time::{Duration, Instant};

use super::mailbox::TICK;

/// Where the walk is. A round of it begins at every tick.
#[derive(Debug)]
pub(super) struct OverdueCheck {
    next_round: Instant,
    /// When the round that is under way, or the last one, began.
    began_at: Instant,
    /// How long after the one before it did.
    pub(super) elapsed: Duration,
    /// In the round that is under way, whether messages wait for memory that others use.
    pub(super) others_wait: bool,
    /// The next key to check, unless no round is under way.
    next_key: Option<usize>,
}

impl OverdueCheck {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next_round: now + TICK,
            began_at: now,
            elapsed: Duration::ZERO,
            others_wait: false,
            next_key: None,
        }
    }

    /// Whether a round is to begin.
    #[inline]
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next_key.is_none() && now >= self.next_round
    }

    /// Begins a round.
    pub(super) fn begin(&mut self, now: Instant, others_wait: bool) {
        self.next_round = now + TICK;
        // When the loop itself was held up, that is nobody's fault but its own.
        self.elapsed = (now - self.began_at).min(2 * TICK);
        self.began_at = now;
        self.others_wait = others_wait;
        self.next_key = Some(0);
    }

    #[inline]
    pub(super) fn is_under_way(&self) -> bool {
        self.next_key.is_some()
    }

    /// The next key to check, of those below `key_max`. The round ends with the last one.
    pub(super) fn next_key(&mut self, key_max: usize) -> Option<usize> {
        let key = self.next_key.take()?;
        self.next_key = Some(key + 1).filter(|&next| next < key_max);
        (key < key_max).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_checks_every_connection_once_and_begins_at_every_tick() {
        let start = Instant::now();
        let mut check = OverdueCheck::new(start);
        assert!(!check.is_due(start) && check.is_due(start + TICK));
        check.begin(start + TICK, true);
        assert!(check.is_under_way() && !check.is_due(start + 2 * TICK), "one round at a time");
        let keys: Vec<_> = std::iter::from_fn(|| check.next_key(3)).collect();
        assert_eq!((keys, check.is_under_way()), (vec![0, 1, 2], false));
        assert!(check.is_due(start + 2 * TICK));
        check.begin(start + 10 * TICK, false);
        assert_eq!((check.elapsed, check.next_key(0)), (2 * TICK, None), "the loop was late");
    }
}
