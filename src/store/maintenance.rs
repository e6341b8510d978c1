//! Background work: expired entries' memory is freed a page at a time, free pages that are too many
//! are given back to the kernel, and the tables follow the number of keys.

use super::batch::Batch;
use super::clock::Expiry;
use super::index_writer;
use super::page_allocator::RESERVE_PAGES;
use super::wheel::Due;
use super::writer::{Cause, Writer};

/// Pages that one call of [`maintain`] looks at, or moves within the wheel, at most. A page takes
/// some ten microseconds at worst, when all of its 8 KiB are small entries that expire.
const PAGES_PER_CALL_MAX: u32 = 8;

/// Free pages that are kept in any case, as a share of those in use and as a number.
const FREE_SHARE: u32 = 4;
const FREE_PAGES_MIN: u32 = 256;

/// Free pages beyond that that one call gives back to the kernel, and no more after one of a huge page,
/// which takes the kernel some 150 us to split.
const RETURNED_PER_CALL_MAX: u32 = 8;

/// Buckets that one call takes out of the index.
const MERGED_PER_CALL_MAX: u32 = 32;

/// A bounded step of all that is to be done in the background. Whether more is due.
pub(super) fn maintain(writer: &mut Writer<'_>) -> bool {
    expire(writer) | trim(writer) | shrink_tables(writer)
}

fn expire(writer: &mut Writer<'_>) -> bool {
    for _ in 0..PAGES_PER_CALL_MAX {
        match writer.state.wheel.advance(&writer.table.pages, writer.now) {
            Due::Page(page) => expire_from(writer, page),
            Due::Busy => {}
            Due::Nothing => return false,
        }
    }
    true
}

/// Removes what has ended of a page, and has the wheel bring the rest when it will have.
fn expire_from(writer: &mut Writer<'_>, page: u32) {
    let (table, now, mut word) = (writer.table, writer.now, 0);
    let record = table.pages.record(page);
    let kind = record.kind();
    let mut next = Expiry::NEVER;
    loop {
        let batch = Batch::gather(table, page, &mut word, |entry| {
            let expiry = entry.header.expiry();
            if !expiry.is_due(now) {
                next = next.min(expiry);
            }
            expiry.is_due(now)
        });
        if batch.entries().is_empty() {
            break;
        }
        for &(place, hash) in batch.entries() {
            let Some((found, entry)) = writer.resident(place, hash) else { continue };
            writer.remove(found, &entry, Cause::Expired);
        }
        if record.kind() != kind {
            return;
        }
    }
    writer.state.wheel.watch(&table.pages, page, next);
}

/// Gives free pages back to the kernel when they are many.
fn trim(writer: &mut Writer<'_>) -> bool {
    let (pages, budget) = (&writer.table.pages, &writer.table.budget);
    let allocator = &mut writer.state.allocator;
    for _ in 0..RETURNED_PER_CALL_MAX {
        let in_use = allocator.held_pages() - allocator.free_pages();
        let kept = (in_use / FREE_SHARE).max(FREE_PAGES_MIN).max(RESERVE_PAGES);
        if allocator.free_pages() <= kept {
            return false;
        }
        let is_huge = allocator.is_next_huge(pages);
        if !allocator.give_spare_back(pages, budget) {
            return false;
        }
        if is_huge {
            break;
        }
    }
    true
}

/// Lets the index and the memory of evicted keys follow the number of keys.
fn shrink_tables(writer: &mut Writer<'_>) -> bool {
    let (table, state) = (writer.table, &mut *writer.state);
    let (index, budget, policy) = (&table.index, &table.budget, &table.policy);
    let merged = (0..MERGED_PER_CALL_MAX).take_while(|_| state.index.shrink(index, budget)).count();
    let keys = policy.keys(table.number, state.index.keys());
    index_writer::give_back(index, budget)
        | policy.ghosts.shrink(keys, &policy.budget, &mut state.tally.remembered)
        | (merged > 0)
}
