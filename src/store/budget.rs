//! The account that `--memory` is kept on.
//!
//! Everything that can become resident is charged before it is touched and refunded after it was
//! given back to the kernel, by all partitions to the one account. What is charged is therefore
//! never less than what is resident.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct Budget {
    bytes_max: u64,
    bytes_left: AtomicU64,
}

impl Budget {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes_left: AtomicU64::new(bytes_max) }
    }

    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Takes bytes from the account; false, and nothing taken, if there aren't as many left.
    pub(super) fn charge(&self, bytes: u64) -> bool {
        let left = &self.bytes_left;
        left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
            .is_ok()
    }

    /// Puts charged bytes back.
    pub(super) fn refund(&self, bytes: u64) {
        let before = self.bytes_left.fetch_add(bytes, Ordering::Relaxed);
        debug_assert!(before + bytes <= self.bytes_max, "more refunded than charged");
    }
}
