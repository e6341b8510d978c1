//! What a server calls while it runs, on the thread that called its `run`.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

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
    /// The same, but others wait at its listeners for its successor.
    HandingOver,
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

/// A listening socket, as another process may take it over.
#[derive(Debug, Clone, Copy)]
pub struct Inheritable<'a> {
    /// The socket.
    pub fd: BorrowedFd<'a>,
    /// Whether it is that of the admin address.
    pub is_admin: bool,
    /// Whether the server has made the file of a Unix-domain socket, and removes it when it ends.
    pub owns_file: bool,
}

/// What prepares a process that goes on in a server's place.
pub trait Succession: fmt::Debug + Send {
    /// Is asked for a successor (SIGUSR2).
    fn begin(&mut self, listeners: &[Inheritable<'_>]);

    /// Whether the server is to stop now, since the successor waits for that. Asked at each tick.
    fn is_due(&mut self) -> bool;
}

/// Why a server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It was told to.
    Stop,
    /// A successor takes over.
    Succession,
}
