//! One load thread: an event loop over its connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::{Events, Poll, Token};

use super::connection::Connection;
use super::context::{Common, Context};
use super::cpu::{self, Absence, Usage};
use super::error::Failure;
use super::live::Live;
use super::preload::{Keys, PRELOAD_DEPTH};
use super::rate::Schedule;
use super::recorder::Recorder;
use super::source::{Plan, Quota};
use super::task::{Done, Share, Task};
use super::timer::Timer;
use super::workload::Workload;

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
    timer: Timer,
    has_schedule: bool,
    /// Whether a refusal makes the whole phase fail.
    must_store: bool,
    next_tick: u64,
    absence: Absence,
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
        let timer = Timer::new(poll.registry(), TIMER)?;
        Ok(Self {
            share,
            workload,
            poll,
            connections,
            context,
            live,
            stop,
            timer,
            has_schedule: false,
            must_store: false,
            next_tick: 0,
            absence: Absence::default(),
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
        let used = cpu::own_usage().since(before);
        let waited_ns = used.waited_ns.max(self.absence.total_ns());
        Done {
            thread: self.share.thread,
            usage: Usage { waited_ns, ..used },
            last_answer: self.context.last_answer,
            ended: self.context.now,
            behind,
            open: self.open_count(),
            recorder: self.context.recorder.clone(),
            gave_up,
        }
    }

    fn begin(&mut self, task: Task) {
        self.opened = self.connections.len();
        self.must_store = matches!(task, Task::Preload);
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
        let plan = |index| plan(&self.context.common, self.workload.keys, &self.share, task, index);
        let plans: Vec<_> =
            self.connections.iter().map(|connection| plan(connection.index())).collect();
        for (connection, plan) in self.connections.iter_mut().zip(plans) {
            connection.begin(&mut self.context, plan);
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
        self.absence = Absence::begin(began);
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
                if self.must_store && !self.context.recorder.statuses.is_empty() {
                    self.give_up(None);
                    break;
                }
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
        self.absence.look(self.context.now, TICK_NS);
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
        self.live.publish_open(self.open_count());
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
        let now = self.context.now;
        if self.has_schedule {
            let connections = self.connections.iter();
            let due = connections.filter_map(|connection| connection.next_due(&self.context)).min();
            // The probe sleeps, so as not to take a core from the load; what it is late does not count.
            let spin = if self.share.is_probe { 0 } else { SPIN_NS };
            match due.map(|due| (due, due.saturating_sub(now + spin))) {
                Some((_, 0)) => return Duration::ZERO,
                Some((due, wait)) => self.timer.arm(due, wait),
                None => {}
            }
        }
        let end = self.context.until.saturating_sub(now);
        Duration::from_nanos(if end == 0 { TICK_NS } else { end.min(TICK_NS) })
    }
}

/// What a connection of a load thread is to send for a task.
fn plan(common: &Common, keys: u64, share: &Share, task: Task, index: usize) -> Plan {
    let total = share.connections;
    match task {
        Task::Connect => Plan::Nothing,
        Task::Preload => Plan::Preload(Keys::new(keys, total, index)),
        Task::Load { begin, requests, pace, .. } => match &common.trace {
            Some(trace) if !share.is_probe => Plan::Trace(trace.replay(index, begin)),
            _ => {
                let (turns, turn) = if share.is_probe { (1, 0) } else { (total, index) };
                let left = requests.map_or(u64::MAX, |all| share_of(all, total, index));
                let schedule = pace.map(|pace| Schedule::new(begin, pace, turns, turn));
                let quota = Quota::new(left, schedule);
                if common.list.is_some() { Plan::File(quota) } else { Plan::Workload(quota) }
            }
        },
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
