//! What an event loop needs of the protocol that it serves.

use std::net::SocketAddr;
use std::time::Instant;

use super::class::Class;
use super::output::Output;
use super::stage::{Parsed, Prefetched, Received};

/// The circumstances of one iteration of the loop.
#[derive(Debug, Clone, Copy)]
pub struct Iteration {
    /// When the loop woke up, read once per iteration.
    pub now: Instant,
    /// The server is shutting down and these are the last bytes that it takes from this
    /// connection, unless they end within a message.
    pub last: bool,
    /// The loop's connections hold much memory: answer one message at a time, so that a peer
    /// that does not read makes the loop hold no more than that.
    pub pressed: bool,
}

/// How a connection goes on after the service has seen its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Every complete message is answered; more bytes are needed.
    More,
    /// The output is full: call again with the bytes that were left when it has been sent.
    Full,
    /// The next message needs memory that others use now: call again with the bytes that were left,
    /// a little later.
    Busy,
    /// Send what there is, then close, lingering until the peer has read it.
    Close,
}

/// What [`Service::answer`] did.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// Messages that were answered.
    pub answered: usize,
    /// How to go on.
    pub flow: Flow,
}

/// What a connection is waiting for; each wait has its own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The next message, of which nothing has come.
    Idle,
    /// The rest of a message's head. The limit covers the whole head.
    Head,
    /// The rest of a message's body. The limit starts again with every byte that comes.
    Body,
    /// Memory that others use ([`Flow::Busy`]). The limit covers all of it.
    Memory,
    /// The peer to read what it was sent. The limit starts again with every byte that goes.
    Send,
    /// The peer to close after the last response. The limit covers all of it.
    Linger,
}

/// Why the server closes a connection of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The connection limit is reached.
    ConnectionLimit,
    /// A [`Wait::Head`] took too long.
    HeadTimeout,
    /// A [`Wait::Body`] took too long.
    BodyTimeout,
    /// A [`Wait::Memory`] took too long.
    MemoryTimeout,
    /// The loop's connections hold much memory, and this one the start of a long head.
    LongHead,
    /// The loop's connections hold all the memory that they may, and this one has for the longest
    /// time.
    MemoryLimit,
}

/// A protocol: turns received bytes into bytes to send. One per event loop.
///
/// A connection's input goes through [`parse`](Self::parse), [`prefetch`](Self::prefetch) and
/// [`answer`](Self::answer). A service that has no use for the first two leaves them out.
pub trait Service {
    /// What the service remembers of a connection.
    type Session;

    /// What parsing makes of input; `()` if nothing. Kept for its capacity.
    type Batch: Default;

    /// A connection came in.
    fn open(&mut self, class: Class) -> Self::Session;

    /// Who is at the other end of a connection that came in, for a service that wants to know: `peer`
    /// asks the system, and gives `None` for a Unix-domain socket.
    fn meet(&mut self, _session: &mut Self::Session, _peer: &dyn Fn() -> Option<SocketAddr>) {}

    /// Finds the complete messages at the start of the input, and starts loading what their answers
    /// need. Nothing is to be decided here that another connection's messages could change: they
    /// may be answered before these are.
    fn parse<'a>(
        &mut self,
        _session: &mut Self::Session,
        received: Received<'a, Self::Batch>,
        _iteration: &Iteration,
    ) -> Parsed<'a, Self::Batch> {
        received.parsed(0)
    }

    /// Goes on loading, when what [`parse`](Self::parse) asked for has arrived.
    fn prefetch<'a>(&mut self, parsed: Parsed<'a, Self::Batch>) -> Prefetched<'a, Self::Batch> {
        parsed.prefetched()
    }

    /// Takes the complete messages at the start of the input and appends their answers to `output`,
    /// which is empty. Bytes that are not consumed come again, with more behind them.
    fn answer(
        &mut self,
        session: &mut Self::Session,
        prefetched: Prefetched<'_, Self::Batch>,
        output: &mut Output,
        iteration: &Iteration,
    ) -> Progress;

    /// What the connection waits for when it has no output to send; `buffered` says whether
    /// unconsumed input is held for it.
    fn waits_for(&self, session: &Self::Session, buffered: bool) -> Wait;

    /// Bytes on the heap that the session holds.
    fn held_bytes(&self, _session: &Self::Session) -> usize {
        0
    }

    /// Bytes of the memory that all share which the message under way has claimed, so that others may
    /// have to wait.
    fn claimed_bytes(&self, _session: &Self::Session) -> u64 {
        0
    }

    /// Whether a message had to wait for others' memory since the last time that this was asked.
    fn was_busy(&mut self) -> bool {
        false
    }

    /// The connection is about to be closed by the server: appends the last response.
    fn reject(&mut self, session: &mut Self::Session, why: Rejection, output: &mut Output);

    /// Housekeeping between iterations, in a bounded step. Whether more is due at once.
    fn maintain(&mut self, _now: Instant) -> bool {
        false
    }
}
