//! Which requests a browser sends for a page of another origin, by what it says of them.
//!
//! A browser tells of each request which page asks (Fetch Metadata, W3C), and of one that may
//! change something at least that page's origin (RFC 6454 §7). It lets no page set these fields.
//! The rule for writes is that of Go's `http.CrossOriginProtection`.

use std::fmt;

use super::method::Method;
use super::refusal::Refusal;
use super::status::Status;

/// Who sends a request, and whom it means. One byte, since each request of a batch is compared with
/// the one before.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Sender(u8);

impl Sender {
    const ORIGIN: u8 = 0b011;
    const HOST_IS_FOREIGN: u8 = 0b100;

    pub(super) fn new(origin: Origin, host_is_foreign: bool) -> Self {
        Self(origin as u8 | if host_is_foreign { Self::HOST_IS_FOREIGN } else { 0 })
    }

    /// Whether a browser sends it, and for whom.
    #[must_use]
    pub fn origin(self) -> Origin {
        match self.0 & Self::ORIGIN {
            0 => Origin::Program,
            1 => Origin::Browser,
            _ => Origin::Foreign,
        }
    }

    /// Whether a browser sends it.
    #[must_use]
    #[inline]
    pub fn is_browser(self) -> bool {
        self.0 & Self::ORIGIN != 0
    }

    /// Whether it addresses the server by a name that is none of its own.
    #[must_use]
    pub fn host_is_foreign(self) -> bool {
        self.0 & Self::HOST_IS_FOREIGN != 0
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.origin()).field(&self.host_is_foreign()).finish()
    }
}

/// Who a request comes from, by its `Sec-Fetch-*` and `Origin` fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// A program: it has none of these fields.
    Program,
    /// A browser, which asks for its user, or for a page that may do this.
    Browser,
    /// A browser, for a page of another origin that may not do this.
    Foreign,
}

/// What these fields say, while they are being collected.
#[derive(Default)]
pub(super) struct OriginFields<'a> {
    is_browser: bool,
    /// Whether each `Sec-Fetch-Site` names a page of this origin or none; `None` without one.
    is_own: Option<bool>,
    navigates: Option<bool>,
    to_document: Option<bool>,
    origin: Option<&'a [u8]>,
    is_origin_repeated: bool,
}

impl<'a> OriginFields<'a> {
    /// Takes a field with a name that may be one of them. Whether it is.
    pub(super) fn take(&mut self, name: &str, value: &'a [u8]) -> bool {
        const PREFIX: &str = "sec-fetch-";
        // A field that is repeated says what the least favourable of its lines does.
        let note = |said: &mut Option<bool>, now| *said = Some(said.unwrap_or(true) && now);
        if name.eq_ignore_ascii_case("origin") {
            self.is_browser = true;
            self.is_origin_repeated |= self.origin.replace(value).is_some();
            return true;
        }
        let Some(start) = name.get(..PREFIX.len()) else { return false };
        if !start.eq_ignore_ascii_case(PREFIX) {
            return false;
        }
        self.is_browser = true;
        match name[PREFIX.len()..].to_ascii_lowercase().as_str() {
            "site" => note(&mut self.is_own, matches!(value, b"same-origin" | b"none")),
            "mode" => note(&mut self.navigates, value == b"navigate"),
            "dest" => note(&mut self.to_document, value == b"document"),
            _ => {}
        }
        true
    }

    /// Who a request comes from that addresses the server as `host`.
    pub(super) fn judge(&self, method: Method, host: Option<&[u8]>) -> Origin {
        let is_foreign = match method {
            _ if method.is_write() => match self.is_own {
                Some(is_own) => !is_own,
                // An older browser, or a server that the browser does not trust to be the one that
                // it claims to be: over plain HTTP that is every one which is not on its machine.
                None => self.origin.is_some_and(|origin| {
                    self.is_origin_repeated || !is_same(origin, host.unwrap_or_default())
                }),
            },
            // A link to a value may be followed: what is shown then is out of the page's reach.
            Method::Get | Method::Head => {
                let is_opened = self.navigates == Some(true) && self.to_document == Some(true);
                self.is_own == Some(false) && !is_opened
            }
            _ => false,
        };
        match (self.is_browser, is_foreign) {
            (false, _) => Origin::Program,
            (true, false) => Origin::Browser,
            (true, true) => Origin::Foreign,
        }
    }
}

/// The answer to a request that a page of another origin may not send.
pub(super) fn refusal(method: Method) -> Refusal {
    let reason = match method {
        Method::Get | Method::Head => {
            "a page of another site may not read this (Sec-Fetch-Site); open its address instead"
        }
        _ => "a page of another origin may not change this (Sec-Fetch-Site, or else Origin)",
    };
    Refusal::new(Status::Forbidden, reason)
}

/// Whether an Origin field's value has this host and port. A Host without a port means the default
/// port of the origin's scheme: which scheme led here, a proxy in front may have decided.
fn is_same(origin: &[u8], host: &[u8]) -> bool {
    let schemes: [(&[u8], u16); 2] = [(b"http://", 80), (b"https://", 443)];
    schemes.into_iter().any(|(scheme, port)| {
        let split = origin.split_at_checked(scheme.len());
        let Some((start, authority)) = split else { return false };
        let (Some(theirs), Some(ours)) = (endpoint(authority, port), endpoint(host, port)) else {
            return false;
        };
        start.eq_ignore_ascii_case(scheme)
            && theirs.0.eq_ignore_ascii_case(ours.0)
            && theirs.1 == ours.1
    })
}

/// Host and port of an authority; `None` if it has no host, or something else.
fn endpoint(authority: &[u8], default_port: u16) -> Option<(&[u8], u16)> {
    let (host, port) = split_port(authority);
    if host.is_empty() || authority.contains(&b'/') || authority.contains(&b'@') {
        return None;
    }
    let port = std::str::from_utf8(port).ok()?;
    let port = if port.is_empty() { default_port } else { port.parse().ok()? };
    Some((host, port))
}

/// An authority's host and, behind the colon, its port, if there is one.
pub(super) fn split_port(authority: &[u8]) -> (&[u8], &[u8]) {
    // The colons within an address of IPv6 stand before its bracket.
    let name = memchr::memrchr(b']', authority).map_or(0, |bracket| bracket + 1);
    match memchr::memchr(b':', &authority[name..]) {
        Some(colon) => (&authority[..name + colon], &authority[name + colon + 1..]),
        None => (authority, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_by_host_and_port() {
        for (origin, host) in [
            ("http://h", "h"),
            ("http://h", "h:80"),
            ("http://h:80", "h"),
            ("https://h", "h:443"),
            ("https://h", "h"),
            ("https://h", "h:"),
            ("HTTP://H:8080", "h:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("http://[::A]", "[::a]"),
            ("http://h.:8080", "h.:8080"),
        ] {
            assert!(is_same(origin.as_bytes(), host.as_bytes()), "{origin} {host}");
        }
        for (origin, host) in [
            ("null", "null"),
            ("", ""),
            ("http://", ""),
            ("http://:80", ""),
            ("http://h", ""),
            ("h", "h"),
            ("//h", "h"),
            ("http://h:8080", "h"),
            ("http://h", "h:8080"),
            ("http://h", "h:443"),
            ("https://h", "h:80"),
            ("http://h:65616", "h"),
            ("http://h:8080", "h.:8080"),
            ("http://g.h", "h"),
            ("http://h.g", "h"),
            ("http://h/", "h"),
            ("http://h@g", "g"),
            ("http://h:80:80", "h"),
            ("http://h http://h", "h"),
            ("http://[::1]", "[::1"),
            ("http://[::1]", "::1"),
            ("http://[::1]:8080", "[::1]:80"),
            ("chrome-extension://h", "h"),
            ("file://", ""),
        ] {
            assert!(!is_same(origin.as_bytes(), host.as_bytes()), "{origin} {host}");
        }
    }
}
