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
}

impl WaitTimer {
    /// The wait of a new connection, for its first message.
    pub(super) fn idle(now: Instant, limits: &WaitLimits) -> Self {
        Self { wait: Wait::Idle, deadline: now + limits.idle, pace: Pace::ENDLESS }
    }

    /// What the connection waits for.
    #[inline]
    pub(super) fn wait(&self) -> Wait {
        self.wait
    }

    /// Time passes. Whether the wait has lasted too long or is too slow.
    pub(super) fn is_overdue(&mut self, now: Instant, elapsed: Duration) -> bool {
        self.pace.spend(elapsed);
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
            self.keep_pace(wait, progress, sent, limit, limits.rate);
        }
        if progress.consumed > 0 || sent > 0 || wait != self.wait {
            self.deadline = now + limit;
        }
        self.wait = wait;
    }

    /// Starts the time of a body or of reading, or adds what the bytes that moved pay for.
    fn keep_pace(
        &mut self,
        wait: Wait,
        progress: Progress,
        sent: usize,
        limit: Duration,
        rate: MinRate,
    ) {
        let goes_on = wait == self.wait;
        match wait {
            // A message was answered: this is the next one's body.
            Wait::Body if goes_on && progress.answered == 0 => {
                rate.received(&mut self.pace, progress.consumed, limit);
            }
            Wait::Body => self.pace = rate.receiving(),
            _ if goes_on => rate.sent(&mut self.pace, sent, limit),
            _ => self.pace = rate.sending(),
        }
    }
}
