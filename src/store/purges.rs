//! Purges: all keys that begin with some prefix go, in all partitions at the same moment.
//!
//! A purge walks over nothing. It is noted, and a generation of entries begins with it; from then on an
//! entry of an earlier generation whose key has the prefix is absent for every operation. The moment
//! is when [`Purges::current`] changes, one word for all partitions, so that nobody sees one key after the
//! purge and another one before it. An operation looks at that word once.
//!
//! ```text
//!   entry of the current generation                   there: nothing was purged since
//!   of an earlier one, no later purge has its prefix  there
//!   of an earlier one, a later purge has its prefix   absent
//! ```
//!
//! Afterwards every partition is swept ([`super::sweeper`]): what is absent is removed, and everything
//! else becomes part of the current generation. When all partitions were, the purge is forgotten.
//! Entries that are written or moved meanwhile are of the current generation as well, so that a sweep
//! meets all that is older than itself. A header has room for a few generations only; a purge that
//! would begin one more has to wait for a sweep.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::generation::{DISTINCT, Generation};
use super::outcome::Busy;

/// What was purged, and is not swept yet.
#[derive(Debug)]
pub(super) struct Purges {
    /// The generation of what is written now.
    current: AtomicU64,
    /// The generation up to which everything was swept.
    settled: AtomicU64,
    under_way: RwLock<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    /// Fewer than there are distinct generations.
    purges: Vec<Purge>,
    /// Of each partition: no entry is of an earlier generation.
    swept: Box<[Generation]>,
}

#[derive(Debug)]
struct Purge {
    prefix: Box<[u8]>,
    /// The generation that it began: what is older is gone.
    began: Generation,
}

impl Purges {
    pub(super) fn new(partitions: usize) -> Self {
        let swept = vec![Generation::FIRST; partitions].into();
        let first = Generation::FIRST.to_word();
        Self {
            current: AtomicU64::new(first),
            settled: AtomicU64::new(first),
            under_way: RwLock::new(UnderWay { purges: Vec::new(), swept }),
        }
    }

    /// The generation of what is written now.
    #[inline]
    pub(super) fn current(&self) -> Generation {
        Generation::from_word(self.current.load(Ordering::Acquire))
    }

    /// Purges all keys that begin with the prefix.
    pub(super) fn begin(&self, prefix: &[u8]) -> Result<(), Busy> {
        let mut under_way = self.write();
        let began = self.current().next();
        if began.since(under_way.oldest()) >= DISTINCT {
            return Err(Busy);
        }
        under_way.purges.push(Purge { prefix: prefix.into(), began });
        self.current.store(began.to_word(), Ordering::Release);
        Ok(())
    }

    /// Whether a reader is to take an entry for absent whose header has these bits of a generation.
    /// `begins_with` compares its key with a prefix.
    #[cold]
    pub(super) fn hide(&self, bits: u64, begins_with: impl Fn(&[u8]) -> bool) -> bool {
        // The entry may be of a generation that began only now: then the word is seen to have
        // changed, too, since its writer has seen that before it wrote the header.
        fence(Ordering::Acquire);
        let under_way = self.read();
        under_way.hide(self.current(), bits, begins_with)
    }

    /// The same for a writer that acts as of a generation.
    #[cold]
    pub(super) fn hide_as_of(
        &self,
        generation: Generation,
        bits: u64,
        begins_with: impl Fn(&[u8]) -> bool,
    ) -> bool {
        self.read().hide(generation, bits, begins_with)
    }

    /// How many purges are not swept yet.
    pub(super) fn count(&self) -> usize {
        self.read().purges.len()
    }

    /// Whether there is anything to be swept.
    #[inline]
    pub(super) fn are_under_way(&self) -> bool {
        self.settled.load(Ordering::Relaxed) != self.current.load(Ordering::Relaxed)
    }

    /// The generation up to which a partition was swept.
    pub(super) fn swept(&self, partition: usize) -> Generation {
        self.read().swept[partition]
    }

    /// Notes that a partition has no entries of earlier generations any more, and forgets the purges that
    /// nothing is left of.
    pub(super) fn settle(&self, partition: usize, generation: Generation) {
        let mut under_way = self.write();
        under_way.swept[partition] = generation;
        let oldest = under_way.oldest();
        under_way.purges.retain(|purge| purge.began > oldest);
        self.settled.store(oldest.to_word(), Ordering::Relaxed);
    }

    fn read(&self) -> RwLockReadGuard<'_, UnderWay> {
        self.under_way.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, UnderWay> {
        self.under_way.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// The earliest generation that an entry may be of.
    fn oldest(&self) -> Generation {
        self.swept.iter().copied().min().unwrap_or(Generation::FIRST)
    }

    fn hide(&self, now: Generation, bits: u64, begins_with: impl Fn(&[u8]) -> bool) -> bool {
        let written = now.latest_with(bits);
        let mut purges = self.purges.iter();
        purges
            .any(|purge| purge.began > written && purge.began <= now && begins_with(&purge.prefix))
    }
}
