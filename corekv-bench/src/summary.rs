//! A finished measurement as data: what the report, the JSON and the CSV are made from.

use std::time::{Duration, SystemTime};

use super::cpu::{self, ThreadUsage};
use super::embedded::{Removed, loop_number};
use super::recorder::{MethodRecord, Recorder};
use super::series::{Point, Rates};
use super::workload::{Method, Workload};

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
    /// What was sent.
    pub workload: Workload,
    /// How long the load ran before the measurement.
    pub warmup: Duration,
    /// When the measurement began.
    pub started: SystemTime,
    /// How the connections were opened.
    pub opening: Opening,
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
    pub rate: Option<f64>,
    /// Requests of the constant rate that were never sent, because the server was behind.
    pub behind: u64,
    /// Whether the run ended early: by an interrupt, or because the server did not answer.
    pub stopped_early: Option<&'static str>,
}

impl Summary {
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
        if self.rate.is_some_and(|rate| self.requests_per_second() >= rate * RATE_KEPT) {
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

    /// The share of the time for which the load thread that waited longest had no core, if that
    /// is so long that the latencies are not the server's.
    pub fn disturbed(&self) -> Option<f64> {
        self.load.iter().map(|thread| thread.waited).reduce(f64::max).filter(|&it| it > DISTURBED)
    }

    /// The mean latency that the rate makes by Little's law, in nanoseconds, if all connections
    /// had all their requests in flight. Only a closed loop has as many as it can.
    pub fn mean_by_littles_law(&self) -> Option<f64> {
        let in_flight = (self.opening.opened * self.pipelining) as f64;
        let rate = self.requests_per_second();
        (self.rate.is_none() && rate > 0.0).then(|| in_flight / rate * 1e9)
    }

    /// Why the result is not a good one, in words. Nothing means exit code 0.
    pub fn faults(&self) -> Vec<String> {
        let recorder = &self.recorder;
        let mut faults = Vec::new();
        let mut add = |count: u64, what: &str| {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        };
        add(recorder.lost, "lost values");
        add(recorder.violations.count, "wrong values");
        add(recorder.refused, "failed requests (neither 2xx nor the 404 of an absent key)");
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
