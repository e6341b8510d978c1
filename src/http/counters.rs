//! What one event loop counts of its requests.

use super::method::{METHODS, Method};
use super::status::Status;
use crate::net::Counter;

/// Status classes, indexed by the first digit; 0 is unused.
const CLASSES: usize = 6;

/// Responses by method and status class.
#[derive(Debug, Default)]
pub struct Counters {
    responses: [[Counter; CLASSES]; METHODS],
}

impl Counters {
    #[inline]
    pub(super) fn count(&self, method: Method, status: Status) {
        self.responses[method as usize][status.class()].add(1);
    }

    /// Every method and status class that can occur, with its count.
    pub fn responses(&self) -> impl Iterator<Item = (&'static str, usize, u64)> {
        Method::ALL.into_iter().flat_map(move |method| {
            (2..CLASSES).map(move |class| {
                (method.label(), class, self.responses[method as usize][class].get())
            })
        })
    }
}
