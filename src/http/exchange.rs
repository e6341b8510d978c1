//! The answering of a connection's input: batches of complete requests, and bodies in pieces, one
//! after the other until the input is used up or the output is full.

use std::ops::Range;
use std::time::Instant;

use super::access_log::{self, Answered, Asked};
use super::batch::{Batch, End};
use super::body::{Body, Destination, Taken};
use super::engine::Engine;
use super::error::Error;
use super::fields::{Framing, Persistence};
use super::handler::Handler;
use super::method::Method;
use super::parsed_request::ParsedRequest;
use super::request::Requests;
use super::response::{OUTPUT_PAYLOAD_BYTES_MAX, Postponed, Responses};
use super::session::Session;
use crate::net::{Flow, Iteration, Output, Progress};

/// Output that a connection may pile up before its requests have to wait until it is sent. One
/// batch more can come on top.
const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// Input on its way to the answers.
pub(super) struct Exchange<'a, H: Handler> {
    engine: &'a mut Engine<H>,
    session: &'a mut Session<H::Pending>,
    input: &'a [u8],
    /// How much of the input is done with.
    consumed: usize,
    answered: usize,
    output: &'a mut Output,
    iteration: &'a Iteration,
}

/// Who gets an error that ends the connection: the sender of which request.
#[derive(Debug)]
pub(super) struct Recipient {
    method: Method,
    is_browser: bool,
    /// What the access log is to tell of the request.
    asked: Option<Box<Asked>>,
    /// Nothing is known of the request.
    is_unknown: bool,
}

impl Recipient {
    /// That of a request whose head could not be read.
    pub(super) const UNKNOWN: Self =
        Self { method: Method::Unknown, is_browser: false, asked: None, is_unknown: true };

    pub(super) fn of<P>(body: Body<P>) -> Self {
        let (method, is_browser, asked) = (body.method, body.is_browsers, body.asked);
        Self { method, is_browser, asked, is_unknown: false }
    }
}

impl<'a, H: Handler> Exchange<'a, H> {
    pub(super) fn new(
        engine: &'a mut Engine<H>,
        session: &'a mut Session<H::Pending>,
        input: &'a [u8],
        output: &'a mut Output,
        iteration: &'a Iteration,
    ) -> Self {
        Self { engine, session, input, consumed: 0, answered: 0, output, iteration }
    }

    /// Answers the batch that was parsed, if a body under way did not come first, and then what
    /// follows.
    #[inline]
    pub(super) fn run(mut self, batch: &mut Batch<H::Lookup>) -> Progress {
        let flow = loop {
            if let Some(flow) = self.continue_body() {
                break flow;
            }
            if batch.end.is_none() {
                let Self { engine, session, input, consumed, iteration, .. } = &mut self;
                engine.parse_batch(session, batch, input, *consumed, iteration);
                engine.handler.prefetch(&mut batch.lookups);
            }
            if let Some(flow) = self.answer_batch(batch) {
                break flow;
            }
            if self.is_output_full() {
                break Flow::Full;
            }
        };
        Progress { consumed: self.consumed, answered: self.answered, flow }
    }

    fn is_output_full(&self) -> bool {
        let output_max = if self.iteration.pressed { 1 } else { OUTPUT_BYTES_MAX };
        self.output.len() >= output_max || self.output.payload_bytes() >= OUTPUT_PAYLOAD_BYTES_MAX
    }

    /// Whether the connection ends with what has been consumed.
    fn is_last(&self) -> bool {
        self.iteration.last && self.consumed == self.input.len()
    }

    /// Answers a batch, and starts on what follows it. How the connection goes on, unless there is
    /// more to do.
    fn answer_batch(&mut self, batch: &mut Batch<H::Lookup>) -> Option<Flow> {
        let Some((mut end, end_at)) = batch.end.take() else { return Some(Flow::More) };
        let start = std::mem::replace(&mut self.consumed, end_at);
        if let (End::Incomplete | End::Full, true, [.., last]) =
            (&end, self.is_last(), &mut batch.parsed[..])
        {
            last.fields.persistence = last.fields.persistence.closing();
            end = End::Close;
        }
        self.answered += batch.parsed.len();
        if !batch.parsed.is_empty()
            && let Some((count, why)) = self.answer_requests(batch)
        {
            self.answered -= count;
            self.consumed = start_of_last(&batch.parsed, count, start);
            self.session.scanned = 0;
            return Some(if why == Postponed::Full { Flow::Full } else { Flow::Busy });
        }
        match end {
            End::Full => None,
            End::Incomplete => Some(Flow::More),
            End::Close => Some(Flow::Close),
            End::Body(parsed) => self.begin_body(&parsed, batch),
            End::TooLarge(parsed) => {
                let (method, is_browser) = (parsed.method, parsed.fields.sender.is_browser());
                let asked = self.note(&parsed);
                let recipient = Recipient { method, is_browser, asked, is_unknown: false };
                Some(self.fail(Error::BodyTooLarge, recipient))
            }
            End::Error(error) => Some(self.fail(error, Recipient::UNKNOWN)),
        }
    }

    /// Has the handler answer. How many requests at the end of the batch are postponed, and why.
    #[inline]
    fn answer_requests(&mut self, batch: &mut Batch<H::Lookup>) -> Option<(usize, Postponed)> {
        if self.engine.log.is_some() {
            return self.answer_and_log(batch);
        }
        self.answer_part(batch, 0..batch.parsed.len())
    }

    /// Has the handler answer a part of the batch. How many requests at its end are postponed.
    #[inline]
    fn answer_part(
        &mut self,
        batch: &Batch<H::Lookup>,
        part: Range<usize>,
    ) -> Option<(usize, Postponed)> {
        let is_browser = batch.sender.is_browser();
        let source = batch.source(self.input, self.session.class);
        let (parsed, lookups) = (&batch.parsed[part.clone()], &batch.lookups[part]);
        let requests = Requests { source, parsed, lookups };
        let Self { engine, output, iteration, .. } = self;
        let Engine { handler, heads, counters, .. } = &mut **engine;
        let mut responses = Responses::new(output, heads.of(is_browser), counters, iteration.now);
        handler.answer(requests, &mut responses);
        responses.postponed()
    }

    /// The same, and adds lines to the log: requests that get one are answered one by one.
    #[cold]
    fn answer_and_log(&mut self, batch: &Batch<H::Lookup>) -> Option<(usize, Postponed)> {
        let (mut at, end) = (0, batch.parsed.len());
        while at < end {
            let passed = self.engine.log.as_mut().map_or(0, |log| log.pass_over(end - at));
            let next = at + passed.max(1);
            let start = self.mark();
            if let Some((count, why)) = self.answer_part(batch, at..next) {
                return Some((count + (end - next), why));
            }
            if passed == 0 {
                let parsed = &batch.parsed[at];
                let target = access_log::target(self.input, parsed.target_end);
                self.log_answer(start, Some((parsed.method, target)), self.iteration.now);
            }
            at = next;
        }
        None
    }

    /// How long the output is, before a response that is to be logged.
    fn mark(&mut self) -> (usize, usize) {
        (self.output.bytes().len(), self.output.payload_bytes())
    }

    /// Adds a line on the response from `start` on.
    fn log_answer(
        &mut self,
        start: (usize, usize),
        asked: Option<(Method, &[u8])>,
        since: Instant,
    ) {
        let Some(log) = &mut self.engine.log else { return };
        let payload_bytes = self.output.payload_bytes() - start.1;
        let answered = Answered { bytes: &self.output.bytes()[start.0..], payload_bytes };
        log.add(self.session.client.as_deref(), asked, since, answered);
    }

    /// What the log is to tell of a request that is answered later, if anything.
    fn note(&mut self, parsed: &ParsedRequest) -> Option<Box<Asked>> {
        if !self.engine.log.as_mut()?.takes_next() {
            return None;
        }
        let target = access_log::target(self.input, parsed.target_end).into();
        Some(Box::new(Asked { method: parsed.method, target, since: self.iteration.now }))
    }

    fn responses(&mut self, is_browser: bool) -> (&mut H, Responses<'_>) {
        let Self { engine, output, iteration, .. } = self;
        let Engine { handler, heads, counters, .. } = &mut **engine;
        (handler, Responses::new(output, heads.of(is_browser), counters, iteration.now))
    }

    /// Starts on a body that comes in pieces, behind the batch that was answered. `Close` if the
    /// request is answered already.
    ///
    /// Only a body that is of use is asked for. Apache Traffic Server 9.2 takes a 100 for leave to
    /// send once more what it has sent of the body, which here would be the next request.
    fn begin_body(&mut self, parsed: &ParsedRequest, batch: &Batch<H::Lookup>) -> Option<Flow> {
        let fields = parsed.fields;
        let Engine { handler, settings, .. } = &mut *self.engine;
        let begun = match parsed.refusal(self.session.checks_host) {
            Some(refusal) => Err(refusal),
            None => handler.begin(batch.source(self.input, self.session.class).request(parsed)),
        };
        let destination = begun.map_or_else(Destination::Refused, Destination::Handler);
        let (body_max, trailer_max) = (settings.body_bytes_max, settings.header_bytes_max);
        let mut body = Body::new(parsed, destination, body_max, trailer_max);
        body.asked = self.note(parsed);
        // Nobody waits to send no body.
        if fields.expects_continue && fields.framing != Framing::Length(0) {
            if parsed.method.takes_body() && !body.is_refused() {
                // Sent even if the body is there already, so that what a client receives does not
                // depend on how its bytes were split.
                self.output.bytes().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            } else if body.is_refused() || !body.ends_within(&self.input[self.consumed..]) {
                // Whether the client sends the body after a final answer can't be known.
                body.persistence = body.persistence.closing();
                return self.finish_body(Box::new(body));
            }
        }
        self.session.body = Some(Box::new(body));
        None
    }

    /// Goes on with the body under way, if there is one. `None` if the next request follows.
    fn continue_body(&mut self) -> Option<Flow> {
        let mut body = self.session.body.take()?;
        match body.take(&mut self.engine.handler, self.input, &mut self.consumed) {
            Ok(taken @ (Taken::Nothing | Taken::Some)) => {
                self.session.body = Some(body);
                Some(if taken == Taken::Some { Flow::More } else { Flow::Busy })
            }
            Ok(Taken::All) => {
                if self.is_last() {
                    body.persistence = body.persistence.closing();
                }
                self.finish_body(body)
            }
            Err(error) => Some(self.fail(error, Recipient::of(*body))),
        }
    }

    /// Answers a request whose body is complete, or won't be. `None` if the next request follows.
    fn finish_body(&mut self, mut body: Box<Body<H::Pending>>) -> Option<Flow> {
        let start = self.mark();
        let (handler, mut responses) = self.responses(body.is_browsers);
        match body.destination {
            Destination::Handler(pending) => {
                if let Some(pending) = handler.finish(pending, body.persistence, &mut responses) {
                    body.destination = Destination::Handler(pending);
                    body.has_ended();
                    self.session.body = Some(body);
                    return Some(Flow::Busy);
                }
            }
            Destination::Refused(refusal) => {
                responses.refuse(body.method, body.persistence, refusal);
            }
        }
        if let Some(asked) = &body.asked {
            self.log_answer(start, Some((asked.method, &asked.target)), asked.since);
        }
        self.answered += 1;
        body.persistence.closes().then_some(Flow::Close)
    }

    /// The answer to a request that can't be framed. The connection is closed after it.
    #[cold]
    pub(super) fn fail(&mut self, error: Error, recipient: Recipient) -> Flow {
        self.answered += 1;
        let start = self.mark();
        let (_, mut responses) = self.responses(recipient.is_browser);
        responses.refuse(recipient.method, Persistence::Close, error.into());
        match recipient.asked {
            Some(asked) => {
                self.log_answer(start, Some((asked.method, &asked.target)), asked.since);
            }
            None if recipient.is_unknown
                && self.engine.log.as_mut().is_some_and(|log| log.takes_next()) =>
            {
                self.log_answer(start, None, self.iteration.now);
            }
            None => {}
        }
        Flow::Close
    }
}

/// Where the first of the last `count` requests of a batch begins that itself begins at `start`.
fn start_of_last(parsed: &[ParsedRequest], count: usize, start: usize) -> usize {
    let before = parsed.len().checked_sub(count + 1).and_then(|last| parsed.get(last));
    before.map_or(start, |parsed| (parsed.body_at + parsed.body_len) as usize)
}
