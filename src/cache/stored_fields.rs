//! Kept header fields as a snapshot has them: as lines, since numbers of sets mean nothing to another
//! process.

use std::sync::Arc;

use super::kept_sets::KeptSets;
use crate::http::KeptFields;
use crate::snapshot::Fields;

/// The sets of a process, and which fields it keeps.
#[derive(Debug)]
pub struct StoredFields {
    /// The sets.
    pub sets: Arc<KeptSets>,
    /// Fields that are not among these any more are left out when a snapshot is loaded.
    pub kept: KeptFields,
}

impl Fields for StoredFields {
    fn lines<'a>(&'a self, meta: &'a [u8]) -> &'a [u8] {
        self.sets.lines_of(meta)
    }

    fn meta(&self, lines: &[u8]) -> Vec<u8> {
        if lines.is_empty() {
            return Vec::new();
        }
        let is_kept = |line: &&[u8]| {
            let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
            std::str::from_utf8(name).is_ok_and(|name| self.kept.has(name))
        };
        let kept: Vec<&[u8]> =
            lines.split_inclusive(|&byte| byte == b'\n').filter(is_kept).collect();
        self.sets.meta_of(&kept.concat())
    }
}
