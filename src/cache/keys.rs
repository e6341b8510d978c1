//! The keys: GET, HEAD, PUT, POST and DELETE of them.

use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;

use super::counters::Counters;
use super::kept_sets::KeptSets;
use super::large_payload::{LargePayload, Outcome, postpones};
use super::refusals::{DIGEST_WRONG, FULL, PRECONDITION_FAILED};
use super::representation::{self, ReadRules, Representation};
use super::settings::{CacheHeaders, MissStatus, Settings};
use super::terms::{self, Terms};
use crate::http::{
    Conditions, Details, EntityTag, Method, Persistence, PlainWrite, Postponed, Refusal, Request,
    Responses, Status,
};
use crate::store::{
    Expiry, Fingerprint, Full, Key, PlainValue, Store, Stored, Tick, Upload, Value, Written,
};

/// The store, as requests read and write it.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) store: Arc<Store>,
    counters: Arc<Counters>,
    sets: Arc<KeptSets>,
    settings: Settings,
    /// Whether every GET, and every PUT and POST, says or asks for more than the value's bytes.
    reads_in_full: bool,
    writes_in_full: bool,
    /// The status of a write to an absent key, and of one that replaces a value.
    store_statuses: [Status; 2],
}

/// Who is answered, and how the connection goes on.
pub(super) type Recipient = (Method, Persistence);

impl Keys {
    /// Keys whose hits and misses are counted in `counters`.
    pub(super) fn new(
        store: Arc<Store>,
        counters: Arc<Counters>,
        sets: Arc<KeptSets>,
        settings: Settings,
    ) -> Self {
        let reads_in_full = settings.etag || settings.cache_headers != CacheHeaders::None;
        let writes_in_full = settings.etag || !settings.cas_prefixes.is_empty();
        let store_statuses = settings.store_status.statuses();
        Self { store, counters, sets, settings, reads_in_full, writes_in_full, store_statuses }
    }

    /// Answers a plain GET of a small value that is still where it was seen. False, and nothing done: it is
    /// not there.
    #[inline(always)] // Into the loop over a batch.
    pub(super) fn read_in_place(
        &self,
        key: Key<'_>,
        now: Tick,
        responses: &mut Responses<'_>,
    ) -> bool {
        if self.reads_in_full {
            return false;
        }
        let Some(read) = self.store.optimistic_read(key, now) else { return false };
        let start = responses.bytes().len();
        match read.value() {
            PlainValue::Word(word, length) => responses.ok_word(*word, *length),
            PlainValue::Longer(_) if responses.is_long() => return false,
            PlainValue::Longer(value) => {
                responses.ok_head(Persistence::Default, value.len());
                value.append_long_to(responses.bytes());
            }
        }
        if !read.validate() {
            responses.bytes().truncate(start);
            return false;
        }
        self.counters.hits.add(1);
        responses.count(Method::Get, Status::Ok);
        true
    }

    /// Answers GET or HEAD.
    pub(super) fn read(
        &self,
        key: Key<'_>,
        request: &Request<'_>,
        now: Tick,
        responses: &mut Responses<'_>,
    ) -> Outcome {
        let is_plain = request.method == Method::Get && request.fields.extras.is_empty();
        if self.reads_in_full || !is_plain {
            return self.read_in_full(key, request, now, responses);
        }
        let start = responses.bytes().len();
        let (mut large, mut is_postponed) = (None, false);
        let hit = self.store.get(key, now, |value| {
            // An earlier call may have been torn by a write.
            responses.bytes().truncate(start);
            is_postponed = false;
            match value {
                Value::Small(_) if responses.is_long() => is_postponed = true,
                Value::Small(value) => {
                    responses.ok_head(request.fields.persistence, value.len());
                    value.append_to(responses.bytes());
                }
                Value::SmallWithMeta(..) => return false,
                Value::Large(value) if !value.meta().is_empty() => return false,
                Value::Large(value) => {
                    responses.ok_head(request.fields.persistence, value.len());
                    large = Some(value);
                }
            }
            true
        });
        let Some(is_plain) = hit else {
            responses.bytes().truncate(start);
            self.miss(request, responses);
            return Continue(());
        };
        if !is_plain {
            responses.bytes().truncate(start);
            return self.read_in_full(key, request, now, responses);
        }
        if is_postponed {
            return Break(Postponed::Full);
        }
        if let Some(why) = large.as_ref().and_then(|large| postpones(large, responses)) {
            responses.bytes().truncate(start);
            return Break(why);
        }
        self.counters.hits.add(1);
        responses.count(request.method, Status::Ok);
        if let Some(large) = large {
            let length = large.len();
            responses.payload(Box::new(LargePayload { value: large, start: 0 }), length);
        }
        Continue(())
    }

    /// Answers a read that asks for, or is to be told, more than the value's bytes.
    #[inline(never)]
    fn read_in_full(
        &self,
        key: Key<'_>,
        request: &Request<'_>,
        now: Tick,
        responses: &mut Responses<'_>,
    ) -> Outcome {
        let persistence = request.fields.persistence;
        let details = match request.details(&self.settings.kept) {
            Ok(details) => details,
            Err(refusal) => {
                responses.refuse(request.method, persistence, refusal);
                return Continue(());
            }
        };
        let Some(representation) = Representation::load(&self.store, key, now) else {
            // Whatever the preconditions are: without them the answer were no other (RFC 9110
            // §13.2.1).
            self.miss(request, responses);
            return Continue(());
        };
        let Settings { cache_headers, etag, .. } = self.settings;
        let rules = ReadRules { sets: &self.sets, cache_headers, etag };
        representation::respond(representation, &details, request, rules, now, responses)?;
        self.counters.hits.add(1);
        Continue(())
    }

    fn miss(&self, request: &Request<'_>, responses: &mut Responses<'_>) {
        self.counters.misses.add(1);
        let status = match self.settings.miss_status {
            MissStatus::NotFound => Status::NotFound,
            MissStatus::NoContent => Status::NoContent,
            MissStatus::Ok => Status::Ok,
        };
        if self.settings.cache_headers == CacheHeaders::None {
            return responses.empty(request.method, request.fields.persistence, status);
        }
        let head = responses.head(request.method, request.fields.persistence, status);
        let head = head.field("Cache-Control", b"no-cache");
        if status.is_bodiless() { head.bodiless() } else { head.body(0) }
    }

    /// Stores a body that came as a whole, unless more than that is asked of all writes. False: it is.
    #[inline(always)] // Into the loop over a batch.
    pub(super) fn write_plainly(
        &self,
        key: Key<'_>,
        write: PlainWrite<'_>,
        now: Tick,
        responses: &mut Responses<'_>,
    ) -> bool {
        if self.writes_in_full {
            return false;
        }
        let PlainWrite { method, body, max_age, .. } = write;
        let result = self.store.put(key, body, self.expiry(max_age, now), now);
        self.respond(result, (method, Persistence::Default), responses);
        true
    }

    /// Stores a body that came as a whole.
    pub(super) fn write(
        &self,
        key: Key<'_>,
        request: &Request<'_>,
        now: Tick,
        responses: &mut Responses<'_>,
    ) {
        let expiry = self.expiry(request.fields.max_age, now);
        let recipient = (request.method, request.fields.persistence);
        if self.writes_in_full || !request.fields.extras.is_empty() {
            return self.write_in_full(key, request, (expiry, now), responses);
        }
        let result = self.store.put(key, request.body, expiry, now);
        self.respond(result, recipient, responses);
    }

    /// The terms of a write; none if it goes without.
    pub(super) fn terms(&self, request: &Request<'_>) -> Result<Option<Terms>, Refusal> {
        if !self.writes_in_full && request.fields.extras.is_empty() {
            return Ok(None);
        }
        Terms::of(request, &self.settings, &self.sets).map(Some)
    }

    /// Stores a body that came as a whole, on the request's terms.
    #[inline(never)]
    fn write_in_full(
        &self,
        key: Key<'_>,
        request: &Request<'_>,
        (expiry, now): (Expiry, Tick),
        responses: &mut Responses<'_>,
    ) {
        let recipient = (request.method, request.fields.persistence);
        let (method, persistence) = recipient;
        let terms = match Terms::of(request, &self.settings, &self.sets) {
            Ok(terms) => terms,
            Err(refusal) => return responses.refuse(method, persistence, refusal),
        };
        if !terms.is_met_by(|| terms::sha256(request.body)) {
            return responses.refuse(method, persistence, DIGEST_WRONG);
        }
        self.settle(key, &terms.conditions, now);
        let hold = |stored: Option<&Stored<'_>>| terms.hold_for(stored, &self.sets);
        let result = self.store.put_if(key, &terms.meta, request.body, expiry, now, hold);
        let tag = terms.tells_tag.then(|| terms.tag(Fingerprint::of(request.body)));
        self.respond_in_full(result, tag, recipient, (key, now), responses);
    }

    /// Has the fingerprint of a large value known before it is asked for under a lock, which would be
    /// held for as long as working it out takes.
    fn settle(&self, key: Key<'_>, conditions: &Conditions, now: Tick) {
        if !conditions.name_tags() {
            return;
        }
        self.store.get(key, now, |value| {
            if let Value::Large(mut value) = value {
                value.fingerprint(key);
            }
        });
    }

    /// Stores a body that came in pieces, for a request of this method and persistence.
    pub(super) fn write_upload(
        &self,
        key: Key<'_>,
        upload: Upload,
        (max_age, now): (Option<u32>, Tick),
        recipient: Recipient,
        responses: &mut Responses<'_>,
    ) {
        let result = self.store.put_upload(key, upload, self.expiry(max_age, now), now);
        self.respond(result, recipient, responses);
    }

    /// The same, on terms that the digest of the body was found to meet.
    pub(super) fn write_upload_in_full(
        &self,
        key: Key<'_>,
        upload: Upload,
        terms: &Terms,
        (max_age, now): (Option<u32>, Tick),
        recipient: Recipient,
        responses: &mut Responses<'_>,
    ) {
        self.settle(key, &terms.conditions, now);
        let fingerprint = upload.fingerprint().filter(|_| terms.tells_tag);
        let hold = |stored: Option<&Stored<'_>>| terms.hold_for(stored, &self.sets);
        let expiry = self.expiry(max_age, now);
        let result = self.store.put_upload_if(key, upload, expiry, now, hold);
        let tag = fingerprint.map(|fingerprint| terms.tag(fingerprint));
        self.respond_in_full(result, tag, recipient, (key, now), responses);
    }

    /// Removes a key.
    pub(super) fn delete(
        &self,
        key: Key<'_>,
        request: &Request<'_>,
        now: Tick,
        responses: &mut Responses<'_>,
    ) {
        let recipient = (request.method, request.fields.persistence);
        let removed = if request.fields.extras.is_empty() {
            Some(self.store.remove(key, now))
        } else {
            match request.details(&self.settings.kept) {
                Err(refusal) => return responses.refuse(recipient.0, recipient.1, refusal),
                Ok(Details { conditions, .. }) => {
                    self.settle(key, &conditions, now);
                    let hold =
                        |stored: &Stored<'_>| terms::holds(&conditions, Some(stored), &self.sets);
                    self.store.remove_if(key, now, hold)
                }
            }
        };
        match removed {
            Some(true) => responses.empty(recipient.0, recipient.1, Status::NoContent),
            Some(false) => responses.empty(recipient.0, recipient.1, Status::NotFound),
            None => self.precondition_failed(recipient, (key, now), responses),
        }
    }

    /// Answers a write that was not carried out, and tells what is stored.
    fn precondition_failed(
        &self,
        (method, persistence): Recipient,
        (key, now): (Key<'_>, Tick),
        responses: &mut Responses<'_>,
    ) {
        let stored = Representation::load(&self.store, key, now);
        let tag = stored.map(|mut stored| stored.tag(&self.sets).render());
        let mut head = responses.head(method, persistence, Status::PreconditionFailed);
        if let Some(tag) = &tag {
            head = head.field("ETag", tag);
        }
        head.text(PRECONDITION_FAILED);
    }

    /// Answers a write.
    #[inline(always)]
    fn respond(
        &self,
        result: Result<Written, Full>,
        (method, persistence): Recipient,
        responses: &mut Responses<'_>,
    ) {
        let [created, replaced] = self.store_statuses;
        let status = match result {
            Ok(Written::Created) => created,
            Ok(Written::Replaced) => replaced,
            Err(Full) => return responses.refuse(method, persistence, FULL),
        };
        responses.empty(method, persistence, status);
    }

    /// Answers a write that had terms, with the tag of what was stored if it is to be told.
    fn respond_in_full(
        &self,
        result: Result<Option<Written>, Full>,
        tag: Option<EntityTag>,
        recipient: Recipient,
        stored: (Key<'_>, Tick),
        responses: &mut Responses<'_>,
    ) {
        let (method, persistence) = recipient;
        let [created, replaced] = self.store_statuses;
        let status = match result {
            Ok(Some(Written::Created)) => created,
            Ok(Some(Written::Replaced)) => replaced,
            Ok(None) => return self.precondition_failed(recipient, stored, responses),
            Err(Full) => return responses.refuse(method, persistence, FULL),
        };
        let Some(tag) = tag else { return responses.empty(method, persistence, status) };
        let head = responses.head(method, persistence, status).field("ETag", &tag.render());
        if status.is_bodiless() { head.bodiless() } else { head.body(0) }
    }

    /// When a value that is written now ends.
    #[inline]
    fn expiry(&self, max_age: Option<u32>, now: Tick) -> Expiry {
        match max_age.or(self.settings.ttl_seconds) {
            Some(seconds) => Expiry::after(now, seconds),
            None => Expiry::NEVER,
        }
    }
}
