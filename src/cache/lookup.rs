//! What is known of a request ahead of its answer.

use super::route::Route;
use crate::store::SlotHint;

/// What a request is about and, if that is a key, where the key was seen.
#[derive(Debug, Clone, Copy)]
pub struct Lookup {
    pub(super) route: Route,
    pub(super) hint: SlotHint,
}

impl Lookup {
    /// What is known before the store has been asked.
    #[inline]
    pub(super) fn new(route: Route) -> Self {
        Self { route, hint: SlotHint::NONE }
    }
}
