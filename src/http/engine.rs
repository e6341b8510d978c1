//! What a protocol works with, whatever connection it is about.

use std::sync::Arc;

use super::access_log::AccessLog;
use super::batch::{Batch, BatchRules};
use super::counters::Counters;
use super::handler::Handler;
use super::head::HeadParser;
use super::heads::Heads;
use super::request::REQUESTS_PER_BATCH_MAX;
use super::session::Session;
use super::settings::Settings;
use crate::net::Iteration;

/// The handler, what parses its requests, and what its responses start with.
#[derive(Debug)]
pub(super) struct Engine<H> {
    pub(super) handler: H,
    parser: HeadParser,
    pub(super) heads: Heads,
    pub(super) settings: Settings,
    pub(super) counters: Arc<Counters>,
    /// `None`: no line is written of any response.
    pub(super) log: Option<Box<AccessLog>>,
}

impl<H: Handler> Engine<H> {
    /// One that counts in `counters`.
    pub(super) fn new(handler: H, settings: Settings, counters: Arc<Counters>) -> Self {
        Self {
            handler,
            parser: HeadParser::new(settings.header_bytes_max, settings.rules.clone()),
            heads: Heads::new(settings.date),
            settings,
            counters,
            log: None,
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
            key_parameters: settings.key_parameters,
        };
        batch.parse(parser, input, at, &mut session.scanned, rules, |request| {
            handler.look_up(request)
        });
    }
}
