//! A large value on its way out, and what has to wait for it.

use std::ops::ControlFlow;

use crate::http::{Postponed, Responses};
use crate::net::Payload;
use crate::store::LargeValue;

/// What is to become of a batch after a request: its rest may have to wait.
pub(super) type Outcome = ControlFlow<Postponed>;

/// Sends a large value, or its part from `start` on, from where the store has it.
#[derive(Debug)]
pub(super) struct LargePayload {
    pub(super) value: LargeValue,
    pub(super) start: usize,
}

impl Payload for LargePayload {
    fn pieces<'a>(&'a self, from: usize, each: &mut dyn FnMut(&'a [u8]) -> bool) {
        self.value.pieces(self.start + from, each);
    }

    fn held_bytes(&self) -> usize {
        self.value.heap_bytes()
    }
}

/// Whether a large value has to wait until others have been sent, of this connection or of any.
pub(super) fn postpones(value: &LargeValue, responses: &Responses<'_>) -> Option<Postponed> {
    if responses.is_full() {
        return Some(Postponed::Full);
    }
    value.exceeds_share().then_some(Postponed::Busy)
}
