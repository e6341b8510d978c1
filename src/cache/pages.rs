//! The pages behind the reserved names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Counters;
use super::names::Page;
use crate::http::{self, Request, Responses};
use crate::metrics;
use crate::net::{self, Payload};
use crate::store::Store;

const TEXT: &str = "text/plain";

/// The content type of the text format's version (Prometheus, "Exposition formats").
const METRICS: &str = "text/plain; version=0.0.4";

const ABOUT: &str = concat!(
    "corekv ",
    env!("CARGO_PKG_VERSION"),
    ", an in-memory key-value cache\n",
    "\n",
    "PUT|POST /KEY  store the body; Cache-Control: max-age=SECONDS limits its life\n",
    "GET|HEAD /KEY  read it\n",
    "DELETE /KEY    remove it\n",
    "GET /size      number of keys\n",
    "GET /metrics   counters for Prometheus\n",
    "GET /healthz   ok\n",
);

/// Times that an event loop renders the metrics within an [`INTERVAL`]; whoever asks more often is
/// shown the last of them. Rendering takes some hundred times as long as answering a GET.
const RENDERED_PER_INTERVAL_MAX: u32 = 32;

/// See [`RENDERED_PER_INTERVAL_MAX`]: no page that is shown is older.
const INTERVAL: Duration = Duration::from_millis(100);

/// The metrics as one event loop has rendered them last.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    page: Arc<[u8]>,
    interval_start: Option<Instant>,
    rendered: u32,
}

impl Snapshot {
    /// The page, rendered anew if that was not done too often lately.
    fn page(&mut self, now: Instant, render: impl FnOnce() -> String) -> Arc<[u8]> {
        let is_over = |start| now.saturating_duration_since(start) >= INTERVAL;
        if self.interval_start.is_none_or(is_over) {
            (self.interval_start, self.rendered) = (Some(now), 0);
        }
        if self.rendered < RENDERED_PER_INTERVAL_MAX {
            self.rendered += 1;
            self.page = render().into_bytes().into();
        }
        Arc::clone(&self.page)
    }
}

/// A page that responses share; it takes turns with the large values of others.
#[derive(Debug)]
struct SharedPage(Arc<[u8]>);

impl Payload for SharedPage {
    fn pieces<'a>(&'a self, from: usize, each: &mut dyn FnMut(&'a [u8]) -> bool) {
        each(&self.0[from..]);
    }
}

/// What the pages show: the store and the counters of all loops.
#[derive(Debug)]
pub struct Pages {
    /// The store.
    pub store: Arc<Store>,
    /// What each loop counts of its connections.
    pub net: Arc<[net::Counters]>,
    /// Connections that no loop had to do with.
    pub turned_away: Arc<net::Counter>,
    /// What each loop counts of its requests, and at the end who turns connections away.
    pub http: Vec<Arc<http::Counters>>,
    /// What each loop counts of its look-ups.
    pub cache: Vec<Arc<Counters>>,
}

impl Pages {
    /// Pages of a server whose loops count in `net`.
    #[must_use]
    pub fn new(store: Arc<Store>, net: Arc<[net::Counters]>) -> Self {
        let http = (0..=net.len()).map(|_| Arc::default()).collect();
        let cache = net.iter().map(|_| Arc::default()).collect();
        Self { store, net, turned_away: Arc::default(), http, cache }
    }

    #[cold]
    pub(super) fn show(
        &self,
        page: Page,
        metrics: &mut Snapshot,
        request: &Request<'_>,
        responses: &mut Responses<'_>,
    ) {
        match page {
            Page::About => responses.body(request, TEXT, ABOUT.as_bytes()),
            Page::Health => responses.body(request, TEXT, b"ok"),
            Page::Metrics => {
                let page = metrics.page(responses.now(), || metrics::render(self));
                let length = page.len();
                responses.shared_body(request, METRICS, Box::new(SharedPage(page)), length);
            }
            Page::Size => responses.body(request, TEXT, self.store.keys().to_string().as_bytes()),
        }
    }
}
