//! A new process that goes on in a server's place: no connection is refused meanwhile, and nothing that was
//! acknowledged is lost.
//!
//! ```text
//!   the server                                        its successor
//!     SIGUSR2: starts it, with the listeners and
//!     one end of a socket pair                 ---->    checks its settings, takes the listeners over
//!     serves on                                <----    PREPARED
//!     stops accepting: connections wait in the
//!     kernel; answers what it has received
//!     writes its snapshot                      ---->    GO, and where the snapshot is
//!                                                       loads it, starts its event loops
//!     tells the service manager                <----    READY
//!     ends                                     ---->    ACKNOWLEDGED
//!                                                       accepts
//! ```
//!
//! If the successor ends or fails before it is ready, the server goes on with what it holds. If the server ends
//! before it said GO, so does the successor.

mod predecessor;
mod successor;

pub(crate) use predecessor::Inherited;
pub use predecessor::Predecessor;
pub use successor::{Handover, Order};

/// What tells a process that it is to go on in another's place: the number of that process, of the descriptor of
/// the socket pair, and of each listener, with what it is.
const VARIABLE: &str = "COREKV_HANDOVER";

/// Marks of a listener, behind its number.
const ADMIN: char = 'a';
const OWNS_FILE: char = 'f';

/// The messages.
const PREPARED: u8 = b'P';
const GO: u8 = b'G';
const READY: u8 = b'R';
const ACKNOWLEDGED: u8 = b'A';

/// Longest path of a snapshot, in bytes (`PATH_MAX`).
const PATH_BYTES_MAX: u32 = 4096;
