//! What an answer says about its request: a hit, a miss, a lost value, a wrong one.

use super::context::Context;
use super::generator::Then;
use super::method::Method;

/// The time of a request that is to be stamped when it is sent.
pub(super) const UNSTAMPED: u64 = 0;

/// A request that the server owes an answer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    /// When its latency begins: when it was sent, or was due.
    pub(super) start: u64,
    /// When it was sent first.
    pub(super) sent: u64,
    /// The key; of a request from a file, its number.
    pub(super) key: u64,
    /// Under `--verify`: what a write writes, or the oldest version that a read may see.
    pub(super) version: u32,
    pub(super) method: Method,
    pub(super) then: Then,
}

/// What an answer told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    /// The number that was read.
    pub(super) value: Option<u64>,
    /// Whether a read found a value.
    pub(super) is_hit: bool,
}

/// Counts an answer, and checks it if it is a value. The compiler would not inline it, since it is called
/// from two places, one of which is rare.
#[inline(always)]
pub(super) fn account(
    context: &mut Context,
    request: &Request,
    status: u16,
    bytes: usize,
    body: &[u8],
) -> Told {
    let Request { start, key, version, method, .. } = *request;
    context.recorder.answered(method, start, bytes, status, context.now);
    if method.is_read() {
        let has_value = method == Method::Head || !body.is_empty();
        let is_hit = matches!(status, 200..300)
            && status != 204
            && (has_value || context.common.values.may_be_empty());
        if !is_hit {
            missed(context, request);
        } else {
            context.recorder.methods[method as usize].hits += 1;
            if method == Method::Get {
                if context.common.ledger.is_some() {
                    verify(context, request, body);
                }
                return Told { value: leading_number(body), is_hit };
            }
        }
    } else if let Some(ledger) = &context.common.ledger {
        if matches!(status, 200..300) {
            ledger.acknowledge(key, version);
        } else {
            ledger.give_up(key);
        }
    }
    Told { value: None, is_hit: false }
}

/// Does what was to be done after an answer. Returns the write that it leads to, if it does.
#[cold]
pub(super) fn follow_up(
    context: &Context,
    request: &Request,
    status: u16,
    is_hit: bool,
) -> Option<Request> {
    let is_answer = matches!(status, 200..300 | 404);
    let writes = match request.then {
        Then::Nothing => false,
        Then::Write => is_answer,
        Then::WriteIfMissed => is_answer && !is_hit,
        Then::Announce => {
            if is_answer {
                context.common.growth.stored(request.key);
            }
            false
        }
    };
    let (start, method, then) = (UNSTAMPED, Method::Put, Then::Nothing);
    writes.then_some(Request { start, method, then, ..*request })
}

#[cold]
fn missed(context: &mut Context, request: &Request) {
    context.recorder.methods[request.method as usize].misses += 1;
    let was_there = context.common.ledger.is_some() && request.version > 0;
    if request.key < context.common.keys_that_must_hit || was_there {
        context.recorder.lost += 1;
    }
}

#[inline(never)]
fn verify(context: &mut Context, request: &Request, body: &[u8]) {
    let Context { common, scratch, recorder, .. } = context;
    let Some(ledger) = &common.ledger else { return };
    let checked = ledger.check(scratch, &common.filler, request.key, request.version, body);
    if let Err(wrong) = checked {
        recorder.violations.add(request.key, wrong, body);
    }
}

/// The decimal number that a value is, for the original's "last value read plus one".
#[inline]
fn leading_number(body: &[u8]) -> Option<u64> {
    // 19 digits always fit into 64 bits.
    if body.is_empty() || body.len() > 19 {
        return None;
    }
    body.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}
