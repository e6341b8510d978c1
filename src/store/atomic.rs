//! The primitives that the index is made of, in one place so that a model checker can
//! put its own in their stead (`tests/store_loom.rs`).

pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// How often a reader looks again before it lets another thread run.
const SPINS_MAX: u32 = 64;

/// Passes the time until a writer is done, for the `round`th time in a row.
#[cold]
pub(super) fn wait(round: u32) {
    if round < SPINS_MAX {
        std::hint::spin_loop();
    } else {
        // The writer may have been preempted; on one core it needs ours to finish.
        std::thread::yield_now();
    }
}
