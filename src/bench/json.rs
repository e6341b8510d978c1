//! The results as JSON, for machines.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::error::Failure;
use super::report::all_latencies;
use super::summary::{Limit, Summary};

/// The JSON document, with a line feed at its end.
pub fn render(summary: &Summary) -> String {
    let recorder = &summary.recorder;
    let mut top = Map::new();
    let mut put = |key: &str, value: Value| top.insert(key.to_owned(), value);
    put("requests_per_second", rounded(summary.requests_per_second()));
    put("requests", json!(recorder.answered_total()));
    put("seconds", json!(summary.elapsed.as_micros() as f64 / 1e6));
    put("non_2xx", json!(summary.non_2xx()));
    put("lost", json!(recorder.lost));
    put("loss_checked", json!(summary.loss_checked));
    put("errors", json!(recorder.errors()));
    put("wrong_values", json!(recorder.violations.count));
    put("violations", json!(recorder.violations.examples));
    put("connection_errors", kinds(recorder.failures));
    put("reopened", json!(recorder.reopened));
    put("target", json!(summary.target));
    put("connections", json!(summary.connections));
    put("pipelining", json!(summary.pipelining));
    put("keys", json!(summary.keys));
    put("distribution", json!(summary.distribution));
    put("seed", json!(summary.seed));
    put("rate", json!(summary.rate));
    put("never_sent", json!(summary.behind));
    put("stopped_early", json!(summary.stopped_early));
    put("load_cpu_us_per_request", micros(summary.load_cpu_per_request()));
    put("server_cpu_us_per_request", micros(summary.server_cpu_per_request()));
    put("limit", json!(limit(summary.limit())));
    put("all", latency(&all_latencies(summary)));
    for (method, record, rates) in summary.methods() {
        let mut object = latency(&record.latency);
        object["requests"] = json!(record.answered);
        object["2xx"] = json!(record.ok);
        object["non_2xx"] = json!(record.non_2xx());
        object["bytes"] = json!(record.bytes);
        object["errors"] = json!(record.unanswered);
        object["timeouts"] = json!(record.timeouts);
        object["requests_per_second_min"] = json!(rates.requests.min());
        if method.is_read() {
            object["hits"] = json!(record.hits);
            object["misses"] = json!(record.misses);
        }
        put(method.key(), object);
    }
    // A tree of strings and finite numbers always has a text.
    serde_json::to_string_pretty(&Value::Object(top)).unwrap_or_default() + "\n"
}

fn latency(histogram: &Histogram<u64>) -> Value {
    let at = |percentile| us(histogram.value_at_percentile(percentile) as f64);
    json!({
        "mean_us": us(histogram.mean()),
        "stdev_us": us(histogram.stdev()),
        "p50_us": at(50.0),
        "p90_us": at(90.0),
        "p99_us": at(99.0),
        "p999_us": at(99.9),
        "p9999_us": at(99.99),
        "max_us": us(histogram.max() as f64),
    })
}

fn kinds(failures: [u64; Failure::ALL.len()]) -> Value {
    let counts = Failure::ALL.iter().zip(failures).map(|(kind, count)| (kind.key(), json!(count)));
    Value::Object(counts.map(|(key, count)| (key.to_owned(), count)).collect())
}

fn limit(limit: Limit) -> &'static str {
    match limit {
        Limit::LoadGenerator => "load_generator",
        Limit::Server => "server",
        Limit::Both => "both",
        Limit::Neither => "neither",
        Limit::NotLoadGenerator => "not_load_generator",
    }
}

/// Microseconds, to the nanosecond.
fn us(ns: f64) -> Value {
    json!(ns.round() / 1000.0)
}

fn micros(ns: Option<f64>) -> Value {
    ns.map_or(Value::Null, us)
}

fn rounded(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}
