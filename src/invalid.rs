//! Settings that are out of their range.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Longest time limit, in seconds (10 years); a deadline that far ahead can still be computed.
const TIME_SECONDS_MAX: u64 = 3_650 * 86_400;

/// Which setting nothing can be made with, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    setting: &'static str,
    problem: String,
}

impl Invalid {
    pub(crate) fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self { setting, problem: problem.into() }
    }

    /// The setting's name, which is that of its field.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// What is wrong with it, to follow its name in a sentence.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.problem)
    }
}

impl std::error::Error for Invalid {}

impl From<Invalid> for io::Error {
    fn from(invalid: Invalid) -> Self {
        Self::new(io::ErrorKind::InvalidInput, invalid)
    }
}

/// Checks a number against its range.
pub(crate) fn check_number<T: Copy + PartialOrd + fmt::Display>(
    setting: &'static str,
    number: T,
    range: RangeInclusive<T>,
) -> Result<(), Invalid> {
    if range.contains(&number) {
        return Ok(());
    }
    let (least, most) = range.into_inner();
    Err(Invalid::new(setting, format!("must be from {least} to {most}")))
}

/// Checks a time limit.
pub(crate) fn check_time(setting: &'static str, time: Duration) -> Result<(), Invalid> {
    if !time.is_zero() && time <= Duration::from_secs(TIME_SECONDS_MAX) {
        return Ok(());
    }
    Err(Invalid::new(setting, "must be more than 0 and at most 10 years"))
}
