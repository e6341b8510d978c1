//! When snapshots are written: on request, every so often, and at the end.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;
use rustix::thread::gettid;

use super::replacement;
use super::status::{Saved, Status};
use super::writer::{Contents, save};
use crate::explain::explain;

/// The nice value of the thread that writes while the server serves: it runs when the event loops let it.
const NICE: i32 = 19;

/// A snapshot is being written already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// Writes snapshots of one server.
#[derive(Debug)]
pub struct Saver {
    path: PathBuf,
    interval: Option<Duration>,
    status: Arc<Status>,
    orders: Mutex<Orders>,
    wake: Condvar,
    /// Ends what is being written.
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct Orders {
    wanted: bool,
    ending: bool,
}

/// The thread that writes while the server serves; it ends with the value.
#[derive(Debug)]
pub struct Running<'a> {
    saver: &'a Arc<Saver>,
    thread: Option<JoinHandle<()>>,
}

impl Saver {
    /// Writes to a path, also every `interval`.
    ///
    /// # Errors
    /// When no file could be written there.
    pub fn new(path: PathBuf, interval: Option<Duration>) -> io::Result<Self> {
        replacement::check(&path)?;
        Ok(Self {
            path,
            interval,
            status: Arc::default(),
            orders: Mutex::default(),
            wake: Condvar::new(),
            stop: AtomicBool::new(false),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// What is known of its snapshots.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Has a snapshot written by the thread of [`start`](Self::start).
    ///
    /// # Errors
    /// When one is being written already.
    pub fn request(&self) -> Result<(), Busy> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.ending || self.status.is_running() {
            return Err(Busy);
        }
        orders.wanted = true;
        // Whoever asks from now on is told that it is under way.
        self.status.begin();
        self.wake.notify_one();
        Ok(())
    }

    /// Starts the thread that writes while others use the store.
    ///
    /// # Errors
    /// When there can't be one.
    pub fn start<'a>(self: &'a Arc<Self>, contents: &Contents) -> io::Result<Running<'a>> {
        *self.orders.lock().unwrap_or_else(PoisonError::into_inner) = Orders::default();
        self.stop.store(false, Relaxed);
        self.status.abandon();
        let (saver, contents) = (Arc::clone(self), contents.clone());
        let thread = thread::Builder::new().name("snapshot".to_owned()).spawn(move || {
            // Of this thread alone; if it may not, it competes with the event loops.
            let _ = setpriority_process(Some(gettid()), NICE);
            saver.serve(&contents);
        });
        let thread = thread.map_err(explain("can't start the thread snapshot (clone3)"))?;
        Ok(Running { saver: self, thread: Some(thread) })
    }

    fn serve(&self, contents: &Contents) {
        let mut last = Instant::now();
        while self.wait(last) {
            last = Instant::now();
            let _ = self.save(contents, 1, true);
        }
    }

    /// Waits until one is to be written; false at the end.
    fn wait(&self, last: Instant) -> bool {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = self.interval.map(|interval| interval.saturating_sub(last.elapsed()));
            if orders.ending {
                return false;
            }
            if orders.wanted || left.is_some_and(|left| left.is_zero()) {
                self.status.begin();
                orders.wanted = false;
                return true;
            }
            orders = match left {
                None => self.wake.wait(orders).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.wake.wait_timeout(orders, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Writes one, with so many threads, and says what became of it.
    ///
    /// # Errors
    /// Those of [`save`](super::save).
    pub fn save(&self, contents: &Contents, threads: usize, gently: bool) -> io::Result<Saved> {
        self.status.begin();
        let result = save(&self.path, contents, threads, gently, &self.stop);
        let path = self.path.display();
        match &result {
            Ok(saved) => {
                self.status.succeed(*saved);
                let (keys, seconds) = (saved.keys, saved.duration.as_secs_f64());
                let mebibytes = saved.bytes as f64 / f64::from(1 << 20);
                log::info!(
                    "snapshot of {keys} keys, {mebibytes:.1} MiB, in {seconds:.3} s: {path}"
                );
            }
            // Another one follows at once.
            Err(_) if self.stop.load(Relaxed) => self.status.abandon(),
            Err(error) => {
                self.status.fail(error.to_string());
                log::error!("can't write the snapshot {path}: {error}");
            }
        }
        result
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.saver.orders.lock().unwrap_or_else(PoisonError::into_inner).ending = true;
        self.saver.stop.store(true, Relaxed);
        self.saver.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.saver.stop.store(false, Relaxed);
    }
}
