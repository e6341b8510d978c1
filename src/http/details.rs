//! What few requests say: preconditions, a range, digests, fields to be kept.
//!
//! That a head has such fields is a part of its meaning, and remembered with it; what they say is
//! read from its lines once more, by those requests alone. So they cost the others nothing.

use httparse::{EMPTY_HEADER, Header};

use super::conditions::{Conditions, Malformed};
use super::digest::{self, Sha256Digest};
use super::error::HEADERS_MAX;
use super::etag::{EntityTag, NamedTag};
use super::kept::{KeptFields, TooLong};
use super::method::Method;
use super::range::ByteRange;
use super::refusal::Refusal;
use super::status::Status;

/// Which of these fields a head has, as far as they mean something with its method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extras(u8);

impl Extras {
    const CONDITION: u8 = 1;
    const RANGE: u8 = 2;
    const DIGEST: u8 = 4;
    const KEPT: u8 = 8;

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Takes note of a field.
    pub(super) fn note(&mut self, name: &str, kept: &KeptFields) {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        self.0 |= match name.len() {
            5 if is("range") => Self::RANGE,
            8 if is("if-match") => Self::CONDITION,
            13 if is("if-none-match") => Self::CONDITION,
            11 if is("repr-digest") => Self::DIGEST,
            14 if is("content-digest") => Self::DIGEST,
            _ => 0,
        };
        if kept.has(name) {
            self.0 |= Self::KEPT;
        }
    }

    /// Those that mean something with a method: a range is one of GET (RFC 9110 §14.2), what is
    /// stored comes with PUT and POST.
    pub(super) fn of(self, method: Method) -> Self {
        Self(
            self.0
                & match method {
                    Method::Get => Self::CONDITION | Self::RANGE,
                    Method::Head | Method::Delete => Self::CONDITION,
                    Method::Put | Method::Post => Self::CONDITION | Self::DIGEST | Self::KEPT,
                    _ => 0,
                },
        )
    }
}

/// What the fields say.
#[derive(Debug, Clone, Default)]
pub struct Details {
    /// The request is carried out only if these hold.
    pub conditions: Conditions,
    /// The part of the value that is asked for.
    pub range: Option<ByteRange>,
    /// It is asked for only if the value is still this one; `Some(None)`: a date, which it never is.
    if_range: Option<Option<NamedTag>>,
    /// What the body's SHA-256 has to be.
    pub digest: Option<Sha256Digest>,
    /// The lines of the fields that are stored with the value.
    pub kept: Vec<u8>,
}

const CONDITION_MALFORMED: Refusal = Refusal::new(
    Status::BadRequest,
    "malformed If-Match or If-None-Match: expected * or a list of quoted entity tags",
);
const DIGEST_MALFORMED: Refusal =
    Refusal::new(Status::BadRequest, "malformed sha-256 in Content-Digest or Repr-Digest");
const DIGESTS_DIFFER: Refusal =
    Refusal::new(Status::BadRequest, "Content-Digest and Repr-Digest name different digests");
const KEPT_TOO_LONG: Refusal = Refusal::new(
    Status::HeaderFieldsTooLarge,
    "the header fields to be kept with the value are longer than 1024 bytes",
);

impl Details {
    /// Reads the field lines of a head that was found to be in order.
    ///
    /// # Errors
    /// The answer, if one of the fields is malformed and the request can't go on without it.
    #[cold]
    pub fn read(method: Method, lines: &[u8], kept: &KeptFields) -> Result<Self, Refusal> {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let Ok(httparse::Status::Complete((_, headers))) =
            httparse::parse_headers(lines, &mut headers)
        else {
            debug_assert!(false, "a head is read once more only if it is in order");
            return Ok(Self::default());
        };
        let mut details = Self::default();
        for header in headers {
            details.take(method, header)?;
        }
        if method.takes_body() {
            details.kept = kept.collect(headers).map_err(|TooLong| KEPT_TOO_LONG)?;
        }
        Ok(details)
    }

    fn take(&mut self, method: Method, header: &Header<'_>) -> Result<(), Refusal> {
        let value = header.value.trim_ascii();
        let malformed = |Malformed| CONDITION_MALFORMED;
        match header.name.to_ascii_lowercase().as_str() {
            "if-match" => self.conditions.take_if_match(value).map_err(malformed),
            "if-none-match" => self.conditions.take_if_none_match(value).map_err(malformed),
            "range" if method == Method::Get => {
                // Two of them are as good as several ranges.
                let is_first = self.range.is_none();
                self.range = ByteRange::read(value).filter(|_| is_first);
                Ok(())
            }
            "if-range" => {
                let whole = |(tag, rest): (NamedTag, &[u8])| rest.is_empty().then_some(tag);
                self.if_range = Some(NamedTag::read(value).and_then(whole));
                Ok(())
            }
            "content-digest" | "repr-digest" if method.takes_body() => self.take_digest(value),
            _ => Ok(()),
        }
    }

    fn take_digest(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let Some(digest) = digest::sha256(value).map_err(|Malformed| DIGEST_MALFORMED)? else {
            return Ok(());
        };
        let is_other = self.digest.replace(digest).is_some_and(|before| before != digest);
        if is_other { Err(DIGESTS_DIFFER) } else { Ok(()) }
    }

    /// The part of the value that is asked for, if `tag` is what the client believes it to be.
    /// `tag` is called only if that matters.
    #[must_use]
    pub fn range_of(&self, tag: impl FnOnce() -> EntityTag) -> Option<ByteRange> {
        let range = self.range?;
        let applies = match &self.if_range {
            None => true,
            Some(None) => false,
            Some(Some(named)) => !named.is_weak && named.tag.is_some() && named.tag == Some(tag()),
        };
        applies.then_some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: Method, lines: &str) -> Result<Details, Refusal> {
        let kept = KeptFields::new(&["content-type".parse().unwrap()]).unwrap();
        Details::read(method, lines.as_bytes(), &kept)
    }

    #[test]
    fn fields_mean_something_with_their_methods_only() {
        let kept = KeptFields::new(&["content-type".parse().unwrap()]).unwrap();
        let extras = |name: &str, method: Method| {
            let mut extras = Extras::default();
            extras.note(name, &kept);
            !extras.of(method).is_empty()
        };
        for (name, methods) in [
            ("Range", &[Method::Get][..]),
            ("IF-MATCH", &[Method::Get, Method::Head, Method::Put, Method::Post, Method::Delete]),
            (
                "if-none-match",
                &[Method::Get, Method::Head, Method::Put, Method::Post, Method::Delete],
            ),
            ("Content-Digest", &[Method::Put, Method::Post]),
            ("repr-digest", &[Method::Put, Method::Post]),
            ("content-type", &[Method::Put, Method::Post]),
            ("content-encoding", &[]),
            ("if-range", &[]),
        ] {
            for method in [Method::Get, Method::Head, Method::Put, Method::Post, Method::Delete] {
                assert_eq!(extras(name, method), methods.contains(&method), "{method:?} {name}");
            }
        }
    }

    #[test]
    fn a_range_applies_to_the_representation_that_is_meant() {
        let tag = EntityTag::new(1, b"");
        let text = String::from_utf8(tag.render().to_vec()).unwrap();
        let range = Some(ByteRange::Between(1, 2));
        for (if_range, expected) in [
            (String::new(), range),
            (format!("If-Range: {text}\r\n"), range),
            (format!("If-Range: W/{text}\r\n"), None),
            ("If-Range: \"x\"\r\n".to_owned(), None),
            ("If-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n".to_owned(), None),
        ] {
            let details = read(Method::Get, &format!("Range: bytes=1-2\r\n{if_range}\r\n"));
            assert_eq!(details.unwrap().range_of(|| tag), expected, "{if_range}");
        }
        let twice = read(Method::Get, "Range: bytes=1-2\r\nRange: bytes=1-2\r\n\r\n");
        assert_eq!(twice.unwrap().range_of(|| tag), None);
    }

    #[test]
    fn malformed_fields_are_refused() {
        for (lines, status) in [
            ("If-Match: x\r\n\r\n", Status::BadRequest),
            ("Content-Digest: sha-256=:x:\r\n\r\n", Status::BadRequest),
            (&format!("Content-Type: {}\r\n\r\n", "x".repeat(1100)), Status::HeaderFieldsTooLarge),
        ] {
            assert_eq!(read(Method::Put, lines).unwrap_err().status, status, "{lines}");
        }
        assert!(read(Method::Get, "Content-Digest: sha-256=:x:\r\n\r\n").is_ok());
    }
}
