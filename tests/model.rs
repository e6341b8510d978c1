//! Random streams of operations, cut anywhere, over several connections, against a model of the
//! whole server that is a map and a match; also with readers that don't read and uploads that don't
//! end meanwhile, and with less memory than the values need.

use std::collections::{HashMap, VecDeque};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sha2::{Digest as _, Sha256};
use testkit::{Client, Server, eventually, normalise, show};
use xxhash_rust::xxh3::xxh3_128;

const ALLOW: &str = "GET, HEAD, PUT, POST, DELETE, OPTIONS";
const CONNECTIONS: usize = 3;
const BROWSER_FIELDS: &str =
    "X-Content-Type-Options: nosniff\r\nContent-Security-Policy: sandbox\r\n";

/// How a key is written into the target.
#[derive(Debug, Clone, Copy)]
enum Spelling {
    Plain,
    Encoded,
    Query,
    Absolute,
}

/// How a body is framed.
#[derive(Debug, Clone)]
enum Framing {
    Length,
    /// Sizes of the chunks, repeated until the value ends.
    Chunked(Vec<usize>),
}

#[derive(Debug, Clone)]
enum Operation {
    Get,
    Head,
    Delete,
    Propfind,
    Options,
    Patch,
    Unknown,
    Store {
        post: bool,
        value: Vec<u8>,
        framing: Framing,
        expect: bool,
        max_age: Option<u32>,
    },
    GetWithBody {
        body: Vec<u8>,
        framing: Framing,
    },
    Healthz,
    StoreReserved {
        name: &'static str,
        body: Vec<u8>,
    },
    BrokenKey {
        body: Vec<u8>,
    },
    BrokenMaxAge {
        body: Vec<u8>,
    },
    EmptyLines(usize),
    /// PURGE of all keys of the case, or of what begins with this one and a slash.
    Purge {
        all: bool,
    },
}

#[derive(Debug, Clone)]
struct Step {
    connection: usize,
    key: u8,
    spelling: Spelling,
    operation: Operation,
    /// Bits that add or respell header fields which must make no difference.
    fields: u8,
    page: Page,
    extras: Extras,
}

/// Fields that ask for more, or less, than a plain request.
#[derive(Debug, Clone, Copy)]
struct Extras {
    condition: Condition,
    /// Which lines of fields are to be kept, by their place in [`KEPT`].
    kept: usize,
    /// First and last byte that are asked for.
    range: Option<(usize, usize)>,
    digest: Digest,
}

impl Extras {
    /// A plain request.
    const NONE: Self =
        Self { condition: Condition::None, kept: 0, range: None, digest: Digest::None };
}

const KEPT: [&str; 4] = [
    "",
    "Content-Type: text/plain\r\n",
    "X-Tag: one\r\n",
    "Content-Type: text/html\r\nX-Tag: two\r\n",
];

/// A precondition, and whether it names what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    None,
    MatchAny,
    MatchOurs,
    MatchOther,
    NoneMatchAny,
    NoneMatchOurs,
    NoneMatchOther,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Digest {
    None,
    Right,
    Wrong,
}

const OTHER: &str = "\"0123456789abcdef0123456789abcdef\"";

impl Condition {
    /// The field, if `ours` is the tag of what is stored.
    fn line(self, ours: &str) -> String {
        match self {
            Self::None => String::new(),
            Self::MatchAny => "If-Match: *\r\n".to_owned(),
            Self::MatchOurs => format!("if-match: {OTHER}, {ours}\r\n"),
            Self::MatchOther => format!("If-Match: W/{ours} ,{OTHER}\r\n"),
            Self::NoneMatchAny => "If-None-Match: *\r\n".to_owned(),
            Self::NoneMatchOurs => format!("If-None-Match: W/{ours}\r\n"),
            Self::NoneMatchOther => format!("If-None-Match: {OTHER}\r\n"),
        }
    }

    fn holds(self, is_stored: bool) -> bool {
        match self {
            Self::None | Self::NoneMatchOther => true,
            Self::MatchAny | Self::MatchOurs => is_stored,
            Self::MatchOther => false,
            Self::NoneMatchAny | Self::NoneMatchOurs => !is_stored,
        }
    }

    fn is_match(self) -> bool {
        matches!(self, Self::MatchAny | Self::MatchOurs | Self::MatchOther)
    }
}

/// Whether a web page sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    None,
    Own,
    OfAnotherSite,
}

impl Step {
    /// The line that a browser adds. With Expect it adds none: a refusal would end the connection.
    fn page(&self) -> Page {
        if self.expects() { Page::None } else { self.page }
    }

    fn expects(&self) -> bool {
        matches!(self.operation, Operation::Store { expect: true, .. })
    }

    /// The digest that is announced. With Expect none is, for the same reason.
    fn digest(&self) -> Digest {
        if self.expects() { Digest::None } else { self.extras.digest }
    }
}

fn extras() -> impl Strategy<Value = Extras> {
    let condition = prop_oneof![
        8 => Just(Condition::None),
        1 => Just(Condition::MatchAny),
        2 => Just(Condition::MatchOurs),
        1 => Just(Condition::MatchOther),
        1 => Just(Condition::NoneMatchAny),
        2 => Just(Condition::NoneMatchOurs),
        1 => Just(Condition::NoneMatchOther),
    ];
    let range = prop_oneof![
        4 => Just(None),
        1 => (0..60_usize, 0..60_usize).prop_map(|(from, more)| Some((from, from + more))),
        1 => (0..100_000_usize, 0..20_000_usize).prop_map(|(from, more)| Some((from, from + more))),
    ];
    let kept = prop_oneof![2 => Just(0), 1 => 0..KEPT.len()];
    let digest =
        prop_oneof![6 => Just(Digest::None), 1 => Just(Digest::Right), 1 => Just(Digest::Wrong)];
    (condition, kept, range, digest).prop_map(|(condition, kept, range, digest)| Extras {
        condition,
        kept,
        range,
        digest,
    })
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => vec(any::<u8>(), 0..40),
        2 => vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'G')], 0..40),
        2 => (any::<u8>(), 100..9_000_usize).prop_map(|(byte, len)| vec![byte; len]),
        1 => (any::<u8>(), 20_000..200_000_usize).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn framing() -> impl Strategy<Value = Framing> {
    prop_oneof![
        2 => Just(Framing::Length),
        1 => vec(prop_oneof![1..20_usize, 1_000..70_000_usize], 1..4).prop_map(Framing::Chunked),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => Just(Operation::Get),
        2 => Just(Operation::Head),
        3 => Just(Operation::Delete),
        1 => Just(Operation::Propfind),
        1 => Just(Operation::Options),
        1 => Just(Operation::Patch),
        1 => Just(Operation::Unknown),
        8 => (
            any::<bool>(),
            value(),
            framing(),
            prop::bool::weighted(0.2),
            prop_oneof![6 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(3_600))],
        )
            .prop_map(|(post, value, framing, expect, max_age)| Operation::Store {
                post, value, framing, expect, max_age
            }),
        1 => (value(), framing()).prop_map(|(body, framing)| Operation::GetWithBody { body, framing }),
        1 => Just(Operation::Healthz),
        1 => (prop_oneof![Just("/size"), Just("/metrics"), Just("/"), Just("/%73ize")], value())
            .prop_map(|(name, body)| Operation::StoreReserved { name, body }),
        1 => value().prop_map(|body| Operation::BrokenKey { body }),
        1 => value().prop_map(|body| Operation::BrokenMaxAge { body }),
        1 => (1..4_usize).prop_map(Operation::EmptyLines),
        1 => any::<bool>().prop_map(|all| Operation::Purge { all }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    (
        0..CONNECTIONS,
        0..6_u8,
        prop_oneof![
            4 => Just(Spelling::Plain),
            1 => Just(Spelling::Encoded),
            1 => Just(Spelling::Query),
            1 => Just(Spelling::Absolute)
        ],
        operation(),
        any::<u8>(),
        prop_oneof![6 => Just(Page::None), 1 => Just(Page::Own), 1 => Just(Page::OfAnotherSite)],
        extras(),
    )
        .prop_map(|(connection, key, spelling, operation, fields, page, extras)| Step {
            connection,
            key,
            spelling,
            operation,
            fields,
            page,
            extras,
        })
}

/// The server as it ought to be.
#[derive(Debug, Default)]
struct Model {
    values: HashMap<u8, Stored>,
    /// Any value may have been evicted, but then it stays away.
    may_evict: bool,
}

#[derive(Debug, Clone)]
struct Stored {
    value: Vec<u8>,
    kept: &'static str,
    has_life: bool,
}

impl Stored {
    /// The entity tag: XXH3 with 128 bits of the value, and if there are fields, of that and them.
    fn tag(&self) -> String {
        let mut hash = xxh3_128(&self.value);
        if !self.kept.is_empty() {
            hash = xxh3_128(&[&hash.to_le_bytes(), self.kept.as_bytes()].concat());
        }
        format!("\"{hash:032x}\"")
    }
}

impl Model {
    /// The exact answer to a step, the date replaced, or for a line of free text its head.
    fn answer(&mut self, step: &Step) -> Expected {
        let key = step.key;
        let is_harmless = matches!(
            step.operation,
            Operation::Propfind
                | Operation::Options
                | Operation::Patch
                | Operation::Unknown
                | Operation::EmptyLines(_)
        );
        if step.page() == Page::OfAnotherSite && !is_harmless {
            return Expected::Error(403);
        }
        let stored = self.values.get(&key);
        let condition = step.extras.condition;
        match &step.operation {
            Operation::Get | Operation::GetWithBody { .. } | Operation::Head => {
                let is_get = !matches!(step.operation, Operation::Head);
                let Some(stored) = stored else { return Expected::Bytes(miss()) };
                match read(stored, step, is_get) {
                    Expected::Bytes(answer) => self.unless_evicted(answer, miss()),
                    other => other,
                }
            }
            Operation::Delete => match stored {
                Some(stored) if !condition.holds(true) => Expected::Bytes(failed(Some(stored))),
                Some(_) => {
                    self.values.remove(&key);
                    self.unless_evicted(no_content(""), miss())
                }
                None => Expected::Bytes(miss()),
            },
            Operation::Propfind => Expected::Bytes(miss()),
            Operation::Options => Expected::Bytes(
                format!("HTTP/1.1 204 No Content\r\nDate: -\r\nAllow: {ALLOW}\r\n\r\n").into(),
            ),
            Operation::Patch => Expected::Error(405),
            Operation::Unknown => Expected::Error(501),
            Operation::Store { .. } if step.digest() == Digest::Wrong => Expected::Error(400),
            Operation::Store { value, expect, framing, max_age, .. } => {
                let has_body = !value.is_empty() || matches!(framing, Framing::Chunked(_));
                let interim: &[u8] =
                    if *expect && has_body { b"HTTP/1.1 100 Continue\r\n\r\n" } else { b"" };
                if !condition.holds(stored.is_some()) {
                    return Expected::Bytes([interim, &failed(stored)].concat());
                }
                let has_life = max_age.is_some_and(|seconds| seconds > 0);
                let new = Stored { value: value.clone(), kept: KEPT[step.extras.kept], has_life };
                let tag = match condition {
                    Condition::None => String::new(),
                    _ => format!("ETag: {}\r\n", new.tag()),
                };
                let before = self.values.insert(key, new);
                let [replaced, new] =
                    [no_content(&tag), created(&tag)].map(|answer| [interim, &answer].concat());
                match before {
                    Some(_) => self.unless_evicted(replaced, new),
                    None => Expected::Bytes(new),
                }
            }
            Operation::Healthz => Expected::Healthz,
            Operation::StoreReserved { .. } => Expected::Error(405),
            Operation::BrokenKey { .. } | Operation::BrokenMaxAge { .. } => Expected::Error(400),
            Operation::EmptyLines(_) => Expected::Bytes(Vec::new()),
            Operation::Purge { all } => {
                if *all {
                    self.values.clear();
                }
                Expected::Bytes(no_content(""))
            }
        }
    }

    fn unless_evicted(&self, kept: Vec<u8>, evicted: Vec<u8>) -> Expected {
        if self.may_evict { Expected::Either { kept, evicted } } else { Expected::Bytes(kept) }
    }

    /// Takes over that a step's key was found to be absent.
    fn note_evicted(&mut self, step: &Step) {
        if !matches!(step.operation, Operation::Store { .. }) {
            self.values.remove(&step.key);
        }
    }
}

#[derive(Debug)]
enum Expected {
    Bytes(Vec<u8>),
    /// By whether the key was evicted meanwhile.
    Either {
        kept: Vec<u8>,
        evicted: Vec<u8>,
    },
    Error(u16),
    Healthz,
}

/// The answer to a GET or a HEAD of what is stored.
fn read(stored: &Stored, step: &Step, is_get: bool) -> Expected {
    let Extras { condition, range, .. } = step.extras;
    let Stored { value, kept, has_life } = stored;
    let tag = format!("ETag: {}\r\n", stored.tag());
    let life = if !is_get && *has_life { "Cache-Control: max-age=-\r\n" } else { "" };
    if !condition.holds(true) {
        if condition.is_match() {
            return if is_get {
                Expected::Bytes(failed(Some(stored)))
            } else {
                Expected::Error(412)
            };
        }
        let head = format!("HTTP/1.1 304 Not Modified\r\nDate: -\r\n{tag}{life}\r\n");
        return Expected::Bytes(head.into());
    }
    let len = value.len();
    let (status, fields, part) = match range.filter(|_| is_get) {
        None => ("200 OK", String::new(), 0..len),
        Some((from, _)) if from >= len => return Expected::Error(416),
        Some((from, to)) => {
            let to = to.min(len - 1);
            (
                "206 Partial Content",
                format!("Content-Range: bytes {from}-{to}/{len}\r\n"),
                from..to + 1,
            )
        }
    };
    let tag = if is_get && status == "200 OK" { "" } else { &tag };
    let length = part.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nDate: -\r\n{tag}{life}{fields}{kept}Content-Length: {length}\r\n\r\n"
    );
    let body = if is_get { &value[part] } else { &[] };
    Expected::Bytes([head.as_bytes(), body].concat())
}

/// The answer to a request whose precondition does not hold.
fn failed(stored: Option<&Stored>) -> Vec<u8> {
    const TEXT: &str = "If-Match or If-None-Match does not hold for what is stored\n";
    let tag = stored.map_or(String::new(), |stored| format!("ETag: {}\r\n", stored.tag()));
    let length = TEXT.len();
    format!(
        "HTTP/1.1 412 Precondition Failed\r\nDate: -\r\n{tag}Content-Type: text/plain\r\n\
             Content-Length: {length}\r\n\r\n{TEXT}"
    )
    .into()
}

fn miss() -> Vec<u8> {
    b"HTTP/1.1 404 Not Found\r\nDate: -\r\nContent-Length: 0\r\n\r\n".to_vec()
}

fn created(tag: &str) -> Vec<u8> {
    format!("HTTP/1.1 201 Created\r\nDate: -\r\n{tag}Content-Length: 0\r\n\r\n").into()
}

fn no_content(tag: &str) -> Vec<u8> {
    format!("HTTP/1.1 204 No Content\r\nDate: -\r\n{tag}\r\n").into()
}

/// The lines of the fields that ask for more, or less, than a plain request.
fn extra_lines(step: &Step, model: &Model) -> String {
    let ours = model.values.get(&step.key).map_or(OTHER.to_owned(), Stored::tag);
    let mut lines = step.extras.condition.line(&ours);
    if let Some((from, to)) = step.extras.range {
        lines += &format!("Range: bytes={from}-{to}\r\n");
    }
    if let Operation::Store { value, .. } = &step.operation {
        lines += KEPT[step.extras.kept];
        let digest = match step.digest() {
            Digest::None => return lines,
            Digest::Right => Sha256::digest(value),
            Digest::Wrong => Sha256::digest([&value[..], b"x"].concat()),
        };
        let text = base64::engine::general_purpose::STANDARD.encode(digest);
        lines += &format!("Content-Digest: sha-256=:{text}:\r\n");
    }
    lines
}

/// The bytes of a step's request, if the model is what is stored by then.
fn request(step: &Step, prefix: &str, model: &Model) -> Vec<u8> {
    let extra = extra_lines(step, model);
    let key = format!("{prefix}/{}", step.key);
    let target = match step.spelling {
        Spelling::Plain => format!("/{key}"),
        Spelling::Encoded => {
            let encoded: String = key
                .bytes()
                .enumerate()
                .map(|(n, b)| if n % 2 == 0 { format!("%{b:02x}") } else { format!("%{b:02X}") })
                .collect();
            format!("/{encoded}")
        }
        Spelling::Query => format!("/{key}?x=%zz/y"),
        Spelling::Absolute => format!("http://other:81/{key}"),
    };
    let with_body = |method: &str, target: &str, more: &str, body: &[u8], framing: &Framing| {
        let mut bytes = head(step, method, target, more, Some((body.len(), framing)));
        append_body(&mut bytes, body, framing);
        bytes
    };
    match &step.operation {
        Operation::Get => head(step, "GET", &target, &extra, None),
        Operation::Head => head(step, "HEAD", &target, &extra, None),
        Operation::Delete => head(step, "DELETE", &target, &extra, None),
        Operation::Propfind => head(step, "PROPFIND", &target, "", None),
        Operation::Options => head(step, "OPTIONS", &target, "", None),
        Operation::Patch => with_body("PATCH", &target, "", b"patch", &Framing::Length),
        Operation::Unknown => head(step, "FETCH", &target, "", None),
        Operation::Store { post, value, framing, expect, max_age } => {
            let mut more = extra;
            if *expect {
                more.push_str("Expect: 100-continue\r\n");
            }
            if let Some(seconds) = max_age {
                more.push_str(&format!("Cache-Control: private, max-age={seconds}\r\n"));
            }
            with_body(if *post { "POST" } else { "PUT" }, &target, &more, value, framing)
        }
        Operation::GetWithBody { body, framing } => {
            with_body("GET", &target, &extra, body, framing)
        }
        Operation::Healthz => head(step, "GET", "/healthz", "", None),
        Operation::StoreReserved { name, body } => {
            with_body("PUT", name, "", body, &Framing::Length)
        }
        Operation::BrokenKey { body } => {
            with_body("PUT", &format!("/{key}%4"), "", body, &Framing::Length)
        }
        Operation::BrokenMaxAge { body } => {
            with_body("PUT", &target, "Cache-Control: max-age=soon\r\n", body, &Framing::Length)
        }
        Operation::EmptyLines(count) => b"\r\n".repeat(*count),
        Operation::Purge { all: true } => {
            head(step, "PURGE", &format!("/{prefix}/?x"), &extra, None)
        }
        Operation::Purge { all: false } => {
            with_body("PURGE", &format!("/{key}%2f"), "", b"ignored", &Framing::Length)
        }
    }
}

/// A request head with some variety in its fields that must make no difference.
fn head(
    step: &Step,
    method: &str,
    target: &str,
    more: &str,
    body: Option<(usize, &Framing)>,
) -> Vec<u8> {
    let mut lines = vec![format!("{method} {target} HTTP/1.1\r\n")];
    if step.fields & 1 != 0 {
        lines.push("User-Agent: model/1.0\r\nAccept: */*\r\n".to_owned());
    }
    lines.push(
        if step.fields & 2 != 0 { "host:t.localhost:80 \r\n" } else { "Host: t\r\n" }.to_owned(),
    );
    match step.page() {
        Page::None => {}
        Page::Own => lines.push("Sec-Fetch-Site: same-origin\r\n".to_owned()),
        Page::OfAnotherSite => lines.push("sec-fetch-site: cross-site\r\n".to_owned()),
    }
    if step.fields & 4 != 0 {
        lines.push("Connection: keep-alive\r\n".to_owned());
    }
    lines.push(more.to_owned());
    match body {
        Some((len, Framing::Length)) if step.fields & 8 != 0 => {
            lines.push(format!("content-length: \t0{len} \r\n"));
        }
        Some((len, Framing::Length)) => lines.push(format!("Content-Length: {len}\r\n")),
        Some((_, Framing::Chunked(_))) => lines.push("Transfer-Encoding: Chunked\r\n".to_owned()),
        None => {}
    }
    if step.fields & 16 != 0 {
        lines.push("X-Last: a\tb\r\n".to_owned());
    }
    lines.push("\r\n".to_owned());
    lines.concat().into_bytes()
}

fn append_body(bytes: &mut Vec<u8>, body: &[u8], framing: &Framing) {
    let Framing::Chunked(sizes) = framing else {
        bytes.extend_from_slice(body);
        return;
    };
    let mut rest = body;
    for (n, size) in sizes.iter().cycle().enumerate() {
        let (chunk, after) = rest.split_at((*size).min(rest.len()));
        let extension = if n % 3 == 1 { ";x=\"y\"" } else { "" };
        bytes.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        if chunk.is_empty() {
            bytes.extend_from_slice(if body.len().is_multiple_of(2) {
                b"X-Trailer: t\r\n\r\n"
            } else {
                b"\r\n"
            });
            return;
        }
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        rest = after;
    }
}

/// Sends bytes in pieces; a cut is a fraction of what is left.
fn send_split(client: &mut Client, bytes: &[u8], cuts: &[u16]) {
    let mut rest = bytes;
    for cut in cuts {
        let (piece, after) = rest.split_at(rest.len() * usize::from(*cut) / (1 << 16));
        if !piece.is_empty() {
            client.send(piece);
            std::thread::yield_now();
        }
        rest = after;
    }
    client.send(rest);
}

/// Checks that a final response has a browser's fields exactly if one asked, and takes them away.
fn without_browser_fields(step: &Step, response: &[u8]) -> Result<Vec<u8>, TestCaseError> {
    let fields = BROWSER_FIELDS.as_bytes();
    let at = response.windows(fields.len()).position(|window| window == fields);
    prop_assert_eq!(at.is_some(), step.page() != Page::None, "{:?}", step);
    let at = at.unwrap_or(response.len());
    Ok([&response[..at], response.get(at + fields.len()..).unwrap_or_default()].concat())
}

/// The same bytes with what is left of a life, which goes by, replaced.
fn without_age(mut response: Vec<u8>) -> Vec<u8> {
    const FIELD: &[u8] = b"\r\nCache-Control: max-age=";
    if let Some(at) = response.windows(FIELD.len()).position(|window| window == FIELD) {
        let digits = at + FIELD.len();
        let end =
            digits + response[digits..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        response.splice(digits..end, *b"-");
    }
    response
}

/// Reads one answer and compares it. Whether it says that the key was evicted.
fn check(client: &mut Client, step: &Step, expected: &Expected) -> Result<bool, TestCaseError> {
    match expected {
        Expected::Bytes(bytes) => {
            let received = receive(client, step, bytes)?;
            let matches = received == *bytes;
            prop_assert!(matches, "{}", difference(step, bytes, &received));
        }
        Expected::Either { kept, evicted } => {
            let received = receive(client, step, kept)?;
            let is_evicted = received == *evicted;
            let matches = is_evicted || received == *kept;
            prop_assert!(matches, "{}", difference(step, kept, &received));
            return Ok(is_evicted);
        }
        Expected::Error(status) => {
            let to_head = matches!(step.operation, Operation::Head);
            let response = if to_head { client.response_to_head() } else { client.response() };
            prop_assert_eq!(response.status, *status, "{:?}", step);
            prop_assert!(to_head || testkit::error_line(&response.body), "{:?}", step);
            without_browser_fields(step, &response.head)?;
            prop_assert_eq!(response.field("Connection"), None);
        }
        Expected::Healthz => {
            let response = client.response();
            prop_assert_eq!((response.status, response.line()), (200, "ok".to_owned()));
        }
    }
    Ok(false)
}

/// Reads as many responses as the expected bytes are.
fn receive(client: &mut Client, step: &Step, expected: &[u8]) -> Result<Vec<u8>, TestCaseError> {
    // An interim response comes with a final one; empty lines have no answer at all.
    let responses = match expected {
        [] => 0,
        bytes if bytes.starts_with(b"HTTP/1.1 100 ") => 2,
        _ => 1,
    };
    let mut received = Vec::new();
    for _ in 0..responses {
        let to_head = matches!(step.operation, Operation::Head);
        let response = if to_head { client.response_to_head() } else { client.response() };
        let bytes = without_age(response.normalised());
        let is_interim = response.status < 200;
        received.extend(if is_interim { bytes } else { without_browser_fields(step, &bytes)? });
    }
    Ok(received)
}

fn difference(step: &Step, expected: &[u8], received: &[u8]) -> String {
    format!("{step:?}\n  expected {}\n  received {}", show(expected), show(received))
}

static SERVER: OnceLock<String> = OnceLock::new();
static CASES: AtomicU64 = AtomicU64::new(0);

/// What no other case's keys begin with.
fn prefix() -> String {
    format!("case{}", CASES.fetch_add(1, Ordering::Relaxed))
}

/// Sends steps as one pipeline, and reads and checks their answers.
fn pipeline(
    client: &mut Client,
    steps: &[Step],
    cuts: &[u16],
    prefix: &str,
    model: &mut Model,
) -> Result<(), TestCaseError> {
    let (mut bytes, mut answers) = (Vec::new(), Vec::new());
    for step in steps {
        bytes.extend(request(step, prefix, model));
        answers.push(model.answer(step));
    }
    let mut writer = Client::from_stream(client.stream.try_clone().expect("a second handle"));
    std::thread::scope(|scope| {
        scope.spawn(move || send_split(&mut writer, &bytes, cuts));
        for (at, (step, answer)) in steps.iter().zip(&answers).enumerate() {
            let is_evicted = check(client, step, answer)?;
            // The model is ahead: it knows of what the pipeline stores after this.
            let is_stored = steps[at + 1..].iter().any(|later| {
                later.key == step.key && matches!(later.operation, Operation::Store { .. })
            });
            if is_evicted && !is_stored {
                model.note_evicted(step);
            }
        }
        Ok(())
    })
}

/// Runs of consecutive steps of one connection go out as one pipeline; before another connection
/// goes on, its answers are read, so that the model knows the order of everything.
fn run(steps: &[Step], cuts: &[u16], half_close: bool) -> Result<(), TestCaseError> {
    let (address, prefix) = (SERVER.get().expect("started"), prefix());
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| Client::connect(address)).collect();
    let mut model = Model::default();
    for group in steps.chunk_by(|a, b| a.connection == b.connection) {
        let client = &mut clients[group[0].connection];
        pipeline(client, group, cuts, &prefix, &mut model)?;
    }
    for client in &mut clients {
        if half_close {
            client.half_close();
            let rest = normalise(&client.read_to_end());
            prop_assert!(rest.is_empty(), "answers to nothing: {}", show(&rest));
        }
    }
    Ok(())
}

/// What happens while requests come and go.
#[derive(Debug, Clone)]
enum Event {
    /// One connection's requests.
    Requests(Vec<Step>),
    /// A large value is stored.
    Store { key: u8, seed: u8, len: usize },
    /// A reader asks for a key and does not read.
    Hold(u8),
    /// The reader that has waited longest reads.
    LetGo,
    /// A value is sent but for its last bytes.
    Begin { key: u8, seed: u8, len: usize, chunked: bool },
    /// The upload that began first is finished,
    Finish,
    /// or broken off.
    Abandon,
}

/// Readers, and uploads, that are under way at a time.
const UNDER_WAY_MAX: usize = 3;

/// More than the sockets between server and client hold.
const LARGE_BYTES: std::ops::Range<usize> = 400_000..1_200_000;

/// Bytes of a body that are sent at its end.
const LAST_BYTES: usize = 100;

fn event() -> impl Strategy<Value = Event> {
    let large = || (0..6_u8, any::<u8>(), LARGE_BYTES);
    prop_oneof![
        // Without preconditions, which an eviction could make come out otherwise.
        4 => vec(step().prop_map(|step| Step { extras: Extras::NONE, ..step }), 1..8)
            .prop_map(Event::Requests),
        3 => large().prop_map(|(key, seed, len)| Event::Store { key, seed, len }),
        3 => (0..6_u8).prop_map(Event::Hold),
        1 => Just(Event::LetGo),
        2 => (large(), any::<bool>()).prop_map(|((key, seed, len), chunked)| {
            Event::Begin { key, seed, len, chunked }
        }),
        1 => Just(Event::Finish),
        1 => Just(Event::Abandon),
    ]
}

/// A large value of which each part looks different.
fn large_value(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| seed ^ (at % 251) as u8 ^ (at >> 12) as u8).collect()
}

struct Reader {
    client: Client,
    step: Step,
    expected: Expected,
}

struct Unfinished {
    client: Client,
    step: Step,
    rest: Vec<u8>,
}

/// Everything that is under way in a case.
struct Scene {
    address: String,
    prefix: String,
    model: Model,
    readers: VecDeque<Reader>,
    uploads: VecDeque<Unfinished>,
}

impl Scene {
    fn step(key: u8, operation: Operation) -> Step {
        let (connection, fields, page, extras) = (0, 0, Page::None, Extras::NONE);
        Step { connection, key, spelling: Spelling::Plain, operation, fields, page, extras }
    }

    fn store(key: u8, seed: u8, len: usize, chunked: bool) -> Step {
        let framing = if chunked { Framing::Chunked(vec![50_000]) } else { Framing::Length };
        let (value, expect, max_age) = (large_value(seed, len), false, None);
        Self::step(key, Operation::Store { post: false, value, framing, expect, max_age })
    }

    fn happen(&mut self, event: &Event, client: &mut Client) -> Result<(), TestCaseError> {
        match event {
            Event::Requests(steps) => {
                pipeline(client, steps, &[], &self.prefix, &mut self.model)?;
            }
            &Event::Store { key, seed, len } => {
                let steps = [Self::store(key, seed, len, false)];
                pipeline(client, &steps, &[], &self.prefix, &mut self.model)?;
            }
            &Event::Hold(key) => {
                if self.readers.len() == UNDER_WAY_MAX {
                    self.let_go()?;
                }
                self.hold(key)?;
            }
            Event::LetGo => self.let_go()?,
            &Event::Begin { key, seed, len, chunked } => {
                if self.uploads.len() == UNDER_WAY_MAX {
                    self.finish()?;
                }
                let step = Self::store(key, seed, len, chunked);
                let mut bytes = request(&step, &self.prefix, &self.model);
                let rest = bytes.split_off(bytes.len() - LAST_BYTES);
                let mut client = Client::connect(&self.address);
                client.send(bytes);
                self.uploads.push_back(Unfinished { client, step, rest });
            }
            Event::Finish => self.finish()?,
            Event::Abandon => drop(self.uploads.pop_front()),
        }
        Ok(())
    }

    fn hold(&mut self, key: u8) -> Result<(), TestCaseError> {
        let step = Self::step(key, Operation::Get);
        let mut client = small_window(&self.address);
        client.send(request(&step, &self.prefix, &self.model));
        // Whose value it is is decided by when the answer begins.
        client.stream.peek(&mut [0]).expect("an answer");
        let expected = self.model.answer(&step);
        self.readers.push_back(Reader { client, step, expected });
        Ok(())
    }

    fn let_go(&mut self) -> Result<(), TestCaseError> {
        if let Some(Reader { mut client, step, expected }) = self.readers.pop_front() {
            // It says that the key was absent then; what has become of it since is not known.
            check(&mut client, &step, &expected)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), TestCaseError> {
        if let Some(Unfinished { mut client, step, rest }) = self.uploads.pop_front() {
            client.send(rest);
            check(&mut client, &step, &self.model.answer(&step))?;
        }
        Ok(())
    }
}

/// A connection that takes as few bytes as can be while it does not read.
fn small_window(address: &str) -> Client {
    let address: std::net::SocketAddr = address.parse().expect("an address");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.set_recv_buffer_size(4096).expect("SO_RCVBUF");
    socket.connect(&address.into()).expect("a connection");
    Client::from_stream(TcpStream::from(socket))
}

fn run_events(server: &Server, events: &[Event], may_evict: bool) -> Result<(), TestCaseError> {
    let mut scene = Scene {
        address: server.address().to_owned(),
        prefix: prefix(),
        model: Model { may_evict, ..Model::default() },
        readers: VecDeque::new(),
        uploads: VecDeque::new(),
    };
    let mut client = server.connect();
    for event in events {
        scene.happen(event, &mut client)?;
    }
    while !scene.readers.is_empty() {
        scene.let_go()?;
    }
    Ok(())
}

/// Cases with values that readers hold and that are being received all the time.
fn compare_under_way(memory: &str, cases: u32, may_evict: bool) {
    // A case that the machine holds up is no slow upload.
    let server = Server::start(&["--memory", memory, "--min-rate", "0"]);
    TestRunner::new(config(cases))
        .run(&vec(event(), 10..60), |events| run_events(&server, &events, may_evict))
        .unwrap_or_else(|error| panic!("{error}"));
    let mut client = server.connect();
    for metric in ["corekv_pinned_bytes 0", "corekv_upload_bytes 0"] {
        eventually(metric, || client.get("/metrics").line().lines().any(|line| line == metric));
    }
}

fn config(cases: u32) -> Config {
    // Failures are reproduced from the printed input; nothing is written beside the sources.
    Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 300,
        // A failure that is a hang takes long to be seen, every time.
        max_shrink_time: 20_000,
        ..Config::default()
    }
}

#[test]
fn the_server_does_what_the_model_does() {
    let server = Server::start(&["--keep-fields", "content-type,x-tag"]);
    SERVER.set(server.address().to_owned()).expect("one server for all cases");
    let pipelined = (vec(step(), 1..60), vec(any::<u16>(), 0..12), any::<bool>());
    TestRunner::new(config(250))
        .run(&pipelined, |(steps, cuts, half_close)| run(&steps, &cuts, half_close))
        .unwrap_or_else(|error| panic!("{error}"));

    // The same on one connection: deep pipelines cut into many pieces.
    let deep = (vec(step(), 100..300), vec(any::<u16>(), 0..200));
    TestRunner::new(config(25))
        .run(&deep, |(mut steps, mut cuts)| {
            for step in &mut steps {
                step.connection = 0;
            }
            // Small cuts: pieces of a few hundred bytes instead of halves.
            for cut in &mut cuts {
                *cut /= 64;
            }
            run(&steps, &cuts, true)
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn with_pinned_values_and_uploads_in_flight_it_does_what_the_model_does() {
    compare_under_way("1GiB", 40, false);
}

#[test]
fn in_little_memory_values_go_but_none_is_wrong() {
    compare_under_way("16MiB", 40, true);
}
