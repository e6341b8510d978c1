//! A timer that wakes a poll, whose own timeout counts in milliseconds: too coarse for a schedule.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timer that is part of a poll.
#[derive(Debug)]
pub(super) struct Timer {
    descriptor: OwnedFd,
    /// When it goes off, or went.
    at: u64,
}

impl Timer {
    /// A timer that is not set.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&descriptor.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { descriptor, at: 0 })
    }

    /// Has it go off in `wait` nanoseconds from now, unless it was set for the time `at` before.
    pub(super) fn arm(&mut self, at: u64, wait: u64) {
        if at == self.at {
            return;
        }
        self.at = at;
        let it_value = Timespec {
            tv_sec: (wait / 1_000_000_000) as i64,
            tv_nsec: (wait % 1_000_000_000) as i64,
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = Itimerspec { it_interval, it_value };
        // Without the timer the poll's own timeout wakes a little later.
        let _ = timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &timer);
    }
}
