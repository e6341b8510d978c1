//! Requests that are mostly well-formed, so that the fuzzer gets behind the parser at once.

use arbitrary::Arbitrary;

#[derive(Debug, Arbitrary)]
pub struct Script {
    exchanges: Vec<Exchange>,
    damage: Vec<(u16, u8, bool)>,
}

#[derive(Debug, Arbitrary)]
struct Exchange {
    method: Method,
    target: Target,
    minor: u8,
    fields: Vec<Field>,
    body: Body,
    /// Which of several credentials it has, where tokens are needed.
    credentials: u8,
    /// Whether the target is read afterwards, with the same credentials.
    read: bool,
    /// Sent this many times more, up to a limit.
    again: u8,
}

#[derive(Debug, Arbitrary)]
enum Method {
    Get,
    GetAgain,
    Head,
    Put,
    Post,
    Delete,
    Options,
    Propfind,
    Connect,
    Patch,
    Unknown,
}

#[derive(Debug, Arbitrary)]
enum Target {
    Key(u8),
    Escaped(u8),
    Query(u8),
    Absolute(u8),
    Page(u8),
    Long(u8),
    Broken,
    Server,
}

#[derive(Debug, Arbitrary)]
enum Field {
    Close,
    KeepAlive,
    Continue,
    Expectation,
    MaxAge(u8),
    BadMaxAge,
    Part,
    Condition(u8),
    Range(u8, u8),
    Host,
    Length(u8),
    Coding(u8),
    Other(u8),
    Long(u8),
}

#[derive(Debug, Arbitrary)]
enum Body {
    None,
    Length(u16),
    Chunks(Vec<u16>, u8),
    Short(u8),
    Large(u16),
    LargeChunks(Vec<u16>),
}

const REQUESTS_MAX: usize = 400;
const BYTES_MAX: usize = 192 << 10;

/// Lines of which most requests have the first. The Basic ones have the tokens of
/// [`access`](crate::access) as passwords, and some of them mistakes.
const CREDENTIALS: [&str; 20] = [
    "Authorization: Bearer secret\r\n",
    "Authorization: Bearer viewer\r\n",
    "Authorization: Basic dXNlcjpzZWNyZXQ=\r\n",
    "Authorization: Basic OnZpZXdlcg==\r\n",
    "",
    "authorization:bearer  secret \r\n",
    "Authorization: Bearer secre\r\n",
    "Authorization: Bearer secret2\r\n",
    "Authorization: Bearer\r\n",
    "Authorization: secret\r\n",
    "Authorization: Basic c2VjcmV0\r\n",
    "Authorization: Basic dXNlcjpzZWNyZXQ\r\n",
    "Authorization: Basic dXNlcjpzZWNyZXR=\r\n",
    "Authorization: BASIC Og==\r\n",
    "Authorization: Digest secret\r\n",
    "Authorization: Bearer secret\r\nAuthorization: Bearer secret\r\n",
    "Authorization: Bearer ci\r\n",
    "Authorization: Bearer guest\r\n",
    "Authorization: Basic OmNp\r\n",
    "Authorization: Bearer ci\r\n",
];

/// Paths in and beside what some tokens are limited to, and what is purged.
const PATHS: [&str; 16] = [
    "a/1", "a/1", "%61/1", "a%2F1", "a/", "a", "a/1?a/", "b/1", "b//1", "b%2f/1", "A/1", "/a/1",
    "b//", "a%2", "a/1/", "a/../1",
];

/// What browsers say of their requests.
const BROWSER_FIELDS: [&str; 12] = [
    "Sec-Fetch-Site: same-origin",
    "sec-fetch-site: none",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: same-site",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Mode: no-cors",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Dest: iframe",
    "Origin: http://h",
    "Origin: https://H:443",
    "Origin: http://other.example",
    "origin: null",
];

/// Preconditions. The tags are those of no value, of the empty one, and of none.
const CONDITIONS: [&str; 12] = [
    "If-Match: *",
    "If-None-Match: *",
    "if-match: \"x\"",
    "If-None-Match: W/\"x\", \"y,\"",
    "If-Match: \"99aa06d3014798d86001c324468d497f\"",
    "If-None-Match: W/\"99aa06d3014798d86001c324468d497f\"",
    "If-Range: \"99aa06d3014798d86001c324468d497f\"",
    "If-Range: Sun, 06 Nov 1994 08:49:37 GMT",
    "If-Match: x",
    "If-None-Match: *, \"x\"",
    "If-Match: \"99aa06d3014798d86001c324468d497f\" , , W/\"\"",
    "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
];

const RANGES: [&str; 8] = [
    "Range: bytes=-1",
    "range: BYTES=0-",
    "Range: bytes=-0",
    "Range: bytes=5-2",
    "Range: bytes=0-1,3-4",
    "Range: lines=1-2",
    "Range: bytes=99999999999999999999-",
    "Range: bytes= 0-0 ",
];

impl Script {
    /// The bytes; with credentials where `tokens` says so.
    pub fn render(&self, tokens: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let mut requests = 0;
        for exchange in &self.exchanges {
            for _ in 0..=(exchange.again % 64) {
                requests += 1;
                if requests > REQUESTS_MAX || out.len() > BYTES_MAX {
                    break;
                }
                exchange.render(tokens, &mut out);
                if exchange.read {
                    exchange.render_head("GET", tokens, &mut out);
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
        for &(at, byte, insert) in &self.damage {
            let at = usize::from(at);
            if insert && at <= out.len() {
                out.insert(at, byte);
            } else if at < out.len() {
                out[at] = byte;
            }
        }
        out
    }
}

impl Exchange {
    fn render(&self, tokens: bool, out: &mut Vec<u8>) {
        let method = match self.method {
            Method::Get | Method::GetAgain => "GET",
            Method::Head => "HEAD",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Propfind => "PROPFIND",
            Method::Connect => "CONNECT",
            Method::Patch if self.minor & 16 != 0 => "PURGE",
            Method::Patch => "PATCH",
            Method::Unknown => "get",
        };
        self.render_head(method, tokens, out);
        self.render_fields(out);
        self.body.render(out);
    }

    /// The request line and the fields that every request has.
    fn render_head(&self, method: &str, tokens: bool, out: &mut Vec<u8>) {
        let target = match self.target {
            Target::Key(n) => format!("/{}", n % 8),
            Target::Escaped(n) => format!("/%{n:02x}"),
            Target::Query(n) => format!("/{}?{n}", n % 8),
            Target::Absolute(n) => {
                let host = if n < 192 { "h" } else { "other.example" };
                format!("http://{host}/{}", n % 8)
            }
            Target::Page(n) => {
                format!("/{}", ["", "size", "healthz", "metrics"][usize::from(n % 4)])
            }
            Target::Long(n @ 192..) => format!("/{}", PATHS[usize::from(n % 16)]),
            Target::Long(n) => format!("/{}", "k".repeat(usize::from(n))),
            Target::Broken => "/%4".to_owned(),
            Target::Server => "*".to_owned(),
        };
        // Mostly 1.1, some 1.0, and a few that are served as 1.1.
        let minor = [1, 0, 1, 1, 1, 2, 9, 1][usize::from(self.minor % 8)];
        out.extend_from_slice(
            format!("{method} {target} HTTP/1.{minor}\r\nHost: h\r\n").as_bytes(),
        );
        if tokens {
            let line =
                CREDENTIALS.get(usize::from(self.credentials / 4)).unwrap_or(&CREDENTIALS[0]);
            out.extend_from_slice(line.as_bytes());
        }
    }

    fn render_fields(&self, out: &mut Vec<u8>) {
        for field in self.fields.iter().take(8) {
            let field = match field {
                Field::Close => "Connection: close".to_owned(),
                Field::KeepAlive => "connection: a, Keep-Alive".to_owned(),
                Field::Continue => "Expect: 100-Continue".to_owned(),
                Field::Expectation => "Expect: x".to_owned(),
                Field::MaxAge(n) => format!("Cache-Control: max-age={n}"),
                Field::BadMaxAge => "Cache-Control: public, max-age=-1".to_owned(),
                Field::Part => "Content-Range: bytes 0-1/2".to_owned(),
                Field::Condition(n) => CONDITIONS[usize::from(n % 12)].to_owned(),
                Field::Range(n @ 240.., m) => RANGES[usize::from((n ^ m) % 8)].to_owned(),
                Field::Range(n, m) => {
                    format!(
                        "Range: bytes={}-{}",
                        u16::from(*n) * 8,
                        u16::from(*n) * 8 + u16::from(*m)
                    )
                }
                Field::Host => "Host: i".to_owned(),
                Field::Length(n) => format!("Content-Length: {n}"),
                Field::Coding(n) => {
                    let codings = [
                        "chunked",
                        "gzip, chunked",
                        "identity",
                        "chunked, chunked",
                        "",
                        ",chunked",
                    ];
                    format!("Transfer-Encoding: {}", codings[usize::from(n % 6)])
                }
                Field::Other(n @ 128..) => BROWSER_FIELDS[usize::from(n % 12)].to_owned(),
                Field::Other(n) => format!("X-{n}: {n}"),
                Field::Long(n) => format!("X: {}", "v".repeat(usize::from(*n) * 4)),
            };
            out.extend_from_slice(field.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl Body {
    fn render(&self, out: &mut Vec<u8>) {
        // Of a prime period, so that no page of a large value is as the one before.
        let data = |n: usize| (0..n).map(|i| b'a' + (i % 23) as u8);
        match self {
            Self::None => out.extend_from_slice(b"\r\n"),
            Self::Length(n) => {
                let n = usize::from(n % 4096);
                out.extend_from_slice(format!("Content-Length: {n}\r\n\r\n").as_bytes());
                out.extend(data(n));
            }
            Self::Large(n) => {
                let n = large(*n);
                out.extend_from_slice(format!("Content-Length: {n}\r\n\r\n").as_bytes());
                out.extend(data(n));
            }
            Self::LargeChunks(sizes) => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for size in sizes.iter().take(4) {
                    let size = large(*size);
                    out.extend_from_slice(format!("{size:x}\r\n").as_bytes());
                    out.extend(data(size));
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"0\r\n\r\n");
            }
            Self::Short(n) => {
                out.extend_from_slice(format!("Content-Length: {n}\r\n\r\n").as_bytes());
                out.extend(data(usize::from(*n) / 2));
            }
            Self::Chunks(sizes, tail) => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for size in sizes.iter().take(8) {
                    let size = usize::from(size % 1024).max(1);
                    let extension = ["", ";e", " ; e = \"\\\"\"", ";e=v;f", ";"][size % 5];
                    out.extend_from_slice(format!("{size:x}{extension}\r\n").as_bytes());
                    out.extend(data(size));
                    out.extend_from_slice(b"\r\n");
                }
                let tails: [&[u8]; 4] =
                    [b"0\r\n\r\n", b"000\r\nT: v\r\n\r\n", b"0 ;x\r\n\r\n", b"g\r\n"];
                out.extend_from_slice(tails[usize::from(tail % 4)]);
            }
        }
    }
}

/// The length of a large value, often one about which the store changes how it holds it.
fn large(n: u16) -> usize {
    match n {
        0..=4095 => 4040 + usize::from(n % 64),
        4096..=8191 => 8160 + usize::from(n % 64),
        _ => usize::from(n) % 24_000 + 1,
    }
}
