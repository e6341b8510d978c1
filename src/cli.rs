//! The server's command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use log::LevelFilter;

use crate::cache::MissStatus;
use crate::config::{Config, MEMORY_BYTES_MIN, memory_bytes_default};
use crate::net::{Address, Cores};
use crate::store::{KEY_BYTES_MAX, TTL_SECONDS_MAX};

// The help says so.
const _: () = assert!(KEY_BYTES_MAX == 4080);

/// Longest request head that can be configured, in bytes: each loop has a buffer of that size.
const HEADER_BYTES_MAX: u64 = 1 << 20;

/// An in-memory key-value cache that speaks HTTP/1.1, with one event loop per core.
#[derive(Debug, Parser)]
#[command(name = "corekv", version, max_term_width = 100)]
pub struct Cli {
    /// Address to serve keys on, as HOST:PORT or unix:PATH; port 0 takes a free one. May be
    /// given more than once.
    #[arg(
        long,
        value_name = "ADDR",
        env = "COREKV_LISTEN",
        value_delimiter = ',',
        default_value = "127.0.0.1:8080"
    )]
    listen: Vec<Address>,

    /// Address for /, /size, /metrics and /healthz alone; without it they are on every address.
    #[arg(long, value_name = "ADDR", env = "COREKV_ADMIN")]
    admin: Option<Address>,

    /// Permission bits of Unix-domain sockets, in octal.
    #[arg(long, value_name = "MODE", env = "COREKV_UNIX_MODE", default_value = "600",
          value_parser = mode)]
    unix_mode: u32,

    /// File of tokens, one per line, that requests need: `TOKEN`, or `TOKEN read-only`.
    #[arg(long, value_name = "FILE", env = "COREKV_AUTH_FILE")]
    auth_file: Option<PathBuf>,

    /// Cores that get an event loop each: a list such as 0,2,4-7, or all that the process may
    /// run on.
    #[arg(long, value_name = "auto|LIST", env = "COREKV_CORES", default_value = "auto")]
    cores: Cores,

    /// Don't pin the event loops to their cores.
    #[arg(long, env = "COREKV_NO_PIN")]
    no_pin: bool,

    /// Spin instead of sleeping while there is nothing to do, for cores that do nothing else.
    #[arg(long, env = "COREKV_BUSY_POLL")]
    busy_poll: bool,

    /// Limit on the memory of index, keys and values together, in bytes or with KiB, MiB, GiB; at
    /// least 1MiB, and 256KiB for each event loop
    /// [default: 1GiB, or half of the memory there is if that is less]
    #[arg(long, value_name = "SIZE", env = "COREKV_MEMORY", value_parser = memory)]
    memory: Option<u64>,

    /// Life of keys that don't come with a max-age, in whole seconds (60s, 30m, 2h, 1d),
    /// up to 3650d
    /// [default: none, they stay]
    #[arg(long, value_name = "DURATION", env = "COREKV_TTL", value_parser = ttl)]
    ttl: Option<u32>,

    /// Status of a GET or HEAD whose key is absent.
    #[arg(long, value_name = "404|204|200", env = "COREKV_MISS_STATUS", default_value = "404",
          value_parser = miss_status)]
    miss_status: MissStatus,

    /// Longest key, in bytes, up to 4080.
    #[arg(long, value_name = "SIZE", env = "COREKV_KEY_BYTES_MAX", default_value = "1KiB",
          value_parser = key_size)]
    key_bytes_max: usize,

    /// Longest value, in bytes.
    #[arg(long, value_name = "SIZE", env = "COREKV_VALUE_BYTES_MAX", default_value = "32MiB",
          value_parser = size)]
    value_bytes_max: u64,

    /// Longest request head, in bytes, request line included, up to 1MiB.
    #[arg(long, value_name = "SIZE", env = "COREKV_HEADER_BYTES_MAX", default_value = "16KiB",
          value_parser = header_size)]
    header_bytes_max: usize,

    /// Connections that may be open at a time; also limited by the open files allowed.
    #[arg(long, value_name = "N", env = "COREKV_CONNECTIONS_MAX", default_value = "65536",
          value_parser = count)]
    connections_max: usize,

    /// Limit on the arrival of a request's head, from its first byte.
    #[arg(long, value_name = "DURATION", env = "COREKV_HEADER_TIMEOUT", default_value = "10s",
          value_parser = timeout)]
    header_timeout: Duration,

    /// Limit on a pause within a request's body.
    #[arg(long, value_name = "DURATION", env = "COREKV_BODY_TIMEOUT", default_value = "30s",
          value_parser = timeout)]
    body_timeout: Duration,

    /// Limit on a pause between requests, and on a client that does not read its responses.
    #[arg(long, value_name = "DURATION", env = "COREKV_IDLE_TIMEOUT", default_value = "60s",
          value_parser = timeout)]
    idle_timeout: Duration,

    /// Limit on answering what was received after SIGTERM or SIGINT.
    #[arg(long, value_name = "DURATION", env = "COREKV_DRAIN_TIMEOUT", default_value = "10s",
          value_parser = timeout)]
    drain_timeout: Duration,

    /// Send no Date field.
    #[arg(long, env = "COREKV_NO_DATE")]
    no_date: bool,

    /// Least severe messages to show: off, error, warn, info or debug.
    #[arg(long, value_name = "LEVEL", env = "COREKV_LOG_LEVEL", default_value = "info")]
    log_level: LevelFilter,
}

impl Cli {
    /// The level to log at.
    #[must_use]
    pub fn log_level(&self) -> LevelFilter {
        self.log_level
    }

    /// The settings that the command line asks for.
    #[must_use]
    pub fn into_config(self) -> Config {
        Config {
            listen: self.listen,
            admin: self.admin,
            unix_mode: self.unix_mode,
            auth_file: self.auth_file,
            cores: self.cores,
            pin: !self.no_pin,
            busy_poll: self.busy_poll,
            signals: true,
            memory_bytes_max: self.memory.unwrap_or_else(memory_bytes_default),
            ttl_seconds: self.ttl,
            miss_status: self.miss_status,
            key_bytes_max: self.key_bytes_max,
            value_bytes_max: self.value_bytes_max,
            header_bytes_max: self.header_bytes_max,
            connections_max: self.connections_max,
            header_timeout: self.header_timeout,
            body_timeout: self.body_timeout,
            idle_timeout: self.idle_timeout,
            drain_timeout: self.drain_timeout,
            date: !self.no_date,
        }
    }
}

/// A number of bytes, plain or in a binary unit.
fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = split(text);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("expected bytes, or a number with KiB, MiB or GiB".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "expected a number of bytes".to_owned())?;
    let bytes = number.checked_mul(1 << shift).ok_or("too large")?;
    if bytes == 0 { Err("must be at least 1".to_owned()) } else { Ok(bytes) }
}

fn size_up_to(text: &str, max: u64) -> Result<usize, String> {
    match size(text)? {
        bytes if bytes > max => Err(format!("must be at most {max} bytes")),
        bytes => Ok(bytes as usize),
    }
}

fn key_size(text: &str) -> Result<usize, String> {
    size_up_to(text, KEY_BYTES_MAX as u64)
}

fn header_size(text: &str) -> Result<usize, String> {
    size_up_to(text, HEADER_BYTES_MAX)
}

fn memory(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes if bytes < MEMORY_BYTES_MIN => Err("must be at least 1MiB".to_owned()),
        bytes => Ok(bytes),
    }
}

fn count(text: &str) -> Result<usize, String> {
    let error = "expected a whole number from 1 up";
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| error.to_owned())
}

/// A time with its unit.
fn duration(text: &str) -> Result<Duration, String> {
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
    let total = number.checked_mul(millis).filter(|&total| total <= TIMEOUT_MILLIS_MAX);
    total.map(Duration::from_millis).ok_or_else(|| "must be at most 10 years".to_owned())
}

/// Longest time that can be configured; a deadline that far ahead can still be computed.
const TIMEOUT_MILLIS_MAX: u64 = 3_650 * 86_400_000;

fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than 0".to_owned()),
        duration => Ok(duration),
    }
}

fn ttl(text: &str) -> Result<u32, String> {
    let duration = duration(text)?;
    if duration.subsec_nanos() != 0 || duration.is_zero() {
        return Err("must be whole seconds from 1s up".to_owned());
    }
    let seconds = u32::try_from(duration.as_secs()).ok();
    seconds.filter(|&s| s <= TTL_SECONDS_MAX).ok_or_else(|| "at most 3650d".to_owned())
}

fn miss_status(text: &str) -> Result<MissStatus, String> {
    match text {
        "404" => Ok(MissStatus::NotFound),
        "204" => Ok(MissStatus::NoContent),
        "200" => Ok(MissStatus::Ok),
        _ => Err("expected 404, 204 or 200".to_owned()),
    }
}

fn mode(text: &str) -> Result<u32, String> {
    let error = "expected octal permission bits such as 660";
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|&mode| mode <= 0o777).ok_or_else(|| error.to_owned())
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_has_the_configs_defaults() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        let parsed = Cli::parse_from(["corekv"]).into_config();
        let default = Config { signals: true, ..Config::default() };
        assert_eq!(format!("{parsed:?}"), format!("{default:?}"));
    }

    #[test]
    fn sizes_and_durations_are_read() {
        assert_eq!(size("64KiB"), Ok(64 << 10));
        assert_eq!(size("17"), Ok(17));
        for wrong in ["", "KiB", "1kb", "-1", "1.5MiB", "99999999999GiB", "0"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(duration("90m"), Ok(Duration::from_secs(5400)));
        assert_eq!(ttl("1d"), Ok(86_400));
        assert_eq!(ttl("3107d"), Ok(3_107 * 86_400));
        assert_eq!(ttl("3650d"), Ok(TTL_SECONDS_MAX));
        assert!(ttl("3651d").is_err());
        for wrong in ["", "60", "s", "1.5s", "500ms", "0s", "99999999999d"] {
            assert!(ttl(wrong).is_err(), "{wrong}");
        }
    }
}
