//! The whole comparison in one command: corekv beside its floor, a reference on hyper, tokio and dashmap,
//! and Redis, memcached, nginx and HAProxy where they are installed.
//!
//! ```sh
//! cargo run --release -p measure --bin versus             # one axis at a time
//! cargo run --release -p measure --bin versus -- --full   # every combination
//! ```
//!
//! In each round all servers are started anew, and take turns in each cell of the grid, so that what the
//! machine does meanwhile meets all of them. All get the same bytes from the same client
//! ([`measure::load`]).

mod command;
mod comparison;
mod grid;
mod json;
mod markdown;
mod options;
mod plots;
mod publish;
mod results;
mod running;
mod server;

use std::fs;
use std::process::ExitCode;

use clap::Parser;
use measure::machine::Machine;
use measure::programs::build;

use crate::comparison::Comparison;
use crate::options::Options;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let programs = build(&["floor", "reference"])?;
    let comparison = Comparison::new(options, &programs)?;
    let results = comparison.run()?;
    let machine = Machine::here();
    let out = &options.out;
    let report = markdown::report(&results, &machine);
    let write = |name: &str, text: &str| {
        fs::write(out.join(name), text).map_err(|error| format!("{}: {error}", out.display()))
    };
    fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    write("README.md", &report)?;
    write("results.json", &json::render(&results, &machine))?;
    for (name, picture) in plots::all(&results)? {
        write(name, &picture)?;
    }
    println!("{report}");
    println!("written to {}", out.display());
    if options.publish {
        publish::publish(&results, &machine, out)?;
    }
    Ok(())
}
