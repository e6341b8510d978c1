//! Miss ratios of the store next to those of textbook policies.
//!
//! `cargo run --release --example cachesim [KEYS] [REQUESTS]` prints a table. The store is driven
//! through its public interface, as a client uses a cache: a get, and a put after a miss. The
//! others hold as many entries as the store really held in the end, whatever it needs for index
//! and unused space, so that only the choice of what to keep is compared. Each trace is run from an
//! empty cache; the first third of it is not counted.

use std::collections::{HashMap, VecDeque};

use corekv::store::{Expiry, Settings, Store, Tick};

const VALUE: [u8; 200] = [7; 200];

/// Bytes that the store needs per entry, about: only to choose the memory of a run.
const ENTRY_BYTES: u64 = 240;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Ranks by Zipf's law.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(keys: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=keys).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Self(weights.collect())
    }

    fn next(&self, random: &mut Random) -> usize {
        let at = random.fraction() * self.0[self.0.len() - 1];
        self.0.partition_point(|&sum| sum < at).min(self.0.len() - 1)
    }
}

fn zipf(keys: usize, requests: usize, exponent: f64) -> Vec<u32> {
    let (zipf, mut random) = (Zipf::new(keys, exponent), Random(42));
    (0..requests).map(|_| zipf.next(&mut random) as u32).collect()
}

/// One request in five belongs to a scan over keys that nobody asks for again.
fn scans(keys: usize, requests: usize) -> Vec<u32> {
    let (zipf, mut random) = (Zipf::new(keys, 0.99), Random(43));
    let mut scanned = keys as u32;
    let request = |at: usize| {
        if at % 50_000 < 10_000 {
            scanned += 1;
            scanned
        } else {
            zipf.next(&mut random) as u32
        }
    };
    (0..requests).map(request).collect()
}

/// What is popular moves on by a tenth of the keys, ten times.
fn shifting(keys: usize, requests: usize) -> Vec<u32> {
    let (zipf, mut random) = (Zipf::new(keys, 0.99), Random(44));
    let shift = |at: usize| at * 10 / requests * (keys / 10);
    (0..requests).map(|at| ((zipf.next(&mut random) + shift(at)) % keys) as u32).collect()
}

/// Whether a key is there; it is, afterwards.
trait Policy {
    fn request(&mut self, key: u32) -> bool;
}

fn miss_ratio(policy: &mut impl Policy, trace: &[u32]) -> f64 {
    let (warm_up, counted) = trace.split_at(trace.len() / 3);
    for &key in warm_up {
        policy.request(key);
    }
    counted.iter().filter(|&&key| !policy.request(key)).count() as f64 / counted.len() as f64
}

struct Engine(std::sync::Arc<Store>);

impl Policy for Engine {
    fn request(&mut self, key: u32) -> bool {
        let name = key.to_le_bytes();
        let key = self.0.key(&name);
        let hit = self.0.get(key, Tick(0), |_| ()).is_some();
        if !hit {
            self.0.put(key, &VALUE, Expiry::NEVER, Tick(0)).expect("it is small");
        }
        hit
    }
}

/// A linked list of keys, youngest first, for LRU and SIEVE.
struct List {
    links: Vec<[u32; 2]>,
    present: Vec<bool>,
    len: usize,
}

const NEXT: usize = 0;
const PREVIOUS: usize = 1;

impl List {
    /// The last link is the list's own, so that no end is special.
    fn new(keys: usize) -> Self {
        Self { links: vec![[keys as u32; 2]; keys + 1], present: vec![false; keys], len: 0 }
    }

    fn root(&self) -> u32 {
        self.present.len() as u32
    }

    fn push_front(&mut self, key: u32) {
        let root = self.root();
        let first = self.links[root as usize][NEXT];
        self.links[key as usize] = [first, root];
        self.links[root as usize][NEXT] = key;
        self.links[first as usize][PREVIOUS] = key;
        self.present[key as usize] = true;
        self.len += 1;
    }

    fn remove(&mut self, key: u32) {
        let [next, previous] = self.links[key as usize];
        self.links[next as usize][PREVIOUS] = previous;
        self.links[previous as usize][NEXT] = next;
        self.present[key as usize] = false;
        self.len -= 1;
    }

    fn last(&self) -> u32 {
        self.links[self.root() as usize][PREVIOUS]
    }
}

struct Lru(List, usize);

impl Policy for Lru {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.0.present[key as usize];
        if hit {
            self.0.remove(key);
        } else if self.0.len == self.1 {
            self.0.remove(self.0.last());
        }
        self.0.push_front(key);
        hit
    }
}

struct Fifo(List, usize);

impl Policy for Fifo {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.0.present[key as usize];
        if !hit {
            if self.0.len == self.1 {
                self.0.remove(self.0.last());
            }
            self.0.push_front(key);
        }
        hit
    }
}

struct Sieve {
    list: List,
    capacity: usize,
    visited: Vec<bool>,
    hand: Option<u32>,
}

impl Policy for Sieve {
    fn request(&mut self, key: u32) -> bool {
        if self.list.present[key as usize] {
            self.visited[key as usize] = true;
            return true;
        }
        if self.list.len == self.capacity {
            let mut hand = self.hand.unwrap_or_else(|| self.list.last());
            loop {
                if hand == self.list.root() {
                    hand = self.list.last();
                }
                if !std::mem::take(&mut self.visited[hand as usize]) {
                    break;
                }
                hand = self.list.links[hand as usize][PREVIOUS];
            }
            self.hand = Some(self.list.links[hand as usize][PREVIOUS]);
            self.list.remove(hand);
        }
        self.list.push_front(key);
        self.visited[key as usize] = false;
        false
    }
}

/// As the paper has it: a small queue of a tenth, ghosts for as many keys as the main one holds.
struct S3Fifo {
    capacity: usize,
    small: VecDeque<u32>,
    main: VecDeque<u32>,
    ghost: VecDeque<u32>,
    ghosts: HashMap<u32, u32>,
    frequency: Vec<Option<u8>>,
}

impl S3Fifo {
    fn new(keys: usize, capacity: usize) -> Self {
        let (small, main, ghost) = Default::default();
        let ghosts = HashMap::new();
        Self { capacity, small, main, ghost, ghosts, frequency: vec![None; keys] }
    }

    fn evict(&mut self) {
        if self.small.len() * 10 >= self.capacity || self.main.is_empty() {
            while let Some(key) = self.small.pop_front() {
                if self.frequency[key as usize] > Some(1) {
                    self.frequency[key as usize] = Some(0);
                    self.main.push_back(key);
                    continue;
                }
                self.frequency[key as usize] = None;
                self.remember(key);
                return;
            }
        }
        while let Some(key) = self.main.pop_front() {
            match self.frequency[key as usize] {
                Some(0) | None => {
                    self.frequency[key as usize] = None;
                    return;
                }
                Some(frequency) => {
                    self.frequency[key as usize] = Some(frequency - 1);
                    self.main.push_back(key);
                }
            }
        }
    }

    fn remember(&mut self, key: u32) {
        self.ghost.push_back(key);
        *self.ghosts.entry(key).or_default() += 1;
        if self.ghost.len() > self.capacity * 9 / 10
            && let Some(oldest) = self.ghost.pop_front()
        {
            let count = self.ghosts.get_mut(&oldest).expect("it was counted");
            *count -= 1;
            if *count == 0 {
                self.ghosts.remove(&oldest);
            }
        }
    }
}

impl Policy for S3Fifo {
    fn request(&mut self, key: u32) -> bool {
        if let Some(frequency) = &mut self.frequency[key as usize] {
            *frequency = (*frequency + 1).min(3);
            return true;
        }
        while self.small.len() + self.main.len() >= self.capacity {
            self.evict();
        }
        if self.ghosts.contains_key(&key) {
            self.main.push_back(key);
        } else {
            self.small.push_back(key);
        }
        self.frequency[key as usize] = Some(0);
        false
    }
}

fn compare(name: &str, keys: usize, trace: &[u32]) {
    let all = *trace.iter().max().expect("a trace has requests") as usize + 1;
    for percent in [1, 10, 30] {
        let bytes = (keys * percent / 100) as u64 * ENTRY_BYTES;
        let settings = Settings { partitions: 1, memory_bytes_max: bytes };
        let mut engine = Engine(Store::new(settings).expect("address space"));
        let corekv = miss_ratio(&mut engine, trace);
        let held = engine.0.statistics(0).keys as usize;
        let lru = miss_ratio(&mut Lru(List::new(all), held), trace);
        let fifo = miss_ratio(&mut Fifo(List::new(all), held), trace);
        let (list, visited) = (List::new(all), vec![false; all]);
        let sieve = miss_ratio(&mut Sieve { list, capacity: held, visited, hand: None }, trace);
        let s3fifo = miss_ratio(&mut S3Fifo::new(all, held), trace);
        let verdict = if corekv <= lru { "" } else { "  worse than LRU" };
        println!(
            "{name:<12} {percent:>3} % {held:>8} {corekv:>8.4} {lru:>8.4} {fifo:>8.4} \
             {sieve:>8.4} {s3fifo:>8.4}{verdict}"
        );
    }
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|n| n.parse().expect("a number"));
    let keys = numbers.next().unwrap_or(500_000);
    let requests = numbers.next().unwrap_or(3_000_000);
    println!("{keys} keys, {requests} requests; miss ratios");
    println!("trace        size   entries   corekv      LRU     FIFO    SIEVE  S3-FIFO");
    for exponent in [0.8, 0.99, 1.2] {
        compare(&format!("Zipf {exponent}"), keys, &zipf(keys, requests, exponent));
    }
    compare("with scans", keys, &scans(keys, requests));
    compare("shifting", keys, &shifting(keys, requests));
}
