//! What is worked out about a batch of requests ahead of their answers.

use super::names::Name;
use crate::http::{Request, Target, percent_decode};
use crate::store::SlotHint;

/// What is known of each request of a batch. Kept for its capacity.
#[derive(Debug, Default)]
pub struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) paths: Paths,
}

/// What a request names, and where that was seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) name: Name,
    pub(super) hint: SlotHint,
}

/// The paths that had to be decoded, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Paths {
    bytes: Vec<u8>,
    /// Where each of them ends, or that it is broken.
    ends: Vec<Option<usize>>,
}

impl Plan {
    pub(super) fn clear(&mut self) {
        self.steps.clear();
        self.paths.bytes.clear();
        self.paths.ends.clear();
    }
}

impl Paths {
    /// The bytes of the request's path, unless they are broken.
    #[inline]
    pub(super) fn add<'a>(&'a mut self, request: &Request<'a>) -> Option<&'a [u8]> {
        if is_escaped(request) { self.decode(request.path) } else { Some(request.path) }
    }

    #[cold]
    fn decode(&mut self, path: &[u8]) -> Option<&[u8]> {
        let start = self.bytes.len();
        let whole = percent_decode(path, &mut self.bytes);
        if !whole {
            self.bytes.truncate(start);
        }
        self.ends.push(whole.then_some(self.bytes.len()));
        whole.then_some(&self.bytes[start..])
    }

    /// The same for the requests once more, in the same order.
    #[inline]
    pub(super) fn again<'a>(&'a self) -> impl FnMut(&Request<'a>) -> Option<&'a [u8]> {
        let mut ends = self.ends.iter();
        let mut start = 0;
        move |request| {
            if !is_escaped(request) {
                return Some(request.path);
            }
            let end = ends.next().copied().flatten()?;
            Some(&self.bytes[std::mem::replace(&mut start, end)..end])
        }
    }
}

#[inline]
fn is_escaped(request: &Request<'_>) -> bool {
    request.target == Target::Path { escaped: true }
}
