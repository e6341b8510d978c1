//! The end of a server, step by step: which connections it closes when.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// A connection whose peer has waited for nothing for less than this is in use: a request may be on its way
/// already, and would be lost with the connection.
pub(super) const IN_USE_MAX: Duration = Duration::from_millis(100);

/// How long connections that were accepted last have for their first message when a successor takes over.
pub(super) const NEW_SPARED_MAX: Duration = Duration::from_secs(2);

/// How far the end has come. Once it has begun, the answer to what was received last closes a connection,
/// and one that waits for a message is closed as soon as it is no longer spared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub(super) enum Drain {
    /// The server is not to end.
    #[default]
    NotYet,
    /// Connections in use are spared, and those that have sent nothing yet.
    SparesUsed,
    /// Connections that have sent nothing yet are spared.
    SparesNew,
    /// None is spared.
    SparesNone,
}

impl Drain {
    pub(super) fn has_begun(self) -> bool {
        self != Self::NotYet
    }

    /// Whether a connection that waits for a message may stay open.
    pub(super) fn spares(self, is_new: bool, idle: Duration) -> bool {
        match self {
            Self::NotYet => true,
            Self::SparesUsed => is_new || idle < IN_USE_MAX,
            Self::SparesNew => is_new,
            Self::SparesNone => false,
        }
    }
}

/// What all loops read, and one thread sets.
#[derive(Debug, Default)]
pub(super) struct SharedDrain(AtomicU8);

impl SharedDrain {
    pub(super) fn set(&self, drain: Drain) {
        self.0.store(drain as u8, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Drain {
        use Drain::{NotYet, SparesNew, SparesNone, SparesUsed};
        let steps = [NotYet, SparesUsed, SparesNew, SparesNone];
        steps[usize::from(self.0.load(Ordering::Relaxed))]
    }
}
