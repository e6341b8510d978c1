//! `--fail-if`: a limit on a result, such as `p99>1ms`. A run that is beyond it fails.

use super::summary::Summary;
use super::table::time;
use super::units;

/// A result and the limit that it must not be beyond.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    result: Measured,
    comparison: Comparison,
    limit: f64,
}

/// Results that can have a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Measured {
    /// A percentile of all latencies, in nanoseconds.
    Percentile(f64),
    /// The mean of all latencies, in nanoseconds.
    Mean,
    /// Answers per second.
    Rate,
    /// Requests without answer and connections that could not be opened.
    Errors,
    /// Answers other than 2xx.
    Non2xx,
    /// Stored values that were not found.
    Lost,
    /// Requests of the constant rate that were not sent.
    NeverSent,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Comparison {
    /// The longer ones first: each shorter one is the beginning of a longer one.
    const ALL: [(&'static str, Self); 4] =
        [(">=", Self::AtLeast), ("<=", Self::AtMost), (">", Self::Above), ("<", Self::Below)];

    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
        }
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, one)| *one == self).map_or("", |(name, _)| name)
    }
}

/// The names of the results.
const RESULTS: [(&str, Measured); 13] = [
    ("p50", Measured::Percentile(50.0)),
    ("p90", Measured::Percentile(90.0)),
    ("p95", Measured::Percentile(95.0)),
    ("p99", Measured::Percentile(99.0)),
    ("p999", Measured::Percentile(99.9)),
    ("p9999", Measured::Percentile(99.99)),
    ("max", Measured::Percentile(100.0)),
    ("mean", Measured::Mean),
    ("rate", Measured::Rate),
    ("errors", Measured::Errors),
    ("non_2xx", Measured::Non2xx),
    ("lost", Measured::Lost),
    ("never_sent", Measured::NeverSent),
];

impl Measured {
    fn is_time(self) -> bool {
        matches!(self, Self::Percentile(_) | Self::Mean)
    }

    fn name(self) -> &'static str {
        RESULTS.iter().find(|(_, result)| *result == self).map_or("", |(name, _)| name)
    }

    /// The value, if there is a sample of it.
    fn of(self, summary: &Summary) -> Option<f64> {
        let latency = summary.latencies();
        if self.is_time() && latency.is_empty() {
            return None;
        }
        Some(match self {
            Self::Percentile(percent) => latency.value_at_percentile(percent) as f64,
            Self::Mean => latency.mean(),
            Self::Rate => summary.requests_per_second(),
            Self::Errors => summary.recorder.errors() as f64,
            Self::Non2xx => summary.non_2xx() as f64,
            Self::Lost => summary.recorder.lost as f64,
            Self::NeverSent => summary.behind as f64,
        })
    }
}

impl std::fmt::Display for Threshold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, sign) = (self.result.name(), self.comparison.name());
        write!(f, "{name} {sign} {}", self.shown(self.limit))
    }
}

impl Threshold {
    /// Parses `p99>1ms`, `rate<10k`, `errors>0`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, comparison, limit) = Comparison::ALL
            .iter()
            .find_map(|(sign, comparison)| {
                text.split_once(sign).map(|(name, limit)| (name.trim(), *comparison, limit.trim()))
            })
            .ok_or("write RESULT>LIMIT, with >, >=, < or <=")?;
        let result = RESULTS.iter().find(|(known, _)| *known == name).map(|(_, result)| *result);
        let result = result.ok_or_else(|| {
            let names = RESULTS.map(|(name, _)| name).join(", ");
            format!("'{name}' is none of {names}")
        })?;
        let limit = if result.is_time() {
            units::time(limit)?.as_nanos() as f64
        } else {
            units::rate(limit)?
        };
        Ok(Self { result, comparison, limit })
    }

    /// What is wrong, in words, if what the threshold says does not hold.
    pub(super) fn violation(&self, summary: &Summary) -> Option<String> {
        match self.result.of(summary) {
            Some(value) if self.comparison.holds(value, self.limit) => None,
            Some(value) => Some(format!("{} is {}", self.result.name(), self.shown(value))),
            None => Some(format!("{} is unknown", self.result.name())),
        }
    }

    fn shown(&self, value: f64) -> String {
        if self.result.is_time() { time(value) } else { format!("{value:.0}") }
    }

    /// What is wrong, in words, if the result is beyond the limit or there is none.
    pub(super) fn fault(&self, summary: &Summary) -> Option<String> {
        let Self { result, comparison, limit } = *self;
        let shown = |value| self.shown(value);
        let (name, sign) = (result.name(), comparison.name());
        match result.of(summary) {
            None => Some(format!("{name} is unknown, and its limit is {}", shown(limit))),
            Some(value) if comparison.holds(value, limit) => {
                Some(format!("{name} is {}, which is {sign} {}", shown(value), shown(limit)))
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let (result, comparison) = (Measured::Percentile(99.0), Comparison::Above);
        let expected = Threshold { result, comparison, limit: 1e6 };
        assert_eq!(Threshold::parse("p99>1ms"), Ok(expected));
        assert_eq!(Threshold::parse(" p99 > 1ms "), Ok(expected));
        let (result, comparison) = (Measured::Rate, Comparison::AtMost);
        assert_eq!(Threshold::parse("rate<=10k"), Ok(Threshold { result, comparison, limit: 1e4 }));
        for text in ["", "p99", "p99>", "p98>1ms", "p99>1x", "p99=1ms", "errors>1ms", ">1"] {
            assert!(Threshold::parse(text).is_err(), "{text}");
        }
    }
}
