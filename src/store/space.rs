//! How much address space the partitions' regions have.
//!
//! Keys spread evenly over the partitions, so that none needs more of an index than twice its share.
//! Large values don't: one may be as large as nearly the whole store, and each partition has address
//! space for that, as long as there is enough. Where `RLIMIT_AS` leaves less, a partition makes do
//! with twice its share, and larger values are refused.

use std::{fs, io};

use rustix::process::{Resource, getrlimit};

use super::settings::Settings;

/// A partition's share, and as much again.
const SHARES_MIN: u64 = 2;

/// Address space of a partition's index and ghosts, in hundredths of the memory for small entries, and
/// of its pages with their records, in hundredths of their bytes; rounded up.
const TABLES_PERCENT: u64 = 70;
const PAGES_PERCENT: u64 = 101;

/// What each partition's regions take for being aligned to huge pages.
const ALIGNMENT_BYTES: u64 = 5 * (2 << 20);

/// What is left for the rest of the process, and for each event loop's stack and buffers.
const REST_BYTES: u64 = 64 << 20;
const LOOP_BYTES: u64 = 8 << 20;

/// Bytes that one partition may come to, for whom its regions have address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    /// Of small entries with their index.
    pub(super) entries_bytes_max: u64,
    /// Of pages for entries and large values.
    pub(super) pages_bytes_max: u64,
}

impl Space {
    /// What a store of these settings has in this process.
    ///
    /// # Errors
    /// If the process may not have enough address space.
    pub(super) fn of(settings: Settings) -> io::Result<Self> {
        let limit = getrlimit(Resource::As).current;
        Self::within(settings, limit.map(|limit| limit.saturating_sub(address_bytes())), limit)
    }

    fn within(settings: Settings, left: Option<u64>, limit: Option<u64>) -> io::Result<Self> {
        let (memory, partitions) = (settings.memory_bytes_max, settings.partitions as u64);
        let twice = (memory / partitions).saturating_mul(SHARES_MIN).clamp(1, memory.max(1));
        let (Some(left), Some(limit)) = (left, limit) else {
            return Ok(Self { entries_bytes_max: twice, pages_bytes_max: memory });
        };
        let beside = twice.saturating_mul(TABLES_PERCENT) / 100 + ALIGNMENT_BYTES + LOOP_BYTES;
        let for_pages = (left.saturating_sub(REST_BYTES) / partitions).saturating_sub(beside);
        let pages_bytes_max = memory.min(for_pages / PAGES_PERCENT * 100);
        if pages_bytes_max < twice {
            let pages = twice.saturating_mul(PAGES_PERCENT) / 100;
            let needed = (beside + pages).saturating_mul(partitions).saturating_add(REST_BYTES);
            let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
            return Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                format!(
                    "a memory of {} MiB in {partitions} partitions takes {} MiB of address space, \
                     and {} are left of the limit of {} MiB (RLIMIT_AS, ulimit -v): \
                     raise it, or lower --memory or the number of --cores",
                    mebibytes(memory),
                    mebibytes(needed),
                    left >> 20,
                    mebibytes(limit),
                ),
            ));
        }
        Ok(Self { entries_bytes_max: twice, pages_bytes_max })
    }
}

/// Says what could not be had.
pub(super) fn refused(error: &io::Error, settings: Settings) -> io::Error {
    let (memory, partitions) = (settings.memory_bytes_max >> 20, settings.partitions);
    io::Error::new(
        error.kind(),
        format!(
            "the system refuses the address space for a memory of {memory} MiB in {partitions} \
             partitions ({error}): lower --memory or the number of --cores"
        ),
    )
}

/// Address space that the process has by now, as far as the kernel tells.
fn address_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').next().and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(memory_mib: u64, partitions: usize, left_mib: u64) -> Result<(u64, u64), String> {
        let settings = Settings { partitions, memory_bytes_max: memory_mib << 20 };
        let left = Some(left_mib << 20);
        let space = Space::within(settings, left, left).map_err(|error| error.to_string())?;
        Ok((space.entries_bytes_max >> 20, space.pages_bytes_max >> 20))
    }

    #[test]
    fn each_partition_has_room_for_a_value_as_large_as_the_store_if_there_is_enough() {
        let settings = Settings { partitions: 8, memory_bytes_max: 1 << 30 };
        let space = Space::within(settings, None, None).expect("no limit");
        let expected = Space { entries_bytes_max: 256 << 20, pages_bytes_max: 1 << 30 };
        assert_eq!(space, expected);
        assert_eq!(within(1024, 8, 16 << 10), Ok((256, 1024)));
        assert_eq!(within(1024, 1, 4096), Ok((1024, 1024)));
    }

    #[test]
    fn with_less_a_partition_makes_do_with_twice_its_share() {
        let (entries, pages) = within(1024, 8, 4096).expect("enough");
        assert_eq!(entries, 256);
        assert!((256..400).contains(&pages), "{pages}");
        let error = within(1024, 8, 3072).expect_err("too little");
        for part in ["1024 MiB", "8 partitions", "3072", "RLIMIT_AS", "--memory", "--cores"] {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
    }
}
