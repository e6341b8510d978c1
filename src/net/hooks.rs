//! What a server calls while it runs, on the thread that called its `run`.

use std::fmt;
use std::io;

/// What is done once every loop runs.
pub(super) struct Ready(pub(super) Box<dyn FnOnce() -> io::Result<()> + Send>);

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

/// What a server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It accepts connections.
    Serving,
    /// It was told to stop, and answers what it has received.
    Draining,
}

/// What is done at every tick.
pub(super) struct Ticker(pub(super) Box<dyn FnMut(Phase) + Send>);

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticker").finish_non_exhaustive()
    }
}

/// What is done when SIGHUP comes.
#[derive(Default)]
pub(super) struct Hangup(pub(super) Vec<Box<dyn FnMut() + Send>>);

impl fmt::Debug for Hangup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hangup").finish_non_exhaustive()
    }
}
