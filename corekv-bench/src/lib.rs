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
//!           output: report, json, csv, hgrm, html -> plot
//! ```
//!
//! The data path is a thread per core with an event loop of its own: one read takes all answers
//! that have arrived, one write sends the requests that replace them, and nothing is allocated,
//! locked or shared on the way. What the threads record is merged when they have finished.

pub mod against;
mod answer;
mod arguments;
mod cachebench;
mod catalog;
pub mod cli;
pub mod compare;
mod connection;
pub mod context;
pub mod cpu;
pub mod csv;
mod curve;
mod digits;
pub mod distribution;
pub mod embedded;
pub mod error;
mod facebook;
mod generator;
pub mod hdrlog;
pub mod hgrm;
pub mod html;
pub mod json;
mod limits;
mod link;
pub mod live;
pub mod merge;
pub mod method;
mod metrics;
pub mod mix;
mod output;
mod plot;
mod pool;
pub mod preload;
pub mod preset;
mod probe;
pub mod progress;
pub mod rate;
pub mod recorder;
pub mod report;
pub mod request;
pub mod request_list;
pub mod response;
mod send_buffer;
pub mod series;
pub mod session;
pub mod settings;
mod source;
mod start;
pub mod statistics;
pub mod steps;
mod stream;
mod subcommand;
pub mod summary;
pub mod sweep;
mod table;
pub mod target;
pub mod task;
pub mod template;
pub mod threshold;
mod timer;
pub mod tls;
pub mod trace;
mod twitter;
mod units;
pub mod values;
pub mod verify;
pub mod worker;
pub mod workload;
mod ycsb;
mod zipf;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use error::Error;
use metrics::Page;
use output::{Results, Sinks};
use settings::Settings;

/// The whole program: command line in, exit code out.
pub fn main() -> u8 {
    let interrupt = Interrupt::default();
    let code = try_main(&interrupt).unwrap_or_else(|error| {
        eprintln!("corekv-bench: {error}");
        error.exit_code()
    });
    interrupt.exit_code().unwrap_or(code)
}

fn try_main(interrupt: &Interrupt) -> Result<u8, Error> {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(result) = subcommand::run(&arguments) {
        return result;
    }
    let Some(mut settings) = cli::parse(arguments)? else {
        return Ok(0);
    };
    let sinks = Sinks::open(&settings)?;
    if let Some(address) = &settings.metrics {
        let (page, local) = Page::serve(address)?;
        settings.page = Some(page);
        if !settings.quiet {
            eprintln!("corekv-bench: metrics at http://{local}/metrics");
        }
    }
    interrupt.listen()?;
    let results = measure(&settings, &interrupt.stop)?;
    sinks.write(&settings, &*results)?;
    let faults = results.faults(&settings);
    // The report shows what went wrong, but not what was asked of it.
    let is_plain = settings.against.is_none() && settings.sweep.is_none();
    let was_asked = settings.quiet || !settings.fail_if.is_empty() || !is_plain;
    if !faults.is_empty() && was_asked {
        eprintln!("corekv-bench: {}", faults.join(", "));
    }
    Ok(u8::from(!faults.is_empty()))
}

/// Does what was asked for.
fn measure(settings: &Settings, stop: &Arc<AtomicBool>) -> Result<Box<dyn Results>, Error> {
    if let Some(against) = &settings.against {
        return Ok(Box::new(against::run(settings, against, stop)?));
    }
    if let Some(range) = settings.sweep {
        return Ok(Box::new(sweep::run(settings, range, stop)?));
    }
    Ok(Box::new(session::run(settings, stop)?))
}

/// The first interrupt ends the measurement, the second one the process.
#[derive(Debug, Default)]
struct Interrupt {
    stop: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    fn listen(&self) -> Result<(), Error> {
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let number = signal as usize;
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&self.stop))
                .and_then(|_| {
                    signal_hook::flag::register_usize(signal, Arc::clone(&self.signal), number)
                })
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&self.stop)))
                .map_err(|error| Error::failed(format!("cannot handle signals: {error}")))?;
        }
        Ok(())
    }

    /// What a shell expects of a process that a signal ended.
    fn exit_code(&self) -> Option<u8> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(128 + signal as u8),
        }
    }
}
