//! A million keys: all found, in little memory. One test alone in its process,
//! since it looks at the process's resident memory.

mod store_util;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use corekv::store::{Expiry, Tick, Written};
use store_util::*;

const KEYS: u64 = 1_000_000;
const RESIDENT_BYTES_PER_KEY_MAX: u64 = 50;
const EMPTY_RESIDENT_BYTES_MAX: u64 = 1 << 20;

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    let pages: u64 = statm.split(' ').nth(1).expect("a second field").parse().expect("a number");
    pages * rustix::param::page_size() as u64
}

#[test]
fn a_million_keys_are_found_in_little_memory() {
    let before = resident_bytes();
    let many = store(16, 1 << 30);
    assert!(resident_bytes() - before < EMPTY_RESIDENT_BYTES_MAX, "an empty store is small");
    drop(many);

    let store = store(1, 1 << 30);
    let before = resident_bytes();
    let mut name = String::new();
    let mut longest = Duration::ZERO;
    for key in 0..KEYS {
        name.clear();
        write!(name, "{key}").expect("a string takes anything");
        let start = Instant::now();
        let written = put(&store, name.as_bytes(), &value(key, 0, 5), Expiry::NEVER, Tick(0));
        longest = longest.max(start.elapsed());
        assert_eq!(written, Ok(Written::Created));
    }
    let each = (resident_bytes() - before) / KEYS;
    let counted = statistics(&store).bytes / KEYS;
    println!("{each} bytes resident per key, {counted} counted, longest put {longest:?}");
    assert!(each <= RESIDENT_BYTES_PER_KEY_MAX, "{each} bytes per key");
    for key in 0..KEYS {
        name.clear();
        write!(name, "{key}").expect("a string takes anything");
        assert_eq!(get(&store, name.as_bytes(), Tick(0)), Some(value(key, 0, 5)));
    }
    for key in KEYS..KEYS + 1000 {
        assert_eq!(get(&store, format!("{key}").as_bytes(), Tick(0)), None);
    }
    assert_eq!(statistics(&store).keys, KEYS);
}
