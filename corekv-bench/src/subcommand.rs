//! `corekv-bench compare` and `merge`: what is done with the results of runs.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use clap::error::ErrorKind;

use super::compare::{Comparison, Side};
use super::error::{Error, first_line};
use super::hgrm;
use super::merge::Merged;
use super::output::Sink;

/// What can be done without a run.
#[derive(Debug, Parser)]
#[command(name = "corekv-bench", disable_help_subcommand = true)]
enum Subcommand {
    Compare(Compare),
    Merge(Merge),
}

/// Adds up the logs that --hdr-log wrote in runs at the same time.
#[derive(Debug, clap::Args)]
struct Merge {
    /// The logs
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Write the sum as JSON (- is standard output)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write all latencies in HdrHistogram's percentile format
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// Write the sum as a log
    #[arg(long, value_name = "FILE")]
    hdr_log: Option<PathBuf>,
    /// Fail if a run had errors, lost values or was disturbed, or they were not at the same time
    #[arg(long)]
    strict: bool,
}

/// Says whether results that --json wrote differ by more than chance.
///
/// Two files are compared; of more, each with the first one. Several runs a side are named before
/// and after --with. Six or more runs a side make the most reliable answer.
#[derive(Debug, clap::Args)]
struct Compare {
    /// The runs of the first server, or without --with of all
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The runs of the second server
    #[arg(long, value_name = "FILE", num_args = 1..)]
    with: Vec<PathBuf>,
    /// Write what was found as JSON (- is standard output)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail if the second server is worse in anything
    #[arg(long)]
    strict: bool,
}

/// Does what a command line asks for if its first word is the name of a subcommand, and returns
/// the exit code.
pub(super) fn run(arguments: &[OsString]) -> Option<Result<u8, Error>> {
    if !["compare", "merge"].contains(&arguments.get(1)?.to_str()?) {
        return None;
    }
    Some(match Subcommand::try_parse_from(arguments) {
        Ok(Subcommand::Compare(compare)) => compare.run(),
        Ok(Subcommand::Merge(merge)) => merge.run(),
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            // Help that nobody reads needs no complaint.
            let _ = error.print();
            Ok(0)
        }
        Err(error) => Err(Error::usage(first_line(&error.to_string()))),
    })
}

impl Compare {
    fn run(&self) -> Result<u8, Error> {
        let json = self.json.as_ref().map(Sink::open).transpose()?;
        let comparisons = self.comparisons()?;
        let texts: Vec<_> = comparisons.iter().map(Comparison::text).collect();
        say(json.as_ref(), &texts.join("\n"))?;
        if let Some(sink) = json {
            let all: Vec<_> = comparisons.iter().map(Comparison::json).collect();
            sink.write(&format!("{:#}\n", serde_json::json!({ "comparisons": all })))?;
        }
        let worse: Vec<_> = comparisons.iter().flat_map(Comparison::worse).collect();
        if self.strict && !worse.is_empty() {
            eprintln!("corekv-bench: worse in {}", worse.join(", "));
            return Ok(1);
        }
        Ok(0)
    }

    fn comparisons(&self) -> Result<Vec<Comparison>, Error> {
        if !self.with.is_empty() {
            let (a, b) = (Side::read(&self.files)?, Side::read(&self.with)?);
            return Ok(vec![Comparison::new(&a, &b)]);
        }
        let [first, others @ ..] = &self.files[..] else { unreachable!("FILE is required") };
        if others.is_empty() {
            return Err(Error::usage("compare needs two files or more"));
        }
        let first = Side::read(&[first])?;
        others.iter().map(|other| Ok(Comparison::new(&first, &Side::read(&[other])?))).collect()
    }
}

impl Merge {
    fn run(&self) -> Result<u8, Error> {
        let open = |path: &Option<PathBuf>| path.as_ref().map(Sink::open).transpose();
        let (json, hgrm, log) = (open(&self.json)?, open(&self.hgrm)?, open(&self.hdr_log)?);
        let merged = Merged::read(&self.files)?;
        let is_stdout = |sink: &&Sink| matches!(sink, Sink::Stdout);
        say([&json, &hgrm, &log].into_iter().flatten().find(is_stdout), &merged.text())?;
        if let Some(sink) = json {
            sink.write(&format!("{:#}\n", merged.json()))?;
        }
        if let Some(sink) = hgrm {
            sink.write(&hgrm::render(&merged.latency()))?;
        }
        if let Some(sink) = log {
            sink.write(&merged.log())?;
        }
        let faults = merged.faults();
        if self.strict && !faults.is_empty() {
            eprintln!("corekv-bench: {}", faults.join(", "));
            return Ok(1);
        }
        Ok(0)
    }
}

/// Prints to standard output, unless that is where the JSON goes.
fn say(json: Option<&Sink>, text: &str) -> Result<(), Error> {
    match json {
        Some(Sink::Stdout) => {
            eprint!("{text}");
            Ok(())
        }
        _ => Sink::Stdout.write(text),
    }
}
