//! The cache: a batch of requests -> the store -> responses. The only place that knows HTTP and
//! keys and values.
//!
//! A batch goes through three passes, so that memory has time to arrive: every key is hashed and
//! its index line asked for, then every entry, and then the requests are answered in order.

mod counters;
mod names;
mod pages;
mod plan;
mod upload;

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use std::time::Instant;

use crate::http::{
    Framing, Handler, Method, Persistence, Postponed, Refusal, Request, Requests, Responses,
    Status, Target, Unstorable,
};
use crate::invalid::{Invalid, check_number};
use crate::net::Payload;
use crate::store::{
    Clock, Expiry, Full, KEY_BYTES_MAX, Key, LargeValue, SlotHint, SmallValue, Store,
    TTL_SECONDS_MAX, Tick, Value, Written,
};

pub use counters::Counters;
pub use names::Names;
use names::{Name, Page};
pub use pages::Pages;
use pages::Snapshot;
pub use plan::Plan;
use plan::{Paths, Step};
pub use upload::Upload;

/// What GET and HEAD answer when the key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissStatus {
    /// What every HTTP cache client takes for a miss.
    #[default]
    NotFound,
    /// For clients that expect a 2xx.
    NoContent,
    /// Likewise, with an empty body.
    Ok,
}

/// How the cache answers.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Longest key, in bytes after percent-decoding.
    pub key_bytes_max: usize,
    /// Life of a key that does not come with its own, in seconds.
    pub ttl_seconds: Option<u32>,
    /// The answer to a miss.
    pub miss_status: MissStatus,
    /// Where the reserved names are.
    pub names: Names,
}

impl Settings {
    /// Checks them against what the store can hold.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_number("key_bytes_max", self.key_bytes_max, 1..=KEY_BYTES_MAX)?;
        let ttl = self.ttl_seconds.map(|ttl| check_number("ttl_seconds", ttl, 1..=TTL_SECONDS_MAX));
        ttl.unwrap_or(Ok(()))
    }
}

/// Answers one event loop's requests from the store that all loops share.
#[derive(Debug)]
pub struct Cache {
    store: Arc<Store>,
    /// The partition that this loop looks after.
    partition: usize,
    clock: Clock,
    settings: Settings,
    counters: Arc<Counters>,
    pages: Arc<Pages>,
    metrics: Snapshot,
    /// Refusals of the store when it was last asked for them.
    refusals_seen: u64,
}

/// What is to become of the batch after a response: its rest may have to wait.
type Pace = ControlFlow<Postponed>;

/// Sends a large value from where the store has it.
#[derive(Debug)]
struct LargePayload(LargeValue);

impl Payload for LargePayload {
    fn pieces<'a>(&'a self, from: usize, each: &mut dyn FnMut(&'a [u8]) -> bool) {
        self.0.pieces(from, each);
    }
}

static UNAUTHORIZED: Refusal = Refusal {
    status: Status::Unauthorized,
    reason: "a token is needed: Authorization: Bearer TOKEN, or Basic with it as password",
    field: Some(("WWW-Authenticate", "Bearer, Basic realm=\"corekv\"")),
};
static READ_ONLY: Refusal = Refusal::new(Status::Forbidden, "this token may not write");
static NOT_IMPLEMENTED: Refusal =
    Refusal::new(Status::NotImplemented, "the method is not known to this server");
static MALFORMED_MAX_AGE: Refusal =
    Refusal::new(Status::BadRequest, "max-age is not a whole number of seconds");
static PART: Refusal =
    Refusal::new(Status::BadRequest, "a value is stored whole, not by parts (Content-Range)");
pub(crate) const FULL: Refusal = Refusal::new(
    Status::InsufficientStorage,
    "the value does not fit into the memory that --memory allows",
);

/// For the one kind of request that can't come again: its body has been dropped already.
static BUSY: Refusal = Refusal {
    status: Status::ServiceUnavailable,
    reason: "slow readers hold the memory that the value needs; try again later",
    field: Some(("Retry-After", "1")),
};

impl Cache {
    /// The handler of the loop that looks after `partition`.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        partition: usize,
        clock: Clock,
        settings: Settings,
        pages: Arc<Pages>,
    ) -> Self {
        let counters = Arc::clone(&pages.cache[partition]);
        let metrics = Snapshot::default();
        Self { store, partition, clock, settings, counters, pages, metrics, refusals_seen: 0 }
    }

    /// What the request's path names, given its bytes after percent-decoding.
    #[inline(always)] // Into the loop over a connection's input.
    fn name(&self, request: &Request<'_>, path: Option<&[u8]>) -> Name {
        let Some(path) = path else { return Name::BROKEN_ESCAPE };
        match request.target {
            Target::Path { .. } => {}
            Target::Server => return Name::Server,
            Target::Authority => return Name::Refused(&names::KEY_METHODS),
        }
        if let Some(name) = self.settings.names.find(request.class, path) {
            return name;
        }
        if path.len() > self.settings.key_bytes_max {
            return Name::KEY_TOO_LONG;
        }
        Name::Key(self.store.hash(path))
    }

    /// Whether the request is refused before its body is looked at.
    #[inline]
    fn check(&self, request: &Request<'_>, name: Name) -> Result<(), &'static Refusal> {
        use crate::http::access::Access;
        let access = request.fields.access;
        if access == Access::Denied && !matches!(name, Name::Page(Page::Health)) {
            return Err(&UNAUTHORIZED);
        }
        let writes = matches!(request.method, Method::Put | Method::Post | Method::Delete);
        match (name, request.method) {
            (_, Method::Unknown) => Err(&NOT_IMPLEMENTED),
            // Whatever it asks for: sccache starts with the root, and writes only if that is
            // not there.
            (_, Method::Propfind) => Ok(()),
            (_, Method::Connect | Method::Known) => Err(name.method_not_allowed()),
            (Name::Refused(refusal), _) => Err(refusal),
            (Name::Page(_), _) if writes => Err(name.method_not_allowed()),
            _ if writes && access != Access::Write => Err(&READ_ONLY),
            (_, Method::Put | Method::Post) if request.fields.unstorable.is_some() => {
                let is_part = request.fields.unstorable == Some(Unstorable::Part);
                Err(if is_part { &PART } else { &MALFORMED_MAX_AGE })
            }
            _ => Ok(()),
        }
    }

    /// Answers a request whose path has these bytes. `Break`: it is not answered, but comes again.
    #[inline(always)] // Into the loop over a batch.
    fn answer(
        &mut self,
        request: &Request<'_>,
        path: &[u8],
        step: Step,
        now: Tick,
        responses: &mut Responses<'_>,
    ) -> Pace {
        let Step { name, hint } = step;
        let persistence = request.fields.persistence;
        if let Err(refusal) = self.check(request, name) {
            responses.refuse(request.method, persistence, *refusal);
            return Continue(());
        }
        match (name, request.method) {
            (_, Method::Options) => {
                responses.empty_with(request, Status::NoContent, ("Allow", name.allow()));
            }
            (_, Method::Propfind) => responses.empty(request.method, persistence, Status::NotFound),
            (Name::Page(page), _) => {
                self.pages.show(page, &mut self.metrics, request, responses);
            }
            (Name::Key(hash), method) => {
                let key = Key::new(path, hash).with_hint(hint);
                match method {
                    Method::Put | Method::Post => self.write(key, request, now, responses),
                    Method::Delete => self.delete(key, request, now, responses),
                    _ => return self.read(key, request, now, responses),
                }
            }
            // `check` has refused everything else.
            _ => responses.empty(request.method, persistence, Status::NotFound),
        }
        Continue(())
    }

    #[inline]
    fn read(
        &self,
        key: Key<'_>,
        request: &Request<'_>,
        now: Tick,
        responses: &mut Responses<'_>,
    ) -> Pace {
        let start = responses.bytes().len();
        if let Some(read) = self.store.optimistic_read(key, now) {
            show(read.value(), request, responses);
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
    ) -> Pace {
        let start = responses.bytes().len();
        let mut large = None;
        let hit = self.store.get(key, now, |value| {
            // An earlier call may have been torn by a write.
            responses.bytes().truncate(start);
            match value {
                Value::Small(value) => show(&value, request, responses),
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
        let postponed = large.as_ref().and_then(|large| postpones(large, responses));
        if let Some(why) = postponed {
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
        let status = match self.settings.miss_status {
            MissStatus::NotFound => Status::NotFound,
            MissStatus::NoContent => Status::NoContent,
            MissStatus::Ok => Status::Ok,
        };
        responses.empty(request.method, request.fields.persistence, status);
    }

    #[inline]
    fn write(&self, key: Key<'_>, request: &Request<'_>, now: Tick, responses: &mut Responses<'_>) {
        let expiry = self.expiry(request.fields.max_age, now);
        let result = self.store.put(key, request.body, expiry, now);
        wrote(result, request.method, request.fields.persistence, responses);
    }

    fn delete(
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
        match max_age.or(self.settings.ttl_seconds) {
            Some(seconds) => Expiry::after(now, seconds),
            None => Expiry::NEVER,
        }
    }
}

/// Whether a large value has to wait until others have been sent, of this connection or of any.
fn postpones(value: &LargeValue, responses: &Responses<'_>) -> Option<Postponed> {
    if responses.is_full() {
        return Some(Postponed::Full);
    }
    value.exceeds_share().then_some(Postponed::Busy)
}

/// Renders a small value, which the answer to HEAD goes without.
#[inline]
fn show(value: &SmallValue<'_>, request: &Request<'_>, responses: &mut Responses<'_>) {
    responses.ok_head(request.fields.persistence, value.len());
    if request.method != Method::Head {
        value.append_to(responses.bytes());
    }
}

/// Answers a write.
#[inline]
fn wrote(
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

impl Handler for Cache {
    type Upload = Upload;
    type Batch = Plan;

    #[inline]
    fn prepare(&mut self, request: &Request<'_>, plan: &mut Plan) {
        let path = plan.paths.add(request);
        let name = self.name(request, path);
        if let Name::Key(hash) = name {
            self.store.prefetch_index(hash);
        }
        plan.steps.push(Step { name, hint: SlotHint::NONE });
    }

    fn prefetch(&mut self, plan: &mut Plan) {
        for step in &mut plan.steps {
            if let Name::Key(hash) = step.name {
                step.hint = self.store.prefetch_entry(hash);
            }
        }
    }

    fn handle(&mut self, requests: Requests<'_>, plan: &mut Plan, responses: &mut Responses<'_>) {
        let now = self.clock.tick(responses.now());
        let mut path_of = plan.paths.again();
        for (at, (request, &step)) in requests.iter().zip(&plan.steps).enumerate() {
            let path = path_of(&request).unwrap_or_default();
            if let Break(why) = self.answer(&request, path, step, now, responses) {
                responses.postpone(requests.len() - at, why);
                break;
            }
        }
        drop(path_of);
        plan.clear();
    }

    fn begin(&mut self, request: Request<'_>) -> Result<Upload, Refusal> {
        let mut paths = Paths::default();
        let path = paths.add(&request);
        let name = self.name(&request, path);
        self.check(&request, name).map_err(|refusal| *refusal)?;
        let stores = request.method.takes_body();
        let (Name::Key(hash), Some(path), true) = (name, path, stores) else {
            return Ok(Upload::ignored(&request));
        };
        let key = Key::new(path, hash);
        let mut upload = self.store.upload(key);
        // Before its first byte: what is evicted for a value that can't fit is evicted in vain.
        if let Framing::Length(bytes) = request.fields.framing {
            upload.expect(usize::try_from(bytes).unwrap_or(usize::MAX)).map_err(|Full| FULL)?;
        }
        Ok(Upload::value(&request, key, upload))
    }

    fn admit(&mut self, upload: &mut Upload, bytes: usize) -> bool {
        upload.admit(bytes)
    }

    fn held_bytes(&self, upload: &Upload) -> usize {
        upload.held_bytes()
    }

    fn is_busy(&mut self) -> bool {
        let refusals = self.store.refusals();
        std::mem::replace(&mut self.refusals_seen, refusals) != refusals
    }

    fn append(&mut self, upload: &mut Upload, bytes: &[u8]) -> Result<(), Refusal> {
        upload.append(bytes).map_err(|Full| FULL)
    }

    fn finish(&mut self, upload: Upload, persistence: Persistence, responses: &mut Responses<'_>) {
        let now = self.clock.tick(responses.now());
        match upload {
            Upload::Value { key, bytes, max_age, method } => {
                let key = self.store.key(&key);
                let expiry = self.expiry(max_age, now);
                let result = self.store.put_upload(key, bytes, expiry, now);
                wrote(result, method, persistence, responses);
            }
            Upload::Ignored(mut head) => {
                let mut paths = Paths::default();
                let request = head.view(persistence);
                let path = paths.add(&request);
                let name = self.name(&request, path);
                let path = path.unwrap_or_default();
                let step = Step { name, hint: SlotHint::NONE };
                if self.answer(&request, path, step, now, responses).is_break() {
                    responses.refuse(request.method, persistence, BUSY);
                }
            }
        }
    }

    fn turn(&mut self, now: Instant) -> bool {
        self.store.maintain(self.partition, self.clock.tick(now))
    }
}
