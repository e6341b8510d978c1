//! A finished measurement as data: what the report, the JSON and the CSV are made from.

use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;

use super::cpu::{self, ThreadUsage};
use super::embedded::{Removed, loop_number};
use super::method::Method;
use super::rate::Pace;
use super::recorder::{MethodRecord, Recorder, latency_histogram};
use super::request_list::RequestFile;
use super::series::{Point, Rates};
use super::workload::Workload;

/// What one load thread did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadThread {
    /// The core that it was pinned to.
    pub core: Option<usize>,
    /// Answers that it received.
    pub answered: u64,
    /// Its CPU time, in nanoseconds.
    pub cpu_ns: u64,
    /// The share of the time in which it had something to do, from 0 to 1.
    pub busy: f64,
    /// The share of the time in which it had something to do and no core to do it on.
    pub waited: f64,
}

/// How the connections were opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Opening {
    /// Connections that were open when the first request was sent.
    pub opened: usize,
    /// From the first attempt to the last success or failure.
    pub elapsed: Duration,
}

/// What the server's threads used while the load ran.
#[derive(Debug, Clone, Default)]
pub struct ServerUsage {
    /// Threads that ran.
    pub threads: Vec<ThreadUsage>,
    /// Requests that each event loop answered, where the server says so.
    pub requests: Vec<u64>,
    /// Keys that the server has dropped by itself since it began, where it says so.
    pub removed: Option<Removed>,
}

impl ServerUsage {
    /// Requests that a thread answered, where the server says so.
    pub fn requests_of(&self, thread: &ThreadUsage) -> Option<u64> {
        self.requests.get(loop_number(&thread.name)?).copied()
    }

    /// What was used in both of two times.
    #[must_use]
    fn plus(mut self, later: &Self) -> Self {
        for thread in &later.threads {
            match self.threads.iter_mut().find(|known| known.id == thread.id) {
                Some(known) => {
                    known.usage.cpu_ns += thread.usage.cpu_ns;
                    known.usage.waited_ns += thread.usage.waited_ns;
                }
                None => self.threads.push(thread.clone()),
            }
        }
        let requests = self.requests.iter_mut().zip(&later.requests);
        requests.for_each(|(sum, more)| *sum += more);
        Self { removed: later.removed, ..self }
    }

    /// What was used since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let requests = self.requests.iter().zip(&earlier.requests);
        Self {
            threads: cpu::difference(&earlier.threads, &self.threads),
            requests: requests.map(|(now, before)| now.saturating_sub(*before)).collect(),
            // A key that was dropped during the preload is missed during the measurement.
            removed: self.removed,
        }
    }
}

/// What the connection measured that did not load the server.
#[derive(Debug, Clone)]
pub struct Probed {
    /// Its requests per second.
    pub rate: f64,
    /// Their latencies.
    pub latency: Histogram<u64>,
    /// Requests without answer, and failed attempts to connect.
    pub errors: u64,
    /// Requests that were due and not sent.
    pub behind: u64,
    /// How long its thread had to wait for a core, in nanoseconds.
    pub waited_ns: u64,
}

/// The side whose speed the result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The load threads had no time left.
    LoadGenerator,
    /// The busiest server thread had no time left.
    Server,
    /// Both.
    Both,
    /// Neither: the depth of the pipeline, the rate, or something outside of both was the limit.
    Neither,
    /// The rate that was asked for, which was kept.
    Rate,
    /// The server's CPU time is not known, and the load generator had time left.
    NotLoadGenerator,
}

/// A rate of which this share was reached was kept.
const RATE_KEPT: f64 = 0.99;

/// A second in which less than this share of what was due was answered was behind. What was due at
/// its end is answered in the next one.
const SECOND_KEPT: f64 = 0.9;

/// A thread that has something to do for more than this share of the time is saturated.
const SATURATED: f64 = 0.95;

/// A run whose load threads waited for a core for more than this share of the time measured the
/// machine's other work as well.
const DISTURBED: f64 = 0.03;

/// Everything that is known after a run.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The server, as the user named it.
    pub target: String,
    /// Number of connections.
    pub connections: usize,
    /// Requests in flight per connection.
    pub pipelining: usize,
    /// After so many requests a connection was closed and opened again.
    pub connection_requests: Option<u64>,
    /// What was sent.
    pub workload: Workload,
    /// Paths, as a template.
    pub path: String,
    /// The file that requests came from.
    pub request_file: Option<RequestFile>,
    /// Whether the server is taken for one of keys and values.
    pub is_key_value: bool,
    /// How long the load ran before the measurement.
    pub warmup: Duration,
    /// When the measurement began.
    pub started: SystemTime,
    /// How the connections were opened.
    pub opening: Opening,
    /// The TLS version and the cipher suite, if connections were secured.
    pub tls: Option<String>,
    /// How long the run was meant to take, or else how many requests it was to send.
    pub planned: String,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// What was recorded, all threads together.
    pub recorder: Recorder,
    /// By method, in the order of [`Method::ALL`].
    pub rates: [Rates; Method::COUNT],
    /// A point per second.
    pub series: Vec<Point>,
    /// Whether a method is part of the mix, by method.
    pub used: [bool; Method::COUNT],
    /// The load threads.
    pub load: Vec<LoadThread>,
    /// The server's threads, if its process is known.
    pub server: Option<ServerUsage>,
    /// Keys stored before the measurement, and how long that took.
    pub preload: Option<(u64, Duration)>,
    /// Whether a miss counts as lost.
    pub loss_checked: bool,
    /// Whether values were checked.
    pub verified: bool,
    /// The rate that was asked for.
    pub pace: Option<Pace>,
    /// What the probe measured, if there was one.
    pub probe: Option<Probed>,
    /// What was replayed instead of the workload.
    pub trace: Option<String>,
    /// Requests of the constant rate that were never sent, because the server was behind.
    pub behind: u64,
    /// Whether the run ended early: by an interrupt, or because the server did not answer.
    pub stopped_early: Option<&'static str>,
}

impl Summary {
    /// Adds a later measurement of the same server by the same load threads.
    pub fn append(&mut self, later: Self) {
        let shift = self.series.last().map_or(Duration::ZERO, |point| point.at);
        let (before, after) = (self.elapsed.as_secs_f64(), later.elapsed.as_secs_f64());
        let mean = |one: f64, other: f64| (one * before + other * after) / (before + after);
        for (thread, more) in self.load.iter_mut().zip(&later.load) {
            thread.answered += more.answered;
            thread.cpu_ns += more.cpu_ns;
            thread.busy = mean(thread.busy, more.busy);
            thread.waited = mean(thread.waited, more.waited);
        }
        self.elapsed += later.elapsed;
        self.recorder.merge(&later.recorder);
        let points = later.series.into_iter();
        self.series.extend(points.map(|point| Point { at: point.at + shift, ..point }));
        self.rates = Method::ALL.map(|method| Rates::of(&self.series, method));
        self.behind += later.behind;
        self.stopped_early = self.stopped_early.or(later.stopped_early);
        if let (Some(probe), Some(more)) = (&mut self.probe, later.probe) {
            // Both have the same bounds, so the counts always fit.
            probe.latency.add(&more.latency).expect("equal bounds");
            probe.errors += more.errors;
            probe.behind += more.behind;
            probe.waited_ns += more.waited_ns;
        }
        self.server = match (self.server.take(), later.server) {
            (Some(server), Some(more)) => Some(server.plus(&more)),
            (one, other) => one.or(other),
        };
    }

    /// The latencies of all methods together.
    pub fn latencies(&self) -> Histogram<u64> {
        let mut all = latency_histogram();
        for record in &self.recorder.methods {
            // All have the same bounds, so the counts always fit.
            all.add(&record.latency).expect("equal bounds");
        }
        all
    }

    /// Answers per second over all methods.
    pub fn requests_per_second(&self) -> f64 {
        self.recorder.answered_total() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Answers with another status than 2xx.
    pub fn non_2xx(&self) -> u64 {
        self.recorder.methods.iter().map(MethodRecord::non_2xx).sum()
    }

    /// The methods that the report has a block for.
    pub fn methods(&self) -> impl Iterator<Item = (Method, &MethodRecord, &Rates)> {
        Method::ALL.into_iter().filter(|&method| self.used[method as usize]).map(|method| {
            let index = method as usize;
            (method, &self.recorder.methods[index], &self.rates[index])
        })
    }

    /// CPU time of all load threads per answer, in nanoseconds.
    pub fn load_cpu_per_request(&self) -> Option<f64> {
        let cpu: u64 = self.load.iter().map(|thread| thread.cpu_ns).sum();
        per_request(cpu, self.recorder.answered_total())
    }

    /// CPU time of the server per answer, in nanoseconds.
    pub fn server_cpu_per_request(&self) -> Option<f64> {
        let threads = &self.server.as_ref()?.threads;
        let cpu = threads.iter().map(|thread| thread.usage.cpu_ns).sum();
        per_request(cpu, self.recorder.answered_total())
    }

    /// Which side was saturated.
    pub fn limit(&self) -> Limit {
        // Between the requests of a schedule the load threads spin, and so they are always busy.
        if self.mean_rate().is_some_and(|rate| self.requests_per_second() >= rate * RATE_KEPT) {
            return Limit::Rate;
        }
        let elapsed_ns = self.elapsed.as_nanos() as u64;
        let load_full =
            !self.load.is_empty() && self.load.iter().all(|thread| thread.busy >= SATURATED);
        let server_full =
            self.server.as_ref().filter(|server| !server.threads.is_empty()).map(|server| {
                server.threads.iter().any(|thread| thread.usage.busy(elapsed_ns) >= SATURATED)
            });
        match (load_full, server_full) {
            (true, Some(true)) => Limit::Both,
            (true, _) => Limit::LoadGenerator,
            (false, Some(true)) => Limit::Server,
            (false, Some(false)) => Limit::Neither,
            (false, None) => Limit::NotLoadGenerator,
        }
    }

    /// The rate that was asked for, if it was always the same.
    pub fn constant_rate(&self) -> Option<f64> {
        match self.pace? {
            Pace::Constant(rate) => Some(rate),
            Pace::Ramp { .. } | Pace::Trace { .. } => None,
        }
    }

    /// The rates at both ends of a ramp.
    pub fn ramp_ends(&self) -> Option<[f64; 2]> {
        match self.pace? {
            Pace::Constant(_) | Pace::Trace { .. } => None,
            Pace::Ramp { from, to, .. } => Some([from, to]),
        }
    }

    /// The mean of the rates that were asked for.
    fn mean_rate(&self) -> Option<f64> {
        self.pace.map(|pace| pace.at(self.elapsed / 2))
    }

    /// The first second in which the answers were behind the rate that was asked for: what was
    /// asked, and what came.
    pub fn fell_behind(&self) -> Option<(f64, f64)> {
        let pace = self.pace?;
        self.series.iter().find_map(|point| {
            let asked = pace.at(point.at - point.length / 2);
            (point.rate() < asked * SECOND_KEPT).then(|| (asked, point.rate()))
        })
    }

    /// The share of the time for which the load thread that waited longest had no core, if that
    /// is so long that the latencies are not the server's.
    pub fn disturbed(&self) -> Option<f64> {
        self.load.iter().map(|thread| thread.waited).reduce(f64::max).filter(|&it| it > DISTURBED)
    }

    /// The same of the server's threads. It may be meant so, if it has more threads than cores.
    pub fn server_waited(&self) -> Option<f64> {
        let elapsed_ns = self.elapsed.as_nanos() as f64;
        let threads = &self.server.as_ref()?.threads;
        let shares = threads.iter().map(|thread| thread.usage.waited_ns as f64 / elapsed_ns);
        shares.reduce(f64::max).filter(|&it| it > DISTURBED)
    }

    /// Requests that can be in flight.
    pub fn in_flight_max(&self) -> u64 {
        let most = (self.pipelining as u64).min(self.connection_requests.unwrap_or(u64::MAX));
        self.opening.opened as u64 * most
    }

    /// The mean latency that the rate makes by Little's law, in nanoseconds, if all connections
    /// had all their requests in flight. Only a closed loop has as many as it can.
    pub fn mean_by_littles_law(&self) -> Option<f64> {
        let in_flight = self.in_flight_max() as f64;
        let rate = self.requests_per_second();
        (self.pace.is_none() && rate > 0.0).then(|| in_flight / rate * 1e9)
    }

    /// Why the result is not a good one, in words. Nothing means exit code 0.
    pub fn own_faults(&self) -> Vec<String> {
        let recorder = &self.recorder;
        let mut faults = Vec::new();
        let mut add = |count: u64, what: &str| {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        };
        add(recorder.lost, "lost values");
        add(recorder.violations.count, "wrong values");
        let what = if self.is_key_value {
            "failed requests (neither 2xx nor the 404 of an absent key)"
        } else {
            "failed requests (neither 2xx nor 3xx)"
        };
        add(recorder.refused, what);
        add(recorder.errors(), "requests or connections without answer");
        if recorder.answered_total() == 0 {
            faults.push("no request was answered".to_owned());
        }
        faults
    }
}

fn per_request(cpu_ns: u64, requests: u64) -> Option<f64> {
    (requests > 0).then(|| cpu_ns as f64 / requests as f64)
}
