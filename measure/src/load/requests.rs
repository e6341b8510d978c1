//! Requests that are rendered before they are sent.

use std::ops::Range;

use testkit::{Numbers, Zipf};

use super::wire::Wire;

/// How keys are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Each is as likely as any other.
    Uniform,
    /// By Zipf's law with this exponent; key 0 is the most popular.
    Zipf(f64),
    /// Key 0 alone.
    OneKey,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workload {
    /// Number of keys.
    pub keys: u64,
    /// How they are drawn.
    pub distribution: Distribution,
    /// Share of writes, in percent. The others are reads.
    pub write_percent: u64,
    /// Whether each HTTP request has an `X-Request-Id` of its own.
    pub differing_heads: bool,
    /// Length of all values, in bytes.
    pub value_bytes: usize,
}

/// What a request is, which decides what its reply looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A read of a key that is there.
    Read,
    /// A write of a key that is there.
    Replace,
    /// A write of a key that is not there.
    Create,
}

/// Prepared requests, sent in a circle.
#[derive(Debug, Default)]
pub struct Requests {
    /// All of them, one behind the other.
    pub(super) bytes: Vec<u8>,
    /// Where each ends.
    pub(super) ends: Vec<usize>,
    pub(super) kinds: Vec<Kind>,
}

/// Most requests that are prepared.
const COUNT_MAX: usize = 1 << 20;

/// Most bytes that are prepared, but for the last request.
const BYTES_MAX: usize = 64 << 20;

/// What is stored: digits, as no protocol and no server looks into them.
#[must_use]
pub fn value(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| b'0' + (at % 10) as u8).collect()
}

impl Requests {
    /// Draws requests, a million at most and 64 MiB at most. The same seed draws the same keys in every
    /// protocol.
    #[must_use]
    pub fn draw(wire: &Wire, workload: &Workload, seed: u64) -> Self {
        let mut numbers = Numbers::new(seed);
        let zipf = match workload.distribution {
            Distribution::Zipf(exponent) => Some(Zipf::new(workload.keys, exponent)),
            Distribution::Uniform | Distribution::OneKey => None,
        };
        let value = value(workload.value_bytes);
        let mut requests = Self::default();
        while requests.ends.len() < COUNT_MAX && requests.bytes.len() < BYTES_MAX {
            let key = match (&zipf, workload.distribution) {
                (Some(zipf), _) => zipf.rank(&mut numbers),
                (None, Distribution::OneKey) => 0,
                (None, _) => numbers.below(workload.keys),
            };
            let writes = numbers.below(100) < workload.write_percent;
            let id = workload.differing_heads.then(|| numbers.next());
            if writes {
                wire.write(&mut requests.bytes, key, &value, id);
                requests.push(Kind::Replace);
            } else {
                wire.read(&mut requests.bytes, key, id);
                requests.push(Kind::Read);
            }
        }
        requests
    }

    /// Writes of keys that are not there yet, each once.
    #[must_use]
    pub fn create(wire: &Wire, keys: Range<u64>, value: &[u8]) -> Self {
        let mut requests = Self::default();
        for key in keys {
            wire.write(&mut requests.bytes, key, value, None);
            requests.push(Kind::Create);
        }
        requests
    }

    fn push(&mut self, kind: Kind) {
        self.ends.push(self.bytes.len());
        self.kinds.push(kind);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ends.len()
    }
}
