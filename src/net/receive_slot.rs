//! The input of one connection while a few connections are served together.
//!
//! A loop receives from a few connections, one after the other, before it answers the first of
//! them. What their answers need of memory is on its way during the system calls in between.

use std::io;

use super::sink::Transfer;

/// Bytes taken from a connection per iteration of the loop, before the others have theirs.
pub(super) const RECEIVED_BYTES_MAX: usize = 64 << 10;

/// Connections that are served together at most, however little each of them has sent.
pub(super) const GROUP_CONNECTIONS_MAX: usize = 16;

/// No further connection is received from when so many messages have come: what was asked for
/// first would be evicted from the processor's cache before it is needed.
pub(super) const GROUP_MESSAGES_MAX: usize = 32;

/// A buffer, and what a service makes of the bytes in it.
#[derive(Debug)]
pub(super) struct ReceiveSlot<B> {
    pub(super) bytes: Box<[u8]>,
    pub(super) batch: B,
}

impl<B: Default> ReceiveSlot<B> {
    /// A slot for connections that keep up to `input_bytes_max` bytes.
    pub(super) fn new(input_bytes_max: usize) -> Self {
        let bytes = vec![0; input_bytes_max + RECEIVED_BYTES_MAX].into();
        Self { bytes, batch: B::default() }
    }
}

/// What a connection has received for its next step, with the bytes at the stage `T`.
#[derive(Debug)]
pub(super) enum Input<'a, B, T> {
    /// It was not tried, since the step is about something else. The slot is free for it.
    Untried(&'a mut ReceiveSlot<B>),
    /// Nothing came, for this reason.
    Nothing(io::Result<Transfer>),
    /// Bytes came, behind so many that were kept from before.
    Bytes { kept: usize, stage: T },
}

impl<'a, B, T> Input<'a, B, T> {
    /// Takes the bytes to another stage.
    pub(super) fn map<U>(self, next: impl FnOnce(T) -> U) -> Input<'a, B, U> {
        match self {
            Self::Untried(slot) => Input::Untried(slot),
            Self::Nothing(why) => Input::Nothing(why),
            Self::Bytes { kept, stage } => Input::Bytes { kept, stage: next(stage) },
        }
    }
}
