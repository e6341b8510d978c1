//! One partition: a table behind a lock, with a queue of what expires when.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use super::{Expiry, Key, LargeValue, SmallValue, Statistics, Tick, Value, Written};

/// Values over this many bytes are shared instead of copied.
const VALUE_COPIED_BYTES_MAX: usize = 4 << 10;

/// Keys that one maintenance step removes at most.
const EXPIRED_PER_STEP_MAX: usize = 256;

#[derive(Debug)]
struct Entry {
    value: Arc<[u8]>,
    expiry: Expiry,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<Box<[u8]>, Entry, ahash::RandomState>,
    due: BTreeMap<Expiry, Vec<Box<[u8]>>>,
    statistics: Statistics,
}

#[derive(Debug, Default)]
pub(super) struct Partition {
    table: Mutex<Table>,
}

impl Partition {
    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn get<R>(
        &self,
        key: Key<'_>,
        now: Tick,
        mut read: impl FnMut(Value<'_>) -> R,
    ) -> Option<R> {
        let table = self.table();
        let entry = table.entries.get(key.bytes)?;
        if entry.expiry.is_due(now) {
            return None;
        }
        Some(read(if entry.value.len() > VALUE_COPIED_BYTES_MAX {
            Value::Large(LargeValue { bytes: Arc::clone(&entry.value) })
        } else {
            Value::Small(SmallValue { bytes: &entry.value })
        }))
    }

    pub(super) fn put(&self, key: Key<'_>, value: &[u8], expiry: Expiry, now: Tick) -> Written {
        let mut table = self.table();
        let table = &mut *table;
        table.statistics.bytes += (key.bytes.len() + value.len()) as u64;
        let old = table.entries.insert(key.bytes.into(), Entry { value: value.into(), expiry });
        if expiry != Expiry::NEVER {
            table.due.entry(expiry).or_default().push(key.bytes.into());
        }
        let Some(old) = old else { return Written::Created };
        table.statistics.bytes -= (key.bytes.len() + old.value.len()) as u64;
        if old.expiry.is_due(now) {
            table.statistics.expired += 1;
            return Written::Created;
        }
        table.statistics.replaced += 1;
        Written::Replaced
    }

    pub(super) fn remove(&self, key: Key<'_>, now: Tick) -> bool {
        let mut table = self.table();
        let Some(old) = table.entries.remove(key.bytes) else { return false };
        table.statistics.bytes -= (key.bytes.len() + old.value.len()) as u64;
        let live = !old.expiry.is_due(now);
        if live {
            table.statistics.deleted += 1;
        } else {
            table.statistics.expired += 1;
        }
        live
    }

    pub(super) fn expire(&self, now: Tick) -> bool {
        let mut table = self.table();
        let table = &mut *table;
        for _ in 0..EXPIRED_PER_STEP_MAX {
            let Some(mut due) = table.due.first_entry() else { return false };
            if !due.key().is_due(now) {
                return false;
            }
            let Some(key) = due.get_mut().pop() else {
                due.remove();
                continue;
            };
            if table.entries.get(&key).is_some_and(|entry| entry.expiry.is_due(now))
                && let Some(old) = table.entries.remove(&key)
            {
                table.statistics.bytes -= (key.len() + old.value.len()) as u64;
                table.statistics.expired += 1;
            }
        }
        true
    }

    pub(super) fn statistics(&self) -> Statistics {
        let table = self.table();
        Statistics { keys: table.entries.len() as u64, ..table.statistics }
    }
}
