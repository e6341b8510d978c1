//! The way to the server: closed, being opened, or open.
//!
//! ```text
//!   Closed -- connect --> Connecting --> Securing (TLS) --> Open
//!      ^          \--> Queued --/   \---------------------/  |
//!      +------------------------- close ---------------------+
//! ```

use std::io;

use mio::Token;

use super::context::Context;
use super::error::Failure;
use super::stream::Stream;

/// The pause before the second attempt to reconnect; it doubles from then on.
const BACKOFF_NS: u64 = 10_000_000;

/// The longest pause between attempts.
const BACKOFF_NS_MAX: u64 = 500_000_000;

#[derive(Debug)]
enum State {
    Open(Stream),
    Connecting {
        stream: Stream,
        since: u64,
    },
    /// The TLS handshake is under way, from the time `connected` on.
    Securing {
        stream: Stream,
        since: u64,
        connected: u64,
    },
    /// The queue of a listening Unix-domain socket is full: connecting is tried again.
    Queued {
        since: u64,
    },
    Closed {
        retry_at: u64,
    },
}

/// What a step towards the server came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// It is under way, or there is none.
    Pending,
    /// Requests can be sent from now on.
    Opened,
    /// It failed.
    Failed(Failure),
}

/// The way to the server.
#[derive(Debug)]
pub(super) struct Link {
    token: Token,
    state: State,
    /// Attempts to connect since the last answer.
    attempts: u32,
    /// Whether it has been open before.
    was_open: bool,
}

impl Link {
    pub(super) fn new(token: Token) -> Self {
        Self { token, state: State::Closed { retry_at: 0 }, attempts: 0, was_open: false }
    }

    /// Whether nothing is open or about to be.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Whether the attempt to connect has not come to an end.
    pub(super) fn is_opening(&self) -> bool {
        matches!(
            self.state,
            State::Connecting { .. } | State::Securing { .. } | State::Queued { .. }
        )
    }

    /// Whether requests can be sent.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// The stream, if it is open.
    #[inline]
    pub(super) fn stream(&mut self) -> Option<&mut Stream> {
        match &mut self.state {
            State::Open(stream) => Some(stream),
            _ => None,
        }
    }

    /// Whether an answer came since the last attempt to connect.
    pub(super) fn has_progressed(&self) -> bool {
        self.attempts == 0
    }

    /// An answer came.
    #[inline]
    pub(super) fn made_progress(&mut self) {
        self.attempts = 0;
    }

    /// Connects, for the first time.
    pub(super) fn connect(&mut self, context: &mut Context) -> Opening {
        self.connect_since(context, context.common.clock.now())
    }

    /// Connects again.
    pub(super) fn reconnect(&mut self, context: &mut Context) -> Opening {
        self.attempts += 1;
        self.connect(context)
    }

    fn connect_since(&mut self, context: &mut Context, since: u64) -> Opening {
        let connecting = Stream::connect(&context.common.endpoint)
            .and_then(|mut stream| stream.register(&context.registry, self.token).map(|()| stream));
        match connecting {
            Ok(stream) => {
                self.state = State::Connecting { stream, since };
                // A Unix-domain socket is connected by now and will not say so again.
                self.advance(context)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.state = State::Queued { since };
                Opening::Pending
            }
            Err(error) => Opening::Failed(Failure::of(&error)),
        }
    }

    /// Goes on with an attempt, of which there may be news.
    pub(super) fn advance(&mut self, context: &mut Context) -> Opening {
        match self.state {
            State::Connecting { .. } => self.finish_connecting(context),
            State::Securing { .. } => self.finish_securing(context),
            State::Open(_) | State::Queued { .. } | State::Closed { .. } => Opening::Pending,
        }
    }

    fn finish_connecting(&mut self, context: &mut Context) -> Opening {
        let State::Connecting { stream, since } = &self.state else { return Opening::Pending };
        match stream.connected() {
            Ok(false) => Opening::Pending,
            Ok(true) => {
                let (since, now) = (*since, context.common.clock.now());
                context.recorder.connected(now - since);
                let Some(stream) = self.take_stream() else { return Opening::Pending };
                match &context.common.tls {
                    None => self.opened(context, stream),
                    Some(tls) => match stream.secure(tls) {
                        Ok(stream) => {
                            self.state = State::Securing { stream, since, connected: now };
                            self.finish_securing(context)
                        }
                        Err(error) => Opening::Failed(Failure::of(&error)),
                    },
                }
            }
            Err(error) => Opening::Failed(Failure::of(&error)),
        }
    }

    fn finish_securing(&mut self, context: &mut Context) -> Opening {
        let State::Securing { stream, connected, .. } = &mut self.state else {
            return Opening::Pending;
        };
        match stream.handshake() {
            Ok(false) => Opening::Pending,
            Ok(true) => {
                context.recorder.secured(context.common.clock.now() - *connected);
                match self.take_stream() {
                    Some(stream) => self.opened(context, stream),
                    None => Opening::Pending,
                }
            }
            Err(error) => Opening::Failed(Failure::of(&error)),
        }
    }

    fn take_stream(&mut self) -> Option<Stream> {
        match std::mem::replace(&mut self.state, State::Closed { retry_at: 0 }) {
            State::Open(stream)
            | State::Connecting { stream, .. }
            | State::Securing { stream, .. } => Some(stream),
            State::Queued { .. } | State::Closed { .. } => None,
        }
    }

    fn opened(&mut self, context: &mut Context, stream: Stream) -> Opening {
        self.state = State::Open(stream);
        context.recorder.reopened += u64::from(self.was_open);
        self.was_open = true;
        Opening::Opened
    }

    /// Looks whether an attempt to connect takes too long, and asks a full queue again.
    pub(super) fn tick(&mut self, context: &mut Context) -> Opening {
        let (since, is_queued) = match &self.state {
            State::Connecting { since, .. } | State::Securing { since, .. } => (*since, false),
            State::Queued { since } => (*since, true),
            State::Open(_) | State::Closed { .. } => return Opening::Pending,
        };
        if context.now.saturating_sub(since) >= context.common.timeout.as_nanos() as u64 {
            Opening::Failed(Failure::ConnectTimeout)
        } else if is_queued {
            self.connect_since(context, since)
        } else {
            Opening::Pending
        }
    }

    /// Whether it is time to connect again.
    pub(super) fn is_due(&self, now: u64) -> bool {
        matches!(self.state, State::Closed { retry_at } if now >= retry_at)
    }

    /// Closes, and waits before the next attempt to connect: not at all after an answer. Dropping
    /// the stream closes it, which takes it out of the poll as well.
    pub(super) fn close(&mut self, now: u64) {
        let pause = match self.attempts {
            0 => 0,
            attempts => (BACKOFF_NS << attempts.min(16)).min(BACKOFF_NS_MAX),
        };
        self.state = State::Closed { retry_at: now + pause };
    }
}
