//! The Date field's value, IMF-fixdate (RFC 9110 §5.6.7).

use std::io::Write;
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

/// Appends a time given in seconds since 1970 in the form of RFC 3339, without its zone, which is UTC:
/// `1994-11-15T08:12:31`.
pub(super) fn render_rfc3339(seconds: u64, onto: &mut Vec<u8>) {
    let seconds = seconds.min(SECONDS_MAX);
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    // Writing to a vector can't fail.
    let _ = write!(onto, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
}

/// Year, month and day of the day that is so many days behind the first of 1970 (Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from 1 March of the year 0, so that a leap day is the last of its year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + next, month, day)
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

    #[test]
    fn days_are_those_of_the_calendar() {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        for day in (0..SECONDS_MAX / 86_400).step_by(13).chain([SECONDS_MAX / 86_400]) {
            let seconds = day * 86_400 + day % 86_400;
            let mut text = Vec::new();
            render_rfc3339(seconds, &mut text);
            let text = String::from_utf8(text).unwrap();
            // httpdate's words for the same time.
            let date = render(seconds);
            let words: Vec<&str> = date.split(' ').collect();
            let month = MONTHS.iter().position(|&month| month == words[2]).unwrap() + 1;
            let (year, day, time) = (words[3], words[1], words[4]);
            assert_eq!(text, format!("{year}-{month:02}-{day}T{time}"));
        }
    }
}
