//! The Date field's value, IMF-fixdate (RFC 9110 §5.6.7).

use std::time::{SystemTime, UNIX_EPOCH};

/// `Tue, 15 Nov 1994 08:12:31 GMT`.
pub(super) const DATE_BYTES: usize = 29;

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Whole seconds since 1970; 0 when the clock stands before that.
pub(super) fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Renders a time given in seconds since 1970.
pub(super) fn render(seconds: u64) -> [u8; DATE_BYTES] {
    let days = seconds / 86_400;
    let (year, month, day) = civil(days);
    let of_day = seconds % 86_400;
    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    date[..3].copy_from_slice(DAYS[(days % 7) as usize]);
    two_digits(&mut date[5..], day);
    date[8..11].copy_from_slice(MONTHS[month as usize - 1]);
    two_digits(&mut date[12..], year / 100);
    two_digits(&mut date[14..], year % 100);
    two_digits(&mut date[17..], of_day / 3_600);
    two_digits(&mut date[20..], of_day / 60 % 60);
    two_digits(&mut date[23..], of_day % 60);
    date
}

fn two_digits(into: &mut [u8], number: u64) {
    into[0] = b'0' + (number / 10 % 10) as u8;
    into[1] = b'0' + (number % 10) as u8;
}

/// Year, month and day of a day counted from 1970-01-01 (Hinnant, "chrono-compatible low-level
/// date algorithms", `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates_are_rendered() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_887_151, "Tue, 15 Nov 1994 08:12:31 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(std::str::from_utf8(&render(seconds)).unwrap(), expected);
        }
    }
}
