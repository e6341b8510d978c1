//! One connection of an event loop: what it holds, and the steps that it does.

use std::io;
use std::time::{Duration, Instant};

use super::kept_input::KeptInput;
use super::output::Output;
use super::readiness::Readiness;
use super::receive_slot::{Input, RECEIVED_BYTES_MAX, ReceiveSlot};
use super::service::{Flow, Iteration, Progress, Rejection, Service, Wait};
use super::sink::Transfer;
use super::socket::Socket;
use super::stage::{Parsed, Prefetched, Received};
use super::step::{Context, Next};
use super::wait_timer::{WaitLimits, WaitTimer};

/// Bytes taken from a connection per iteration when the loop is under memory pressure.
const RECEIVED_BYTES_UNDER_PRESSURE_MAX: usize = 4 << 10;

/// The longest start of a head that a connection may hold when the loop is under memory pressure.
const HEAD_BYTES_UNDER_PRESSURE_MAX: usize = 4 << 10;

/// Capacity of the loop's shared output that is kept between batches; a larger one goes back.
const OUTPUT_BYTES_KEPT_MAX: usize = 1 << 20;

/// Bytes read and dropped from a peer that goes on sending after the last response.
const LINGER_BYTES_MAX: usize = 64 << 20;

/// Bytes offered to a peer that seems not to read, before it is given up.
const LAST_SHARE_BYTES: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct Connection<T> {
    socket: Socket,
    session: T,
    input: KeptInput,
    /// What the socket did not take. While there is any, nothing is read: backpressure.
    output: Option<Box<Output>>,
    pub(super) readiness: Readiness,
    /// Stands in the loop's queue already.
    pub(super) queued: bool,
    /// Bytes of memory that are held for its input, output and session, as of its last step.
    pub(super) held_bytes: usize,
    /// The service has closed the connection; the rest is sending and lingering.
    closing: bool,
    /// Nothing was answered yet.
    is_new: bool,
    lingered_bytes: usize,
    timer: WaitTimer,
}

impl<T> Connection<T> {
    pub(super) fn new(socket: Socket, session: T, now: Instant, limits: &WaitLimits) -> Self {
        Self {
            socket,
            session,
            input: KeptInput::new(),
            output: None,
            readiness: Readiness::new(),
            queued: false,
            held_bytes: 0,
            closing: false,
            is_new: true,
            lingered_bytes: 0,
            timer: WaitTimer::idle(now, limits),
        }
    }

    /// Whether the connection's wait has lasted too long or is too slow, so much time after this was
    /// asked before. Who has done its part and waits for the server is not late, and spends no time.
    pub(super) fn is_overdue(&mut self, now: Instant, elapsed: Duration) -> bool {
        let is_ready = match self.timer.wait() {
            Wait::Send => self.readiness.writable,
            Wait::Body => self.readiness.readable,
            Wait::Idle | Wait::Head | Wait::Memory | Wait::Linger => false,
        };
        let is_late = self.queued && is_ready;
        !is_late && self.timer.is_overdue(now, elapsed)
    }

    /// Whether the peer has left a large value, or a body that has claimed memory, waiting for so long
    /// that others who wait for memory come first, or is so slow at it.
    pub(super) fn is_stalling<S: Service<Session = T>>(
        &self,
        now: Instant,
        limits: &WaitLimits,
        service: &S,
    ) -> bool {
        let left = self.output.as_ref().map_or(0, |output| output.payload_bytes() as u64);
        let bytes = match self.timer.wait() {
            Wait::Send if left > 0 => left + self.timer.moved_bytes(),
            Wait::Body => service.claimed_bytes(&self.session),
            _ => 0,
        };
        bytes > 0 && !self.queued && self.timer.is_stalling(bytes, now, limits)
    }

    /// When the connection began to wait for what it waits for now.
    pub(super) fn waits_since(&self, limits: &WaitLimits) -> Instant {
        self.timer.since(limits)
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

    /// Receives, if receiving is what the connection's next step is about, and has the service parse
    /// what came.
    pub(super) fn receive<'a, S: Service<Session = T>>(
        &mut self,
        slot: &'a mut ReceiveSlot<S::Batch>,
        cx: &mut Context<'_, S>,
    ) -> Input<'a, S::Batch, Parsed<'a, S::Batch>> {
        let busy =
            self.output.is_some() || self.input.is_stalled() || self.timer.wait() == Wait::Linger;
        if busy || !self.readiness.readable {
            return Input::Untried(slot);
        }
        let ReceiveSlot { bytes, batch } = slot;
        let kept = self.input.bytes().len();
        bytes[..kept].copy_from_slice(self.input.bytes());
        let share = if cx.pressed { RECEIVED_BYTES_UNDER_PRESSURE_MAX } else { RECEIVED_BYTES_MAX };
        let n = match self.socket.receive(&mut bytes[kept..][..share], &mut self.readiness.cut) {
            Ok(Transfer::Done(n @ 1..)) => n,
            nothing => return Input::Nothing(nothing),
        };
        self.readiness.received(n, share);
        cx.counters.received_bytes.add(n as u64);
        let iteration = self.iteration(cx);
        let received = Received::new(&bytes[..kept + n], batch);
        let stage = cx.service.parse(&mut self.session, received, &iteration);
        Input::Bytes { kept, stage }
    }

    /// Does what the connection's state allows, at most one batch.
    pub(super) fn step<S: Service<Session = T>>(
        &mut self,
        input: Input<'_, S::Batch, Prefetched<'_, S::Batch>>,
        cx: &mut Context<'_, S>,
    ) -> Next {
        match self.try_step(input, cx) {
            Ok(_) if cx.pressed && self.holds_long_head() => self.reject(Rejection::LongHead, cx),
            Ok(next) => next,
            // A reset or a broken pipe: the peer is gone and there is nobody to tell.
            Err(_) => Next::Close,
        }
    }

    fn try_step<S: Service<Session = T>>(
        &mut self,
        input: Input<'_, S::Batch, Prefetched<'_, S::Batch>>,
        cx: &mut Context<'_, S>,
    ) -> io::Result<Next> {
        match input {
            Input::Bytes { kept, stage } => {
                let iteration = self.iteration(cx);
                let bytes = stage.input();
                let progress = cx.service.answer(&mut self.session, stage, cx.output, &iteration);
                self.input.keep(bytes, kept, progress.consumed, progress.flow);
                self.respond(progress, cx)
            }
            Input::Nothing(Err(error)) => Err(error),
            Input::Nothing(Ok(Transfer::NotReady)) => {
                self.readiness.drained();
                Ok(self.rest(cx))
            }
            Input::Nothing(Ok(Transfer::Starved)) => {
                self.readiness.starved();
                Ok(Next::Wait)
            }
            // Complete messages have been answered; the start of one can't be completed.
            Input::Nothing(Ok(Transfer::Done(_))) => Ok(Next::Close),
            Input::Untried(_) if self.output.is_some() => self.flush(cx.budget.payload_share(), cx),
            Input::Untried(slot) if self.timer.wait() == Wait::Linger => {
                self.linger(&mut slot.bytes)
            }
            Input::Untried(slot) if self.input.is_stalled() => {
                self.answer_kept(&mut slot.batch, cx)
            }
            Input::Untried(_) => Ok(self.rest(cx)),
        }
    }

    /// Answers what was received before, for which there was no room in the output or in memory.
    fn answer_kept<S: Service<Session = T>>(
        &mut self,
        batch: &mut S::Batch,
        cx: &mut Context<'_, S>,
    ) -> io::Result<Next> {
        let iteration = self.iteration(cx);
        let received = Received::new(self.input.bytes(), batch);
        let parsed = cx.service.parse(&mut self.session, received, &iteration);
        let stage = cx.service.prefetch(parsed);
        let progress = cx.service.answer(&mut self.session, stage, cx.output, &iteration);
        self.input.consume(progress.consumed, progress.flow);
        self.respond(progress, cx)
    }

    fn holds_long_head(&self) -> bool {
        self.timer.wait() == Wait::Head
            && !self.input.is_stalled()
            && self.input.bytes().len() > HEAD_BYTES_UNDER_PRESSURE_MAX
    }

    fn iteration<S: Service>(&self, cx: &Context<'_, S>) -> Iteration {
        Iteration {
            now: cx.now,
            last: cx.drain.has_begun() && !self.readiness.readable,
            pressed: cx.pressed,
        }
    }

    /// Sends what the service answered and decides how the connection goes on.
    fn respond<S: Service<Session = T>>(
        &mut self,
        progress: Progress,
        cx: &mut Context<'_, S>,
    ) -> io::Result<Next> {
        if progress.flow == Flow::Close {
            self.closing = true;
            self.input.close();
        }
        let sent = self.send_batch(cx)?;
        if progress.answered > 0 {
            self.is_new = false;
            cx.counters.batch(progress.answered, cx.now.elapsed());
        }
        self.settle(progress, sent, cx);
        Ok(self.next(cx))
    }

    fn send_batch<S: Service>(&mut self, cx: &mut Context<'_, S>) -> io::Result<usize> {
        if cx.output.is_empty() {
            return Ok(0);
        }
        let large = cx.output.inserts() > 0;
        let share = if large { cx.budget.payload_share() } else { cx.budget.share() };
        let (sent, room) = match cx.output.send(&self.socket, share) {
            Ok(result) => result,
            Err(error) => {
                *cx.output = Output::default();
                return Err(error);
            }
        };
        cx.counters.sent_bytes.add(sent as u64);
        if large {
            cx.budget.spend(sent);
        }
        if !cx.output.is_empty() {
            self.readiness.sent(room);
            self.output = Some(Box::new(cx.output.take_rest()));
        }
        if cx.output.bytes().capacity() > OUTPUT_BYTES_KEPT_MAX {
            *cx.output = Output::default();
        }
        Ok(sent)
    }

    /// Sends up to `share` bytes of what is left from an earlier batch.
    fn flush<S: Service<Session = T>>(
        &mut self,
        share: usize,
        cx: &mut Context<'_, S>,
    ) -> io::Result<Next> {
        let Some(output) = self.output.as_mut().filter(|_| self.readiness.writable) else {
            return Ok(Next::Wait);
        };
        let (sent, room) = output.send(&self.socket, share)?;
        cx.budget.spend(sent);
        cx.counters.sent_bytes.add(sent as u64);
        if output.is_empty() {
            self.output = None;
        }
        self.readiness.sent(room);
        self.settle(Progress { consumed: 0, answered: 0, flow: Flow::More }, sent, cx);
        Ok(self.next(cx))
    }

    /// What a connection does that has neither input nor output at hand.
    fn rest<S: Service<Session = T>>(&mut self, cx: &mut Context<'_, S>) -> Next {
        // Everything has been answered and nothing is unread: there is nobody to linger for.
        if self.is_over(cx) && self.input.bytes().is_empty() {
            return Next::Close;
        }
        self.next(cx)
    }

    /// Whether the server ends, and the connection waits for another message.
    fn is_over<S: Service>(&self, cx: &Context<'_, S>) -> bool {
        cx.drain.has_begun() && self.timer.wait() == Wait::Idle && {
            let idle = cx.now.saturating_duration_since(self.timer.since(cx.limits));
            !cx.drain.spares(self.is_new, idle)
        }
    }

    fn next<S: Service>(&self, cx: &Context<'_, S>) -> Next {
        if self.output.is_some() {
            return if self.readiness.writable { Next::Again } else { Next::Wait };
        }
        if self.input.is_busy() {
            return Next::Later;
        }
        if self.input.is_stalled() || self.readiness.readable || self.is_over(cx) {
            Next::Again
        } else {
            Next::Wait
        }
    }

    /// Reads and drops until the peer closes: closing a socket that has unread bytes would
    /// reset the connection and could take the last response with it (RFC 9112 §9.6). The time for
    /// it does not start again with what the peer sends.
    fn linger(&mut self, buffer: &mut [u8]) -> io::Result<Next> {
        if !self.readiness.readable {
            return Ok(Next::Wait);
        }
        match self.socket.receive(buffer, &mut self.readiness.cut)? {
            Transfer::NotReady => {
                self.readiness.drained();
                Ok(Next::Wait)
            }
            Transfer::Starved => {
                self.readiness.starved();
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
    fn settle<S: Service<Session = T>>(
        &mut self,
        progress: Progress,
        sent: usize,
        cx: &Context<'_, S>,
    ) {
        // Whoever has more answers to come than there is room for is still to read.
        let wait = if self.output.is_some() || (self.input.is_stalled() && !self.input.is_busy()) {
            Wait::Send
        } else if self.closing {
            Wait::Linger
        } else if self.input.is_busy() {
            Wait::Memory
        } else {
            cx.service.waits_for(&self.session, !self.input.bytes().is_empty())
        };
        if wait == Wait::Linger && self.timer.wait() != Wait::Linger {
            self.socket.finish();
            // What came meanwhile may have no event of its own left.
            self.readiness.readable = true;
        }
        self.timer.set(wait, progress, sent, cx.now, cx.limits);
    }

    /// Ends a wait that took too long, unless it is a peer's that reads again after all.
    pub(super) fn expire<S: Service<Session = T>>(&mut self, cx: &mut Context<'_, S>) -> Next {
        if self.timer.wait() == Wait::Send && self.takes_more(cx) {
            return self.next(cx);
        }
        self.end_wait(cx)
    }

    /// Ends a wait; a message under way gets the service's last response.
    pub(super) fn end_wait<S: Service<Session = T>>(&mut self, cx: &mut Context<'_, S>) -> Next {
        cx.counters.timeouts.add(1);
        match self.timer.wait() {
            Wait::Head => self.reject(Rejection::HeadTimeout, cx),
            Wait::Body => self.reject(Rejection::BodyTimeout, cx),
            Wait::Send => self.give_up_reader(),
            Wait::Memory => self.reject(Rejection::MemoryTimeout, cx),
            Wait::Idle | Wait::Linger => Next::Close,
        }
    }

    /// Closes on a peer that does not read. What the kernel holds for it goes with the connection, not
    /// minutes later.
    fn give_up_reader(&self) -> Next {
        self.socket.reset_on_close();
        Next::Close
    }

    /// Gives up what is held for the connection, since others need it.
    pub(super) fn shed<S: Service<Session = T>>(&mut self, cx: &mut Context<'_, S>) -> Next {
        cx.counters.shed.add(1);
        match self.timer.wait() {
            Wait::Head | Wait::Body | Wait::Memory => self.reject(Rejection::MemoryLimit, cx),
            Wait::Send => self.give_up_reader(),
            Wait::Idle | Wait::Linger => Next::Close,
        }
    }

    /// Whether a peer that seems not to read has made room, and enough: the event that there is
    /// room comes only when a third of the socket's buffer is free.
    fn takes_more<S: Service<Session = T>>(&mut self, cx: &mut Context<'_, S>) -> bool {
        let deadline = self.timer.deadline();
        self.readiness.writable = true;
        if self.flush(LAST_SHARE_BYTES, cx).is_err() {
            return false;
        }
        // Bytes that went have moved the deadline. Who has taken everything waits for something else.
        self.timer.wait() != Wait::Send || self.timer.is_read_since(deadline)
    }

    /// Sends the service's last response and closes.
    pub(super) fn reject<S: Service<Session = T>>(
        &mut self,
        why: Rejection,
        cx: &mut Context<'_, S>,
    ) -> Next {
        cx.service.reject(&mut self.session, why, cx.output);
        let progress = Progress { consumed: 0, answered: 0, flow: Flow::Close };
        self.respond(progress, cx).unwrap_or(Next::Close)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::super::pace::MinRate;
    use super::*;

    #[test]
    fn who_waits_for_the_server_spends_no_time() {
        const HOUR: Duration = Duration::from_secs(3600);
        let limits = WaitLimits {
            idle: 2 * HOUR,
            head: HOUR,
            body: 2 * HOUR,
            linger: HOUR,
            memory: HOUR,
            rate: MinRate { bytes_per_second: 1 << 10, grace: Duration::from_secs(10) },
            stall: HOUR,
            whole: HOUR,
            whole_grace: HOUR,
        };
        let now = Instant::now();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(Socket::unix(ours.into()), (), now, &limits);
        for wait in [Wait::Send, Wait::Body] {
            let progress = Progress { consumed: 0, answered: 0, flow: Flow::More };
            connection.timer.set(wait, progress, 0, now, &limits);
            connection.readiness = Readiness::new();
            connection.queued = true;
            assert!(!connection.is_overdue(now + HOUR, HOUR), "{wait:?}: the server is late");
            connection.queued = false;
            assert!(connection.is_overdue(now + HOUR, HOUR), "{wait:?}: the peer is late");
        }
    }
}
