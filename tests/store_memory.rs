//! What the kernel charges a store's memory cgroup with, whatever is done to the store. What counts
//! for an operator is that figure, and not the resident set: a huge page of which a part was given
//! back is no longer resident, but charged as a whole.

mod store_util;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use corekv::store::{Expiry, Store, Tick};
use store_util::*;
use testkit::{Cgroup, Numbers};

const LIMIT: u64 = 64 << 20;
const SLACK: u64 = 16 << 20;

/// Names the sequence that a child of the test runs, and the cgroup that it joins before.
const SEQUENCE: &str = "STORE_MEMORY_SEQUENCE";
const CGROUP: &str = "STORE_MEMORY_CGROUP";

type Sequence = fn(&mut Driver);

const SEQUENCES: [(&str, Sequence); 6] = [
    ("sparse", sparse),
    ("large_and_small", large_and_small),
    ("expiry", expiry),
    ("index", index),
    ("one_partition_after_the_other", one_partition_after_the_other),
    ("mixed", mixed),
];

/// A store, written to as slowly as huge pages need it.
struct Driver {
    store: Arc<Store>,
    now: Tick,
    start: Instant,
    written: u64,
}

impl Driver {
    fn new(partitions: usize) -> Self {
        let store = store(partitions, LIMIT);
        Self { store, now: Tick(0), start: Instant::now(), written: 0 }
    }

    fn put(&mut self, key: u64, len: usize, expiry: Expiry) {
        // A region that grows by 512 KiB in less than 10 ms does without huge pages.
        const BYTES_PER_MS: u64 = (512 << 10) / 12;
        self.written += len as u64 + 40;
        let due = Duration::from_millis(self.written / BYTES_PER_MS);
        if let Some(early) = due.checked_sub(self.start.elapsed()).filter(|e| e.as_millis() > 2) {
            std::thread::sleep(early);
        }
        let bytes = &[7; 1 << 21][..len];
        put(&self.store, &key.to_le_bytes(), bytes, expiry, self.now).expect("room");
        if key.is_multiple_of(64) {
            for partition in 0..self.store.partitions() {
                self.store.maintain(partition, self.now);
            }
        }
    }

    fn fill(&mut self, keys: std::ops::Range<u64>, len: usize) {
        keys.for_each(|key| self.put(key, len, Expiry::NEVER));
    }

    fn remove_all_but(&mut self, keys: std::ops::Range<u64>, kept: u64) {
        for key in keys.filter(|key| !key.is_multiple_of(kept)) {
            self.store.remove(self.store.key(&key.to_le_bytes()), self.now);
        }
        maintain(&self.store, self.now);
    }
}

fn sparse(driver: &mut Driver) {
    for len in [1000, 200, 3000, 1000] {
        let keys = 0..LIMIT / (len + 24);
        driver.fill(keys.clone(), len as usize);
        driver.remove_all_but(keys, 400);
    }
    driver.fill(0..LIMIT / 512, 500);
}

fn large_and_small(driver: &mut Driver) {
    for _ in 0..2 {
        driver.fill(0..70, 1 << 20);
        driver.fill(0..400_000, 20);
        driver.fill(0..5000, 20_000);
        driver.fill(0..100_000, 100);
        driver.remove_all_but(0..100_000, 7);
    }
}

fn expiry(driver: &mut Driver) {
    for len in [900, 300, 2500, 100_000] {
        for key in 0..LIMIT / len {
            let expiry =
                if key.is_multiple_of(97) { Expiry::NEVER } else { Expiry::after(driver.now, 10) };
            driver.put(key, len as usize, expiry);
        }
        driver.now = Tick(driver.now.0 + 200);
        maintain(&driver.store, driver.now);
    }
}

fn index(driver: &mut Driver) {
    for _ in 0..3 {
        driver.fill(0..1_000_000, 0);
        driver.remove_all_but(0..1_000_000, 1000);
        driver.fill(0..15_000, 4000);
        driver.remove_all_but(0..15_000, 1000);
    }
}

fn one_partition_after_the_other(driver: &mut Driver) {
    for partition in [0, 1, 0, 1] {
        let keys: Vec<u64> = (0..300_000)
            .filter(|key: &u64| {
                driver.store.partition_of(driver.store.key(&key.to_le_bytes())) == partition
            })
            .collect();
        for &key in keys.iter().take(70_000) {
            driver.put(key, 1000, Expiry::NEVER);
        }
        for &key in keys.iter().filter(|&key| !key.is_multiple_of(50)) {
            driver.store.remove(driver.store.key(&key.to_le_bytes()), driver.now);
        }
    }
}

fn mixed(driver: &mut Driver) {
    let mut numbers = Numbers::new(1);
    for _ in 0..60_000 {
        let (key, len) = (numbers.below(1 << 16), numbers.next() % (2 << numbers.below(16)) * 4);
        if key.is_multiple_of(3) {
            driver.store.remove(driver.store.key(&key.to_le_bytes()), driver.now);
        } else {
            driver.put(key, len as usize, Expiry::NEVER);
        }
    }
}

#[test]
fn the_cgroup_is_never_charged_with_more_than_the_limit_and_a_tenth() {
    if let (Ok(sequence), Ok(cgroup)) = (std::env::var(SEQUENCE), std::env::var(CGROUP)) {
        return run(&sequence, Path::new(&cgroup));
    }
    let children = SEQUENCES.into_iter().map(|(name, _)| {
        let cgroup = Cgroup::new(name)?;
        let child = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "the_cgroup_is_never_charged_with_more_than_the_limit_and_a_tenth"])
            .env(SEQUENCE, name)
            .env(CGROUP, cgroup.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("the test starts");
        Some((name, cgroup, child))
    });
    let Some(children) = children.collect::<Option<Vec<_>>>() else {
        eprintln!("skipped: no memory cgroup can be made here");
        return;
    };
    let mut failed = Vec::new();
    for (name, cgroup, mut child) in children {
        assert!(child.wait().expect("it ends").success(), "{name}");
        let peak = cgroup.peak().expect("it was there before");
        println!("{name}: {} MiB of {} charged at most", peak >> 20, LIMIT >> 20);
        if peak > LIMIT + LIMIT / 10 + SLACK {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

fn run(sequence: &str, cgroup: &Path) {
    fs::write(cgroup.join("cgroup.procs"), "0").expect("a process may be moved there");
    let sequence = SEQUENCES.iter().find(|(name, _)| *name == sequence).expect("a sequence");
    let partitions = if sequence.0 == "one_partition_after_the_other" { 2 } else { 1 };
    (sequence.1)(&mut Driver::new(partitions));
}
