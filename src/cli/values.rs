//! The forms that values of options have: sizes, times, numbers.

use std::time::Duration;

use crate::cache::{CacheHeaders, MissStatus, StoreStatus};

/// What is wrong with an argument, in one line; the usage behind it is in --help.
pub(super) fn problem(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or("wrong arguments");
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// A number of bytes, plain or in a binary unit.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = split(text);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("expected bytes, or a number with KiB, MiB or GiB".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "expected a number of bytes".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())
}

pub(super) fn length(text: &str) -> Result<usize, String> {
    usize::try_from(size(text)?).map_err(|_| "too large".to_owned())
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "expected a whole number".to_owned())
}

/// A time with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = split(text);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("expected a number with ms, s, m, h or d".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "expected a whole number".to_owned())?;
    let total = number.checked_mul(millis).ok_or("too long")?;
    Ok(Duration::from_millis(total))
}

pub(super) fn ttl(text: &str) -> Result<u32, String> {
    let duration = duration(text)?;
    if duration.subsec_nanos() != 0 {
        return Err("must be whole seconds".to_owned());
    }
    u32::try_from(duration.as_secs()).map_err(|_| "too long".to_owned())
}

pub(super) fn miss_status(text: &str) -> Result<MissStatus, String> {
    match text {
        "404" => Ok(MissStatus::NotFound),
        "204" => Ok(MissStatus::NoContent),
        "200" => Ok(MissStatus::Ok),
        _ => Err("expected 404, 204 or 200".to_owned()),
    }
}

pub(super) fn store_status(text: &str) -> Result<StoreStatus, String> {
    match text {
        "201" => Ok(StoreStatus::Distinct),
        "200" => Ok(StoreStatus::Ok),
        _ => Err("expected 201 or 200".to_owned()),
    }
}

pub(super) fn cache_headers(text: &str) -> Result<CacheHeaders, String> {
    match text {
        "none" => Ok(CacheHeaders::None),
        "no-cache" => Ok(CacheHeaders::NoCache),
        "max-age" => Ok(CacheHeaders::MaxAge),
        _ => Err("expected none, no-cache or max-age".to_owned()),
    }
}

pub(super) fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .map_err(|_| "expected octal permission bits such as 660".to_owned())
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_read() {
        assert_eq!(size("64KiB"), Ok(64 << 10));
        assert_eq!(size("17"), Ok(17));
        for wrong in ["", "KiB", "1kb", "-1", "1.5MiB", "99999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(duration("90m"), Ok(Duration::from_secs(5400)));
        assert_eq!(ttl("1d"), Ok(86_400));
        assert_eq!(ttl("3107d"), Ok(3_107 * 86_400));
        for wrong in ["", "60", "s", "1.5s", "500ms", "99999999999d"] {
            assert!(ttl(wrong).is_err(), "{wrong}");
        }
    }
}
