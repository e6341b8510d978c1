//! The loop of one core: waits for readiness and drives its connections, each in its turn.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::class::Class;
use super::connection::{Connection, Context, Limits, Next};
use super::counters::Counters;
use super::mailbox::{Mailbox, ShutdownFlags, WAKER};
use super::output::Output;
use super::receive_slot::{GROUP_CONNECTIONS_MAX, GROUP_MESSAGES_MAX, Input, ReceiveSlot};
use super::service::{Rejection, Service};
use super::socket::Socket;
use crate::explain::explain;
use crate::logging::Sparing;

/// Readiness events taken per wake.
const EVENTS_PER_WAKE_MAX: usize = 1024;

/// The loop wakes at least this often: for overdue connections, for transfers that the kernel had no
/// memory for, for mail of which it was not told, and for the service's housekeeping.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// Connections checked for being overdue per turn, so that the check never becomes a stall.
const CHECKED_PER_TURN_MAX: usize = 1024;

/// How long a turn sends large values, or ends waits, while others have something to do. Usually
/// their number is the limit; but where the kernel must wait for memory, a page takes many times as
/// long as it does elsewhere.
const CHORE_MAX: Duration = Duration::from_millis(1);

/// What may be held for the connections of all loops together, in bytes: received and not answered
/// yet, answered and not sent yet, large values not counted. From half of its share on, a loop keeps
/// each of its connections short. When all of it but a sixteenth is held, which is for the connections
/// at hand, those that have waited longest are closed.
const HELD_BYTES_MAX: usize = 64 << 20;

/// A loop's share at least.
const HELD_BYTES_PER_LOOP_MIN: usize = 4 << 20;

/// How often those are tried again whose turn has not come.
const RETRY: Duration = Duration::from_millis(10);

/// How many of them at a time.
const RETRIES_PER_TURN_MAX: usize = 256;

/// Bytes of large values, and of what sockets had no room for before, that are sent in one turn: so
/// that a turn stays short when thousands want large values. Small responses come on top.
const SENT_BYTES_PER_TURN_MAX: usize = 1 << 20;

/// What one connection gets of it at least, when it is its turn.
const SEND_SHARE_BYTES_MIN: usize = 16 << 10;

#[derive(Debug, Clone, Copy)]
pub(super) struct LoopSettings {
    pub(super) limits: Limits,
    /// Most bytes that the service leaves unconsumed when it asks for more.
    pub(super) input_bytes_max: usize,
    pub(super) busy_poll: bool,
    /// Bytes that may be held for the connections.
    pub(super) held_bytes_max: usize,
}

/// What may be held for the connections of one of so many loops, in bytes.
pub(super) fn held_bytes_max(loops: usize) -> usize {
    (HELD_BYTES_MAX / loops).max(HELD_BYTES_PER_LOOP_MIN)
}

/// A slot's connection and how many connections the slot has had before: part of the token,
/// so that an event of a closed connection does not reach its successor.
#[derive(Debug)]
struct Slot<T> {
    connection: Connection<T>,
    generation: u32,
}

pub(super) struct EventLoop<'a, S: Service> {
    poll: Poll,
    mailbox: &'a Mailbox,
    flags: &'a ShutdownFlags,
    counters: &'a Counters,
    settings: LoopSettings,
    service: S,
    connections: Slab<Slot<S::Session>>,
    generation: u32,
    /// Connections with something to do, each once, here or in the backlog.
    queue: Vec<Token>,
    /// Those of them that have output left from an earlier turn, in the order in which they go on.
    backlog: VecDeque<Token>,
    /// Those that are to be tried again a little later, in the order in which they began to wait.
    waiting: VecDeque<Token>,
    next_retry: Instant,
    output: Output,
    now: Instant,
    next_check: Instant,
    /// When the check that is under way, or the last one, began, and how long after the one before.
    checked_at: Instant,
    elapsed: Duration,
    /// In the round that is under way, whether messages wait for what others use.
    others_wait: bool,
    /// Where the check for overdue connections goes on; none is under way at `usize::MAX`.
    check_at: usize,
    draining: bool,
    /// Memory that is held for all connections.
    held_bytes: usize,
    /// Connections for which some is, who has waited longest last; made when the limit is passed.
    holders: Vec<(Instant, Token)>,
    /// What each connection of the turn at hand may send, and all of them together.
    send_share: usize,
    send_budget: usize,
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
            connections: Slab::new(),
            generation: 0,
            queue: Vec::new(),
            backlog: VecDeque::new(),
            waiting: VecDeque::new(),
            next_retry: now,
            holders: Vec::new(),
            output: Output::default(),
            now,
            next_check: now + TICK,
            checked_at: now,
            elapsed: Duration::ZERO,
            others_wait: false,
            check_at: usize::MAX,
            draining: false,
            held_bytes: 0,
            send_share: SENT_BYTES_PER_TURN_MAX,
            send_budget: SENT_BYTES_PER_TURN_MAX,
        }
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    /// Only when the operating system refuses to wait for events.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_WAKE_MAX);
        let mut slots = std::array::from_fn(|_| ReceiveSlot::new(self.settings.input_bytes_max));
        let mut ready = Vec::new();
        let mut more = false;
        loop {
            let waiting = !self.queue.is_empty() || !self.backlog.is_empty();
            let busy = more || self.settings.busy_poll || waiting;
            let idle = if self.waiting.is_empty() { TICK } else { RETRY };
            let timeout = if busy { Duration::ZERO } else { idle };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(explain("can't wait for events (epoll_wait)")(error));
                }
                _ => {}
            }
            self.now = Instant::now();
            self.counters.iterations.add(1);
            for event in &events {
                self.note(event);
            }
            if self.flags.abort.load(Ordering::Relaxed) {
                return Ok(());
            }
            std::mem::swap(&mut ready, &mut self.queue);
            let had_backlog = !self.backlog.is_empty();
            self.allot(ready.len());
            let mut rest = &ready[..];
            while !rest.is_empty() {
                rest = self.serve_group(rest, &mut slots);
                let has_sent = self.send_budget < SENT_BYTES_PER_TURN_MAX;
                if has_sent && self.now.elapsed() > CHORE_MAX {
                    self.send_budget = 0;
                }
            }
            ready.clear();
            if had_backlog {
                self.send_budget = SENT_BYTES_PER_TURN_MAX;
            }
            self.send_backlog(&mut slots[0]);
            self.retry(&mut slots[0]);
            more = self.service.maintain(self.now);
            more |= self.check_overdue();
            if self.draining && self.connections.is_empty() && self.mailbox.is_empty() {
                return Ok(());
            }
        }
    }

    fn note(&mut self, event: &Event) {
        let token = event.token();
        if token == WAKER {
            return self.take_mail();
        }
        let Some(key) = self.live(token) else { return };
        let connection = &mut self.connections[key].connection;
        connection.readable |= event.is_readable() || event.is_error();
        connection.cut |= event.is_read_closed() || event.is_error() || event.is_priority();
        connection.writable |= event.is_writable() || event.is_error();
        if !std::mem::replace(&mut connection.queued, true) {
            self.queue.push(token);
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
        if self.flags.drain.load(Ordering::Relaxed) && !self.draining {
            self.drain();
        }
    }

    fn admit(&mut self, socket: Socket, class: Class) -> io::Result<()> {
        self.generation = self.generation.wrapping_add(1) & GENERATION_MASK;
        let entry = self.connections.vacant_entry();
        let token = Token((self.generation as usize) << KEY_BITS | entry.key());
        self.poll.registry().register(
            &mut SourceFd(&socket.as_raw_fd()),
            token,
            Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY,
        )?;
        let counter = if class == Class::OverLimit {
            &self.counters.refused
        } else {
            &self.counters.accepted
        };
        counter.add(1);
        let session = self.service.open(class);
        let connection = Connection::new(socket, session, self.now + self.settings.limits.idle);
        entry.insert(Slot { connection, generation: self.generation });
        if class == Class::OverLimit {
            self.step(key_of(token), |connection, cx| {
                connection.reject(Rejection::ConnectionLimit, cx)
            });
        } else {
            // The request may have come before the registration.
            self.schedule(key_of(token), Next::Again);
        }
        Ok(())
    }

    fn drain(&mut self) {
        self.draining = true;
        for (key, slot) in &mut self.connections {
            slot.connection.readable = true;
            if !std::mem::replace(&mut slot.connection.queued, true) {
                self.queue.push(Token((slot.generation as usize) << KEY_BITS | key));
            }
        }
    }

    /// Shares out what so many connections and the backlog may send in a turn. As long as there is a
    /// backlog, newcomers' large values wait behind it.
    fn allot(&mut self, ready: usize) {
        let senders = ready + self.backlog.len();
        self.send_share = (SENT_BYTES_PER_TURN_MAX / senders.max(1)).max(SEND_SHARE_BYTES_MIN);
        self.send_budget = if self.backlog.is_empty() { SENT_BYTES_PER_TURN_MAX } else { 0 };
    }

    /// Has connections go on sending, those first that have waited longest, until the turn's bytes
    /// or its time are used up.
    fn send_backlog(&mut self, slot: &mut ReceiveSlot<S::Batch>) {
        if self.backlog.is_empty() {
            return;
        }
        let start = Instant::now();
        for _ in 0..self.backlog.len() {
            if self.send_budget == 0 || start.elapsed() > CHORE_MAX {
                return;
            }
            let Some(token) = self.backlog.pop_front() else { return };
            if let Some(key) = self.live(token) {
                self.connections[key].connection.queued = false;
                self.step(key, |connection, cx| connection.step(Input::Untried(slot), cx));
            }
        }
    }

    /// Tries those again whose turn had not come.
    fn retry(&mut self, slot: &mut ReceiveSlot<S::Batch>) {
        if self.waiting.is_empty() || self.now < self.next_retry {
            return;
        }
        self.next_retry = self.now + RETRY;
        for _ in 0..self.waiting.len().min(RETRIES_PER_TURN_MAX) {
            let Some(token) = self.waiting.pop_front() else { return };
            if let Some(key) = self.live(token) {
                self.connections[key].connection.queued = false;
                self.step(key, |connection, cx| connection.step(Input::Untried(slot), cx));
            }
        }
        self.shed();
    }

    /// Closes connections for which memory is held, those first that have waited longest, until it
    /// is within its limit. None of them may be at hand.
    fn shed(&mut self) {
        let bytes_max = self.settings.held_bytes_max;
        while self.held_bytes > bytes_max - bytes_max / 16 {
            if self.holders.is_empty() {
                self.collect_holders();
            }
            let Some((since, token)) = self.holders.pop() else { return };
            let limits = &self.settings.limits;
            let waits = |key: &usize| {
                let connection = &self.connections[*key].connection;
                connection.held_bytes > 0 && connection.waits_since(limits) == since
            };
            if let Some(key) = self.live(token).filter(waits) {
                self.step(key, Connection::shed);
            }
        }
    }

    fn collect_holders(&mut self) {
        let limits = &self.settings.limits;
        let holders = self.connections.iter().filter(|(_, slot)| slot.connection.held_bytes > 0);
        self.holders.extend(holders.map(|(key, slot)| {
            let token = Token((slot.generation as usize) << KEY_BITS | key);
            (slot.connection.waits_since(limits), token)
        }));
        self.holders.sort_unstable_by_key(|&(since, _)| std::cmp::Reverse(since));
    }

    /// Serves the first few connections together: the input of all of them is parsed, then all is
    /// prefetched, then each is answered. Returns the others.
    fn serve_group<'t>(
        &mut self,
        ready: &'t [Token],
        slots: &mut [ReceiveSlot<S::Batch>; GROUP_CONNECTIONS_MAX],
    ) -> &'t [Token] {
        let mut parsed = [const { None }; GROUP_CONNECTIONS_MAX];
        let (mut count, mut messages) = (0, 0);
        for ((place, slot), &token) in parsed.iter_mut().zip(slots).zip(ready) {
            count += 1;
            if let Some(key) = self.live(token)
                && let Some((connection, mut cx)) = self.connection(key)
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
        for (input, &token) in prefetched.into_iter().zip(group) {
            let (Some(input), Some(key)) = (input, self.live(token)) else { continue };
            let connection = &mut self.connections[key].connection;
            if connection.is_sending() {
                self.backlog.push_back(token);
                continue;
            }
            connection.queued = false;
            self.step(key, |connection, cx| connection.step(input, cx));
        }
        self.shed();
        others
    }

    /// The connection that a token stands for, unless it was closed.
    fn live(&self, token: Token) -> Option<usize> {
        let slot = self.connections.get(key_of(token))?;
        (slot.generation == generation_of(token)).then_some(key_of(token))
    }

    /// A connection, and what its steps need.
    fn connection(&mut self, key: usize) -> Option<(&mut Connection<S::Session>, Context<'_, S>)> {
        let connection = &mut self.connections.get_mut(key)?.connection;
        let cx = Context {
            service: &mut self.service,
            output: &mut self.output,
            counters: self.counters,
            limits: &self.settings.limits,
            now: self.now,
            draining: self.draining,
            send_share: self.send_share,
            send_budget: &mut self.send_budget,
            pressed: self.held_bytes > self.settings.held_bytes_max / 2,
        };
        Some((connection, cx))
    }

    /// Has a connection do a step, and sees to what follows from it.
    fn step(
        &mut self,
        key: usize,
        step: impl FnOnce(&mut Connection<S::Session>, &mut Context<'_, S>) -> Next,
    ) {
        let Some((connection, mut cx)) = self.connection(key) else { return };
        let next = step(connection, &mut cx);
        let (before, after) = connection.count_held(cx.service);
        if before != after {
            self.held_bytes = self.held_bytes + after - before;
            self.counters.held_bytes.set(self.held_bytes as u64);
        }
        self.schedule(key, next);
    }

    fn schedule(&mut self, key: usize, next: Next) {
        match next {
            Next::Wait => {}
            Next::Again => {
                let slot = &mut self.connections[key];
                let token = Token((slot.generation as usize) << KEY_BITS | key);
                if std::mem::replace(&mut slot.connection.queued, true) {
                    return;
                }
                if slot.connection.is_sending() {
                    self.backlog.push_back(token);
                } else {
                    self.queue.push(token);
                }
            }
            Next::Later => {
                let slot = &mut self.connections[key];
                let token = Token((slot.generation as usize) << KEY_BITS | key);
                if !std::mem::replace(&mut slot.connection.queued, true) {
                    self.waiting.push_back(token);
                }
            }
            Next::Close => {
                // Closing the descriptor takes it out of the poll.
                let slot = self.connections.remove(key);
                self.held_bytes -= slot.connection.held_bytes;
                self.counters.held_bytes.set(self.held_bytes as u64);
                // The acceptor first: whoever reads that one has left finds its place free.
                self.mailbox.close_one();
                self.counters.closed.add(1);
            }
        }
    }

    /// Ends waits that took too long, a bounded number of connections per call. Whether the
    /// round goes on.
    fn check_overdue(&mut self) -> bool {
        if self.check_at == usize::MAX {
            if self.now < self.next_check {
                return false;
            }
            self.next_check = self.now + TICK;
            // When the loop itself was held up, that is nobody's fault but its own.
            self.elapsed = (self.now - self.checked_at).min(2 * TICK);
            self.checked_at = self.now;
            self.check_at = 0;
            self.others_wait = self.service.was_busy();
            // Waking the loop may have failed.
            self.take_mail();
        }
        let start = Instant::now();
        let end =
            self.check_at.saturating_add(CHECKED_PER_TURN_MAX).min(self.connections.capacity());
        while self.check_at < end {
            let key = self.check_at;
            self.check_at += 1;
            let (now, elapsed) = (self.now, self.elapsed);
            let Some(slot) = self.connections.get_mut(key) else { continue };
            let connection = &mut slot.connection;
            let retries = connection.retry();
            if connection.is_overdue(now, elapsed) {
                self.step(key, Connection::expire);
            } else if self.others_wait && connection.is_stalling(now, &self.settings.limits) {
                self.step(key, Connection::end_wait);
            } else {
                if retries {
                    self.schedule(key, Next::Again);
                }
                continue;
            }
            // What a socket holds that closes is given back page by page.
            if start.elapsed() > CHORE_MAX {
                break;
            }
        }
        if self.check_at >= self.connections.capacity() {
            self.check_at = usize::MAX;
        }
        self.check_at != usize::MAX
    }
}

const KEY_BITS: u32 = 32;
const GENERATION_MASK: u32 = u32::MAX >> 1;
const _: () = assert!(usize::BITS == 64, "tokens carry a generation in their upper half");

fn key_of(token: Token) -> usize {
    token.0 & ((1 << KEY_BITS) - 1)
}

fn generation_of(token: Token) -> u32 {
    (token.0 >> KEY_BITS) as u32
}
