//! Which rates a sweep loads at.

use super::units;

/// Steps that can be asked for.
const STEPS_MAX: usize = 200;

/// The rates of a sweep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// The highest rate that passes is searched for.
    Search,
    /// Shares of the saturation rate, from 0 to 1 and beyond.
    Shares(Steps),
    /// Requests per second.
    Rates(Steps),
}

/// From a number to another one in equal steps; the last one may be shorter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    from: f64,
    to: f64,
    step: f64,
}

impl Range {
    /// Parses `10..95%`, `10..95%:5`, `10k..100k` or `10k..100k:10k`. Without a step, it is a tenth of
    /// saturation, or of the range.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::Search);
        }
        let wrong = || "write FROM..TO%, FROM..TO, or one of them with :STEP behind it".to_owned();
        let (range, step) = match text.split_once(':') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let (from, to) = range.split_once("..").ok_or_else(wrong)?;
        let number = |text: &str| units::rate(text.strip_suffix('%').unwrap_or(text));
        let is_share = to.ends_with('%');
        let scale = if is_share { 0.01 } else { 1.0 };
        let (from, to) = (number(from)? * scale, number(to)? * scale);
        let step = match step {
            Some(step) => number(step)? * scale,
            None if is_share => 0.1,
            None => (to - from) / 10.0,
        };
        let steps = Steps { from, to, step };
        if !(from > 0.0 && to >= from && (step > 0.0 || to == from)) {
            return Err("rates are above 0 and rise".to_owned());
        }
        if steps.count() > STEPS_MAX {
            return Err(format!("more than {STEPS_MAX} steps"));
        }
        Ok(if is_share { Self::Shares(steps) } else { Self::Rates(steps) })
    }
}

impl Steps {
    fn count(self) -> usize {
        if self.to == self.from {
            return 1;
        }
        // What is as good as a whole step makes no further one.
        1 + ((self.to - self.from) / self.step - 1e-6).ceil().min(1e9) as usize
    }

    /// The numbers, in their order.
    pub(super) fn iter(self) -> impl Iterator<Item = f64> {
        (0..self.count()).map(move |index| (self.from + self.step * index as f64).min(self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(text: &str) -> Vec<i64> {
        match Range::parse(text).unwrap() {
            Range::Search => Vec::new(),
            Range::Shares(steps) => {
                steps.iter().map(|share| (share * 100.0).round() as i64).collect()
            }
            Range::Rates(steps) => steps.iter().map(|rate| rate.round() as i64).collect(),
        }
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(rates("10..95%"), [10, 20, 30, 40, 50, 60, 70, 80, 90, 95]);
        assert_eq!(rates("10%..30%:10"), [10, 20, 30]);
        assert_eq!(rates("1k..5k:2k"), [1000, 3000, 5000]);
    }

    #[test]
    fn wrong_ranges_are_refused() {
        for text in ["10", "0..95%", "95..10%", "a..b", "1..2:0", "1k..2k:0.1", "..", "10..x%"] {
            assert!(Range::parse(text).is_err(), "{text}");
        }
        assert_eq!(Range::parse(""), Ok(Range::Search));
    }
}
