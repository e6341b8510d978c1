//! What was measured, round by round, and what is made of it.

use measure::load::Measured;

use crate::grid::Group;

/// One server in one cell in one round.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// CPU time of the server per request, in nanoseconds, and the part in user mode.
    pub(crate) cpu_ns: f64,
    pub(crate) user_ns: f64,
    /// Shares of the time in which the server's cores and the busiest thread of the load worked.
    pub(crate) server_busy: f64,
    pub(crate) load_busy: f64,
    /// Latency at 50, 99 and 99.9 %, and the longest, in microseconds.
    pub(crate) latency_us: [f64; 4],
    pub(crate) never_sent: u64,
}

/// One cell: what every server did in every round. A round that failed has nothing.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) group: Group,
    pub(crate) depth: usize,
    /// By server, then by round.
    pub(crate) samples: Vec<Vec<Option<Sample>>>,
}

/// One rate of an open loop, as a share of the server's own saturation rate.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) share: f64,
    /// By server, then by round.
    pub(crate) samples: Vec<Vec<Option<Sample>>>,
}

/// The middle of some figures, and their range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Sample {
    pub(crate) fn new(measured: &Measured, server_cores: usize) -> Self {
        let requests = measured.requests.max(1) as f64;
        let available_ns = measured.seconds * 1e9 * server_cores as f64;
        let latency = |share| measured.latency.value_at_quantile(share) as f64 / 1e3;
        Self {
            requests: measured.requests,
            seconds: measured.seconds,
            cpu_ns: measured.server.cpu_ns as f64 / requests,
            user_ns: measured.server.user_ns() / requests,
            server_busy: measured.server.cpu_ns as f64 / available_ns,
            load_busy: measured.load_busy,
            latency_us: [latency(0.5), latency(0.99), latency(0.999), latency(1.0)],
            never_sent: measured.never_sent,
        }
    }

    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Whether more than 1 % of what was due was not even sent.
    pub(crate) fn fell_behind(&self) -> bool {
        self.never_sent * 100 > self.requests
    }
}

impl Spread {
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (&min, &max) = (figures.first()?, figures.last()?);
        let count = figures.len();
        let median = f64::midpoint(figures[(count - 1) / 2], figures[count / 2]);
        Some(Self { median, min, max })
    }
}

/// The spread of a figure over the rounds of a server.
pub(crate) fn spread(rounds: &[Option<Sample>], figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
    Spread::of(rounds.iter().flatten().map(figure))
}

/// The spread of the ratios of a figure to another server's in the same round.
pub(crate) fn ratio(
    rounds: &[Option<Sample>],
    others: &[Option<Sample>],
    figure: impl Fn(&Sample) -> f64,
) -> Option<Spread> {
    let pairs =
        rounds.iter().zip(others).filter_map(|(one, other)| one.as_ref().zip(other.as_ref()));
    Spread::of(pairs.map(|(one, other)| figure(one) / figure(other)))
}
