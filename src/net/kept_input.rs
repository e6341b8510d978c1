//! What a connection keeps of its input: the start of a message, or all that came while there was no
//! room for the answers.

use super::service::Flow;

/// Without capacity when empty, so that an idle connection holds no buffer.
#[derive(Debug)]
pub(super) struct KeptInput {
    bytes: Vec<u8>,
    /// What the service said of them.
    flow: Flow,
}

impl KeptInput {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new(), flow: Flow::More }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether there may be complete messages, which had no room in the output or in memory.
    #[inline]
    pub(super) fn is_stalled(&self) -> bool {
        matches!(self.flow, Flow::Full | Flow::Busy)
    }

    /// Whether the first of them needs memory that others use.
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        self.flow == Flow::Busy
    }

    /// The service has seen `bytes`, of which the first `kept` are kept already.
    #[inline]
    pub(super) fn keep(&mut self, bytes: &[u8], kept: usize, consumed: usize, flow: Flow) {
        self.flow = flow;
        if consumed == bytes.len() {
            self.bytes = Vec::new();
        } else if consumed == 0 {
            self.bytes.extend_from_slice(&bytes[kept..]);
        } else {
            self.bytes.clear();
            self.bytes.extend_from_slice(&bytes[consumed..]);
        }
    }

    /// No more input is taken, and nothing is kept.
    pub(super) fn close(&mut self) {
        *self = Self { bytes: Vec::new(), flow: Flow::Close };
    }

    /// The service has seen what is kept.
    pub(super) fn consume(&mut self, consumed: usize, flow: Flow) {
        self.flow = flow;
        self.bytes.drain(..consumed);
        if !self.is_stalled() {
            self.bytes.shrink_to_fit();
        }
    }
}
