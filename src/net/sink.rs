//! Where output goes.

use std::io::{self, IoSlice};

/// What a non-blocking transfer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// That many bytes; on receiving, 0 says that the peer sends no more.
    Done(usize),
    /// Nothing can be transferred now; the event loop will be told when.
    NotReady,
    /// Nothing can be transferred now, for the kernel is short of memory, and nobody will be told
    /// when it is not.
    Starved,
}

/// A socket, or what takes its place in a test: it takes what it has room for.
pub trait Sink {
    /// Sends from one slice.
    ///
    /// # Errors
    /// When nothing can be sent any more.
    fn send(&self, bytes: &[u8]) -> io::Result<Transfer>;

    /// Sends from several slices at once.
    ///
    /// # Errors
    /// When nothing can be sent any more.
    fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<Transfer>;
}
