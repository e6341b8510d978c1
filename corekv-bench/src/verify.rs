//! `--verify`: every value carries its key and a version, so that a response tells whether it is
//! the right one.
//!
//! Each key is written by one connection only. Its versions therefore reach the server in order,
//! and a read that began after version 5 was acknowledged must not see version 4.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use super::digits::push_digits;
use super::error::Error;
use super::mix::Operation;
use super::request::Filler;
use super::values::Values;
use super::workload::Workload;

/// The shortest value that has room for every key and version, in bytes.
pub const VERIFY_BYTES_MIN: u32 = 32;

/// The most keys whose versions are kept: 8 bytes each, so a gigabyte.
pub const VERIFY_KEYS_MAX: u64 = 1 << 27;

/// Violations that are kept word for word, per load thread.
const EXAMPLES_MAX: usize = 10;

/// Set on the acknowledged version of a key that a broken connection left a write of unanswered.
/// That write may take effect at any later time, so no version of such a key is ever too old.
const UNSURE: u32 = 1 << 31;

/// What is known of each key: 8 bytes.
#[derive(Debug)]
pub struct Ledger {
    keys: Vec<Versions>,
    values: Values,
    connections: u64,
}

#[derive(Debug, Default)]
struct Versions {
    issued: AtomicU32,
    acknowledged: AtomicU32,
}

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It doesn't begin with a key and a version.
    Corrupt,
    /// It belongs to this key.
    OtherKey(u64),
    /// It is older than what was acknowledged before the request was sent.
    Stale {
        /// The version in the value.
        found: u32,
        /// The oldest version that would have been right.
        oldest: u32,
    },
    /// No such version was ever sent.
    NeverWritten(u32),
    /// It should have been this long.
    Length(usize),
}

impl Ledger {
    /// Whether values of this workload can be told apart, and each connection has a key.
    pub fn check_settings(workload: &Workload, connections: usize) -> Result<(), Error> {
        if workload.values.bounds().is_some_and(|(min, _)| min < VERIFY_BYTES_MIN) {
            return Err(Error::usage(format!(
                "--verify needs --value-bytes of at least {VERIFY_BYTES_MIN}, for key and version"
            )));
        }
        let is_foreign =
            |operation| matches!(operation, Operation::Insert | Operation::ReadModifyWrite);
        if workload.read_through || workload.mix.operations().any(|(one, _)| is_foreign(one)) {
            return Err(Error::usage(
                "--verify has each key written by one connection, and inserts, rmw and \
                 --read-through write any",
            ));
        }
        if workload.keys < connections as u64 {
            return Err(Error::usage("--verify needs at least one key per connection"));
        }
        if workload.keys > VERIFY_KEYS_MAX {
            return Err(Error::usage(format!("--verify knows up to {VERIFY_KEYS_MAX} keys")));
        }
        Ok(())
    }

    /// A ledger for a server that knows none of the keys yet, and for settings that were checked.
    pub fn new(workload: &Workload, connections: usize) -> Self {
        let keys = (0..workload.keys).map(|_| Versions::default()).collect();
        Self { keys, values: workload.values, connections: connections as u64 }
    }

    /// The key nearest to `key` that `connection` may write.
    pub fn own_key(&self, key: u64, connection: usize) -> u64 {
        let own = key - key % self.connections + connection as u64;
        if own < self.keys.len() as u64 { own } else { own - self.connections }
    }

    /// The version of the next write of `key`.
    pub fn issue(&self, key: u64) -> u32 {
        self.keys[key as usize].issued.fetch_add(1, Ordering::Release) + 1
    }

    /// The oldest version that a read of `key` that is sent now may see; 0 if it may miss.
    pub fn oldest_right(&self, key: u64) -> u32 {
        let acknowledged = self.keys[key as usize].acknowledged.load(Ordering::Acquire);
        if acknowledged & UNSURE == 0 { acknowledged } else { 0 }
    }

    /// The server answered the write of `version`.
    pub fn acknowledge(&self, key: u64, version: u32) {
        let acknowledged = &self.keys[key as usize].acknowledged;
        let unsure = acknowledged.load(Ordering::Relaxed) & UNSURE;
        acknowledged.store(version | unsure, Ordering::Release);
    }

    /// A write of `key` will never be answered.
    pub fn give_up(&self, key: u64) {
        self.keys[key as usize].acknowledged.fetch_or(UNSURE, Ordering::Release);
    }

    /// Writes the value of a version to `out`, which is emptied first.
    pub fn render(&self, out: &mut Vec<u8>, filler: &Filler, key: u64, version: u32) {
        out.clear();
        push_digits(out, key);
        out.push(b':');
        push_digits(out, version.into());
        if self.values != Values::Counter {
            out.push(b':');
            let variant = variant(key, version);
            let (min, max) = self.values.range(|| variant.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let length = min as usize + (variant % (u64::from(max - min) + 1)) as usize;
            let rest = length - out.len();
            out.extend_from_slice(filler.cut(variant, rest));
        }
    }

    /// Checks the answer to a read of `key` whose oldest right version was `oldest`.
    /// `scratch` is working memory.
    pub fn check(
        &self,
        scratch: &mut Vec<u8>,
        filler: &Filler,
        key: u64,
        oldest: u32,
        body: &[u8],
    ) -> Result<(), Wrong> {
        let (found_key, found) = key_and_version(body).ok_or(Wrong::Corrupt)?;
        if found_key != key {
            return Err(Wrong::OtherKey(found_key));
        }
        if found < oldest {
            return Err(Wrong::Stale { found, oldest });
        }
        if found == 0 || found > self.keys[key as usize].issued.load(Ordering::Acquire) {
            return Err(Wrong::NeverWritten(found));
        }
        self.render(scratch, filler, key, found);
        if body.len() != scratch.len() {
            return Err(Wrong::Length(scratch.len()));
        }
        if body != scratch.as_slice() { Err(Wrong::Corrupt) } else { Ok(()) }
    }
}

/// Mixes key and version into a number that picks length and filler.
fn variant(key: u64, version: u32) -> u64 {
    let mixed = (key ^ u64::from(version) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed >> 20
}

fn key_and_version(body: &[u8]) -> Option<(u64, u32)> {
    let (key, rest) = leading_number(body)?;
    let (version, rest) = leading_number(rest.strip_prefix(b":")?)?;
    matches!(rest, [] | [b':', ..]).then_some((key, u32::try_from(version).ok()?))
}

fn leading_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    let digits = std::str::from_utf8(&bytes[..end]).ok()?;
    Some((digits.parse().ok()?, &bytes[end..]))
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt => f.write_str("not a value that was ever written"),
            Self::OtherKey(key) => write!(f, "the value of key {key}"),
            Self::Stale { found, oldest } => {
                write!(f, "version {found}, but {oldest} was acknowledged before the request")
            }
            Self::NeverWritten(version) => {
                write!(f, "version {version}, which was never written")
            }
            Self::Length(right) => write!(f, "a wrong length, {right} would have been right"),
        }
    }
}

/// How many answers were wrong, and the first of them word for word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations {
    /// All of them.
    pub count: u64,
    /// The first ones, with the offending bytes.
    pub examples: Vec<String>,
}

impl Violations {
    /// Notes a wrong answer.
    pub fn add(&mut self, key: u64, wrong: Wrong, body: &[u8]) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            let shown = &body[..body.len().min(64)];
            let cut = if body.len() > shown.len() { "…" } else { "" };
            self.examples.push(format!(
                "GET of key {key} got {wrong}: {} bytes \"{}\"{cut}",
                body.len(),
                shown.escape_ascii()
            ));
        }
    }

    /// Adds another thread's.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        let room = EXAMPLES_MAX.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.iter().take(room).cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::Distribution;
    use crate::mix::Mix;

    fn ledger(values: Values) -> Ledger {
        let workload = Workload {
            keys: 10,
            distribution: Distribution::Uniform,
            mix: Mix::write_ratio(0.5),
            values,
            seed: 0,
            read_through: false,
        };
        Ledger::new(&workload, 4)
    }

    #[test]
    fn every_key_belongs_to_one_connection() {
        let ledger = ledger(Values::Counter);
        for connection in 0..4 {
            for key in 0..10 {
                let own = ledger.own_key(key, connection);
                assert!(own < 10 && own % 4 == connection as u64, "{key} {connection} {own}");
            }
        }
    }

    #[test]
    fn right_values_pass_and_wrong_ones_are_named() {
        for values in [Values::Counter, Values::Bytes { min: 32, max: 90 }] {
            let ledger = ledger(values);
            let filler = Filler::new(90);
            let (mut body, mut scratch) = (Vec::new(), Vec::new());
            for _ in 0..3 {
                ledger.issue(7);
            }
            ledger.issue(8);
            ledger.acknowledge(7, 2);
            assert_eq!(ledger.oldest_right(7), 2);
            let mut check =
                |oldest, body: &[u8]| ledger.check(&mut scratch, &filler, 7, oldest, body);
            ledger.render(&mut body, &filler, 7, 2);
            assert_eq!(check(2, &body), Ok(()));
            assert_eq!(check(3, &body), Err(Wrong::Stale { found: 2, oldest: 3 }));
            ledger.render(&mut body, &filler, 7, 3);
            assert_eq!(check(2, &body), Ok(()));
            ledger.render(&mut body, &filler, 7, 4);
            assert_eq!(check(2, &body), Err(Wrong::NeverWritten(4)));
            ledger.render(&mut body, &filler, 8, 1);
            assert_eq!(check(0, &body), Err(Wrong::OtherKey(8)));
            for bytes in [&b""[..], b"x", b"7", b"7:", b"7:x", b"7:2x", b":2", b"7:99999999999"] {
                assert_eq!(check(0, bytes), Err(Wrong::Corrupt), "{bytes:?}");
            }
        }
    }

    #[test]
    fn a_wrong_length_or_filler_is_found() {
        let ledger = ledger(Values::Bytes { min: 40, max: 40 });
        let filler = Filler::new(40);
        let (mut body, mut scratch) = (Vec::new(), Vec::new());
        ledger.issue(1);
        ledger.render(&mut body, &filler, 1, 1);
        let short = &body[..39];
        assert_eq!(ledger.check(&mut scratch, &filler, 1, 1, short), Err(Wrong::Length(40)));
        let mut other = body.clone();
        other[39] ^= 1;
        assert_eq!(ledger.check(&mut scratch, &filler, 1, 1, &other), Err(Wrong::Corrupt));
    }

    #[test]
    fn a_write_without_answer_makes_its_key_unsure_for_good() {
        let ledger = ledger(Values::Counter);
        ledger.acknowledge(3, 5);
        ledger.give_up(3);
        assert_eq!(ledger.oldest_right(3), 0);
        ledger.acknowledge(3, 6);
        assert_eq!(ledger.oldest_right(3), 0);
    }
}
