//! What a request's header fields mean to the server: framing, persistence, expectations.
//!
//! The fields of a head are a pure function of its method and its bytes, which makes it sound to
//! remember them (see [`HeadParser`](super::HeadParser)).

use std::sync::Arc;

use httparse::Header;

use super::access::Access;
use super::details::Extras;
use super::error::Error;
use super::hosts::Hosts;
use super::kept::KeptFields;
use super::list;
use super::origin::{OriginFields, Sender};
use super::request_line::RequestLine;
use super::target::is_authority;
use super::tokens::TokensInForce;

/// How the length of a body is known (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length; 0 when there is no body.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// What becomes of the connection after the response (RFC 9112 §9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// HTTP/1.1's default: it stays open, and no field says so.
    Default,
    /// An HTTP/1.0 client asked to keep it open, and is told that it is.
    KeepAlive,
    /// It closes, and `Connection: close` says so.
    Close,
    /// It closes, which is HTTP/1.0's default, so that no field says so.
    Http10Close,
}

impl Persistence {
    /// Whether the connection closes after the response.
    #[must_use]
    pub fn closes(self) -> bool {
        matches!(self, Self::Close | Self::Http10Close)
    }

    /// The same on a connection that closes after all.
    #[must_use]
    pub fn closing(self) -> Self {
        match self {
            Self::Default | Self::Close => Self::Close,
            Self::KeepAlive | Self::Http10Close => Self::Http10Close,
        }
    }

    /// The Connection field that tells of it, unless none is needed.
    #[inline]
    pub(super) fn field(self) -> Option<&'static [u8]> {
        match self {
            Self::Default | Self::Http10Close => None,
            Self::KeepAlive => Some(b"Connection: keep-alive\r\n"),
            Self::Close => Some(b"Connection: close\r\n"),
        }
    }
}

/// Why nothing can be stored by a request with these fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unstorable {
    /// The max-age of Cache-Control is no number, or there are two that differ.
    MaxAge,
    /// Content-Range: the body is a part of a value.
    Part,
}

/// What a head's fields say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// How long the body is.
    pub framing: Framing,
    /// What becomes of the connection.
    pub persistence: Persistence,
    /// The client waits for an answer before it sends the body: `Expect: 100-continue`, or the
    /// method is CONNECT.
    pub expects_continue: bool,
    /// Seconds that a stored value lives, by the max-age of Cache-Control (RFC 9111 §5.2); more
    /// than a `u32` holds is cut to that. 0 is none: clients send it to have caches ask the
    /// server, with whatever method.
    pub max_age: Option<u32>,
    /// Why a body can't be stored, if that is so.
    pub unstorable: Option<Unstorable>,
    /// What the credentials allow.
    pub access: Access,
    /// Who sends it and whom it means.
    pub sender: Sender,
    /// Which of the fields it has that few requests have; [`Details`](super::Details) tells what
    /// they say.
    pub extras: Extras,
}

/// How much of a field counts: what another head may have in its place, and mean the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// All of it.
    Value,
    /// The name alone: that the field is there.
    Name,
    /// All of it, but a number of other digits says nothing else but the length of the body.
    Length,
    /// All of it, and nobody may find out how much of a guess was right.
    Secret,
}

/// What fields are read by: the server's own settings, the same for all heads.
#[derive(Debug, Clone, Default)]
pub struct FieldRules {
    /// Who may do what; everybody everything if there are no tokens.
    pub tokens: Option<Arc<TokensInForce>>,
    /// The names by which requests may address the server, if there are no tokens.
    pub hosts: Hosts,
    /// The fields that are stored with a value.
    pub kept: KeptFields,
}

/// The fields while they are being collected.
#[derive(Default)]
struct Collected<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    coded: bool,
    unsupported: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    expects_more: bool,
    max_age: Option<u32>,
    unstorable: Option<Unstorable>,
    authorization: Option<&'a [u8]>,
    origin: OriginFields<'a>,
    extras: Extras,
}

impl Fields {
    /// Whether a request with these fields is answered when it is there as a whole, and another one may
    /// follow.
    #[inline]
    pub(super) fn are_simple(&self) -> bool {
        !self.expects_continue && !self.persistence.closes()
    }

    /// Whether they say nothing of the answer: it is whole, the connection stays open without a word, and
    /// nothing is asked for but what the method says.
    #[must_use]
    #[inline]
    pub fn are_plain(&self) -> bool {
        // Without a branch for each.
        (self.persistence == Persistence::Default)
            & self.access.may_write()
            & self.extras.is_empty()
    }

    /// Reads the fields behind a request line, and appends the weight of each. The authority of an
    /// absolute target takes the place of the Host field (RFC 9112 §3.2.2). `access` says what the value of
    /// an Authorization field allows.
    pub(super) fn read(
        line: &RequestLine<'_>,
        headers: &[Header<'_>],
        rules: &FieldRules,
        weights: &mut Vec<Weight>,
        access: impl FnOnce(Option<&[u8]>) -> Access,
    ) -> Result<Self, Error> {
        let mut collected = Collected::default();
        for header in headers {
            weights.push(collected.take(header, &rules.kept)?);
        }
        let minor = line.minor;
        collected.check(minor)?;
        let host = line.authority.or(collected.host);
        Ok(Self {
            framing: if collected.chunked {
                Framing::Chunked
            } else {
                Framing::Length(collected.length.unwrap_or(0))
            },
            persistence: match (minor, collected.close, collected.keep_alive) {
                (0, false, true) => Persistence::KeepAlive,
                (0, ..) => Persistence::Http10Close,
                (_, true, _) => Persistence::Close,
                (_, false, _) => Persistence::Default,
            },
            expects_continue: collected.expects_continue && minor > 0,
            max_age: collected.max_age.filter(|&seconds| seconds > 0),
            unstorable: collected.unstorable,
            access: access(collected.authorization),
            sender: Sender::new(
                collected.origin.judge(line.method, host),
                host.is_some_and(|host| rules.hosts.are_foreign(host)),
            ),
            extras: collected.extras.of(line.method),
        })
    }
}

impl<'a> Collected<'a> {
    fn take(&mut self, header: &Header<'a>, kept: &KeptFields) -> Result<Weight, Error> {
        let value = header.value.trim_ascii();
        let name = header.name;
        // The length first: most fields are none of these and are told apart by it alone.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.host(value)?,
            6 if name.eq_ignore_ascii_case("expect") => {
                let known = value.eq_ignore_ascii_case(b"100-continue");
                self.expects_continue |= known;
                self.expects_more |= !known;
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                self.connection(value);
            }
            13 if name.eq_ignore_ascii_case("authorization") => {
                // Two of them are as good as a wrong one.
                let repeated = self.authorization.replace(value).is_some();
                return if repeated { Err(Error::HeaderField) } else { Ok(Weight::Secret) };
            }
            13 if name.eq_ignore_ascii_case("cache-control") => {
                self.cache_control(value);
            }
            13 if name.eq_ignore_ascii_case("content-range") => {
                self.unstorable = Some(Unstorable::Part);
                return Ok(Weight::Name);
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                self.content_length(value)?;
                return Ok(Weight::Length);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                self.transfer_encoding(value)?;
            }
            _ => {
                self.extras.note(name, kept);
                return Ok(if self.origin.take(name, value) {
                    Weight::Value
                } else {
                    Weight::Name
                });
            }
        }
        Ok(Weight::Value)
    }

    fn host(&mut self, value: &'a [u8]) -> Result<(), Error> {
        let valid = value.is_empty() || is_authority(value);
        if self.host.replace(value).is_some() || !valid { Err(Error::Host) } else { Ok(()) }
    }

    fn connection(&mut self, value: &[u8]) {
        // Tokens, which have no quoted strings.
        for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Error> {
        // One, and no list, although equal values may be taken for one (RFC 9112 §6.3): who
        // repeats the length has not understood it, and may take another value for it.
        let length = decimal(value).ok_or(Error::ContentLength)?;
        if self.length.replace(length).is_some() { Err(Error::ContentLength) } else { Ok(()) }
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Error> {
        self.coded = true;
        for coding in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            // To be ignored by RFC 9110 §5.6.1, which not every proxy does.
            if coding.is_empty() {
                return Err(Error::CodingEmpty);
            }
            if self.chunked {
                // Whatever follows, chunked is not the last, or is there twice.
                let twice = coding.eq_ignore_ascii_case(b"chunked");
                return Err(if twice {
                    Error::CodingRepeated
                } else {
                    Error::CodingNotChunkedLast
                });
            }
            self.chunked = coding.eq_ignore_ascii_case(b"chunked");
            self.unsupported |= !self.chunked;
        }
        Ok(())
    }

    fn cache_control(&mut self, value: &[u8]) {
        for directive in list::elements(value) {
            let (name, age) = match directive.iter().position(|&byte| byte == b'=') {
                Some(at) => (&directive[..at], &directive[at + 1..]),
                None => (directive, &[][..]),
            };
            if !name.trim_ascii().eq_ignore_ascii_case(b"max-age") {
                continue;
            }
            let age = list::number(age.trim_ascii());
            if age.is_none() || self.max_age.is_some_and(|other| Some(other) != age) {
                self.unstorable = self.unstorable.or(Some(Unstorable::MaxAge));
            }
            self.max_age = age;
        }
    }

    /// The rules that need more than one field.
    fn check(&self, minor: u8) -> Result<(), Error> {
        if self.host.is_none() && minor > 0 {
            return Err(Error::Host);
        }
        // HTTP/1.0 has no expectations: the field is ignored there (RFC 9110 §10.1.1).
        if self.expects_more && minor > 0 {
            return Err(Error::Expectation);
        }
        if !self.coded {
            return Ok(());
        }
        if minor == 0 {
            return Err(Error::CodingInHttp10);
        }
        if self.length.is_some() {
            return Err(Error::CodingWithLength);
        }
        if !self.chunked {
            return Err(Error::CodingNotChunkedLast);
        }
        if self.unsupported { Err(Error::CodingUnsupported) } else { Ok(()) }
    }
}

/// One or more digits as a number; `None` for anything else and on overflow.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
