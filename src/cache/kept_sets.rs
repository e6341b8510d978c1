//! The sets of header fields that values are kept with. One that recurs is stored once.
//!
//! | meta in the store | the set |
//! |---|---|
//! | none | no field |
//! | a number, 2 bytes | one of the first [`SETS_MAX`] that came |
//! | `ff ff` and lines | any other |

use std::collections::HashMap;
use std::sync::{OnceLock, PoisonError, RwLock};

/// Sets that are stored once. They stay for the life of the process, and take 1 KiB each at most.
const SETS_MAX: usize = 1024;

/// Marks lines that are stored with the value itself; no number.
const INLINE: [u8; 2] = [0xff, 0xff];

const _: () = assert!(SETS_MAX <= u16::from_le_bytes(INLINE) as usize);

/// The sets of a process, shared by all event loops.
#[derive(Debug)]
pub struct KeptSets {
    /// By number; filled in order.
    sets: Box<[OnceLock<Box<[u8]>>]>,
    numbers: RwLock<HashMap<Box<[u8]>, u16>>,
}

impl Default for KeptSets {
    fn default() -> Self {
        let sets = (0..SETS_MAX).map(|_| OnceLock::new()).collect();
        Self { sets, numbers: RwLock::default() }
    }
}

impl KeptSets {
    /// What the store keeps for these lines.
    pub(super) fn meta_of(&self, lines: &[u8]) -> Vec<u8> {
        if lines.is_empty() {
            return Vec::new();
        }
        match self.number_of(lines) {
            Some(number) => number.to_le_bytes().to_vec(),
            None => [&INLINE, lines].concat(),
        }
    }

    fn number_of(&self, lines: &[u8]) -> Option<u16> {
        let numbers = self.numbers.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(&number) = numbers.get(lines) {
            return Some(number);
        }
        let is_full = numbers.len() == SETS_MAX;
        drop(numbers);
        if is_full { None } else { self.add(lines) }
    }

    fn add(&self, lines: &[u8]) -> Option<u16> {
        let mut numbers = self.numbers.write().unwrap_or_else(PoisonError::into_inner);
        // Another loop may have been quicker.
        if let Some(&number) = numbers.get(lines) {
            return Some(number);
        }
        let number = numbers.len();
        // The lines are there before anybody can have their number.
        self.sets.get(number)?.get_or_init(|| lines.into());
        numbers.insert(lines.into(), number as u16);
        Some(number as u16)
    }

    /// The lines that the store keeps so.
    pub(super) fn lines_of<'a>(&'a self, meta: &'a [u8]) -> &'a [u8] {
        match meta.split_first_chunk() {
            Some((&INLINE, lines)) => lines,
            Some((&number, [])) => {
                let set = self.sets.get(usize::from(u16::from_le_bytes(number)));
                set.and_then(OnceLock::get).map_or(&[], |lines| lines)
            }
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_stored_once_as_long_as_there_is_room() {
        let sets = KeptSets::default();
        assert_eq!((sets.meta_of(b""), sets.lines_of(b"")), (Vec::new(), &b""[..]));
        for n in 0..2 * SETS_MAX {
            let lines = format!("Content-Type: {n}\r\n");
            let meta = sets.meta_of(lines.as_bytes());
            assert_eq!(meta.len() == 2, n < SETS_MAX, "{n}");
            assert_eq!(meta, sets.meta_of(lines.as_bytes()));
            assert_eq!(sets.lines_of(&meta), lines.as_bytes());
        }
    }
}
