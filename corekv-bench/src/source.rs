//! What a connection sends: the next request of its phase, and that request on the wire.

use super::answer::{Request, UNSTAMPED};
use super::context::Context;
use super::generator::{Draw, Generator, Then};
use super::preload::Keys;
use super::rate::Schedule;
use super::trace::Replay;
use super::values::Values;
use super::workload::Workload;

/// What is to be sent in a phase.
#[derive(Debug)]
pub(super) enum Plan {
    /// Nothing.
    Nothing,
    /// Every key of a share is stored once.
    Preload(Keys),
    /// The workload.
    Workload(Quota),
    /// The requests of a file. The key of a request is its number.
    File(Quota),
    /// A trace. The key of a request is its number in this connection's share.
    Trace(Replay),
}

/// How many requests are left to send, and when.
#[derive(Debug)]
pub(super) struct Quota {
    left: u64,
    schedule: Option<Schedule>,
}

impl Quota {
    pub(super) fn new(left: u64, schedule: Option<Schedule>) -> Self {
        Self { left, schedule }
    }

    /// Takes a request, if one is to be sent by now, and says when its latency begins.
    #[inline]
    fn take(&mut self, context: &Context) -> Option<u64> {
        if self.left == 0 || context.now >= context.until {
            return None;
        }
        let start = match &mut self.schedule {
            None => UNSTAMPED,
            Some(schedule) => {
                let due = schedule.due();
                if due > context.now || due >= context.until {
                    return None;
                }
                schedule.advance();
                // A probe that woke late was not kept waiting by the server.
                if context.is_probe && context.last_answer <= due { UNSTAMPED } else { due }
            }
        };
        self.left -= 1;
        Some(start)
    }

    fn next_due(&self) -> Option<u64> {
        self.schedule.as_ref().filter(|_| self.left > 0).map(Schedule::due)
    }

    /// Requests that were due before `end` and not sent.
    fn behind(&self, end: u64) -> u64 {
        self.schedule.as_ref().map_or(0, |schedule| schedule.behind(end).min(self.left))
    }
}

/// Where the requests of one connection come from.
#[derive(Debug)]
pub(super) struct Source {
    /// The number of the connection among all of the run.
    index: usize,
    plan: Plan,
    generator: Generator,
    /// The number of the next request in this phase: connections take turns.
    number: u64,
    /// What a write without a length of its own counts on from.
    last_value: u64,
}

impl Source {
    pub(super) fn new(workload: &Workload, index: usize) -> Self {
        let generator = Generator::new(workload, index);
        Self { index, plan: Plan::Nothing, generator, number: 0, last_value: 0 }
    }

    /// The number of the connection among all of the run.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Begins a phase.
    pub(super) fn begin(&mut self, plan: Plan) {
        self.plan = plan;
        self.number = self.index as u64;
    }

    /// A value was read that is this number.
    #[inline]
    pub(super) fn read(&mut self, value: u64) {
        self.last_value = value;
    }

    /// Whether there is nothing to send in this phase.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.plan, Plan::Nothing)
    }

    /// Whether nothing is left to send.
    pub(super) fn is_over(&self, context: &Context) -> bool {
        match &self.plan {
            Plan::Nothing => true,
            Plan::Preload(keys) => keys.size_hint().0 == 0,
            Plan::Workload(quota) | Plan::File(quota) => {
                quota.left == 0 || context.now >= context.until
            }
            Plan::Trace(replay) => replay.is_over() || context.now >= context.until,
        }
    }

    /// Requests that a connection sends before another one takes its place.
    pub(super) fn requests_per_connection(&self, context: &Context) -> u64 {
        match self.plan {
            Plan::Workload(_) | Plan::File(_) | Plan::Trace(_) => {
                context.common.connection_requests
            }
            Plan::Preload(_) | Plan::Nothing => u64::MAX,
        }
    }

    /// When the schedule wants the next request sent, if there is one.
    pub(super) fn next_due(&self) -> Option<u64> {
        match &self.plan {
            Plan::Workload(quota) | Plan::File(quota) => quota.next_due(),
            Plan::Trace(replay) if !replay.is_over() => Some(replay.due),
            _ => None,
        }
    }

    /// Requests of the schedule before `end` that were never sent.
    pub(super) fn behind(&self, context: &Context, end: u64) -> u64 {
        match &self.plan {
            Plan::Trace(replay) => {
                context.common.trace.as_ref().map_or(0, |trace| replay.behind(trace, end))
            }
            Plan::Workload(quota) | Plan::File(quota) => quota.behind(end),
            _ => 0,
        }
    }

    /// The next request, if one is to be sent by now.
    #[inline]
    pub(super) fn next(&mut self, context: &Context) -> Option<Request> {
        let (start, draw) = if let Plan::Workload(quota) = &mut self.plan {
            (quota.take(context)?, self.generator.next_request(&context.common.growth))
        } else {
            self.next_of_others(context)?
        };
        let Draw { method, key, then } = draw;
        let mut request = Request { start, sent: context.now, key, version: 0, method, then };
        if let Some(ledger) = &context.common.ledger {
            if method.is_store() {
                request.key = ledger.own_key(key, self.index);
                request.version = ledger.issue(request.key);
            } else {
                request.version = ledger.oldest_right(key);
            }
        }
        Some(request)
    }

    /// The next one of what is not the workload.
    #[inline(never)]
    fn next_of_others(&mut self, context: &Context) -> Option<(u64, Draw)> {
        match &mut self.plan {
            Plan::Nothing | Plan::Workload(_) => None,
            Plan::Preload(keys) => {
                let (method, key) = (context.common.store_method, keys.next()?);
                Some((UNSTAMPED, Draw { method, key, then: Then::Nothing }))
            }
            Plan::File(quota) => {
                let list = context.common.list.as_ref()?;
                let start = quota.take(context)?;
                let number = self.number;
                self.number += context.common.connections;
                let method = list.method(number);
                Some((start, Draw { method, key: number, then: Then::Nothing }))
            }
            Plan::Trace(replay) => {
                let trace = context.common.trace.as_ref()?;
                if replay.is_over() || context.now >= context.until {
                    return None;
                }
                let due = replay.due;
                let start = if trace.is_timed() { due } else { UNSTAMPED };
                if trace.is_timed() && (due > context.now || due >= context.until) {
                    return None;
                }
                let index = replay.advance(trace);
                let (method, key) = (trace.entry(self.index, index).method, index as u64);
                Some((start, Draw { method, key, then: Then::Nothing }))
            }
        }
    }

    /// Appends a request as it is sent.
    #[inline]
    pub(super) fn render(&mut self, context: &mut Context, out: &mut Vec<u8>, request: &Request) {
        if let Plan::File(_) | Plan::Trace(_) = self.plan {
            return self.render_recorded(context, out, request);
        }
        let number = self.number;
        self.number += context.common.connections;
        if request.method.is_store() {
            self.render_store(context, out, request, number);
        } else {
            context.common.templates.plain(out, request.method, request.key, number);
        }
    }

    /// A request with a body.
    fn render_store(
        &mut self,
        context: &mut Context,
        out: &mut Vec<u8>,
        request: &Request,
        number: u64,
    ) {
        let Request { method, key, version, .. } = *request;
        let Context { common, scratch, .. } = context;
        let mut digits = itoa::Buffer::new();
        let body = if let Some(ledger) = &common.ledger {
            ledger.render(scratch, &common.filler, key, version);
            scratch.as_slice()
        } else {
            match common.values {
                Values::Counter => {
                    let is_preload = matches!(self.plan, Plan::Preload(_));
                    let next = if is_preload { 0 } else { self.last_value.wrapping_add(1) };
                    digits.format(next).as_bytes()
                }
                values => {
                    let length = self.generator.value_length(values);
                    common.filler.cut(self.generator.below(u64::MAX), length)
                }
            }
        };
        common.templates.store(out, method, key, number, body.len());
        out.extend_from_slice(body);
    }

    /// A request of a trace or of a file.
    #[inline(never)]
    fn render_recorded(&self, context: &Context, out: &mut Vec<u8>, request: &Request) {
        let common = &*context.common;
        match (&self.plan, &common.trace, &common.list) {
            (Plan::Trace(_), Some(trace), _) => {
                let entry = trace.entry(self.index, request.key as usize);
                entry.render(out, &common.templates, &common.filler);
            }
            (Plan::File(_), _, Some(list)) => list.render(out, request.key),
            _ => {}
        }
    }
}
