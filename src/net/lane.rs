//! A lane: what is at hand of one connection while a few of them are worked on together.
//!
//! A loop receives from a few connections, one after the other, before it answers the first of
//! them. What their answers need of memory is on its way during the system calls in between.

use std::io;

use super::connection::RECEIVED_BYTES_PER_TURN_MAX;
use super::socket::Transfer;

/// Connections that are worked on together at most, however little each of them has sent.
pub(super) const LANES_MAX: usize = 16;

/// No further connection is received from when so many messages are at hand: what was asked for
/// first would be evicted from the processor's cache before it is needed.
pub(super) const MESSAGES_AT_HAND_MAX: usize = 32;

#[derive(Debug)]
pub(super) struct Lane<B> {
    /// The connection's input: what it kept from before, and behind it what was received.
    pub(super) bytes: Box<[u8]>,
    /// How much was kept from before.
    pub(super) held: usize,
    /// What receiving came to, if it was tried.
    pub(super) received: Option<io::Result<Transfer>>,
    /// What the service made of the input.
    pub(super) batch: B,
}

impl<B: Default> Lane<B> {
    /// A lane for connections that keep up to `input_bytes_max` bytes.
    pub(super) fn new(input_bytes_max: usize) -> Self {
        let bytes = vec![0; input_bytes_max + RECEIVED_BYTES_PER_TURN_MAX].into();
        Self { bytes, held: 0, received: None, batch: B::default() }
    }
}
