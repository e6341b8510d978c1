//! What a connection waits for, until when, and at what pace.

use std::time::{Duration, Instant};

use super::pace::{MinRate, Pace};
use super::service::{Progress, Wait};

/// How long each [`Wait`] may last, and how slow one of a body or of reading may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct WaitLimits {
    pub(super) idle: Duration,
    pub(super) head: Duration,
    pub(super) body: Duration,
    pub(super) linger: Duration,
    pub(super) memory: Duration,
    pub(super) rate: MinRate,
    /// How long a peer may leave a large value or a body waiting while others wait for memory.
    pub(super) stall: Duration,
    /// How long it may take for all of it meanwhile, by its pace once the grace is over.
    pub(super) whole: Duration,
    pub(super) whole_grace: Duration,
}

impl WaitLimits {
    fn of(&self, wait: Wait) -> Duration {
        match wait {
            Wait::Idle | Wait::Send => self.idle,
            Wait::Head => self.head,
            Wait::Body => self.body,
            Wait::Linger => self.linger,
            Wait::Memory => self.memory,
        }
    }
}

/// The wait of one connection.
#[derive(Debug)]
pub(super) struct WaitTimer {
    wait: Wait,
    deadline: Instant,
    /// While the wait is for a body, or for the peer to read.
    pace: Pace,
    /// When that wait began.
    paced_since: Instant,
}

impl WaitTimer {
    /// The wait of a new connection, for its first message.
    pub(super) fn idle(now: Instant, limits: &WaitLimits) -> Self {
        let deadline = now + limits.idle;
        Self { wait: Wait::Idle, deadline, pace: Pace::ENDLESS, paced_since: now }
    }

    /// What the connection waits for.
    #[inline]
    pub(super) fn wait(&self) -> Wait {
        self.wait
    }

    /// Time passes. Whether the wait has lasted too long or is too slow.
    pub(super) fn is_overdue(&mut self, now: Instant, elapsed: Duration) -> bool {
        // It may have begun within the time that has passed.
        self.pace.spend(elapsed.min(now.saturating_duration_since(self.paced_since)));
        now >= self.deadline || self.is_too_slow()
    }

    fn is_too_slow(&self) -> bool {
        matches!(self.wait, Wait::Body | Wait::Send) && self.pace.is_used_up()
    }

    /// Whether the peer has begun to read since the deadline was this one, and fast enough.
    pub(super) fn is_read_since(&self, deadline: Instant) -> bool {
        self.deadline > deadline && !self.is_too_slow()
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the peer has stood still, or is so slow with what it has to move, `bytes` in all, that
    /// others who wait for memory come first.
    pub(super) fn is_stalling(&self, bytes: u64, now: Instant, limits: &WaitLimits) -> bool {
        let stands_still = now >= self.since(limits) + limits.stall;
        stands_still || self.pace.is_behind(bytes, limits.whole, limits.whole_grace)
    }

    /// Bytes that have moved since the wait began.
    pub(super) fn moved_bytes(&self) -> u64 {
        self.pace.moved_bytes()
    }

    /// When the connection began to wait for what it waits for now.
    pub(super) fn since(&self, limits: &WaitLimits) -> Instant {
        self.deadline - limits.of(self.wait)
    }

    /// The connection waits for this now, after it has made such progress and sent so many bytes.
    pub(super) fn set(
        &mut self,
        wait: Wait,
        progress: Progress,
        sent: usize,
        now: Instant,
        limits: &WaitLimits,
    ) {
        let limit = limits.of(wait);
        if matches!(wait, Wait::Body | Wait::Send) {
            self.keep_pace(wait, progress, sent, (now, limit), limits.rate);
        }
        if progress.consumed > 0 || sent > 0 || wait != self.wait {
            self.deadline = now + limit;
        }
        self.wait = wait;
    }

    fn begin_pace(&mut self, pace: Pace, now: Instant) {
        (self.pace, self.paced_since) = (pace, now);
    }

    /// Starts the time of a body or of reading, or adds what the bytes that moved pay for.
    fn keep_pace(
        &mut self,
        wait: Wait,
        progress: Progress,
        sent: usize,
        (now, limit): (Instant, Duration),
        rate: MinRate,
    ) {
        let goes_on = wait == self.wait;
        match wait {
            // A message was answered: this is the next one's body.
            Wait::Body if goes_on && progress.answered == 0 => {
                rate.received(&mut self.pace, progress.consumed, limit);
            }
            Wait::Body => self.begin_pace(rate.receiving(), now),
            _ if goes_on => rate.sent(&mut self.pace, sent, limit),
            _ => self.begin_pace(rate.sending(), now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::service::Flow;

    #[test]
    fn a_body_is_not_charged_for_the_time_before_it_began() {
        const SECOND: Duration = Duration::from_secs(1);
        let start = Instant::now();
        let limits = WaitLimits {
            idle: 100 * SECOND,
            head: 100 * SECOND,
            body: 100 * SECOND,
            linger: 100 * SECOND,
            memory: 100 * SECOND,
            rate: MinRate { bytes_per_second: 1_000, grace: 10 * SECOND },
            stall: 100 * SECOND,
            whole: 100 * SECOND,
            whole_grace: 100 * SECOND,
        };
        let mut timer = WaitTimer::idle(start, &limits);
        let progress = Progress { consumed: 1, answered: 0, flow: Flow::More };
        timer.set(Wait::Body, progress, 0, start + 9 * SECOND, &limits);
        // The check before this one was at the start.
        assert!(!timer.is_overdue(start + 10 * SECOND, 10 * SECOND), "one second of the body's");
        assert!(!timer.is_overdue(start + 19 * SECOND, 9 * SECOND), "all of the grace");
        assert!(timer.is_overdue(start + 20 * SECOND, SECOND));
    }
}
