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

use super::answer::{Request, Told, UNSTAMPED, account, follow_up};
use super::context::Context;
use super::error::Failure;
use super::generator::Then;
use super::link::{Link, Opening};
use super::method::Method;
use super::response::{Parser, Response, Step};
use super::send_buffer::SendBuffer;
use super::source::{Plan, Source};
use super::workload::Workload;

/// Receives of one connection, each of a whole buffer, before others, deadlines and an interrupt have
/// their turn: a server may send without end.
const RECEIVES_PER_TURN_MAX: usize = 16;

/// One client connection.
#[derive(Debug)]
pub(super) struct Connection {
    link: Link,
    parser: Parser,
    source: Source,
    in_flight: VecDeque<Request>,
    /// What an announced close left without answer, and writes that an answer leads to.
    again: VecDeque<Request>,
    output: SendBuffer,
    /// More may lie in the socket than was received in this turn, and whether its end was announced.
    unread: Option<bool>,
    /// Bytes of the answer that isn't complete.
    partial_bytes: usize,
    /// Requests that may still be sent before the connection is replaced.
    budget: u64,
}

impl Connection {
    pub(super) fn new(workload: &Workload, index: usize, token: Token, context: &Context) -> Self {
        Self {
            link: Link::new(token),
            parser: Parser::new(context.common.body_bytes_max()),
            source: Source::new(workload, index),
            in_flight: VecDeque::new(),
            again: VecDeque::new(),
            output: SendBuffer::default(),
            unread: None,
            partial_bytes: 0,
            budget: 0,
        }
    }

    /// The number of this connection among all of the run.
    pub(super) fn index(&self) -> usize {
        self.source.index()
    }

    /// Opens the connection before a phase, unless it is open. Returns whether that is under way.
    pub(super) fn open(&mut self, context: &mut Context) -> bool {
        if self.link.is_closed() {
            let opening = self.link.connect(context);
            self.follow(context, opening);
        }
        self.is_opening()
    }

    /// Whether the attempt to connect has not come to an end.
    pub(super) fn is_opening(&self) -> bool {
        self.link.is_opening()
    }

    /// Whether requests can be sent.
    pub(super) fn is_open(&self) -> bool {
        self.link.is_open()
    }

    /// Begins a phase.
    pub(super) fn begin(&mut self, context: &mut Context, plan: Plan) {
        self.source.begin(plan);
        self.budget = self.source.requests_per_connection(context);
        self.top_up(context);
    }

    /// Whether nothing is left to send or to wait for.
    pub(super) fn is_done(&self, context: &Context) -> bool {
        self.in_flight.is_empty()
            && self.again.is_empty()
            && self.source.is_over(context)
            && !(self.source.is_idle() && self.is_opening())
    }

    /// When the schedule wants the next request sent, if there is one and it can be.
    pub(super) fn next_due(&self, context: &Context) -> Option<u64> {
        let due = self.source.next_due()?;
        let has_room = self.in_flight.len() < context.depth && self.budget > 0;
        (has_room && self.link.is_open() && due < context.until).then_some(due)
    }

    /// Requests of the schedule before `end` that were never sent.
    pub(super) fn behind(&self, context: &Context, end: u64) -> u64 {
        self.source.behind(context, end)
    }

    pub(super) fn on_event(&mut self, context: &mut Context, event: &Event) {
        if self.link.is_opening() {
            let opening = self.link.advance(context);
            self.follow(context, opening);
        }
        let Some(stream) = self.link.stream() else { return };
        let is_closing =
            event.is_read_closed() || event.is_error() || self.unread.unwrap_or_default();
        if event.is_writable() && (!self.output.is_empty() || stream.has_pending()) {
            self.output.send(stream);
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
        let now = context.now;
        if self.link.is_open() {
            // Responses come in order, and so the oldest request has waited longest.
            let timeout = context.common.timeout.as_nanos() as u64;
            let oldest = self.in_flight.front();
            if oldest.is_some_and(|oldest| now.saturating_sub(oldest.sent) >= timeout) {
                self.fail(context, Failure::Timeout, false);
            }
        } else if self.link.is_opening() {
            let opening = self.link.tick(context);
            self.follow(context, opening);
        } else if self.link.is_due(now) && !self.is_done(context) {
            self.reconnect(context);
        }
    }

    /// Nothing will be answered any more. Without a failure it is the run that ends, not the
    /// server that is late.
    pub(super) fn give_up(&mut self, context: &mut Context, failure: Option<Failure>) {
        // A connection that brought nothing since it failed has been counted.
        if let Some(failure) = failure
            && !self.in_flight.is_empty()
            && self.link.has_progressed()
        {
            context.recorder.failed(failure);
        }
        self.abandon(context, failure);
        self.source.begin(Plan::Nothing);
    }

    fn reconnect(&mut self, context: &mut Context) {
        let opening = self.link.reconnect(context);
        self.follow(context, opening);
    }

    /// Does what is next after a step towards the server.
    fn follow(&mut self, context: &mut Context, opening: Opening) {
        match opening {
            Opening::Pending => {}
            Opening::Opened => {
                self.budget = self.source.requests_per_connection(context);
                if self.source.is_idle() {
                    // Where connecting is all there is to do, it is the progress.
                    context.last_answer = context.now;
                }
                self.top_up(context);
            }
            Opening::Failed(failure) => self.fail(context, failure, true),
        }
    }

    /// Reads what has arrived, a buffer at a time, and sends requests in place of those answered.
    fn receive(&mut self, context: &mut Context, is_closing: bool) -> Result<(), Failure> {
        self.unread = None;
        for _ in 0..RECEIVES_PER_TURN_MAX {
            let Some(stream) = self.link.stream() else { return Ok(()) };
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
        let (answered, goes_on) = self.match_answers(context, input);
        self.in_flight.drain(..answered);
        if answered > 0 {
            self.made_progress(context);
        }
        goes_on.map_err(|why| {
            context.recorder.garbage.get_or_insert(why);
            Failure::Garbage
        })
    }

    /// Says how many requests were answered, and whether the connection goes on or what is wrong. It
    /// leaves the requests where they are, so that they are taken out together.
    fn match_answers(
        &mut self,
        context: &mut Context,
        input: &[u8],
    ) -> (usize, Result<bool, &'static str>) {
        let (mut at, mut answered) = (0, 0);
        while at < input.len() {
            let rest = &input[at..];
            let Some(&request) = self.in_flight.get(answered) else {
                return (answered, Err("a response that no request asked for"));
            };
            match self.parser.next(rest, request.method != Method::Head) {
                Err(garbage) => return (answered, Err(garbage.0)),
                // A piece of an answer is no progress: a server that dribbles must not escape the
                // timeout.
                Ok(Step::Partial) => {
                    self.partial_bytes += rest.len();
                    break;
                }
                Ok(Step::Complete(taken, response)) => {
                    at += taken;
                    answered += 1;
                    self.take_answer(context, &request, &response, taken, rest);
                    if !response.keep_alive {
                        return (answered, Ok(false));
                    }
                }
            }
        }
        (answered, Ok(true))
    }

    /// Counts and checks an answer, the last bytes of which are these. It is called for each of the
    /// answers of a batch and at the end of a connection, which is why the compiler would not inline it.
    #[inline(always)]
    fn take_answer(
        &mut self,
        context: &mut Context,
        request: &Request,
        response: &Response,
        taken: usize,
        input: &[u8],
    ) {
        let body = self.parser.body(response, input);
        let bytes = taken + std::mem::take(&mut self.partial_bytes);
        let Told { value, is_hit } = account(context, request, response.status, bytes, body);
        if let Some(value) = value {
            self.source.read(value);
        }
        // A write waits with those that are to be sent again: each is for an answer, and goes before
        // anything new, so no more than were in flight do.
        if request.then != Then::Nothing
            && let Some(write) = follow_up(context, request, response.status, is_hit)
        {
            self.again.push_back(write);
        }
    }

    fn made_progress(&mut self, context: &mut Context) {
        self.link.made_progress();
        context.last_answer = context.now;
    }

    /// The server closed. That is fine if it owes nothing.
    fn end_of_stream(&mut self, context: &mut Context) -> Result<(), Failure> {
        match self.parser.finish() {
            Ok(Some(response)) => {
                if let Some(request) = self.in_flight.pop_front() {
                    context.now = context.common.clock.now();
                    self.take_answer(context, &request, &response, 0, b"");
                    context.recorder.flush(context.now);
                    self.made_progress(context);
                }
            }
            Ok(None) if self.in_flight.is_empty() => {}
            Ok(None) | Err(_) if self.output.was_reset() => return Err(Failure::Reset),
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
        self.close(context);
        if self.link.has_progressed() && !self.is_done(context) {
            self.reconnect(context);
        }
    }

    fn fail(&mut self, context: &mut Context, failure: Failure, was_connecting: bool) {
        context.recorder.failed(failure);
        context.recorder.connects_failed += u64::from(was_connecting);
        self.abandon(context, Some(failure));
        // A server that answers late is not in want of a connection at once.
        if failure == Failure::Timeout || was_connecting {
            self.close(context);
        } else {
            self.close_and_reconnect(context);
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

    fn close(&mut self, context: &Context) {
        self.link.close(context.now);
        self.parser.reset();
        self.output.clear();
        self.unread = None;
        self.partial_bytes = 0;
    }

    /// Renders requests until enough are in flight, and sends them.
    pub(super) fn top_up(&mut self, context: &mut Context) {
        let Some(stream) = self.link.stream() else { return };
        let first_new = self.in_flight.len();
        let room = usize::try_from(self.budget).unwrap_or(usize::MAX).saturating_add(first_new);
        let most = context.depth.min(room);
        while self.in_flight.len() < most && !self.output.is_full() {
            let request = self.again.pop_front().or_else(|| self.source.next(context));
            let Some(request) = request else { break };
            self.source.render(context, self.output.end(), &request);
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
            self.output.send(stream);
        }
    }
}
