//! What a server counts, and the `/metrics` page, which has every counter.
//!
//! A metric of a loop is a member of the counters of its module, and a row here; one of the store
//! is a member of its [`Statistics`].

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::counters::Counters;
use super::exposition::{Format, PROCESS, Text};
use super::namespaces::Namespaces;
use crate::http::{self, Method, Status};
use crate::line_log::LogCounters;
use crate::net::{self, Counter};
use crate::process::Process;
use crate::snapshot::{Saver, Status as SnapshotStatus};
use crate::store::{NamespaceStatistics, Statistics, Store};

/// What a server counts: the store, and each event loop. Counters of different loops may be some
/// requests apart.
#[derive(Debug)]
pub struct Metrics {
    /// The store.
    pub store: Arc<Store>,
    /// What each loop counts of its connections.
    pub net: Arc<[net::Counters]>,
    /// Connections rejected before any loop had to do with them.
    pub turned_away: Arc<Counter>,
    /// What each loop counts of its requests.
    pub http: Vec<Arc<http::Counters>>,
    /// What each loop counts of its look-ups.
    pub cache: Vec<Arc<Counters>>,
    /// The namespaces that are counted by themselves.
    pub namespaces: Namespaces,
    /// Limit on the store's memory, in bytes; 0 if it is not known.
    pub memory_bytes_max: u64,
    /// Connections that may be open; 0 if that is not known.
    pub connections_max: usize,
    /// What the access log counts.
    pub(crate) access_log: Arc<LogCounters>,
    /// What writes snapshots, if anything does.
    pub snapshot: Option<Arc<Saver>>,
}

impl Metrics {
    /// Those of a server whose loops count in `net`.
    #[must_use]
    pub fn new(store: Arc<Store>, net: Arc<[net::Counters]>) -> Self {
        Self::with_namespaces(store, net, Namespaces::default())
    }

    /// Those of a server whose loops count in `net`, and whose store counts these namespaces.
    #[must_use]
    pub fn with_namespaces(
        store: Arc<Store>,
        net: Arc<[net::Counters]>,
        namespaces: Namespaces,
    ) -> Self {
        let http = net.iter().map(|_| Arc::default()).collect();
        let cache = net.iter().map(|_| Arc::new(Counters::new(namespaces.len()))).collect();
        let access_log = Arc::new(LogCounters::new(net.len()));
        Self {
            store,
            net,
            turned_away: Arc::default(),
            http,
            cache,
            namespaces,
            memory_bytes_max: 0,
            connections_max: 0,
            access_log,
            snapshot: None,
        }
    }

    /// Requests that each event loop has answered.
    #[must_use]
    pub fn requests(&self) -> Vec<u64> {
        self.net.iter().map(|counters| counters.batch_messages.sum()).collect()
    }

    /// What each partition of the store counts.
    #[must_use]
    pub fn statistics(&self) -> Vec<Statistics> {
        (0..self.store.partitions()).map(|i| self.store.statistics(i)).collect()
    }

    /// Renders the `/metrics` page.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        let mut text = Text::new(format);
        text.family("build_info", "gauge", "Always 1; the version is in the label.");
        text.sample("build_info", concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1);
        requests(&mut text, self);
        store(&mut text, self);
        namespaces(&mut text, self);
        connections(&mut text, self);
        access_log(&mut text, &self.access_log);
        if let Some(saver) = &self.snapshot {
            snapshot(&mut text, saver.status());
        }
        process(&mut text, &Process::now());
        text.finish()
    }
}

fn requests(text: &mut Text, metrics: &Metrics) {
    text.family("requests_total", "counter", "Requests answered, by method and status class.");
    let loops = metrics.http.iter().map(|counters| counters.responses().collect::<Vec<_>>());
    let sums = loops.reduce(|mut sums, counts| {
        sums.iter_mut().zip(counts).for_each(|(sum, (_, _, n))| sum.2 += n);
        sums
    });
    for (method, class, mut n) in sums.unwrap_or_default() {
        // The acceptor's rejections are counted by no loop.
        if (method, class) == (Method::Unknown.label(), Status::ServiceUnavailable.class()) {
            n += metrics.turned_away.get();
        }
        // Combinations that never occurred would be most of the page; but the rate of a counter that
        // is not there before it counts misses its first.
        let is_usual = matches!(method, "GET" | "POST" | "PUT" | "DELETE");
        if n > 0 || (is_usual && matches!(class, 2 | 5)) {
            let labels = format!("{{method=\"{method}\",status=\"{class}xx\"}}");
            text.sample("requests_total", &labels, n);
        }
    }
    let hits: u64 = metrics.cache.iter().map(|counters| counters.hits.get()).sum();
    text.single("hits_total", "counter", "GET and HEAD requests that found their key.", hits);
    let misses: u64 = metrics.cache.iter().map(|counters| counters.misses.get()).sum();
    text.single("misses_total", "counter", "GET and HEAD requests that did not.", misses);
}

fn store(text: &mut Text, metrics: &Metrics) {
    let partitions = metrics.statistics();
    let sum = |field: fn(&Statistics) -> u64| partitions.iter().map(field).sum::<u64>();
    text.single("keys", "gauge", "Keys stored.", sum(|s| s.keys));
    text.single("stored_bytes", "gauge", "Memory in use of --memory.", sum(|s| s.bytes));
    text.single("memory_limit_bytes", "gauge", "The limit, --memory.", metrics.memory_bytes_max);
    text.single(
        "pinned_bytes",
        "gauge",
        "Memory of large values that are being sent, which eviction can't free.",
        metrics.store.pinned_bytes(),
    );
    text.single(
        "upload_bytes",
        "gauge",
        "Memory in use for large values that are being received.",
        metrics.store.upload_bytes(),
    );
    text.single(
        "large_values_deferred_total",
        "counter",
        "Times that a large value, received or sent, had to wait for a share of the memory.",
        metrics.store.refusals(),
    );
    let help = "Purges whose memory has not been given back yet.";
    text.single("purges_under_way", "gauge", help, metrics.store.purges_under_way());
    let removed: [(&str, &str, u64); 5] = [
        ("evicted_total", "Keys dropped to make room.", sum(|s| s.evicted)),
        ("expired_total", "Keys whose time to live ended.", sum(|s| s.expired)),
        ("purged_total", "Keys that were purged and removed.", sum(|s| s.purged)),
        ("replaced_total", "Live values overwritten.", sum(|s| s.replaced)),
        ("deleted_total", "Keys deleted by clients.", sum(|s| s.deleted)),
    ];
    for (name, help, value) in removed {
        text.single(name, "counter", help, value);
    }
}

/// What is counted of each namespace that was named; nothing if none was.
fn namespaces(text: &mut Text, metrics: &Metrics) {
    if metrics.namespaces.is_empty() {
        return;
    }
    let labels: Vec<String> = metrics
        .namespaces
        .names()
        .map(|name| name.replace('\\', "\\\\").replace('"', "\\\""))
        .map(|name| format!("{{namespace=\"{name}\"}}"))
        .collect();
    let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(usize) -> u64| {
        text.family(name, kind, help);
        for (number, labels) in labels.iter().enumerate() {
            text.sample(name, labels, value(number));
        }
    };
    let stored: Vec<_> =
        (0..labels.len()).map(|number| metrics.store.namespace_statistics(number)).collect();
    type Row = (&'static str, &'static str, &'static str, fn(&NamespaceStatistics) -> u64);
    let rows: [Row; 5] = [
        ("namespace_keys", "gauge", "Keys stored of a namespace.", |s| s.keys),
        ("namespace_stored_bytes", "gauge", "Memory of its entries and values.", |s| s.bytes),
        ("namespace_evicted_total", "counter", "Its keys dropped to make room.", |s| s.evicted),
        ("namespace_expired_total", "counter", "Its keys whose time ended.", |s| s.expired),
        ("namespace_purged_total", "counter", "Its keys that were purged.", |s| s.purged),
    ];
    for (name, kind, help, value) in rows {
        family(name, kind, help, &|number| value(&stored[number]));
    }
    type LookupRow = (&'static str, &'static str, fn(&Counters) -> u64);
    let rows: [LookupRow; 2] = [
        ("namespace_hits_total", "GET and HEAD of its keys that were there.", |l| l.hits.get()),
        ("namespace_misses_total", "Those of keys that were not.", |l| l.misses.get()),
    ];
    for (name, help, value) in rows {
        let lookups = |number: usize| {
            metrics.cache.iter().map(|counters| value(&counters.namespaces[number])).sum()
        };
        family(name, "counter", help, &lookups);
    }
}

fn connections(text: &mut Text, metrics: &Metrics) {
    let (cores, turned_away) = (&metrics.net, metrics.turned_away.get());
    let open = cores.iter().map(net::Counters::open);
    text.per_core("connections_open", "gauge", "Connections open.", open);
    let help = "Connections that may be open, of all cores together.";
    text.single("connections_limit", "gauge", help, metrics.connections_max);
    text.per_core(
        "held_bytes",
        "gauge",
        "Memory held for requests and responses under way, large values not counted.",
        cores.iter().map(|c| c.held_bytes.get()),
    );
    type Row = (&'static str, &'static str, fn(&net::Counters) -> u64);
    let rows: [Row; 4] = [
        ("connections_accepted_total", "Connections accepted.", |c| c.accepted.get()),
        ("connections_refused_total", "Connections over the limit.", |c| c.refused.get()),
        ("core_iterations_total", "Iterations of each core's loop, at least four a second.", |c| {
            c.iterations.get()
        }),
        ("core_requests_total", "Requests answered by each core.", |c| c.batch_messages.sum()),
    ];
    for (name, help, value) in rows {
        text.per_core(name, "counter", help, cores.iter().map(value));
    }
    let sum = |field: fn(&net::Counters) -> u64| cores.iter().map(field).sum::<u64>();
    let totals: [(&str, &str, u64); 5] = [
        (
            "connections_turned_away_total",
            "Connections refused before a core saw them.",
            turned_away,
        ),
        ("received_bytes_total", "Bytes received from clients.", sum(|c| c.received_bytes.get())),
        ("sent_bytes_total", "Bytes sent to clients.", sum(|c| c.sent_bytes.get())),
        (
            "connections_shed_total",
            "Connections closed to keep held_bytes within its limit.",
            sum(|c| c.shed.get()),
        ),
        ("timeouts_total", "Connections that waited too long.", sum(|c| c.timeouts.get())),
    ];
    for (name, help, value) in totals {
        text.single(name, "counter", help, value);
    }
    text.histogram(
        "batch_requests",
        "Requests answered per connection and wake.",
        1.0,
        cores.iter().map(|c| &c.batch_messages),
    );
    text.histogram(
        "batch_seconds",
        "Time from waking up to the end of the send, per connection and wake.",
        1e6,
        cores.iter().map(|c| &c.batch_microseconds),
    );
}

fn access_log(text: &mut Text, log: &LogCounters) {
    let help = "Lines written to the access log.";
    text.single("access_log_lines_total", "counter", help, log.written.get());
    let (name, help) = ("access_log_lost_lines_total", "Lines of the access log that were lost.");
    text.family(name, "counter", help);
    let dropped: u64 = log.dropped.iter().map(Counter::get).sum();
    text.sample(name, "{reason=\"full\"}", dropped);
    text.sample(name, "{reason=\"error\"}", log.failed.get());
}

fn snapshot(text: &mut Text, status: &SnapshotStatus) {
    let saved = status.saved();
    let time = saved.and_then(|saved| saved.time.duration_since(UNIX_EPOCH).ok());
    let rows: [(&str, &str, f64); 4] = [
        (
            "snapshot_last_success_timestamp_seconds",
            "When the last snapshot was complete, in seconds since 1970; 0 for never.",
            time.map_or(0.0, |time| time.as_secs_f64()),
        ),
        (
            "snapshot_duration_seconds",
            "How long the last snapshot took.",
            saved.map_or(0.0, |saved| saved.duration.as_secs_f64()),
        ),
        (
            "snapshot_bytes",
            "Length of the last snapshot.",
            saved.map_or(0.0, |saved| saved.bytes as f64),
        ),
        (
            "snapshot_running",
            "1 while a snapshot is being written.",
            f64::from(u8::from(status.is_running())),
        ),
    ];
    for (name, help, value) in rows {
        text.single(name, "gauge", help, value);
    }
    let help = "Keys that were loaded at the start.";
    text.single("snapshot_loaded_keys", "gauge", help, status.loaded_keys());
    let help = "Snapshots that could not be written.";
    text.single("snapshot_failures_total", "counter", help, status.failures());
}

fn process(text: &mut Text, process: &Process) {
    text.set_prefix(PROCESS);
    let rows: [(&str, &str, Option<f64>); 2] = [
        ("cpu_seconds_total", "Processor time, user and system.", process.cpu_seconds),
        ("start_time_seconds", "Start, in seconds since 1970.", process.start_time_seconds),
    ];
    let kind = |name: &str| if name.ends_with("_total") { "counter" } else { "gauge" };
    for (name, help, value) in rows {
        if let Some(value) = value {
            text.single(name, kind(name), help, value);
        }
    }
    let rows: [(&str, &str, Option<u64>); 5] = [
        ("resident_memory_bytes", "Memory that is resident.", process.resident_bytes),
        ("virtual_memory_bytes", "Address space, most of it reserved only.", process.virtual_bytes),
        ("open_fds", "Descriptors open.", process.open_fds),
        ("max_fds", "Descriptors that may be open.", process.max_fds),
        ("threads", "Threads.", process.threads),
    ];
    for (name, help, value) in rows {
        if let Some(value) = value {
            text.single(name, kind(name), help, value);
        }
    }
}
