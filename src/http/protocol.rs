//! HTTP/1.1 as the service of an event loop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::access_log::{self, AccessLog};
use super::batch::Batch;
use super::body::Destination;
use super::counters::Counters;
use super::engine::Engine;
use super::error::Error;
use super::exchange::{Exchange, Recipient};
use super::handler::Handler;
use super::session::Session;
use super::settings::Settings;
use crate::net::{
    Class, Iteration, Output, Parsed, Prefetched, Progress, Received, Rejection, Service, Wait,
};

/// HTTP/1.1 with a handler behind it; one per event loop.
#[derive(Debug)]
pub struct Protocol<H> {
    engine: Engine<H>,
}

impl<H: Handler> Protocol<H> {
    /// A protocol that counts in `counters`.
    pub fn new(handler: H, settings: Settings, counters: Arc<Counters>) -> Self {
        Self { engine: Engine::new(handler, settings, counters) }
    }

    /// The same with a log that tells of responses.
    pub(crate) fn with_log(mut self, log: Option<AccessLog>) -> Self {
        self.engine.log = log.map(Box::new);
        self
    }
}

impl<H: Handler> Service for Protocol<H> {
    type Session = Session<H::Pending>;
    type Batch = Batch<H::Lookup>;

    fn open(&mut self, class: Class) -> Self::Session {
        let rules = &self.engine.settings.rules;
        let checks_host = rules.tokens.is_none() && rules.hosts.matter_to(class);
        Session { class, checks_host, scanned: 0, body: None, client: None }
    }

    fn meet(&mut self, session: &mut Self::Session, peer: &dyn Fn() -> Option<SocketAddr>) {
        if self.engine.log.is_some() {
            session.client = Some(access_log::client_name(peer()));
        }
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
            self.engine.parse_batch(session, batch, input, 0, iteration);
        }
        let requests = batch.parsed.len();
        received.parsed(requests)
    }

    fn prefetch<'a>(&mut self, mut parsed: Parsed<'a, Self::Batch>) -> Prefetched<'a, Self::Batch> {
        self.engine.handler.prefetch(&mut parsed.batch().lookups);
        parsed.prefetched()
    }

    fn answer(
        &mut self,
        session: &mut Self::Session,
        prefetched: Prefetched<'_, Self::Batch>,
        output: &mut Output,
        iteration: &Iteration,
    ) -> Progress {
        self.engine.heads.refresh(iteration.now);
        let (input, batch) = prefetched.into_parts();
        Exchange::new(&mut self.engine, session, input, output, iteration).run(batch)
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
        self.engine.handler.held_bytes(pending)
    }

    fn claimed_bytes(&self, session: &Self::Session) -> u64 {
        let Some(body) = &session.body else { return 0 };
        let Destination::Handler(pending) = &body.destination else { return 0 };
        self.engine.handler.claimed_bytes(pending)
    }

    fn was_busy(&mut self) -> bool {
        self.engine.handler.was_busy()
    }

    fn reject(&mut self, session: &mut Self::Session, why: Rejection, output: &mut Output) {
        let recipient = session.body.take().map_or(Recipient::UNKNOWN, |body| Recipient::of(*body));
        let error = match why {
            Rejection::ConnectionLimit => Error::TooManyConnections,
            Rejection::HeadTimeout => Error::HeadTimeout,
            Rejection::BodyTimeout => Error::BodyTimeout,
            Rejection::MemoryTimeout => Error::MemoryTimeout,
            Rejection::LongHead => Error::HeadersTooLargeNow,
            Rejection::MemoryLimit => Error::MemoryLimit,
        };
        let now = Instant::now();
        self.engine.heads.refresh(now);
        let iteration = Iteration { now, last: false, pressed: false };
        Exchange::new(&mut self.engine, session, &[], output, &iteration).fail(error, recipient);
    }

    fn maintain(&mut self, now: Instant) -> bool {
        if let Some(log) = &mut self.engine.log {
            log.hand_over();
        }
        self.engine.handler.maintain(now)
    }
}
