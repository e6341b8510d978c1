//! What a person at a terminal sees while the load runs; nothing anywhere else.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::table::time;

/// The rate that is shown is that of so many last looks, a second's.
const LOOKS: usize = 10;

/// A bar on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    /// The last looks at the number of answers.
    looks: VecDeque<(Instant, u64)>,
}

impl Progress {
    /// A bar for so many connections that are opened.
    pub fn connect(connections: u64, quiet: bool) -> Self {
        Self::new(connections, "opening connections {wide_bar} {pos}/{len}", quiet)
    }

    /// A bar for the preload of so many keys.
    pub fn preload(keys: u64, quiet: bool) -> Self {
        Self::new(keys, "storing keys {wide_bar} {pos}/{len} {msg}, {eta} left", quiet)
    }

    /// A bar for a phase that takes so long, in milliseconds or in requests.
    pub fn load(name: &str, length: u64, quiet: bool) -> Self {
        Self::new(length, &format!("{{spinner}} {name} {{wide_bar}} {{msg}}, {{eta}} left"), quiet)
    }

    fn new(length: u64, template: &str, quiet: bool) -> Self {
        let target = if quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(10)
        };
        let bar = ProgressBar::with_draw_target(Some(length), target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, looks: VecDeque::new() }
    }

    /// Shows how far it is, the rate and the 99th percentile of the last second, in nanoseconds,
    /// and what went wrong so far.
    pub fn show(&mut self, position: u64, answered: u64, p99: Option<u64>, errors: u64) {
        let now = Instant::now();
        self.looks.push_back((now, answered));
        if self.looks.len() > LOOKS + 1 {
            self.looks.pop_front();
        }
        let (since, before) = self.looks[0];
        let seconds = now.duration_since(since).as_secs_f64();
        let rate = if seconds > 0.0 { (answered - before) as f64 / seconds } else { 0.0 };
        self.bar.set_message(message(rate, p99, errors));
        self.bar.set_position(position);
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// How often the bar moves.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

fn message(rate: f64, p99: Option<u64>, errors: u64) -> String {
    let p99 = p99.map_or_else(String::new, |ns| format!(", p99 {}", time(ns as f64)));
    format!("{} requests/s{p99}, {errors} errors", grouped(rate))
}

/// `1,234,567`.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_says_what_is_going_on() {
        assert_eq!(message(1234.4, None, 0), "1,234 requests/s, 0 errors");
        assert_eq!(message(10.0, Some(1500), 3), "10 requests/s, p99 1.50 µs, 3 errors");
    }

    #[test]
    fn thousands_are_grouped() {
        for (value, expected) in [(0.0, "0"), (999.0, "999"), (1e3, "1,000"), (1e6, "1,000,000")] {
            assert_eq!(grouped(value), expected);
        }
    }
}
