//! The constant rate: when each request is meant to be sent, whatever the server does.
//!
//! A closed loop sends nothing while the server stalls, and so a stall of a second delays a
//! handful of requests instead of a second's worth. Here the schedule goes on, and latency counts
//! from the time in the schedule.

use std::time::Duration;

/// How many requests per second are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Always as many.
    Constant(f64),
    /// From the first number to the second one, in a straight line over the time that the run
    /// takes.
    Ramp {
        /// Requests per second at the beginning.
        from: f64,
        /// Requests per second at the end.
        to: f64,
        /// The time between, in nanoseconds.
        over: f64,
    },
    /// That of a trace, which has a schedule of its own.
    Trace {
        /// Requests per second on average.
        mean: f64,
    },
}

impl Pace {
    /// A rate that changes from one number to another within a time.
    pub fn ramp(from: f64, to: f64, over: Duration) -> Self {
        Self::Ramp { from, to, over: over.as_nanos() as f64 }
    }

    /// Nanoseconds from the beginning to the request with this number, which counts from 0.
    ///
    /// Of a ramp so many requests are sent by the time t: from t + (to - from) t² / (2 over), which
    /// is solved for t in the form that is exact when both rates are nearly equal.
    fn due(self, number: f64) -> f64 {
        match self {
            Self::Constant(rate) | Self::Trace { mean: rate } => number * (1e9 / rate),
            Self::Ramp { from, to, over } => {
                let (from, slope) = (from / 1e9, (to - from) / 1e9 / over);
                let root = (from * from + 2.0 * slope * number).max(0.0).sqrt();
                if from + root > 0.0 { 2.0 * number / (from + root) } else { 0.0 }
            }
        }
    }

    /// How many requests are due before so many nanoseconds from the beginning.
    fn count(self, ns: f64) -> f64 {
        match self {
            Self::Constant(rate) | Self::Trace { mean: rate } => ns * rate / 1e9,
            Self::Ramp { from, to, over } => (from + (to - from) * ns / (2.0 * over)) * ns / 1e9,
        }
    }

    /// Requests per second so long after the beginning.
    pub fn at(self, time: Duration) -> f64 {
        match self {
            Self::Constant(rate) | Self::Trace { mean: rate } => rate,
            Self::Ramp { from, to, over } => from + (to - from) * time.as_nanos() as f64 / over,
        }
    }
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Constant(rate) => write!(f, "{rate}/s"),
            Self::Ramp { from, to, .. } => write!(f, "{from}/s to {to}/s"),
            Self::Trace { mean } => write!(f, "that of the trace, {mean:.1}/s on average"),
        }
    }
}

/// One connection's schedule, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    begin: f64,
    pace: Pace,
    /// Every so many requests of the run are this connection's.
    step: f64,
    /// The number of the next one among those of the run.
    number: f64,
    due: u64,
}

impl Schedule {
    /// The schedule of connection `index` of `connections` that share the requests of a pace
    /// from `begin` on. The connections take turns.
    pub fn new(begin: u64, pace: Pace, connections: usize, index: usize) -> Self {
        let (begin, step, number) = (begin as f64, connections as f64, index as f64);
        let mut schedule = Self { begin, pace, step, number, due: 0 };
        schedule.look();
        schedule
    }

    /// When the next request is meant to be sent. A double counts nanoseconds exactly for a
    /// hundred days.
    pub fn due(&self) -> u64 {
        self.due
    }

    /// The next request is taken care of.
    pub fn advance(&mut self) {
        self.number += self.step;
        self.look();
    }

    fn look(&mut self) {
        self.due = (self.begin + self.pace.due(self.number)) as u64;
    }

    /// How many requests of the schedule before `end` have not been sent.
    pub fn behind(&self, end: u64) -> u64 {
        let planned = self.pace.count((end as f64 - self.begin).max(0.0));
        ((planned - self.number) / self.step).ceil().max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_turns() {
        let mut schedules: Vec<_> =
            (0..4).map(|index| Schedule::new(1000, Pace::Constant(1e6), 4, index)).collect();
        let mut due = Vec::new();
        for _ in 0..3 {
            for schedule in &mut schedules {
                due.push(schedule.due());
                schedule.advance();
            }
        }
        assert_eq!(due, (0..12).map(|turn| 1000 + turn * 1000).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_not_sent_is_counted() {
        let mut schedule = Schedule::new(0, Pace::Constant(10.0), 1, 0);
        assert_eq!(schedule.behind(1_000_000_000), 10);
        schedule.advance();
        assert_eq!(schedule.behind(1_000_000_000), 9);
        assert_eq!(schedule.behind(0), 0);
    }

    #[test]
    fn a_ramp_sends_as_many_as_the_area_under_it() {
        for (from, to) in [(0.0, 1000.0), (1000.0, 0.0), (100.0, 900.0), (500.0, 500.0)] {
            let pace = Pace::ramp(from, to, Duration::from_secs(2));
            let mut schedules: Vec<_> =
                (0..3).map(|index| Schedule::new(0, pace, 3, index)).collect();
            assert_eq!(schedules.iter().map(|one| one.behind(2_000_000_000)).sum::<u64>(), 1000);
            let mut sent = [0_u32; 2];
            for schedule in &mut schedules {
                while schedule.behind(2_000_000_000) > 0 {
                    sent[usize::from(schedule.due() >= 1_000_000_000)] += 1;
                    schedule.advance();
                }
            }
            let early = (from + (to - from) / 4.0) as u32;
            assert!(sent[0].abs_diff(early) <= 1 && sent[0] + sent[1] == 1000, "{sent:?}");
            assert_eq!(pace.at(Duration::from_secs(1)), 500.0);
        }
    }
}
