//! Memory that eviction can't take back for now: values that readers hold, and values that are
//! being received.
//!
//! Each of the two has a share of the memory limit, so that there is always something left to evict
//! for whoever only writes. A reader, or an upload, that would go beyond its share is to wait until
//! others are done. Of several uploads that would wait for each other, one goes on: it alone may
//! exceed the share.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Readers may hold one part of so many of the limit, or any one value alone.
const READERS_DIVISOR: u64 = 2;

/// Uploads likewise; the one that may exceed it comes on top.
const UPLOADS_DIVISOR: u64 = 4;

/// No upload.
const NOBODY: u64 = 0;

#[derive(Debug)]
pub(super) struct Claims {
    pinned_bytes_max: u64,
    upload_bytes_max: u64,
    pinned_bytes: AtomicU64,
    upload_bytes: AtomicU64,
    /// The upload that may exceed the share.
    foremost: AtomicU64,
    uploads_begun: AtomicU64,
    /// How often anybody was told to wait.
    refusals: AtomicU64,
}

impl Claims {
    pub(super) fn new(memory_bytes_max: u64) -> Self {
        Self {
            pinned_bytes_max: memory_bytes_max / READERS_DIVISOR,
            upload_bytes_max: memory_bytes_max / UPLOADS_DIVISOR,
            pinned_bytes: AtomicU64::new(0),
            upload_bytes: AtomicU64::new(0),
            foremost: AtomicU64::new(NOBODY),
            uploads_begun: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
        }
    }

    /// Bytes of values that readers have pinned, each value counted once.
    pub(super) fn pinned_bytes(&self) -> u64 {
        self.pinned_bytes.load(Relaxed)
    }

    /// Bytes of values that are being received.
    pub(super) fn upload_bytes(&self) -> u64 {
        self.upload_bytes.load(Relaxed)
    }

    pub(super) fn refusals(&self) -> u64 {
        self.refusals.load(Relaxed)
    }

    pub(super) fn refuse(&self) {
        self.refusals.fetch_add(1, Relaxed);
    }

    /// Counts a value that no reader had pinned so far. Whether readers hold more than they may, with it.
    pub(super) fn pin(&self, bytes: u64) -> bool {
        let before = self.pinned_bytes.fetch_add(bytes, Relaxed);
        let exceeds = before > 0 && before + bytes > self.pinned_bytes_max;
        if exceeds {
            self.refuse();
        }
        exceeds
    }

    /// Takes a value from the count whose last reader has let go of it.
    pub(super) fn unpin(&self, bytes: u64) {
        self.pinned_bytes.fetch_sub(bytes, Relaxed);
    }

    /// A number for an upload that begins.
    pub(super) fn begin_upload(&self) -> u64 {
        NOBODY + 1 + self.uploads_begun.fetch_add(1, Relaxed)
    }

    /// Counts bytes that an upload is about to receive, whether or not there is room.
    pub(super) fn grow_upload(&self, bytes: u64) {
        self.upload_bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts them if the share has room for them, or the upload may exceed it.
    pub(super) fn try_grow_upload(&self, upload: u64, bytes: u64) -> bool {
        let before = self.upload_bytes.fetch_add(bytes, Relaxed);
        let fits = before + bytes <= self.upload_bytes_max || self.is_foremost(upload);
        if !fits {
            self.upload_bytes.fetch_sub(bytes, Relaxed);
        }
        fits
    }

    /// Whether the upload may exceed the share, as long as no other one does.
    fn is_foremost(&self, upload: u64) -> bool {
        let other = self.foremost.compare_exchange(NOBODY, upload, Relaxed, Relaxed);
        other.is_ok() || other == Err(upload)
    }

    /// Takes an upload from the count that has ended.
    pub(super) fn end_upload(&self, upload: u64, bytes: u64) {
        self.upload_bytes.fetch_sub(bytes, Relaxed);
        let _ = self.foremost.compare_exchange(upload, NOBODY, Relaxed, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_have_half_or_one_value() {
        let claims = Claims::new(100);
        assert!(!claims.pin(80), "a value alone may be read whatever its size");
        assert!(claims.pin(10), "with it, others have to wait");
        claims.unpin(80);
        assert!(!claims.pin(40) && claims.pin(1));
        assert_eq!((claims.pinned_bytes(), claims.refusals()), (51, 2));
    }

    #[test]
    fn of_uploads_that_wait_for_each_other_one_goes_on() {
        let claims = Claims::new(100);
        let (first, second) = (claims.begin_upload(), claims.begin_upload());
        assert!(claims.try_grow_upload(first, 15) && claims.try_grow_upload(second, 10));
        assert!(claims.try_grow_upload(second, 20), "one may exceed the share");
        assert!(claims.try_grow_upload(second, 20), "and go on");
        assert!(!claims.try_grow_upload(first, 1), "the other one waits");
        claims.end_upload(second, 50);
        assert!(claims.try_grow_upload(first, 50));
        claims.end_upload(first, 65);
        assert_eq!(claims.upload_bytes(), 0);
    }
}
