//! A small key-value server that is right, or wrong in one chosen way, and a way to run the load
//! generator against it.
#![allow(dead_code, unreachable_pub, unused_imports)]

mod double;
pub mod peer;

use std::process::{Command, Output};

pub use double::{Double, Fault};

/// What the load generator said and how it ended.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the binary with arguments that are separated by blanks.
pub fn bench(arguments: &str) -> Run {
    let output = command(arguments).output().unwrap();
    Run::from(output)
}

pub fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corekv-bench"));
    command.args(arguments.split_ascii_whitespace());
    command
}

/// Runs the binary and returns the JSON that it writes to standard output, too.
pub fn bench_json(arguments: &str) -> (Run, serde_json::Value) {
    let run = bench(&format!("{arguments} --json -"));
    let json =
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error} in {run:?}"));
    (run, json)
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
