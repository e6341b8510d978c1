//! Churn of values from 1 B to 1 MiB, and the memory that the kernel charges for it.
//!
//! `cargo run --release -p measure --bin soak_store [SECONDS] [MEBIBYTES]` prints a line every tenth of
//! the time and fails if the process was ever charged with more than the limit and a tenth, and 16 MiB.
//! It joins a memory cgroup of its own for that, which takes root; elsewhere its resident memory has to
//! do, which does not show huge pages of which a part was given back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use corekv::store::{Clock, Expiry, Settings, Store};
use testkit::Numbers;

const KEYS: u64 = 200_000;
const SLACK_BYTES: u64 = 16 << 20;

/// What the process takes, and what it is measured by.
enum Memory {
    Cgroup(PathBuf),
    Resident { highest: u64 },
}

impl Memory {
    fn of_this_process() -> Self {
        let roots = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];
        let join = |root: &&str| {
            let cgroup = Path::new(root).join(format!("corekv-soak-{}", std::process::id()));
            fs::create_dir(&cgroup).ok()?;
            let memory = Self::Cgroup(cgroup.clone());
            let joined = memory.charged_bytes().is_some()
                && fs::write(cgroup.join("cgroup.procs"), "0").is_ok();
            joined.then_some(memory)
        };
        let cgroup = roots.iter().find_map(join);
        cgroup.unwrap_or_else(|| {
            println!("no memory cgroup can be made: resident memory is what is measured");
            Self::Resident { highest: 0 }
        })
    }

    /// Of cgroups of version 1, or of version 2: now, and at most.
    fn charged_bytes(&self) -> Option<[u64; 2]> {
        let Self::Cgroup(cgroup) = self else { return None };
        let read = |file: &str| fs::read_to_string(cgroup.join(file)).ok()?.trim().parse().ok();
        let first = |files: [&str; 2]| files.into_iter().find_map(read);
        let now = first(["memory.usage_in_bytes", "memory.current"])?;
        Some([now, first(["memory.max_usage_in_bytes", "memory.peak"])?])
    }

    /// Bytes now, and at most.
    fn bytes(&mut self) -> [u64; 2] {
        if let Self::Resident { highest } = self {
            *highest = resident_bytes().max(*highest);
            return [resident_bytes(), *highest];
        }
        self.charged_bytes().expect("the cgroup's files were there before")
    }

    /// Leaves the cgroup, so that it can go.
    fn leave(&self) {
        if let Self::Cgroup(cgroup) = self {
            let parent = cgroup.parent().expect("a root");
            let _ = fs::write(parent.join("cgroup.procs"), "0");
            let _ = fs::remove_dir(cgroup);
        }
    }
}

fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("procfs");
    let pages: u64 = statm.split(' ').nth(1).expect("a second field").parse().expect("a number");
    pages * rustix::param::page_size() as u64
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|n| n.parse().expect("a number"));
    let seconds: u64 = numbers.next().unwrap_or(600);
    let limit = numbers.next().unwrap_or(256u64) << 20;
    let mut memory = Memory::of_this_process();
    let store = Store::new(Settings { partitions: 4, memory_bytes_max: limit }).expect("memory");
    let (clock, start, bytes) = (Clock::start(), Instant::now(), vec![7; 1 << 20]);
    let mut random = Numbers::new(1);
    let (mut operations, mut next_line) = (0u64, Duration::ZERO);
    while start.elapsed() < Duration::from_secs(seconds) {
        let now = clock.tick(Instant::now());
        for _ in 0..64 {
            let key = random.below(KEYS).to_le_bytes();
            let key = store.key(&key);
            match random.below(16) {
                0..10 => drop(store.get(key, now, |_| ())),
                10 => drop(store.remove(key, now)),
                _ => {
                    // As many of each order of magnitude.
                    let len = (random.next() % (2 << random.below(20))).max(1) as usize;
                    let expiry = match random.below(3) {
                        0 => Expiry::NEVER,
                        _ => Expiry::after(now, random.below(60) as u32 + 1),
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
            memory.bytes();
        }
        if start.elapsed() >= next_line {
            next_line += Duration::from_secs(seconds) / 10;
            let counts = (0..store.partitions()).map(|partition| store.statistics(partition));
            let (keys, used) = counts.fold((0, 0), |(k, b), one| (k + one.keys, b + one.bytes));
            let [charged, highest] = memory.bytes();
            println!(
                "{:>4} s {operations:>11} operations {keys:>7} keys {:>5} MiB counted {:>5} MiB charged {:>5} MiB highest {:>5} MiB resident",
                start.elapsed().as_secs(),
                used >> 20,
                charged >> 20,
                highest >> 20,
                resident_bytes() >> 20,
            );
        }
    }
    let [_, highest] = memory.bytes();
    memory.leave();
    assert!(highest <= limit + limit / 10 + SLACK_BYTES, "{highest} bytes were taken");
}
