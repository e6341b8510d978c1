//! Requests on the wire: rendered once as templates, so that per request only the key's digits,
//! the length and the body are filled in, and nothing is allocated.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use super::digits::push_digits;
use super::method::Method;
use super::target::Target;
use super::template::Template;

/// The parts of a request that are the same every time.
#[derive(Debug)]
pub struct Templates {
    /// Requests without a body, by method.
    plain: [Template; Method::COUNT],
    /// Requests with a body, up to its length.
    store: [Template; Method::COUNT],
}

impl Templates {
    /// Renders what doesn't change for `target`, whose keys are at `path`. Each of `fields` is
    /// `Name: value`, and none of them one that breaks the framing.
    pub fn new(target: &Target, path: &Template, fields: &[String]) -> Self {
        let shared = shared_fields(target, fields);
        let template = |method: Method, end: &str| {
            let start = format!("{} {}", method.name(), target.path_prefix());
            let mut template = path.after(start.as_bytes());
            template.push(&shared);
            template.push(end);
            template
        };
        Self {
            plain: Method::ALL.map(|method| template(method, "\r\n")),
            store: Method::ALL.map(|method| template(method, "Content-Length: ")),
        }
    }

    /// Appends a request without a body.
    #[inline]
    pub fn plain(&self, out: &mut Vec<u8>, method: Method, key: u64, number: u64) {
        self.plain[method as usize].render(out, key, number);
    }

    /// Appends the head of a request with a body of `length` bytes. The body is next.
    #[inline]
    pub fn store(&self, out: &mut Vec<u8>, method: Method, key: u64, number: u64, length: usize) {
        self.store[method as usize].render(out, key, number);
        push_digits(out, length as u64);
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// Appends a request whose key has zeros in front up to a width: for a value that is to live so
    /// many seconds, and the head for a body of so many bytes, which is next.
    pub fn padded(
        &self,
        out: &mut Vec<u8>,
        method: Method,
        key: u64,
        width: usize,
        life: Option<u32>,
        body: Option<usize>,
    ) {
        self.plain[method as usize].render_padded(out, key, width);
        let Some(body) = body else { return };
        // The head goes on instead of ending.
        out.truncate(out.len() - b"\r\n".len());
        if let Some(life) = life {
            out.extend_from_slice(b"Cache-Control: max-age=");
            push_digits(out, life.into());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"Content-Length: ");
        push_digits(out, body as u64);
        out.extend_from_slice(b"\r\n\r\n");
    }
}

/// What follows the path in every request, up to the fields of the framing.
pub(super) fn shared_fields(target: &Target, fields: &[String]) -> String {
    let mut shared = " HTTP/1.1\r\n".to_owned();
    if !fields.iter().any(|field| name_of(field).eq_ignore_ascii_case("host")) {
        shared += &format!("Host: {}\r\n", target.host_header());
    }
    for field in fields {
        shared += field;
        shared += "\r\n";
    }
    shared
}

pub(super) fn name_of(field: &str) -> &str {
    field.split(':').next().unwrap_or(field)
}

/// Refuses a field that would break the framing, which the load generator owns.
pub(super) fn check_field(field: &str) -> Result<(), String> {
    let bad = |why: &str| Err(format!("header '{}': {why}", field.escape_debug()));
    let Some((name, value)) = field.split_once(':') else {
        return bad("write 'Name: value'");
    };
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return bad("that is not a field name");
    }
    if value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
        return bad("control characters are not allowed in a field value");
    }
    if ["content-length", "transfer-encoding", "connection", "expect", "upgrade"]
        .iter()
        .any(|own| name.eq_ignore_ascii_case(own))
    {
        return bad("the load generator sets the fields of the framing itself");
    }
    Ok(())
}

/// A pool of printable bytes that values are cut from, so that making one is a copy.
#[derive(Debug)]
pub struct Filler {
    bytes: Vec<u8>,
    /// A value starts at one of so many places.
    offsets: u64,
}

/// A value starts at one of this many places of the pool.
const FILLER_OFFSETS: u32 = 4096;

impl Filler {
    /// A pool for values of up to `value_bytes_max` bytes.
    pub fn new(value_bytes_max: u32) -> Self {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let length = value_bytes_max as usize + FILLER_OFFSETS as usize;
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let bytes = (0..length).map(|_| LETTERS[(random.next_u64() >> 58) as usize]).collect();
        Self { bytes, offsets: FILLER_OFFSETS.into() }
    }

    /// A pool that is the one value.
    pub fn of(value: Vec<u8>) -> Self {
        Self { bytes: value, offsets: 1 }
    }

    /// `length` bytes; a different `variant` gives different ones, most of the time.
    pub fn cut(&self, variant: u64, length: usize) -> &[u8] {
        let start = (variant % self.offsets) as usize;
        &self.bytes[start..start + length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target::parse("http://localhost:8080/v1/").unwrap()
    }

    #[test]
    fn requests_are_rendered_whole() {
        let fields = ["Accept: */*".to_owned()];
        let templates = Templates::new(&target(), &Template::key_path(), &fields);
        let mut out = Vec::new();
        templates.plain(&mut out, Method::Get, 42, 0);
        templates.store(&mut out, Method::Post, 7, 1, 3);
        out.extend_from_slice(b"abc");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "GET /v1/42 HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\n\r\n\
             POST /v1/7 HTTP/1.1\r\nHost: localhost:8080\r\nAccept: */*\r\n\
             Content-Length: 3\r\n\r\nabc"
        );
    }

    #[test]
    fn a_host_of_the_user_replaces_ours() {
        let path = Template::parse_path("/x?k={key}&n={n}").unwrap();
        let templates = Templates::new(&target(), &path, &["host: other".to_owned()]);
        let mut out = Vec::new();
        templates.plain(&mut out, Method::Head, 0, 9);
        assert_eq!(out, b"HEAD /v1/x?k=0&n=9 HTTP/1.1\r\nhost: other\r\n\r\n");
    }

    #[test]
    fn fields_that_break_the_framing_are_refused() {
        for field in [
            "no colon",
            ": x",
            "a b: c",
            "a: b\r\nc: d",
            "Content-Length: 1",
            "transfer-encoding: chunked",
            "Connection: close",
        ] {
            assert!(check_field(field).is_err(), "{field}");
        }
    }

    #[test]
    fn values_are_printable_and_vary() {
        let filler = Filler::new(100);
        assert_eq!(filler.cut(5000, 100).len(), 100);
        assert_ne!(filler.cut(1, 100), filler.cut(2, 100));
        assert!(filler.cut(4095, 100).iter().all(u8::is_ascii_graphic));
    }
}
