//! The samples of the Req/Sec and Bytes/Sec tables.

use std::time::{Duration, Instant};

use super::summary::Rates;
use super::workload::Method;

/// Rates are sampled this often.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Turns counters into rates.
#[derive(Debug)]
pub(super) struct Sampler {
    at: Instant,
    due: Instant,
    counts: [(u64, u64); Method::COUNT],
    taken: u64,
}

/// A rest of a run that is shorter than this makes no sample.
const SAMPLE_REST_MIN: Duration = Duration::from_millis(500);

impl Sampler {
    pub(super) fn new(begin: Instant) -> Self {
        let due = begin + SAMPLE_INTERVAL;
        Self { at: begin, due, counts: Default::default(), taken: 0 }
    }

    pub(super) fn sample_if_due(
        &mut self,
        counts: &[(u64, u64); Method::COUNT],
        rates: &mut [Rates; Method::COUNT],
    ) {
        let now = Instant::now();
        if now >= self.due {
            self.sample(now, counts, rates);
            // The next one is due a second after this one was, not after it was taken.
            while self.due <= now {
                self.due += SAMPLE_INTERVAL;
            }
        }
    }

    /// The end of a run counts if it is long enough, or if there is nothing else.
    pub(super) fn sample_rest(
        &mut self,
        counts: &[(u64, u64); Method::COUNT],
        rates: &mut [Rates; Method::COUNT],
    ) {
        let now = Instant::now();
        if self.taken == 0 || now.duration_since(self.at) >= SAMPLE_REST_MIN {
            self.sample(now, counts, rates);
        }
    }

    fn sample(
        &mut self,
        now: Instant,
        counts: &[(u64, u64); Method::COUNT],
        rates: &mut [Rates; Method::COUNT],
    ) {
        let interval = now.duration_since(self.at).max(Duration::from_micros(1));
        for ((rate, now), before) in rates.iter_mut().zip(counts).zip(&self.counts) {
            let (requests, bytes) =
                (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
            rate.add(requests, bytes, interval);
        }
        self.counts = *counts;
        self.at = now;
        self.taken += 1;
    }
}
