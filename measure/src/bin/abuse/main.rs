//! Does to a server what a careful operator fears, and prints what came of it.
//!
//! ```sh
//! cargo build --release -p corekv -p measure
//! target/release/abuse [PATH-OF-SERVER [SCENARIO…]]
//! ```
//!
//! Each scenario starts a server of its own on the loopback address, is bounded in time, and says
//! `ok` or what went wrong. The exit status is 1 if any went wrong.

mod client;
mod crowds;
mod data;
mod greed;
mod prices;
mod server;

use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a scenario measured, or what broke.
type Outcome = Result<String, String>;

type Scenario = (&'static str, fn(&str) -> Outcome);

const SCENARIOS: [Scenario; 16] = [
    ("baseline", crowds::baseline),
    ("slow-heads", crowds::slow_heads),
    ("slow-bodies", crowds::slow_bodies),
    ("slow-reads", crowds::slow_reads),
    ("scrapes", crowds::scrapes),
    ("prices", prices::prices),
    ("idle", crowds::idle),
    ("connect-and-close", crowds::connect_and_close),
    ("resets", crowds::resets),
    ("descriptors", crowds::descriptors),
    ("never-reads", crowds::never_reads),
    ("greedy-readers", greed::greedy_readers),
    ("unfinished-heads", greed::unfinished_heads),
    ("memory", data::memory),
    ("kills", data::kills),
    ("clock", data::clock),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| "target/release/corekv".to_owned());
    let wanted: Vec<String> = args.collect();
    let limit = getrlimit(Resource::Nofile);
    // Thousands of connections have their other end here.
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        eprintln!("can't raise the limit on open files: {error}");
    }
    let mut failed = false;
    for (name, scenario) in SCENARIOS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        let line = match scenario(&path) {
            Ok(measured) => format!("ok      {measured}"),
            Err(wrong) => {
                failed = true;
                format!("FAILED  {wrong}")
            }
        };
        println!("{name:<18} {line}");
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
