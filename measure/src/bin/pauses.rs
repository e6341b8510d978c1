//! How long single inserts take while the store grows.
//!
//! `cargo run --release -p measure --bin pauses [KEYS] [MEBIBYTES]` inserts keys one by one into an empty
//! store, and prints how long they took by the clock and of the thread's processor time, which
//! does not count what other processes did meanwhile, and how many took longer than 0.3 and 1 ms.
//! The last line is of doing nothing for as long: what takes time there is the machine's.

use std::io::Write;
use std::time::{Duration, Instant};

use corekv::store::{Expiry, Settings, Store, Tick};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("it is not negative")
}

fn print(name: &str, taken: &Histogram<u64>) {
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    let over = |nanos: u64| taken.count_between(nanos, u64::MAX);
    println!(
        "{name:<15} mean {:.2} us, p99.99 {:.0} us, longest {:.0} us; over 0.3 ms: {}, over 1 ms: {}",
        micros(taken.mean() as u64),
        micros(taken.value_at_quantile(0.9999)),
        micros(taken.max()),
        over(300_000),
        over(1_000_000)
    );
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|n| n.parse().expect("a number"));
    let keys: u64 = numbers.next().unwrap_or(1_000_000);
    let limit = numbers.next().unwrap_or(2048) << 20;
    let store = Store::new(Settings { partitions: 1, memory_bytes_max: limit }).expect("memory");
    let new = || Histogram::<u64>::new(3).expect("three digits");
    let (mut by_clock, mut by_processor, mut name) = (new(), new(), Vec::new());
    let begun = processor_time();
    for key in 0..keys {
        name.clear();
        write!(name, "{key}").expect("a vector takes anything");
        let (start, processor_start) = (Instant::now(), processor_time());
        let key = store.key(&name);
        store.put(key, b"12345", Expiry::NEVER, Tick(0)).expect("it is small");
        by_processor += (processor_time() - processor_start).as_nanos() as u64;
        by_clock += start.elapsed().as_nanos() as u64;
    }
    let used = processor_time() - begun;
    let mut nothing = new();
    let (end, mut last) = (processor_time() + used, processor_time());
    while last < end {
        let now = processor_time();
        nothing += (now - last).as_nanos() as u64;
        last = now;
    }
    print("clock", &by_clock);
    print("processor time", &by_processor);
    print("doing nothing", &nothing);
}
