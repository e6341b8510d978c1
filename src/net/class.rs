//! Which listener a connection came in through, and who can reach it.

/// Which listener a connection came in through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// One of the data addresses.
    Data(Reach),
    /// The admin address.
    Admin(Reach),
    /// Any, but the connection limit is reached: it is rejected at once.
    OverLimit,
}

/// Who can reach a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Programs of this machine, web browsers among them.
    Loopback,
    /// Programs that open a socket in the file system, which no browser does.
    File,
    /// Other machines, too.
    Network,
}
