//! `--probe`: one connection with one request in flight at a low, constant rate, beside those that
//! load the server, as in mutilate (Leverich and Kozyrakis, Reconciling High Server Utilization and
//! Sub-millisecond Quality-of-Service, EuroSys 2014). What it measures is the latency of a client that
//! does not load the server itself.
//!
//! It has a thread of its own: on the event loop of a load thread, its answers would wait for that
//! thread's other work. The thread runs on a core where neither load threads nor a server inside the
//! process do, if there is one, or else on any core, and before other threads where that is allowed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::context::Common;
use super::error::Error;
use super::method::Method;
use super::mix::{Mix, Operation};
use super::pool::LoadThread;
use super::rate::Pace;
use super::settings::Settings;
use super::summary::Probed;
use super::task::{Done, Share, Task};
use super::workload::Workload;

/// The name of its thread.
const THREAD_NAME: &str = "probe";

/// The probe's thread, which waits for its task.
pub(super) struct Probe {
    rate: f64,
    thread: LoadThread,
    /// Ends the task.
    stop: Arc<AtomicBool>,
}

impl Probe {
    /// Starts the thread on this core, or anywhere.
    pub(super) fn start(
        settings: &Settings,
        rate: f64,
        common: &Arc<Common>,
        core: Option<usize>,
    ) -> Result<Self, Error> {
        let mix = Mix::of(&[(Operation::Send(Method::Get), 1.0)]);
        let workload = Workload { mix, read_through: false, ..settings.workload };
        let settings = Settings { workload, ..settings.clone() };
        let share = Share::probe(settings.connections);
        let stop = Arc::new(AtomicBool::new(false));
        let thread =
            LoadThread::start(THREAD_NAME.to_owned(), core, share, &settings, common, &stop)?;
        Ok(Self { rate, thread, stop })
    }

    /// Opens the connection.
    pub(super) fn connect(&self) -> Result<(), Error> {
        self.thread.send(Task::Connect);
        match self.thread.wait()? {
            Done { open: 1, .. } => Ok(()),
            _ => Err(Error::failed("the probe's connection could not be opened")),
        }
    }

    /// Begins to measure; `load` is what the load threads do.
    pub(super) fn begin(&self, load: Task) {
        if let Task::Load { begin, until, is_reported, .. } = load {
            self.stop.store(false, Ordering::Relaxed);
            let pace = Some(Pace::Constant(self.rate));
            let (depth, requests) = (1, None);
            self.thread.send(Task::Load { begin, until, requests, pace, depth, is_reported });
        }
    }

    /// Ends the measurement, unless its time is over.
    pub(super) fn end(&self) -> Result<Probed, Error> {
        self.stop.store(true, Ordering::Relaxed);
        let done = self.thread.wait()?;
        self.stop.store(false, Ordering::Relaxed);
        let record = done.recorder.method(Method::Get);
        Ok(Probed {
            rate: self.rate,
            latency: record.latency.clone(),
            errors: done.recorder.errors(),
            behind: done.behind,
            waited_ns: done.usage.waited_ns,
        })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // Where the load failed, its thread may be at work.
        self.stop.store(true, Ordering::Relaxed);
    }
}
