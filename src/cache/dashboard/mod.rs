//! The dashboard: a page that draws what the server counts, and the last ten minutes of it.
//!
//! ```text
//!   a thread of its own    once a second: Sampler::sample -> Sample -> History
//!   /dashboard             the page, made when the program is built; it loads nothing but
//!   /dashboard/history     all samples, so that a reload does not start empty
//!   /dashboard/now         the last one, once a second
//! ```
//!
//! The event loops have no part in it but to send what is rendered already. The plots are drawn by
//! uPlot (MIT, see `uplot.LICENSE`), which is part of the page.

mod history;
mod sample;

pub use history::{History, Recorder};

/// The page, whole.
pub(super) const PAGE: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    "<title>corekv</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n",
    include_str!("uplot.min.css"),
    include_str!("page.css"),
    "</style>\n</head>\n<body>\n",
    include_str!("body.html"),
    "<script>\n",
    include_str!("uplot.min.js"),
    "</script>\n<script>\n",
    include_str!("page.js"),
    "</script>\n</body>\n</html>\n",
);

/// What the page may do (Content Security Policy): run its own script, and ask this server. It may
/// not be shown within another page.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; \
     style-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";
