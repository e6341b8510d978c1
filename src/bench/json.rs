//! The results as JSON, for machines.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::error::Failure;
use super::report::all_latencies;
use super::summary::{Limit, Summary};

/// An object under construction, a member per line.
#[derive(Debug)]
struct Object {
    text: String,
    indent: usize,
}

impl Object {
    fn new(indent: usize) -> Self {
        Self { text: String::new(), indent }
    }

    /// Adds a member whose value is JSON already: a number, `true`, `null`, an object.
    fn raw(&mut self, key: &str, value: &str) {
        let separator = if self.text.is_empty() { "" } else { "," };
        // Writing to a string can't fail.
        let _ = write!(self.text, "{separator}\n{:1$}\"{key}\": {value}", "", self.indent + 2);
    }

    fn count(&mut self, key: &str, value: u64) {
        self.raw(key, &value.to_string());
    }

    fn text(&mut self, key: &str, value: &str) {
        self.raw(key, &quoted(value));
    }

    /// A number with up to three decimals.
    fn number(&mut self, key: &str, value: f64) {
        self.raw(key, &format!("{:.3}", if value.is_finite() { value } else { 0.0 }));
    }

    /// Nanoseconds, as microseconds to the nanosecond.
    fn us(&mut self, key: &str, ns: f64) {
        self.number(key, ns / 1000.0);
    }

    fn finish(self) -> String {
        format!("{{{}\n{:2$}}}", self.text, "", self.indent)
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                out.push('\\');
                out.push(letter);
            }
            '\0'..' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// The JSON document, with a line feed at its end.
pub fn render(summary: &Summary) -> String {
    let mut top = Object::new(0);
    outcome(&mut top, summary);
    top.raw("all", &latency(Object::new(2), &all_latencies(summary)).finish());
    for (method, record, rates) in summary.methods() {
        let mut object = Object::new(2);
        object.count("requests", record.answered);
        object.count("2xx", record.ok);
        object.count("non_2xx", record.non_2xx());
        object.count("bytes", record.bytes);
        object.count("errors", record.unanswered);
        object.count("timeouts", record.timeouts);
        if method.is_read() {
            object.count("hits", record.hits);
            object.count("misses", record.misses);
        }
        object.count("requests_per_second_min", rates.requests.min());
        top.raw(method.key(), &latency(object, &record.latency).finish());
    }
    settings(&mut top, summary);
    top.finish() + "\n"
}

fn outcome(top: &mut Object, summary: &Summary) {
    let recorder = &summary.recorder;
    top.number("requests_per_second", summary.requests_per_second());
    top.count("requests", recorder.answered_total());
    top.raw("seconds", &format!("{:.6}", summary.elapsed.as_secs_f64()));
    top.count("non_2xx", summary.non_2xx());
    top.count("lost", recorder.lost);
    top.raw("loss_checked", if summary.loss_checked { "true" } else { "false" });
    top.count("errors", recorder.errors());
    let mut kinds = Object::new(2);
    for (kind, count) in Failure::ALL.iter().zip(recorder.failures) {
        kinds.count(kind.key(), count);
    }
    top.raw("connection_errors", &kinds.finish());
    top.count("reopened", recorder.reopened);
    top.count("wrong_values", recorder.violations.count);
    let examples: Vec<_> = recorder.violations.examples.iter().map(|text| quoted(text)).collect();
    top.raw("violations", &format!("[{}]", examples.join(", ")));
    top.count("never_sent", summary.behind);
    match summary.stopped_early {
        Some(reason) => top.text("stopped_early", reason),
        None => top.raw("stopped_early", "null"),
    }
    let costs = [
        ("load_cpu_us_per_request", summary.load_cpu_per_request()),
        ("server_cpu_us_per_request", summary.server_cpu_per_request()),
    ];
    for (key, cost) in costs {
        match cost {
            Some(ns) => top.us(key, ns),
            None => top.raw(key, "null"),
        }
    }
    top.text("limit", limit(summary.limit()));
}

fn settings(top: &mut Object, summary: &Summary) {
    top.text("target", &summary.target);
    top.count("connections", summary.connections as u64);
    top.count("pipelining", summary.pipelining as u64);
    top.count("keys", summary.keys);
    top.text("distribution", &summary.distribution);
    top.count("seed", summary.seed);
    match summary.rate {
        Some(rate) => top.number("rate", rate),
        None => top.raw("rate", "null"),
    }
}

fn latency(mut object: Object, histogram: &Histogram<u64>) -> Object {
    object.us("mean_us", histogram.mean());
    object.us("stdev_us", histogram.stdev());
    for (key, percentile) in [
        ("p50_us", 50.0),
        ("p90_us", 90.0),
        ("p99_us", 99.0),
        ("p999_us", 99.9),
        ("p9999_us", 99.99),
    ] {
        object.us(key, histogram.value_at_percentile(percentile) as f64);
    }
    object.us("max_us", histogram.max() as f64);
    object
}

fn limit(limit: Limit) -> &'static str {
    match limit {
        Limit::LoadGenerator => "load_generator",
        Limit::Server => "server",
        Limit::Both => "both",
        Limit::Neither => "neither",
        Limit::Rate => "rate",
        Limit::NotLoadGenerator => "not_load_generator",
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn strings_are_escaped() {
        assert_eq!(quoted("a\"b\\c\n\u{1}ü"), "\"a\\\"b\\\\c\\u000a\\u0001ü\"");
    }
}
