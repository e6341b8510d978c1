//! What an event loop needs of the protocol that it serves.

use std::time::Instant;

use super::Output;

/// Which listener a connection came in through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// One of the data addresses.
    Data(Reach),
    /// The admin address.
    Admin(Reach),
    /// Any, but the connection limit is reached: it is dismissed at once.
    Refused,
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

/// The circumstances of one turn of the loop.
#[derive(Debug, Clone, Copy)]
pub struct Wake {
    /// When the loop woke up, read once per turn.
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
    /// The next message has to wait for what others use now: call again with the bytes that were
    /// left, a little later.
    Busy,
    /// Send what there is, then close, lingering until the peer has read it.
    Close,
}

/// What [`Service::receive`] did.
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
    /// Its turn, since what it needs is in use. The limit covers all of it.
    Turn,
    /// The peer to read what it was sent. The limit starts again with every byte that goes.
    Send,
    /// The peer to close after the last response. The limit covers all of it.
    Linger,
}

/// Why the server closes a connection of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dismissal {
    /// The connection limit is reached.
    Refused,
    /// A [`Wait::Head`] took too long.
    HeadTimeout,
    /// A [`Wait::Body`] took too long.
    BodyTimeout,
    /// A [`Wait::Turn`] took too long.
    TurnTimeout,
    /// The loop's connections hold much memory, and this one the start of a long head.
    LongHead,
    /// The loop's connections hold all the memory that they may, and this one has for the longest
    /// time.
    Pressure,
}

/// A protocol: turns received bytes into bytes to send. One per event loop.
pub trait Service {
    /// What the service remembers of a connection.
    type Session;

    /// What the service works out about input before it is that input's turn; `()` if nothing.
    type Batch: Default;

    /// A connection came in.
    fn open(&mut self, class: Class) -> Self::Session;

    /// Looks at input ahead of [`receive`](Self::receive), which comes next for this session, with
    /// the same input and the same batch, when a few other connections were received from: time
    /// for memory to arrive. Returns how many messages are complete.
    fn prepare(
        &mut self,
        _session: &mut Self::Session,
        _batch: &mut Self::Batch,
        _input: &[u8],
        _wake: &Wake,
    ) -> usize {
        0
    }

    /// Looks once more at what was prepared, between the two.
    fn prefetch(&mut self, _batch: &mut Self::Batch) {}

    /// Takes the complete messages at the start of `input` and appends their answers to
    /// `output`. Bytes that are not consumed come again, with more behind them. `batch` holds what
    /// [`prepare`](Self::prepare) made of the same input, or nothing, and is empty afterwards.
    fn receive(
        &mut self,
        session: &mut Self::Session,
        batch: &mut Self::Batch,
        input: &[u8],
        output: &mut Output,
        wake: &Wake,
    ) -> Progress;

    /// What the connection waits for when it has no output to send; `buffered` says whether
    /// unconsumed input is held for it.
    fn waits_for(&self, session: &Self::Session, buffered: bool) -> Wait;

    /// Bytes on the heap that the session holds.
    fn held_bytes(&self, _session: &Self::Session) -> usize {
        0
    }

    /// Whether a message had to wait for others' since the last time that this was asked.
    fn is_busy(&mut self) -> bool {
        false
    }

    /// The connection is about to be closed by the server: appends the last words.
    fn dismiss(&mut self, session: &mut Self::Session, why: Dismissal, output: &mut Output);

    /// Housekeeping between turns, in a bounded step. Whether more is due at once.
    fn turn(&mut self, _wake: &Wake) -> bool {
        false
    }
}
