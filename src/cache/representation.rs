//! What is stored under a key, read as a whole: for requests that ask for more than its bytes.
//!
//! A request with a precondition or a range, a HEAD, and every read of a value that has fields of
//! its own comes here; the others go the short way of `keys.rs`.

use std::ops::Range;

use super::kept_sets::KeptSets;
use super::large_payload::{LargePayload, Outcome, postpones};
use super::settings::CacheHeaders;
use crate::http::{
    ByteRange, Details, EntityTag, Method, Outcome as Verdict, Request, ResponseHead, Responses,
    Status,
};
use crate::store::{Expiry, Fingerprint, Key, LargeValue, Store, Tick, Value};

/// A value, what is kept with it, and how long it lives.
#[derive(Debug)]
pub(super) struct Representation<'k> {
    key: Key<'k>,
    value: Bytes,
    meta: Vec<u8>,
    expiry: Expiry,
}

#[derive(Debug)]
enum Bytes {
    Small(Vec<u8>),
    Large(LargeValue),
}

impl Bytes {
    fn send(self, part: Range<usize>, responses: &mut Responses<'_>) {
        match self {
            Self::Small(bytes) => responses.bytes().extend_from_slice(&bytes[part]),
            Self::Large(value) => {
                let payload = LargePayload { value, start: part.start };
                responses.payload(Box::new(payload), part.len());
            }
        }
    }
}

impl<'k> Representation<'k> {
    /// What is stored under a key.
    pub(super) fn load(store: &Store, key: Key<'k>, now: Tick) -> Option<Self> {
        // A call may see a value torn by a write; it is then called again.
        store.get(key, now, |value| {
            let (mut bytes, mut meta) = (Vec::new(), Vec::new());
            let expiry = match value {
                Value::Small(value) => {
                    value.append_to(&mut bytes);
                    value.expiry()
                }
                Value::SmallWithMeta(kept, value) => {
                    kept.append_to(&mut meta);
                    value.append_to(&mut bytes);
                    value.expiry()
                }
                Value::Large(value) => {
                    let (meta, expiry) = (value.meta().to_vec(), value.expiry());
                    return Self { key, value: Bytes::Large(value), meta, expiry };
                }
            };
            Self { key, value: Bytes::Small(bytes), meta, expiry }
        })
    }

    fn len(&self) -> usize {
        match &self.value {
            Bytes::Small(bytes) => bytes.len(),
            Bytes::Large(value) => value.len(),
        }
    }

    /// Its entity tag.
    pub(super) fn tag(&mut self, sets: &KeptSets) -> EntityTag {
        let fingerprint = match &mut self.value {
            Bytes::Small(bytes) => Fingerprint::of(bytes),
            Bytes::Large(value) => value.fingerprint(self.key),
        };
        EntityTag::new(fingerprint.bits(), sets.lines_of(&self.meta))
    }
}

/// How reads are answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadRules<'a> {
    pub(super) sets: &'a KeptSets,
    pub(super) cache_headers: CacheHeaders,
    /// Whether the answer to every GET tells the tag.
    pub(super) etag: bool,
}

/// Answers a GET or a HEAD with what is stored (RFC 9110 §13.2.2, from step 1 on).
pub(super) fn respond(
    mut representation: Representation<'_>,
    details: &Details,
    request: &Request<'_>,
    rules: ReadRules<'_>,
    now: Tick,
    responses: &mut Responses<'_>,
) -> Outcome {
    let verdict = details.conditions.judge(true, || representation.tag(rules.sets));
    let range = details.range_of(|| representation.tag(rules.sets)).map(|range: ByteRange| {
        let len = representation.len();
        range.within(len as u64).map(|range| range.start as usize..range.end as usize)
    });
    let status = status_of(verdict, range.as_ref());
    let has_body = matches!(status, Status::Ok | Status::PartialContent);
    let len = representation.len();
    let part = range.flatten().unwrap_or(0..len);
    let sends = has_body && request.method != Method::Head && !part.is_empty();
    if let (true, Bytes::Large(value)) = (sends, &representation.value)
        && let Some(why) = postpones(value, responses)
    {
        return Outcome::Break(why);
    }
    let tells_tag = rules.etag || request.method == Method::Head || status != Status::Ok;
    let tag = tells_tag.then(|| representation.tag(rules.sets).render());
    let mut head = responses.head(request.method, request.fields.persistence, status);
    if let Some(tag) = &tag {
        head = head.field("ETag", tag);
    }
    if status == Status::PreconditionFailed {
        head.text(super::refusals::PRECONDITION_FAILED);
        return Outcome::Continue(());
    }
    head = life(head, request.method, representation.expiry, rules.cache_headers, now);
    match status {
        Status::NotModified => head.bodiless(),
        Status::RangeNotSatisfiable => {
            let range = format!("bytes */{len}");
            head.field("Content-Range", range.as_bytes()).text(super::refusals::RANGE);
        }
        _ => {
            if status == Status::PartialContent {
                let range = format!("bytes {}-{}/{len}", part.start, part.end - 1);
                head = head.field("Content-Range", range.as_bytes());
            }
            head.lines(rules.sets.lines_of(&representation.meta)).body(part.len());
            if sends {
                representation.value.send(part, responses);
            }
        }
    }
    Outcome::Continue(())
}

/// By what the conditions say, and whether the range that was asked for, if any, has a byte of the value.
fn status_of(verdict: Verdict, range: Option<&Option<Range<usize>>>) -> Status {
    match (verdict, range) {
        (Verdict::MatchFailed, _) => Status::PreconditionFailed,
        (Verdict::NoneMatchFailed, _) => Status::NotModified,
        (Verdict::Holds, None) => Status::Ok,
        (Verdict::Holds, Some(Some(_))) => Status::PartialContent,
        (Verdict::Holds, Some(None)) => Status::RangeNotSatisfiable,
    }
}

/// Tells how long the value lives: HEAD always does, GET by the settings.
fn life<'r, 'a>(
    head: ResponseHead<'r, 'a>,
    method: Method,
    expiry: Expiry,
    cache_headers: CacheHeaders,
    now: Tick,
) -> ResponseHead<'r, 'a> {
    let left = match cache_headers {
        CacheHeaders::None if method == Method::Head => expiry.seconds_left(now),
        CacheHeaders::None => return head,
        CacheHeaders::NoCache => None,
        CacheHeaders::MaxAge => expiry.seconds_left(now),
    };
    match (left, cache_headers) {
        (Some(seconds), _) => head.field("Cache-Control", format!("max-age={seconds}").as_bytes()),
        (None, CacheHeaders::None) => head,
        (None, _) => head.field("Cache-Control", b"no-cache"),
    }
}
