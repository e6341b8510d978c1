//! What a load thread writes down: latencies in histograms, everything else in counters.
//!
//! Every request is recorded with its own latency. Requests that were sent by one system call and
//! answered by one system call have the same start and the same end, and so a run of them is one
//! update of the histogram.

use hdrhistogram::Histogram;

use super::error::Failure;
use super::method::Method;
use super::verify::Violations;

/// Latencies are kept in nanoseconds up to this one, an hour; longer ones count as this long.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Significant decimal digits of a latency: 264 KiB per histogram.
const LATENCY_DIGITS: u8 = 3;

/// The number of 2xx statuses.
const OK_STATUSES: usize = 100;

/// One method's numbers.
#[derive(Debug, Clone)]
pub struct MethodRecord {
    /// Nanoseconds from a request's start to its answer.
    pub latency: Histogram<u64>,
    /// Requests that were answered, whatever the status.
    pub answered: u64,
    /// Those of them with a 2xx status, by status; the first one is 200.
    pub ok_by_status: [u64; OK_STATUSES],
    /// Bytes of the answers, heads included.
    pub bytes: u64,
    /// Reads that found a value.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Requests whose connection failed before the answer.
    pub unanswered: u64,
    /// Those of them that failed because the answer took too long.
    pub timeouts: u64,
}

impl Default for MethodRecord {
    fn default() -> Self {
        Self {
            latency: latency_histogram(),
            answered: 0,
            ok_by_status: [0; OK_STATUSES],
            bytes: 0,
            hits: 0,
            misses: 0,
            unanswered: 0,
            timeouts: 0,
        }
    }
}

/// Latencies by method, in the order of [`Method::ALL`].
pub type Latencies = [Histogram<u64>; Method::COUNT];

/// Empty histograms for all methods.
pub fn no_latencies() -> Latencies {
    std::array::from_fn(|_| latency_histogram())
}

/// An empty histogram with the bounds that all latencies are recorded with.
pub fn latency_histogram() -> Histogram<u64> {
    // These bounds are legal: the lower is at least 1, the upper at least twice that.
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS).expect("legal bounds")
}

impl MethodRecord {
    fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so the counts always fit.
        self.latency.add(&other.latency).expect("equal bounds");
        self.answered += other.answered;
        for (count, more) in self.ok_by_status.iter_mut().zip(other.ok_by_status) {
            *count += more;
        }
        self.bytes += other.bytes;
        self.hits += other.hits;
        self.misses += other.misses;
        self.unanswered += other.unanswered;
        self.timeouts += other.timeouts;
    }

    /// Answers with a 2xx status.
    pub fn ok(&self) -> u64 {
        self.ok_by_status.iter().sum()
    }

    /// Answers with another status than 2xx.
    pub fn non_2xx(&self) -> u64 {
        self.answered - self.ok()
    }
}

/// Equal latencies that are not in the histogram yet.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    start: u64,
    count: u64,
}

/// How long connections took to open, in nanoseconds.
#[derive(Debug, Clone)]
pub struct Connects(pub Histogram<u64>);

impl Default for Connects {
    fn default() -> Self {
        Self(latency_histogram())
    }
}

/// Everything that one load thread, or after merging all of them, recorded.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    /// By method, in the order of [`Method::ALL`].
    pub methods: [MethodRecord; Method::COUNT],
    /// Failed connections, in the order of [`Failure::ALL`].
    pub failures: [u64; Failure::ALL.len()],
    /// Connections that could not be opened.
    pub connects_failed: u64,
    /// Nanoseconds that each opening of a connection took.
    pub connects: Connects,
    /// Nanoseconds that each TLS handshake took, after that.
    pub handshakes: Connects,
    /// Why an answer was invalid, the first time that one was.
    pub garbage: Option<&'static str>,
    /// Connections that were opened again, after a failure or after an announced close.
    pub reopened: u64,
    /// Reads that missed although the value had been stored.
    pub lost: u64,
    /// Answers that say that a request failed: neither 2xx nor the 404 of an absent key, or of a
    /// server that is none of keys and values, neither 2xx nor 3xx.
    pub refused: u64,
    /// How often each status other than 2xx came.
    pub statuses: Vec<(u16, u64)>,
    /// Whether a redirect is a right answer, and 404 is none.
    any_server: bool,
    /// Values that were not the right ones.
    pub violations: Violations,
    runs: [Run; Method::COUNT],
}

impl Recorder {
    /// A recorder for a server of keys and values, or for another one.
    pub fn for_server(is_key_value: bool) -> Self {
        Self { any_server: !is_key_value, ..Self::default() }
    }

    /// Forgets the measurements, but not what went wrong: after the warm-up a lost value is as
    /// bad as during the measurement.
    pub fn start_over(&mut self) {
        for record in &mut self.methods {
            *record = MethodRecord::default();
        }
        self.statuses.clear();
    }

    /// Adds latencies that were handed over before.
    pub fn add_latencies(&mut self, latencies: &Latencies) {
        for (record, latency) in self.methods.iter_mut().zip(latencies) {
            // Both have the same bounds, so the counts always fit.
            record.latency.add(latency).expect("equal bounds");
        }
    }

    /// Exchanges the latencies for others, which are empty as a rule.
    pub fn swap_latencies(&mut self, others: &mut Latencies) {
        for (record, other) in self.methods.iter_mut().zip(others) {
            std::mem::swap(&mut record.latency, other);
        }
    }

    /// A request that started at `start` was answered now; [`Recorder::flush`] will say when
    /// that is.
    #[inline]
    pub fn answered(&mut self, method: Method, start: u64, bytes: usize, status: u16, now: u64) {
        let record = &mut self.methods[method as usize];
        record.answered += 1;
        record.bytes += bytes as u64;
        let index = usize::from(status.wrapping_sub(200));
        if let Some(count) = record.ok_by_status.get_mut(index) {
            *count += 1;
        } else {
            self.add_status(method, status);
        }
        let run = &mut self.runs[method as usize];
        if run.start == start {
            run.count += 1;
        } else {
            let ended = std::mem::replace(run, Run { start, count: 1 });
            self.record(method as usize, ended, now);
        }
    }

    /// Records what [`Recorder::answered`] collected. To be called after each batch, with the
    /// time when it was received.
    #[inline]
    pub fn flush(&mut self, now: u64) {
        for index in 0..Method::COUNT {
            if self.runs[index].count > 0 {
                let run = std::mem::take(&mut self.runs[index]);
                self.record(index, run, now);
            }
        }
    }

    #[inline(never)]
    fn record(&mut self, index: usize, run: Run, now: u64) {
        if run.count > 0 {
            let latency = now.saturating_sub(run.start).max(1);
            self.methods[index].latency.saturating_record_n(latency, run.count);
        }
    }

    #[cold]
    fn add_status(&mut self, method: Method, status: u16) {
        let is_right = match self.any_server {
            true => status < 400,
            false => status == 404 && !method.is_store(),
        };
        self.refused += u64::from(!is_right);
        match self.statuses.iter_mut().find(|(other, _)| *other == status) {
            Some((_, count)) => *count += 1,
            None => self.statuses.push((status, 1)),
        }
    }

    /// A connection took so many nanoseconds to open.
    pub fn connected(&mut self, ns: u64) {
        self.connects.0.saturating_record(ns.max(1));
    }

    /// A TLS handshake took so many nanoseconds.
    pub fn secured(&mut self, ns: u64) {
        self.handshakes.0.saturating_record(ns.max(1));
    }

    /// How often each status came, the 2xx among them, in order.
    pub fn all_statuses(&self) -> Vec<(u16, u64)> {
        let ok = (200..).zip((0..OK_STATUSES).map(|index| {
            self.methods.iter().map(|record| record.ok_by_status[index]).sum::<u64>()
        }));
        let mut all: Vec<_> =
            ok.filter(|&(_, count)| count > 0).chain(self.statuses.iter().copied()).collect();
        all.sort_unstable();
        all
    }

    /// A connection failed.
    pub fn failed(&mut self, failure: Failure) {
        let index = Failure::ALL.iter().position(|&kind| kind == failure).unwrap_or(0);
        self.failures[index] += 1;
    }

    /// A request's connection failed, or the run ended before the answer.
    pub fn unanswered(&mut self, method: Method, failure: Option<Failure>) {
        let record = &mut self.methods[method as usize];
        record.unanswered += 1;
        record.timeouts += u64::from(failure == Some(Failure::Timeout));
    }

    /// Adds another thread's numbers.
    pub fn merge(&mut self, other: &Self) {
        for (record, more) in self.methods.iter_mut().zip(&other.methods) {
            record.merge(more);
        }
        for (count, more) in self.failures.iter_mut().zip(other.failures) {
            *count += more;
        }
        self.connects_failed += other.connects_failed;
        // Both have the same bounds, so the counts always fit.
        self.connects.0.add(&other.connects.0).expect("equal bounds");
        self.handshakes.0.add(&other.handshakes.0).expect("equal bounds");
        self.garbage = self.garbage.or(other.garbage);
        self.reopened += other.reopened;
        self.lost += other.lost;
        self.refused += other.refused;
        for &(status, count) in &other.statuses {
            match self.statuses.iter_mut().find(|(known, _)| *known == status) {
                Some((_, sum)) => *sum += count,
                None => self.statuses.push((status, count)),
            }
        }
        self.violations.merge(&other.violations);
    }

    /// The numbers of one method.
    pub fn method(&self, method: Method) -> &MethodRecord {
        &self.methods[method as usize]
    }

    /// Answers of all methods.
    pub fn answered_total(&self) -> u64 {
        self.methods.iter().map(|record| record.answered).sum()
    }

    /// What went wrong on the way: requests without answer, and connections that could not be
    /// opened.
    pub fn errors(&self) -> u64 {
        let unanswered: u64 = self.methods.iter().map(|record| record.unanswered).sum();
        unanswered + self.connects_failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_of_a_batch_is_recorded_with_its_own_latency() {
        let mut recorder = Recorder::default();
        for start in [100, 100, 100, 400, 400, 100] {
            recorder.answered(Method::Get, start, 10, 200, 1000);
        }
        recorder.answered(Method::Post, 100, 5, 500, 1000);
        recorder.flush(1000);
        let get = recorder.method(Method::Get);
        assert_eq!((get.answered, get.ok(), get.bytes), (6, 6, 60));
        assert_eq!((get.latency.count_at(900), get.latency.count_at(600)), (4, 2));
        let post = recorder.method(Method::Post);
        assert_eq!((post.answered, post.non_2xx(), post.latency.len()), (1, 1, 1));
        assert_eq!((recorder.statuses.as_slice(), recorder.refused), (&[(500, 1)][..], 1));
    }

    #[test]
    fn a_miss_is_not_a_refusal_but_a_write_to_nowhere_is() {
        let mut recorder = Recorder::default();
        recorder.answered(Method::Get, 1, 1, 404, 2);
        recorder.answered(Method::Delete, 1, 1, 404, 2);
        assert_eq!(recorder.refused, 0);
        recorder.answered(Method::Post, 1, 1, 404, 2);
        assert_eq!(recorder.refused, 1);
    }

    #[test]
    fn merging_adds_everything_up() {
        let mut one = Recorder::default();
        one.answered(Method::Get, 10, 1, 404, 20);
        one.flush(20);
        one.failed(Failure::Refused);
        one.unanswered(Method::Get, Some(Failure::Timeout));
        let mut sum = one.clone();
        sum.merge(&one);
        assert_eq!(sum.method(Method::Get).latency.len(), 2);
        assert_eq!(sum.statuses, [(404, 2)]);
        assert_eq!((sum.errors(), sum.method(Method::Get).timeouts, sum.failures[0]), (2, 2, 2));
    }

    #[test]
    fn a_latency_beyond_the_histogram_is_kept_as_the_longest() {
        let mut recorder = Recorder::default();
        recorder.answered(Method::Get, 1, 1, 200, u64::MAX);
        recorder.flush(u64::MAX);
        assert_eq!(recorder.method(Method::Get).latency.len(), 1);
    }
}
