//! The cache: a batch of requests -> the store -> responses. The only place that knows HTTP and
//! keys and values.
//!
//! A batch goes through three passes, so that memory has time to arrive: every key is hashed and
//! its index line asked for, then every entry, and then the requests are answered in order.

mod counters;
mod names;
mod pages;
mod upload;

use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayVec;

use crate::http::{
    Framing, Handler, MaxAge, Method, Persistence, REQUESTS_PER_BATCH_MAX, Refusal, Request,
    Requests, Responses, Status, Target, percent_decode,
};
use crate::net::Payload;
use crate::store::{Clock, Expiry, Full, Key, LargeValue, Store, Tick, Value, Written};

pub use counters::Counters;
pub use names::Names;
use names::{Name, Page};
pub use pages::Pages;
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
    decoded: Decoded,
}

/// Sends a large value from where the store has it.
#[derive(Debug)]
struct LargePayload(LargeValue);

impl Payload for LargePayload {
    fn pieces<'a>(&'a self, from: usize, each: &mut dyn FnMut(&'a [u8]) -> bool) {
        self.0.pieces(from, each);
    }
}

const UNAUTHORIZED: Refusal = Refusal {
    status: Status::Unauthorized,
    reason: "a token is needed: Authorization: Bearer TOKEN, or Basic with it as password",
    field: Some(("WWW-Authenticate", "Bearer, Basic realm=\"corekv\"")),
};
const READ_ONLY: Refusal = Refusal::new(Status::Forbidden, "this token may not write");
const NOT_IMPLEMENTED: Refusal =
    Refusal::new(Status::NotImplemented, "the method is not known to this server");
const MALFORMED_MAX_AGE: Refusal =
    Refusal::new(Status::BadRequest, "max-age is not a whole number of seconds");
pub(crate) const FULL: Refusal = Refusal::new(
    Status::InsufficientStorage,
    "the value does not fit into the memory that --memory allows",
);

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
        store.adopt(partition);
        let counters = Arc::clone(&pages.cache[partition]);
        Self { store, partition, clock, settings, counters, pages, decoded: Decoded::default() }
    }

    /// What the request's path names, given its bytes after percent-decoding.
    #[inline]
    fn name<'a>(&self, request: &Request<'_>, path: Option<&'a [u8]>) -> Name<'a> {
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
        Name::Key(self.store.key(path))
    }

    /// Whether the request is refused before its body is looked at.
    #[inline]
    fn check(&self, request: &Request<'_>, name: &Name<'_>) -> Result<(), Refusal> {
        use crate::http::access::Access;
        let access = request.fields.access;
        if access == Access::Denied && !matches!(name, Name::Page(Page::Health)) {
            return Err(UNAUTHORIZED);
        }
        let writes = matches!(request.method, Method::Put | Method::Post | Method::Delete);
        match (name, request.method) {
            (_, Method::Unknown) => Err(NOT_IMPLEMENTED),
            // Whatever it asks for: sccache starts with the root, and writes only if that is
            // not there.
            (_, Method::Propfind) => Ok(()),
            (_, Method::Connect | Method::Known) => Err(name.method_not_allowed()),
            (Name::Refused(refusal), _) => Err(**refusal),
            (Name::Page(_), _) if writes => Err(name.method_not_allowed()),
            _ if writes && access != Access::Write => Err(READ_ONLY),
            (_, Method::Put | Method::Post) if request.fields.max_age == MaxAge::Malformed => {
                Err(MALFORMED_MAX_AGE)
            }
            _ => Ok(()),
        }
    }

    #[inline]
    fn answer(
        &self,
        request: &Request<'_>,
        name: &Name<'_>,
        now: Tick,
        responses: &mut Responses<'_>,
    ) {
        let persistence = request.fields.persistence;
        if let Err(refusal) = self.check(request, name) {
            return responses.refuse(request.method, persistence, refusal);
        }
        match (name, request.method) {
            (_, Method::Options) => {
                responses.empty_with(request, Status::NoContent, ("Allow", name.allow()));
            }
            (_, Method::Propfind) => responses.empty(request.method, persistence, Status::NotFound),
            (Name::Page(page), _) => self.pages.show(*page, request, responses),
            (Name::Key(key), Method::Get | Method::Head) => {
                self.read(*key, request, now, responses);
            }
            (Name::Key(key), Method::Put | Method::Post) => {
                let result = match self.expiry(request.fields.max_age, now) {
                    Some(expiry) => self.store.put(*key, request.body, expiry, now),
                    None => self.drop_value(*key, now),
                };
                wrote(result, request.method, persistence, responses);
            }
            (Name::Key(key), Method::Delete) => {
                let removed = self.store.remove(*key, now);
                let status = if removed { Status::NoContent } else { Status::NotFound };
                responses.empty(request.method, persistence, status);
            }
            // `check` has refused everything else.
            _ => responses.empty(request.method, persistence, Status::NotFound),
        }
    }

    #[inline]
    fn read(&self, key: Key<'_>, request: &Request<'_>, now: Tick, responses: &mut Responses<'_>) {
        let persistence = request.fields.persistence;
        let with_body = request.method != Method::Head;
        let start = responses.bytes().len();
        let hit = self.store.get(key, now, |value| {
            // An earlier call may have been torn by a write.
            responses.bytes().truncate(start);
            match value {
                Value::Small(value) => {
                    responses.ok_head(persistence, value.len());
                    if with_body {
                        value.append_to(responses.bytes());
                    }
                    None
                }
                Value::Large(value) => {
                    responses.ok_head(persistence, value.len());
                    Some(value)
                }
            }
        });
        let Some(large) = hit else {
            responses.bytes().truncate(start);
            self.counters.misses.add(1);
            let status = match self.settings.miss_status {
                MissStatus::NotFound => Status::NotFound,
                MissStatus::NoContent => Status::NoContent,
                MissStatus::Ok => Status::Ok,
            };
            return responses.empty(request.method, persistence, status);
        };
        self.counters.hits.add(1);
        responses.count(request.method, Status::Ok);
        if let Some(large) = large.filter(|_| with_body) {
            let length = large.len();
            responses.payload(Box::new(LargePayload(large)), length);
        }
    }

    /// When a value that is written now ends; `None` if it is not to be kept at all.
    #[inline]
    fn expiry(&self, max_age: MaxAge, now: Tick) -> Option<Expiry> {
        match (max_age, self.settings.ttl_seconds) {
            (MaxAge::Seconds(0), _) => None,
            (MaxAge::Seconds(seconds), _) | (_, Some(seconds)) => Some(Expiry::after(now, seconds)),
            (_, None) => Some(Expiry::NEVER),
        }
    }

    /// A write with max-age=0: the key is gone, and 204 says that this is done.
    fn drop_value(&self, key: Key<'_>, now: Tick) -> Result<Written, Full> {
        self.store.remove(key, now);
        Ok(Written::Replaced)
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

/// The decoded paths of a batch, one behind the other; kept for its capacity.
#[derive(Debug, Default)]
struct Decoded {
    bytes: Vec<u8>,
    /// Where each escaped path ends, or that it is broken.
    ends: Vec<Option<usize>>,
}

impl Decoded {
    fn decode(&mut self, requests: Requests<'_>) {
        self.bytes.clear();
        self.ends.clear();
        for request in requests.iter().filter(is_escaped) {
            let before = self.bytes.len();
            let whole = percent_decode(request.path, &mut self.bytes);
            if !whole {
                self.bytes.truncate(before);
            }
            self.ends.push(whole.then_some(self.bytes.len()));
        }
    }
}

fn is_escaped(request: &Request<'_>) -> bool {
    request.target == Target::Path { escaped: true }
}

impl Handler for Cache {
    type Upload = Upload;

    fn handle(&mut self, requests: Requests<'_>, responses: &mut Responses<'_>) {
        let now = self.clock.tick(responses.now());
        let mut decoded = std::mem::take(&mut self.decoded);
        decoded.decode(requests);
        let mut ends = decoded.ends.iter().copied();
        let mut start = 0;
        let mut names = ArrayVec::<Name<'_>, REQUESTS_PER_BATCH_MAX>::new();
        for request in requests.iter() {
            let path = if is_escaped(&request) {
                let end = ends.next().flatten();
                end.map(|end| &decoded.bytes[std::mem::replace(&mut start, end)..end])
            } else {
                Some(request.path)
            };
            let name = self.name(&request, path);
            if let Name::Key(key) = name {
                self.store.prefetch_index(key);
            }
            names.push(name);
        }
        if names.len() > 1 {
            for name in &names {
                if let Name::Key(key) = name {
                    self.store.prefetch_entry(*key);
                }
            }
        }
        for (request, name) in requests.iter().zip(&names) {
            self.answer(&request, name, now, responses);
        }
        drop(names);
        self.decoded = decoded;
    }

    fn begin(&mut self, request: Request<'_>) -> Result<Upload, Refusal> {
        let mut decoded = Vec::new();
        let whole = percent_decode(request.path, &mut decoded);
        let path =
            if is_escaped(&request) { whole.then_some(&decoded[..]) } else { Some(request.path) };
        let name = self.name(&request, path);
        self.check(&request, &name)?;
        let stores = matches!(request.method, Method::Put | Method::Post)
            && request.fields.max_age != MaxAge::Seconds(0);
        let Name::Key(key) = name else { return Ok(Upload::ignored(&request)) };
        if !stores {
            return Ok(Upload::ignored(&request));
        }
        let upload = self.store.upload(key);
        // Before its first byte: what is evicted for a value that can't fit is evicted in vain.
        if let Framing::Length(bytes) = request.fields.framing {
            upload.expect(usize::try_from(bytes).unwrap_or(usize::MAX)).map_err(|Full| FULL)?;
        }
        Ok(Upload::value(&request, key, upload))
    }

    fn append(&mut self, upload: &mut Upload, bytes: &[u8]) -> Result<(), Refusal> {
        upload.append(bytes).map_err(|Full| FULL)
    }

    fn finish(&mut self, upload: Upload, persistence: Persistence, responses: &mut Responses<'_>) {
        let now = self.clock.tick(responses.now());
        match upload {
            Upload::Value { key, bytes, max_age, method } => {
                let key = self.store.key(&key);
                let result = match self.expiry(max_age, now) {
                    Some(expiry) => self.store.put_upload(key, bytes, expiry, now),
                    None => self.drop_value(key, now),
                };
                wrote(result, method, persistence, responses);
            }
            Upload::Ignored(request) => {
                let mut decoded = Vec::new();
                let path = percent_decode(&request.path, &mut decoded).then_some(&decoded[..]);
                let request = request.view(persistence);
                let name = self.name(&request, path);
                self.answer(&request, &name, now, responses);
            }
        }
    }

    fn turn(&mut self, now: Instant) -> bool {
        self.store.maintain(self.partition, self.clock.tick(now))
    }
}
