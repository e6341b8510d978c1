//! What the connections of one load thread share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Registry;

use super::distribution::Growth;
use super::method::Method;
use super::recorder::Recorder;
use super::request::{Filler, Templates};
use super::request_list::RequestList;
use super::settings::Settings;
use super::target::{Endpoint, Found, Target};
use super::tls::Tls;
use super::trace::Trace;
use super::values::Values;
use super::verify::Ledger;

/// Bytes that one receive takes at most. The buffer is the thread's, so it stays in the cache.
const INPUT_BYTES: usize = 64 * 1024;

/// The clock of the measurement: nanoseconds since it was made, and never zero.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base: Instant,
}

impl Clock {
    /// A clock that begins now. Threads that compare times share one.
    pub fn new() -> Self {
        Self { base: Instant::now() }
    }

    /// The time.
    #[inline]
    pub fn now(&self) -> u64 {
        self.base.elapsed().as_nanos() as u64 + 1
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// What is the same for all load threads.
#[derive(Debug)]
pub struct Common {
    pub(super) clock: Clock,
    pub(super) endpoint: Endpoint,
    pub(super) tls: Option<Tls>,
    /// The TLS version and the cipher suite.
    pub(super) tls_text: Option<String>,
    pub(super) templates: Templates,
    /// The requests of a file, which are sent instead.
    pub(super) list: Option<RequestList>,
    /// Connections of the whole run.
    pub(super) connections: u64,
    /// Whether the server is one of keys and values, of which 404 is a right answer.
    pub(super) is_key_value: bool,
    pub(super) filler: Filler,
    pub(super) ledger: Option<Ledger>,
    /// What is sent instead of the workload.
    pub(super) trace: Option<Arc<Trace>>,
    pub(super) values: Values,
    /// The method of the preload: what the measurement will write with.
    pub(super) store_method: Method,
    /// A miss of a key below this one means that a stored value is gone.
    pub(super) keys_that_must_hit: u64,
    /// The keys beyond those of the workload that inserts have made.
    pub(super) growth: Growth,
    pub(super) timeout: Duration,
    /// Requests per connection during the measurement and the warm-up.
    pub(super) connection_requests: u64,
}

impl Common {
    /// Renders and allocates everything that needs to be there before the threads start.
    pub fn new(settings: &Settings, target: &Target, found: Found) -> Self {
        let workload = &settings.workload;
        let value_bytes_max = match &settings.trace {
            Some(trace) => trace.value_bytes_max(),
            None => workload.values.bounds().map_or(0, |(_, max)| max),
        };
        let ledger = settings.verify.then(|| Ledger::new(workload, settings.connections));
        let may_miss = workload.mix.sends(Method::Delete) || workload.read_through;
        let must_hit = settings.preload && !may_miss;
        let puts_only = workload.mix.sends(Method::Put) && !workload.mix.sends(Method::Post);
        Self {
            clock: Clock::new(),
            endpoint: found.endpoint,
            tls: found.tls,
            tls_text: found.tls_text,
            templates: Templates::new(target, &settings.path, &settings.headers),
            list: settings
                .request_file
                .as_ref()
                .map(|file| RequestList::new(file, workload, target, &settings.headers)),
            connections: settings.connections as u64,
            is_key_value: settings.is_key_value(),
            filler: settings.body.clone().map_or_else(|| Filler::new(value_bytes_max), Filler::of),
            ledger,
            trace: settings.trace.clone(),
            values: workload.values,
            store_method: if puts_only { Method::Put } else { Method::Post },
            keys_that_must_hit: if must_hit { workload.keys } else { 0 },
            growth: Growth::new(workload.keys),
            timeout: settings.timeout,
            connection_requests: settings.connection_requests.unwrap_or(u64::MAX),
        }
    }

    /// The longest body that anyone looks into.
    pub(super) fn body_bytes_max(&self) -> usize {
        match (&self.ledger, self.values.bounds()) {
            // One more than right is enough to see that it's too long.
            (Some(_), Some((_, max))) => max as usize + 1,
            _ => 64,
        }
    }
}

/// What the connections of one load thread share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) common: Arc<Common>,
    pub(super) registry: Registry,
    pub(super) recorder: Recorder,
    pub(super) input: Vec<u8>,
    /// Working memory for values under `--verify`.
    pub(super) scratch: Vec<u8>,
    /// A connection has received its share of a turn and may have more to receive.
    pub(super) has_unread: bool,
    /// Requests in flight per connection.
    pub(super) depth: usize,
    /// No request is sent from this time on.
    pub(super) until: u64,
    /// Whether these connections do not load the server.
    pub(super) is_probe: bool,
    /// A recent time, good enough for deadlines.
    pub(super) now: u64,
    /// When an answer came last.
    pub(super) last_answer: u64,
}

impl Context {
    pub(super) fn new(common: Arc<Common>, registry: Registry) -> Self {
        Self {
            recorder: Recorder::for_server(common.is_key_value),
            common,
            registry,
            input: vec![0; INPUT_BYTES],
            scratch: Vec::new(),
            has_unread: false,
            depth: 0,
            until: 0,
            is_probe: false,
            now: 0,
            last_answer: 0,
        }
    }
}
