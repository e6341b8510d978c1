//! `--trace FILE`: what others have recorded, sent again with its times, sizes and lives.
//!
//! The format is that of Twitter's cache traces (Yang, Yue and Rashmi, OSDI 2020; the README of
//! github.com/twitter/cache-trace), uncompressed: lines of
//!
//! ```text
//! timestamp,key,key size,value size,client id,operation,TTL
//! ```
//!
//! with times and TTLs in seconds, which may have a fraction in the first column. Lines that begin with `#`
//! are skipped, and so is a first line that does not begin with a digit. The operations are `get` and
//! `gets` (GET), `delete` (DELETE), and `set`, `add`, `replace`, `cas`, `append`, `prepend`, `incr` and
//! `decr` (PUT). A TTL above 0 is sent as `Cache-Control: max-age=TTL`.
//!
//! Keys become numbers in the order in which they come, with zeros in front up to the size of the key.
//! All requests for a key go over the same connection, so that they stay in order. If all times are
//! whole seconds, the requests of a second are spread evenly over it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::method::Method;
use super::rate::Pace;
use super::request::{Filler, Templates};
use super::values::VALUE_BYTES_MAX;

/// The longest file that is read, in bytes. It is in memory while it is read.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// The most requests: 24 bytes each in memory.
const ENTRIES_MAX: usize = 1 << 26;

/// The longest key, in bytes; servers refuse longer ones.
const KEY_BYTES_MAX: u16 = 8192;

/// One request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Nanoseconds from the first request.
    at: u64,
    /// The number of the key.
    key: u32,
    value_bytes: u32,
    /// Seconds, or 0.
    ttl: u32,
    key_bytes: u16,
    pub(super) method: Method,
}

/// A trace, shared out to connections.
#[derive(Debug)]
pub struct Trace {
    name: String,
    /// By connection.
    shares: Vec<Vec<Entry>>,
    requests: u64,
    keys: u64,
    length_ns: u64,
    value_bytes_max: u32,
    sends: [bool; Method::COUNT],
    /// How much faster than recorded, or nothing to send as fast as the answers come.
    speed: Option<f64>,
}

/// Parses how much faster a trace is replayed: a number, or `max`.
pub(super) fn parse_speed(text: &str) -> Result<Option<f64>, String> {
    match text.parse::<f64>() {
        _ if text == "max" => Ok(None),
        Ok(speed) if speed > 0.0 && speed <= 1e6 => Ok(Some(speed)),
        _ => Err("not a number above 0 and up to 1000000, nor max".to_owned()),
    }
}

impl Trace {
    /// Reads a trace for so many connections.
    pub(super) fn read(
        path: &Path,
        connections: usize,
        speed: Option<f64>,
    ) -> Result<Self, String> {
        let wrong = |why: String| format!("{}: {why}", path.display());
        let length = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
        if length > FILE_BYTES_MAX {
            return Err(wrong(format!("longer than {FILE_BYTES_MAX} bytes")));
        }
        let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let mut trace = Self {
            name: path.display().to_string(),
            shares: vec![Vec::new(); connections],
            requests: 0,
            keys: 0,
            length_ns: 0,
            value_bytes_max: 0,
            sends: [false; Method::COUNT],
            speed,
        };
        let (mut entries, keys) = parse(&bytes).map_err(wrong)?;
        spread(&mut entries);
        let first = entries[0].at;
        for mut entry in entries {
            entry.at -= first;
            trace.requests += 1;
            trace.length_ns = entry.at;
            trace.sends[entry.method as usize] = true;
            trace.value_bytes_max = trace.value_bytes_max.max(entry.value_bytes);
            trace.shares[entry.key as usize % connections].push(entry);
        }
        trace.keys = keys as u64;
        Ok(trace)
    }

    /// How many requests there are.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// How many keys there are.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// The longest value.
    pub(super) fn value_bytes_max(&self) -> u32 {
        self.value_bytes_max
    }

    /// Whether any request has this method.
    pub(super) fn sends(&self, method: Method) -> bool {
        self.sends[method as usize]
    }

    /// The mean rate, if the times of the trace are kept.
    pub(super) fn pace(&self) -> Option<Pace> {
        let seconds = self.length_ns.max(1) as f64 / 1e9 / self.speed?;
        Some(Pace::Trace { mean: self.requests as f64 / seconds })
    }

    /// Whether it is replayed with its times.
    pub(super) fn is_timed(&self) -> bool {
        self.speed.is_some()
    }

    /// A request of a connection.
    pub(super) fn entry(&self, connection: usize, index: usize) -> Entry {
        self.shares[connection][index]
    }

    /// The requests of a connection, from `begin` on.
    pub(super) fn replay(&self, connection: usize, begin: u64) -> Replay {
        let count = self.shares[connection].len();
        let due = self.due(connection, 0, begin);
        Replay { connection, count, next: 0, begin, due }
    }

    fn due(&self, connection: usize, index: usize, begin: u64) -> u64 {
        match (self.speed, self.shares[connection].get(index)) {
            (Some(speed), Some(entry)) => begin + (entry.at as f64 / speed) as u64,
            _ => begin,
        }
    }
}

impl std::fmt::Display for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} requests for {} keys of {}", self.requests, self.keys, self.name)?;
        match self.speed {
            Some(1.0) => f.write_str(", with its times"),
            Some(speed) => write!(f, ", {speed} times as fast as it was recorded"),
            None => f.write_str(", as fast as the answers came"),
        }
    }
}

/// Where a connection is in its share of a trace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replay {
    connection: usize,
    count: usize,
    next: usize,
    begin: u64,
    /// When the next request is to be sent.
    pub(super) due: u64,
}

impl Replay {
    /// Whether all is sent.
    pub(super) fn is_over(&self) -> bool {
        self.next == self.count
    }

    /// Takes the next request, of which there is one.
    pub(super) fn advance(&mut self, trace: &Trace) -> usize {
        let index = self.next;
        self.next += 1;
        self.due = trace.due(self.connection, self.next, self.begin);
        index
    }

    /// Requests that were due before `end` and are not sent.
    pub(super) fn behind(&self, trace: &Trace, end: u64) -> u64 {
        if trace.speed.is_none() {
            return 0;
        }
        let rest = self.next..self.count;
        rest.take_while(|&index| trace.due(self.connection, index, self.begin) < end).count() as u64
    }
}

impl Entry {
    /// Appends the request.
    pub(super) fn render(&self, out: &mut Vec<u8>, templates: &Templates, filler: &Filler) {
        let life = (self.ttl > 0).then_some(self.ttl);
        let (key, width) = (u64::from(self.key), usize::from(self.key_bytes));
        let body = if self.method.is_store() { Some(self.value_bytes as usize) } else { None };
        templates.padded(out, self.method, key, width, life, body);
        out.extend_from_slice(filler.cut(key, body.unwrap_or(0)));
    }
}

/// The requests in the order of the file, and the number of keys.
fn parse(bytes: &[u8]) -> Result<(Vec<Entry>, usize), String> {
    let mut keys: HashMap<&[u8], u32> = HashMap::new();
    let mut entries: Vec<Entry> = Vec::new();
    let mut latest = 0;
    for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        let line = line.trim_ascii();
        let is_title = number == 1 && line.first().is_some_and(|byte| !byte.is_ascii_digit());
        if line.is_empty() || line[0] == b'#' || is_title {
            continue;
        }
        if entries.len() == ENTRIES_MAX {
            return Err(format!("more than {ENTRIES_MAX} requests"));
        }
        let count = keys.len() as u32;
        let mut entry = entry(line, |key| *keys.entry(key).or_insert(count))
            .map_err(|why| format!("line {number}: {why}"))?;
        // Several threads may have recorded; a time before the last one is that of the last one.
        latest = entry.at.max(latest);
        entry.at = latest;
        entries.push(entry);
    }
    if entries.is_empty() {
        return Err("no request in it".to_owned());
    }
    Ok((entries, keys.len()))
}

fn entry<'a>(line: &'a [u8], key_number: impl FnOnce(&'a [u8]) -> u32) -> Result<Entry, String> {
    // The anonymized keys of some clusters have commas in them: the last columns are counted from
    // the end.
    let columns: Vec<_> = line.split(|&byte| byte == b',').collect();
    let count = columns.len();
    if count < 7 {
        return Err("not timestamp,key,key size,value size,client id,operation,TTL".to_owned());
    }
    let key = &line[columns[0].len() + 1..];
    let tail: usize = columns[count - 5..].iter().map(|column| column.len() + 1).sum();
    let key = &key[..key.len() - tail];
    let number = |column: &[u8], what: &str, max: f64| {
        let text = std::str::from_utf8(column).unwrap_or_default().trim();
        let value = text.parse::<f64>().ok().filter(|value| (0.0..=max).contains(value));
        value.ok_or_else(|| format!("'{}' is no {what}", column.escape_ascii()))
    };
    let method = match columns[count - 2].trim_ascii() {
        b"get" | b"gets" => Method::Get,
        b"delete" => Method::Delete,
        b"set" | b"add" | b"replace" | b"cas" | b"append" | b"prepend" | b"incr" | b"decr" => {
            Method::Put
        }
        other => return Err(format!("'{}' is no operation", other.escape_ascii())),
    };
    Ok(Entry {
        at: (number(columns[0], "time", 1e9)? * 1e9) as u64,
        key: key_number(key),
        key_bytes: number(columns[count - 5], "size of a key", f64::from(KEY_BYTES_MAX))? as u16,
        value_bytes: number(columns[count - 4], "size of a value", f64::from(VALUE_BYTES_MAX))?
            as u32,
        ttl: number(columns[count - 1], "TTL", f64::from(u32::MAX))? as u32,
        method,
    })
}

/// If all times are whole seconds, spreads the requests of each second over it.
fn spread(entries: &mut [Entry]) {
    const SECOND: u64 = 1_000_000_000;
    if entries.iter().any(|entry| !entry.at.is_multiple_of(SECOND)) {
        return;
    }
    for second in entries.chunk_by_mut(|one, other| one.at == other.at) {
        let count = second.len() as u64;
        for (index, entry) in (0..).zip(second) {
            entry.at += SECOND * index / count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let text = b"timestamp,key,key size,value size,client id,operation,TTL\n\
                     # a comment\n\
                     10,nz:u:a,20,100,1,set,60\n10,b,3,0,2,get,0\r\n\n11,nz:u:a,20,0,1,delete,0\n\
                     9,with,comma,10,5,1,add,7\n";
        let (mut entries, keys) = parse(text).unwrap();
        assert_eq!((entries.len(), keys), (4, 3));
        spread(&mut entries);
        let of = |entry: &Entry| {
            (entry.at / 500_000_000, entry.key, entry.key_bytes, entry.value_bytes, entry.ttl)
        };
        assert_eq!(of(&entries[0]), (20, 0, 20, 100, 60));
        assert_eq!(of(&entries[1]), (21, 1, 3, 0, 0));
        assert_eq!(of(&entries[2]), (22, 0, 20, 0, 0));
        assert_eq!(of(&entries[3]), (23, 2, 10, 5, 7));
        let methods = [Method::Put, Method::Get, Method::Delete, Method::Put];
        assert!(entries.iter().zip(methods).all(|(entry, method)| entry.method == method));
    }

    #[test]
    fn times_with_a_fraction_stay_what_they_are() {
        let (mut entries, _) = parse(b"1.5,a,1,1,1,get,0\n1.5,b,1,1,1,get,0\n").unwrap();
        spread(&mut entries);
        assert_eq!(entries.iter().map(|entry| entry.at).collect::<Vec<_>>(), [1_500_000_000; 2]);
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, about) in [
            ("", "no request"),
            ("1,2,3", "line 1: not timestamp"),
            ("1,a,1,1,1,get,0\n1,a,1,1,1,fly,0", "line 2: 'fly' is no operation"),
            ("1,a,1,x,1,get,0", "'x' is no size of a value"),
            ("1,a,1,99999999999,1,get,0", "is no size of a value"),
            ("1,a,9999,1,1,get,0", "is no size of a key"),
            ("1,a,1,1,1,get,-1", "is no TTL"),
            ("1e99,a,1,1,1,get,0", "is no time"),
        ] {
            let why = parse(text.as_bytes()).unwrap_err();
            assert!(why.contains(about), "{text}: {why}");
        }
    }
}
