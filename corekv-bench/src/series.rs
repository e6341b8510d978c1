//! The measurement over time: a point per second.
//!
//! Counters are read at the second. Latencies come in the histograms that the load threads hand
//! over about then, and so they are known a moment later.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::method::Method;
use super::recorder::latency_histogram;

/// Rates are sampled this often.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// A rest of a run that is shorter than this makes no sample.
const SAMPLE_REST_MIN: Duration = Duration::from_millis(500);

/// After a day each two neighbours become one point, and from then on a point is twice as long.
const POINTS_MAX: usize = 86_400;

/// What the load threads have counted so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Answers by method, in the order of [`Method::ALL`].
    pub requests: [u64; Method::COUNT],
    /// Bytes received, by method.
    pub bytes: [u64; Method::COUNT],
    /// Requests without answer and connections that could not be opened.
    pub errors: u64,
    /// CPU time of the load threads, in nanoseconds.
    pub load_cpu_ns: u64,
    /// CPU time of the server, in nanoseconds, if its process is known.
    pub server_cpu_ns: Option<u64>,
}

impl Counts {
    fn since(&self, earlier: &Self) -> Self {
        let less = |now: [u64; Method::COUNT], before: [u64; Method::COUNT]| {
            std::array::from_fn(|index| now[index].saturating_sub(before[index]))
        };
        Self {
            requests: less(self.requests, earlier.requests),
            bytes: less(self.bytes, earlier.bytes),
            errors: self.errors.saturating_sub(earlier.errors),
            load_cpu_ns: self.load_cpu_ns.saturating_sub(earlier.load_cpu_ns),
            server_cpu_ns: self
                .server_cpu_ns
                .zip(earlier.server_cpu_ns)
                .map(|(now, before)| now.saturating_sub(before)),
        }
    }

    fn plus(&self, more: &Self) -> Self {
        let sum = |one: [u64; Method::COUNT], other: [u64; Method::COUNT]| {
            std::array::from_fn(|index| one[index] + other[index])
        };
        Self {
            requests: sum(self.requests, more.requests),
            bytes: sum(self.bytes, more.bytes),
            errors: self.errors + more.errors,
            load_cpu_ns: self.load_cpu_ns + more.load_cpu_ns,
            server_cpu_ns: self
                .server_cpu_ns
                .zip(more.server_cpu_ns)
                .map(|(one, other)| one + other),
        }
    }
}

/// Percentiles of the latencies of a second, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

impl Tail {
    /// The percentiles of a histogram, unless it is empty.
    pub fn of(latency: &Histogram<u64>) -> Option<Self> {
        let at = |percentile| latency.value_at_percentile(percentile);
        (!latency.is_empty()).then(|| Self {
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p999: at(99.9),
            max: latency.max(),
        })
    }

    /// The worse of both, percentile by percentile: of two seconds no more is known.
    fn worse(self, other: Self) -> Self {
        Self {
            p50: self.p50.max(other.p50),
            p90: self.p90.max(other.p90),
            p99: self.p99.max(other.p99),
            p999: self.p999.max(other.p999),
            max: self.max.max(other.max),
        }
    }
}

/// What happened in one second.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// When it ended, from the beginning of the measurement.
    pub at: Duration,
    /// How long it was.
    pub length: Duration,
    /// What was counted in it.
    pub counts: Counts,
    /// The latencies of all methods, if there was an answer.
    pub latency: Option<Tail>,
}

impl Point {
    /// Answers per second over all methods.
    pub fn rate(&self) -> f64 {
        let requests: u64 = self.counts.requests.iter().sum();
        requests as f64 / self.length.as_secs_f64()
    }

    /// Cores that the load threads kept busy.
    pub fn load_cores(&self) -> f64 {
        self.counts.load_cpu_ns as f64 / self.length.as_nanos() as f64
    }

    /// Cores that the server kept busy, if its process is known.
    pub fn server_cores(&self) -> Option<f64> {
        self.counts.server_cpu_ns.map(|ns| ns as f64 / self.length.as_nanos() as f64)
    }

    fn joined(self, next: Self) -> Self {
        Self {
            at: next.at,
            length: self.length + next.length,
            counts: self.counts.plus(&next.counts),
            latency: match (self.latency, next.latency) {
                (Some(one), Some(other)) => Some(one.worse(other)),
                (one, other) => one.or(other),
            },
        }
    }
}

/// The points of a phase, and the one that is being made.
#[derive(Debug)]
pub struct Series {
    begin: Instant,
    due: Instant,
    interval: Duration,
    last: Duration,
    counts: Counts,
    points: Vec<Point>,
    /// Latencies that belong to the last point, if it has none yet, or else to the next one.
    slice: Histogram<u64>,
    is_last_open: bool,
}

impl Series {
    /// A series that begins now, when `counts` were counted.
    pub fn new(begin: Instant, counts: Counts) -> Self {
        Self {
            begin,
            due: begin + SAMPLE_INTERVAL,
            interval: SAMPLE_INTERVAL,
            last: Duration::ZERO,
            counts,
            points: Vec::new(),
            slice: latency_histogram(),
            is_last_open: false,
        }
    }

    /// Adds what a load thread handed over.
    pub fn add(&mut self, latency: &Histogram<u64>) {
        // All have the same bounds, so the counts always fit.
        self.slice.add(latency).expect("equal bounds");
    }

    /// Makes a point if it is time for one. To be called some ten times per second, after
    /// [`Series::add`].
    pub fn sample_if_due(&mut self, counts: impl FnOnce() -> Counts) {
        self.close_last();
        let now = Instant::now();
        if now >= self.due {
            self.sample(now, counts());
            // The next one is due a second after this one was, not after it was taken.
            while self.due <= now {
                self.due += self.interval;
            }
        }
    }

    /// The points. The end of a run is one if it is long enough, or if there is nothing else.
    pub fn finish(mut self, counts: Counts) -> Vec<Point> {
        let now = Instant::now();
        let rest = now.duration_since(self.begin).saturating_sub(self.last);
        if self.points.is_empty() || rest >= SAMPLE_REST_MIN {
            self.close_last();
            self.sample(now, counts);
        }
        self.close_last();
        self.points
    }

    /// The last point whose latencies are known.
    pub fn latest(&self) -> Option<&Point> {
        self.points.iter().rev().nth(usize::from(self.is_last_open))
    }

    fn sample(&mut self, now: Instant, counts: Counts) {
        if self.points.len() >= POINTS_MAX {
            self.fold();
        }
        let at = now.duration_since(self.begin);
        let length = at.saturating_sub(self.last).max(Duration::from_micros(1));
        let counted = counts.since(&self.counts);
        self.points.push(Point { at, length, counts: counted, latency: None });
        (self.last, self.counts, self.is_last_open) = (at, counts, true);
    }

    fn close_last(&mut self) {
        if let Some(last) = self.points.last_mut()
            && std::mem::take(&mut self.is_last_open)
        {
            last.latency = Tail::of(&self.slice);
            self.slice.reset();
        }
    }

    fn fold(&mut self) {
        self.points = self
            .points
            .chunks(2)
            .map(|pair| pair.iter().copied().reduce(Point::joined).expect("a chunk has a point"))
            .collect();
        self.interval *= 2;
    }
}

/// Rates of one method, one sample per point.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    /// Answers per second.
    pub requests: Samples,
    /// Bytes received per second.
    pub bytes: Samples,
}

impl Rates {
    /// The rates of one method.
    pub fn of(points: &[Point], method: Method) -> Self {
        let mut rates = Self::default();
        for Point { counts, length, .. } in points {
            rates.add(counts.requests[method as usize], counts.bytes[method as usize], *length);
        }
        rates
    }

    /// Adds a sample, scaled to a second.
    pub fn add(&mut self, requests: u64, bytes: u64, interval: Duration) {
        let per_second = |count: u64| (count as f64 / interval.as_secs_f64()).round() as u64;
        self.requests.add(per_second(requests));
        self.bytes.add(per_second(bytes));
    }
}

/// Exact samples, in order.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<u64>);

impl Samples {
    fn add(&mut self, sample: u64) {
        self.0.push(sample);
    }

    /// The least sample that this share of all does not exceed (nearest rank); 0 without samples.
    pub fn percentile(&self, percent: f64) -> u64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }

    /// The mean; 0 without samples.
    pub fn mean(&self) -> f64 {
        self.0.iter().map(|&sample| sample as f64).sum::<f64>() / self.0.len().max(1) as f64
    }

    /// The standard deviation; 0 without samples.
    pub fn stdev(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.0.iter().map(|&sample| (sample as f64 - mean).powi(2)).sum();
        (squares / self.0.len().max(1) as f64).sqrt()
    }

    /// The least; 0 without samples.
    pub fn min(&self) -> u64 {
        self.0.iter().copied().min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_exact() {
        let mut samples = Samples::default();
        assert_eq!((samples.percentile(50.0), samples.min(), samples.mean()), (0, 0, 0.0));
        for sample in [1_021_951, 999_999, 1_000_001, 7] {
            samples.add(sample);
        }
        let at = |percent| samples.percentile(percent);
        assert_eq!([at(1.0), at(25.0), at(50.0), at(97.5)], [7, 7, 999_999, 1_021_951]);
        assert_eq!((samples.min(), samples.mean()), (7, 755_489.5));
    }

    #[test]
    fn a_day_is_kept_by_the_second_and_more_by_two() {
        let mut series = Series::new(Instant::now(), Counts::default());
        let mut counts = Counts::default();
        for _ in 0..=POINTS_MAX {
            counts.requests[0] += 3;
            series.sample(Instant::now(), counts);
        }
        assert_eq!(series.points.len(), POINTS_MAX / 2 + 1);
        assert_eq!(series.points[0].counts.requests[0], 6);
        assert_eq!(series.points[POINTS_MAX / 2].counts.requests[0], 3);
        assert_eq!(series.interval, 2 * SAMPLE_INTERVAL);
    }

    #[test]
    fn latencies_belong_to_the_second_before_they_were_handed_over() {
        let mut series = Series::new(Instant::now(), Counts::default());
        let mut latency = latency_histogram();
        series.sample(Instant::now(), Counts::default());
        assert!(series.latest().is_none());
        latency.record(1000).unwrap();
        series.add(&latency);
        series.sample_if_due(Counts::default);
        assert_eq!(series.latest().unwrap().latency.map(|tail| tail.max), Some(1000));
        let points = series.finish(Counts::default());
        assert_eq!(points.len(), 1);
    }
}
