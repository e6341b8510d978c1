//! A connection from its first byte to its end: the cache behind HTTP, driven as an event loop
//! drives it, against the model. However the bytes are cut, and however short of memory the loop
//! is, the same bytes come back.
//!
//! Input: a byte that says whether the rest is raw bytes or a script of requests, one that
//! chooses the settings, two that say how the bytes are cut, then the rest.

#![no_main]

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use arbitrary::{Arbitrary, Unstructured};
use corekv::cache::{self, Cache, History, KeptSets, Metrics, MissStatus, Routes};
use corekv::http::tokens::{Tokens, TokensInForce};
use corekv::http::{self, Batch, FieldRules, Protocol};
use corekv::net::{
    Class, Flow, Iteration, Output, Reach, Received, Rejection, Room, Service, Sink, Transfer, Wait,
};
use corekv::store::{self, Clock, Store};
use corekv_fuzz::model::{self, Limits};
use corekv_fuzz::script::Script;
use corekv_fuzz::{access, pieces, reader};
use libfuzzer_sys::fuzz_target;

/// Enough for all that one input can store, so that nothing is evicted.
const MEMORY_BYTES: u64 = 8 << 20;

/// Pauses of a peer, so that one that takes single bytes is not waited for to the end.
const PACES_MAX: usize = 1000;

static TOKENS: LazyLock<Arc<TokensInForce>> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("corekv-fuzz-{}", std::process::id()));
    std::fs::write(&path, access::FILE).expect("the tokens can be written");
    let tokens = Tokens::load(&path).expect("the tokens can be read");
    let _ = std::fs::remove_file(&path);
    Arc::new(TokensInForce::new(tokens))
});

fuzz_target!(|data: &[u8]| {
    let [kind, settings, seed_low, seed_high, rest @ ..] = data else { return };
    let limits = limits(*settings);
    let script;
    let input = if kind % 2 == 0 {
        rest
    } else {
        let Ok(parsed) = Script::arbitrary(&mut Unstructured::new(rest)) else { return };
        script = parsed.render(limits.tokens);
        &script
    };
    let expected = model::answer(input, &limits);
    let seed = u16::from_le_bytes([*seed_low, *seed_high]);
    let whole = drive(input, &[input.len()], 0, &limits, false, false);
    let count = reader::check(&whole.output, &expected, whole.closed);
    if !expected.open {
        assert_eq!(whole.answered, count, "answers counted");
    }
    // What /metrics shows, and how long it is, depends on time and on how the requests came in.
    let is_version = |text: &[u8]| text == b"version=0.0.4" || text == b"version=1.0.0";
    let measured = whole.output.windows(13).any(is_version);
    let sizes = pieces(seed, input.len());
    for (sizes, pressed) in [(&sizes[..], false), (&[input.len()], true), (&sizes, true)] {
        let cut = drive(input, sizes, seed, &limits, pressed, false);
        if expected.split_matters {
            continue;
        }
        assert!(
            measured || cut.output == whole.output,
            "{} but {} in pieces",
            whole.output.escape_ascii(),
            cut.output.escape_ascii()
        );
        assert_eq!((cut.answered, cut.closed), (whole.answered, whole.closed));
    }
    let last = drive(input, &sizes, seed, &limits, false, true);
    if expected.split_matters {
        return;
    }
    assert_eq!(last.answered, whole.answered, "answered when the server ends");
});

fn limits(choice: u8) -> Limits {
    Limits {
        header_bytes_max: [1024, 160][usize::from(choice & 1)],
        body_bytes_max: [300, 1800, 20_000, 70_000][usize::from(choice >> 1 & 1 | choice >> 4 & 2)],
        key_bytes_max: 16,
        miss_status: [404, 204, 200, 404][usize::from(choice >> 2 & 3)],
        pages: choice & 16 == 0,
        tokens: choice & 64 != 0,
        loopback: choice & 128 == 0,
    }
}

#[derive(Default)]
struct Driven {
    output: Vec<u8>,
    answered: usize,
    closed: bool,
}

/// A peer that reads at the pace of a seed.
struct Peer {
    received: RefCell<Vec<u8>>,
    /// What it takes at once, the last of it first; more than there can be when it is used up.
    paces: RefCell<Vec<usize>>,
}

impl Peer {
    fn new(seed: u16) -> Self {
        let paces = if seed == 0 { Vec::new() } else { pieces(seed, 16 << 10) };
        let paces = paces.into_iter().take(PACES_MAX).collect();
        Self { received: RefCell::default(), paces: RefCell::new(paces) }
    }

    fn take(&self, pieces: &[&[u8]]) -> Transfer {
        let mut room = match self.paces.borrow_mut().pop() {
            // One in five stands for a peer that is not there at the moment.
            Some(pace) if pace % 5 == 0 => return Transfer::NotReady,
            Some(pace) => pace,
            None => usize::MAX,
        };
        let before = self.received.borrow().len();
        for piece in pieces {
            let part = &piece[..piece.len().min(room)];
            room -= part.len();
            self.received.borrow_mut().extend_from_slice(part);
        }
        Transfer::Done(self.received.borrow().len() - before)
    }
}

impl Sink for Peer {
    fn send(&self, bytes: &[u8]) -> io::Result<Transfer> {
        Ok(self.take(&[bytes]))
    }

    fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<Transfer> {
        Ok(self.take(&pieces.iter().map(|piece| &**piece).collect::<Vec<_>>()))
    }
}

/// Sends as an event loop does: a share at a time, and what the peer does not take is set aside.
fn send(output: &mut Output, peer: &Peer, share: usize) {
    let mut rest = None;
    while !rest.as_ref().unwrap_or(output).is_empty() {
        let before = peer.received.borrow().len();
        let sending = rest.as_mut().unwrap_or(output);
        let (sent, room) = sending.send(peer, share).expect("a peer does not fail");
        assert_eq!(sent, peer.received.borrow().len() - before, "bytes sent");
        assert!(sending.is_empty() || room == Room::Full || sent >= share, "stopped for nothing");
        if rest.is_none() && !output.is_empty() {
            rest = Some(output.take_rest());
        }
    }
    assert!(output.is_empty() && output.bytes().is_empty());
}

/// Feeds the pieces to a fresh connection as an event loop does.
fn drive(
    input: &[u8],
    sizes: &[usize],
    seed: u16,
    limits: &Limits,
    pressed: bool,
    last: bool,
) -> Driven {
    let peer = Peer::new(seed);
    let share = if seed == 0 { usize::MAX } else { 1 + usize::from(seed) % 9000 };
    let mut protocol = protocol(limits);
    let mut session =
        protocol.open(Class::Data(if limits.loopback { Reach::Loopback } else { Reach::Network }));
    let mut batch = Batch::default();
    let mut output = Output::default();
    let mut held = Vec::new();
    let mut driven = Driven::default();
    let mut at = 0;
    let now = Instant::now();
    'input: for size in sizes {
        held.extend_from_slice(&input[at..at + size]);
        at += size;
        loop {
            let iteration = Iteration { now, last: last && at == input.len(), pressed };
            let received = Received::new(&held, &mut batch);
            let parsed = protocol.parse(&mut session, received, &iteration);
            let prefetched = protocol.prefetch(parsed);
            let progress = protocol.answer(&mut session, prefetched, &mut output, &iteration);
            held.drain(..progress.consumed);
            driven.answered += progress.answered;
            let answered = !output.is_empty();
            send(&mut output, &peer, share);
            match progress.flow {
                Flow::Full => assert!(answered, "full without output"),
                // As many purges are under way as there may be. Nobody else holds anything.
                Flow::Busy => assert!(protocol.maintain(now), "nothing is to be waited for"),
                Flow::More => break,
                Flow::Close => {
                    driven.closed = true;
                    break 'input;
                }
            }
        }
        assert!(held.len() <= limits.header_bytes_max, "{} bytes are held", held.len());
    }
    if !driven.closed {
        let why = match protocol.waits_for(&session, !held.is_empty()) {
            Wait::Head => Rejection::HeadTimeout,
            Wait::Body => Rejection::BodyTimeout,
            _ => Rejection::ConnectionLimit,
        };
        protocol.reject(&mut session, why, &mut output);
        let status: &[u8] =
            if why == Rejection::ConnectionLimit { b"HTTP/1.1 503 " } else { b"HTTP/1.1 408 " };
        assert!(output.bytes().starts_with(status));
    }
    driven.output = peer.received.into_inner();
    driven
}

fn protocol(limits: &Limits) -> Protocol<Cache> {
    let settings = store::Settings { partitions: 1, memory_bytes_max: MEMORY_BYTES };
    let store = Store::new(settings).expect("memory for a small store");
    let metrics = Arc::new(Metrics::new(store, Arc::new([Default::default()])));
    let settings = cache::Settings {
        key_bytes_max: limits.key_bytes_max,
        ttl_seconds: None,
        miss_status: match limits.miss_status {
            200 => MissStatus::Ok,
            204 => MissStatus::NoContent,
            _ => MissStatus::NotFound,
        },
        routes: if limits.pages { Routes::Everywhere } else { Routes::AdminOnly },
        store_status: Default::default(),
        cache_headers: Default::default(),
        etag: false,
        kept: Default::default(),
        cas_prefixes: Vec::new(),
        namespaces: Default::default(),
        turborepo: false,
    };
    let http = http::Settings {
        header_bytes_max: limits.header_bytes_max,
        body_bytes_max: limits.body_bytes_max,
        date: false,
        rules: FieldRules {
            tokens: limits.tokens.then(|| Arc::clone(&TOKENS)),
            ..FieldRules::default()
        },
        ..http::Settings::default()
    };
    let counters = Arc::clone(&metrics.http[0]);
    let history = Arc::new(History::new(&metrics));
    let sets = Arc::new(KeptSets::default());
    Protocol::new(Cache::new(0, Clock::start(), settings, sets, metrics, history), http, counters)
}
