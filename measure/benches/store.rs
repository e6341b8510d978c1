//! What the store's operations cost: the common ones beside `hashbrown` behind a mutex, puts into a
//! full store, and large values.
//!
//! `cargo bench -p measure --bench store`; 10 million keys only with `STORE_BENCH_LARGE=1`. Each iteration is
//! one operation. Keys are decimal numbers in random order, values have 5 bytes. `batch` does 32
//! operations, four of five of them reads, the way the server does: all index lines are
//! prefetched, then all entries, then the operations are executed.

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use corekv::store::{Expiry, Key, Settings, SlotHint, Store, Tick, Value};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use testkit::Numbers;

const NOW: Tick = Tick(0);
const BATCH: usize = 32;

/// Key names and a pseudo-random walk over them.
struct Keys {
    names: Vec<Box<[u8]>>,
    numbers: Numbers,
}

impl Keys {
    fn new(count: usize) -> Self {
        let names = (0..count).map(|key| key.to_string().into_bytes().into()).collect();
        Self { names, numbers: Numbers::new(1) }
    }

    fn next(&mut self) -> (&[u8], bool) {
        let at = self.numbers.below(self.names.len() as u64);
        (&self.names[at as usize], self.numbers.below(5) == 0)
    }
}

/// What is measured.
trait Table {
    fn read(&self, key: &[u8], out: &mut Vec<u8>);
    fn write(&self, key: &[u8], value: &[u8]);
    fn batch(&self, batch: &[(&[u8], bool)], out: &mut Vec<u8>);
}

/// Reads as the server does.
fn read_key(store: &Store, key: Key<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    if let Some(read) = store.optimistic_read(key, NOW) {
        read.value().append_to(out);
        if read.validate() {
            return;
        }
        out.truncate(start);
    }
    store.get(key, NOW, |value| {
        if let Value::Small(value) = value {
            value.append_to(out);
        }
    });
}

impl Table for Arc<Store> {
    fn read(&self, key: &[u8], out: &mut Vec<u8>) {
        let hash = self.hash(key);
        let hint = self.prefetch_entry(hash, self.prefetch_index(hash));
        read_key(self, Key::new(key, hash).with_hint(&hint), out);
    }

    fn write(&self, key: &[u8], value: &[u8]) {
        let _ = self.put(self.key(key), value, Expiry::NEVER, NOW);
    }

    fn batch(&self, batch: &[(&[u8], bool)], out: &mut Vec<u8>) {
        let mut hints = [(self.hash(b""), SlotHint::NONE); BATCH];
        for ((hash, hint), (name, _)) in hints.iter_mut().zip(batch) {
            *hash = self.hash(name);
            *hint = self.prefetch_index(*hash);
        }
        let hints = hints.map(|(hash, hint)| (hash, self.prefetch_entry(hash, hint)));
        for (&(hash, hint), &(name, writes)) in hints.iter().zip(batch) {
            let key = Key::new(name, hash).with_hint(&hint);
            if writes {
                let _ = self.put(key, b"54321", Expiry::NEVER, NOW);
            } else {
                read_key(self, key, out);
            }
        }
    }
}

type Map = hashbrown::HashMap<Box<[u8]>, Box<[u8]>, ahash::RandomState>;

impl Table for Mutex<Map> {
    fn read(&self, key: &[u8], out: &mut Vec<u8>) {
        if let Some(value) = self.lock().expect("no panics").get(key) {
            out.extend_from_slice(value);
        }
    }

    fn write(&self, key: &[u8], value: &[u8]) {
        self.lock().expect("no panics").insert(key.into(), value.into());
    }

    fn batch(&self, batch: &[(&[u8], bool)], out: &mut Vec<u8>) {
        for &(key, writes) in batch {
            if writes { self.write(key, b"54321") } else { self.read(key, out) }
        }
    }
}

fn fill(table: &impl Table, keys: &Keys) {
    keys.names.iter().for_each(|name| table.write(name, b"12345"));
}

/// Runs `iterations` operations, a batch at a time.
fn timed(table: &impl Table, keys: &mut Keys, what: &str, iterations: u64) -> Duration {
    let mut out = Vec::with_capacity(1 << 16);
    let start = Instant::now();
    for _ in 0..iterations {
        out.clear();
        let (key, writes) = keys.next();
        match what {
            "get" => table.read(key, &mut out),
            "set" => table.write(key, b"54321"),
            _ if writes => table.write(key, b"54321"),
            _ => table.read(key, &mut out),
        }
        black_box(&out);
    }
    start.elapsed()
}

fn timed_batches(table: &impl Table, keys: &mut Keys, iterations: u64) -> Duration {
    let mut out = Vec::with_capacity(1 << 16);
    let mut names: Vec<(Box<[u8]>, bool)> = Vec::new();
    // Names are copied as a parser would leave them in its buffer: nearby, not all over memory.
    let mut total = Duration::ZERO;
    for _ in 0..iterations.div_ceil(BATCH as u64) {
        names.clear();
        for _ in 0..BATCH {
            let (key, writes) = keys.next();
            names.push((key.into(), writes));
        }
        let mut batch = [(&b""[..], false); BATCH];
        for (to, (name, writes)) in batch.iter_mut().zip(&names) {
            *to = (name, *writes);
        }
        out.clear();
        let start = Instant::now();
        table.batch(&batch, &mut out);
        total += start.elapsed();
        black_box(&out);
    }
    total
}

fn bench(c: &mut Criterion) {
    let large = std::env::var_os("STORE_BENCH_LARGE").is_some();
    let counts: &[usize] = if large { &[10_000_000] } else { &[1_000, 1_000_000] };
    for &count in counts {
        let mut keys = Keys::new(count);
        let settings = Settings { partitions: 1, memory_bytes_max: 4 << 30 };
        let store = Store::new(settings).expect("address space");
        let map = Mutex::new(Map::default());
        fill(&store, &keys);
        fill(&map, &keys);
        for what in ["get", "set", "mixed", "batch"] {
            let mut group = c.benchmark_group(what);
            group.bench_function(BenchmarkId::new("corekv", count), |b| {
                b.iter_custom(|iterations| match what {
                    "batch" => timed_batches(&store, &mut keys, iterations),
                    _ => timed(&store, &mut keys, what, iterations),
                });
            });
            group.bench_function(BenchmarkId::new("hashbrown", count), |b| {
                b.iter_custom(|iterations| match what {
                    "batch" => timed_batches(&map, &mut keys, iterations),
                    _ => timed(&map, &mut keys, what, iterations),
                });
            });
        }
    }
}

/// Puts into a store that is full, so that each of them evicts.
fn evict(c: &mut Criterion) {
    const MEMORY_BYTES_MAX: u64 = 64 << 20;
    let mut group = c.benchmark_group("put into a full store");
    for value_bytes in [5, 200, 4 << 10, 64 << 10] {
        let settings = Settings { partitions: 1, memory_bytes_max: MEMORY_BYTES_MAX };
        let store = Store::new(settings).expect("address space");
        let value = vec![b'v'; value_bytes];
        let mut next = 0u64;
        let mut put = || {
            next += 1;
            let name = next.to_string();
            black_box(store.put(store.key(name.as_bytes()), &value, Expiry::NEVER, NOW))
        };
        while store_is_filling(&mut put, &store) {}
        group.throughput(Throughput::Bytes(value_bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(value_bytes), |b| b.iter(&mut put));
    }
    group.finish();
}

/// Puts some more keys; whether none of them evicted another.
fn store_is_filling<R>(put: &mut impl FnMut() -> R, store: &Store) -> bool {
    for _ in 0..1_000 {
        put();
    }
    store.statistics(0).evicted < 1_000
}

/// Values that don't fit into the log's pages: put as a whole, and read where they lie.
fn large(c: &mut Criterion) {
    let settings = Settings { partitions: 1, memory_bytes_max: 256 << 20 };
    let store = Store::new(settings).expect("address space");
    for value_bytes in [16 << 10, 256 << 10, 4 << 20] {
        let mut group = c.benchmark_group("large values");
        group.throughput(Throughput::Bytes(value_bytes as u64));
        let (value, name) = (vec![b'v'; value_bytes], value_bytes.to_string());
        let key = || store.key(name.as_bytes());
        group.bench_function(BenchmarkId::new("put", value_bytes), |b| {
            b.iter(|| store.put(key(), &value, Expiry::NEVER, NOW).expect("room"));
        });
        group.bench_function(BenchmarkId::new("get", value_bytes), |b| {
            b.iter(|| {
                store.get(key(), NOW, |value| {
                    let Value::Large(value) = value else { panic!("it is large") };
                    let mut sum = 0;
                    value.pieces(0, |piece| {
                        sum += black_box(piece).len();
                        true
                    });
                    sum
                })
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .sample_size(20);
    targets = bench, evict, large
}
criterion_main!(benches);
