//! The account that `--memory` is kept on.
//!
//! Everything that can become resident is charged before it is touched and refunded after it was
//! given back to the kernel, by all partitions to the one account. What is charged is therefore
//! never less than what is resident.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is left for all partitions, and what one of them has taken.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_max: u64,
    bytes_left: Arc<AtomicU64>,
    charged_bytes: AtomicU64,
}

impl Budget {
    pub(super) fn new(bytes_max: u64) -> Self {
        let bytes_left = Arc::new(AtomicU64::new(bytes_max));
        Self { bytes_max, bytes_left, charged_bytes: AtomicU64::new(0) }
    }

    /// The same account for a partition that has taken nothing yet.
    pub(super) fn for_partition(&self) -> Self {
        let bytes_left = Arc::clone(&self.bytes_left);
        Self { bytes_left, charged_bytes: AtomicU64::new(0), ..*self }
    }

    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes that this partition has taken.
    #[inline]
    pub(super) fn charged_bytes(&self) -> u64 {
        self.charged_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that are left for all partitions.
    #[cfg(debug_assertions)]
    pub(super) fn bytes_left(&self) -> u64 {
        self.bytes_left.load(Ordering::Relaxed)
    }

    /// Takes bytes from the account; false, and nothing taken, if there aren't as many left.
    pub(super) fn charge(&self, bytes: u64) -> bool {
        let left = &self.bytes_left;
        let take = |left: u64| left.checked_sub(bytes);
        let charged = left.try_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if charged {
            self.charged_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        charged
    }

    /// Puts charged bytes back.
    pub(super) fn refund(&self, bytes: u64) {
        let charged = self.charged_bytes.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(bytes <= charged, "more refunded than charged");
        self.bytes_left.fetch_add(bytes, Ordering::Relaxed);
    }
}
