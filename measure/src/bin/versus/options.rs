//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::grid::{Axes, Group, Heads, Keys, Transport};

/// Compares corekv with other servers on this machine.
///
/// Without any of --transports, --values, --distributions, --writes and --heads, a base (TCP, 8 bytes,
/// uniform, 20 % writes, plain heads) is measured, and each other value of one of them by itself. With any
/// of them, all combinations of what they say are measured, with the base for the others.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Measure all combinations of all axes.
    #[arg(long)]
    full: bool,

    /// Servers, in the order of the tables; those that are not installed are left out.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "floor,corekv,reference,redis,memcached,nginx,haproxy,haterm"
    )]
    pub(crate) servers: Vec<String>,

    /// Another build of corekv to compare, or the same with other flags; may be repeated.
    #[arg(long, value_name = "NAME=PATH FLAGS")]
    pub(crate) build: Vec<String>,

    /// Requests in flight per connection.
    #[arg(long, value_delimiter = ',', default_value = "1,10,64")]
    pub(crate) depths: Vec<usize>,

    /// Transports.
    #[arg(long, value_delimiter = ',')]
    transports: Option<Vec<Transport>>,

    /// Lengths of values, in bytes or with the unit KiB.
    #[arg(long, value_delimiter = ',', value_parser = length)]
    values: Option<Vec<usize>>,

    /// Distributions of keys.
    #[arg(long, value_delimiter = ',')]
    distributions: Option<Vec<Keys>>,

    /// Shares of writes, in percent.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u64).range(0..=100))]
    writes: Option<Vec<u64>>,

    /// Whether all HTTP requests have the same header fields, or an X-Request-Id of their own.
    #[arg(long, value_delimiter = ',')]
    heads: Option<Vec<Heads>>,

    /// Rounds; each starts all servers anew.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// Seconds that each server is measured in each cell of each round.
    #[arg(long, default_value_t = 0.3)]
    pub(crate) seconds: f64,

    /// Cores of the server; by default the lower half.
    #[arg(long, value_delimiter = ',')]
    pub(crate) server_cores: Option<Vec<usize>>,

    /// Cores of the load; by default the upper half.
    #[arg(long, value_delimiter = ',')]
    pub(crate) load_cores: Option<Vec<usize>>,

    /// Connections.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,

    /// Keys; fewer where values are long, 256 MiB of values at most.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) keys: u64,

    /// Rates at which latency is measured in an open loop, in percent of the rate that the server
    /// reached with ten requests in flight.
    #[arg(long, value_delimiter = ',', default_value = "10,30,50,70,80,90,95")]
    loads: Vec<f64>,

    /// Leave latency in an open loop out.
    #[arg(long)]
    no_loads: bool,

    /// Folder for the results.
    #[arg(long, default_value = "target/versus")]
    pub(crate) out: PathBuf,

    /// Also copy the results to docs/versus, and put the main figures into README.md and
    /// docs/performance.md.
    #[arg(long)]
    pub(crate) publish: bool,
}

impl Options {
    /// Shares of the saturation rate at which latency is measured.
    pub(crate) fn loads(&self) -> impl Iterator<Item = f64> {
        self.loads.iter().filter(|_| !self.no_loads).map(|percent| percent / 100.0)
    }

    /// What is to be measured.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let all = Axes::all();
        if self.full {
            return all.product();
        }
        let chosen = self.transports.is_some()
            || self.values.is_some()
            || self.distributions.is_some()
            || self.writes.is_some()
            || self.heads.is_some();
        if !chosen {
            return all.one_at_a_time();
        }
        let axes = Axes {
            transports: self.transports.clone().unwrap_or_else(|| all.transports[..1].to_vec()),
            values: self.values.clone().unwrap_or_else(|| all.values[..1].to_vec()),
            keys: self.distributions.clone().unwrap_or_else(|| all.keys[..1].to_vec()),
            writes: self.writes.clone().unwrap_or_else(|| all.writes[..1].to_vec()),
            heads: self.heads.clone().unwrap_or_else(|| all.heads[..1].to_vec()),
        };
        axes.product()
    }
}

fn length(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.strip_suffix("KiB") {
        Some(digits) => (digits, 1 << 10),
        None => (text, 1),
    };
    let number: usize = digits.trim().parse().map_err(|_| "a number of bytes or KiB")?;
    let bytes = number.saturating_mul(unit);
    if bytes == 0 || bytes > 1 << 20 { Err("from 1 byte to 1024KiB".to_owned()) } else { Ok(bytes) }
}
