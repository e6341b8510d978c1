//! What the main thread sees of a load thread while the load runs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

use super::method::Method;
use super::recorder::{Latencies, Recorder, no_latencies};

/// Counters that the main thread reads while the load runs: one cache line pair per thread.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Live {
    answered: [AtomicU64; Method::COUNT],
    bytes: [AtomicU64; Method::COUNT],
    errors: AtomicU64,
    open: AtomicU64,
    handover: Mutex<Handover>,
}

/// The latencies of about a second, on their way from a load thread to the main thread, which
/// gives the histograms back empty. The load thread never waits for it.
#[derive(Debug)]
struct Handover {
    latencies: Latencies,
    is_full: bool,
}

impl Default for Handover {
    fn default() -> Self {
        Self { latencies: no_latencies(), is_full: false }
    }
}

impl Live {
    /// Answers and bytes so far in this phase.
    pub fn read(&self, method: Method) -> (u64, u64) {
        let index = method as usize;
        (self.answered[index].load(Ordering::Relaxed), self.bytes[index].load(Ordering::Relaxed))
    }

    /// Requests without answer and connections that could not be opened.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Connections that are open; counted only while they are opened.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Has `take` see the latencies that wait to be taken, if any do.
    pub fn take(&self, take: impl FnOnce(&Latencies)) {
        let Ok(mut handover) = self.handover.lock() else { return };
        if handover.is_full {
            take(&handover.latencies);
            // Of five methods one or two are used, as a rule, and each histogram is long.
            handover.latencies.iter_mut().filter(|one| !one.is_empty()).for_each(Histogram::reset);
            handover.is_full = false;
        }
    }

    /// Hands the latencies over, unless the last ones have not been taken yet.
    pub(super) fn hand_over(&self, recorder: &mut Recorder) -> bool {
        let Ok(mut handover) = self.handover.try_lock() else { return false };
        if handover.is_full {
            return false;
        }
        recorder.swap_latencies(&mut handover.latencies);
        handover.is_full = true;
        true
    }

    /// Shows what was counted.
    pub(super) fn publish(&self, recorder: &Recorder) {
        for (index, record) in recorder.methods.iter().enumerate() {
            self.answered[index].store(record.answered, Ordering::Relaxed);
            self.bytes[index].store(record.bytes, Ordering::Relaxed);
        }
    }

    /// Shows what went wrong.
    pub(super) fn publish_errors(&self, recorder: &Recorder) {
        self.errors.store(recorder.errors(), Ordering::Relaxed);
    }

    /// Shows how many connections are open.
    pub(super) fn publish_open(&self, count: usize) {
        self.open.store(count as u64, Ordering::Relaxed);
    }
}
