//! Compaction: pages of which much is dead are emptied by moving what is live to the queue's end, and
//! nothing is evicted for that.
//!
//! When an entry moves that crosses pages, it leaves dead words in the page beside. So pages are emptied
//! in runs: as many in a row as it takes until more becomes free than becomes dead at the run's ends.

use std::sync::atomic::Ordering::Relaxed;

use super::batch::Batch;
use super::effort::Effort;
use super::entry::Entry;
use super::page_allocator::RESERVE_PAGES;
use super::pages::{Kind, Links, NONE, PAGE_WORDS, Record};
use super::table::Table;
use super::writer::{Cause, Writer};

/// Pages of a run at most.
const RUN_PAGES_MAX: usize = 8;

/// Words that a run frees for each of its pages at least. That much is dead in every page that is looked at.
const GAIN_WORDS_MIN: i32 = PAGE_WORDS as i32 / 8;

/// What emptying a page of its last live entries counts.
const PAGE_EFFORT: u32 = 64;

/// Pages that are looked at in vain at most, before something is evicted instead, and what each of them
/// counts.
const TRIES_MAX: u32 = 8;
const TRY_EFFORT: u32 = 8;

/// Pages of a queue, one behind the other.
#[derive(Debug)]
struct Run {
    pages: [u32; RUN_PAGES_MAX],
    len: usize,
}

impl Run {
    fn pages(&self) -> &[u32] {
        &self.pages[..self.len]
    }
}

/// Empties the pages with the most dead words, if that is worth it and the reserve is there for it.
/// Whether any became free.
pub(super) fn compact(writer: &mut Writer<'_>, effort: &mut Effort) -> bool {
    if writer.state.allocator.free_pages() < RESERVE_PAGES {
        return false;
    }
    for _ in 0..TRIES_MAX {
        let Some(page) = writer.state.log.sparsest() else { return false };
        if let Some(run) = find_run(writer, page) {
            effort.entries += PAGE_EFFORT * run.len as u32;
            empty(writer, &run);
            return true;
        }
        effort.entries += TRY_EFFORT;
        writer.state.log.keep(&writer.table.pages, page);
    }
    false
}

/// The shortest run from a page on that is worth it.
fn find_run(writer: &Writer<'_>, first: u32) -> Option<Run> {
    let (table, log) = (writer.table, &writer.state.log);
    let kind = table.pages.record(first).kind();
    let (mut run, mut page, mut gain) = (Run { pages: [NONE; RUN_PAGES_MAX], len: 0 }, first, 0);
    if let Some(entry) = crossing(table, page_before(table, first)).0 {
        gain -= i32::from(entry.words_in_pages().0);
    }
    while run.len < RUN_PAGES_MAX && page != NONE && !log.is_open(kind, page) {
        run.pages[run.len] = page;
        run.len += 1;
        gain += dead_words(table.pages.record(page)) - GAIN_WORDS_MIN;
        let lost = crossing(table, page).0.map_or(0, |entry| i32::from(entry.words_in_pages().1));
        if gain >= lost {
            return Some(run);
        }
        page = table.pages.next_in_chain(page);
    }
    None
}

fn dead_words(record: &Record) -> i32 {
    i32::from(record.used.load(Relaxed)) - i32::from(record.live.load(Relaxed))
}

fn page_before(table: &Table, page: u32) -> u32 {
    table.pages.record(page).link(Links::Queue).previous.load(Relaxed)
}

/// The live entry of a page that ends in the next one, if there is one, alone in its batch.
fn crossing(table: &Table, page: u32) -> (Option<Entry<'_>>, Batch) {
    // Only a full page has one.
    let is_full = usize::from(table.pages.record(page).used.load(Relaxed)) == PAGE_WORDS;
    let mut word = if is_full { 0 } else { PAGE_WORDS };
    // The method's path in the closure's stead is not general enough for the compiler.
    #[allow(clippy::redundant_closure_for_method_calls)]
    let batch = Batch::gather(table, page, &mut word, |entry| entry.crosses());
    let entry = batch.entries().first().and_then(|&(place, _)| Entry::at(&table.pages, place));
    (entry, batch)
}

/// Moves the live entries of a run's pages to the youngest page of their queue, and the one that ends in
/// its first page.
fn empty(writer: &mut Writer<'_>, run: &Run) {
    let (table, first) = (writer.table, run.pages[0]);
    let kind = table.pages.record(first).kind();
    let (_, last_before) = crossing(table, page_before(table, first));
    move_all(writer, kind, &last_before);
    for &page in run.pages() {
        let (record, mut word) = (table.pages.record(page), 0);
        // Where nothing begins that is live, the last move has freed it.
        while record.kind() == kind {
            let batch = Batch::gather(table, page, &mut word, |_| true);
            debug_assert!(!batch.entries().is_empty(), "a page without live entries is free");
            if batch.entries().is_empty() {
                break;
            }
            move_all(writer, kind, &batch);
        }
    }
}

fn move_all(writer: &mut Writer<'_>, kind: Kind, batch: &Batch) {
    for &(place, hash) in batch.entries() {
        let Some((found, entry)) = writer.resident(place, hash) else { continue };
        if let Some(cause) = writer.ended(&entry) {
            writer.remove(found, &entry, cause);
        } else if !writer.move_to(kind, found, &entry, hash, found.slot.frequency()) {
            writer.remove(found, &entry, Cause::Evicted);
        }
    }
}
