//! Miss ratios of the store next to those of textbook policies.
//!
//! The store is driven through its public interface, as a client uses a cache: a get, and a put
//! after a miss. Each trace is run from an empty cache; the first third of it is not counted.
//!
//! - `cargo run --release -p measure --bin cachesim [small [KEYS [REQUESTS]]]`: values of 200 bytes. The
//!   others hold as many entries as the store really held in the end, so that only the choice of
//!   what to keep is compared.
//! - `… equal [PERCENT [VALUES]]`: values of one size, of which the store holds about PERCENT of all,
//!   with one, two and eight partitions. 31 values of 256 KiB in 8 MiB are what values of 8 MiB are
//!   in 256, and 7 of 512 KiB in 4 MiB what values of 32 MiB are in 256. VALUES picks one line of
//!   the table, by how many values there is room for.
//! - `… full [PERCENT [VALUES]]`: those 8 and 32 MiB themselves, in 256 MiB, which takes its time:
//!   every value is written.
//! - `… mixed [PERCENT]`: values of 8 bytes to 8 MiB in 64 MiB, as 32 MiB are in 256.
//! - `… replay FILE KEY SIZE MEBIBYTES…`: the columns KEY and SIZE of a CSV file, from 1 on.
//! - `… extents FILE MEBIBYTES…`: a trace in the format of ARC's authors, each request of which is for one
//!   value, as long as its blocks of 512 bytes.
//! - `… keys FILE ENTRIES…`: a file with a key per line, for values of 200 bytes and room for about so many
//!   entries. As in the first, the others hold as many as the store really held.
//! - `… lirs FILE ENTRIES…`, `… arc FILE ENTRIES…`: the same with the formats of LIRS' and of ARC's authors,
//!   block by block.
//!
//! In all but the first and the last three, the others have as many bytes as the store, and an entry takes of them
//! what it takes of the store. The last column is LRU with 98 % of them: what a store keeps for itself no
//! textbook policy needs.

mod policies;
mod traces;

use std::error::Error;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use corekv::store::{Expiry, Settings, Store, Tick};
use policies::{Fifo, Gdsf, Lru, Policy, S3Fifo, Sieve};
use traces::{Popularity, Sizes, Trace};

/// Bytes that the store needs per entry of the first table, about: only to choose the memory.
const ENTRY_BYTES: u64 = 240;

/// Bytes of the first table's values.
const VALUE_BYTES: u64 = 200;

/// Bytes that are written at a time; all values are made of the same ones.
const PIECE_BYTES: usize = 64 << 10;

/// What a value takes of the store's memory.
fn cost(size: u64) -> u64 {
    Store::cost(size_of::<u32>(), 0, size as usize)
}

struct Engine {
    store: Arc<Store>,
    piece: Vec<u8>,
    /// Bytes in use at least, since the store was full once.
    least: Option<u64>,
    memory: u64,
}

impl Engine {
    fn new(partitions: usize, memory: u64) -> Self {
        let settings = Settings { partitions, memory_bytes_max: memory };
        let store = Store::new(settings).expect("address space");
        Self { store, piece: vec![7; PIECE_BYTES], least: None, memory }
    }

    fn used(&self) -> u64 {
        (0..self.store.partitions()).map(|at| self.store.statistics(at).bytes).sum()
    }

    fn keys(&self) -> u64 {
        (0..self.store.partitions()).map(|at| self.store.statistics(at).keys).sum()
    }

    /// Whether the key was there.
    fn request(&mut self, number: u32, size: u64) -> bool {
        let name = number.to_le_bytes();
        let key = self.store.key(&name);
        let hit = self.store.get(key, Tick(0), |_| ()).is_some();
        if !hit {
            let mut upload = self.store.upload(key);
            let mut left = size as usize;
            while left > 0 {
                let now = left.min(PIECE_BYTES);
                upload.append(&self.piece[..now]).expect("the store has room for it");
                left -= now;
            }
            self.store.put_upload(key, upload, Expiry::NEVER, Tick(0)).expect("and for its key");
        }
        hit
    }

    /// Looks how much of the memory is in use, if something was evicted.
    fn watch(&mut self) {
        let evicted = |at| self.store.statistics(at).evicted;
        if self.least.is_some() || (0..self.store.partitions()).map(evicted).sum::<u64>() > 0 {
            self.least = Some(self.least.unwrap_or(u64::MAX).min(self.used()));
        }
    }
}

/// Object and byte miss ratio.
#[derive(Debug, Clone, Copy)]
struct Misses {
    objects: f64,
    bytes: f64,
}

fn misses(trace: &Trace, mut request: impl FnMut(u32, u64) -> bool) -> Misses {
    let (mut missed, mut missed_bytes, mut bytes) = (0u64, 0, 0);
    let (warm_up, counted) = trace.requests.split_at(trace.requests.len() / 3);
    for &key in warm_up {
        request(key, trace.sizes[key as usize]);
    }
    for &key in counted {
        let size = trace.sizes[key as usize];
        bytes += size;
        if !request(key, size) {
            missed += 1;
            missed_bytes += size;
        }
    }
    let share = |part: u64, all: u64| part as f64 / all as f64;
    Misses { objects: share(missed, counted.len() as u64), bytes: share(missed_bytes, bytes) }
}

fn misses_of(policy: &mut impl Policy, trace: &Trace) -> Misses {
    misses(trace, |key, size| policy.request(key, cost(size)))
}

/// Of a hundred parts of the memory, those that LRU has when it is compared as a cache that keeps something
/// for itself: an index, open pages, a reserve.
const LRU_SHARE: u64 = 98;

/// LRU, FIFO, SIEVE, S3-FIFO and GDSF.
fn references(trace: &Trace, capacity: u64) -> [Misses; 5] {
    let keys = trace.sizes.len();
    [
        misses_of(&mut Lru::new(keys, capacity), trace),
        misses_of(&mut Fifo::new(keys, capacity), trace),
        misses_of(&mut Sieve::new(keys, capacity), trace),
        misses_of(&mut S3Fifo::new(keys, capacity), trace),
        misses_of(&mut Gdsf::new(capacity), trace),
    ]
}

fn small(keys: usize, requests: usize) {
    println!("{keys} keys, {requests} requests; miss ratios");
    println!("trace        size   entries   corekv      LRU     FIFO    SIEVE  S3-FIFO");
    for popularity in Popularity::ALL {
        let trace = Trace::draw(popularity, Sizes::Equal(VALUE_BYTES), keys, requests);
        for percent in [1, 10, 30] {
            let memory = (keys * percent / 100) as u64 * ENTRY_BYTES;
            let mut engine = Engine::new(1, memory);
            let corekv = misses(&trace, |key, size| engine.request(key, size)).objects;
            let held = engine.keys();
            let [lru, fifo, sieve, s3fifo, _] = references(&trace, held * cost(VALUE_BYTES));
            let verdict = if corekv <= lru.objects { "" } else { "  worse than LRU" };
            println!(
                "{:<12} {percent:>3} % {held:>8} {corekv:>8.4} {:>8.4} {:>8.4} {:>8.4} \
                 {:>8.4}{verdict}",
                popularity.name(),
                lru.objects,
                fifo.objects,
                sieve.objects,
                s3fifo.objects
            );
        }
    }
}

/// Bytes of a value and of the store that it is tried in, and requests per key.
const EQUAL: [(u64, u64, usize); 5] = [
    (1 << 10, 64 << 20, 6),
    (16 << 10, 64 << 20, 12),
    (256 << 10, 64 << 20, 24),
    (256 << 10, 8 << 20, 96),
    (512 << 10, 4 << 20, 384),
];

/// The last two at full scale.
const FULL: [(u64, u64, usize); 2] = [(8 << 20, 256 << 20, 96), (32 << 20, 256 << 20, 96)];

/// Requests per key at least, however many keys there are.
const ROUNDS_MIN: usize = 3;

const PARTITIONS: [usize; 3] = [1, 2, 8];

/// Store and references on one trace: a line of object miss ratios, and one of bytes if they
/// differ.
fn compare(name: &str, trace: &Trace, memory: u64, with_bytes: bool) {
    let runs = PARTITIONS.map(|partitions| {
        let mut engine = Engine::new(partitions, memory);
        let misses = misses(trace, |key, size| {
            let hit = engine.request(key, size);
            if !hit && size > 4096 {
                engine.watch();
            }
            hit
        });
        (misses, engine)
    });
    let others = references(trace, memory);
    let lru_of_less = &mut Lru::new(trace.sizes.len(), memory * LRU_SHARE / 100);
    let lru_of_less = misses_of(lru_of_less, trace);
    let line = |what: &str, of: &dyn Fn(&Misses) -> f64| {
        let mut text = format!("{name:<28} {what:<7}");
        let all = runs.iter().map(|(misses, _)| misses).chain(&others).chain([&lru_of_less]);
        all.for_each(|misses| text += &format!(" {:>7.4}", of(misses)));
        let worse = runs.iter().any(|(misses, _)| of(misses) > of(&others[0]));
        text + if worse { "  worse than LRU" } else { "" }
    };
    let used = |engine: &Engine| match engine.least {
        Some(least) => format!(" {:.0}", 100.0 * least as f64 / engine.memory as f64),
        None => " -".to_owned(),
    };
    let used: String = runs.iter().map(|(_, engine)| used(engine)).collect();
    println!("{}   {used}", line("objects", &|misses| misses.objects));
    if with_bytes {
        println!("{}", line("bytes", &|misses| misses.bytes));
    }
}

fn heading() {
    println!(
        "{:<28} {:<7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}   in use at least, %",
        "trace", "", "1 part.", "2", "8", "LRU", "FIFO", "SIEVE", "S3-FIFO", "GDSF", "LRU 98%"
    );
}

fn equal(table: &[(u64, u64, usize)], percent: usize, values: Option<u64>) {
    heading();
    for &(size, memory, rounds) in table {
        let held = (memory / cost(size)) as usize;
        if values.is_some_and(|values| values != held as u64) {
            continue;
        }
        let keys = held * 100 / percent;
        // With more keys, about as many requests.
        let rounds = (rounds * percent / 10).clamp(ROUNDS_MIN, rounds);
        for popularity in Popularity::ALL {
            let trace = Trace::draw(popularity, Sizes::Equal(size), keys, keys * rounds);
            let name = format!("{held} x {} KiB, {}", size >> 10, popularity.name());
            compare(&name, &trace, memory, false);
        }
    }
}

fn mixed(percent: u64) {
    heading();
    let memory = 64 << 20;
    for (sizes, requests) in [(Sizes::Build, 30_000), (Sizes::Uniform, 30_000)] {
        let sample = sizes.draw(10_000);
        let mean = sample.iter().sum::<u64>() / sample.len() as u64;
        let keys = (memory * 100 / percent / mean) as usize;
        for popularity in Popularity::ALL {
            let trace = Trace::draw(popularity, sizes, keys, requests);
            compare(&format!("{}, {}", sizes.name(), popularity.name()), &trace, memory, true);
        }
    }
}

fn replay(trace: &Trace, mebibytes: &[f64]) {
    let bytes: u64 = trace.sizes.iter().sum();
    println!("{} requests, {} keys, {bytes} bytes", trace.requests.len(), trace.sizes.len());
    heading();
    for memory in mebibytes {
        let memory = (memory * f64::from(1 << 20)) as u64;
        compare(&format!("{:.1} MiB", memory as f64 / f64::from(1 << 20)), trace, memory, true);
    }
}

fn keys(trace: &Trace, entries: &[u64]) {
    println!("{} requests, {} keys; miss ratios", trace.requests.len(), trace.sizes.len());
    println!(" entries   corekv      LRU     FIFO    SIEVE  S3-FIFO     GDSF");
    for entries in entries {
        let mut engine = Engine::new(1, entries * ENTRY_BYTES);
        let corekv = misses(trace, |key, size| engine.request(key, size)).objects;
        let held = engine.keys();
        print!("{held:>8} {corekv:>8.4}");
        for policy in references(trace, held * cost(VALUE_BYTES)) {
            print!(" {:>8.4}", policy.objects);
        }
        println!();
    }
}

const USAGE: &str = "write small, equal, full, mixed, replay FILE KEY SIZE MEBIBYTES…, extents FILE \
                     MEBIBYTES…, or keys, lirs or arc FILE ENTRIES…";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cachesim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] | ["small", ..] => {
            let (keys, requests) = (number(&words, 1)?, number(&words, 2)?);
            small(keys.unwrap_or(500_000), requests.unwrap_or(3_000_000));
        }
        [name @ ("equal" | "full"), ..] => {
            let table = if name == "equal" { &EQUAL[..] } else { &FULL[..] };
            equal(table, number(&words, 1)?.unwrap_or(10), number(&words, 2)?);
        }
        ["mixed", ..] => mixed(number(&words, 1)?.unwrap_or(10)),
        ["replay", path, key, size, ref sizes @ ..] if !sizes.is_empty() => {
            replay(&Trace::read(path, key.parse()?, size.parse()?)?, &numbers(sizes)?);
        }
        ["extents", path, ref sizes @ ..] if !sizes.is_empty() => {
            replay(&Trace::read_extents(path)?, &numbers(sizes)?);
        }
        [format @ ("keys" | "lirs" | "arc"), path, ref entries @ ..] if !entries.is_empty() => {
            let trace = match format {
                "keys" => Trace::read_keys(path, VALUE_BYTES),
                "lirs" => Trace::read_lirs(path, VALUE_BYTES),
                _ => Trace::read_arc(path, VALUE_BYTES),
            };
            keys(&trace?, &numbers(entries)?);
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

/// The word at a place as a number, if it is there.
fn number<N: FromStr>(words: &[&str], at: usize) -> Result<Option<N>, N::Err> {
    words.get(at).map(|word| word.parse()).transpose()
}

fn numbers<N: FromStr>(words: &[&str]) -> Result<Vec<N>, N::Err> {
    words.iter().map(|word| word.parse()).collect()
}
