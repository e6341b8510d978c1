//! What a person at a terminal sees while the load runs; nothing anywhere else.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar for the preload of so many keys.
    pub fn preload(keys: u64, quiet: bool) -> Self {
        Self::new(keys, "storing keys {wide_bar} {pos}/{len} {msg}", quiet)
    }

    /// A bar for a phase that takes so long, in milliseconds or in requests.
    pub fn load(name: &str, length: u64, quiet: bool) -> Self {
        Self::new(length, &format!("{{spinner}} {name} {{wide_bar}} {{msg}}"), quiet)
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
        Self { bar }
    }

    /// Shows how far it is, and the rate.
    pub fn show(&self, position: u64, per_second: f64) {
        self.bar.set_message(format!("{} requests/s", grouped(per_second)));
        self.bar.set_position(position);
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// How often the bar moves.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

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
    use super::grouped;

    #[test]
    fn thousands_are_grouped() {
        for (value, expected) in [(0.0, "0"), (999.0, "999"), (1e3, "1,000"), (1e6, "1,000,000")] {
            assert_eq!(grouped(value), expected);
        }
    }
}
