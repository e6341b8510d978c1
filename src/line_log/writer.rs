//! The thread that writes a log.

use std::io;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;

use super::file::LogFile;
use super::{Batch, INTERVAL, Shared};

/// What the thread works with.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    file: LogFile,
    /// What is being written; its memory goes to the next loop.
    batch: Batch,
    /// Writing has failed, and that was said.
    is_failing: bool,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, file: LogFile) -> Self {
        Self { shared, file, batch: Batch::default(), is_failing: false }
    }

    /// Writes until the end, and what is there then.
    pub(super) fn run(mut self) {
        loop {
            // Before the last look, so that what was handed over before the end is seen.
            let is_end = self.shared.end.load(Ordering::Acquire);
            if self.shared.reopen.swap(false, Ordering::Acquire) {
                self.reopen();
            }
            let mut is_idle = true;
            for index in 0..self.shared.handed.len() {
                if self.take(index) {
                    is_idle = false;
                    self.write();
                }
            }
            if is_idle && is_end {
                return;
            }
            if is_idle {
                thread::park_timeout(INTERVAL);
            }
        }
    }

    /// Takes what a loop has handed over, if that is anything.
    fn take(&mut self, index: usize) -> bool {
        self.batch.bytes.clear();
        self.batch.lines = 0;
        let handed = &self.shared.handed[index];
        let mut handed = handed.lock().unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut *handed, &mut self.batch);
        self.batch.lines > 0
    }

    fn write(&mut self) {
        let Self { shared, file, batch, .. } = self;
        // A reader that has stopped must hold up neither the end nor a new file.
        let goes_on =
            || !shared.end.load(Ordering::Acquire) && !shared.reopen.load(Ordering::Acquire);
        let (written, result) = file.append(&batch.bytes, goes_on);
        let lines = memchr::memchr_iter(b'\n', &batch.bytes[..written]).count() as u64;
        shared.counters.written.add(lines);
        shared.counters.failed.add(batch.lines - lines);
        match result {
            Ok(()) => self.is_failing = false,
            Err(error) => self.complain(&error),
        }
    }

    /// Says once that writing fails, until it works again.
    fn complain(&mut self, error: &io::Error) {
        if !mem::replace(&mut self.is_failing, true) {
            log::error!(
                "can't write the access log, and drops its lines until that works: {error}"
            );
        }
    }

    /// Opens the file anew; the old one stays if that fails.
    fn reopen(&mut self) {
        match self.file.reopen() {
            Ok(()) => {
                self.is_failing = false;
                log::info!("SIGHUP: the access log was opened anew");
            }
            Err(error) => log::error!("SIGHUP: the access log stays the old file: {error}"),
        }
    }
}
