//! What a store is made with.

use crate::invalid::{Invalid, check_number};

/// What a store is made with. Fixed for its life.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Number of partitions, one per event loop, from 1 up.
    pub partitions: usize,
    /// Hard limit on index, entries and values of all partitions together, in bytes.
    pub memory_bytes_max: u64,
}

/// Partitions that a store can have.
const PARTITIONS_MAX: usize = 1 << 16;

/// Most memory that page numbers are enough for, in bytes.
const MEMORY_BYTES_MAX: u64 = 1 << 44;

impl Settings {
    /// Checks the limits.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_number("partitions", self.partitions, 1..=PARTITIONS_MAX)?;
        check_number("memory_bytes_max", self.memory_bytes_max, 1..=MEMORY_BYTES_MAX)
    }
}
