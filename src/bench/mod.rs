//! The load generator: measures an HTTP key-value server under pipelined load.
//!
//! ```text
//!  cli -> settings -> session --+-- load thread: worker -> connection -> stream
//!                       |       |                  |           |
//!                   preload,    |               recorder    workload -> request   (out)
//!                  progress     +-- ...            |        response -> verify    (in)
//!                       |                          |
//!                    summary <---- merged ---------+
//!                       |
//!                 report, json, csv, hgrm
//! ```
//!
//! The data path is a thread per core with an event loop of its own: one read takes all answers
//! that have arrived, one write sends the requests that replace them, and nothing is allocated,
//! locked or shared on the way. What the threads record is merged when they have finished.

mod answer;
pub mod cli;
mod connection;
pub mod context;
pub mod cpu;
pub mod csv;
pub mod embedded;
pub mod error;
pub mod hgrm;
pub mod json;
pub mod preload;
pub mod progress;
pub mod rate;
pub mod recorder;
pub mod report;
pub mod request;
pub mod response;
mod sampler;
pub mod session;
pub mod settings;
mod stream;
pub mod summary;
mod table;
pub mod target;
pub mod verify;
pub mod worker;
pub mod workload;
mod zipf;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use error::Error;
use settings::Settings;
use summary::Summary;

/// The whole program: command line in, exit code out.
pub fn main() -> u8 {
    match try_main() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("corekv-bench: {error}");
            error.exit_code()
        }
    }
}

fn try_main() -> Result<u8, Error> {
    let Some(settings) = cli::parse(std::env::args_os())? else {
        return Ok(0);
    };
    let stop = Arc::new(AtomicBool::new(false));
    on_interrupt(&stop)?;
    let summary = session::run(&settings, &stop)?;
    write_results(&settings, &summary)?;
    let faults = summary.faults();
    if settings.quiet && !faults.is_empty() {
        eprintln!("corekv-bench: {}", faults.join(", "));
    }
    Ok(u8::from(!faults.is_empty()))
}

/// The first interrupt ends the measurement, the second one the process.
fn on_interrupt(stop: &Arc<AtomicBool>) -> Result<(), Error> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(stop)))
            .map_err(|error| Error::failed(format!("cannot handle signals: {error}")))?;
    }
    Ok(())
}

fn write_results(settings: &Settings, summary: &Summary) -> Result<(), Error> {
    let outputs = &settings.outputs;
    if !settings.quiet {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let color = settings.color && !no_color;
        // Who pipes the report into a pager that quits early wants no complaint.
        if outputs.use_stdout() {
            let color = color && io::stderr().is_terminal();
            let _ = io::stderr().write_all(report::render(summary, color).as_bytes());
        } else {
            let color = color && io::stdout().is_terminal();
            let _ = io::stdout().write_all(report::render(summary, color).as_bytes());
        }
    }
    if let Some(path) = &outputs.json {
        write_to(path, &json::render(summary))?;
    }
    if let Some(path) = &outputs.csv {
        write_to(path, &csv::render(summary))?;
    }
    if let Some(path) = &outputs.hgrm {
        write_to(path, &hgrm::render(&report::all_latencies(summary)))?;
    }
    Ok(())
}

fn write_to(path: &Path, text: &str) -> Result<(), Error> {
    if path.as_os_str() == "-" {
        let _ = io::stdout().write_all(text.as_bytes());
        return Ok(());
    }
    std::fs::write(path, text)
        .map_err(|error| Error::failed(format!("cannot write {}: {error}", path.display())))
}
