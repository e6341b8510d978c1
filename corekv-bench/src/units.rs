//! Numbers with units, as the command line takes them: `10k` requests, `4KiB`, `1m30s`.

use std::time::Duration;

/// The longest time that can be asked for, in seconds: a year, which every clock can count.
const SECONDS_MAX: f64 = 3e7;

/// A number of things: `1000`, `10k`, `1.5M`, `2G`.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let scale = |unit: &str| match unit {
        "" => Some(1.0),
        "k" | "K" => Some(1e3),
        "M" => Some(1e6),
        "G" => Some(1e9),
        _ => None,
    };
    // A plain number may be longer than a double is exact.
    text.parse()
        .or_else(|_| scaled(text, scale))
        .map_err(|()| format!("'{text}' is not a number such as 1000, 10k or 1M"))
}

/// A number of things per second, which need not be whole: `0.5`, `10k`.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() => Ok(rate),
        _ => count(text).map(|rate| rate as f64),
    }
}

/// A number of bytes: `100`, `4KiB`, `1MiB`, `10kB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let scale = |unit: &str| match unit {
        "" | "B" => Some(1.0),
        "kB" | "KB" | "k" => Some(1e3),
        "MB" | "M" => Some(1e6),
        "GB" | "G" => Some(1e9),
        "KiB" => Some(1024.0),
        "MiB" => Some(1024.0 * 1024.0),
        "GiB" => Some(1024.0 * 1024.0 * 1024.0),
        _ => None,
    };
    scaled(text, scale).map_err(|()| format!("'{text}' is not a size such as 100, 4KiB or 1MiB"))
}

/// A time: `30` seconds, `0.5`, `500ms`, `2m`, `1m30s`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a time such as 30, 0.5, 500ms, 2m or 1m30s");
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() || text.is_empty() {
        let (number, behind) = split_number(rest);
        let (unit, next) = behind.split_at(behind.find(is_digit).unwrap_or(behind.len()));
        let scale = match unit {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "" if number.len() == text.len() => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" => return Err(wrong()),
            unit => return Err(format!("'{unit}' is none of the units us, ms, s, m, h")),
        };
        seconds += number.parse::<f64>().map_err(|_| wrong())? * scale;
        rest = next;
    }
    if seconds > SECONDS_MAX { Err(wrong()) } else { Ok(Duration::from_secs_f64(seconds)) }
}

/// The number that `text` begins with, times what `scale` says of its unit, if that is whole.
fn scaled(text: &str, scale: impl Fn(&str) -> Option<f64>) -> Result<u64, ()> {
    let (number, unit) = split_number(text);
    let value = number.parse::<f64>().map_err(|_| ())? * scale(unit).ok_or(())?;
    // Doubles are exact up to here.
    if value.fract() == 0.0 && value <= 9e15 { Ok(value as u64) } else { Err(()) }
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|letter| !is_digit(letter)).unwrap_or(text.len()))
}

fn is_digit(letter: char) -> bool {
    letter.is_ascii_digit() || letter == '.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes_have_units() {
        for (text, number) in
            [("7", 7), ("10k", 10_000), ("1.5M", 1_500_000), ("2G", 2_000_000_000)]
        {
            assert_eq!(count(text), Ok(number));
        }
        assert_eq!(count("18446744073709551615"), Ok(u64::MAX));
        for (text, number) in
            [("7", 7), ("4KiB", 4096), ("1.5KiB", 1536), ("1MiB", 1 << 20), ("10kB", 10_000)]
        {
            assert_eq!(bytes(text), Ok(number));
        }
        for text in ["", "k", "-1", "1.5", "1x", "1kk", "1 k", "inf", "1e3k", "99999999999G"] {
            assert!(count(text).is_err() && bytes(text).is_err(), "{text}");
        }
        assert_eq!((rate("0.5"), rate("10k"), rate("1e3")), (Ok(0.5), Ok(10_000.0), Ok(1000.0)));
        assert!(rate("inf").is_err() && rate("x").is_err());
    }

    #[test]
    fn times_have_units() {
        for (text, ms) in [
            ("2", 2000),
            ("0.5", 500),
            ("250ms", 250),
            ("1m", 60_000),
            ("1m30s", 90_000),
            ("1h1m1s1ms", 3_661_001),
        ] {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1", "1d", "inf", "NaN", "1e99", "1m30", "1..2s", "99999999h"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
