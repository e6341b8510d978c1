//! What it costs that every core accesses every partition: threads that access only their own partition
//! beside threads that access all, on a store with a partition per thread.
//!
//! ```sh
//! cargo run --release -p measure --bin partitions -- [THREADS] [ROUNDS]
//! ```
//! Both take turns. A thread reads and writes batches of 32 as an event loop does: all index lines are
//! prefetched, then all entries. Printed are medians over the rounds, and quartiles of the ratio within a
//! round: CPU time of a thread per operation, and how often it gave its core away, per 1,000
//! operations, which a thread does that waits for a lock.

use std::fs;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use corekv::net::{allowed_cores, pin};
use corekv::store::{Expiry, Key, Settings, SlotHint, Store, Tick, Value};
use measure::cpu::thread_cpu_ns;
use testkit::{Numbers, Zipf};

const KEYS: u64 = 1_000_000;
const BATCH: usize = 32;
const NOW: Tick = Tick(0);

/// Operations that are drawn ahead for each thread, which goes round them.
const DRAWN: usize = 1 << 18;

/// How long one side is measured at a time.
const TURN: Duration = Duration::from_millis(60);

/// How keys are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Distribution {
    Uniform,
    Zipf,
    OneKey,
}

/// Whose keys a thread accesses.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Access {
    Any,
    Own,
}

/// Operations in the order in which they are done: names as they lie in a receive buffer.
struct Operations {
    names: Vec<u8>,
    ends: Vec<usize>,
    writes: Vec<bool>,
}

impl Operations {
    fn draw(
        store: &Store,
        thread: usize,
        distribution: Distribution,
        access: Access,
        write_percent: u64,
    ) -> Self {
        let mut numbers = Numbers::new(thread as u64 + 1);
        let zipf = Zipf::new(KEYS, 0.99);
        let mut drawn = Self { names: Vec::new(), ends: Vec::new(), writes: Vec::new() };
        // The key that all access, or the first that lies in the thread's own partition.
        let mut single = 0;
        while drawn.ends.len() < DRAWN {
            let key = match distribution {
                Distribution::Uniform => numbers.below(KEYS),
                Distribution::Zipf => zipf.rank(&mut numbers),
                Distribution::OneKey => single,
            };
            let name = key.to_string();
            let owner = store.partition_of(store.key(name.as_bytes()));
            if access == Access::Own && owner != thread {
                single += 1;
                continue;
            }
            drawn.names.extend_from_slice(name.as_bytes());
            drawn.ends.push(drawn.names.len());
            drawn.writes.push(numbers.below(100) < write_percent);
        }
        drawn
    }

    fn batch(&self, first: usize) -> impl Iterator<Item = (&[u8], bool)> {
        let name = move |at: usize| {
            let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.names[start..self.ends[at]]
        };
        (first..first + BATCH).map(move |at| (name(at), self.writes[at]))
    }
}

/// What a thread used per operation.
#[derive(Debug, Clone, Copy)]
struct Cost {
    cpu_ns: f64,
    waits: f64,
    per_second: f64,
}

/// Does batches for the length of a turn.
fn work(store: &Store, operations: &Operations, barrier: &Barrier) -> Cost {
    let mut out = Vec::with_capacity(1 << 12);
    barrier.wait();
    let (waits, cpu, start) = (voluntary_switches(), thread_cpu_ns(), Instant::now());
    let mut done = 0;
    while start.elapsed() < TURN {
        for _ in 0..16 {
            batch(store, operations.batch(done % DRAWN), &mut out);
            done += BATCH;
        }
    }
    let per = |sum: u64| sum as f64 / done as f64;
    Cost {
        cpu_ns: per(thread_cpu_ns() - cpu),
        waits: per(voluntary_switches() - waits),
        per_second: done as f64 / start.elapsed().as_secs_f64(),
    }
}

/// As the server does it.
fn batch<'a>(store: &Store, operations: impl Iterator<Item = (&'a [u8], bool)>, out: &mut Vec<u8>) {
    let mut names: [(&[u8], bool); BATCH] = [(b"", false); BATCH];
    let mut hints = [(store.hash(b""), SlotHint::NONE); BATCH];
    for ((slot, (hash, hint)), operation) in names.iter_mut().zip(&mut hints).zip(operations) {
        *slot = operation;
        *hash = store.hash(operation.0);
        *hint = store.prefetch_index(*hash);
    }
    let hints = hints.map(|(hash, hint)| (hash, store.prefetch_entry(hash, hint)));
    out.clear();
    for (&(name, writes), &(hash, hint)) in names.iter().zip(&hints) {
        let key = Key::new(name, hash).with_hint(&hint);
        if writes {
            store.put(key, b"54321", Expiry::NEVER, NOW).expect("room");
            continue;
        }
        let start = out.len();
        if let Some(read) = store.optimistic_read(key, NOW) {
            read.value().append_to(out);
            if read.validate() {
                continue;
            }
            out.truncate(start);
        }
        store.get(key, NOW, |value| {
            if let Value::Small(value) = value {
                value.append_to(out);
            }
        });
    }
    std::hint::black_box(out);
}

/// How often the calling thread has waited for something.
fn voluntary_switches() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// All threads at once; the mean of their costs.
fn turn(store: &Store, operations: &[Operations], cores: &[usize]) -> Cost {
    let barrier = Barrier::new(operations.len());
    let costs: Vec<Cost> = thread::scope(|scope| {
        let threads: Vec<_> = operations
            .iter()
            .zip(cores)
            .map(|(operations, &core)| {
                let barrier = &barrier;
                scope.spawn(move || {
                    pin(core).expect("the core is allowed");
                    work(store, operations, barrier)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panics")).collect()
    });
    let mean =
        |figure: fn(&Cost) -> f64| costs.iter().map(figure).sum::<f64>() / costs.len() as f64;
    Cost {
        cpu_ns: mean(|cost| cost.cpu_ns),
        waits: mean(|cost| cost.waits),
        per_second: costs.iter().map(|cost| cost.per_second).sum(),
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|number| number.parse::<usize>());
    let cores = allowed_cores()?;
    let threads = arguments.next().transpose()?.unwrap_or(cores.len()).min(cores.len());
    let rounds = arguments.next().transpose()?.unwrap_or(21);
    let store = Store::new(Settings { partitions: threads, memory_bytes_max: 1 << 30 })?;
    for key in 0..KEYS {
        let name = key.to_string();
        store.put(store.key(name.as_bytes()), b"12345", Expiry::NEVER, NOW).expect("room");
    }
    println!("{threads} threads, {KEYS} keys, {rounds} rounds");
    println!();
    println!(
        "| keys | writes | all partitions, ns | own, ns | own / all | waits per 1,000, all | own | \
         operations per second, all | own |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for distribution in [Distribution::Uniform, Distribution::Zipf, Distribution::OneKey] {
        for write_percent in [0, 20, 50] {
            let draw = |access| -> Vec<Operations> {
                (0..threads)
                    .map(|thread| {
                        Operations::draw(&store, thread, distribution, access, write_percent)
                    })
                    .collect()
            };
            let (any, own) = (draw(Access::Any), draw(Access::Own));
            let mut pairs = Vec::new();
            for _ in 0..rounds {
                pairs.push((turn(&store, &any, &cores), turn(&store, &own, &cores)));
            }
            let of =
                |figure: fn(&(Cost, Cost)) -> f64| pairs.iter().map(figure).collect::<Vec<_>>();
            let mut ratios = of(|(any, own)| own.cpu_ns / any.cpu_ns);
            ratios.sort_by(f64::total_cmp);
            println!(
                "| {distribution:?} | {write_percent} % | {:.1} | {:.1} | {:.2} ({:.2} to {:.2}) | {:.2} | {:.2} | {:.1} M | {:.1} M |",
                median(of(|(any, _)| any.cpu_ns)),
                median(of(|(_, own)| own.cpu_ns)),
                ratios[ratios.len() / 2],
                ratios[ratios.len() / 4],
                ratios[ratios.len() - 1 - ratios.len() / 4],
                median(of(|(any, _)| any.waits)) * 1e3,
                median(of(|(_, own)| own.waits)) * 1e3,
                median(of(|(any, _)| any.per_second)) / 1e6,
                median(of(|(_, own)| own.per_second)) / 1e6,
            );
        }
    }
    Ok(())
}
