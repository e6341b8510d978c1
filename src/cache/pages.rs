//! The pages behind the reserved names.

use std::sync::Arc;

use super::Counters;
use super::names::Page;
use crate::http::{self, Request, Responses};
use crate::metrics;
use crate::net;
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

    /// Live keys of all partitions.
    #[must_use]
    pub fn keys(&self) -> u64 {
        (0..self.store.partitions()).map(|i| self.store.statistics(i).keys).sum()
    }

    #[cold]
    pub(super) fn show(&self, page: Page, request: &Request<'_>, responses: &mut Responses<'_>) {
        match page {
            Page::About => responses.body(request, TEXT, ABOUT.as_bytes()),
            Page::Health => responses.body(request, TEXT, b"ok"),
            Page::Metrics => responses.body(request, METRICS, metrics::render(self).as_bytes()),
            Page::Size => responses.body(request, TEXT, self.keys().to_string().as_bytes()),
        }
    }
}
