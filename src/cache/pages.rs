//! The pages behind the reserved names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dashboard::{self, History};
use super::exposition::Format;
use super::metrics::Metrics;
use super::route::Page;
use super::snapshot_page;
use crate::http::{Method, Request, Responses, Status};
use crate::net::Payload;

const TEXT: &str = "text/plain";
const HTML: &str = "text/html; charset=utf-8";
pub(super) const JSON: &str = "application/json";

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
    "GET /dashboard the same, drawn\n",
    "GET /healthz   ok\n",
);

/// Times that an event loop renders the metrics in one format within an [`INTERVAL`]; whoever asks more often is
/// shown the last of them. Rendering takes some hundred times as long as answering a GET.
const RENDERED_PER_INTERVAL_MAX: u32 = 32;

/// See [`RENDERED_PER_INTERVAL_MAX`]: no page that is shown is older.
const INTERVAL: Duration = Duration::from_millis(100);

/// The pages as one event loop shows them.
#[derive(Debug)]
pub(super) struct Pages {
    metrics: Arc<Metrics>,
    /// In Prometheus' text format, and in OpenMetrics.
    rendered: [Rendered; 2],
    history: Arc<History>,
}

/// The metrics as one event loop has rendered them last.
#[derive(Debug, Default)]
struct Rendered {
    page: Arc<[u8]>,
    interval_start: Option<Instant>,
    times: u32,
}

impl Rendered {
    /// The page, rendered anew if that was not done too often lately.
    fn page(&mut self, now: Instant, render: impl FnOnce() -> String) -> Arc<[u8]> {
        let is_over = |start| now.saturating_duration_since(start) >= INTERVAL;
        if self.interval_start.is_none_or(is_over) {
            (self.interval_start, self.times) = (Some(now), 0);
        }
        if self.times < RENDERED_PER_INTERVAL_MAX {
            self.times += 1;
            self.page = render().into_bytes().into();
        }
        Arc::clone(&self.page)
    }
}

/// A page that responses share; it is sent by shares, as the large values of others are.
#[derive(Debug)]
struct SharedPage(Arc<[u8]>);

impl Payload for SharedPage {
    fn pieces<'a>(&'a self, from: usize, each: &mut dyn FnMut(&'a [u8]) -> bool) {
        each(&self.0[from..]);
    }
}

/// The dashboard's page, which is part of the program.
#[derive(Debug)]
struct StaticPage;

impl Payload for StaticPage {
    fn pieces<'a>(&'a self, from: usize, each: &mut dyn FnMut(&'a [u8]) -> bool) {
        each(&dashboard::PAGE.as_bytes()[from..]);
    }
}

/// Answers with a JSON document that responses share.
fn share(page: Arc<[u8]>, request: &Request<'_>, responses: &mut Responses<'_>) {
    let length = page.len();
    responses.shared_body(request, JSON, Box::new(SharedPage(page)), length);
}

impl Pages {
    /// Pages of a loop that has shown none yet.
    pub(super) fn new(metrics: Arc<Metrics>, history: Arc<History>) -> Self {
        Self { metrics, rendered: Default::default(), history }
    }

    /// Answers a request for a page.
    #[cold]
    pub(super) fn show(
        &mut self,
        page: Page,
        request: &Request<'_>,
        responses: &mut Responses<'_>,
    ) {
        match page {
            Page::About => responses.body(request, TEXT, ABOUT.as_bytes()),
            Page::Health => responses.body(request, TEXT, b"ok"),
            Page::Metrics => self.show_metrics(request, responses),
            Page::Dashboard => {
                let length = dashboard::PAGE.len();
                responses.own_page(request, HTML, dashboard::POLICY, Box::new(StaticPage), length);
            }
            Page::History => share(self.history.all(), request, responses),
            Page::Now => share(self.history.last(), request, responses),
            Page::TurborepoStatus => responses.body(request, JSON, br#"{"status":"enabled"}"#),
            Page::Snapshot => {
                snapshot_page::show(self.metrics.snapshot.as_deref(), request, responses);
            }
            Page::Size => {
                responses.body(request, TEXT, self.metrics.store.keys().to_string().as_bytes());
            }
        }
    }

    fn show_metrics(&mut self, request: &Request<'_>, responses: &mut Responses<'_>) {
        let format = Format::of(request);
        let rendered = &mut self.rendered[usize::from(format == Format::OpenMetrics)];
        let page = rendered.page(responses.now(), || self.metrics.render(format));
        let length = page.len();
        responses
            .head(request.method, request.fields.persistence, Status::Ok)
            .field("Content-Type", format.content_type().as_bytes())
            .field("Vary", b"Accept")
            .body(length);
        if request.method != Method::Head {
            responses.payload(Box::new(SharedPage(page)), length);
        }
    }
}
