//! One load thread: an event loop over its connections.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::connection::{Connection, Source};
use super::context::{Common, Context};
use super::cpu::{self, Usage};
use super::error::Failure;
use super::preload::{Keys, PRELOAD_DEPTH};
use super::rate::{Pace, Schedule};
use super::recorder::{Latencies, Recorder, no_latencies};
use super::workload::{Method, Workload};

/// How often deadlines are looked at.
const TICK_NS: u64 = 20_000_000;

/// Answers that are still on their way get this long after an interrupt.
const INTERRUPT_NS: u64 = 250_000_000;

/// A request that is due sooner than this is waited for without sleeping: the timer and the wake
/// are later than that, and the delay would be counted as the server's.
const SPIN_NS: u64 = 100_000;

/// How often latencies are handed to the main thread.
const SLICE_NS: u64 = 1_000_000_000;

/// Connections that all load threads together open at a time: what the listen queues of most
/// servers hold. A queue that is full costs a second, until the kernel asks again.
const CONNECTING_MAX: usize = 128;

/// The timer's token; connections count from 0.
const TIMER: Token = Token(usize::MAX);

/// Counters that the main thread reads while the load runs: one cache line pair per thread.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Live {
    answered: [AtomicU64; Method::COUNT],
    bytes: [AtomicU64; Method::COUNT],
    errors: AtomicU64,
    open: AtomicU64,
    handover: Mutex<Handover>,
}

/// The latencies of about a second, on their way from a load thread to the main thread, which
/// gives the histograms back empty. The load thread never waits for it.
#[derive(Debug)]
struct Handover {
    latencies: Latencies,
    is_full: bool,
}

impl Default for Handover {
    fn default() -> Self {
        Self { latencies: no_latencies(), is_full: false }
    }
}

impl Live {
    /// Answers and bytes so far in this phase.
    pub fn read(&self, method: Method) -> (u64, u64) {
        let index = method as usize;
        (self.answered[index].load(Ordering::Relaxed), self.bytes[index].load(Ordering::Relaxed))
    }

    /// Requests without answer and connections that could not be opened.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Connections that are open; counted only while they are opened.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Has `take` see the latencies that wait to be taken, if any do.
    pub fn take(&self, take: impl FnOnce(&Latencies)) {
        let Ok(mut handover) = self.handover.lock() else { return };
        if handover.is_full {
            take(&handover.latencies);
            // Of five methods one or two are used, as a rule, and each histogram is long.
            handover.latencies.iter_mut().filter(|one| !one.is_empty()).for_each(Histogram::reset);
            handover.is_full = false;
        }
    }

    /// Hands the latencies over, unless the last ones have not been taken yet.
    fn hand_over(&self, recorder: &mut Recorder) -> bool {
        let Ok(mut handover) = self.handover.try_lock() else { return false };
        if handover.is_full {
            return false;
        }
        recorder.swap_latencies(&mut handover.latencies);
        handover.is_full = true;
        true
    }

    fn publish(&self, recorder: &Recorder) {
        for (index, record) in recorder.methods.iter().enumerate() {
            self.answered[index].store(record.answered, Ordering::Relaxed);
            self.bytes[index].store(record.bytes, Ordering::Relaxed);
        }
    }

    fn publish_errors(&self, recorder: &Recorder) {
        self.errors.store(recorder.errors(), Ordering::Relaxed);
    }
}

/// What a load thread is to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Task {
    /// Open every connection that is not open.
    Connect,
    /// Store every key.
    Preload,
    /// Send the workload.
    Load {
        /// When it begins, on the common clock.
        begin: u64,
        /// When no further request is sent.
        until: u64,
        /// How many requests all connections of the run send together.
        requests: Option<u64>,
        /// Requests per second of all connections of the run.
        pace: Option<Pace>,
        /// Requests in flight per connection.
        depth: usize,
        /// Whether what was recorded so far, and went wrong, has been reported.
        is_reported: bool,
    },
}

/// What a load thread did.
#[derive(Debug, Clone)]
pub struct Done {
    /// The number of the thread.
    pub thread: usize,
    /// What it recorded in this task.
    pub recorder: Recorder,
    /// What it cost.
    pub usage: Usage,
    /// Connections that are open.
    pub open: usize,
    /// When its last answer came, on the common clock.
    pub last_answer: u64,
    /// When it ended, on the common clock.
    pub ended: u64,
    /// Requests of the schedule that were never sent.
    pub behind: u64,
    /// Whether it stopped because the server had stopped to answer.
    pub gave_up: bool,
}

/// One load thread's share of the run.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// The number of the thread.
    pub thread: usize,
    /// The number of threads.
    pub threads: usize,
    /// The connections of the whole run.
    pub connections: usize,
    /// Whether it is not one of those that load the server.
    pub is_probe: bool,
}

impl Share {
    /// The one connection beside so many others.
    pub fn probe(connections: usize) -> Self {
        Self { thread: connections, threads: 1, connections: connections + 1, is_probe: true }
    }
}

/// One load thread.
#[derive(Debug)]
pub struct Worker {
    share: Share,
    workload: Workload,
    poll: Poll,
    connections: Vec<Connection>,
    context: Context,
    live: Arc<Live>,
    stop: Arc<AtomicBool>,
    timer: OwnedFd,
    timer_at: u64,
    has_schedule: bool,
    next_tick: u64,
    /// The connections before this one have been opened in this phase, or are about to be.
    opened: usize,
    /// When latencies are to be handed over next.
    slice_due: u64,
}

impl Worker {
    /// A worker for every `threads`th connection, none of which is open yet.
    pub fn new(
        share: Share,
        workload: Workload,
        common: Arc<Common>,
        live: Arc<Live>,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut context = Context::new(common, poll.registry().try_clone()?);
        context.is_probe = share.is_probe;
        let connections = (share.thread..share.connections)
            .step_by(share.threads)
            .enumerate()
            .map(|(token, index)| Connection::new(&workload, index, Token(token), &context))
            .collect();
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        Ok(Self {
            share,
            workload,
            poll,
            connections,
            context,
            live,
            stop,
            timer,
            timer_at: 0,
            has_schedule: false,
            next_tick: 0,
            opened: 0,
            slice_due: 0,
        })
    }

    /// Does a task and reports.
    pub fn run(&mut self, task: Task) -> Done {
        let before = cpu::own_usage();
        self.context.now = self.context.common.clock.now();
        match task {
            Task::Load { is_reported: true, .. } => {
                self.context.recorder = Recorder::for_server(self.context.common.is_key_value);
            }
            _ => self.context.recorder.start_over(),
        }
        self.slice_due = self.context.now + SLICE_NS;
        self.begin(task);
        let (gave_up, behind) = self.drive();
        self.live.publish(&self.context.recorder);
        self.live.publish_errors(&self.context.recorder);
        Done {
            thread: self.share.thread,
            usage: cpu::own_usage().since(before),
            last_answer: self.context.last_answer,
            ended: self.context.now,
            behind,
            open: self.open_count(),
            recorder: self.context.recorder.clone(),
            gave_up,
        }
    }

    fn begin(&mut self, task: Task) {
        let Share { connections: total, is_probe, .. } = self.share;
        self.opened = self.connections.len();
        match task {
            Task::Connect => {
                self.opened = 0;
                self.context.until = u64::MAX;
                self.has_schedule = false;
            }
            Task::Preload => {
                self.context.depth = PRELOAD_DEPTH;
                self.context.until = u64::MAX;
                self.has_schedule = false;
            }
            Task::Load { until, depth, pace, .. } => {
                self.has_schedule = pace.is_some();
                self.context.depth = depth;
                self.context.until = until;
            }
        }
        let trace = self.context.common.trace.clone();
        for connection in &mut self.connections {
            let index = connection.index();
            let source = match task {
                Task::Connect => Source::Nothing,
                Task::Preload => Source::Preload(Keys::new(self.workload.keys, total, index)),
                Task::Load { begin, requests, pace, .. } => match &trace {
                    Some(trace) if !is_probe => Source::Trace(trace.replay(index, begin)),
                    _ => {
                        let (turns, turn) = if is_probe { (1, 0) } else { (total, index) };
                        Source::Workload {
                            left: requests.map_or(u64::MAX, |all| share_of(all, total, index)),
                            schedule: pace.map(|pace| Schedule::new(begin, pace, turns, turn)),
                        }
                    }
                },
            };
            connection.begin(&mut self.context, source);
        }
    }

    /// Runs the event loop until everything is sent and answered. Returns whether that was given
    /// up, and how many requests of the schedule were due by then and never sent.
    fn drive(&mut self) -> (bool, u64) {
        let mut events = Events::with_capacity(1024);
        let began = self.context.now;
        self.context.last_answer = began;
        let failures_before = self.context.recorder.failures;
        let mut give_up_at = u64::MAX;
        self.next_tick = began;
        self.open_more();
        while !self.is_done() {
            let timeout = if self.context.has_unread { Duration::ZERO } else { self.arm() };
            if let Err(error) = self.poll.poll(&mut events, Some(timeout))
                && error.kind() != io::ErrorKind::Interrupted
            {
                break;
            }
            self.context.now = self.context.common.clock.now();
            for event in &events {
                if let Some(connection) = self.connections.get_mut(event.token().0) {
                    connection.on_event(&mut self.context, event);
                }
            }
            if std::mem::take(&mut self.context.has_unread) {
                for connection in &mut self.connections {
                    connection.read_on(&mut self.context);
                }
            }
            if self.has_schedule {
                self.send_what_is_due();
            }
            self.open_more();
            self.live.publish(&self.context.recorder);
            if self.stop.load(Ordering::Relaxed) && give_up_at == u64::MAX {
                let now = self.context.common.clock.now();
                self.context.until = self.context.until.min(now);
                give_up_at = self.context.now + INTERRUPT_NS;
            }
            if self.context.now >= self.next_tick {
                self.tick();
                let has_failed = self.context.recorder.failures != failures_before;
                let silence = self.context.now.saturating_sub(self.context.last_answer);
                let is_silent = silence >= self.context.common.timeout.as_nanos() as u64;
                if self.context.now >= give_up_at || (has_failed && is_silent) {
                    let is_interrupt = give_up_at != u64::MAX;
                    let behind = self.behind();
                    self.give_up((!is_interrupt).then_some(Failure::Timeout));
                    return (!is_interrupt, behind);
                }
            }
        }
        (false, self.behind())
    }

    /// Requests that were due by now, or before the end, and were not sent.
    fn behind(&self) -> u64 {
        let end = self.context.until.min(self.context.now);
        self.connections.iter().map(|connection| connection.behind(&self.context, end)).sum()
    }

    fn is_done(&self) -> bool {
        self.opened == self.connections.len()
            && self.connections.iter().all(|connection| connection.is_done(&self.context))
    }

    fn tick(&mut self) {
        self.next_tick = self.context.now + TICK_NS;
        for connection in &mut self.connections {
            connection.tick(&mut self.context);
        }
        let Context { now, recorder, .. } = &mut self.context;
        self.live.publish_errors(recorder);
        if *now >= self.slice_due && self.live.hand_over(recorder) {
            while self.slice_due <= *now {
                self.slice_due += SLICE_NS;
            }
        }
    }

    /// Opens connections in their order, so many at a time.
    fn open_more(&mut self) {
        if self.opened == self.connections.len() {
            return;
        }
        let share = CONNECTING_MAX.div_ceil(self.share.threads);
        let mut opening = self.connections[..self.opened]
            .iter()
            .filter(|connection| connection.is_opening())
            .count();
        while opening < share && self.opened < self.connections.len() {
            opening += usize::from(self.connections[self.opened].open(&mut self.context));
            self.opened += 1;
        }
        self.live.open.store(self.open_count() as u64, Ordering::Relaxed);
    }

    fn open_count(&self) -> usize {
        self.connections.iter().filter(|connection| connection.is_open()).count()
    }

    fn give_up(&mut self, failure: Option<Failure>) {
        for connection in &mut self.connections {
            connection.give_up(&mut self.context, failure);
        }
    }

    /// Sends the requests whose time in the schedule has come.
    fn send_what_is_due(&mut self) {
        for connection in &mut self.connections {
            if connection.next_due(&self.context).is_some_and(|due| due <= self.context.now) {
                connection.top_up(&mut self.context);
            }
        }
    }

    /// How long to wait for events at most.
    fn arm(&mut self) -> Duration {
        if self.has_schedule && !self.arm_timer() {
            return Duration::ZERO;
        }
        let end = self.context.until.saturating_sub(self.context.now);
        Duration::from_nanos(if end == 0 { TICK_NS } else { end.min(TICK_NS) })
    }

    /// Has the poll woken for the next request of the schedule: its own timeout counts in
    /// milliseconds, too coarse for that. Returns false if it must not sleep.
    fn arm_timer(&mut self) -> bool {
        let now = self.context.now;
        // The probe sleeps, so as not to take a core from the load; what it is late does not count.
        let spin = if self.share.is_probe { 0 } else { SPIN_NS };
        let due = self
            .connections
            .iter()
            .filter_map(|connection| connection.next_due(&self.context))
            .min();
        if let Some(due) = due {
            let Some(wait) = due.checked_sub(now + spin).filter(|&wait| wait > 0) else {
                return false;
            };
            if due != self.timer_at {
                self.timer_at = due;
                let it_value = Timespec {
                    tv_sec: (wait / 1_000_000_000) as i64,
                    tv_nsec: (wait % 1_000_000_000) as i64,
                };
                let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
                let timer = Itimerspec { it_interval, it_value };
                // Without the timer the poll's own timeout wakes a little later.
                let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer);
            }
        }
        true
    }
}

/// Splits `all` as evenly as it goes.
fn share_of(all: u64, parts: usize, index: usize) -> u64 {
    let (parts, index) = (parts as u64, index as u64);
    all / parts + u64::from(index < all % parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_shared_out_completely() {
        for (all, parts) in [(10, 3), (2, 5), (0, 1), (1_000_000, 7)] {
            let sum: u64 = (0..parts).map(|index| share_of(all, parts, index)).sum();
            assert_eq!(sum, all);
        }
    }
}
