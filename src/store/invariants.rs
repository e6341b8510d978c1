//! The invariants of a partition, as `docs/storage.md` lists them, checked between two writes.
//!
//! Each part checks its own, and what is here checks how they fit together. An assertion's message
//! begins with the invariant that is broken.

use std::collections::HashMap;

use ahash::RandomState;

use super::bucket::Slot;
use super::chain::SharedChain;
use super::clock::Expiry;
use super::entry::Entry;
use super::index::tag_of;
use super::memory::Region;
use super::pages::{Kind, Pages};
use super::table::Table;
use super::writer::WriterState;

/// What each page is used for, by its number.
struct Uses(Vec<Option<&'static str>>);

impl Uses {
    fn add(&mut self, page: u32, what: &'static str) {
        let page = page as usize;
        self.0.resize(self.0.len().max(page + 1), None);
        if let Some(other) = self.0[page].replace(what) {
            panic!("a page has one use: {page} is {what} and {other}");
        }
    }
}

/// Checks a partition that nobody writes to.
pub(super) fn check(table: &Table, state: &WriterState) {
    let mut slots = HashMap::with_hasher(RandomState::new());
    state.index.check_invariants(&table.index, |bucket, slot| {
        let other = slots.insert(slot.place(), (bucket, slot));
        assert!(other.is_none(), "an entry has exactly one slot: two lead to {}", slot.place());
    });
    let mut uses = Uses(Vec::new());
    let end = state.allocator.check_invariants(&table.pages, |page| uses.add(page, "free"));
    let mut earliest: Vec<(u32, Expiry)> = Vec::new();
    let mut counted = vec![(0, 0); table.namespaces.len()];
    state.log.check_invariants(&table.pages, |page, entry| {
        let Some((place, entry)) = entry else {
            earliest.push((page, Expiry::NEVER));
            return uses.add(page, "a page of the log");
        };
        let slot = slots.remove(&place);
        check_slot(table, place, &entry, slot);
        check_generation(table, &entry);
        if let Some(namespace) = table.namespaces.find(|prefix| entry.key_begins_with(prefix)) {
            counted[namespace].0 += 1;
            counted[namespace].1 += table.bytes_of(&entry);
        }
        if let Some((_, first)) = earliest.last_mut() {
            *first = entry.header.expiry().min(*first);
        }
        if entry.header.is_large() {
            let (first, len) = entry.large();
            let value = SharedChain::new(&table.pages, first);
            let paged = len as usize - entry.tail().len();
            value.check_invariants(paged, |page| uses.add(page, "part of a large value"));
        }
    });
    let noted = state.namespaces.iter().map(|namespace| (namespace.keys, namespace.bytes));
    assert!(noted.eq(counted), "what is counted is there: namespaces");
    assert!(slots.is_empty(), "a slot leads to an entry that is not dead: {slots:?}");
    for (page, first) in earliest {
        state.wheel.check_invariant(&table.pages, page, first);
    }
    state.wheel.check_lists(&table.pages);
    check_rest(&table.pages, &uses, end);
    check_charges(table);
}

/// An entry that is not dead has exactly one slot, in the bucket that its key leads to.
fn check_slot(table: &Table, place: u64, entry: &Entry<'_>, slot: Option<(usize, Slot)>) {
    let Some((bucket, slot)) = slot else {
        panic!("an entry that is not dead has a slot: the one at {place} has none");
    };
    let hash = table.hasher.hash_entry(entry);
    let expected = Slot::new(tag_of(hash), slot.frequency(), place);
    assert_eq!(slot, expected, "an entry has exactly one slot: the tag of {place}");
    let of_key = table.index.shape().bucket_of(hash);
    assert_eq!(bucket, of_key, "a key is in the bucket that its hash leads to: {place}");
}

/// An entry is of no generation before the one up to which its partition was swept.
fn check_generation(table: &Table, entry: &Entry<'_>) {
    let (swept, current) = (table.purges.swept(table.number), table.purges.current());
    let generation = current.latest_with(entry.header.generation_bits());
    assert!(generation >= swept, "generations are told apart: {generation:?} before {swept:?}");
}

/// Pages that are neither free nor reached from the index belong to readers and uploads.
fn check_rest(pages: &Pages, uses: &Uses, end: u32) {
    for page in (1..end).filter(|&page| uses.0.get(page as usize).is_none_or(Option::is_none)) {
        let kind = pages.record(page).kind();
        assert_eq!(kind, Kind::Large, "a live page is reachable, others are free: {page}");
    }
}

/// What the partition is charged is what its regions have.
fn check_charges(table: &Table) {
    let index = &table.index;
    let regions = [&index.lines, &index.overflow].map(Region::charged_bytes);
    let charged = regions.iter().sum::<u64>() + table.pages.charged_bytes();
    assert_eq!(charged, table.budget.charged_bytes(), "charged is never less than resident");
}
