//! Heads that a connection received before, with what they mean.

use super::head::Head;

/// The longest head that is worth remembering, in bytes.
const HEAD_BYTES_MAX: usize = 1024;

/// Heads remembered per connection, a power of two: a hit of one and of two digits, a created and a
/// replaced value.
const HEADS: usize = 4;

/// Heads with different statuses differ within so many bytes, which are compared first, without a call.
/// No head is shorter.
const START_BYTES: usize = 16;

#[derive(Debug, Default)]
struct Memo {
    start: [u8; START_BYTES],
    bytes: Vec<u8>,
    known: Option<Known>,
}

/// What a head means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) head: Head,
    /// The length of the head.
    pub(super) length: usize,
    /// The length of the body, if it is known, in the answer to anything but HEAD.
    pub(super) body: Option<u64>,
}

/// The heads that came last.
#[derive(Debug, Default)]
pub(super) struct Memos {
    memos: [Memo; HEADS],
    used: usize,
    next: usize,
}

impl Memos {
    /// What the head that `bytes` begin with means, if it is remembered.
    #[inline]
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<Known> {
        let start = bytes.first_chunk()?;
        for step in 0..HEADS {
            // The one that was used last is the first.
            let index = self.used ^ step;
            let memo = &self.memos[index];
            if let Some(known) = memo.known
                && memo.start == *start
                && bytes.starts_with(&memo.bytes)
            {
                self.used = index;
                return Some(known);
            }
        }
        None
    }

    /// Remembers a whole head in place of the oldest one.
    pub(super) fn remember(&mut self, bytes: &[u8], head: Head) {
        if let Some(start) = bytes.first_chunk()
            && bytes.len() <= HEAD_BYTES_MAX
            && head.status >= 200
        {
            let memo = &mut self.memos[self.next];
            memo.start = *start;
            memo.bytes.clear();
            memo.bytes.extend_from_slice(bytes);
            memo.known = Some(Known { head, length: bytes.len(), body: head.body_length() });
            self.used = self.next;
            self.next = (self.next + 1) % HEADS;
        }
    }
}
