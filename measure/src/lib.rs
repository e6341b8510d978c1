//! What benches and measuring programs share: requests, a connection without a socket, and a load for
//! servers of any protocol.

pub mod canned;
pub mod cpu;
pub mod load;
pub mod machine;
pub mod programs;

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use corekv::Config;
use corekv::cache::{Cache, History, Metrics};
use corekv::http::{
    self, Batch, Handler, Method, Protocol, Request, Requests, Responses, Session, Status,
};
use corekv::net::{Class, Flow, Iteration, Output, Reach, Received, Service};
use corekv::store::{self, Clock, Store};
use testkit::Numbers;

/// Keys that are stored. Few, so that what is measured is the code and not the memory.
pub const KEYS: u64 = 1_000;

/// What the fields of a head are, beside Host and what the request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heads {
    /// The same in every request, so that the parser remembers them.
    Same,
    /// Another X-Request-Id in each.
    Differing,
    /// A browser's, with another `traceparent` in each.
    Browser,
    /// A browser's, the same in every request: as long as the others.
    SameBrowser,
    /// Another Content-Length in each: values of up to the length that is said.
    Lengths,
}

/// The fields that a browser sends with a request of a page of the server's own.
const BROWSER_FIELDS: &str = "Connection: keep-alive\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/142.0.0.0 Safari/537.36\r\n\
    sec-ch-ua: \"Chromium\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    Accept: */*\r\n\
    Origin: http://127.0.0.1:8080\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Referer: http://127.0.0.1:8080/dashboard\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n";

/// What requests ask for.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// PUTs, in percent. The others are GETs.
    pub put_percent: u64,
    /// Length of the values that are put, in bytes.
    pub value_bytes: usize,
    /// The fields of the heads.
    pub heads: Heads,
}

/// GETs with the same heads.
pub const GETS: Mix = Mix { put_percent: 0, value_bytes: 0, heads: Heads::Same };

/// PUTs of short values with the same heads.
pub const PUTS: Mix = Mix { put_percent: 100, value_bytes: 5, heads: Heads::Same };

/// One PUT among four GETs, with the same heads.
pub const MIXED: Mix = Mix { put_percent: 20, ..PUTS };

/// So many requests of random keys, one behind the other.
///
/// # Panics
/// Never: memory takes all that is written to it.
pub fn requests(count: usize, mix: Mix) -> Vec<u8> {
    let mut numbers = Numbers::new(1);
    let mut out = Vec::new();
    for _ in 0..count {
        let key = numbers.below(KEYS);
        let method = if numbers.below(100) < mix.put_percent { "PUT" } else { "GET" };
        write!(out, "{method} /{key} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n").expect("memory");
        match mix.heads {
            Heads::Differing => {
                write!(out, "X-Request-Id: {:016x}\r\n", numbers.next()).expect("memory");
            }
            Heads::Browser | Heads::SameBrowser => {
                let id = if mix.heads == Heads::Browser { numbers.next() } else { 1 };
                out.extend_from_slice(BROWSER_FIELDS.as_bytes());
                write!(out, "traceparent: 00-{id:032x}-{id:016x}-01\r\n").expect("memory");
            }
            Heads::Same | Heads::Lengths => {}
        }
        if method == "PUT" {
            let value_bytes = match mix.heads {
                Heads::Lengths => 1 + numbers.below(mix.value_bytes as u64) as usize,
                _ => mix.value_bytes,
            };
            write!(out, "Content-Length: {value_bytes}\r\n\r\n").expect("memory");
            out.resize(out.len() + value_bytes, b'v');
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }
    out
}

/// One side of a connection, driven as an event loop drives it, but for the socket.
#[derive(Debug)]
pub struct Connection<H: Handler> {
    protocol: Protocol<H>,
    session: Session<H::Pending>,
    batch: Batch<H::Lookup>,
    output: Output,
    iteration: Iteration,
}

impl<H: Handler> Connection<H> {
    fn new(handler: H, counters: Arc<http::Counters>) -> Self {
        let mut protocol = Protocol::new(handler, Config::default().http(), counters);
        let session = protocol.open(Class::Data(Reach::Network));
        let iteration = Iteration { now: Instant::now(), last: false, pressed: false };
        Self { protocol, session, batch: Batch::default(), output: Output::default(), iteration }
    }

    /// Answers all requests of the input, which end with it, and says how many bytes the responses
    /// have.
    ///
    /// # Panics
    /// If the protocol would close the connection.
    pub fn exchange(&mut self, mut input: &[u8]) -> usize {
        let mut sent = 0;
        while !input.is_empty() {
            let received = Received::new(input, &mut self.batch);
            let parsed = self.protocol.parse(&mut self.session, received, &self.iteration);
            let prefetched = self.protocol.prefetch(parsed);
            let progress = self.protocol.answer(
                &mut self.session,
                prefetched,
                &mut self.output,
                &self.iteration,
            );
            assert!(matches!(progress.flow, Flow::More | Flow::Full), "{:?}", progress.flow);
            input = &input[progress.consumed..];
            sent += self.output.len() + self.output.payload_bytes();
            if self.output.payload_bytes() > 0 {
                self.output = Output::default();
            }
            self.output.bytes().clear();
        }
        sent
    }
}

/// A connection to a cache of one partition that holds all keys, with values of so many bytes.
///
/// # Panics
/// If the memory is too little for them.
pub fn to_cache(memory_bytes_max: u64, value_bytes: usize) -> Connection<Cache> {
    let settings = store::Settings { partitions: 1, memory_bytes_max };
    let store = Store::new(settings).expect("address space");
    let now = Clock::start().tick(Instant::now());
    let value = vec![b'v'; value_bytes];
    for key in 0..KEYS {
        let key = key.to_string();
        let key = store.key(key.as_bytes());
        store.put(key, &value, store::Expiry::NEVER, now).expect("room");
    }
    let metrics = Arc::new(Metrics::new(store, Arc::new([Default::default()])));
    let counters = Arc::clone(&metrics.http[0]);
    let (history, sets) = (Arc::new(History::new(&metrics)), Arc::default());
    let settings = Config::default().cache();
    Connection::new(Cache::new(0, Clock::start(), settings, sets, metrics, history), counters)
}

/// Answers every GET with the same value and any other request with 204: what is left without a
/// store.
#[derive(Debug)]
pub struct Fixed(Vec<u8>);

/// A connection to a [`Fixed`] value of so many bytes.
pub fn to_fixed(value_bytes: usize) -> Connection<Fixed> {
    Connection::new(Fixed(vec![b'v'; value_bytes]), Arc::default())
}

impl Handler for Fixed {
    type Lookup = ();
    type Pending = ();

    fn look_up(&mut self, _request: &Request<'_>) {}

    fn answer(&mut self, requests: Requests<'_, ()>, responses: &mut Responses<'_>) {
        for (request, ()) in requests.iter() {
            let (method, persistence) = (request.method, request.fields.persistence);
            if method == Method::Get {
                responses.ok_head(persistence, self.0.len());
                responses.bytes().extend_from_slice(&self.0);
                responses.count(method, Status::Ok);
            } else {
                responses.empty(method, persistence, Status::NoContent);
            }
        }
    }
}
