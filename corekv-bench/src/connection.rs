//! One client connection: keeps a number of requests in flight and matches answers to them.
//!
//! ```text
//!            +--------- top_up: render what may be sent, one write ---------+
//!            |                                                              |
//!   source --+--> in flight (method, key, start) --> answers: one read, parse all --> recorder
//!            |                                                              |
//!   again <--+---------- announced close: what is owed is sent again -------+
//! ```
//!
//! The clock is read once per batch sent and once per batch received: all requests of a batch
//! leave, and all answers of a batch arrive, in one system call.

use std::collections::VecDeque;
use std::io;

use mio::Token;
use mio::event::Event;

use super::answer::{Request, account};
use super::context::Context;
use super::error::Failure;
use super::preload::Keys;
use super::rate::Schedule;
use super::response::{Parser, Step};
use super::stream::Stream;
use super::trace::Replay;
use super::workload::{Draw, Generator, Method, Then, Values, Workload};

/// Rendered bytes that wait for the socket; beyond this no further request is rendered.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// Receives of one connection, each of a whole buffer, before others, deadlines and an interrupt have
/// their turn: a server may send without end.
const RECEIVES_PER_TURN_MAX: usize = 16;

/// The pause before the second attempt to reconnect; it doubles from then on.
const BACKOFF_NS: u64 = 10_000_000;

/// The longest pause between attempts.
const BACKOFF_NS_MAX: u64 = 500_000_000;

/// The time of a request that is to be stamped when it is sent.
const UNSTAMPED: u64 = 0;

/// Where requests come from.
#[derive(Debug)]
pub(super) enum Source {
    /// Nowhere.
    Nothing,
    /// Every key of a share is stored once.
    Preload(Keys),
    /// The workload, for so many requests.
    Workload { left: u64, schedule: Option<Schedule> },
    /// A trace. The key of a request is its number in this connection's share.
    Trace(Replay),
}

#[derive(Debug)]
enum Link {
    Open(Stream),
    Connecting {
        stream: Stream,
        since: u64,
    },
    /// The TLS handshake is under way, from the time `connected` on.
    Securing {
        stream: Stream,
        since: u64,
        connected: u64,
    },
    /// The queue of a listening Unix-domain socket is full: connecting is tried again.
    Queued {
        since: u64,
    },
    Closed {
        retry_at: u64,
    },
}

/// One client connection.
#[derive(Debug)]
pub(super) struct Connection {
    index: usize,
    token: Token,
    link: Link,
    /// Attempts to connect since the last answer.
    attempts: u32,
    parser: Parser,
    generator: Generator,
    source: Source,
    in_flight: VecDeque<Request>,
    /// What an announced close left without answer.
    again: VecDeque<Request>,
    output: Vec<u8>,
    output_sent: usize,
    /// More may lie in the socket than was received in this turn, and whether its end was announced.
    unread: Option<bool>,
    /// Bytes of the answer that isn't complete.
    partial_bytes: usize,
    last_value: u64,
    /// The number of the next request in this phase: connections take turns.
    number: u64,
    /// Requests that may still be sent before the connection is replaced.
    budget: u64,
    /// Whether it has been open before.
    was_open: bool,
    /// Whether a write found out that the connection was reset, which no read says again.
    was_reset: bool,
}

impl Connection {
    pub(super) fn new(workload: &Workload, index: usize, token: Token, context: &Context) -> Self {
        Self {
            index,
            token,
            link: Link::Closed { retry_at: 0 },
            attempts: 0,
            parser: Parser::new(context.common.body_bytes_max()),
            generator: Generator::new(workload, index),
            source: Source::Nothing,
            in_flight: VecDeque::new(),
            again: VecDeque::new(),
            output: Vec::new(),
            output_sent: 0,
            unread: None,
            partial_bytes: 0,
            last_value: 0,
            number: 0,
            budget: 0,
            was_open: false,
            was_reset: false,
        }
    }

    /// The number of this connection among all of the run.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Opens the connection before a phase, unless it is open. Returns whether that is under way.
    pub(super) fn open(&mut self, context: &mut Context) -> bool {
        if matches!(self.link, Link::Closed { .. }) {
            self.connect(context, context.common.clock.now());
        }
        self.is_opening()
    }

    /// Whether the attempt to connect has not come to an end.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.link, Link::Connecting { .. } | Link::Securing { .. } | Link::Queued { .. })
    }

    /// Whether requests can be sent.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.link, Link::Open(_))
    }

    pub(super) fn begin(&mut self, context: &mut Context, source: Source) {
        self.source = source;
        self.number = self.index as u64;
        self.budget = self.budget_of(context);
        self.top_up(context);
    }

    fn budget_of(&self, context: &Context) -> u64 {
        match self.source {
            Source::Workload { .. } | Source::Trace(_) => context.common.connection_requests,
            Source::Preload(_) | Source::Nothing => u64::MAX,
        }
    }

    /// Whether nothing is left to send or to wait for.
    pub(super) fn is_done(&self, context: &Context) -> bool {
        self.in_flight.is_empty()
            && self.again.is_empty()
            && match &self.source {
                Source::Nothing => !self.is_opening(),
                Source::Preload(keys) => keys.size_hint().0 == 0,
                Source::Workload { left, .. } => *left == 0 || context.now >= context.until,
                Source::Trace(replay) => replay.is_over() || context.now >= context.until,
            }
    }

    /// When the schedule wants the next request sent, if there is one and it can be.
    pub(super) fn next_due(&self, context: &Context) -> Option<u64> {
        let due = match &self.source {
            Source::Workload { left: 1.., schedule: Some(schedule) } => schedule.due(),
            Source::Trace(replay) if !replay.is_over() => replay.due,
            _ => return None,
        };
        let has_room = self.in_flight.len() < context.depth && self.budget > 0;
        let can_send = has_room && matches!(self.link, Link::Open(_));
        (can_send && due < context.until).then_some(due)
    }

    /// Requests of the schedule before `end` that were never sent.
    pub(super) fn behind(&self, context: &Context, end: u64) -> u64 {
        match &self.source {
            Source::Trace(replay) => {
                context.common.trace.as_ref().map_or(0, |trace| replay.behind(trace, end))
            }
            Source::Workload { left, schedule: Some(schedule) } => schedule.behind(end).min(*left),
            _ => 0,
        }
    }

    pub(super) fn on_event(&mut self, context: &mut Context, event: &Event) {
        match self.link {
            Link::Connecting { .. } => self.finish_connecting(context),
            Link::Securing { .. } => self.finish_securing(context),
            _ => {}
        }
        let Link::Open(stream) = &self.link else { return };
        let is_closing =
            event.is_read_closed() || event.is_error() || self.unread.unwrap_or_default();
        if event.is_writable() && (!self.output.is_empty() || stream.has_pending()) {
            self.flush();
        }
        if (event.is_readable() || is_closing)
            && let Err(failure) = self.receive(context, is_closing)
        {
            self.fail(context, failure, false);
        }
    }

    /// Goes on receiving where the turn before left off.
    pub(super) fn read_on(&mut self, context: &mut Context) {
        if let Some(is_closing) = self.unread
            && let Err(failure) = self.receive(context, is_closing)
        {
            self.fail(context, failure, false);
        }
    }

    /// Deadlines and attempts to reconnect. Called a few times per second.
    pub(super) fn tick(&mut self, context: &mut Context) {
        let timeout = context.common.timeout.as_nanos() as u64;
        let now = context.now;
        match &self.link {
            Link::Open(_) => {
                // Responses come in order, and so the oldest request has waited longest.
                let oldest = self.in_flight.front();
                if oldest.is_some_and(|oldest| now.saturating_sub(oldest.sent) >= timeout) {
                    self.fail(context, Failure::Timeout, false);
                }
            }
            Link::Connecting { since, .. }
            | Link::Securing { since, .. }
            | Link::Queued { since } => {
                let since = *since;
                if now.saturating_sub(since) >= timeout {
                    self.fail(context, Failure::ConnectTimeout, true);
                } else if matches!(self.link, Link::Queued { .. }) {
                    self.connect(context, since);
                }
            }
            Link::Closed { retry_at } => {
                if now >= *retry_at && !self.is_done(context) {
                    self.reconnect(context);
                }
            }
        }
    }

    /// Nothing will be answered any more. Without a failure it is the run that ends, not the
    /// server that is late.
    pub(super) fn give_up(&mut self, context: &mut Context, failure: Option<Failure>) {
        // A connection that brought nothing since it failed has been counted.
        if let Some(failure) = failure
            && !self.in_flight.is_empty()
            && self.attempts == 0
        {
            context.recorder.failed(failure);
        }
        self.abandon(context, failure);
        self.source = Source::Nothing;
    }

    fn finish_connecting(&mut self, context: &mut Context) {
        let Link::Connecting { stream, since } = &self.link else { return };
        match stream.connected() {
            Ok(false) => {}
            Ok(true) => {
                let (since, now) = (*since, context.common.clock.now());
                context.recorder.connected(now - since);
                let Some(stream) = self.take_stream() else { return };
                match &context.common.tls {
                    None => self.opened(context, stream),
                    Some(tls) => match stream.secure(tls) {
                        Ok(stream) => {
                            self.link = Link::Securing { stream, since, connected: now };
                            self.finish_securing(context);
                        }
                        Err(error) => self.fail(context, Failure::of(&error), true),
                    },
                }
            }
            Err(error) => self.fail(context, Failure::of(&error), true),
        }
    }

    fn finish_securing(&mut self, context: &mut Context) {
        let Link::Securing { stream, connected, .. } = &mut self.link else { return };
        match stream.handshake() {
            Ok(false) => {}
            Ok(true) => {
                context.recorder.secured(context.common.clock.now() - *connected);
                if let Some(stream) = self.take_stream() {
                    self.opened(context, stream);
                }
            }
            Err(error) => self.fail(context, Failure::of(&error), true),
        }
    }

    fn take_stream(&mut self) -> Option<Stream> {
        match std::mem::replace(&mut self.link, Link::Closed { retry_at: 0 }) {
            Link::Open(stream)
            | Link::Connecting { stream, .. }
            | Link::Securing { stream, .. } => Some(stream),
            Link::Queued { .. } | Link::Closed { .. } => None,
        }
    }

    /// Requests can be sent from now on.
    fn opened(&mut self, context: &mut Context, stream: Stream) {
        self.link = Link::Open(stream);
        self.budget = self.budget_of(context);
        context.recorder.reopened += u64::from(self.was_open);
        self.was_open = true;
        if matches!(self.source, Source::Nothing) {
            // Where connecting is all there is to do, it is the progress.
            context.last_answer = context.now;
        }
        self.top_up(context);
    }

    fn reconnect(&mut self, context: &mut Context) {
        self.attempts += 1;
        self.connect(context, context.common.clock.now());
    }

    fn connect(&mut self, context: &mut Context, since: u64) {
        let connecting = Stream::connect(&context.common.endpoint)
            .and_then(|mut stream| stream.register(&context.registry, self.token).map(|()| stream));
        match connecting {
            Ok(stream) => {
                self.link = Link::Connecting { stream, since };
                // A Unix-domain socket is connected by now and will not say so again.
                self.finish_connecting(context);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.link = Link::Queued { since };
            }
            Err(error) => self.fail(context, Failure::of(&error), true),
        }
    }

    /// Reads what has arrived, a buffer at a time, and sends requests in place of those answered.
    fn receive(&mut self, context: &mut Context, is_closing: bool) -> Result<(), Failure> {
        self.unread = None;
        for _ in 0..RECEIVES_PER_TURN_MAX {
            let Link::Open(stream) = &mut self.link else { return Ok(()) };
            let length = match stream.read(&mut context.input) {
                Ok(0) => return self.end_of_stream(context),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.top_up(context);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::of(&error)),
            };
            context.now = context.common.clock.now();
            let input = std::mem::take(&mut context.input);
            let keep_alive = self.take_answers(context, &input[..length]);
            let is_drained = length < input.len();
            context.input = input;
            context.recorder.flush(context.now);
            let is_used_up = self.budget == 0 && self.in_flight.is_empty();
            if !keep_alive? || is_used_up {
                self.reopen(context);
                return Ok(());
            }
            // Answers that fill the buffer come a few per read. Sending one request for each of
            // them would cost a system call each, so it waits for more, but not for all: the
            // server is to have work meanwhile.
            if is_drained || self.in_flight.len() <= context.depth / 2 {
                self.top_up(context);
            }
            // A read that did not fill the buffer has emptied the socket, and the next bytes
            // will be announced; but an end that was announced already will not be again.
            if is_drained && !is_closing {
                return Ok(());
            }
        }
        self.unread = Some(is_closing);
        context.has_unread = true;
        Ok(())
    }

    /// Matches answers to requests. Returns whether the connection goes on.
    fn take_answers(&mut self, context: &mut Context, input: &[u8]) -> Result<bool, Failure> {
        let mut at = 0;
        let owed = self.in_flight.len();
        while at < input.len() {
            let rest = &input[at..];
            let Some(request) = self.in_flight.pop_front() else {
                return self.garbage(context, "a response that no request asked for");
            };
            match self.parser.next(rest, request.method != Method::Head) {
                Err(garbage) => {
                    self.in_flight.push_front(request);
                    return self.garbage(context, garbage.0);
                }
                Ok(Step::Partial) => {
                    self.in_flight.push_front(request);
                    self.partial_bytes += rest.len();
                    break;
                }
                Ok(Step::Complete(taken, response)) => {
                    at += taken;
                    let body = self.parser.body(&response, rest);
                    let bytes = taken + std::mem::take(&mut self.partial_bytes);
                    let told = account(context, request, response.status, bytes, body);
                    if let Some(value) = told.value {
                        self.last_value = value;
                    }
                    if request.then != Then::Nothing {
                        self.follow_up(context, request, response.status, told.is_hit);
                    }
                    if !response.keep_alive {
                        self.made_progress(context, owed);
                        return Ok(false);
                    }
                }
            }
        }
        self.made_progress(context, owed);
        Ok(true)
    }

    /// Does what was to be done after an answer. A write waits with those that are to be sent
    /// again: each is for an answer, and goes before anything new, so no more than were in flight do.
    #[cold]
    fn follow_up(&mut self, context: &Context, request: Request, status: u16, is_hit: bool) {
        let is_answer = matches!(status, 200..300 | 404);
        let writes = match request.then {
            Then::Nothing => false,
            Then::Write => is_answer,
            Then::WriteIfMissed => is_answer && !is_hit,
            Then::Announce => {
                if is_answer {
                    context.common.growth.stored(request.key);
                }
                false
            }
        };
        if writes {
            let method = Method::Put;
            let start = UNSTAMPED;
            self.again.push_back(Request { start, method, then: Then::Nothing, ..request });
        }
    }

    fn made_progress(&mut self, context: &mut Context, owed_before: usize) {
        // A piece of an answer is no progress: a server that dribbles must not escape the timeout.
        if self.in_flight.len() < owed_before {
            self.attempts = 0;
            context.last_answer = context.now;
        }
    }

    fn garbage(&self, context: &mut Context, why: &'static str) -> Result<bool, Failure> {
        context.recorder.garbage.get_or_insert(why);
        Err(Failure::Garbage)
    }

    /// The server closed. That is fine if it owes nothing.
    fn end_of_stream(&mut self, context: &mut Context) -> Result<(), Failure> {
        match self.parser.finish() {
            Ok(Some(response)) => {
                let owed = self.in_flight.len();
                if let Some(request) = self.in_flight.pop_front() {
                    let bytes = std::mem::take(&mut self.partial_bytes);
                    context.now = context.common.clock.now();
                    let body = self.parser.body(&response, b"");
                    let told = account(context, request, response.status, bytes, body);
                    if request.then != Then::Nothing {
                        self.follow_up(context, request, response.status, told.is_hit);
                    }
                    context.recorder.flush(context.now);
                    self.made_progress(context, owed);
                }
            }
            Ok(None) if self.in_flight.is_empty() => {}
            Ok(None) | Err(_) if self.was_reset => return Err(Failure::Reset),
            Ok(None) | Err(_) => return Err(Failure::ClosedEarly),
        }
        self.reopen(context);
        Ok(())
    }

    /// The server closes the connection and has said so, or owes nothing: what it has not
    /// answered it has not done, and so it may be sent again.
    fn reopen(&mut self, context: &mut Context) {
        // What was to be sent again and has not been comes after what was sent.
        while let Some(request) = self.in_flight.pop_back() {
            self.again.push_front(request);
        }
        self.close_and_reconnect(context);
    }

    /// A connection that has brought an answer is opened again at once, any other after a pause.
    fn close_and_reconnect(&mut self, context: &mut Context) {
        self.close(context.now + self.pause());
        if self.attempts == 0 && !self.is_done(context) {
            self.reconnect(context);
        }
    }

    /// How long to wait before the next attempt to connect: not at all after an answer.
    fn pause(&self) -> u64 {
        match self.attempts {
            0 => 0,
            attempts => (BACKOFF_NS << attempts.min(16)).min(BACKOFF_NS_MAX),
        }
    }

    fn fail(&mut self, context: &mut Context, failure: Failure, was_connecting: bool) {
        context.recorder.failed(failure);
        context.recorder.connects_failed += u64::from(was_connecting);
        self.abandon(context, Some(failure));
        match failure {
            // A server that answers late is not in want of a connection at once.
            Failure::Timeout => self.close(context.now + self.pause()),
            _ if was_connecting => self.close(context.now + self.pause()),
            _ => self.close_and_reconnect(context),
        }
    }

    /// Counts everything that is owed as unanswered.
    fn abandon(&mut self, context: &mut Context, failure: Option<Failure>) {
        for request in self.in_flight.drain(..).chain(self.again.drain(..)) {
            context.recorder.unanswered(request.method, failure);
            if let Some(ledger) = &context.common.ledger
                && request.method.is_store()
            {
                ledger.give_up(request.key);
            }
        }
    }

    /// Dropping the stream closes it, which takes it out of the poll as well.
    fn close(&mut self, retry_at: u64) {
        self.link = Link::Closed { retry_at };
        self.parser.reset();
        self.output.clear();
        self.output_sent = 0;
        self.unread = None;
        self.partial_bytes = 0;
        self.was_reset = false;
    }

    /// Renders requests until enough are in flight, and sends them.
    pub(super) fn top_up(&mut self, context: &mut Context) {
        if !matches!(self.link, Link::Open(_)) {
            return;
        }
        let first_new = self.in_flight.len();
        let room = usize::try_from(self.budget).unwrap_or(usize::MAX).saturating_add(first_new);
        let most = context.depth.min(room);
        while self.in_flight.len() < most && self.output.len() < OUTPUT_BYTES_MAX {
            let Some(request) = self.next_request(context) else { break };
            self.render(context, request);
            self.in_flight.push_back(request);
        }
        if self.in_flight.len() > first_new {
            self.budget -= (self.in_flight.len() - first_new) as u64;
            let now = context.common.clock.now();
            for request in self.in_flight.range_mut(first_new..) {
                if request.start == UNSTAMPED {
                    (request.start, request.sent) = (now, now);
                }
            }
            self.flush();
        }
    }

    fn next_request(&mut self, context: &Context) -> Option<Request> {
        if let Some(request) = self.again.pop_front() {
            return Some(request);
        }
        let (start, draw) = match &mut self.source {
            Source::Nothing => return None,
            Source::Preload(keys) => {
                let (method, key) = (context.common.store_method, keys.next()?);
                (UNSTAMPED, Draw { method, key, then: Then::Nothing })
            }
            Source::Trace(replay) => {
                let trace = context.common.trace.as_ref()?;
                if replay.is_over() || context.now >= context.until {
                    return None;
                }
                let due = replay.due;
                let start = if trace.is_timed() { due } else { UNSTAMPED };
                if trace.is_timed() && (due > context.now || due >= context.until) {
                    return None;
                }
                let index = replay.advance(trace);
                let (method, key) = (trace.entry(self.index, index).method, index as u64);
                (start, Draw { method, key, then: Then::Nothing })
            }
            Source::Workload { left, schedule } => {
                if *left == 0 || context.now >= context.until {
                    return None;
                }
                let start = match schedule {
                    None => UNSTAMPED,
                    Some(schedule) => {
                        let due = schedule.due();
                        if due > context.now || due >= context.until {
                            return None;
                        }
                        schedule.advance();
                        // A probe that woke late was not kept waiting by the server.
                        if context.is_probe && context.last_answer <= due { UNSTAMPED } else { due }
                    }
                };
                *left -= 1;
                let draw = match &context.common.list {
                    None => self.generator.next_request(&context.common.growth),
                    Some(list) => {
                        let number = self.number;
                        self.number += context.common.connections;
                        Draw { method: list.method(number), key: number, then: Then::Nothing }
                    }
                };
                (start, draw)
            }
        };
        let Draw { method, key, then } = draw;
        let mut request = Request { start, sent: context.now, key, version: 0, method, then };
        if let Some(ledger) = &context.common.ledger {
            if method.is_store() {
                request.key = ledger.own_key(key, self.index);
                request.version = ledger.issue(request.key);
            } else {
                request.version = ledger.oldest_right(key);
            }
        }
        Some(request)
    }

    fn render(&mut self, context: &mut Context, request: Request) {
        let Request { method, key, version, .. } = request;
        let Context { common, scratch, .. } = context;
        let output = &mut self.output;
        if let Some(trace) = &common.trace
            && matches!(self.source, Source::Trace(_))
        {
            let entry = trace.entry(self.index, key as usize);
            return entry.render(output, &common.templates, &common.filler);
        }
        if let Some(list) = &common.list {
            return list.render(output, key);
        }
        let number = self.number;
        self.number += common.connections;
        if !method.is_store() {
            return common.templates.plain(output, method, key, number);
        }
        let mut digits = itoa::Buffer::new();
        let body = if let Some(ledger) = &common.ledger {
            ledger.render(scratch, &common.filler, key, version);
            scratch.as_slice()
        } else {
            match common.values {
                Values::Counter => {
                    let is_preload = matches!(self.source, Source::Preload(_));
                    let next = if is_preload { 0 } else { self.last_value.wrapping_add(1) };
                    digits.format(next).as_bytes()
                }
                values => {
                    let length = self.generator.value_length(values);
                    common.filler.cut(self.generator.below(u64::MAX), length)
                }
            }
        };
        common.templates.store(output, method, key, number, body.len());
        output.extend_from_slice(body);
    }

    /// Writes what is rendered, as far as the socket takes it.
    fn flush(&mut self) {
        let Link::Open(stream) = &mut self.link else { return };
        loop {
            match stream.write(&self.output[self.output_sent..]) {
                Ok(length) => self.output_sent += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Either the socket is full and will become writable, or the connection is broken
                // and reading will say so, after the answers that arrived before it broke. Why
                // it broke the kernel says but once.
                Err(error) => {
                    self.was_reset |= error.kind() == io::ErrorKind::ConnectionReset;
                    return;
                }
            }
            if self.output_sent == self.output.len() {
                break;
            }
        }
        self.output.clear();
        self.output_sent = 0;
    }
}
