//! One connection of an event loop: what it holds, and the step that an event drives it by.

use std::io;
use std::time::{Duration, Instant};

use super::counters::Counters;
use super::lane::Lane;
use super::output::Output;
use super::service::{Dismissal, Flow, Progress, Service, Wait, Wake};
use super::socket::{Socket, Transfer};

/// Bytes taken from a connection per turn of the loop: its share before the others have theirs.
pub(super) const RECEIVED_BYTES_PER_TURN_MAX: usize = 64 << 10;

/// The same when the loop is under memory pressure.
const RECEIVED_BYTES_UNDER_PRESSURE_MAX: usize = 4 << 10;

/// The longest start of a head that a connection may hold when the loop is under memory pressure.
const HEAD_BYTES_UNDER_PRESSURE_MAX: usize = 4 << 10;

/// Capacity of the loop's shared output that is kept between batches; a larger one goes back.
const OUTPUT_BYTES_KEPT_MAX: usize = 1 << 20;

/// Bytes read and dropped from a peer that goes on sending after the last response.
const LINGER_BYTES_MAX: usize = 64 << 20;

/// How long each [`Wait`] may last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) idle: Duration,
    pub(super) head: Duration,
    pub(super) body: Duration,
    pub(super) linger: Duration,
    pub(super) turn: Duration,
    /// How long a peer may leave a large value or a body waiting while others wait for their turn.
    pub(super) stall: Duration,
}

impl Limits {
    fn of(&self, wait: Wait) -> Duration {
        match wait {
            Wait::Idle | Wait::Send => self.idle,
            Wait::Head => self.head,
            Wait::Body => self.body,
            Wait::Linger => self.linger,
            Wait::Turn => self.turn,
        }
    }
}

/// What a step needs of its event loop.
pub(super) struct Context<'a, S: Service> {
    pub(super) service: &'a mut S,
    /// The connection's while it is at hand.
    pub(super) lane: &'a mut Lane<S::Batch>,
    /// Shared by all connections of the loop: nothing stays in it between two steps.
    pub(super) output: &'a mut Output,
    pub(super) counters: &'a Counters,
    pub(super) limits: &'a Limits,
    pub(super) now: Instant,
    pub(super) draining: bool,
    /// Bytes that the connection may send before the others have their turn.
    pub(super) send_share: usize,
    /// Bytes of payloads, and of what is left from earlier turns, that all connections together may
    /// still send in this turn.
    pub(super) send_budget: &'a mut usize,
    /// The loop's connections hold so much that each may hold only little.
    pub(super) pressed: bool,
}

/// What becomes of a connection after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing to do until an event comes.
    Wait,
    /// More to do, when the other connections had their turn.
    Again,
    /// What it needs is in use: to be tried again a little later.
    Later,
    /// Done with.
    Close,
}

#[derive(Debug)]
pub(super) struct Connection<T> {
    socket: Socket,
    session: T,
    /// Received and not consumed: the start of a message, or all that came while the output was
    /// full. Without capacity when empty, so that an idle connection holds no buffer.
    input: Vec<u8>,
    /// What the socket did not take. While there is any, nothing is read: backpressure.
    output: Option<Box<Output>>,
    /// The socket may have bytes that were not received.
    pub(super) readable: bool,
    /// An event said that the peer closed, so a short read does not prove the socket drained.
    pub(super) read_closed: bool,
    pub(super) writable: bool,
    /// Stands in the loop's queue already.
    pub(super) queued: bool,
    /// `input` may hold complete messages that had no room in the output.
    stalled: bool,
    /// The first of them has to wait for what others use.
    busy: bool,
    /// Bytes of memory that are held for its input, output and session, as of its last step.
    pub(super) held_bytes: usize,
    /// The service has closed the connection; the rest is sending and lingering.
    closing: bool,
    lingered_bytes: usize,
    wait: Wait,
    deadline: Instant,
}

impl<T> Connection<T> {
    pub(super) fn new(socket: Socket, session: T, deadline: Instant) -> Self {
        Self {
            socket,
            session,
            input: Vec::new(),
            output: None,
            readable: true,
            read_closed: false,
            writable: true,
            queued: false,
            stalled: false,
            busy: false,
            held_bytes: 0,
            closing: false,
            lingered_bytes: 0,
            wait: Wait::Idle,
            deadline,
        }
    }

    /// Whether the connection's wait has lasted too long. Who has room for output and waits for a
    /// turn to get it is not late.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let in_backlog = self.queued && self.is_sending() && self.writable;
        now >= self.deadline && !in_backlog
    }

    /// Whether the peer has left a large value, or a body, waiting for so long that others who wait
    /// for their turn come first.
    pub(super) fn is_stalling(&self, now: Instant, limits: &Limits) -> bool {
        let holds = match self.wait {
            Wait::Send => self.output.as_ref().is_some_and(|output| output.payload_bytes() > 0),
            Wait::Body => true,
            _ => false,
        };
        holds && !self.queued && now >= self.waits_since(limits) + limits.stall
    }

    /// When the connection began to wait for what it waits for now.
    pub(super) fn waits_since(&self, limits: &Limits) -> Instant {
        self.deadline - limits.of(self.wait)
    }

    /// Whether an earlier response is still on its way.
    pub(super) fn is_sending(&self) -> bool {
        self.output.is_some()
    }

    /// Counts the bytes of memory that are held for the connection. Before and now.
    #[inline]
    pub(super) fn count_held<S: Service<Session = T>>(&mut self, service: &S) -> (usize, usize) {
        let output = self.output.as_ref().map_or(0, |output| output.held_bytes());
        let now = self.input.capacity() + output + service.held_bytes(&self.session);
        (std::mem::replace(&mut self.held_bytes, now), now)
    }

    /// Receives, if receiving is what the connection's next step is about, and has the service look
    /// at what came. Returns how many messages that are.
    pub(super) fn read<S: Service<Session = T>>(&mut self, cx: &mut Context<'_, S>) -> usize {
        let busy = self.output.is_some() || self.stalled || self.wait == Wait::Linger;
        if busy || !self.readable {
            return 0;
        }
        let lane = &mut *cx.lane;
        lane.held = self.input.len();
        lane.bytes[..lane.held].copy_from_slice(&self.input);
        let share = if cx.pressed {
            RECEIVED_BYTES_UNDER_PRESSURE_MAX
        } else {
            RECEIVED_BYTES_PER_TURN_MAX
        };
        let received = self.socket.receive(&mut lane.bytes[lane.held..][..share]);
        let mut prepared = 0;
        if let Ok(Transfer::Done(n @ 1..)) = received {
            // A short read proves that the socket was drained, and saves the read that would say
            // so, unless the end of the stream is still to be read.
            self.readable = n == share || self.read_closed;
            cx.counters.received_bytes.add(n as u64);
            let wake = self.wake(cx);
            let Lane { bytes, held, batch, .. } = &mut *cx.lane;
            prepared = cx.service.prepare(&mut self.session, batch, &bytes[..*held + n], &wake);
        }
        cx.lane.received = Some(received);
        prepared
    }

    /// Does what the connection's state allows, at most one batch.
    pub(super) fn step<S: Service<Session = T>>(&mut self, cx: &mut Context<'_, S>) -> Next {
        match self.try_step(cx) {
            Ok(_) if cx.pressed && self.holds_long_head() => self.dismiss(Dismissal::LongHead, cx),
            Ok(next) => next,
            // A reset or a broken pipe: the peer is gone and there is nobody to tell.
            Err(_) => Next::Close,
        }
    }

    fn try_step<S: Service<Session = T>>(&mut self, cx: &mut Context<'_, S>) -> io::Result<Next> {
        if self.output.is_some() {
            return self.flush(cx);
        }
        if self.wait == Wait::Linger {
            return self.linger(cx);
        }
        if self.stalled {
            let input = std::mem::take(&mut self.input);
            let wake = self.wake(cx);
            let batch = &mut cx.lane.batch;
            let progress = cx.service.receive(&mut self.session, batch, &input, cx.output, &wake);
            self.input = input;
            self.input.drain(..progress.consumed);
            return self.respond(progress, cx);
        }
        let n = match cx.lane.received.take().transpose()? {
            None => return Ok(self.rest(cx)),
            Some(Transfer::NotReady) => {
                self.readable = false;
                return Ok(self.rest(cx));
            }
            // Complete messages have been answered; the start of one can't be completed.
            Some(Transfer::Done(0)) => return Ok(Next::Close),
            Some(Transfer::Done(n)) => n,
        };
        let wake = self.wake(cx);
        let Lane { bytes, held, batch, .. } = &mut *cx.lane;
        let input = &bytes[..*held + n];
        let progress = cx.service.receive(&mut self.session, batch, input, cx.output, &wake);
        self.keep(input, *held, progress.consumed);
        self.respond(progress, cx)
    }

    fn holds_long_head(&self) -> bool {
        self.wait == Wait::Head && !self.stalled && self.input.len() > HEAD_BYTES_UNDER_PRESSURE_MAX
    }

    fn wake<S: Service>(&self, cx: &Context<'_, S>) -> Wake {
        Wake { now: cx.now, last: cx.draining && !self.readable, pressed: cx.pressed }
    }

    /// Keeps what was not consumed of `bytes`, of which the first `held` are in `input` already.
    fn keep(&mut self, bytes: &[u8], held: usize, consumed: usize) {
        if consumed == bytes.len() {
            self.input = Vec::new();
        } else if consumed == 0 {
            self.input.extend_from_slice(&bytes[held..]);
        } else {
            self.input.clear();
            self.input.extend_from_slice(&bytes[consumed..]);
        }
    }

    /// Sends what the service answered and decides how the connection goes on.
    fn respond<S: Service<Session = T>>(
        &mut self,
        progress: Progress,
        cx: &mut Context<'_, S>,
    ) -> io::Result<Next> {
        self.busy = progress.flow == Flow::Busy;
        self.stalled = self.busy || progress.flow == Flow::Full;
        if progress.flow == Flow::Close {
            self.closing = true;
            self.input = Vec::new();
        }
        let sent = self.send_batch(cx)?;
        if progress.answered > 0 {
            cx.counters.batch(progress.answered, cx.now.elapsed());
        }
        self.settle(progress.consumed > 0 || sent > 0, cx);
        Ok(self.next(cx))
    }

    fn send_batch<S: Service>(&mut self, cx: &mut Context<'_, S>) -> io::Result<usize> {
        if cx.output.is_empty() {
            return Ok(0);
        }
        let large = cx.output.inserts() > 0;
        let share = if large { cx.send_share.min(*cx.send_budget) } else { cx.send_share };
        let (sent, full) = match cx.output.send(&self.socket, share) {
            Ok(result) => result,
            Err(error) => {
                *cx.output = Output::default();
                return Err(error);
            }
        };
        cx.counters.sent_bytes.add(sent as u64);
        if large {
            *cx.send_budget = cx.send_budget.saturating_sub(sent);
        }
        if !cx.output.is_empty() {
            self.writable = !full;
            self.output = Some(Box::new(cx.output.take_rest()));
        }
        if cx.output.bytes().capacity() > OUTPUT_BYTES_KEPT_MAX {
            *cx.output = Output::default();
        }
        Ok(sent)
    }

    /// Sends what is left from an earlier batch.
    fn flush<S: Service<Session = T>>(&mut self, cx: &mut Context<'_, S>) -> io::Result<Next> {
        let Some(output) = self.output.as_mut().filter(|_| self.writable) else {
            return Ok(Next::Wait);
        };
        let (sent, full) = output.send(&self.socket, cx.send_share.min(*cx.send_budget))?;
        *cx.send_budget = cx.send_budget.saturating_sub(sent);
        self.writable = !full;
        cx.counters.sent_bytes.add(sent as u64);
        if output.is_empty() {
            self.output = None;
        }
        self.settle(sent > 0, cx);
        Ok(self.next(cx))
    }

    /// What a connection does that has neither input nor output at hand.
    fn rest<S: Service<Session = T>>(&mut self, cx: &mut Context<'_, S>) -> Next {
        // Everything has been answered and nothing is unread: there is nobody to linger for.
        if cx.draining && self.wait == Wait::Idle && self.input.is_empty() {
            return Next::Close;
        }
        self.next(cx)
    }

    fn next<S: Service>(&self, cx: &Context<'_, S>) -> Next {
        if self.output.is_some() {
            return if self.writable { Next::Again } else { Next::Wait };
        }
        if self.busy {
            return Next::Later;
        }
        let idle = cx.draining && self.wait == Wait::Idle;
        if self.stalled || self.readable || idle { Next::Again } else { Next::Wait }
    }

    /// Reads and drops until the peer closes: closing a socket that has unread bytes would
    /// reset the connection and could take the last response with it (RFC 9112 §9.6). The time for
    /// it does not start again with what the peer sends.
    fn linger<S: Service<Session = T>>(&mut self, cx: &mut Context<'_, S>) -> io::Result<Next> {
        if !self.readable {
            return Ok(Next::Wait);
        }
        match self.socket.receive(&mut cx.lane.bytes)? {
            Transfer::NotReady => {
                self.readable = false;
                Ok(Next::Wait)
            }
            Transfer::Done(0) => Ok(Next::Close),
            Transfer::Done(n) => {
                self.lingered_bytes += n;
                let patient = self.lingered_bytes < LINGER_BYTES_MAX;
                Ok(if patient { Next::Again } else { Next::Close })
            }
        }
    }

    /// Works out what the connection waits for now, and until when.
    fn settle<S: Service<Session = T>>(&mut self, progressed: bool, cx: &Context<'_, S>) {
        let wait = if self.output.is_some() {
            Wait::Send
        } else if self.closing {
            Wait::Linger
        } else if self.busy {
            Wait::Turn
        } else {
            cx.service.waits_for(&self.session, !self.input.is_empty())
        };
        if wait == Wait::Linger && self.wait != Wait::Linger {
            self.socket.finish();
            // What came meanwhile may have no event of its own left.
            self.readable = true;
        }
        if progressed || wait != self.wait {
            self.deadline = cx.now + cx.limits.of(wait);
        }
        self.wait = wait;
    }

    /// Ends a wait that took too long; a message under way gets the service's last words.
    pub(super) fn expire<S: Service<Session = T>>(&mut self, cx: &mut Context<'_, S>) -> Next {
        cx.counters.timeouts.add(1);
        match self.wait {
            Wait::Head => self.dismiss(Dismissal::HeadTimeout, cx),
            Wait::Body => self.dismiss(Dismissal::BodyTimeout, cx),
            Wait::Turn => self.dismiss(Dismissal::TurnTimeout, cx),
            Wait::Idle | Wait::Send | Wait::Linger => Next::Close,
        }
    }

    /// Gives up what is held for the connection, since others need it.
    pub(super) fn shed<S: Service<Session = T>>(&mut self, cx: &mut Context<'_, S>) -> Next {
        cx.counters.shed.add(1);
        match self.wait {
            Wait::Head | Wait::Body | Wait::Turn => self.dismiss(Dismissal::Pressure, cx),
            Wait::Idle | Wait::Send | Wait::Linger => Next::Close,
        }
    }

    /// Sends the service's last words and closes.
    pub(super) fn dismiss<S: Service<Session = T>>(
        &mut self,
        why: Dismissal,
        cx: &mut Context<'_, S>,
    ) -> Next {
        cx.service.dismiss(&mut self.session, why, cx.output);
        let progress = Progress { consumed: 0, answered: 0, flow: Flow::Close };
        self.respond(progress, cx).unwrap_or(Next::Close)
    }
}
