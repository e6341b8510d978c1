//! A walk over a partition's keys while others read and write: each key that is there all the time is
//! shown once, as it was at some moment of the walk. What comes, goes or changes meanwhile is shown
//! as it was before or after, or not at all if it was absent at some moment.
//!
//! The walk goes by the hash, its bits in reverse. A bucket holds the keys whose hashes end in the
//! same bits, which are one interval of that order. Whatever is split or merged meanwhile, a key lies in
//! the bucket whose interval its hash is in; so that a walk that shows each interval once, one after the
//! other, shows each key once. Nobody waits for it: a bucket is read as readers do, and read again if
//! a writer was there. No hit is recorded.

use std::sync::Arc;

use super::bucket::Slot;
use super::clock::{Expiry, Tick};
use super::entry::Entry;
use super::header::KEY_BYTES_MAX;
use super::index::Shape;
use super::key::Key;
use super::large_value::LargeValue;
use super::pages::page_of;
use super::popularity::Popularity;
use super::store::{Store, Value};
use super::table::Table;

/// Buckets that are asked for together, so that their cache misses overlap.
const BUCKETS_PER_STEP: usize = 32;

/// A walk over one partition.
#[derive(Debug)]
pub struct Scan {
    store: Arc<Store>,
    partition: usize,
    /// The first hash, in reverse, that was not shown yet; `None` at the end.
    cursor: Option<u64>,
    seen: Vec<Seen>,
    bytes: Vec<u8>,
}

/// A key and its value, as a [`Scan`] shows them.
#[derive(Debug)]
pub struct Scanned<'a> {
    /// The key.
    pub key: &'a [u8],
    /// What is kept beside the value.
    pub meta: &'a [u8],
    /// The value.
    pub value: ScannedValue<'a>,
    /// When it ends.
    pub expiry: Expiry,
    /// What eviction knows of it.
    pub popularity: Popularity,
}

/// A value as a [`Scan`] shows it.
#[derive(Debug)]
pub enum ScannedValue<'a> {
    /// A copy.
    Small(&'a [u8]),
    /// Shared memory, which is held as long as the handle lives.
    Large(LargeValue),
}

/// What was copied of an entry: the bytes of its key, meta and value one behind the other.
#[derive(Debug, Clone, Copy)]
struct Seen {
    start: usize,
    key_len: usize,
    meta_len: usize,
    value_len: usize,
    is_large: bool,
    expiry: Expiry,
    popularity: Popularity,
}

/// The interval of hashes in reverse that a bucket holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    bucket: usize,
    start: u64,
    /// Behind the last one; `None` where there is no number behind.
    end: Option<u64>,
}

impl Interval {
    /// The one that a hash in reverse is in.
    fn around(shape: Shape, cursor: u64) -> Self {
        let bucket = shape.bucket_of(cursor.reverse_bits());
        let start = (bucket as u64).reverse_bits();
        Self { bucket, start, end: start.checked_add(1 << (64 - shape.bits_of(bucket))) }
    }
}

impl Scan {
    /// A walk over the keys of a partition.
    #[must_use]
    pub fn new(store: &Arc<Store>, partition: usize) -> Self {
        Self {
            store: Arc::clone(store),
            partition,
            cursor: Some(0),
            seen: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Shows the live keys of some more buckets to `each`. False at the end, or if `each` fails.
    ///
    /// # Errors
    /// That of `each`.
    pub fn step<E>(
        &mut self,
        now: Tick,
        mut each: impl FnMut(&Scanned<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Some(end) = self.prefetch() else { return Ok(false) };
        while let Some(cursor) = self.cursor.filter(|&cursor| end.is_none_or(|end| cursor < end)) {
            let interval = self.read_bucket(cursor);
            self.cursor = interval.end;
            for seen in self.seen.iter().filter(|seen| !seen.expiry.is_due(now)) {
                let bytes = &self.bytes[seen.start..];
                let (key, bytes) = bytes.split_at(seen.key_len);
                let (meta, bytes) = bytes.split_at(seen.meta_len);
                let key = self.store.key(key);
                // A bucket that was merged also holds what was shown before.
                if interval.start < cursor && key.hash.reverse_bits() < cursor {
                    continue;
                }
                if seen.is_large {
                    self.show_large(key, seen, now, &mut each)?;
                } else {
                    let value = ScannedValue::Small(&bytes[..seen.value_len]);
                    each(&seen.shown(key.bytes, meta, seen.expiry, value))?;
                }
            }
        }
        Ok(self.cursor.is_some())
    }

    /// Asks for the next buckets and for what their keys lead to. Where they end, if the table stays
    /// as it is (`Some(None)`: there is nothing behind); `None` at the end of the walk.
    fn prefetch(&self) -> Option<Option<u64>> {
        let table: &Table = self.store.partition(self.partition);
        let (index, pages) = (&table.index, &table.pages);
        let start = self.cursor?;
        let shape = index.shape();
        let next = |cursor: &u64| Interval::around(shape, *cursor).end;
        let cursors = || std::iter::successors(Some(start), next).take(BUCKETS_PER_STEP);
        let bucket = |cursor| Interval::around(shape, cursor).bucket;
        cursors().for_each(|cursor| index.lines.prefetch(bucket(cursor)));
        for cursor in cursors() {
            for slot in index.lines[bucket(cursor)].all() {
                pages.prefetch(slot.place());
            }
        }
        Some(cursors().last().and_then(|cursor| next(&cursor)))
    }

    /// Copies the bucket that a hash in reverse is in.
    fn read_bucket(&mut self, cursor: u64) -> Interval {
        let table: &Table = self.store.partition(self.partition);
        loop {
            self.seen.clear();
            self.bytes.clear();
            let bucket = table.index.shape().bucket_of(cursor.reverse_bits());
            let head = &table.index.lines[bucket];
            let first = head.sequence.begin();
            // As it is now: before, the bucket may have been split.
            let interval = Interval::around(table.index.shape(), cursor);
            if interval.bucket != bucket {
                continue;
            }
            // Nothing is in a bucket under the number 0.
            if first == 0 && head.sequence.unchanged(first) {
                return interval;
            }
            let mut key = [0; KEY_BYTES_MAX + 8];
            // A reader that a writer has led astray has no need to go on.
            table.index.each_slot(bucket, |slot| {
                copy_entry(table, slot, &mut key, &mut self.seen, &mut self.bytes);
                head.sequence.unchanged(first)
            });
            if head.sequence.unchanged(first) {
                return interval;
            }
        }
    }

    /// Shows a key whose value was large, by what it is now.
    fn show_large<E>(
        &self,
        key: Key<'_>,
        seen: &Seen,
        now: Tick,
        each: &mut impl FnMut(&Scanned<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(value) = self.store.take_large(self.partition, key, now) {
            let (meta, expiry) = (value.meta().to_vec(), value.expiry());
            return each(&seen.shown(key.bytes, &meta, expiry, ScannedValue::Large(value)));
        }
        // It has a small one now, or is gone.
        let (mut meta, mut bytes, mut expiry) = (Vec::new(), Vec::new(), Expiry::NEVER);
        let found = self.store.get(key, now, |value| {
            meta.clear();
            bytes.clear();
            match value {
                Value::Small(value) => {
                    expiry = value.expiry();
                    value.append_to(&mut bytes);
                }
                Value::SmallWithMeta(beside, value) => {
                    expiry = value.expiry();
                    beside.append_to(&mut meta);
                    value.append_to(&mut bytes);
                }
                Value::Large(value) => return Some(value),
            }
            None
        });
        match found {
            None => Ok(()),
            Some(None) => {
                let value = ScannedValue::Small(&bytes);
                each(&seen.shown(key.bytes, &meta, expiry, value))
            }
            Some(Some(value)) => {
                let (meta, expiry) = (value.meta().to_vec(), value.expiry());
                each(&seen.shown(key.bytes, &meta, expiry, ScannedValue::Large(value)))
            }
        }
    }
}

impl Seen {
    fn shown<'a>(
        &self,
        key: &'a [u8],
        meta: &'a [u8],
        expiry: Expiry,
        value: ScannedValue<'a>,
    ) -> Scanned<'a> {
        Scanned { key, meta, value, expiry, popularity: self.popularity }
    }
}

/// Copies an entry, which a writer may be changing: what is copied is worth nothing before the bucket's
/// sequence number was found unchanged.
fn copy_entry(
    table: &Table,
    slot: Slot,
    key: &mut [u8],
    seen: &mut Vec<Seen>,
    bytes: &mut Vec<u8>,
) {
    let Some(entry) = Entry::at(&table.pages, slot.place()) else { return };
    if table.hides(&entry) {
        return;
    }
    let (start, key_len) = (bytes.len(), entry.header.key_len());
    if key_len > KEY_BYTES_MAX {
        return;
    }
    bytes.extend_from_slice(entry.key_to(key));
    entry.meta().append_to(bytes);
    let meta_len = bytes.len() - start - key_len;
    let is_large = entry.header.is_large();
    if !is_large {
        entry.value().append_to(bytes);
    }
    let value_len = bytes.len() - start - key_len - meta_len;
    let kind = table.pages.record(page_of(slot.place())).kind();
    let (expiry, popularity) = (entry.header.expiry(), Popularity::new(kind, slot.frequency()));
    seen.push(Seen { start, key_len, meta_len, value_len, is_large, expiry, popularity });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_of_every_shape_are_intervals_that_cover_all_hashes_once() {
        for buckets in (64..300).chain([511, 512, 513, 1000]) {
            let shape = Shape::new(buckets);
            let (mut cursor, mut seen) = (Some(0), Vec::new());
            while let Some(start) = cursor {
                let interval = Interval::around(shape, start);
                assert_eq!(interval.start, start, "{buckets}: no gap, nothing twice");
                let last = interval.end.map_or(u64::MAX, |end| end - 1);
                for hash in [start, start + (last - start) / 2, last] {
                    assert_eq!(shape.bucket_of(hash.reverse_bits()), interval.bucket);
                }
                seen.push(interval.bucket);
                cursor = interval.end;
            }
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..buckets), "{buckets}: each bucket once");
        }
    }
}
