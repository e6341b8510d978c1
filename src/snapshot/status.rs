//! What is known of a server's snapshots.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// A snapshot that was written.
#[derive(Debug, Clone, Copy)]
pub struct Saved {
    /// When it was complete, by the wall clock.
    pub time: SystemTime,
    /// How long that took.
    pub duration: Duration,
    /// Length of the file.
    pub bytes: u64,
    /// Keys in it.
    pub keys: u64,
}

/// What is known of the snapshots of a server, while it runs.
#[derive(Debug, Default)]
pub struct Status {
    running: AtomicBool,
    failures: AtomicU64,
    /// Keys that were loaded at the start.
    loaded_keys: AtomicU64,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    saved: Option<Saved>,
    /// Why the last one could not be written, if it could not.
    error: Option<String>,
}

impl Status {
    /// Whether one is being written.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.load(Relaxed)
    }

    /// Those that could not be written.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Keys that were loaded at the start.
    #[must_use]
    pub fn loaded_keys(&self) -> u64 {
        self.loaded_keys.load(Relaxed)
    }

    /// The last one that was written.
    #[must_use]
    pub fn saved(&self) -> Option<Saved> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).saved
    }

    /// Why the last one could not be written, if it could not.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).error.clone()
    }

    pub(super) fn set_running(&self, running: bool) {
        self.running.store(running, Relaxed);
    }

    pub(super) fn set_saved(&self, saved: Saved) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Last { saved: Some(saved), error: None };
    }

    pub(super) fn set_failed(&self, error: String) {
        self.failures.fetch_add(1, Relaxed);
        self.last.lock().unwrap_or_else(PoisonError::into_inner).error = Some(error);
    }

    /// Notes what was loaded at the start.
    pub fn set_loaded(&self, keys: u64) {
        self.loaded_keys.store(keys, Relaxed);
    }
}
