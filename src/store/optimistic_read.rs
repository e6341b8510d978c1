//! Optimistic reads: a value is read without a lock, and validated afterwards.

use super::index::{Index, SlotHint};
use super::plain_value::PlainValue;

/// A small value that somebody may be writing over while it is read.
#[derive(Debug)]
pub struct OptimisticRead<'a> {
    value: PlainValue<'a>,
    index: &'a Index,
    hint: &'a SlotHint,
}

impl<'a> OptimisticRead<'a> {
    /// A value that was found by way of a hint.
    #[inline]
    pub(super) fn new(value: PlainValue<'a>, index: &'a Index, hint: &'a SlotHint) -> Self {
        Self { value, index, hint }
    }

    /// The value; what is read of it is worth nothing before [`validate`](Self::validate) says so.
    #[must_use]
    #[inline]
    pub fn value(&self) -> &PlainValue<'a> {
        &self.value
    }

    /// Whether everything that was read of the value so far is what the key had. Records the hit.
    #[must_use]
    #[inline]
    pub fn validate(&self) -> bool {
        self.index.validate(self.hint)
    }
}
