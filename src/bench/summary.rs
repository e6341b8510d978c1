//! A finished measurement as data: what the report, the JSON and the CSV are made from.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::cpu::{self, ThreadUsage};
use super::embedded::loop_number;
use super::recorder::{MethodRecord, Recorder};
use super::workload::Method;

/// Rates per second that are told apart; higher ones count as this one.
const RATE_MAX: u64 = 1_000_000_000_000;

/// Rates of one method, one sample per second, in memory that does not grow with the run.
#[derive(Debug, Clone)]
pub struct Rates {
    /// Answers per second.
    pub requests: Histogram<u64>,
    /// Bytes received per second.
    pub bytes: Histogram<u64>,
}

impl Default for Rates {
    fn default() -> Self {
        // These bounds are legal: the lower is at least 1, the upper at least twice that.
        let empty = || Histogram::new_with_bounds(1, RATE_MAX, 3).expect("legal bounds");
        Self { requests: empty(), bytes: empty() }
    }
}

impl Rates {
    /// Adds a sample, scaled to a second.
    pub fn add(&mut self, requests: u64, bytes: u64, interval: Duration) {
        let per_second = |count: u64| (count as f64 / interval.as_secs_f64()).round() as u64;
        self.requests.saturating_record(per_second(requests));
        self.bytes.saturating_record(per_second(bytes));
    }
}

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
}

/// What the server's threads used while the load ran.
#[derive(Debug, Clone, Default)]
pub struct ServerUsage {
    /// Threads that ran.
    pub threads: Vec<ThreadUsage>,
    /// Requests that each event loop answered, where the server says so.
    pub requests: Vec<u64>,
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

/// Everything that is known after a run.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The server, as the user named it.
    pub target: String,
    /// Number of connections.
    pub connections: usize,
    /// Requests in flight per connection.
    pub pipelining: usize,
    /// Keys are drawn from `[0, keys)`.
    pub keys: u64,
    /// How they are drawn, and from which seed.
    pub distribution: String,
    /// The seed of the random numbers.
    pub seed: u64,
    /// How long the run was meant to take, or else how many requests it was to send.
    pub planned: String,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// What was recorded, all threads together.
    pub recorder: Recorder,
    /// By method, in the order of [`Method::ALL`].
    pub rates: [Rates; Method::COUNT],
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
