//! How readers of a bucket may keep out of a writer's way: a sequence word that they only look
//! at, or a lock that they take. A model of the store's buckets, small enough to see what the
//! protocol alone costs: one cache line of a word and seven slots, writers one at a time per
//! partition.
//!
//! ```sh
//! cargo run --release --example readers
//! ```
//! Prints nanoseconds of CPU per operation (80 % reads) for uniform keys, Zipf 0.99 and one hot
//! key, by number of threads.

use std::hint::{black_box, spin_loop};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::thread;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const BUCKETS: usize = 1 << 18;
const OPERATIONS: usize = 2_000_000;
/// Looks at a word that somebody holds, before the core is given away.
const SPINS_MAX: u32 = 64;

#[derive(Default)]
#[repr(align(64))]
struct Bucket {
    word: AtomicU32,
    slots: [AtomicU64; 7],
}

trait Protocol: Sync {
    fn read(bucket: &Bucket) -> u64;
    fn write(bucket: &Bucket, value: u64);
}

fn wait(tries: &mut u32) {
    *tries += 1;
    if *tries < SPINS_MAX { spin_loop() } else { thread::yield_now() }
}

fn sum(bucket: &Bucket) -> u64 {
    bucket.slots.iter().fold(0, |sum, slot| sum.wrapping_add(slot.load(Ordering::Relaxed)))
}

fn fill(bucket: &Bucket, value: u64) {
    bucket.slots.iter().for_each(|slot| slot.store(value, Ordering::Relaxed));
}

/// Readers look at the word before and after; odd says that a writer is at work.
struct Sequence;

impl Protocol for Sequence {
    fn read(bucket: &Bucket) -> u64 {
        let mut tries = 0;
        loop {
            let before = bucket.word.load(Ordering::Acquire);
            let seen = sum(bucket);
            fence(Ordering::Acquire);
            if before & 1 == 0 && bucket.word.load(Ordering::Relaxed) == before {
                return seen;
            }
            wait(&mut tries);
        }
    }

    fn write(bucket: &Bucket, value: u64) {
        let before = bucket.word.load(Ordering::Relaxed);
        bucket.word.store(before.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        fill(bucket, value);
        bucket.word.store(before.wrapping_add(2), Ordering::Release);
    }
}

/// Readers and writers take the word.
struct Lock;

impl Lock {
    fn with<R>(bucket: &Bucket, work: impl FnOnce() -> R) -> R {
        let mut tries = 0;
        while bucket.word.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            wait(&mut tries);
        }
        let result = work();
        bucket.word.store(0, Ordering::Release);
        result
    }
}

impl Protocol for Lock {
    fn read(bucket: &Bucket) -> u64 {
        Self::with(bucket, || sum(bucket))
    }

    fn write(bucket: &Bucket, value: u64) {
        Self::with(bucket, || fill(bucket, value));
    }
}

/// Buckets to visit, drawn ahead so that drawing is not measured.
fn draw(distribution: &str, seed: u64) -> Vec<u32> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let weights: Vec<f64> = (1..=BUCKETS).map(|rank| (rank as f64).powf(-0.99)).collect();
    let cumulated: Vec<f64> = weights
        .iter()
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect();
    (0..1 << 18)
        .map(|_| match distribution {
            "one hot key" => 0,
            "zipf 0.99" => {
                let point = rng.random::<f64>() * cumulated[BUCKETS - 1];
                let rank = cumulated.partition_point(|&sum| sum < point);
                // Neighbours in rank are no neighbours in the table.
                (rank.wrapping_mul(0x9e37_79b1) % BUCKETS) as u32
            }
            _ => rng.random_range(0..BUCKETS as u32),
        })
        .collect()
}

/// Nanoseconds of the process's CPU time per operation.
fn measure<P: Protocol>(distribution: &str, threads: usize) -> f64 {
    let buckets: Vec<Bucket> = (0..BUCKETS).map(|_| Bucket::default()).collect();
    let writers: Vec<Mutex<()>> = (0..threads).map(|_| Mutex::default()).collect();
    let paths: Vec<Vec<u32>> = (0..threads).map(|i| draw(distribution, i as u64)).collect();
    let start = cpu_nanoseconds();
    thread::scope(|scope| {
        for path in &paths {
            let (buckets, writers) = (&buckets, &writers);
            scope.spawn(move || {
                for i in 0..OPERATIONS / threads {
                    let at = path[i % path.len()] as usize;
                    if i % 5 == 0 {
                        let _one = writers[at * writers.len() / BUCKETS].lock();
                        P::write(&buckets[at], i as u64);
                    } else {
                        black_box(P::read(&buckets[at]));
                    }
                }
            });
        }
    });
    (cpu_nanoseconds() - start) as f64 / OPERATIONS as f64
}

fn cpu_nanoseconds() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn main() {
    println!("{:12} {:>7} {:>12} {:>12}", "keys", "threads", "sequence ns", "lock ns");
    for distribution in ["uniform", "zipf 0.99", "one hot key"] {
        for threads in [1, 2, 8] {
            let mut rounds: Vec<(f64, f64)> = (0..5)
                .map(|_| {
                    let sequence = measure::<Sequence>(distribution, threads);
                    (sequence, measure::<Lock>(distribution, threads))
                })
                .collect();
            rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
            let sequence = rounds[2].0;
            rounds.sort_by(|a, b| a.1.total_cmp(&b.1));
            let lock = rounds[2].1;
            println!("{distribution:12} {threads:7} {sequence:12.1} {lock:12.1}");
        }
    }
}
