//! HTTP/1.1 as the service of an event loop: a connection's state from request to request.

use std::sync::Arc;
use std::time::Instant;

use super::batch::{Batch, BatchRules};
use super::body::{Body, Destination};
use super::counters::Counters;
use super::error::Error;
use super::exchange::{Exchange, Recipient};
use super::handler::Handler;
use super::head::HeadParser;
use super::heads::Heads;
use super::request::REQUESTS_PER_BATCH_MAX;
use super::settings::Settings;
use crate::net::{
    Class, Iteration, Output, Parsed, Prefetched, Progress, Received, Rejection, Service, Wait,
};

/// HTTP/1.1 with a handler behind it; one per event loop.
#[derive(Debug)]
pub struct Protocol<H> {
    pub(super) handler: H,
    parser: HeadParser,
    pub(super) heads: Heads,
    pub(super) settings: Settings,
    pub(super) counters: Arc<Counters>,
}

/// What is remembered of a connection between two pieces of its input.
#[derive(Debug)]
pub struct Session<P> {
    pub(super) class: Class,
    /// Whether requests must address the server by a name of its own.
    pub(super) checks_host: bool,
    /// Bytes of an incomplete head that were searched for its end already.
    pub(super) scanned: usize,
    /// The request whose body is on its way.
    pub(super) body: Option<Box<Body<P>>>,
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

    /// Parses the batch that begins at `at`, and has the handler look its requests up.
    pub(super) fn parse_batch(
        &mut self,
        session: &mut Session<H::Pending>,
        batch: &mut Batch<H::Lookup>,
        input: &[u8],
        at: usize,
        iteration: &Iteration,
    ) {
        let Self { handler, parser, settings, .. } = self;
        let rules = BatchRules {
            class: session.class,
            requests_max: if iteration.pressed { 1 } else { REQUESTS_PER_BATCH_MAX },
            body_bytes_max: settings.body_bytes_max,
            checks_host: session.checks_host,
        };
        batch.parse(parser, input, at, &mut session.scanned, rules, |request| {
            handler.look_up(request)
        });
    }
}

impl<H: Handler> Service for Protocol<H> {
    type Session = Session<H::Pending>;
    type Batch = Batch<H::Lookup>;

    fn open(&mut self, class: Class) -> Self::Session {
        let checks_host = self.settings.tokens.is_none() && self.settings.hosts.matter_to(class);
        Session { class, checks_host, scanned: 0, body: None }
    }

    fn parse<'a>(
        &mut self,
        session: &mut Self::Session,
        mut received: Received<'a, Self::Batch>,
        iteration: &Iteration,
    ) -> Parsed<'a, Self::Batch> {
        let (input, batch) = received.parts();
        batch.clear();
        // A body that is under way comes first; where the next head is, it will tell.
        if session.body.is_none() {
            self.parse_batch(session, batch, input, 0, iteration);
        }
        let requests = batch.parsed.len();
        received.parsed(requests)
    }

    fn prefetch<'a>(&mut self, mut parsed: Parsed<'a, Self::Batch>) -> Prefetched<'a, Self::Batch> {
        self.handler.prefetch(&mut parsed.batch().lookups);
        parsed.prefetched()
    }

    fn answer(
        &mut self,
        session: &mut Self::Session,
        prefetched: Prefetched<'_, Self::Batch>,
        output: &mut Output,
        iteration: &Iteration,
    ) -> Progress {
        self.heads.refresh(iteration.now);
        let (input, batch) = prefetched.into_parts();
        Exchange::new(self, session, input, output, iteration).run(batch)
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
        let Destination::Handler(pending) = &body.destination else { return 0 };
        self.handler.held_bytes(pending)
    }

    fn was_busy(&mut self) -> bool {
        self.handler.was_busy()
    }

    fn reject(&mut self, session: &mut Self::Session, why: Rejection, output: &mut Output) {
        let recipient = session.body.take().map_or(Recipient::UNKNOWN, |body| Recipient::of(&body));
        let error = match why {
            Rejection::ConnectionLimit => Error::TooManyConnections,
            Rejection::HeadTimeout => Error::HeadTimeout,
            Rejection::BodyTimeout => Error::BodyTimeout,
            Rejection::MemoryTimeout => Error::MemoryTimeout,
            Rejection::LongHead => Error::HeadersTooLargeNow,
            Rejection::MemoryLimit => Error::MemoryLimit,
        };
        let now = Instant::now();
        self.heads.refresh(now);
        let iteration = Iteration { now, last: false, pressed: false };
        Exchange::new(self, session, &[], output, &iteration).fail(error, recipient);
    }

    fn maintain(&mut self, now: Instant) -> bool {
        self.handler.maintain(now)
    }
}
