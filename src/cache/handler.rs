//! The handler of an event loop: requests in, responses out.

use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;
use std::time::Instant;

use super::counters::Counters;
use super::dashboard::History;
use super::kept_sets::KeptSets;
use super::key_lengths::KeyLengths;
use super::keys::Keys;
use super::large_payload::Outcome;
use super::lookup::Lookup;
use super::metrics::Metrics;
use super::pages::Pages;
use super::pending::Pending;
use super::refusals::{
    DIGEST_WRONG, ELSEWHERE, FULL, KEY_TOO_LONG, MALFORMED_MAX_AGE, NOT_ADMINISTRATOR,
    NOT_IMPLEMENTED, NOT_UNLIMITED, PARTIAL_VALUE, READ_ONLY, UNAUTHORIZED,
};
use super::route::{Page, Route, Routes};
use super::settings::Settings;
use super::turborepo;
use crate::http::access::Access;
use crate::http::{
    Framing, Handler, Method, Persistence, Postponed, Refusal, Request, RequestView, Requests,
    Responses, Status, Target, Unstorable,
};
use crate::net::Class;
use crate::store::{Busy, Clock, Full, Key, Tick};

/// Answers one event loop's requests from the store that all loops share.
#[derive(Debug)]
pub struct Cache {
    keys: Keys,
    pages: Pages,
    settings: Settings,
    clock: Clock,
    /// The partition that this loop looks after.
    partition: usize,
    key_lengths: KeyLengths,
    counters: Arc<Counters>,
    /// Refusals of the store when it was last asked for them.
    refusals_seen: u64,
}

impl Cache {
    /// The handler of the loop that looks after `partition`.
    #[must_use]
    pub fn new(
        partition: usize,
        clock: Clock,
        settings: Settings,
        sets: Arc<KeptSets>,
        metrics: Arc<Metrics>,
        history: Arc<History>,
    ) -> Self {
        let (store, counters) = (Arc::clone(&metrics.store), Arc::clone(&metrics.cache[partition]));
        let keys = Keys::new(store, Arc::clone(&counters), sets, settings.clone());
        let pages = Pages::new(metrics, history);
        let key_lengths = KeyLengths::of(&settings);
        let refusals_seen = 0;
        Self { keys, pages, settings, clock, partition, key_lengths, counters, refusals_seen }
    }

    #[inline(always)] // Into the loop over a connection's input.
    fn route(&self, request: &Request<'_>) -> Route {
        if self.key_lengths.tell(request) {
            return Route::Key(self.keys.store.hash(request.path));
        }
        self.find_route(request.class, request.target, request.path)
    }

    /// The same for all requests. Takes what it needs of one: what a call has a reference to has to lie in
    /// memory, also where it is not called.
    #[inline(never)]
    fn find_route(&self, class: Class, target: Target, path: &[u8]) -> Route {
        if self.settings.turborepo
            && let Some(route) = turborepo::find(class, path)
        {
            return route;
        }
        let Settings { routes, key_bytes_max, .. } = self.settings;
        routes.find(class, target, path).unwrap_or_else(|| {
            if path.len() > key_bytes_max {
                Route::Refused(&KEY_TOO_LONG)
            } else {
                Route::Key(self.keys.store.hash(path))
            }
        })
    }

    /// Whether the request is refused before its body is looked at.
    fn check(&self, request: &Request<'_>, route: Route) -> Result<(), &'static Refusal> {
        let routes = self.settings.routes;
        if request.fields.access != Access::WriteAll {
            check_access(request, route, routes)?;
        }
        check_method(request, route, routes)?;
        match (route, request.method, request.fields.unstorable) {
            // They store nothing.
            (Route::TurborepoEvents, ..) => Ok(()),
            (_, Method::Put | Method::Post, Some(Unstorable::MaxAge)) => Err(&MALFORMED_MAX_AGE),
            (_, Method::Put | Method::Post, Some(Unstorable::Part)) => Err(&PARTIAL_VALUE),
            _ => Ok(()),
        }
    }

    /// Answers a request of the commonest kind. False, and nothing done: it is another.
    #[inline(always)] // Into the loop over a batch.
    fn answer_plain(
        &mut self,
        view: RequestView<'_>,
        lookup: &Lookup,
        now: Tick,
        responses: &mut Responses<'_>,
    ) -> bool {
        let Route::Key(hash) = lookup.route else { return false };
        if let Some(path) = view.plain_get() {
            let key = Key::new(path, hash).with_hint(&lookup.hint);
            self.keys.read_in_place(key, now, responses)
        } else if let Some(write) = view.plain_write() {
            let key = Key::new(write.path, hash).with_hint(&lookup.hint);
            self.keys.write_plainly(key, write, now, responses)
        } else {
            false
        }
    }

    /// Answers a request. `Break`: it is not answered, but comes again.
    #[inline(never)]
    fn answer_one(
        &mut self,
        request: &Request<'_>,
        lookup: &Lookup,
        now: Tick,
        responses: &mut Responses<'_>,
    ) -> Outcome {
        let Lookup { route, hint } = *lookup;
        let persistence = request.fields.persistence;
        if let Err(refusal) = self.check(request, route) {
            responses.refuse(request.method, persistence, *refusal);
            return Continue(());
        }
        match (route, request.method) {
            (_, Method::Options) => {
                responses.empty_with(request, Status::NoContent, ("Allow", route.allow()));
            }
            (_, Method::Propfind) => responses.empty(request.method, persistence, Status::NotFound),
            (_, Method::Purge) => return self.purge(request, responses),
            (Route::TurborepoEvents, _) => responses.empty(request.method, persistence, Status::Ok),
            (Route::Page(page), _) => self.pages.show(page, request, responses),
            (Route::Key(hash), method) => {
                let key = Key::new(request.path, hash).with_hint(&hint);
                match method {
                    Method::Put | Method::Post => self.keys.write(key, request, now, responses),
                    Method::Delete => self.keys.delete(key, request, now, responses),
                    _ => return self.keys.read(key, request, now, responses),
                }
            }
            // `check` has refused everything else.
            _ => responses.empty(request.method, persistence, Status::NotFound),
        }
        Continue(())
    }

    /// Answers a request, and counts a look-up by its namespace as well.
    fn answer_and_count(
        &mut self,
        request: &Request<'_>,
        lookup: &Lookup,
        now: Tick,
        responses: &mut Responses<'_>,
    ) -> Outcome {
        let before = self.counters.counts();
        let outcome = self.answer_one(request, lookup, now, responses);
        if matches!(lookup.route, Route::Key(_))
            && let Some(namespace) = self.settings.namespaces.find(request.path)
        {
            let (after, namespace) = (self.counters.counts(), &self.counters.namespaces[namespace]);
            namespace.hits.add(after[0] - before[0]);
            namespace.misses.add(after[1] - before[1]);
        }
        outcome
    }

    /// Answers the requests of a batch, and counts look-ups by namespace.
    #[inline(never)]
    fn answer_and_count_all(
        &mut self,
        requests: Requests<'_, Lookup>,
        now: Tick,
        responses: &mut Responses<'_>,
    ) {
        for (at, (view, lookup)) in requests.views().enumerate() {
            if let Break(why) = self.answer_and_count(&view.request(), lookup, now, responses) {
                responses.postpone(requests.len() - at, why);
                break;
            }
        }
    }

    /// Drops all keys that begin with a path.
    #[cold]
    fn purge(&mut self, request: &Request<'_>, responses: &mut Responses<'_>) -> Outcome {
        if let Err(Busy) = self.keys.store.purge(request.path) {
            return Break(Postponed::Busy);
        }
        responses.empty(request.method, request.fields.persistence, Status::NoContent);
        Continue(())
    }
}

/// Whether the route has the method, and there is such a route.
fn check_method(
    request: &Request<'_>,
    route: Route,
    routes: Routes,
) -> Result<(), &'static Refusal> {
    match (route, request.method) {
        (_, Method::Unknown) => Err(&NOT_IMPLEMENTED),
        // Whatever it asks for: sccache starts with the root, and writes only if that is not there.
        (_, Method::Propfind) => Ok(()),
        (_, Method::Connect | Method::Known) => Err(route.method_not_allowed()),
        (_, Method::Purge) if routes.can_purge(request) => Ok(()),
        (Route::Refused(refusal), _) => Err(refusal),
        (_, Method::Purge) => Err(route.method_not_allowed()),
        (Route::TurborepoEvents, Method::Post | Method::Options) => Ok(()),
        (Route::TurborepoEvents, _) => Err(route.method_not_allowed()),
        (Route::Page(page), method) if method.is_write() && !page.takes(method) => {
            Err(route.method_not_allowed())
        }
        _ => Ok(()),
    }
}

/// Whether the credentials, which don't allow everything, allow a request. What is wrong with it
/// whatever they are is told first, unless there are none.
fn check_access(
    request: &Request<'_>,
    route: Route,
    routes: Routes,
) -> Result<(), &'static Refusal> {
    let (access, method) = (request.fields.access, request.method);
    let is_open = matches!(route, Route::Page(Page::Health));
    if access == Access::Denied && !is_open {
        return Err(&UNAUTHORIZED);
    }
    check_method(request, route, routes)?;
    match route {
        // They do and tell nothing.
        _ if matches!(method, Method::Options | Method::Propfind) || is_open => Ok(()),
        _ if method == Method::Purge => Err(&NOT_ADMINISTRATOR),
        // They store nothing, so that a token that may only read may send them.
        Route::TurborepoEvents => Ok(()),
        Route::Page(_) if !access.is_unlimited() => Err(&NOT_UNLIMITED),
        Route::Key(_) if access == Access::Elsewhere => Err(&ELSEWHERE),
        _ if method.is_write() && !access.may_write() => Err(&READ_ONLY),
        _ => Ok(()),
    }
}

impl Handler for Cache {
    type Lookup = Lookup;
    type Pending = Pending;

    #[inline]
    fn look_up(&mut self, request: &Request<'_>) -> Lookup {
        let mut lookup = Lookup::new(self.route(request));
        if let Route::Key(hash) = lookup.route {
            lookup.hint = self.keys.store.prefetch_index(hash);
        }
        lookup
    }

    fn prefetch(&mut self, lookups: &mut [Lookup]) {
        for lookup in lookups {
            if let Route::Key(hash) = lookup.route {
                lookup.hint = self.keys.store.prefetch_entry(hash, lookup.hint);
            }
        }
    }

    fn answer(&mut self, requests: Requests<'_, Lookup>, responses: &mut Responses<'_>) {
        let now = self.clock.tick(responses.now());
        if !self.settings.namespaces.is_empty() {
            return self.answer_and_count_all(requests, now, responses);
        }
        for (at, (view, lookup)) in requests.views().enumerate() {
            if self.answer_plain(view, lookup, now, responses) {
                continue;
            }
            if let Break(why) = self.answer_one(&view.request(), lookup, now, responses) {
                responses.postpone(requests.len() - at, why);
                break;
            }
        }
    }

    fn begin(&mut self, request: Request<'_>) -> Result<Pending, Refusal> {
        let route = self.route(&request);
        self.check(&request, route).map_err(|refusal| *refusal)?;
        let Route::Key(hash) = route else { return Ok(Pending::bodiless(&request)) };
        if !request.method.takes_body() {
            if matches!(request.method, Method::Get | Method::Head | Method::Delete) {
                // What the head alone decides is decided before the body is looked at.
                request.details(&self.settings.kept)?;
            }
            return Ok(Pending::bodiless(&request));
        }
        let key = Key::new(request.path, hash);
        let terms = self.keys.terms(&request)?;
        let mut upload = self.keys.store.upload(key);
        if let Some(terms) = &terms {
            upload.set_meta(&terms.meta).map_err(|Full| FULL)?;
            if terms.tells_tag {
                upload.fingerprint_as_it_arrives();
            }
        }
        // Before its first byte: what is evicted for a value that can't fit is evicted in vain.
        if let Framing::Length(bytes) = request.fields.framing {
            upload.expect(usize::try_from(bytes).unwrap_or(usize::MAX)).map_err(|Full| FULL)?;
        }
        Ok(Pending::write(&request, key, upload, terms))
    }

    fn admit(&mut self, pending: &mut Pending, bytes: usize) -> bool {
        pending.admit(bytes)
    }

    fn append(&mut self, pending: &mut Pending, bytes: &[u8]) -> Result<(), Refusal> {
        pending.append(bytes).map_err(|Full| FULL)
    }

    fn finish(
        &mut self,
        pending: Pending,
        persistence: Persistence,
        responses: &mut Responses<'_>,
    ) -> Option<Pending> {
        let now = self.clock.tick(responses.now());
        match pending {
            Pending::Write { key, bytes, max_age, method, terms } => {
                let key = self.keys.store.key(&key);
                let (when, recipient) = ((max_age, now), (method, persistence));
                match terms {
                    None => self.keys.write_upload(key, bytes, when, recipient, responses),
                    Some(terms) if terms.are_met() => {
                        let terms = &terms.terms;
                        self.keys
                            .write_upload_in_full(key, bytes, terms, when, recipient, responses);
                    }
                    Some(_) => responses.refuse(method, persistence, DIGEST_WRONG),
                }
            }
            Pending::Bodiless(mut bodiless) => {
                let request = bodiless.request(persistence);
                let lookup = Lookup::new(self.route(&request));
                if self.answer_and_count(&request, &lookup, now, responses).is_break() {
                    return Some(Pending::Bodiless(bodiless));
                }
            }
        }
        None
    }

    fn held_bytes(&self, pending: &Pending) -> usize {
        pending.held_bytes()
    }

    fn claimed_bytes(&self, pending: &Pending) -> u64 {
        pending.claimed_bytes()
    }

    fn was_busy(&mut self) -> bool {
        let refusals = self.keys.store.refusals();
        std::mem::replace(&mut self.refusals_seen, refusals) != refusals
    }

    fn maintain(&mut self, now: Instant) -> bool {
        self.keys.store.maintain(self.partition, self.clock.tick(now))
    }
}
