//! How corekv scales: one to all cores, uniform keys, Zipf's law and one hot key, 20 and 50 % writes, 64 and
//! 256 connections, in less than eight minutes.
//!
//! ```sh
//! cargo run --release -p measure --bin scaling -- [MINUTES] [CORES,CORES…]
//! ```
//! Without a list the server gets 1, 2, 4 … cores, up to half of those that there are, and the load all
//! others. A number that leaves none for the load has it share the server's cores, and is marked. Printed
//! are medians of three rounds, in each of which every number of cores has its turn, as Markdown.

use std::process::Command;
use std::time::{Duration, Instant};

use corekv::net::{Address, allowed_cores};
use measure::load::{
    Client, Distribution, Measured, Pace, Replies, Requests, Socket, Wire, Workload, value,
};
use measure::machine::Machine;
use measure::programs::build;

const ROUNDS: usize = 3;
const KEYS: u64 = 1_000_000;
const VALUE_BYTES: usize = 8;
const DEPTH: usize = 16;
const CONNECTIONS: [usize; 2] = [64, 256];
const WRITES: [u64; 2] = [20, 50];
const DISTRIBUTIONS: [(&str, Distribution); 3] = [
    ("uniform", Distribution::Uniform),
    ("Zipf 0.99", Distribution::Zipf(0.99)),
    ("one key", Distribution::OneKey),
];
const WARM_UP: Duration = Duration::from_millis(100);

/// Length of one measurement: whatever the time leaves, within these.
const SECONDS_MIN: f64 = 0.2;
const SECONDS_MAX: f64 = 2.0;

/// Minutes without an argument. Starting, storing and drawing come on top.
const MINUTES: f64 = 6.0;

/// How many cores the server has, and who has which.
#[derive(Debug, Clone)]
struct Split {
    server: Vec<usize>,
    load: Vec<usize>,
    shared: bool,
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
struct Sample {
    rate: f64,
    cpu_ns: f64,
    server_busy: f64,
}

impl Sample {
    fn new(measured: &Measured, cores: usize) -> Self {
        let requests = measured.requests.max(1) as f64;
        Self {
            rate: measured.requests as f64 / measured.seconds,
            cpu_ns: measured.server.cpu_ns as f64 / requests,
            server_busy: measured.server.cpu_ns as f64 / (measured.seconds * 1e9 * cores as f64),
        }
    }
}

/// What is sent, by what is asked for and on how many connections.
struct Case {
    name: String,
    connections: usize,
    requests: usize,
}

/// All cases, and the requests that they draw on.
fn cases(wire: &Wire) -> (Vec<Requests>, Vec<Case>) {
    let (mut prepared, mut cases) = (Vec::new(), Vec::new());
    for (name, distribution) in DISTRIBUTIONS {
        for write_percent in WRITES {
            let workload = Workload {
                keys: KEYS,
                distribution,
                write_percent,
                differing_heads: false,
                value_bytes: VALUE_BYTES,
            };
            prepared.push(Requests::draw(wire, &workload, 1));
            for connections in CONNECTIONS {
                let name = format!("{name}, {write_percent} % writes, {connections} connections");
                cases.push(Case { name, connections, requests: prepared.len() - 1 });
            }
        }
    }
    (prepared, cases)
}

fn splits(wanted: Option<&str>) -> Result<Vec<Split>, Box<dyn std::error::Error>> {
    let all = allowed_cores()?;
    let counts: Vec<usize> = match wanted {
        Some(list) => list.split(',').map(str::parse).collect::<Result<_, _>>()?,
        None => (0..)
            .map(|power| 1 << power)
            .take_while(|&count| count <= (all.len() / 2).max(1))
            .collect(),
    };
    let split = |count: usize| {
        let count = count.clamp(1, all.len());
        let (server, rest) = all.split_at(count);
        let shared = rest.is_empty();
        let load = if shared { server } else { rest };
        Split { server: server.to_vec(), load: load.to_vec(), shared }
    };
    Ok(counts.into_iter().map(split).collect())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let minutes = arguments.next().map_or(Ok(MINUTES), |minutes| minutes.parse::<f64>())?;
    let splits = splits(arguments.next().as_deref())?;
    let corekv = build(&[])?.join("corekv");
    let (wire, begun) = (Wire::http(), Instant::now());
    let (prepared, cases) = cases(&wire);
    let measurements = (ROUNDS * splits.len() * cases.len()) as f64;
    let seconds = (minutes * 60.0 / measurements - 2.0 * WARM_UP.as_secs_f64())
        .clamp(SECONDS_MIN, SECONDS_MAX);
    let mut samples = vec![vec![Vec::new(); splits.len()]; cases.len()];
    for round in 1..=ROUNDS {
        for (number, split) in splits.iter().enumerate() {
            eprintln!(
                "round {round} of {ROUNDS}, {} cores, {:.0} s",
                split.server.len(),
                begun.elapsed().as_secs_f64()
            );
            let cores = split.server.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let mut command = Command::new(&corekv);
            command.args(["--listen", "127.0.0.1:0", "--memory", "1GiB", "--cores", &cores]);
            let server = testkit::Server::try_spawn(&mut command)?;
            let address = Address::Tcp(server.address().parse()?);
            let replies = Replies::learn(&wire, &Socket::connect(&address)?, VALUE_BYTES, true)?;
            let mut client = Client {
                address,
                cores: split.load.clone(),
                connections: 1,
                warm_up: WARM_UP,
                duration: Duration::from_secs_f64(seconds),
            };
            client.preload(&wire, 0..KEYS, &value(VALUE_BYTES), &replies)?;
            for (case, samples) in cases.iter().zip(&mut samples) {
                client.connections = case.connections;
                let requests = &prepared[case.requests];
                let measured =
                    client.run(requests, &replies, Pace::Closed { depth: DEPTH }, server.pid())?;
                samples[number].push(Sample::new(&measured, split.server.len()));
            }
        }
    }
    print(&splits, &cases, &samples, seconds);
    Ok(())
}

fn median(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> f64 {
    let mut figures: Vec<f64> = samples.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn print(splits: &[Split], cases: &[Case], samples: &[Vec<Vec<Sample>>], seconds: f64) {
    let machine = Machine::here();
    println!(
        "{}, commit {}, {} with {} cores, Linux {}, {ROUNDS} rounds of {seconds:.1} s, {DEPTH} requests in \
         flight per connection, {KEYS} keys, values of {VALUE_BYTES} bytes.",
        machine.date, machine.commit, machine.cpu, machine.cores, machine.kernel
    );
    println!();
    println!(
        "Requests per second, times the rate of the first column, CPU per request, share of the server's cores in use"
    );
    println!();
    print!("| workload |");
    for split in splits {
        let load =
            if split.shared { "shared".to_owned() } else { format!("load {}", split.load.len()) };
        print!(" {} ({load}) |", split.server.len());
    }
    println!("\n|---|{}", "---|".repeat(splits.len()));
    for (case, by_split) in cases.iter().zip(samples) {
        print!("| {} |", case.name);
        let first = median(&by_split[0], |sample| sample.rate);
        for samples in by_split {
            let rate = median(samples, |sample| sample.rate);
            let (cpu, busy) = (
                median(samples, |sample| sample.cpu_ns),
                median(samples, |sample| sample.server_busy),
            );
            print!(
                " {:.2} M, {:.2} ×, {cpu:.0} ns, {:.0} % |",
                rate / 1e6,
                rate / first,
                busy * 100.0
            );
        }
        println!();
    }
}
