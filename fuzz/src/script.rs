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
    old: bool,
    fields: Vec<Field>,
    body: Body,
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
}

const REQUESTS_MAX: usize = 400;
const BYTES_MAX: usize = 64 << 10;

impl Script {
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut requests = 0;
        for exchange in &self.exchanges {
            for _ in 0..=(exchange.again % 64) {
                requests += 1;
                if requests > REQUESTS_MAX || out.len() > BYTES_MAX {
                    break;
                }
                exchange.render(&mut out);
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
    fn render(&self, out: &mut Vec<u8>) {
        let method = match self.method {
            Method::Get | Method::GetAgain => "GET",
            Method::Head => "HEAD",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Propfind => "PROPFIND",
            Method::Connect => "CONNECT",
            Method::Patch => "PATCH",
            Method::Unknown => "get",
        };
        let target = match self.target {
            Target::Key(n) => format!("/{}", n % 8),
            Target::Escaped(n) => format!("/%{n:02x}"),
            Target::Query(n) => format!("/{}?{n}", n % 8),
            Target::Absolute(n) => format!("http://h/{}", n % 8),
            Target::Page(n) => {
                format!("/{}", ["", "size", "healthz", "metrics"][usize::from(n % 4)])
            }
            Target::Long(n) => format!("/{}", "k".repeat(usize::from(n))),
            Target::Broken => "/%4".to_owned(),
            Target::Server => "*".to_owned(),
        };
        let version = if self.old { "1.0" } else { "1.1" };
        out.extend_from_slice(
            format!("{method} {target} HTTP/{version}\r\nHost: h\r\n").as_bytes(),
        );
        for field in self.fields.iter().take(8) {
            let field = match field {
                Field::Close => "Connection: close".to_owned(),
                Field::KeepAlive => "connection: a, Keep-Alive".to_owned(),
                Field::Continue => "Expect: 100-Continue".to_owned(),
                Field::Expectation => "Expect: x".to_owned(),
                Field::MaxAge(n) => format!("Cache-Control: max-age={n}"),
                Field::BadMaxAge => "Cache-Control: public, max-age=-1".to_owned(),
                Field::Host => "Host: i".to_owned(),
                Field::Length(n) => format!("Content-Length: {n}"),
                Field::Coding(n) => {
                    let codings = ["chunked", "gzip, chunked", "identity", "chunked, chunked"];
                    format!("Transfer-Encoding: {}", codings[usize::from(n % 4)])
                }
                Field::Other(n) => format!("X-{n}: {n}"),
                Field::Long(n) => format!("X: {}", "v".repeat(usize::from(*n) * 4)),
            };
            out.extend_from_slice(field.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        self.body.render(out);
    }
}

impl Body {
    fn render(&self, out: &mut Vec<u8>) {
        let data = |n: usize| (0..n).map(|i| b'a' + (i % 26) as u8);
        match self {
            Self::None => out.extend_from_slice(b"\r\n"),
            Self::Length(n) => {
                let n = usize::from(n % 4096);
                out.extend_from_slice(format!("Content-Length: {n}\r\n\r\n").as_bytes());
                out.extend(data(n));
            }
            Self::Short(n) => {
                out.extend_from_slice(format!("Content-Length: {n}\r\n\r\n").as_bytes());
                out.extend(data(usize::from(*n) / 2));
            }
            Self::Chunks(sizes, tail) => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for size in sizes.iter().take(8) {
                    let size = usize::from(size % 1024).max(1);
                    out.extend_from_slice(format!("{size:x};e\r\n").as_bytes());
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
