//! The forms of the `/metrics` page: Prometheus' text format (version 0.0.4; Prometheus, "Exposition
//! formats") and OpenMetrics 1.0, for clients that ask for it.

use std::fmt::{Display, Write};

use crate::http::{Framing, Request};
use crate::net::Histogram;

/// A form of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format.
    Prometheus,
    /// OpenMetrics.
    OpenMetrics,
}

impl Format {
    /// What a client likes most: OpenMetrics only if it names that, and likes plain text no better. If the
    /// request has a body, the fields may be gone by the time that it is there, so that they don't count.
    pub(super) fn of(request: &Request<'_>) -> Self {
        if request.fields.framing != Framing::Length(0) {
            return Self::Prometheus;
        }
        let open = request.quality("application/openmetrics-text").filter(|range| range.is_exact);
        let plain = request.quality("text/plain").map_or(0, |range| range.thousandths);
        match open {
            Some(open) if open.thousandths > 0 && open.thousandths >= plain => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What the names of the server's own metrics begin with.
const OWN: &str = "corekv_";

/// What the names begin with that every process's metrics have (Prometheus, "Writing client
/// libraries").
pub(super) const PROCESS: &str = "process_";

/// A page under construction.
pub(super) struct Text {
    page: String,
    prefix: &'static str,
    format: Format,
}

impl Text {
    pub(super) fn new(format: Format) -> Self {
        Self { page: String::with_capacity(16 << 10), prefix: OWN, format }
    }

    /// The page, whole.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.page.push_str("# EOF\n");
        }
        self.page
    }

    /// What the names of the metrics that follow begin with.
    pub(super) fn set_prefix(&mut self, prefix: &'static str) {
        self.prefix = prefix;
    }

    /// Begins a metric, of which samples are to follow.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let prefix = self.prefix;
        // In OpenMetrics a counter has the suffix at its samples alone.
        let name = match (self.format, kind) {
            (Format::OpenMetrics, "counter") => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        self.line(format_args!("# HELP {prefix}{name} {help}"));
        self.line(format_args!("# TYPE {prefix}{name} {kind}"));
    }

    pub(super) fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let prefix = self.prefix;
        self.line(format_args!("{prefix}{name}{labels} {value}"));
    }

    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }

    pub(super) fn per_core(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        values: impl Iterator<Item = u64>,
    ) {
        self.family(name, kind, help);
        for (core, value) in values.enumerate() {
            self.sample(name, &format!("{{core=\"{core}\"}}"), value);
        }
    }

    /// One histogram of all cores, of values that come `per_unit` to the metric's unit; bucket i
    /// holds those up to 2^i.
    pub(super) fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        per_unit: f64,
        histograms: impl Iterator<Item = &'a Histogram> + Clone,
    ) {
        self.family(name, "histogram", help);
        let buckets = histograms.clone().map(Histogram::buckets).reduce(|mut sums, buckets| {
            sums.iter_mut().zip(buckets).for_each(|(sum, n)| *sum += n);
            sums
        });
        let buckets = buckets.unwrap_or_default();
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        for (i, n) in buckets[..buckets.len() - 1].iter().enumerate() {
            count += n;
            let bound = (1u64 << i) as f64 / per_unit;
            // OpenMetrics wants a bound to look like a floating-point number.
            let labels = match self.format {
                Format::OpenMetrics => format!("{{le=\"{bound:?}\"}}"),
                Format::Prometheus => format!("{{le=\"{bound}\"}}"),
            };
            self.sample(&bucket, &labels, count);
        }
        count += buckets[buckets.len() - 1];
        self.sample(&bucket, "{le=\"+Inf\"}", count);
        let sum: u64 = histograms.map(Histogram::sum).sum();
        self.sample(&format!("{name}_sum"), "", sum as f64 / per_unit);
        self.sample(&format!("{name}_count"), "", count);
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string can't fail.
        let _ = writeln!(self.page, "{line}");
    }
}
