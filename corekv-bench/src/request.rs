//! Requests on the wire: rendered once as templates, so that per request only the key's digits,
//! the length and the body are filled in, and nothing is allocated.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use super::error::Error;
use super::target::Target;
use super::workload::Method;

/// The parts of a request that are the same every time.
#[derive(Debug)]
pub struct Templates {
    /// `GET /prefix/`, by method.
    starts: [Vec<u8>; Method::COUNT],
    /// From the blank after the key to the end of the head.
    end: Vec<u8>,
    /// The same for a request with a body, up to its length.
    end_before_length: Vec<u8>,
}

impl Templates {
    /// Renders what doesn't change for `target`. Each of `fields` is `Name: value`, and none of
    /// them one that breaks the framing.
    pub fn new(target: &Target, fields: &[String]) -> Self {
        let mut shared = b" HTTP/1.1\r\n".to_vec();
        if !fields.iter().any(|field| name_of(field).eq_ignore_ascii_case("host")) {
            shared.extend_from_slice(format!("Host: {}\r\n", target.host_header()).as_bytes());
        }
        for field in fields {
            shared.extend_from_slice(field.as_bytes());
            shared.extend_from_slice(b"\r\n");
        }
        let starts = Method::ALL
            .map(|method| format!("{} {}/", method.name(), target.path_prefix()).into_bytes());
        Self {
            starts,
            end: [&shared[..], b"\r\n"].concat(),
            end_before_length: [&shared[..], b"Content-Length: "].concat(),
        }
    }

    /// Appends a request without a body.
    pub fn plain(&self, out: &mut Vec<u8>, method: Method, key: u64) {
        out.extend_from_slice(&self.starts[method as usize]);
        out.extend_from_slice(itoa::Buffer::new().format(key).as_bytes());
        out.extend_from_slice(&self.end);
    }

    /// Appends the head of a request with a body of `length` bytes. The body is next.
    pub fn store(&self, out: &mut Vec<u8>, method: Method, key: u64, length: usize) {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(&self.starts[method as usize]);
        out.extend_from_slice(digits.format(key).as_bytes());
        out.extend_from_slice(&self.end_before_length);
        out.extend_from_slice(digits.format(length).as_bytes());
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
        let mut digits = itoa::Buffer::new();
        let number = digits.format(key);
        out.extend_from_slice(&self.starts[method as usize]);
        out.extend(std::iter::repeat_n(b'0', width.saturating_sub(number.len())));
        out.extend_from_slice(number.as_bytes());
        let Some(body) = body else { return out.extend_from_slice(&self.end) };
        out.extend_from_slice(&self.end[..self.end.len() - b"\r\n".len()]);
        if let Some(life) = life {
            out.extend_from_slice(b"Cache-Control: max-age=");
            out.extend_from_slice(digits.format(life).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"Content-Length: ");
        out.extend_from_slice(digits.format(body).as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
    }
}

fn name_of(field: &str) -> &str {
    field.split(':').next().unwrap_or(field)
}

/// Refuses a field that would break the framing, which the load generator owns.
pub(super) fn check_field(field: &str) -> Result<(), Error> {
    let bad = |why: &str| Err(Error::usage(format!("--header '{}': {why}", field.escape_debug())));
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
}

/// A value starts at one of this many places of the pool.
const FILLER_OFFSETS: usize = 4096;

impl Filler {
    /// A pool for values of up to `value_bytes_max` bytes.
    pub fn new(value_bytes_max: u32) -> Self {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let length = value_bytes_max as usize + FILLER_OFFSETS;
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let bytes = (0..length).map(|_| LETTERS[(random.next_u64() >> 58) as usize]).collect();
        Self { bytes }
    }

    /// `length` bytes; a different `variant` gives different ones, most of the time.
    pub fn cut(&self, variant: u64, length: usize) -> &[u8] {
        let start = (variant % FILLER_OFFSETS as u64) as usize;
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
        let templates = Templates::new(&target(), &["Accept: */*".to_owned()]);
        let mut out = Vec::new();
        templates.plain(&mut out, Method::Get, 42);
        templates.store(&mut out, Method::Post, 7, 3);
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
        let templates = Templates::new(&target(), &["host: other".to_owned()]);
        let mut out = Vec::new();
        templates.plain(&mut out, Method::Head, 0);
        assert_eq!(out, b"HEAD /v1/0 HTTP/1.1\r\nhost: other\r\n\r\n");
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
            assert!(matches!(check_field(field), Err(Error::Usage(_))), "{field}");
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
