//! All partitions of a store, and how they share its memory.
//!
//! All of them charge the same account. When it is empty, room is made in the partition that the
//! [policy](super::policy) chooses. If that is another than the one that needs it, pages go back to
//! the account there and are charged anew here.

use std::io;
use std::ops::Deref;
use std::sync::Arc;

use super::budget::Budget;
use super::chain::Chain;
use super::claims::Claims;
use super::clock::{Expiry, Tick};
use super::effort::Effort;
use super::hasher::Hasher;
use super::key::Key;
use super::mapping::HUGE_BYTES;
use super::namespaces::Namespaces;
use super::outcome::{Full, Shortage, Written};
use super::page_allocator::RESERVE_PAGES;
use super::pages::PAGE_CHARGE;
use super::partition::Partition;
use super::policy::{Choice, Policy};
use super::popularity::Popularity;
use super::prefault::{Prefaulter, Requests};
use super::purges::Purges;
use super::reclaimer::Spared;
use super::settings::Settings;
use super::space::{self, Space};
use super::stored::Judge;
use super::table::Shared;
use super::writer::Content;

/// Pages that another partition releases at a time.
const PAGES_PER_RELEASE: u32 = 16;

/// What asking another partition for them counts of the effort that a write may make.
const RELEASE_EFFORT: u32 = 16;

#[derive(Debug)]
pub(super) struct Partitions {
    list: Box<[Partition]>,
    budget: Budget,
    policy: Arc<Policy>,
    claims: Claims,
    purges: Arc<Purges>,
}

impl Partitions {
    pub(super) fn new(
        settings: Settings,
        hasher: &Hasher,
        namespaces: &Namespaces,
    ) -> io::Result<Self> {
        let space = Space::of(settings)?;
        let budget = Budget::new(settings.memory_bytes_max);
        let (prefaulter, requests) =
            may_be_huge(settings).then(|| Prefaulter::new(settings.partitions)).unzip();
        let policy = Policy::new(settings.partitions, budget.for_partition());
        let policy = Arc::new(policy.map_err(|error| space::refused(&error, settings))?);
        let purges = Arc::new(Purges::new(settings.partitions));
        let shared = Shared {
            policy: Arc::clone(&policy),
            purges: Arc::clone(&purges),
            namespaces: namespaces.clone(),
        };
        let partition = |number| {
            let (hasher, budget) = (hasher.clone(), budget.for_partition());
            Partition::new(space, prefaulter.as_ref(), hasher, budget, shared.clone(), number)
        };
        let list = (0..settings.partitions).map(partition).collect::<io::Result<_>>();
        let list = list.map_err(|error| space::refused(&error, settings))?;
        // Only now: a thread that starts takes up address space of its own for a moment.
        requests.into_iter().for_each(Requests::serve);
        let claims = Claims::new(settings.memory_bytes_max);
        Ok(Self { list, budget, policy, claims, purges })
    }

    /// What was purged.
    pub(super) fn purges(&self) -> &Purges {
        &self.purges
    }

    /// Takes a step of sweeping, in a partition if that is not swept yet, and otherwise in one that is
    /// not and that nobody else writes to. Whether there was one.
    #[cold]
    pub(super) fn sweep(&self, own: usize, now: Tick) -> bool {
        let goal = self.purges.current();
        let mut partitions = (own..self.len()).chain(0..own);
        partitions.any(|number| {
            self.purges.swept(number) < goal && self.list[number].sweep(now, number == own)
        })
    }

    /// What readers and uploads hold.
    pub(super) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Bytes that one large value can have at most, pages and records included.
    pub(super) fn value_bytes_max(&self) -> u64 {
        // Each partition may have two pages open beside its reserve; a last one is slack. Page 0 is none.
        let pages_kept = u64::from(RESERVE_PAGES) + 3;
        let kept = |partition: &Partition| partition.fixed_bytes() + pages_kept * PAGE_CHARGE;
        let kept = self.list.iter().map(kept).sum::<u64>() + self.policy.ghosts.charged_bytes();
        let affordable = self.budget.bytes_max().saturating_sub(kept);
        affordable
            .min(self.list[0].pages.bytes_max().saturating_sub((pages_kept + 1) * PAGE_CHARGE))
    }

    /// Stores a value in a partition. On success a large value's pages belong to the key from then on.
    pub(super) fn put(
        &self,
        partition: usize,
        key: Key<'_>,
        content: Content<'_>,
        expiry: Expiry,
        now: Tick,
        mut judge: impl Judge,
    ) -> Result<Option<Written>, Full> {
        let partition = &self.list[partition];
        self.retry(now, |effort| partition.put(key, content, expiry, now, &mut judge, effort))
    }

    /// Stores what was stored before, unless the key is there. Whether it was stored; a large value's
    /// pages belong to the key then.
    pub(super) fn restore(
        &self,
        partition: usize,
        key: Key<'_>,
        content: Content<'_>,
        (expiry, popularity): (Expiry, Popularity),
        now: Tick,
    ) -> Result<bool, Full> {
        let partition = &self.list[partition];
        self.retry(now, |effort| partition.restore(key, content, expiry, popularity, now, effort))
    }

    /// The part of the log that is the small queue's.
    pub(super) fn small_parts(&self) -> u64 {
        self.policy.share().small_parts
    }

    /// Sets it, as it was found right before.
    pub(super) fn set_small_parts(&self, parts: u64) {
        self.policy.set_small_parts(parts);
    }

    /// Adds pages of a partition to a value that is being received until there are so many.
    pub(super) fn lengthen(
        &self,
        partition: usize,
        chain: &mut Chain,
        pages: u32,
        spared: Spared,
    ) -> Result<(), Full> {
        let list = &self.list;
        self.retry(Tick(0), |effort| list[partition].lengthen(chain, pages, spared, effort))
    }

    /// Writes, and makes room in other partitions as long as the write fails for the want of it.
    #[inline]
    fn retry<R>(
        &self,
        now: Tick,
        mut write: impl FnMut(&mut Effort) -> Result<R, Shortage>,
    ) -> Result<R, Full> {
        let mut effort = Effort::default();
        loop {
            match write(&mut effort) {
                Ok(result) => return Ok(result),
                Err(Shortage::Full) => {
                    let pinned_max = self.claims.pinned_bytes() / PAGE_CHARGE;
                    if !effort.begin_behind_pinned(pinned_max) {
                        return Err(Full);
                    }
                }
                Err(Shortage::Elsewhere(choice)) => {
                    self.reclaim_elsewhere(choice, now, &mut effort);
                }
            }
        }
    }

    /// Has the chosen partition release some pages to the account, or do a step towards it.
    fn reclaim_elsewhere(&self, choice: Choice, now: Tick, effort: &mut Effort) {
        effort.entries += RELEASE_EFFORT;
        let partition = &self.list[choice.partition];
        partition.release_pages(choice.kind, PAGES_PER_RELEASE, now, effort);
    }

    /// Checks the invariants, and panics with the name of one that is broken. Nobody else may write
    /// meanwhile.
    #[cfg(debug_assertions)]
    pub(super) fn check_invariants(&self) {
        self.list.iter().for_each(Partition::check_invariants);
        let ghosts = self.policy.ghosts.charged_bytes();
        assert_eq!(ghosts, self.policy.budget.charged_bytes(), "what is charged: ghosts");
        let charged = self.list.iter().map(|partition| partition.budget.charged_bytes());
        assert_eq!(
            charged.sum::<u64>() + ghosts + self.budget.bytes_left(),
            self.budget.bytes_max(),
            "what is charged and what is left are the limit"
        );
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
