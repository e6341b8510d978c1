//! What became of a write.

use super::policy::Choice;

/// What a write did to the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The key was absent (or expired, or purged) before.
    Created,
    /// A live value was replaced.
    Replaced,
}

/// The value does not fit into the store, whatever is evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// As many purges are under way as there can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// Why a partition could not make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shortage {
    /// Nothing is left that could be evicted.
    Full,
    /// Room is to be made in another partition.
    Elsewhere(Choice),
}
