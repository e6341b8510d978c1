//! The results as JSON, for machines. Times are microseconds unless a name says otherwise, and
//! what there is no sample of is null.

use std::time::UNIX_EPOCH;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::error::Failure;
use super::method::Method;
use super::recorder::MethodRecord;
use super::series::{Point, Rates};
use super::summary::{Limit, LoadThread, Probed, Summary};

/// The version of the document. It changes when a member goes or gets another meaning.
pub const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    version: &'static str,
    started_unix_s: f64,
    requests_per_second: f64,
    requests: u64,
    seconds: f64,
    non_2xx: u64,
    statuses: Vec<Status>,
    lost: u64,
    loss_checked: bool,
    errors: u64,
    connection_errors: Object,
    reopened: u64,
    wrong_values: u64,
    violations: &'a [String],
    never_sent: u64,
    stopped_early: Option<&'static str>,
    disturbed: bool,
    load_cpu_us_per_request: Option<f64>,
    server_cpu_us_per_request: Option<f64>,
    limit: &'static str,
    littles_law_mean_us: Option<f64>,
    connect: Connect<'a>,
    probe: Option<Probe>,
    all: Latency,
    #[serde(flatten)]
    methods: Object,
    load_threads: Vec<Thread>,
    server_threads: Option<Vec<Thread>>,
    server_evicted: Option<u64>,
    server_expired: Option<u64>,
    series: Vec<Second>,
    #[serde(flatten)]
    settings: Settings<'a>,
}

/// Members whose names are data.
type Object = serde_json::Map<String, serde_json::Value>;

#[derive(Serialize)]
struct Status {
    status: u16,
    count: u64,
}

#[derive(Serialize)]
struct Connect<'a> {
    opened: usize,
    seconds: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    max_us: Option<f64>,
    tls: Option<&'a str>,
    tls_p50_us: Option<f64>,
    tls_p99_us: Option<f64>,
    tls_max_us: Option<f64>,
}

#[derive(Serialize)]
struct Probe {
    rate: f64,
    requests: u64,
    errors: u64,
    never_sent: u64,
    waited_seconds: f64,
    #[serde(flatten)]
    latency: Latency,
}

#[derive(Serialize)]
struct Latency {
    mean_us: Option<f64>,
    stdev_us: Option<f64>,
    p50_us: Option<f64>,
    p90_us: Option<f64>,
    p95_us: Option<f64>,
    p99_us: Option<f64>,
    p999_us: Option<f64>,
    p9999_us: Option<f64>,
    max_us: Option<f64>,
}

#[derive(Serialize)]
struct OfMethod {
    requests: u64,
    ok: u64,
    non_2xx: u64,
    bytes: u64,
    errors: u64,
    timeouts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    hits: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    misses: Option<u64>,
    requests_per_second_min: u64,
    #[serde(flatten)]
    latency: Latency,
}

#[derive(Serialize)]
struct Thread {
    name: String,
    core: Option<usize>,
    requests: Option<u64>,
    cpu_seconds: f64,
    busy: f64,
    waited: f64,
}

#[derive(Serialize)]
struct Second {
    end_s: f64,
    seconds: f64,
    requests_per_second: f64,
    bytes_per_second: f64,
    errors: u64,
    p50_us: Option<f64>,
    p90_us: Option<f64>,
    p99_us: Option<f64>,
    p999_us: Option<f64>,
    max_us: Option<f64>,
    load_cores: f64,
    server_cores: Option<f64>,
}

#[derive(Serialize)]
struct Settings<'a> {
    target: &'a str,
    connections: usize,
    pipelining: usize,
    connection_requests: Option<u64>,
    threads: usize,
    planned: &'a str,
    warmup_seconds: f64,
    keys: u64,
    distribution: String,
    mix: Object,
    read_through: bool,
    value_bytes: String,
    path: Option<&'a str>,
    request_file: Option<String>,
    request_order: Option<&'static str>,
    verified: bool,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<&'a str>,
    rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ramp: Option<[f64; 2]>,
}

/// The JSON document, with a line feed at its end.
pub fn render(summary: &Summary) -> String {
    let document = document(summary);
    // Every member is a number, a string or a list of such.
    serde_json::to_string_pretty(&document).expect("plain data") + "\n"
}

/// The document as a member of another one.
pub(super) fn value(summary: &Summary) -> serde_json::Value {
    // Every member is a number, a string or a list of such.
    serde_json::to_value(document(summary)).expect("plain data")
}

fn document(summary: &Summary) -> Document<'_> {
    let recorder = &summary.recorder;
    let removed = summary.server.as_ref().and_then(|server| server.removed);
    let statuses = recorder.all_statuses().into_iter();
    let failures = Failure::ALL.iter().zip(recorder.failures);
    let threads = summary.load.iter().enumerate();
    Document {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        started_unix_s: summary
            .started
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| rounded(since.as_secs_f64())),
        requests_per_second: rounded(summary.requests_per_second()),
        requests: recorder.answered_total(),
        seconds: summary.elapsed.as_secs_f64(),
        non_2xx: summary.non_2xx(),
        statuses: statuses.map(|(status, count)| Status { status, count }).collect(),
        lost: recorder.lost,
        loss_checked: summary.loss_checked,
        errors: recorder.errors(),
        connection_errors: failures
            .map(|(kind, count)| (kind.key().to_owned(), count.into()))
            .collect(),
        reopened: recorder.reopened,
        wrong_values: recorder.violations.count,
        violations: &recorder.violations.examples,
        never_sent: summary.behind,
        stopped_early: summary.stopped_early,
        disturbed: summary.disturbed().is_some(),
        load_cpu_us_per_request: summary.load_cpu_per_request().map(us),
        server_cpu_us_per_request: summary.server_cpu_per_request().map(us),
        limit: limit(summary.limit()),
        littles_law_mean_us: summary.mean_by_littles_law().map(us),
        connect: connect(summary),
        probe: probe(summary),
        all: latency(&summary.latencies()),
        methods: methods(summary),
        load_threads: threads.map(|(index, thread)| load_thread(index, thread)).collect(),
        server_threads: server_threads(summary),
        server_evicted: removed.map(|removed| removed.evicted),
        server_expired: removed.map(|removed| removed.expired),
        series: summary.series.iter().map(second).collect(),
        settings: settings(summary),
    }
}

fn connect(summary: &Summary) -> Connect<'_> {
    let connects = &summary.recorder.connects.0;
    let handshakes = &summary.recorder.handshakes.0;
    Connect {
        opened: summary.opening.opened,
        seconds: summary.opening.elapsed.as_secs_f64(),
        p50_us: percentile(connects, 50.0),
        p99_us: percentile(connects, 99.0),
        max_us: (!connects.is_empty()).then(|| us(connects.max() as f64)),
        tls: summary.tls.as_deref(),
        tls_p50_us: percentile(handshakes, 50.0),
        tls_p99_us: percentile(handshakes, 99.0),
        tls_max_us: (!handshakes.is_empty()).then(|| us(handshakes.max() as f64)),
    }
}

fn probe(summary: &Summary) -> Option<Probe> {
    let Probed { rate, latency: recorded, errors, behind, waited_ns } = summary.probe.as_ref()?;
    Some(Probe {
        rate: *rate,
        requests: recorded.len(),
        errors: *errors,
        never_sent: *behind,
        waited_seconds: *waited_ns as f64 / 1e9,
        latency: latency(recorded),
    })
}

/// The latencies in a histogram, as a document of another kind has them.
pub(super) fn latency_value(histogram: &Histogram<u64>) -> serde_json::Value {
    // Every member is a number.
    serde_json::to_value(latency(histogram)).expect("plain data")
}

fn methods(summary: &Summary) -> Object {
    let members = summary.methods().map(|(method, record, rates)| {
        // Every member is a number.
        let value = serde_json::to_value(of_method(method, record, rates)).expect("plain data");
        (method.key().to_owned(), value)
    });
    members.collect()
}

fn of_method(method: Method, record: &MethodRecord, rates: &Rates) -> OfMethod {
    OfMethod {
        requests: record.answered,
        ok: record.ok(),
        non_2xx: record.non_2xx(),
        bytes: record.bytes,
        errors: record.unanswered,
        timeouts: record.timeouts,
        hits: method.is_read().then_some(record.hits),
        misses: method.is_read().then_some(record.misses),
        requests_per_second_min: rates.requests.min(),
        latency: latency(&record.latency),
    }
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    let some = |ns: f64| (!histogram.is_empty()).then(|| us(ns));
    Latency {
        mean_us: some(histogram.mean()),
        stdev_us: some(histogram.stdev()),
        p50_us: percentile(histogram, 50.0),
        p90_us: percentile(histogram, 90.0),
        p95_us: percentile(histogram, 95.0),
        p99_us: percentile(histogram, 99.0),
        p999_us: percentile(histogram, 99.9),
        p9999_us: percentile(histogram, 99.99),
        max_us: some(histogram.max() as f64),
    }
}

fn percentile(histogram: &Histogram<u64>, percent: f64) -> Option<f64> {
    (!histogram.is_empty()).then(|| us(histogram.value_at_percentile(percent) as f64))
}

fn load_thread(index: usize, thread: &LoadThread) -> Thread {
    let &LoadThread { core, answered, cpu_ns, busy, waited } = thread;
    Thread {
        name: format!("load-{index}"),
        core,
        requests: Some(answered),
        cpu_seconds: cpu_ns as f64 / 1e9,
        busy: rounded(busy),
        waited: rounded(waited),
    }
}

fn server_threads(summary: &Summary) -> Option<Vec<Thread>> {
    let server = summary.server.as_ref()?;
    let elapsed_ns = summary.elapsed.as_nanos() as u64;
    let threads = server.threads.iter().map(|thread| Thread {
        name: thread.name.clone(),
        core: None,
        requests: server.requests_of(thread),
        cpu_seconds: thread.usage.cpu_ns as f64 / 1e9,
        busy: rounded(thread.usage.busy(elapsed_ns)),
        waited: rounded(thread.usage.waited_ns as f64 / elapsed_ns.max(1) as f64),
    });
    Some(threads.collect())
}

fn second(point: &Point) -> Second {
    let Point { at, length, counts, latency } = point;
    let seconds = length.as_secs_f64();
    let bytes: u64 = counts.bytes.iter().sum();
    Second {
        end_s: rounded(at.as_secs_f64()),
        seconds: rounded(seconds),
        requests_per_second: rounded(point.rate()),
        bytes_per_second: rounded(bytes as f64 / seconds),
        errors: counts.errors,
        p50_us: latency.map(|tail| us(tail.p50 as f64)),
        p90_us: latency.map(|tail| us(tail.p90 as f64)),
        p99_us: latency.map(|tail| us(tail.p99 as f64)),
        p999_us: latency.map(|tail| us(tail.p999 as f64)),
        max_us: latency.map(|tail| us(tail.max as f64)),
        load_cores: rounded(point.load_cores()),
        server_cores: point.server_cores().map(rounded),
    }
}

fn settings(summary: &Summary) -> Settings<'_> {
    let workload = &summary.workload;
    let mix = workload.mix.operations();
    Settings {
        target: &summary.target,
        connections: summary.connections,
        pipelining: summary.pipelining,
        connection_requests: summary.connection_requests,
        threads: summary.load.len(),
        planned: &summary.planned,
        warmup_seconds: summary.warmup.as_secs_f64(),
        keys: workload.keys,
        distribution: workload.distribution.to_string(),
        mix: mix.map(|(one, share)| (one.key().to_owned(), rounded(share).into())).collect(),
        read_through: workload.read_through,
        value_bytes: workload.values.to_string(),
        path: summary.request_file.is_none().then_some(&summary.path),
        request_file: summary.request_file.as_ref().map(|file| file.path.display().to_string()),
        request_order: summary.request_file.as_ref().map(|file| file.order.key()),
        verified: summary.verified,
        seed: workload.seed,
        trace: summary.trace.as_deref(),
        rate: summary.constant_rate(),
        ramp: summary.ramp_ends(),
    }
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

/// Nanoseconds as microseconds, to the nanosecond.
fn us(ns: f64) -> f64 {
    rounded(ns / 1000.0)
}

/// Three decimals are enough of everything.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
