//! An event loop's end of a log.

use std::mem;
use std::sync::{Arc, PoisonError, TryLockError};

use super::{BUFFER_BYTES_MAX, Batch, Shared};

/// Bytes with which the writer is woken: below, it comes by itself soon enough.
const WAKE_BYTES: usize = BUFFER_BYTES_MAX / 4;

/// Where one event loop puts its lines.
#[derive(Debug)]
pub(crate) struct Lines {
    shared: Arc<Shared>,
    index: usize,
    batch: Batch,
}

impl Lines {
    pub(super) fn new(shared: Arc<Shared>, index: usize) -> Self {
        Self { shared, index, batch: Batch::default() }
    }

    /// Appends the line that `render` makes, or drops it if there is no room.
    pub(crate) fn push(&mut self, render: impl FnOnce(&mut Vec<u8>)) {
        if self.batch.bytes.len() >= BUFFER_BYTES_MAX {
            self.hand_over();
        }
        if self.batch.bytes.len() >= BUFFER_BYTES_MAX {
            return self.shared.counters.dropped[self.index].add(1);
        }
        render(&mut self.batch.bytes);
        self.batch.lines += 1;
    }

    /// Hands the lines over to the writer, unless it has not taken the last ones.
    pub(crate) fn hand_over(&mut self) {
        if self.batch.lines == 0 {
            return;
        }
        let is_long = self.batch.bytes.len() >= WAKE_BYTES;
        // Never waited for: the writer holds the lock for a moment only, but may be interrupted.
        let mut handed = match self.shared.handed[self.index].try_lock() {
            Ok(handed) => handed,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if handed.lines == 0 {
            mem::swap(&mut *handed, &mut self.batch);
        }
        drop(handed);
        if is_long {
            self.shared.wake_writer();
        }
    }
}

impl Drop for Lines {
    /// Hands over what is left, behind what has not been taken.
    fn drop(&mut self) {
        let handed = &self.shared.handed[self.index];
        let mut handed = handed.lock().unwrap_or_else(PoisonError::into_inner);
        handed.bytes.append(&mut self.batch.bytes);
        handed.lines += self.batch.lines;
    }
}
