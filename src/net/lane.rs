//! A lane: what is at hand of one connection while a few of them are worked on together.
//!
//! A loop receives from a few connections, one after the other, before it answers the first of
//! them. What their answers need of memory is on its way during the system calls in between.

use std::io;

use super::connection::RECEIVED_BYTES_PER_TURN_MAX;
use super::socket::Transfer;

/// Connections that are worked on together. More would be answered later than they have to; with
/// less, memory that was asked for last has not arrived when it is needed.
pub(super) const LANES: usize = 16;

pub(super) const MESSAGES_AT_HAND: usize = 32;

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
