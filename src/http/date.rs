//! The Date field's value, IMF-fixdate (RFC 9110 §5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;

/// The last second of the year 9999, in seconds since 1970. The format has four digits for a year.
const SECONDS_MAX: u64 = 253_402_300_799;

/// Whole seconds since 1970; 0 when the clock stands before that.
pub(super) fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Renders a time given in seconds since 1970, up to [`SECONDS_MAX`].
pub(super) fn render(seconds: u64) -> String {
    let since = Duration::from_secs(seconds.min(SECONDS_MAX));
    HttpDate::from(UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clock_has_a_date() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_887_151, "Tue, 15 Nov 1994 08:12:31 GMT"),
            (SECONDS_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(render(seconds), expected);
        }
    }
}
