//! What a server is made with: every setting and limit by name.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::cache::{
    self, CacheHeaders, MissStatus, Namespaces, Routes, StoreStatus, TURBOREPO_FIELDS,
    TURBOREPO_TEAM,
};
use crate::cgroup::Groups;
use crate::http::{self, FieldRules, Host, Hosts, KeptFields, KeptName};
use crate::invalid::{Invalid, check_number, check_time};
use crate::net::{self, Address, Cores};
use crate::store;

/// Memory for the store where the machine has enough.
const MEMORY_BYTES_DEFAULT_MAX: u64 = 1 << 30;

/// The longest value, as a share of the memory, and its bounds.
const VALUE_SHARE: u64 = 8;
const VALUE_BYTES_DEFAULT_MIN: u64 = 32 << 20;
const VALUE_BYTES_DEFAULT_MAX: u64 = 256 << 20;
/// Least memory that is worth a server, in bytes.
const MEMORY_BYTES_MIN: u64 = 1 << 20;

/// Shortest time that a snapshot's settings can name.
const SNAPSHOT_TIME_MIN: Duration = Duration::from_secs(1);

/// Memory that each partition of the store needs at least, to hold something beside its index.
const MEMORY_BYTES_PER_LOOP_MIN: u64 = 256 << 10;

/// Responses of which one can get a line in the access log.
const SAMPLE_MAX: u32 = 1_000_000_000;

/// A server's settings; [`Config::default`] is what the command line defaults to.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses that serve keys.
    pub listen: Vec<Address>,
    /// Address that has the reserved names to itself.
    pub admin: Option<Address>,
    /// Permission bits of Unix-domain sockets.
    pub unix_mode: u32,
    /// File of tokens that requests need; read anew when SIGHUP comes, if [signals](Self::signals) are
    /// taken over.
    pub auth_file: Option<PathBuf>,
    /// Names by which requests may address the server, besides those of its own machine.
    pub hosts: Vec<Host>,
    /// Cores that get an event loop each.
    pub cores: Cores,
    /// Whether each event loop is pinned to its core.
    pub pin: bool,
    /// Spin instead of sleeping.
    pub busy_poll: bool,
    /// Whether SIGTERM and SIGINT end the server in order, and SIGHUP has the access log opened anew
    /// and the tokens read anew.
    pub signals: bool,
    /// Limit on index, entries and values together, in bytes.
    pub memory_bytes_max: u64,
    /// Life of a key that does not come with its own, in seconds.
    pub ttl_seconds: Option<u32>,
    /// The answer to a miss.
    pub miss_status: MissStatus,
    /// The answer to a write.
    pub store_status: StoreStatus,
    /// What answers to GET say of how long they may be kept.
    pub cache_headers: CacheHeaders,
    /// Whether answers to GET and to all writes tell the entity tag.
    pub etag: bool,
    /// Header fields that are stored with a value, sixteen at most.
    pub keep_fields: Vec<KeptName>,
    /// Starts of paths, from `/` to `/`, under which the last segment is the SHA-256 of the value.
    pub cas_prefixes: Vec<String>,
    /// Namespaces, first segments of paths, that `/metrics` shows by themselves, 32 at most.
    pub namespaces: Vec<String>,
    /// Whether the server is a remote cache for Turborepo: a status and events at `v8/artifacts/`, teams
    /// as a part of the key, four more header fields that are kept.
    pub turborepo: bool,
    /// Longest key, in bytes.
    pub key_bytes_max: usize,
    /// Longest value, in bytes.
    pub value_bytes_max: u64,
    /// Longest request head, in bytes.
    pub header_bytes_max: usize,
    /// Connections that may be open at a time.
    pub connections_max: usize,
    /// Limit on the arrival of a request's head.
    pub header_timeout: Duration,
    /// Limit on a pause within a request's body.
    pub body_timeout: Duration,
    /// Least bytes per second of a request's body, and of the client's reading, once the grace is
    /// over; 0 if none is too few.
    pub min_rate: u64,
    /// The time that each body, and each client that is to read, has to begin with.
    pub min_rate_grace: Duration,
    /// Limit on a pause between requests, and on a client that does not read.
    pub idle_timeout: Duration,
    /// Limit on answering what was received when the server ends.
    pub drain_timeout: Duration,
    /// Whether responses have a Date field.
    pub date: bool,
    /// File that gets a line for each response, `-` for standard output.
    pub access_log: Option<PathBuf>,
    /// One of so many responses gets a line, on average.
    pub access_log_sample: u32,
    /// File that the contents are written to at the end, and loaded from at the start.
    pub snapshot: Option<PathBuf>,
    /// How often they are written while the server runs.
    pub snapshot_interval: Option<Duration>,
    /// Oldest snapshot that is loaded.
    pub snapshot_age_max: Option<Duration>,
    /// Whether there is no server without what the snapshot holds.
    pub snapshot_required: bool,
}

impl Default for Config {
    fn default() -> Self {
        let memory = memory_bytes_default();
        Self {
            listen: vec![Address::Tcp(([127, 0, 0, 1], 8080).into())],
            admin: None,
            unix_mode: 0o600,
            auth_file: None,
            hosts: Vec::new(),
            cores: Cores::Auto,
            pin: true,
            busy_poll: false,
            signals: false,
            memory_bytes_max: memory,
            ttl_seconds: None,
            miss_status: MissStatus::NotFound,
            store_status: StoreStatus::Distinct,
            cache_headers: CacheHeaders::None,
            etag: false,
            keep_fields: Vec::new(),
            cas_prefixes: Vec::new(),
            namespaces: Vec::new(),
            turborepo: false,
            key_bytes_max: 1 << 10,
            value_bytes_max: value_bytes_default(memory),
            header_bytes_max: 16 << 10,
            connections_max: 65_536,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            min_rate: 1 << 10,
            min_rate_grace: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
            date: true,
            access_log: None,
            access_log_sample: 1,
            snapshot: None,
            snapshot_interval: None,
            snapshot_age_max: None,
            snapshot_required: false,
        }
    }
}

impl Config {
    /// Checks every setting that has a range; what the system has to say, [`Server::bind`] finds
    /// out.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    ///
    /// [`Server::bind`]: crate::Server::bind
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.listen.is_empty() {
            return Err(Invalid::new("listen", "must name at least one address"));
        }
        if self.value_bytes_max == 0 {
            return Err(Invalid::new("value_bytes_max", "must be at least 1"));
        }
        if self.memory_bytes_max < MEMORY_BYTES_MIN {
            return Err(Invalid::new("memory_bytes_max", "must be at least 1MiB"));
        }
        if KeptFields::new(&self.kept_names()).is_err() {
            let problem = "must be sixteen names at most, twelve with --turborepo";
            return Err(Invalid::new("keep_fields", problem));
        }
        if !self.cas_prefixes.iter().all(|prefix| prefix.starts_with('/') && prefix.ends_with('/'))
        {
            return Err(Invalid::new("cas_prefixes", "must begin and end with /"));
        }
        Namespaces::new(&self.namespaces).map_err(|problem| Invalid::new("namespaces", problem))?;
        check_number("access_log_sample", self.access_log_sample, 1..=SAMPLE_MAX)?;
        self.validate_snapshot()?;
        self.http().validate()?;
        self.cache().validate()?;
        self.net().validate()?;
        self.store(1).validate()
    }

    fn validate_snapshot(&self) -> Result<(), Invalid> {
        let times = [
            ("snapshot_interval", self.snapshot_interval),
            ("snapshot_age_max", self.snapshot_age_max),
        ];
        for (setting, time) in times {
            let Some(time) = time else { continue };
            if time < SNAPSHOT_TIME_MIN {
                return Err(Invalid::new(setting, "must be at least 1s"));
            }
            check_time(setting, time)?;
        }
        let needs_path = [
            ("snapshot_interval", self.snapshot_interval.is_some()),
            ("snapshot_age_max", self.snapshot_age_max.is_some()),
            ("snapshot_required", self.snapshot_required),
        ];
        match needs_path.into_iter().find(|(_, is_set)| *is_set && self.snapshot.is_none()) {
            Some((setting, _)) => Err(Invalid::new(setting, "needs a snapshot")),
            None => Ok(()),
        }
    }

    /// What concerns the event loops.
    pub(crate) fn net(&self) -> net::Settings {
        net::Settings {
            cores: self.cores.clone(),
            pin: self.pin,
            busy_poll: self.busy_poll,
            signals: self.signals,
            connections_max: self.connections_max,
            input_bytes_max: self.header_bytes_max,
            unix_mode: self.unix_mode,
            idle_timeout: self.idle_timeout,
            header_timeout: self.header_timeout,
            body_timeout: self.body_timeout,
            min_rate: self.min_rate,
            min_rate_grace: self.min_rate_grace,
            drain_timeout: self.drain_timeout,
        }
    }

    /// What concerns HTTP, but for the tokens.
    #[must_use]
    pub fn http(&self) -> http::Settings {
        http::Settings {
            header_bytes_max: self.header_bytes_max,
            body_bytes_max: self.value_bytes_max,
            date: self.date,
            rules: FieldRules { tokens: None, hosts: Hosts::new(&self.hosts), kept: self.kept() },
            key_parameters: if self.turborepo { TURBOREPO_TEAM } else { Default::default() },
        }
    }

    /// What concerns the contract.
    #[must_use]
    pub fn cache(&self) -> cache::Settings {
        cache::Settings {
            key_bytes_max: self.key_bytes_max,
            ttl_seconds: self.ttl_seconds,
            miss_status: self.miss_status,
            routes: if self.admin.is_some() { Routes::AdminOnly } else { Routes::Everywhere },
            store_status: self.store_status,
            cache_headers: self.cache_headers,
            etag: self.etag,
            kept: self.kept(),
            // A key is what stands behind the path's first slash.
            cas_prefixes: self
                .cas_prefixes
                .iter()
                .map(|path| path.as_bytes()[1..].into())
                .collect(),
            // What is invalid counts for none.
            namespaces: Namespaces::new(&self.namespaces).unwrap_or_default(),
            turborepo: self.turborepo,
        }
    }

    /// The fields that are kept; none if they are too many, which is invalid.
    fn kept(&self) -> KeptFields {
        KeptFields::new(&self.kept_names()).unwrap_or_default()
    }

    fn kept_names(&self) -> Vec<KeptName> {
        let mut names = self.keep_fields.clone();
        if self.turborepo {
            names.extend(TURBOREPO_FIELDS.iter().filter_map(|name| name.parse().ok()));
        }
        names
    }

    /// What concerns the store of so many event loops.
    pub(crate) fn store(&self, partitions: usize) -> store::Settings {
        store::Settings { partitions, memory_bytes_max: self.memory_bytes_max }
    }
}

/// Least memory for the store of so many event loops, in bytes.
pub(crate) fn memory_bytes_min(loops: usize) -> u64 {
    (loops as u64 * MEMORY_BYTES_PER_LOOP_MIN).max(MEMORY_BYTES_MIN)
}

/// 1 GiB, or half of what the machine or the process's cgroup has if that is less.
#[must_use]
pub fn memory_bytes_default() -> u64 {
    let machine = machine_bytes().unwrap_or(u64::MAX);
    let cgroup = Groups::own().memory_bytes_max().unwrap_or(u64::MAX);
    (machine.min(cgroup) / 2).min(MEMORY_BYTES_DEFAULT_MAX)
}

/// An eighth of the memory, so that one value never makes more than about an eighth of the others
/// go; but from 32 up to 256 MiB.
#[must_use]
pub fn value_bytes_default(memory_bytes_max: u64) -> u64 {
    (memory_bytes_max / VALUE_SHARE).clamp(VALUE_BYTES_DEFAULT_MIN, VALUE_BYTES_DEFAULT_MAX)
}

fn machine_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}
