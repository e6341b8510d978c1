//! A second of the server's life in numbers: what was counted in it, and how things were at its end.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::cache::metrics::Metrics;
use crate::net::LATENCY_BUCKETS;

/// One sample. Counts are those of a second.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sample {
    /// Seconds since 1970.
    pub(super) time: u64,
    /// By method: GET and HEAD; PUT and POST; DELETE; all others.
    requests: [f64; 4],
    hits: f64,
    misses: f64,
    /// Seconds from waking up to the end of the send: p50, p99 and p99.9.
    latency: [Option<f64>; 3],
    keys: u64,
    stored_bytes: u64,
    evicted: f64,
    expired: f64,
    connections: u64,
    /// Requests of each core.
    core_requests: Vec<f64>,
    /// Share of the second that each core's thread was running.
    core_busy: Vec<f64>,
}

/// What has been counted since the start.
#[derive(Debug, Clone, Default)]
struct Totals {
    requests: [u64; 4],
    hits: u64,
    misses: u64,
    batches: [u64; LATENCY_BUCKETS],
    evicted: u64,
    expired: u64,
    core_requests: Vec<u64>,
    core_nanoseconds: Vec<u64>,
}

/// Takes samples.
#[derive(Debug)]
pub(super) struct Sampler {
    before: Totals,
    taken: Instant,
}

impl Sampler {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self { before: Totals::now(metrics), taken: Instant::now() }
    }

    /// What happened since the last sample.
    pub(super) fn sample(&mut self, metrics: &Metrics) -> Sample {
        let (now, taken) = (Totals::now(metrics), Instant::now());
        let seconds = (taken - self.taken).as_secs_f64().max(1e-3);
        let before = std::mem::replace(&mut self.before, now);
        self.taken = taken;
        let (now, rate) =
            (&self.before, |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds);
        let rates = |now: &[u64], before: &[u64], unit: f64| {
            let before = before.iter().copied().chain(std::iter::repeat(0));
            now.iter().zip(before).map(|(&now, before)| rate(now, before) / unit).collect()
        };
        let batches: [u64; LATENCY_BUCKETS] =
            std::array::from_fn(|i| now.batches[i].saturating_sub(before.batches[i]));
        let statistics = metrics.statistics();
        Sample {
            time: seconds_since_1970(),
            requests: std::array::from_fn(|i| rate(now.requests[i], before.requests[i])),
            hits: rate(now.hits, before.hits),
            misses: rate(now.misses, before.misses),
            latency: [0.5, 0.99, 0.999].map(|share| quantile(&batches, share)),
            keys: statistics.iter().map(|partition| partition.keys).sum(),
            stored_bytes: statistics.iter().map(|partition| partition.bytes).sum(),
            evicted: rate(now.evicted, before.evicted),
            expired: rate(now.expired, before.expired),
            connections: metrics.net.iter().map(crate::net::Counters::open).sum(),
            core_requests: rates(&now.core_requests, &before.core_requests, 1.0),
            core_busy: rates(&now.core_nanoseconds, &before.core_nanoseconds, 1e9),
        }
    }
}

impl Totals {
    fn now(metrics: &Metrics) -> Self {
        let mut requests = [0; 4];
        for (method, _, count) in metrics.http.iter().flat_map(|counters| counters.responses()) {
            let kind = match method {
                "GET" | "HEAD" => 0,
                "PUT" | "POST" => 1,
                "DELETE" => 2,
                _ => 3,
            };
            requests[kind] += count;
        }
        let mut batches = [0; LATENCY_BUCKETS];
        for core in metrics.net.iter() {
            let all = core.batch_microseconds.buckets();
            batches.iter_mut().zip(all).for_each(|(sum, count)| *sum += count);
        }
        let statistics = metrics.statistics();
        Self {
            requests,
            hits: metrics.cache.iter().map(|counters| counters.hits.get()).sum(),
            misses: metrics.cache.iter().map(|counters| counters.misses.get()).sum(),
            batches,
            evicted: statistics.iter().map(|partition| partition.evicted).sum(),
            expired: statistics.iter().map(|partition| partition.expired).sum(),
            core_requests: metrics.requests(),
            core_nanoseconds: core_nanoseconds(metrics.net.len()),
        }
    }
}

/// The value in seconds below which that share of the values lies, from a histogram of microseconds
/// whose bucket i holds those up to 2^i; within a bucket values are taken to be spread evenly.
fn quantile(buckets: &[u64; LATENCY_BUCKETS], share: f64) -> Option<f64> {
    let all: u64 = buckets.iter().sum();
    let wanted = share * all as f64;
    let mut before = 0.0;
    for (i, &count) in buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
        let count = count as f64;
        if before + count >= wanted {
            let high = (1_u64 << i) as f64;
            let low = if i == 0 { 0.0 } else { high / 2.0 };
            return Some((low + (high - low) * (wanted - before) / count) / 1e6);
        }
        before += count;
    }
    None
}

/// Processor time of each event loop's thread, in nanoseconds (the first number of schedstat,
/// Documentation/scheduler/sched-stats of Linux). 0 where it can't be read.
fn core_nanoseconds(cores: usize) -> Vec<u64> {
    let mut all = vec![0; cores];
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let by_name: HashMap<String, _> = threads
        .filter_map(|thread| {
            let name = fs::read_to_string(thread.path().join("comm")).ok()?;
            Some((name.trim_end().to_owned(), thread.path()))
        })
        .collect();
    for (core, nanoseconds) in all.iter_mut().enumerate() {
        let Some(path) = by_name.get(&format!("corekv-{core}")) else { continue };
        let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        *nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
    }
    all
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Sample {
    /// Appends the sample as a JSON object.
    pub(super) fn write(&self, out: &mut String) {
        let [read, write, delete, other] = self.requests;
        let [p50, p99, p999] = self
            .latency
            .map(|seconds| seconds.map_or("null".to_owned(), |seconds| format!("{seconds:.7}")));
        let list = |numbers: &[f64], digits: usize| {
            let all: Vec<_> = numbers.iter().map(|number| format!("{number:.digits$}")).collect();
            all.join(",")
        };
        // Writing to a string can't fail.
        let _ = write!(
            out,
            "{{\"time\":{},\"read\":{read:.0},\"write\":{write:.0},\"delete\":{delete:.0},\
             \"other\":{other:.0},\"hits\":{:.0},\"misses\":{:.0},\"p50\":{p50},\"p99\":{p99},\
             \"p999\":{p999},\"keys\":{},\"stored_bytes\":{},\"evicted\":{:.0},\"expired\":{:.0},\
             \"connections\":{},\"core_requests\":[{}],\"core_busy\":[{}]}}",
            self.time,
            self.hits,
            self.misses,
            self.keys,
            self.stored_bytes,
            self.evicted,
            self.expired,
            self.connections,
            list(&self.core_requests, 0),
            list(&self.core_busy, 3),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_within_their_buckets() {
        let mut buckets = [0; LATENCY_BUCKETS];
        assert_eq!(quantile(&buckets, 0.5), None);
        buckets[7] = 100;
        assert_eq!(quantile(&buckets, 0.5), Some(96e-6));
        assert_eq!(quantile(&buckets, 1.0), Some(128e-6));
        buckets[10] = 100;
        assert_eq!(quantile(&buckets, 0.25), Some(96e-6));
        assert_eq!(quantile(&buckets, 0.75), Some(768e-6));
    }
}
