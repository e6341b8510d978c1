//! All partitions of a store, and how they share its memory.
//!
//! All of them charge the same account. When it is empty, a partition that holds its share or
//! more evicts its own keys; one that holds less has the others, which then hold more, evict
//! theirs. In the long run each holds its share, whatever came first.

use std::io;
use std::ops::Deref;
use std::sync::Arc;

use super::budget::Budget;
use super::claims::Claims;
use super::hasher::Hasher;
use super::memory::HUGE_BYTES;
use super::pages::PAGE_CHARGE;
use super::partition::{Partition, Writer};
use super::prefault::Prefaulter;
use super::{Full, Settings, Shortage, Tick};

/// Pages that another partition gives up at a time.
const PAGES_PER_RELIEF: u32 = 16;

/// Times that a write asks other partitions for memory before it makes do with its own.
const RELIEFS_MAX: u32 = 16;

/// Times that it takes memory from other partitions at most when its own is not enough.
const TRIES_MAX: u32 = 64;

#[derive(Debug)]
pub(super) struct Partitions {
    list: Box<[Partition]>,
    budget: Arc<Budget>,
    claims: Claims,
}

impl Partitions {
    pub(super) fn new(settings: Settings, hasher: &Hasher) -> io::Result<Self> {
        let budget = Arc::new(Budget::new(settings.memory_bytes_max));
        let threads = may_be_huge(settings).then(|| Prefaulter::start(settings.partitions));
        let prefaulter = threads.flatten();
        let partition = |_| {
            let prefaulter = prefaulter.as_ref().map(Prefaulter::for_partition);
            Partition::new(settings, prefaulter, hasher.clone(), Arc::clone(&budget))
        };
        let list = (0..settings.partitions).map(partition).collect::<io::Result<_>>()?;
        Ok(Self { list, budget, claims: Claims::new(settings.memory_bytes_max) })
    }

    /// What readers and uploads hold.
    pub(super) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Bytes that one large value can have at most, pages and records included.
    pub(super) fn value_bytes_max(&self) -> u64 {
        // Each partition keeps a page in reserve and may have two open; a last one is slack.
        let kept = |partition: &Partition| partition.fixed_bytes() + 4 * PAGE_CHARGE;
        self.budget.bytes_max().saturating_sub(self.list.iter().map(kept).sum())
    }

    /// Runs `work` as the writer of a partition, with the memory that it needs.
    pub(super) fn write<R>(
        &self,
        partition: usize,
        now: Tick,
        mut work: impl FnMut(&mut Writer<'_>) -> Result<R, Shortage>,
    ) -> Result<R, Full> {
        let mut reliefs = 0;
        loop {
            let asks_elsewhere = reliefs < RELIEFS_MAX;
            let result = self.list[partition].write(now, |writer| {
                writer.asks_elsewhere = asks_elsewhere;
                work(writer)
            });
            let shortage = match result {
                Ok(result) => return Ok(result),
                Err(shortage) => shortage,
            };
            let relieved = match shortage {
                Shortage::Elsewhere => self.relieve(partition, now, true),
                // With nothing of its own left to evict, a partition may take others' share.
                Shortage::Full => reliefs < TRIES_MAX && self.relieve(partition, now, false),
            };
            match shortage {
                _ if relieved => reliefs += 1,
                Shortage::Elsewhere => reliefs = RELIEFS_MAX,
                Shortage::Full => return Err(Full),
            }
        }
    }

    /// Has the partition that holds most give some up, if it is above its share or may go below;
    /// whether it had something to give.
    fn relieve(&self, needy: usize, now: Tick, keeps_share: bool) -> bool {
        let others = self.list.iter().enumerate().filter(|&(at, _)| at != needy);
        let mut others: Vec<&Partition> = others.map(|(_, partition)| partition).collect();
        others.sort_unstable_by_key(|partition| std::cmp::Reverse(partition.charged_bytes()));
        others.into_iter().any(|partition| {
            (!keeps_share || partition.is_above_share())
                && partition.write(now, |writer| writer.give_up(PAGES_PER_RELIEF)) > 0
        })
    }
}

/// Huge pages become resident as a whole, and ahead of their use. Whether what each partition's
/// regions may have of them beyond what they use, one page on the average, is little enough of the
/// memory.
fn may_be_huge(settings: Settings) -> bool {
    const REGIONS: u64 = 2;
    const SLACK_BYTES: u64 = 8 << 20;
    const SLACK_SHARE: u64 = 16;
    // Less is within the reach of the processor's cache of addresses, or nearly.
    const BYTES_MIN: u64 = 32 << 20;
    let unused = settings.partitions as u64 * REGIONS * HUGE_BYTES as u64;
    let bytes = settings.memory_bytes_max;
    bytes >= BYTES_MIN && unused <= bytes / SLACK_SHARE + SLACK_BYTES
}

impl Deref for Partitions {
    type Target = [Partition];

    #[inline]
    fn deref(&self) -> &[Partition] {
        &self.list
    }
}
