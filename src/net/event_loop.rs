//! The loop of one core: waits for readiness, and serves the connections that are ready.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::class::Class;
use super::connection::Connection;
use super::connection_table::ConnectionTable;
use super::counters::Counters;
use super::drain::Drain;
use super::held_memory::HeldMemory;
use super::mailbox::{Mailbox, ShutdownFlags, WAKER};
use super::output::Output;
use super::overdue_check::OverdueCheck;
use super::queues::Queues;
use super::receive_slot::{GROUP_CONNECTIONS_MAX, GROUP_MESSAGES_MAX, Input, ReceiveSlot};
use super::send_budget::SendBudget;
use super::service::{Rejection, Service};
use super::socket::Socket;
use super::step::{Context, Next};
use super::wait_timer::WaitLimits;
use crate::explain::explain;
use crate::logging::Sparing;

/// Readiness events taken per iteration.
const EVENTS_PER_ITERATION_MAX: usize = 1024;

/// Connections checked for being overdue per iteration, so that the check never becomes a stall.
const CHECKED_PER_ITERATION_MAX: usize = 1024;

/// How long an iteration ends waits while others have something to do: what a socket holds that
/// closes is given back page by page.
const ENDING_TIME_MAX: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy)]
pub(super) struct LoopSettings {
    pub(super) limits: WaitLimits,
    /// Most bytes that the service leaves unconsumed when it asks for more.
    pub(super) input_bytes_max: usize,
    pub(super) busy_poll: bool,
    /// How many loops the server has.
    pub(super) loops: usize,
}

/// Buffers for the connections that are served together.
type Slots<B> = [ReceiveSlot<B>; GROUP_CONNECTIONS_MAX];

pub(super) struct EventLoop<'a, S: Service> {
    poll: Poll,
    mailbox: &'a Mailbox,
    flags: &'a ShutdownFlags,
    counters: &'a Counters,
    settings: LoopSettings,
    service: S,
    connections: ConnectionTable<S::Session>,
    queues: Queues,
    budget: SendBudget,
    held: HeldMemory<'a>,
    overdue: OverdueCheck,
    output: Output,
    now: Instant,
    drain: Drain,
}

impl<'a, S: Service> EventLoop<'a, S> {
    pub(super) fn new(
        poll: Poll,
        mailbox: &'a Mailbox,
        flags: &'a ShutdownFlags,
        counters: &'a Counters,
        settings: LoopSettings,
        service: S,
    ) -> Self {
        let now = Instant::now();
        Self {
            poll,
            mailbox,
            flags,
            counters,
            settings,
            service,
            connections: ConnectionTable::new(),
            queues: Queues::new(now),
            budget: SendBudget::new(),
            held: HeldMemory::new(settings.loops, counters),
            overdue: OverdueCheck::new(now),
            output: Output::default(),
            now,
            drain: Drain::default(),
        }
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    /// Only when the operating system refuses to wait for events.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_ITERATION_MAX);
        let mut slots = std::array::from_fn(|_| ReceiveSlot::new(self.settings.input_bytes_max));
        let mut ready = Vec::new();
        let mut more = false;
        loop {
            self.wait(&mut events, more)?;
            if self.flags.abort.load(Ordering::Relaxed) {
                return Ok(());
            }
            std::mem::swap(&mut ready, &mut self.queues.ready);
            self.serve(&ready, &mut slots);
            ready.clear();
            self.send_backlog(&mut slots[0]);
            self.retry(&mut slots[0]);
            more = self.service.maintain(self.now);
            more |= self.check_overdue();
            if self.drain.has_begun() && self.connections.is_empty() && self.mailbox.is_empty() {
                return Ok(());
            }
        }
    }

    /// Waits for events, unless there is something to do at once, and notes which connections are
    /// ready.
    fn wait(&mut self, events: &mut Events, more: bool) -> io::Result<()> {
        let is_busy = more || self.settings.busy_poll;
        let timeout = if is_busy { Duration::ZERO } else { self.queues.wait_max() };
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(explain("can't wait for events (epoll_wait)")(error));
            }
            _ => {}
        }
        self.now = Instant::now();
        self.counters.iterations.add(1);
        for event in events.iter() {
            self.note(event);
        }
        Ok(())
    }

    fn note(&mut self, event: &Event) {
        let token = event.token();
        if token == WAKER {
            return self.take_mail();
        }
        let Some(key) = self.connections.find(token) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.readiness.note(event);
        if !std::mem::replace(&mut connection.queued, true) {
            self.queues.ready.push(token);
        }
    }

    fn take_mail(&mut self) {
        static SPARING: Sparing = Sparing::new();
        let arrivals = self.mailbox.collect();
        for (socket, class) in arrivals {
            if let Err(error) = self.admit(socket, class) {
                self.mailbox.close_one();
                if SPARING.allows() {
                    log::warn!("can't watch a connection, and closes it (epoll_ctl): {error}");
                }
            }
        }
        let drain = self.flags.drain.get();
        if drain > self.drain {
            self.drain_to(drain);
        }
    }

    fn admit(&mut self, socket: Socket, class: Class) -> io::Result<()> {
        let token = self.connections.next_token();
        self.poll.registry().register(
            &mut SourceFd(&socket.as_raw_fd()),
            token,
            Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY,
        )?;
        let is_over_limit = class == Class::OverLimit;
        let Counters { refused, accepted, .. } = self.counters;
        let counter = if is_over_limit { refused } else { accepted };
        counter.add(1);
        let mut session = self.service.open(class);
        self.service.meet(&mut session, &|| socket.peer());
        let connection = Connection::new(socket, session, self.now, &self.settings.limits);
        let key = self.connections.insert(connection);
        if is_over_limit {
            self.step(key, |connection, cx| connection.reject(Rejection::ConnectionLimit, cx));
        } else {
            // The request may have come before the registration.
            self.schedule(key, Next::Again);
        }
        Ok(())
    }

    /// Has every connection look whether it is still spared.
    fn drain_to(&mut self, drain: Drain) {
        self.drain = drain;
        for (token, connection) in self.connections.iter_mut() {
            connection.readiness.readable = true;
            if !std::mem::replace(&mut connection.queued, true) {
                self.queues.ready.push(token);
            }
        }
    }

    /// Serves the connections that are ready, in groups.
    fn serve(&mut self, ready: &[Token], slots: &mut Slots<S::Batch>) {
        self.budget.start(ready.len(), self.queues.backlog.len());
        let mut others = ready;
        while !others.is_empty() {
            others = self.serve_group(others, slots);
            self.budget.limit_time(|| self.now.elapsed());
        }
    }

    /// Serves the first few connections together: the input of all of them is parsed, then all is
    /// prefetched, then each is answered. Returns the others.
    fn serve_group<'t>(&mut self, ready: &'t [Token], slots: &mut Slots<S::Batch>) -> &'t [Token] {
        let mut parsed = [const { None }; GROUP_CONNECTIONS_MAX];
        let (mut count, mut messages) = (0, 0);
        for ((place, slot), &token) in parsed.iter_mut().zip(slots).zip(ready) {
            count += 1;
            if let Some(key) = self.connections.find(token)
                && let Some((connection, mut cx)) = self.context(key)
            {
                let input = connection.receive(slot, &mut cx);
                if let Input::Bytes { stage, .. } = &input {
                    messages += stage.messages();
                }
                *place = Some(input);
            }
            if messages >= GROUP_MESSAGES_MAX {
                break;
            }
        }
        let mut prefetched = [const { None }; GROUP_CONNECTIONS_MAX];
        for (place, input) in prefetched.iter_mut().zip(&mut parsed[..count]) {
            *place = input.take().map(|input| input.map(|stage| self.service.prefetch(stage)));
        }
        let (group, others) = ready.split_at(count);
        for (input, &token) in prefetched.iter_mut().zip(group) {
            let (Some(input), Some(key)) = (input.take(), self.connections.find(token)) else {
                continue;
            };
            let Some(connection) = self.connections.get_mut(key) else { continue };
            if connection.is_sending() {
                self.queues.backlog.push_back(token);
                continue;
            }
            connection.queued = false;
            self.step(key, |connection, cx| connection.step(input, cx));
        }
        self.close_holders();
        others
    }

    /// Sends up to a budget for connections that have output left, those first that have waited
    /// longest.
    fn send_backlog(&mut self, slot: &mut ReceiveSlot<S::Batch>) {
        self.budget.start_backlog();
        if self.queues.backlog.is_empty() {
            return;
        }
        let start = Instant::now();
        for _ in 0..self.queues.backlog.len() {
            if self.budget.is_used_up(|| start.elapsed()) {
                return;
            }
            let Some(token) = self.queues.backlog.pop_front() else { return };
            self.step_again(token, slot);
        }
    }

    /// Tries those again that wait for memory.
    fn retry(&mut self, slot: &mut ReceiveSlot<S::Batch>) {
        let retries = self.queues.retries(self.now);
        for _ in 0..retries {
            let Some(token) = self.queues.waiting.pop_front() else { return };
            self.step_again(token, slot);
        }
        if retries > 0 {
            self.close_holders();
        }
    }

    /// Has a connection that waited in a queue go on.
    fn step_again(&mut self, token: Token, slot: &mut ReceiveSlot<S::Batch>) {
        let Some(key) = self.connections.find(token) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.queued = false;
        self.step(key, |connection, cx| connection.step(Input::Untried(slot), cx));
    }

    /// Closes connections for which memory is held, those first that have waited longest, until it
    /// is within its limit. None of them may be in a group that is being served.
    fn close_holders(&mut self) {
        while self.held.is_over_limit() {
            let Self { connections, held, settings, .. } = self;
            let limits = &settings.limits;
            let holder = held.next_holder(|| {
                let holders = connections.iter().filter(|(_, holder)| holder.held_bytes > 0);
                holders.map(|(token, holder)| (holder.waits_since(limits), token))
            });
            let Some((since, token)) = holder else { return };
            let Some(key) = self.connections.find(token) else { continue };
            let waits = |connection: &Connection<_>| {
                connection.held_bytes > 0 && connection.waits_since(limits) == since
            };
            if self.connections.get(key).is_some_and(waits) {
                self.step(key, Connection::shed);
            }
        }
    }

    /// Ends waits that took too long, a bounded number of connections per call. Whether the round
    /// goes on.
    fn check_overdue(&mut self) -> bool {
        if self.overdue.is_due(self.now) {
            self.overdue.begin(self.now, self.service.was_busy());
            // Waking the loop may have failed.
            self.take_mail();
        }
        if !self.overdue.is_under_way() {
            return false;
        }
        let start = Instant::now();
        for _ in 0..CHECKED_PER_ITERATION_MAX {
            let Some(key) = self.overdue.next_key(self.connections.key_max()) else { break };
            if self.check(key) && start.elapsed() > ENDING_TIME_MAX {
                break;
            }
        }
        self.overdue.is_under_way()
    }

    /// Ends a connection's wait if that took too long, or if others wait for what it holds. Whether
    /// it did.
    fn check(&mut self, key: usize) -> bool {
        let OverdueCheck { elapsed, others_wait, .. } = self.overdue;
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let retries = connection.readiness.retry();
        if connection.is_overdue(self.now, elapsed) {
            self.step(key, Connection::expire);
            return true;
        }
        if others_wait && connection.is_stalling(self.now, &self.settings.limits, &self.service) {
            self.step(key, Connection::end_wait);
            return true;
        }
        if retries {
            self.schedule(key, Next::Again);
        }
        false
    }

    /// A connection, and what its steps need.
    fn context(&mut self, key: usize) -> Option<(&mut Connection<S::Session>, Context<'_, S>)> {
        let connection = self.connections.get_mut(key)?;
        let cx = Context {
            service: &mut self.service,
            output: &mut self.output,
            counters: self.counters,
            limits: &self.settings.limits,
            now: self.now,
            drain: self.drain,
            budget: &mut self.budget,
            pressed: self.held.is_pressed(),
        };
        Some((connection, cx))
    }

    /// Has a connection do a step, and sees to what follows from it.
    fn step(
        &mut self,
        key: usize,
        step: impl FnOnce(&mut Connection<S::Session>, &mut Context<'_, S>) -> Next,
    ) {
        let Some((connection, mut cx)) = self.context(key) else { return };
        let next = step(connection, &mut cx);
        let (before, after) = connection.count_held(cx.service);
        self.held.change(before, after);
        self.schedule(key, next);
    }

    /// Puts a connection where it belongs after a step.
    fn schedule(&mut self, key: usize, next: Next) {
        match next {
            Next::Wait => return,
            Next::Close => return self.close(key),
            Next::Again | Next::Later => {}
        }
        let token = self.connections.token(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        if std::mem::replace(&mut connection.queued, true) {
            return;
        }
        if next == Next::Later {
            self.queues.waiting.push_back(token);
        } else if connection.is_sending() {
            self.queues.backlog.push_back(token);
        } else {
            self.queues.ready.push(token);
        }
    }

    fn close(&mut self, key: usize) {
        // Closing the descriptor takes it out of the poll.
        let connection = self.connections.remove(key);
        self.held.change(connection.held_bytes, 0);
        drop(connection);
        // The acceptor first: whoever reads that one has left finds its place free.
        self.mailbox.close_one();
        self.counters.closed.add(1);
    }
}
