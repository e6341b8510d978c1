//! A look at a value without a lock: first what is there is read, and then whether it was there all
//! along.

use super::entry::SmallValue;
use super::index::{Index, Sighting};

/// A small value that somebody may be writing over while it is read.
#[derive(Debug)]
pub struct Glimpse<'a> {
    value: SmallValue<'a>,
    index: &'a Index,
    sighting: Sighting,
}

impl<'a> Glimpse<'a> {
    /// A value that was found by way of a sighting.
    #[inline]
    pub(super) fn new(value: SmallValue<'a>, index: &'a Index, sighting: Sighting) -> Self {
        Self { value, index, sighting }
    }

    /// The value; what is read of it is worth nothing before [`holds`](Self::holds) says so.
    #[must_use]
    #[inline]
    pub fn value(&self) -> &SmallValue<'a> {
        &self.value
    }

    /// Whether everything that was read of the value so far is what the key had. Records the hit.
    #[must_use]
    #[inline]
    pub fn holds(&self) -> bool {
        self.index.confirms(self.sighting)
    }
}
