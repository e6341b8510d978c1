//! What a loop sends of large values in one iteration.
//!
//! Thousands may want large values at once, and others small ones meanwhile. So each iteration has
//! a budget for payloads, and for what sockets had no room for before; it is shared out among
//! those that send. Connections with output left from an earlier iteration (the backlog) come
//! first: while there are any, newcomers get nothing of the budget, and only their small responses
//! go at once.

use std::time::Duration;

/// The budget, in bytes. Small responses come on top.
const SENT_BYTES_PER_ITERATION_MAX: usize = 1 << 20;

/// What one connection may send at a time at least, in bytes.
const SHARE_BYTES_MIN: usize = 16 << 10;

/// How long a loop sends payloads while others have something to do. Usually the bytes are the
/// limit; but where the kernel must wait for memory, a page takes many times as long as it does
/// elsewhere.
const SENDING_TIME_MAX: Duration = Duration::from_millis(1);

/// What may still be sent in an iteration.
#[derive(Debug)]
pub(super) struct SendBudget {
    /// What one connection may send at a time.
    share: usize,
    /// What all of them together may still send.
    left: usize,
    has_backlog: bool,
}

impl SendBudget {
    pub(super) const fn new() -> Self {
        Self {
            share: SENT_BYTES_PER_ITERATION_MAX,
            left: SENT_BYTES_PER_ITERATION_MAX,
            has_backlog: false,
        }
    }

    /// Starts an iteration in which so many connections are ready, and so many are in the backlog.
    pub(super) fn start(&mut self, ready: usize, backlog: usize) {
        self.share = (SENT_BYTES_PER_ITERATION_MAX / (ready + backlog).max(1)).max(SHARE_BYTES_MIN);
        self.has_backlog = backlog > 0;
        self.left = if self.has_backlog { 0 } else { SENT_BYTES_PER_ITERATION_MAX };
    }

    /// Some of those that are ready have been served, so much time after the loop woke up. No
    /// payloads are sent any more if that was too long.
    pub(super) fn limit_time(&mut self, elapsed: impl FnOnce() -> Duration) {
        if self.left < SENT_BYTES_PER_ITERATION_MAX && elapsed() > SENDING_TIME_MAX {
            self.left = 0;
        }
    }

    /// All that are ready have been served. The backlog of before comes next.
    pub(super) fn start_backlog(&mut self) {
        if self.has_backlog {
            self.left = SENT_BYTES_PER_ITERATION_MAX;
        }
    }

    /// Whether the backlog has to wait for the next iteration, so much time after it came.
    pub(super) fn is_used_up(&self, elapsed: impl FnOnce() -> Duration) -> bool {
        self.left == 0 || elapsed() > SENDING_TIME_MAX
    }

    /// What a connection may send of small responses, in bytes.
    pub(super) fn share(&self) -> usize {
        self.share
    }

    /// What a connection may send of payloads, and of what is left from before, in bytes.
    pub(super) fn payload_share(&self) -> usize {
        self.share.min(self.left)
    }

    /// So many bytes of them were sent.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_TIME: fn() -> Duration = || Duration::ZERO;
    const LONG: fn() -> Duration = || Duration::from_secs(1);

    fn started(ready: usize, backlog: usize) -> SendBudget {
        let mut budget = SendBudget::new();
        budget.start(ready, backlog);
        budget
    }

    #[test]
    fn the_budget_is_shared_out_but_not_into_crumbs() {
        assert_eq!(started(0, 0).share(), SENT_BYTES_PER_ITERATION_MAX);
        assert_eq!(started(1, 0).share(), SENT_BYTES_PER_ITERATION_MAX);
        assert_eq!(started(4, 4).share(), SENT_BYTES_PER_ITERATION_MAX / 8);
        assert_eq!(started(1_000, 100_000).share(), SHARE_BYTES_MIN);
    }

    #[test]
    fn all_together_send_no_more_than_the_budget() {
        let mut budget = started(3, 0);
        let mut sent = 0;
        while !budget.is_used_up(NO_TIME) {
            let share = budget.payload_share();
            budget.spend(share);
            sent += share;
        }
        assert_eq!((sent, budget.payload_share()), (SENT_BYTES_PER_ITERATION_MAX, 0));
        // Small responses go all the same.
        assert_eq!(budget.share(), SENT_BYTES_PER_ITERATION_MAX / 3);
    }

    #[test]
    fn newcomers_send_no_payloads_before_the_backlog() {
        let mut budget = started(1, 1);
        assert_eq!((budget.payload_share(), budget.share()), (0, SENT_BYTES_PER_ITERATION_MAX / 2));
        budget.limit_time(LONG);
        budget.start_backlog();
        assert_eq!(budget.payload_share(), SENT_BYTES_PER_ITERATION_MAX / 2);
        // What the newcomers leave behind becomes the next iteration's backlog, and is sent in this
        // one from what they have not used.
        let mut budget = started(1, 0);
        budget.spend(SENT_BYTES_PER_ITERATION_MAX - 1);
        budget.start_backlog();
        assert_eq!(budget.payload_share(), 1);
    }

    #[test]
    fn time_ends_what_bytes_do_not() {
        let mut budget = started(2, 0);
        budget.limit_time(LONG);
        assert_eq!(
            budget.payload_share(),
            SENT_BYTES_PER_ITERATION_MAX / 2,
            "nothing was sent yet"
        );
        budget.spend(1);
        budget.limit_time(NO_TIME);
        assert_eq!(budget.payload_share(), SENT_BYTES_PER_ITERATION_MAX / 2);
        budget.limit_time(LONG);
        assert_eq!(budget.payload_share(), 0);
        assert!(started(1, 0).is_used_up(LONG) && !started(1, 0).is_used_up(NO_TIME));
    }
}
