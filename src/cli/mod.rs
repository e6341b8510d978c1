//! The server's command line, and what else names its options: the environment and a file.

mod file;
mod program;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use log::LevelFilter;

use crate::cache::{CacheHeaders, MissStatus, StoreStatus};
use crate::config::{Config, memory_bytes_default, value_bytes_default};
use crate::http::{Host, KeptName};
use crate::net::{Address, Cores};
use crate::store::KEY_BYTES_MAX;

pub use program::{Chosen, Failure, Task, parse, parse_options};
use values::{cache_headers, count, duration, length, miss_status, mode, size, store_status, ttl};

// The help says so.
const _: () = assert!(KEY_BYTES_MAX == 8000);

/// An in-memory key-value cache that speaks HTTP/1.1, with one event loop per core.
#[derive(Debug, Clone, Parser)]
#[command(name = "corekv", version, max_term_width = 100)]
pub struct Cli {
    /// File with options, as TOML: the names of the flags without the dashes, `ttl = "30m"`. A flag
    /// and an environment variable go before it.
    #[arg(long, value_name = "FILE", env = "COREKV_CONFIG")]
    config: Option<PathBuf>,

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

    /// Address for /, /size, /metrics, /dashboard and /healthz alone; without it they are on every address.
    #[arg(long, value_name = "ADDR", env = "COREKV_ADMIN")]
    admin: Option<Address>,

    /// Permission bits of Unix-domain sockets, in octal.
    #[arg(long, value_name = "MODE", env = "COREKV_UNIX_MODE", default_value = "600",
          value_parser = mode)]
    unix_mode: u32,

    /// File of tokens, one per line, that requests need: `TOKEN`, `TOKEN read-only`, and for some
    /// paths `TOKEN read-write /ci/` or `TOKEN read-only /ci/ /tools/`. SIGHUP has it read anew.
    #[arg(long, value_name = "FILE", env = "COREKV_AUTH_FILE")]
    auth_file: Option<PathBuf>,

    /// Name that requests may have in their Host field, besides localhost, addresses, and names
    /// without a dot: that of a proxy, say. May be given more than once; `any` takes every Host.
    /// What it protects from are web pages whose name leads to this machine: it is checked where
    /// no token is needed, on loopback addresses, and if given on every HOST:PORT.
    #[arg(long, value_name = "NAME|any", env = "COREKV_HOST", value_delimiter = ',')]
    host: Vec<Host>,

    /// Cores that get an event loop each: a list such as 0,2,4-7, or all that the process may
    /// run on, within its CPU quota.
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
    #[arg(long, value_name = "SIZE", env = "COREKV_MEMORY", value_parser = size)]
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

    /// Status of a PUT or POST that was carried out: 201 for a new key and 204 for one that had a
    /// value, or 200 for both.
    #[arg(long, value_name = "201|200", env = "COREKV_STORE_STATUS", default_value = "201",
          value_parser = store_status)]
    store_status: StoreStatus,

    /// Header fields that are stored with a value and given back with it: content-type,
    /// content-encoding and the like
    /// [default: none]
    #[arg(long, value_name = "NAMES", env = "COREKV_KEEP_FIELDS", value_delimiter = ',')]
    keep_fields: Vec<KeptName>,

    /// Tell the entity tag in answers to GET and to all writes; HEAD, 304, 206, 412 and writes with
    /// preconditions always have it.
    #[arg(long, env = "COREKV_ETAG")]
    etag: bool,

    /// Cache-Control in answers to GET: none, no-cache, or max-age with what is left of the key's
    /// life. For caches in front of the server.
    #[arg(long, value_name = "none|no-cache|max-age", env = "COREKV_CACHE_HEADERS",
          default_value = "none", value_parser = cache_headers)]
    cache_headers: CacheHeaders,

    /// Start of paths, as /cas/, under which the last segment has to be the SHA-256 of the body. May
    /// be given more than once.
    #[arg(long, value_name = "PATH", env = "COREKV_CAS_PREFIX", value_delimiter = ',')]
    cas_prefix: Vec<String>,

    /// Namespace, the first segment of a path, that /metrics shows by itself. May be given more than
    /// once, up to 32 times
    /// [default: none]
    #[arg(long, value_name = "NAME", env = "COREKV_NAMESPACE", value_delimiter = ',')]
    namespace: Vec<String>,

    /// Be a remote cache for Turborepo: answer its status and events at /v8/artifacts/, keep the
    /// teams that it names in the query apart, and keep the header fields of its artifacts.
    #[arg(long, env = "COREKV_TURBOREPO")]
    turborepo: bool,

    /// Longest key, in bytes, up to 8000.
    #[arg(long, value_name = "SIZE", env = "COREKV_KEY_BYTES_MAX", default_value = "1KiB",
          value_parser = length)]
    key_bytes_max: usize,

    /// Longest value, in bytes [default: an eighth of --memory, but from 32MiB up to 256MiB]
    #[arg(long, value_name = "SIZE", env = "COREKV_VALUE_BYTES_MAX", value_parser = size)]
    value_bytes_max: Option<u64>,

    /// Longest request head, in bytes, request line included, up to 1MiB.
    #[arg(long, value_name = "SIZE", env = "COREKV_HEADER_BYTES_MAX", default_value = "16KiB",
          value_parser = length)]
    header_bytes_max: usize,

    /// Connections that may be open at a time; also limited by the open files allowed.
    #[arg(long, value_name = "N", env = "COREKV_CONNECTIONS_MAX", default_value = "65536",
          value_parser = count)]
    connections_max: usize,

    /// Limit on the arrival of a request's head, from its first byte.
    #[arg(long, value_name = "DURATION", env = "COREKV_HEADER_TIMEOUT", default_value = "10s",
          value_parser = duration)]
    header_timeout: Duration,

    /// Limit on a pause within a request's body.
    #[arg(long, value_name = "DURATION", env = "COREKV_BODY_TIMEOUT", default_value = "30s",
          value_parser = duration)]
    body_timeout: Duration,

    /// Least bytes per second of a request's body, and of a client's reading of its responses, up to
    /// 1GiB; 0 for none.
    #[arg(long, value_name = "SIZE", env = "COREKV_MIN_RATE", default_value = "1KiB",
          value_parser = size)]
    min_rate: u64,

    /// Time that each body, and each client that is to read, has before its rate counts.
    #[arg(long, value_name = "DURATION", env = "COREKV_MIN_RATE_GRACE", default_value = "10s",
          value_parser = duration)]
    min_rate_grace: Duration,

    /// Limit on a pause between requests, and on a client that does not read its responses.
    #[arg(long, value_name = "DURATION", env = "COREKV_IDLE_TIMEOUT", default_value = "60s",
          value_parser = duration)]
    idle_timeout: Duration,

    /// Limit on answering what was received after SIGTERM or SIGINT. (SIGHUP ends
    /// nothing.)
    #[arg(long, value_name = "DURATION", env = "COREKV_DRAIN_TIMEOUT", default_value = "10s",
          value_parser = duration)]
    drain_timeout: Duration,

    /// Send no Date field.
    #[arg(long, env = "COREKV_NO_DATE")]
    no_date: bool,

    /// File that gets a line of JSON for each response, or - for standard output. SIGHUP has it opened
    /// anew
    /// [default: none]
    #[arg(long, value_name = "FILE|-", env = "COREKV_ACCESS_LOG")]
    access_log: Option<PathBuf>,

    /// One of so many responses gets a line in the access log, on average; up to 1000000000.
    #[arg(long, value_name = "N", env = "COREKV_ACCESS_LOG_SAMPLE", default_value = "1")]
    access_log_sample: u32,
    /// File that the contents are written to at the end, on POST /snapshot of --admin, and before a
    /// successor starts (SIGUSR2); and loaded from at the start.
    #[arg(long, value_name = "FILE", env = "COREKV_SNAPSHOT")]
    snapshot: Option<PathBuf>,

    /// Write the snapshot also every so often, from 1s up
    /// [default: none]
    #[arg(long, value_name = "DURATION", env = "COREKV_SNAPSHOT_INTERVAL", value_parser = duration)]
    snapshot_interval: Option<Duration>,

    /// Oldest snapshot that is loaded, from 1s up: older values may have been replaced elsewhere
    /// [default: none]
    #[arg(long, value_name = "DURATION", env = "COREKV_SNAPSHOT_AGE_MAX", value_parser = duration)]
    snapshot_age_max: Option<Duration>,

    /// End with exit code 1 if the snapshot can't be loaded, instead of starting empty.
    #[arg(long, env = "COREKV_SNAPSHOT_REQUIRED")]
    snapshot_required: bool,

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
        let memory = self.memory.unwrap_or_else(memory_bytes_default);
        Config {
            listen: self.listen,
            admin: self.admin,
            unix_mode: self.unix_mode,
            auth_file: self.auth_file,
            hosts: self.host,
            cores: self.cores,
            pin: !self.no_pin,
            busy_poll: self.busy_poll,
            signals: true,
            memory_bytes_max: memory,
            ttl_seconds: self.ttl,
            miss_status: self.miss_status,
            store_status: self.store_status,
            cache_headers: self.cache_headers,
            etag: self.etag,
            keep_fields: self.keep_fields,
            cas_prefixes: self.cas_prefix,
            namespaces: self.namespace,
            turborepo: self.turborepo,
            key_bytes_max: self.key_bytes_max,
            value_bytes_max: self.value_bytes_max.unwrap_or_else(|| value_bytes_default(memory)),
            header_bytes_max: self.header_bytes_max,
            connections_max: self.connections_max,
            header_timeout: self.header_timeout,
            body_timeout: self.body_timeout,
            min_rate: self.min_rate,
            min_rate_grace: self.min_rate_grace,
            idle_timeout: self.idle_timeout,
            drain_timeout: self.drain_timeout,
            date: !self.no_date,
            access_log: self.access_log,
            access_log_sample: self.access_log_sample,
            snapshot: self.snapshot,
            snapshot_interval: self.snapshot_interval,
            snapshot_age_max: self.snapshot_age_max,
            snapshot_required: self.snapshot_required,
        }
    }
}

/// The option for a setting, without the dashes.
fn option(setting: &str) -> String {
    match setting {
        "hosts" => "host".to_owned(),
        "cas_prefixes" => "cas-prefix".to_owned(),
        "namespaces" => "namespace".to_owned(),
        "memory_bytes_max" => "memory".to_owned(),
        "ttl_seconds" => "ttl".to_owned(),
        _ => setting.replace('_', "-"),
    }
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
    fn every_setting_has_an_option() {
        use clap::CommandFactory;
        let shown = format!("{:?}", Config::default());
        let options = Cli::command();
        // The names of the fields, but for the switches, whose options say the opposite.
        let fields = shown.split([' ', '{']).filter_map(|word| word.strip_suffix(':'));
        for field in fields.filter(|field| !["pin", "signals", "date"].contains(field)) {
            let option = option(field);
            let known = |name: &str| options.get_arguments().any(|a| a.get_long() == Some(name));
            assert!(known(&option), "{field} is not --{option}");
        }
    }

    #[test]
    fn the_longest_value_is_an_eighth_of_the_memory_within_bounds() {
        let value_bytes_max = |flags: &[&str]| {
            Cli::parse_from([&["corekv"], flags].concat()).into_config().value_bytes_max
        };
        for (memory, mebibytes) in
            [("1MiB", 32), ("256MiB", 32), ("1GiB", 128), ("2GiB", 256), ("64GiB", 256)]
        {
            assert_eq!(value_bytes_max(&["--memory", memory]), mebibytes << 20, "{memory}");
        }
        assert_eq!(value_bytes_max(&["--memory", "1GiB", "--value-bytes-max", "1GiB"]), 1 << 30);
    }
}
