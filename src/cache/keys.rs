//! The keys: GET, HEAD, PUT, POST and DELETE of them.

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;

use super::counters::Counters;
use super::refusals::FULL;
use super::settings::{MissStatus, Settings};
use crate::http::{Method, Persistence, Postponed, Request, Responses, Status};
use crate::net::Payload;
use crate::store::{
    Expiry, Full, Key, LargeValue, SmallValue, Store, Tick, Upload, Value, Written,
};

/// What is to become of a batch after a request: its rest may have to wait.
pub(super) type Outcome = ControlFlow<Postponed>;

/// Sends a large value from where the store has it.
#[derive(Debug)]
struct LargePayload(LargeValue);

impl Payload for LargePayload {
    fn pieces<'a>(&'a self, from: usize, each: &mut dyn FnMut(&'a [u8]) -> bool) {
        self.0.pieces(from, each);
    }
}

/// The store, as requests read and write it.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) store: Arc<Store>,
    counters: Arc<Counters>,
    miss_status: MissStatus,
    ttl_seconds: Option<u32>,
}

impl Keys {
    /// Keys whose hits and misses are counted in `counters`.
    pub(super) fn new(store: Arc<Store>, counters: Arc<Counters>, settings: &Settings) -> Self {
        let Settings { miss_status, ttl_seconds, .. } = *settings;
        Self { store, counters, miss_status, ttl_seconds }
    }

    /// Answers GET or HEAD.
    #[inline]
    pub(super) fn read(
        &self,
        key: Key<'_>,
        request: &Request<'_>,
        now: Tick,
        responses: &mut Responses<'_>,
    ) -> Outcome {
        let start = responses.bytes().len();
        if let Some(read) = self.store.optimistic_read(key, now) {
            render(read.value(), request, responses);
            if read.validate() {
                self.counters.hits.add(1);
                responses.count(request.method, Status::Ok);
                return Continue(());
            }
            responses.bytes().truncate(start);
        }
        self.search(key, request, now, responses)
    }

    /// Answers a read of a key that is not where it was seen, or not small, or not there.
    #[inline(never)]
    fn search(
        &self,
        key: Key<'_>,
        request: &Request<'_>,
        now: Tick,
        responses: &mut Responses<'_>,
    ) -> Outcome {
        let start = responses.bytes().len();
        let mut large = None;
        let hit = self.store.get(key, now, |value| {
            // An earlier call may have been torn by a write.
            responses.bytes().truncate(start);
            match value {
                Value::Small(value) => render(&value, request, responses),
                Value::Large(value) => {
                    responses.ok_head(request.fields.persistence, value.len());
                    large = Some(value);
                }
            }
        });
        if hit.is_none() {
            responses.bytes().truncate(start);
            self.miss(request, responses);
            return Continue(());
        }
        let large = large.filter(|_| request.method != Method::Head);
        if let Some(why) = large.as_ref().and_then(|large| postpones(large, responses)) {
            responses.bytes().truncate(start);
            return Break(why);
        }
        self.counters.hits.add(1);
        responses.count(request.method, Status::Ok);
        if let Some(large) = large {
            let length = large.len();
            responses.payload(Box::new(LargePayload(large)), length);
        }
        Continue(())
    }

    fn miss(&self, request: &Request<'_>, responses: &mut Responses<'_>) {
        self.counters.misses.add(1);
        let status = match self.miss_status {
            MissStatus::NotFound => Status::NotFound,
            MissStatus::NoContent => Status::NoContent,
            MissStatus::Ok => Status::Ok,
        };
        responses.empty(request.method, request.fields.persistence, status);
    }

    /// Stores a body that came as a whole.
    #[inline]
    pub(super) fn write(
        &self,
        key: Key<'_>,
        request: &Request<'_>,
        now: Tick,
        responses: &mut Responses<'_>,
    ) {
        let expiry = self.expiry(request.fields.max_age, now);
        let result = self.store.put(key, request.body, expiry, now);
        respond(result, request.method, request.fields.persistence, responses);
    }

    /// Stores a body that came in pieces, for a request of this method and persistence.
    pub(super) fn write_upload(
        &self,
        key: Key<'_>,
        upload: Upload,
        max_age: Option<u32>,
        now: Tick,
        (method, persistence): (Method, Persistence),
        responses: &mut Responses<'_>,
    ) {
        let expiry = self.expiry(max_age, now);
        let result = self.store.put_upload(key, upload, expiry, now);
        respond(result, method, persistence, responses);
    }

    /// Removes a key.
    pub(super) fn delete(
        &self,
        key: Key<'_>,
        request: &Request<'_>,
        now: Tick,
        responses: &mut Responses<'_>,
    ) {
        let removed = self.store.remove(key, now);
        let status = if removed { Status::NoContent } else { Status::NotFound };
        responses.empty(request.method, request.fields.persistence, status);
    }

    /// When a value that is written now ends.
    #[inline]
    fn expiry(&self, max_age: Option<u32>, now: Tick) -> Expiry {
        match max_age.or(self.ttl_seconds) {
            Some(seconds) => Expiry::after(now, seconds),
            None => Expiry::NEVER,
        }
    }
}

/// Renders a small value, which the answer to HEAD goes without.
#[inline]
fn render(value: &SmallValue<'_>, request: &Request<'_>, responses: &mut Responses<'_>) {
    responses.ok_head(request.fields.persistence, value.len());
    if request.method != Method::Head {
        value.append_to(responses.bytes());
    }
}

/// Whether a large value has to wait until others have been sent, of this connection or of any.
fn postpones(value: &LargeValue, responses: &Responses<'_>) -> Option<Postponed> {
    if responses.is_full() {
        return Some(Postponed::Full);
    }
    value.exceeds_share().then_some(Postponed::Busy)
}

/// Answers a write.
#[inline]
fn respond(
    result: Result<Written, Full>,
    method: Method,
    persistence: Persistence,
    responses: &mut Responses<'_>,
) {
    match result {
        Ok(Written::Created) => responses.empty(method, persistence, Status::Created),
        Ok(Written::Replaced) => responses.empty(method, persistence, Status::NoContent),
        Err(Full) => responses.refuse(method, persistence, FULL),
    }
}
