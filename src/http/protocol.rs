//! HTTP/1.1 as the service of an event loop: a connection's state from request to request.

use std::sync::Arc;

use super::access::Tokens;
use super::batch::{Batch, End, Limits};
use super::chunked::Chunked;
use super::counters::Counters;
use super::error::Error;
use super::fields::{Framing, Persistence};
use super::handler::{Handler, Refusal};
use super::head::{HeadParser, Parsed};
use super::hosts::Hosts;
use super::method::Method;
use super::request::{REQUESTS_PER_BATCH_MAX, Request, Requests};
use super::response::{Heads, OUTPUT_PAYLOAD_BYTES_MAX, Postponed, Responses};
use super::status::Status;
use crate::invalid::{Invalid, check_number};
use crate::net::{Class, Dismissal, Flow, Output, Progress, Service, Wait, Wake};

/// Output that a connection may pile up before its requests have to wait until it is sent. One
/// batch more can come on top.
const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// How HTTP is spoken.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Longest request head, in bytes, the request line included.
    pub header_bytes_max: usize,
    /// Longest body, in bytes.
    pub body_bytes_max: u64,
    /// Whether responses have a Date field.
    pub date: bool,
    /// Who may do what; everybody everything if there are no tokens.
    pub tokens: Option<Arc<Tokens>>,
    /// The names by which requests may address the server, if there are no tokens.
    pub hosts: Hosts,
}

/// Longest request head that can be allowed, in bytes: each event loop has a few buffers of that
/// size.
const HEADER_BYTES_MAX: usize = 1 << 20;

impl Settings {
    /// Checks the limits.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_number("header_bytes_max", self.header_bytes_max, 1..=HEADER_BYTES_MAX)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            header_bytes_max: 16 << 10,
            body_bytes_max: 32 << 20,
            date: true,
            tokens: None,
            hosts: Hosts::default(),
        }
    }
}

/// HTTP/1.1 with a handler behind it; one per event loop.
#[derive(Debug)]
pub struct Protocol<H> {
    handler: H,
    parser: HeadParser,
    heads: Heads,
    settings: Settings,
    counters: Arc<Counters>,
}

/// What is remembered of a connection between two pieces of its input.
#[derive(Debug)]
pub struct Session<U> {
    class: Class,
    /// Whether requests must address the server by a name of its own.
    checks_host: bool,
    /// Bytes of an incomplete head that were searched for its end already.
    scanned: usize,
    /// The request whose body is on its way.
    body: Option<Box<Body<U>>>,
}

#[derive(Debug)]
struct Body<U> {
    sink: Sink<U>,
    rest: Rest,
    method: Method,
    persistence: Persistence,
    is_browsers: bool,
}

/// Who gets an error that ends the connection: the sender of which request.
#[derive(Debug, Clone, Copy)]
struct Recipient {
    method: Method,
    is_browser: bool,
}

impl Recipient {
    /// That of a request whose head could not be read.
    const UNKNOWN: Self = Self { method: Method::Unknown, is_browser: false };

    fn of<U>(body: &Body<U>) -> Self {
        Self { method: body.method, is_browser: body.is_browsers }
    }
}

/// Where a body goes.
#[derive(Debug)]
enum Sink<U> {
    Upload(U),
    /// Nowhere; this is the answer when it has been read.
    Refused(Refusal),
}

/// What of a body is still to come.
#[derive(Debug)]
enum Rest {
    Bytes(u64),
    Chunks(Chunked),
}

impl Rest {
    /// Whether all of it is in `input`.
    fn ends_within(&self, input: &[u8]) -> bool {
        match self {
            Self::Bytes(n) => *n <= input.len() as u64,
            Self::Chunks(decoder) => {
                decoder.clone().decode(input, |_| {}).is_ok_and(|decoded| decoded.complete)
            }
        }
    }
}

impl<H: Handler> Protocol<H> {
    /// A protocol that counts in `counters`.
    pub fn new(handler: H, settings: Settings, counters: Arc<Counters>) -> Self {
        Self {
            handler,
            parser: HeadParser::new(
                settings.header_bytes_max,
                settings.tokens.clone(),
                settings.hosts.clone(),
            ),
            heads: Heads::new(settings.date),
            settings,
            counters,
        }
    }

    /// Parses the next batch, and has the handler start on it.
    fn parse(
        &mut self,
        session: &mut Session<H::Upload>,
        batch: &mut Batch<H::Batch>,
        input: &[u8],
        at: usize,
        wake: &Wake,
    ) {
        let Self { handler, parser, settings, .. } = self;
        let limits = Limits {
            requests_max: if wake.pressed { 1 } else { REQUESTS_PER_BATCH_MAX },
            body_bytes_max: settings.body_bytes_max,
            checks_host: session.checks_host,
        };
        let class = session.class;
        batch.parse(parser, input, at, &mut session.scanned, limits, |parsed, work| {
            handler.prepare(&Request::new(input, parsed, class), work);
        });
    }

    fn responses<'a>(
        (heads, to_browser): (&'a Heads, bool),
        counters: &'a Counters,
        output: &'a mut Output,
        wake: &Wake,
    ) -> Responses<'a> {
        let (heads, now) = (heads.of(to_browser), wake.now);
        Responses { postponed: None, output, heads, whole: heads.whole.as_ref(), counters, now }
    }

    /// Answers the batch that was parsed. How many requests at its end are postponed, and why.
    fn answer(
        &mut self,
        class: Class,
        batch: &mut Batch<H::Batch>,
        input: &[u8],
        output: &mut Output,
        wake: &Wake,
    ) -> Option<(usize, Postponed)> {
        if batch.parsed.is_empty() {
            return None;
        }
        let heads = (&self.heads, batch.sender.is_browser());
        let mut responses = Self::responses(heads, &self.counters, output, wake);
        let requests = Requests { input, parsed: &batch.parsed, class };
        self.handler.handle(requests, &mut batch.work, &mut responses);
        responses.postponed
    }

    /// Starts on a body that comes in pieces. False if the request is answered already, and the
    /// connection to be closed.
    ///
    /// Only a body that is of use is asked for. Apache Traffic Server 9.2 takes a 100 for leave to
    /// send once more what it has sent of the body, which here would be the next request.
    fn begin(
        &mut self,
        session: &mut Session<H::Upload>,
        input: &[u8],
        parsed: &Parsed,
        output: &mut Output,
        wake: &Wake,
    ) -> bool {
        let fields = parsed.fields;
        let (method, mut persistence) = (parsed.method, fields.persistence);
        let is_browsers = fields.sender.is_browser();
        let begun = match parsed.refusal(session.checks_host) {
            Some(refusal) => Err(refusal),
            None => self.handler.begin(Request::new(input, parsed, session.class)),
        };
        let sink = begun.map_or_else(Sink::Refused, Sink::Upload);
        let rest = match fields.framing {
            Framing::Length(n) => Rest::Bytes(n),
            Framing::Chunked => Rest::Chunks(Chunked::new(
                self.settings.body_bytes_max,
                self.settings.header_bytes_max,
            )),
        };
        let mut at_once = false;
        // Nobody waits to send no body.
        if fields.expects_continue && fields.framing != Framing::Length(0) {
            let is_refused = matches!(sink, Sink::Refused(_));
            if method.takes_body() && !is_refused {
                // Sent even if the body is there already, so that what a client receives does not
                // depend on how its bytes were split.
                output.bytes().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            } else {
                // Whether the client sends the body after a final answer can't be known.
                at_once = is_refused || !rest.ends_within(&input[parsed.body_at as usize..]);
            }
        }
        if at_once {
            persistence = closing(persistence);
        }
        let body = Body { sink, rest, method, persistence, is_browsers };
        if at_once {
            self.finish(body, output, wake);
        } else {
            session.body = Some(Box::new(body));
        }
        !at_once
    }

    /// Takes what there is of the body under way. Whether it is complete, or has to wait.
    fn take_body(
        &mut self,
        body: &mut Body<H::Upload>,
        input: &[u8],
        at: &mut usize,
    ) -> Result<Taken, Error> {
        let Body { sink, rest, .. } = body;
        let handler = &mut self.handler;
        if let Sink::Upload(upload) = sink
            && !handler.admit(upload, rest.bytes_in(&input[*at..]))
        {
            return Ok(Taken::Nothing);
        }
        let mut append = |bytes: &[u8]| {
            if let Sink::Upload(upload) = sink
                && let Err(refusal) = handler.append(upload, bytes)
            {
                *sink = Sink::Refused(refusal);
            }
        };
        match rest {
            Rest::Bytes(left) => {
                let n = (*left).min((input.len() - *at) as u64) as usize;
                append(&input[*at..*at + n]);
                *at += n;
                *left -= n as u64;
                Ok(if *left == 0 { Taken::All } else { Taken::Some })
            }
            Rest::Chunks(decoder) => {
                let decoded = decoder.decode(&input[*at..], append)?;
                *at += decoded.consumed;
                Ok(if decoded.complete { Taken::All } else { Taken::Some })
            }
        }
    }

    fn finish(&mut self, body: Body<H::Upload>, output: &mut Output, wake: &Wake) {
        let heads = (&self.heads, body.is_browsers);
        let mut responses = Self::responses(heads, &self.counters, output, wake);
        match body.sink {
            Sink::Upload(upload) => self.handler.finish(upload, body.persistence, &mut responses),
            Sink::Refused(refusal) => {
                responses.refuse(body.method, body.persistence, refusal);
            }
        }
    }

    /// The answer to a request that can't be framed. The connection is closed after it.
    #[cold]
    fn fail(&mut self, error: Error, recipient: Recipient, output: &mut Output, wake: &Wake) {
        let heads = (&self.heads, recipient.is_browser);
        let mut responses = Self::responses(heads, &self.counters, output, wake);
        let mut refusal = Refusal::new(error.status(), error.reason());
        if refusal.status == Status::ServiceUnavailable {
            refusal.field = Some(("Retry-After", "1"));
        }
        responses.refuse(recipient.method, Persistence::Close, refusal);
    }

    /// Goes on with the body under way. `None` if it is complete and the connection goes on.
    fn continue_body(
        &mut self,
        session: &mut Session<H::Upload>,
        mut body: Box<Body<H::Upload>>,
        input: &[u8],
        at: &mut usize,
        output: &mut Output,
        wake: &Wake,
    ) -> Option<Flow> {
        match self.take_body(&mut body, input, at) {
            Ok(taken @ (Taken::Nothing | Taken::Some)) => {
                session.body = Some(body);
                Some(if taken == Taken::Some { Flow::More } else { Flow::Busy })
            }
            Ok(Taken::All) => {
                if wake.last && *at == input.len() {
                    body.persistence = closing(body.persistence);
                }
                let closes = body.persistence.closes();
                self.finish(*body, output, wake);
                closes.then_some(Flow::Close)
            }
            Err(error) => {
                self.fail(error, Recipient::of(&body), output, wake);
                Some(Flow::Close)
            }
        }
    }
}

/// What of a body was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// Nothing, since it has to wait.
    Nothing,
    Some,
    All,
}

impl Rest {
    /// How many bytes of the body the input has at most.
    fn bytes_in(&self, input: &[u8]) -> usize {
        match self {
            Self::Bytes(left) => (*left).min(input.len() as u64) as usize,
            Self::Chunks(_) => input.len(),
        }
    }
}

/// Where the first of the last `count` requests of a batch begins that itself begins at `start`.
fn start_of_last(parsed: &[Parsed], count: usize, start: usize) -> usize {
    let before = parsed.len().checked_sub(count + 1).and_then(|last| parsed.get(last));
    before.map_or(start, |parsed| (parsed.body_at + parsed.body_len) as usize)
}

/// The same persistence on a connection that closes after all.
fn closing(persistence: Persistence) -> Persistence {
    match persistence {
        Persistence::Default | Persistence::Close => Persistence::Close,
        Persistence::KeepAlive | Persistence::OldClose => Persistence::OldClose,
    }
}

impl<H: Handler> Service for Protocol<H> {
    type Session = Session<H::Upload>;
    type Batch = Batch<H::Batch>;

    fn open(&mut self, class: Class) -> Self::Session {
        let checks_host = self.settings.tokens.is_none() && self.settings.hosts.matter_to(class);
        Session { class, checks_host, scanned: 0, body: None }
    }

    fn prepare(
        &mut self,
        session: &mut Self::Session,
        batch: &mut Self::Batch,
        input: &[u8],
        wake: &Wake,
    ) -> usize {
        if session.body.is_some() {
            return 0;
        }
        self.parse(session, batch, input, 0, wake);
        batch.parsed.len()
    }

    fn prefetch(&mut self, batch: &mut Self::Batch) {
        if batch.end.is_some() {
            self.handler.prefetch(&mut batch.work);
        }
    }

    fn receive(
        &mut self,
        session: &mut Self::Session,
        batch: &mut Self::Batch,
        input: &[u8],
        output: &mut Output,
        wake: &Wake,
    ) -> Progress {
        self.heads.refresh(wake.now);
        let output_max = if wake.pressed { 1 } else { OUTPUT_BYTES_MAX };
        let mut at = 0;
        let mut answered = 0;
        let flow = loop {
            if output.len() >= output_max || output.payload_bytes() >= OUTPUT_PAYLOAD_BYTES_MAX {
                break Flow::Full;
            }
            if let Some(body) = session.body.take() {
                match self.continue_body(session, body, input, &mut at, output, wake) {
                    Some(flow @ (Flow::More | Flow::Busy)) => break flow,
                    ended => {
                        answered += 1;
                        if let Some(flow) = ended {
                            break flow;
                        }
                    }
                }
            }
            if batch.end.is_none() {
                self.parse(session, batch, input, at, wake);
                self.prefetch(batch);
            }
            let Some((mut end, end_at)) = batch.end.take() else { break Flow::More };
            let start = std::mem::replace(&mut at, end_at);
            if let (End::Input | End::Batch, true, [.., parsed]) =
                (&end, wake.last && at == input.len(), &mut batch.parsed[..])
            {
                parsed.fields.persistence = closing(parsed.fields.persistence);
                end = End::Close;
            }
            answered += batch.parsed.len();
            if let Some((count, why)) = self.answer(session.class, batch, input, output, wake) {
                answered -= count;
                at = start_of_last(&batch.parsed, count, start);
                session.scanned = 0;
                break if why == Postponed::Full { Flow::Full } else { Flow::Busy };
            }
            match end {
                End::Batch => {}
                End::Input => break Flow::More,
                End::Close => break Flow::Close,
                End::Body(parsed) => {
                    if !self.begin(session, input, &parsed, output, wake) {
                        answered += 1;
                        break Flow::Close;
                    }
                }
                End::TooLarge(parsed) => {
                    answered += 1;
                    let (method, is_browser) = (parsed.method, parsed.fields.sender.is_browser());
                    let recipient = Recipient { method, is_browser };
                    self.fail(Error::BodyTooLarge, recipient, output, wake);
                    break Flow::Close;
                }
                End::Error(error) => {
                    answered += 1;
                    self.fail(error, Recipient::UNKNOWN, output, wake);
                    break Flow::Close;
                }
            }
        };
        Progress { consumed: at, answered, flow }
    }

    fn waits_for(&self, session: &Self::Session, buffered: bool) -> Wait {
        match (&session.body, buffered) {
            (Some(_), _) => Wait::Body,
            (None, true) => Wait::Head,
            (None, false) => Wait::Idle,
        }
    }

    fn held_bytes(&self, session: &Self::Session) -> usize {
        let Some(body) = &session.body else { return 0 };
        let Sink::Upload(upload) = &body.sink else { return 0 };
        self.handler.held_bytes(upload)
    }

    fn is_busy(&mut self) -> bool {
        self.handler.is_busy()
    }

    fn dismiss(&mut self, session: &mut Self::Session, why: Dismissal, output: &mut Output) {
        let recipient = session.body.take().map_or(Recipient::UNKNOWN, |body| Recipient::of(&body));
        let error = match why {
            Dismissal::Refused => Error::TooManyConnections,
            Dismissal::HeadTimeout => Error::HeadTimeout,
            Dismissal::BodyTimeout => Error::BodyTimeout,
            Dismissal::TurnTimeout => Error::TurnTimeout,
            Dismissal::LongHead => Error::HeadersTooLargeNow,
            Dismissal::Pressure => Error::Pressure,
        };
        let now = std::time::Instant::now();
        self.heads.refresh(now);
        self.fail(error, recipient, output, &Wake { now, last: false, pressed: false });
    }

    fn turn(&mut self, wake: &Wake) -> bool {
        self.handler.turn(wake.now)
    }
}
