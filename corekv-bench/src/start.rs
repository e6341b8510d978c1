//! `--start-at`: load generators on several machines begin at the same time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::Error;

/// A time is at most this far away.
const AHEAD_MAX: Duration = Duration::from_secs(86_400);

/// How often an interrupt is looked for while waiting.
const LOOK: Duration = Duration::from_millis(20);

/// Parses seconds since 1970, as `date +%s` prints them, with or without a fraction.
pub(super) fn parse(text: &str) -> Result<SystemTime, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..1e11).contains(seconds));
    let seconds = seconds.ok_or("write seconds since 1970, such as $(($(date +%s) + 10))")?;
    Ok(UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

/// Sleeps until then. Fails if that is over, since the other machines will not have waited.
pub(super) fn wait(at: Option<SystemTime>, stop: &AtomicBool) -> Result<(), Error> {
    let Some(at) = at else { return Ok(()) };
    match at.duration_since(SystemTime::now()) {
        Err(late) => {
            let late = late.duration().as_secs_f64();
            return Err(Error::failed(format!(
                "--start-at was {late:.3} s before connections were open and keys stored"
            )));
        }
        Ok(ahead) if ahead > AHEAD_MAX => {
            return Err(Error::usage("--start-at is more than a day away"));
        }
        Ok(_) => {}
    }
    while !stop.load(Ordering::Relaxed)
        && let Ok(left) = at.duration_since(SystemTime::now())
    {
        std::thread::sleep(left.min(LOOK));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_waited_for_and_missed_ones_are_an_error() {
        let stop = AtomicBool::new(false);
        let at = SystemTime::now() + Duration::from_millis(50);
        wait(Some(at), &stop).unwrap();
        assert!(SystemTime::now() >= at);
        assert_eq!(wait(Some(at), &stop).unwrap_err().exit_code(), 1);
        let day = SystemTime::now() + Duration::from_secs(100_000);
        assert_eq!(wait(Some(day), &stop).unwrap_err().exit_code(), 2);
        wait(None, &stop).unwrap();
        for text in ["", "x", "-1", "1e99", "inf", "2026-01-01"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("1.5"), Ok(UNIX_EPOCH + Duration::from_millis(1500)));
    }
}
