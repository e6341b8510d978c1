//! Header fields that are stored with a value and given back with it.

use std::fmt;
use std::str::FromStr;

use httparse::Header;

/// Names that can be kept, at most.
const NAMES_MAX: usize = 16;

/// Fields that a value can bring, rendered, in bytes.
pub const KEPT_BYTES_MAX: usize = 1024;

/// Fields that belong to the connection, to the request alone, or to the server's own answers.
const RESERVED: [&str; 38] = [
    "accept-ranges",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-length",
    "content-range",
    "content-security-policy",
    "cookie",
    "date",
    "etag",
    "expect",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "retry-after",
    "server",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "www-authenticate",
    "x-content-type-options",
    "location",
];

/// The name of a field that can be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptName(String);

/// The name can't be that of a field that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptNameError {
    /// It is no field name (RFC 9110 §5.1).
    Malformed,
    /// The server has a use of its own for the field, or it is not the value's.
    Reserved,
}

impl fmt::Display for KeptNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "expected the name of a header field",
            Self::Reserved => "a field that can't be kept: it is not the value's own",
        })
    }
}

impl std::error::Error for KeptNameError {}

impl FromStr for KeptName {
    type Err = KeptNameError;

    fn from_str(text: &str) -> Result<Self, KeptNameError> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.is_empty() || !text.bytes().all(is_token) {
            return Err(KeptNameError::Malformed);
        }
        let lower = text.to_ascii_lowercase();
        let is_reserved = RESERVED.contains(&lower.as_str()) || lower.starts_with("sec-");
        if is_reserved { Err(KeptNameError::Reserved) } else { Ok(Self(canonical(&lower))) }
    }
}

/// `content-type` as `Content-Type`.
fn canonical(name: &str) -> String {
    let mut starts = true;
    let case = |byte: char| {
        let cased = if starts { byte.to_ascii_uppercase() } else { byte };
        starts = byte == '-';
        cased
    };
    name.chars().map(case).collect()
}

/// The fields of a value are longer than [`KEPT_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Which fields are kept; none by default, since what has no type is the safest to show.
#[derive(Debug, Clone, Default)]
pub struct KeptFields {
    names: Vec<KeptName>,
}

impl KeptFields {
    /// These, each once, in this order.
    ///
    /// # Errors
    /// When they are more than sixteen.
    pub fn new(names: &[KeptName]) -> Result<Self, TooLong> {
        let mut all: Vec<KeptName> = Vec::new();
        for name in names {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        if all.len() > NAMES_MAX { Err(TooLong) } else { Ok(Self { names: all }) }
    }

    /// Whether a field of this name is kept.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|kept| kept.0.eq_ignore_ascii_case(name))
    }

    /// The lines of the fields to be kept, as they will be sent. In the order of the names, so that
    /// the same fields make the same lines whatever order they came in.
    ///
    /// # Errors
    /// When they are longer than [`KEPT_BYTES_MAX`].
    pub(super) fn collect(&self, headers: &[Header<'_>]) -> Result<Vec<u8>, TooLong> {
        let mut lines = Vec::new();
        for KeptName(name) in &self.names {
            for header in headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)) {
                for part in [name.as_bytes(), b": ", header.value.trim_ascii(), b"\r\n"] {
                    lines.extend_from_slice(part);
                }
            }
        }
        if lines.len() > KEPT_BYTES_MAX { Err(TooLong) } else { Ok(lines) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(names: &[&str]) -> KeptFields {
        let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
        KeptFields::new(&names).unwrap()
    }

    #[test]
    fn fields_come_back_in_the_order_of_the_names() {
        let fields = kept(&["Content-TYPE", "x-artifact-tag", "content-type"]);
        let header = |name, value: &'static str| Header { name, value: value.as_bytes() };
        let headers = [
            header("X-Artifact-Tag", "t"),
            header("Accept", "*/*"),
            header("content-type", " text/plain "),
        ];
        let lines = fields.collect(&headers).unwrap();
        assert_eq!(lines, b"Content-Type: text/plain\r\nX-Artifact-Tag: t\r\n");
        assert_eq!(fields.collect(&headers[1..2]), Ok(Vec::new()));
        let value = "v".repeat(KEPT_BYTES_MAX);
        let long = [Header { name: "content-type", value: value.as_bytes() }];
        assert_eq!(fields.collect(&long), Err(TooLong));
        assert!(fields.has("CONTENT-type") && !fields.has("accept"));
    }

    #[test]
    fn fields_of_the_connection_and_of_the_server_are_not_kept() {
        for name in RESERVED.into_iter().chain(["Sec-Fetch-Site", "DATE"]) {
            assert_eq!(name.parse::<KeptName>(), Err(KeptNameError::Reserved), "{name}");
        }
        for name in ["", "a b", "a:", "a\r\n", "ä"] {
            assert_eq!(name.parse::<KeptName>(), Err(KeptNameError::Malformed), "{name}");
        }
    }
}
