//! What is known of a server's snapshots.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    /// Keys that were loaded at the start.
    loaded_keys: AtomicU64,
    progress: Mutex<Progress>,
}

/// Changes as a whole: who sees how one ended may ask for the next one.
#[derive(Debug, Default)]
struct Progress {
    is_running: bool,
    failures: u64,
    saved: Option<Saved>,
    /// Why the last one could not be written, if it could not.
    error: Option<String>,
}

impl Status {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one is being written.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.progress().is_running
    }

    /// Those that could not be written.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.progress().failures
    }

    /// Keys that were loaded at the start.
    #[must_use]
    pub fn loaded_keys(&self) -> u64 {
        self.loaded_keys.load(Relaxed)
    }

    /// The last one that was written.
    #[must_use]
    pub fn saved(&self) -> Option<Saved> {
        self.progress().saved
    }

    /// Why the last one could not be written, if it could not.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.progress().error.clone()
    }

    /// One is being written from now on.
    pub(super) fn begin(&self) {
        self.progress().is_running = true;
    }

    /// None is being written any more, and nothing is to be said of the one that was.
    pub(super) fn abandon(&self) {
        self.progress().is_running = false;
    }

    /// It was written.
    pub(super) fn succeed(&self, saved: Saved) {
        let mut progress = self.progress();
        *progress =
            Progress { saved: Some(saved), failures: progress.failures, ..Progress::default() };
    }

    /// It could not be written.
    pub(super) fn fail(&self, error: String) {
        let mut progress = self.progress();
        progress.is_running = false;
        progress.failures += 1;
        progress.error = Some(error);
    }

    /// Notes what was loaded at the start.
    pub fn set_loaded(&self, keys: u64) {
        self.loaded_keys.store(keys, Relaxed);
    }
}
