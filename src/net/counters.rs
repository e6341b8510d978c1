//! Counters that one thread writes and any thread may read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A count that only its own thread adds to: a plain load and store, no locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the thread that owns the counter may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Says what there is of something that goes up and down. Only for the thread that owns it.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The count so far.
    #[must_use]
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Buckets of a [`Histogram`]: powers of two up to 2^(BUCKETS-2), and what is above.
pub const LATENCY_BUCKETS: usize = 25;

/// A histogram with a bucket per power of two: bucket i counts values `<= 2^i`.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Counter; LATENCY_BUCKETS],
    sum: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| Counter::default()), sum: Counter::default() }
    }
}

impl Histogram {
    /// Counts a value. Only the thread that owns the histogram may call this.
    #[inline]
    pub fn record(&self, value: u64) {
        // The smallest i with value <= 2^i.
        let bucket = (u64::BITS - value.saturating_sub(1).leading_zeros()) as usize;
        self.buckets[bucket.min(LATENCY_BUCKETS - 1)].add(1);
        self.sum.add(value);
    }

    /// The counts per bucket, not cumulated.
    #[must_use]
    pub fn buckets(&self) -> [u64; LATENCY_BUCKETS] {
        std::array::from_fn(|i| self.buckets[i].get())
    }

    /// Sum of all values.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.get()
    }
}

/// What one event loop counts of its connections.
#[derive(Debug, Default)]
pub struct Counters {
    /// Iterations of the loop, of which there are at least four a second.
    pub iterations: Counter,
    /// Connections taken over since the start.
    pub accepted: Counter,
    /// Connections refused because of the limit.
    pub refused: Counter,
    /// Connections closed.
    pub closed: Counter,
    /// Bytes received.
    pub received_bytes: Counter,
    /// Bytes sent.
    pub sent_bytes: Counter,
    /// Connections closed because a wait took too long.
    pub timeouts: Counter,
    /// Bytes held for connections: what is neither answered nor sent yet.
    pub held_bytes: Counter,
    /// Connections closed to keep these bytes within their limit.
    pub shed: Counter,
    /// Messages answered per connection and wake.
    pub batch_messages: Histogram,
    /// Microseconds from waking up to the end of the send, once per connection and wake.
    pub batch_microseconds: Histogram,
}

impl Counters {
    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        // Read in this order: a connection that closes in between is still counted as open.
        let closed = self.closed.get();
        (self.accepted.get() + self.refused.get()).saturating_sub(closed)
    }

    /// Records how long a batch took.
    #[inline]
    pub(super) fn batch(&self, messages: usize, took: Duration) {
        self.batch_messages.record(messages as u64);
        self.batch_microseconds.record(took.as_micros() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for value in [0, 1, 2, 3, 4, 5, 1 << 23, (1 << 23) + 1, u64::MAX / 2] {
            histogram.record(value);
        }
        let buckets = histogram.buckets();
        assert_eq!(buckets[..4], [2, 1, 2, 1]);
        assert_eq!(buckets[23], 1);
        assert_eq!(buckets[24], 2);
        assert_eq!(buckets.iter().sum::<u64>(), 9);
    }
}
