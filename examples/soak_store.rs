//! Churn of values from 1 B to 1 MiB, and the resident memory that it leads to.
//!
//! `cargo run --release --example soak_store [SECONDS] [MEBIBYTES]` prints a line every tenth of
//! the time and fails if the process ever has more than the limit and a tenth, and 16 MiB.

use std::time::{Duration, Instant};

use corekv::store::{Clock, Expiry, Settings, Store};

const KEYS: u64 = 200_000;
const SLACK_BYTES: u64 = 16 << 20;

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    let pages: u64 = statm.split(' ').nth(1).expect("a second field").parse().expect("a number");
    pages * rustix::param::page_size() as u64
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|n| n.parse().expect("a number"));
    let seconds: u64 = numbers.next().unwrap_or(600);
    let limit = numbers.next().unwrap_or(256u64) << 20;
    let store = Store::new(Settings { partitions: 4, memory_bytes_max: limit }).expect("memory");
    let (clock, start, bytes) = (Clock::start(), Instant::now(), vec![7; 1 << 20]);
    let mut state = 88_172_645_463_325_252u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (mut operations, mut highest, mut next_line) = (0u64, 0, Duration::ZERO);
    while start.elapsed() < Duration::from_secs(seconds) {
        let now = clock.tick(Instant::now());
        for _ in 0..64 {
            let key = (random() % KEYS).to_le_bytes();
            let key = store.key(&key);
            match random() % 16 {
                0..10 => drop(store.get(key, now, |_| ())),
                10 => drop(store.remove(key, now)),
                _ => {
                    // As many of each order of magnitude.
                    let len = (random() % (2 << (random() % 20))).max(1) as usize;
                    let expiry = match random() % 3 {
                        0 => Expiry::NEVER,
                        _ => Expiry::after(now, (random() % 60) as u32 + 1),
                    };
                    store.put(key, &bytes[..len], expiry, now).expect("it is smaller than that");
                }
            }
            operations += 1;
        }
        for partition in 0..store.partitions() {
            store.maintain(partition, now);
        }
        if operations.is_multiple_of(64 * 64) {
            highest = highest.max(resident_bytes());
        }
        if start.elapsed() >= next_line {
            next_line += Duration::from_secs(seconds) / 10;
            let counts = (0..store.partitions()).map(|partition| store.statistics(partition));
            let (keys, used) = counts.fold((0, 0), |(k, b), one| (k + one.keys, b + one.bytes));
            println!(
                "{:>4} s {operations:>11} operations {keys:>7} keys {:>5} MiB counted {:>5} MiB resident {:>5} MiB highest",
                start.elapsed().as_secs(),
                used >> 20,
                resident_bytes() >> 20,
                highest >> 20
            );
        }
    }
    assert!(highest <= limit + limit / 10 + SLACK_BYTES, "{highest} bytes were resident");
}
