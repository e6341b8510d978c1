//! What is measured: cells of a grid with seven axes.

use std::fmt;

use clap::ValueEnum;
use measure::load::{Distribution, Workload};

/// Exponent of Zipf's law.
const ZIPF: f64 = 0.99;

/// Bytes of all values together, at most.
const VALUES_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    Tcp,
    Unix,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Keys {
    Uniform,
    Zipf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Heads {
    Plain,
    Differing,
}

/// What the servers are started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) transport: Transport,
    pub(crate) value_bytes: usize,
}

/// All axes but the depth: what a table is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) setup: Setup,
    pub(crate) keys: Keys,
    pub(crate) write_percent: u64,
    pub(crate) heads: Heads,
}

/// The values of each axis. The first of each is the base of all comparisons.
#[derive(Debug, Clone)]
pub(crate) struct Axes {
    pub(crate) transports: Vec<Transport>,
    pub(crate) values: Vec<usize>,
    pub(crate) keys: Vec<Keys>,
    pub(crate) writes: Vec<u64>,
    pub(crate) heads: Vec<Heads>,
}

impl Axes {
    /// All values that there are.
    pub(crate) fn all() -> Self {
        Self {
            transports: vec![Transport::Tcp, Transport::Unix],
            values: vec![8, 1 << 10, 64 << 10],
            keys: vec![Keys::Uniform, Keys::Zipf],
            writes: vec![20, 5],
            heads: vec![Heads::Plain, Heads::Differing],
        }
    }

    /// Every combination, those with the same set-up beside each other.
    pub(crate) fn product(&self) -> Vec<Group> {
        let mut groups = Vec::new();
        for &transport in &self.transports {
            for &value_bytes in &self.values {
                for &keys in &self.keys {
                    for &write_percent in &self.writes {
                        for &heads in &self.heads {
                            let setup = Setup { transport, value_bytes };
                            groups.push(Group { setup, keys, write_percent, heads });
                        }
                    }
                }
            }
        }
        groups
    }

    /// The base, and each other value of one axis with the base of all others.
    pub(crate) fn one_at_a_time(&self) -> Vec<Group> {
        let product = self.product();
        let base = product[0];
        let differences = |group: &Group| {
            usize::from(group.setup.transport != base.setup.transport)
                + usize::from(group.setup.value_bytes != base.setup.value_bytes)
                + usize::from(group.keys != base.keys)
                + usize::from(group.write_percent != base.write_percent)
                + usize::from(group.heads != base.heads)
        };
        product.into_iter().filter(|group| differences(group) <= 1).collect()
    }
}

impl Group {
    pub(crate) fn workload(&self, keys: u64) -> Workload {
        Workload {
            keys: self.setup.keys(keys),
            distribution: match self.keys {
                Keys::Uniform => Distribution::Uniform,
                Keys::Zipf => Distribution::Zipf(ZIPF),
            },
            write_percent: self.write_percent,
            differing_heads: self.heads == Heads::Differing,
            value_bytes: self.setup.value_bytes,
        }
    }
}

impl Setup {
    /// How many keys there are: the number asked for, or less where values are long.
    pub(crate) fn keys(&self, wanted: u64) -> u64 {
        wanted.min(VALUES_BYTES_MAX / self.value_bytes.max(1) as u64).max(1)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.setup.transport {
            Transport::Tcp => "TCP",
            Transport::Unix => "Unix-domain sockets",
        };
        let keys = match self.keys {
            Keys::Uniform => "uniform keys",
            Keys::Zipf => "Zipf 0.99",
        };
        let heads = match self.heads {
            Heads::Plain => "plain heads",
            Heads::Differing => "differing heads",
        };
        let (reads, writes) = (100 - self.write_percent, self.write_percent);
        let value = bytes(self.setup.value_bytes);
        write!(f, "{transport}, {reads}/{writes}, {keys}, {heads}, values of {value}")
    }
}

fn bytes(bytes: usize) -> String {
    if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) {
        format!("{} KiB", bytes >> 10)
    } else {
        format!("{bytes} bytes")
    }
}
