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

use super::connection::{Connection, Context, Limits, Next};
use super::counters::Counters;
use super::lane::{LANES_MAX, Lane, MESSAGES_AT_HAND_MAX};
use super::mailbox::{Mailbox, Orders, WAKER};
use super::output::Output;
use super::service::{Class, Dismissal, Service, Wake};
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

/// Input and output held for the connections of one loop before each of them is kept short, in
/// bytes. What comes on top is a small response and a small read per connection.
const HELD_BYTES_MAX: usize = 32 << 20;

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
    orders: &'a Orders,
    counters: &'a Counters,
    settings: LoopSettings,
    service: S,
    connections: Slab<Slot<S::Session>>,
    generation: u32,
    /// Connections with something to do, each once, here or in the backlog.
    queue: Vec<Token>,
    /// Those of them that have output left from an earlier turn, in the order in which they go on.
    backlog: VecDeque<Token>,
    lanes: [Lane<S::Batch>; LANES_MAX],
    output: Output,
    now: Instant,
    next_check: Instant,
    /// When the check that is under way, or the last one, began, and how long after the one before.
    checked_at: Instant,
    elapsed: Duration,
    /// Where the check for overdue connections goes on; none is under way at `usize::MAX`.
    check_at: usize,
    draining: bool,
    /// Memory of all connections' inputs and outputs.
    held_bytes: usize,
    /// What each connection of the turn at hand may send, and all of them together.
    send_share: usize,
    send_budget: usize,
}

impl<'a, S: Service> EventLoop<'a, S> {
    pub(super) fn new(
        poll: Poll,
        mailbox: &'a Mailbox,
        orders: &'a Orders,
        counters: &'a Counters,
        settings: LoopSettings,
        service: S,
    ) -> Self {
        let now = Instant::now();
        Self {
            poll,
            mailbox,
            orders,
            counters,
            settings,
            service,
            connections: Slab::new(),
            generation: 0,
            queue: Vec::new(),
            backlog: VecDeque::new(),
            lanes: std::array::from_fn(|_| Lane::new(settings.input_bytes_max)),
            output: Output::default(),
            now,
            next_check: now + TICK,
            checked_at: now,
            elapsed: Duration::ZERO,
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
        let mut ready = Vec::new();
        let mut more = false;
        loop {
            let waiting = !self.queue.is_empty() || !self.backlog.is_empty();
            let busy = more || self.settings.busy_poll || waiting;
            let timeout = if busy { Duration::ZERO } else { TICK };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(explain("can't wait for events (epoll_wait)")(error));
                }
                _ => {}
            }
            self.now = Instant::now();
            for event in &events {
                self.note(event);
            }
            if self.orders.abort.load(Ordering::Relaxed) {
                return Ok(());
            }
            std::mem::swap(&mut ready, &mut self.queue);
            let had_backlog = !self.backlog.is_empty();
            self.allot(ready.len());
            let mut rest = &ready[..];
            while !rest.is_empty() {
                rest = self.drive(rest);
                let has_sent = self.send_budget < SENT_BYTES_PER_TURN_MAX;
                if has_sent && self.now.elapsed() > CHORE_MAX {
                    self.send_budget = 0;
                }
            }
            ready.clear();
            if had_backlog {
                self.send_budget = SENT_BYTES_PER_TURN_MAX;
            }
            self.send_backlog();
            more = self.service.turn(&Wake { now: self.now, last: false, pressed: false });
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
        if self.orders.drain.load(Ordering::Relaxed) && !self.draining {
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
        let counter =
            if class == Class::Refused { &self.counters.refused } else { &self.counters.accepted };
        counter.add(1);
        let session = self.service.open(class);
        let connection = Connection::new(socket, session, self.now + self.settings.limits.idle);
        entry.insert(Slot { connection, generation: self.generation });
        if class == Class::Refused {
            self.with(key_of(token), 0, |connection, cx| {
                connection.dismiss(Dismissal::Refused, cx)
            });
        } else {
            // The request may have come before the registration.
            self.after(key_of(token), Next::Again);
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
    fn send_backlog(&mut self) {
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
                self.with(key, 0, Connection::step);
            }
        }
    }

    /// Gives the first few connections their turn, one per lane. Returns the others.
    fn drive<'t>(&mut self, tokens: &'t [Token]) -> &'t [Token] {
        let mut prepared = 0;
        let mut count = 0;
        for (lane, &token) in tokens.iter().enumerate().take(LANES_MAX) {
            if let Some(key) = self.live(token)
                && let Some((connection, mut cx)) = self.at_hand(key, lane)
            {
                prepared += connection.read(&mut cx);
            }
            count += 1;
            if prepared >= MESSAGES_AT_HAND_MAX {
                break;
            }
        }
        let (tokens, rest) = tokens.split_at(count);
        for lane in &mut self.lanes[..count] {
            self.service.prefetch(&mut lane.batch);
        }
        for (lane, &token) in tokens.iter().enumerate() {
            let Some(key) = self.live(token) else { continue };
            let connection = &mut self.connections[key].connection;
            if connection.is_sending() {
                self.backlog.push_back(token);
                continue;
            }
            connection.queued = false;
            self.with(key, lane, Connection::step);
        }
        rest
    }

    /// The connection that a token stands for, unless it was closed.
    fn live(&self, token: Token) -> Option<usize> {
        let slot = self.connections.get(key_of(token))?;
        (slot.generation == generation_of(token)).then_some(key_of(token))
    }

    /// A connection, and what its steps need, with that lane for its own.
    fn at_hand(
        &mut self,
        key: usize,
        lane: usize,
    ) -> Option<(&mut Connection<S::Session>, Context<'_, S>)> {
        let connection = &mut self.connections.get_mut(key)?.connection;
        let cx = Context {
            service: &mut self.service,
            lane: &mut self.lanes[lane],
            output: &mut self.output,
            counters: self.counters,
            limits: &self.settings.limits,
            now: self.now,
            draining: self.draining,
            send_share: self.send_share,
            send_budget: &mut self.send_budget,
            pressed: self.held_bytes > HELD_BYTES_MAX,
        };
        Some((connection, cx))
    }

    /// Drives a connection by one of its steps.
    fn with(
        &mut self,
        key: usize,
        lane: usize,
        step: impl FnOnce(&mut Connection<S::Session>, &mut Context<'_, S>) -> Next,
    ) {
        let Some((connection, mut cx)) = self.at_hand(key, lane) else { return };
        let before = connection.held_bytes();
        let next = step(connection, &mut cx);
        let after = connection.held_bytes();
        self.held_bytes = self.held_bytes + after - before;
        self.after(key, next);
    }

    fn after(&mut self, key: usize, next: Next) {
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
            Next::Close => {
                // Closing the descriptor takes it out of the poll.
                let slot = self.connections.remove(key);
                self.held_bytes -= slot.connection.held_bytes();
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
            let retries = slot.connection.retry();
            if slot.connection.is_overdue(now, elapsed) {
                self.with(key, 0, Connection::expire);
                // What a socket holds that closes is given back page by page.
                if start.elapsed() > CHORE_MAX {
                    break;
                }
            } else if retries {
                self.after(key, Next::Again);
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
