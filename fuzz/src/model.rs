//! What a connection's bytes must be answered with: the contract over a plain map.

use std::collections::HashMap;

use crate::Statuses;
use crate::access::{Access, access};
use crate::chunked;
use crate::conditions::{self, Verdict};
use crate::head::{self, Framing, Head, MaxAge, Target};
use crate::origin;

/// The settings that answers depend on.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub header_bytes_max: usize,
    pub body_bytes_max: u64,
    pub key_bytes_max: usize,
    pub miss_status: u16,
    /// Whether the reserved names are on the data address.
    pub pages: bool,
    /// Whether requests need a token.
    pub tokens: bool,
    /// Whether the connection came in on a loopback address.
    pub loopback: bool,
}

/// One answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// `100 Continue` goes before it.
    pub interim: bool,
    /// Empty when only the interim response is due.
    pub statuses: Statuses,
    /// The request was a HEAD.
    pub head: bool,
    /// The connection closes after it.
    pub close: bool,
    /// It goes to a browser.
    pub browser: bool,
    /// The version was 1.0, so that a closing response says nothing of it.
    pub old: bool,
    /// The body, where it is known.
    pub body: Option<Vec<u8>>,
}

/// All answers to a connection's bytes.
#[derive(Debug, Default)]
pub struct Answers {
    pub answers: Vec<Answer>,
    /// What may follow them, when the bytes end where a fault may but need not be seen already.
    pub may_follow: Statuses,
    /// What may follow goes to a browser.
    pub browser: bool,
    /// The contract leaves open what follows.
    pub open: bool,
    /// A body that is of no use is announced with Expect and there: had it come later, the
    /// connection would have been closed.
    pub split_matters: bool,
    /// The whole of the connection's requests are answered, and it stays open.
    pub complete: bool,
}

/// What is stored.
#[derive(Debug, Default)]
struct Values {
    map: HashMap<Vec<u8>, Vec<u8>>,
    /// How many keys are counted is not known any more.
    was_purged: bool,
}

/// Answers `input` as a connection's only bytes.
pub fn answer(input: &[u8], limits: &Limits) -> Answers {
    let mut values = Values::default();
    let mut out = Answers::default();
    let mut at = 0;
    loop {
        while input[at..].starts_with(b"\r\n") {
            at += 2;
        }
        let head = match head::read(&input[at..], limits.header_bytes_max) {
            head::Outcome::Incomplete(statuses) => {
                out.may_follow = statuses;
                out.complete = at == input.len();
                return out;
            }
            head::Outcome::Refused(statuses) => {
                out.answers.push(Answer { statuses, close: true, ..Answer::default() });
                return out;
            }
            head::Outcome::Head(head) => head,
        };
        at += head.bytes;
        let Some(mut verdict) = judge(&head, limits) else {
            out.open = true;
            return out;
        };
        verdict.head = head.method == b"HEAD";
        verdict.old = head.minor == 0;
        verdict.browser = !head.browser_fields.is_empty();
        verdict.close = head.closes();
        if matches!(head.framing, Framing::Length(n) if n > limits.body_bytes_max) {
            verdict.statuses = vec![413];
            verdict.close = true;
            verdict.old = false;
            out.answers.push(verdict);
            return out;
        }
        if head.expects_continue && head.has_body() {
            let stores = matches!(&head.method[..], b"PUT" | b"POST");
            let body = read_body(&head, &input[at..], limits);
            if matches!(body, Body::Open) {
                out.open = true;
                return out;
            }
            let arrived = matches!(body, Body::Whole { .. });
            if !verdict.statuses.is_empty() || (!stores && !arrived) {
                if verdict.statuses.is_empty() {
                    act(&head, Vec::new(), limits, &mut values, &mut verdict);
                }
                verdict.close = true;
                out.answers.push(verdict);
                return out;
            }
            out.split_matters |= !stores;
            verdict.interim = stores;
        }
        let body = match read_body(&head, &input[at..], limits) {
            Body::Whole { bytes, data } => {
                at += bytes;
                data
            }
            Body::Refused(statuses) => {
                verdict.statuses = statuses;
                verdict.close = true;
                verdict.old = false;
                out.answers.push(verdict);
                return out;
            }
            Body::Incomplete => {
                verdict.statuses.clear();
                verdict.close = false;
                if verdict.interim {
                    out.answers.push(verdict);
                }
                out.browser = !head.browser_fields.is_empty();
                if head.framing == Framing::Chunked {
                    out.may_follow = vec![400, 413, 431];
                }
                return out;
            }
            Body::Open => {
                verdict.statuses.clear();
                out.answers.push(verdict);
                out.open = true;
                return out;
            }
        };
        if verdict.statuses.is_empty() {
            act(&head, body, limits, &mut values, &mut verdict);
        }
        let close = verdict.close;
        out.answers.push(verdict);
        if close {
            return out;
        }
    }
}

enum Body {
    Whole { bytes: usize, data: Vec<u8> },
    Incomplete,
    Refused(Statuses),
    Open,
}

fn read_body(head: &Head, input: &[u8], limits: &Limits) -> Body {
    match head.framing {
        Framing::Length(n) => match input.get(..n as usize) {
            Some(data) => Body::Whole { bytes: data.len(), data: data.to_vec() },
            None => Body::Incomplete,
        },
        Framing::Chunked => {
            match chunked::read(input, limits.body_bytes_max, limits.header_bytes_max) {
                chunked::Outcome::Complete { consumed, data } => {
                    Body::Whole { bytes: consumed, data }
                }
                chunked::Outcome::Incomplete(_) => Body::Incomplete,
                chunked::Outcome::Refused(statuses) => Body::Refused(statuses),
                chunked::Outcome::Unsure => Body::Open,
            }
        }
    }
}

const KNOWN: [&[u8]; 9] =
    [b"CONNECT", b"TRACE", b"PATCH", b"COPY", b"LOCK", b"MKCOL", b"MOVE", b"PROPPATCH", b"UNLOCK"];
const HANDLED: [&[u8]; 8] =
    [b"GET", b"HEAD", b"PUT", b"POST", b"DELETE", b"OPTIONS", b"PROPFIND", b"PURGE"];

fn is_page(key: &[u8], limits: &Limits) -> bool {
    limits.pages && (matches!(key, b"" | b"size" | b"healthz" | b"metrics") || is_dashboard(key))
}

fn is_dashboard(key: &[u8]) -> bool {
    matches!(key, b"dashboard" | b"dashboard/history" | b"dashboard/now")
}

/// The refusals that the head deserves. `None` if the contract leaves it open.
fn judge(head: &Head, limits: &Limits) -> Option<Answer> {
    let mut statuses = Vec::new();
    let method = &head.method[..];
    let host = head.host.as_deref().unwrap_or_default();
    if limits.loopback && !limits.tokens && origin::is_another_host(host) {
        return Some(Answer { statuses: vec![421], ..Answer::default() });
    }
    if origin::is_foreign(head) {
        return Some(Answer { statuses: vec![403], ..Answer::default() });
    }
    let access =
        if limits.tokens { access(head.authorization.as_deref()) } else { Some(Access::ALL) };
    let key = match &head.target {
        Target::Path(path) => decode(path),
        _ => None,
    };
    let health = limits.pages && key.as_deref() == Some(b"healthz");
    let purges = method == b"PURGE"
        && limits.pages
        && key.as_ref().is_some_and(|key| key.is_empty() || key.ends_with(b"/"));
    match (access, &key) {
        (None, _) if !health => statuses.push(401),
        (None, _) | (_, None) => {}
        (Some(access), Some(key)) => {
            let writes = matches!(method, b"PUT" | b"POST" | b"DELETE" | b"PURGE");
            let is_use = writes || matches!(method, b"GET" | b"HEAD");
            let is_limited = access.prefixes.is_some();
            let is_elsewhere = if is_page(key, limits) { is_limited } else { !access.covers(key) };
            if writes && !access.writes || is_use && is_elsewhere && !health || purges && is_limited
            {
                statuses.push(403);
            }
        }
    }
    // Nothing is ever found, whatever the path is.
    if method == b"PROPFIND" {
        return Some(Answer { statuses, ..Answer::default() });
    }
    if KNOWN.contains(&method) {
        statuses.push(405);
    } else if !HANDLED.contains(&method) {
        statuses.push(501);
    }
    if head.target == Target::Authority {
        statuses.push(405);
    }
    if let Target::Path(path) = &head.target {
        match decode(path) {
            None => statuses.push(400),
            // Its fields are its own, and what it shows depends on time.
            Some(key) if limits.pages && is_dashboard(&key) => return None,
            Some(_) if purges => {}
            Some(key) if is_page(&key, limits) => {
                if !matches!(method, b"GET" | b"HEAD" | b"OPTIONS") {
                    statuses.push(405);
                }
            }
            Some(key) if key.is_empty() => statuses.push(400),
            Some(key) if key.len() > limits.key_bytes_max => statuses.push(414),
            Some(_) => {}
        }
    }
    if method == b"PURGE" && !purges {
        statuses.push(405);
    }
    let is_key = matches!(&head.target, Target::Path(path)
        if decode(path).is_some_and(|key| !is_page(&key, limits)));
    let heeds = matches!(method, b"GET" | b"HEAD" | b"PUT" | b"POST" | b"DELETE");
    if is_key && heeds && conditions::verdict(head, None) == Verdict::Malformed {
        statuses.push(400);
    }
    if matches!(method, b"PUT" | b"POST") {
        if head.digest {
            // What digests are right is left to the tests.
            return None;
        }
        if head.part {
            statuses.push(400);
        }
        if head.max_age == MaxAge::Malformed {
            statuses.push(400);
        }
    }
    Some(Answer { statuses, ..Answer::default() })
}

/// Does what the request asks for.
fn act(head: &Head, body: Vec<u8>, limits: &Limits, values: &mut Values, answer: &mut Answer) {
    let Values { map: values, was_purged } = values;
    let key = match &head.target {
        Target::Path(path) => decode(path).unwrap_or_default(),
        _ => Vec::new(),
    };
    let mut body_out = Some(Vec::new());
    let status = match &head.method[..] {
        b"OPTIONS" => 204,
        b"GET" | b"HEAD" if is_page(&key, limits) => {
            body_out = match &key[..] {
                b"size" if *was_purged => None,
                b"size" => Some(values.len().to_string().into_bytes()),
                b"healthz" => Some(b"ok".to_vec()),
                _ => None,
            };
            200
        }
        b"GET" | b"HEAD" => match values.get(&key) {
            Some(value) => {
                let (status, body) = read(head, value);
                body_out = body;
                status
            }
            None => limits.miss_status,
        },
        b"PUT" | b"POST" => {
            let tag = values.get(&key).map(|value| tag(value));
            match conditions::verdict(head, tag.as_deref()) {
                Verdict::Proceed => match values.insert(key, body) {
                    Some(_) => 204,
                    None => 201,
                },
                _ => {
                    body_out = None;
                    412
                }
            }
        }
        b"PURGE" => {
            *was_purged = true;
            values.retain(|other, _| !other.starts_with(&key));
            204
        }
        b"DELETE" => match values.get(&key).map(|value| tag(value)) {
            Some(tag) if conditions::verdict(head, Some(&tag)) != Verdict::Proceed => {
                body_out = None;
                412
            }
            Some(_) => {
                values.remove(&key);
                204
            }
            None => 404,
        },
        _ => 404,
    };
    answer.statuses = vec![status];
    answer.body = body_out;
}

/// The entity tag of a value: XXH3 with 128 bits.
fn tag(value: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(value))
}

/// The status and the body, where it is known, of a read of what is stored.
fn read(head: &Head, value: &[u8]) -> (u16, Option<Vec<u8>>) {
    let tag = tag(value);
    match conditions::verdict(head, Some(&tag)) {
        Verdict::Proceed | Verdict::Malformed => {}
        Verdict::MatchFailed => return (412, None),
        Verdict::NoneMatchFailed => return (304, Some(Vec::new())),
    }
    if head.method == b"HEAD" {
        return (200, Some(Vec::new()));
    }
    match conditions::part(head, value.len(), &tag) {
        None => (200, Some(value.to_vec())),
        Some(Some(part)) => (206, Some(value[part].to_vec())),
        Some(None) => (416, None),
    }
}

/// Percent-decoding (RFC 3986 §2.1).
fn decode(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < path.len() {
        if path[at] == b'%' {
            let digits = path.get(at + 1..at + 3)?;
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            at += 3;
        } else {
            out.push(path[at]);
            at += 1;
        }
    }
    Some(out)
}
