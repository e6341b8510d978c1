//! Sweeping: what was purged is removed, a few pages at a time, and everything else becomes part of the
//! current generation.

use super::batch::Batch;
use super::generation::Generation;
use super::pages::Kind;
use super::sweep::Sweep;
use super::writer::{Cause, Writer};

/// Pages of the log that one step walks over at most, if their entries stay.
const PAGES_PER_STEP_MAX: u32 = 8;

/// Entries that take as long to remove as another page would to walk over.
const REMOVALS_PER_PAGE: u32 = 64;

/// Pages that one step looks at at most: those of large values have nothing to be swept.
const RECORDS_PER_STEP_MAX: u32 = 512;

/// Takes a step. When it was the last one, the generation up to which everything was swept.
pub(super) fn step(writer: &mut Writer<'_>) -> Option<Generation> {
    let begun = writer.state.sweep.take();
    let mut sweep = begun.unwrap_or_else(|| {
        let end = writer.state.allocator.pages_end();
        Sweep { goal: writer.generation, next: 1, end }
    });
    let (mut pages, last) = (0, sweep.end.min(sweep.next.saturating_add(RECORDS_PER_STEP_MAX)));
    while sweep.next < last && pages < PAGES_PER_STEP_MAX {
        let removed = sweep_page(writer, sweep.next);
        pages += removed.map_or(0, |removed| 1 + removed / REMOVALS_PER_PAGE);
        sweep.next += 1;
    }
    if sweep.next == sweep.end {
        return Some(sweep.goal);
    }
    writer.state.sweep = Some(sweep);
    None
}

/// Sweeps a page if it is one of the log. How many entries were removed.
fn sweep_page(writer: &mut Writer<'_>, page: u32) -> Option<u32> {
    let table = writer.table;
    let record = table.pages.record(page);
    let kind = record.kind();
    if !matches!(kind, Kind::Small | Kind::Main) {
        return None;
    }
    let (mut word, mut removed) = (0, 0);
    loop {
        let batch = Batch::gather(table, page, &mut word, |entry| {
            let is_purged = writer.is_purged(entry);
            if !is_purged {
                entry.set_generation(writer.generation);
            }
            is_purged
        });
        if batch.entries().is_empty() {
            return Some(removed);
        }
        removed += batch.entries().len() as u32;
        for &(place, hash) in batch.entries() {
            let Some((found, entry)) = writer.resident(place, hash) else { continue };
            writer.remove(found, &entry, Cause::Purged);
        }
        // The last entry that goes takes the page along.
        if record.kind() != kind {
            return Some(removed);
        }
    }
}
