//! What a server is made with: every setting and limit by name.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::MissStatus;
use crate::net::{Address, Cores};

/// Memory for the store where the machine has enough.
const MEMORY_BYTES_DEFAULT_MAX: u64 = 1 << 30;

/// A server's settings; [`Config::default`] is what the command line defaults to.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses that serve keys.
    pub listen: Vec<Address>,
    /// Address that has the reserved names to itself.
    pub admin: Option<Address>,
    /// Permission bits of Unix-domain sockets.
    pub unix_mode: u32,
    /// File of tokens that requests need.
    pub auth_file: Option<PathBuf>,
    /// Cores that get an event loop each.
    pub cores: Cores,
    /// Whether each event loop is pinned to its core.
    pub pin: bool,
    /// Spin instead of sleeping.
    pub busy_poll: bool,
    /// Whether SIGTERM and SIGINT end the server in order.
    pub signals: bool,
    /// Limit on index, entries and values together, in bytes.
    pub memory_bytes_max: u64,
    /// Life of a key that does not come with its own, in seconds.
    pub ttl_seconds: Option<u32>,
    /// The answer to a miss.
    pub miss_status: MissStatus,
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
    /// Limit on a pause between requests, and on a client that does not read.
    pub idle_timeout: Duration,
    /// Limit on answering what was received when the server ends.
    pub drain_timeout: Duration,
    /// Whether responses have a Date field.
    pub date: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![Address::Tcp(([127, 0, 0, 1], 8080).into())],
            admin: None,
            unix_mode: 0o600,
            auth_file: None,
            cores: Cores::Auto,
            pin: true,
            busy_poll: false,
            signals: false,
            memory_bytes_max: memory_bytes_default(),
            ttl_seconds: None,
            miss_status: MissStatus::NotFound,
            key_bytes_max: 1 << 10,
            value_bytes_max: 32 << 20,
            header_bytes_max: 16 << 10,
            connections_max: 65_536,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
            date: true,
        }
    }
}

/// Memory that each partition of the store needs at least, to hold something beside its index.
const MEMORY_BYTES_PER_LOOP_MIN: u64 = 256 << 10;

/// Least memory that a store can work with, in bytes.
pub(crate) const MEMORY_BYTES_MIN: u64 = 1 << 20;

/// Least memory for the store of so many event loops, in bytes.
pub(crate) fn memory_bytes_min(loops: usize) -> u64 {
    (loops as u64 * MEMORY_BYTES_PER_LOOP_MIN).max(MEMORY_BYTES_MIN)
}

/// 1 GiB, or half of what the machine or the process's cgroup has if that is less.
#[must_use]
pub fn memory_bytes_default() -> u64 {
    let machine = machine_bytes().unwrap_or(u64::MAX);
    let cgroup = cgroup_bytes().unwrap_or(u64::MAX);
    (machine.min(cgroup) / 2).min(MEMORY_BYTES_DEFAULT_MAX)
}

fn machine_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// The least limit from the process's cgroup up to the root, for version 2; the limit of the
/// memory controller's own cgroup, for version 1 (cgroups(7)).
fn cgroup_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    text.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            match (parts.next()?, parts.next()?) {
                ("", path) => limit(Path::new("/sys/fs/cgroup"), path, "memory.max"),
                ("memory", path) => {
                    limit(Path::new("/sys/fs/cgroup/memory"), path, "memory.limit_in_bytes")
                }
                _ => None,
            }
        })
        .min()
}

fn limit(root: &Path, path: &str, file: &str) -> Option<u64> {
    let own = root.join(path.trim_start_matches('/'));
    own.ancestors()
        .take_while(|directory| directory.starts_with(root))
        .filter_map(|directory| fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok())
        .min()
}
