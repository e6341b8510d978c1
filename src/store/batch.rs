//! Entries of a page that are looked up together.

use std::sync::atomic::Ordering::Relaxed;

use super::entry::Entry;
use super::pages::place_in;
use super::table::Table;

/// Entries that are looked up together, so that their cache misses overlap.
const ENTRIES_MAX: usize = 32;

/// Live entries of a page, on their way to be evicted, moved, or expired.
#[derive(Debug)]
pub(super) struct Batch {
    entries: [(u64, u64); ENTRIES_MAX],
    len: usize,
    /// A batch ends with a large value, whose pages may be all that is needed.
    pub(super) ends_with_large: bool,
}

impl Batch {
    /// The next live entries of a page that are `wanted`, from a word of it on, which is moved behind
    /// them. Their index lines are on the way when it returns.
    pub(super) fn gather(
        table: &Table,
        page: u32,
        word: &mut usize,
        mut wanted: impl FnMut(&Entry<'_>) -> bool,
    ) -> Self {
        let used = usize::from(table.pages.record(page).used.load(Relaxed));
        let mut batch = Self { entries: [(0, 0); ENTRIES_MAX], len: 0, ends_with_large: false };
        while *word < used && batch.len < ENTRIES_MAX && !batch.ends_with_large {
            let place = place_in(page, *word);
            let Some(entry) = Entry::at(&table.pages, place) else { break };
            *word += entry.header.words();
            if !entry.header.is_dead() && wanted(&entry) {
                let hash = table.hasher.hash_entry(&entry);
                let _ = table.index.prefetch(hash);
                batch.entries[batch.len] = (place, hash);
                batch.len += 1;
                batch.ends_with_large = entry.header.is_large();
            }
        }
        batch
    }

    /// Place and key's hash of each.
    pub(super) fn entries(&self) -> &[(u64, u64)] {
        &self.entries[..self.len]
    }
}
