//! How far the entries of earlier generations were swept.

use super::generation::Generation;

/// A sweep under way.
#[derive(Debug)]
pub(super) struct Sweep {
    /// The generation that was the current one when it began.
    pub(super) goal: Generation,
    pub(super) next: u32,
    /// Pages from here on have nothing that is older.
    pub(super) end: u32,
}
