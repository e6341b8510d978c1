//! Who may do what: tokens from a file, checked against the Authorization field.

use std::fmt;
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// What a request's credentials allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: there are none, or they are wrong.
    Denied,
    /// Reading.
    Read,
    /// Reading and writing; what every request may do when no tokens are set.
    Write,
}

/// Tokens in the file, at most.
const TOKENS_MAX: usize = 1024;

/// The tokens that give access.
pub struct Tokens {
    tokens: Vec<(Box<[u8]>, Access)>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The tokens themselves are secrets.
        f.debug_struct("Tokens").field("count", &self.tokens.len()).finish()
    }
}

impl Tokens {
    /// Reads a file of one token per line; a token followed by `read-only` may not write. Empty
    /// lines and lines that start with `#` are skipped.
    ///
    /// # Errors
    /// When the file can't be read, has no token, too many, or a line of another form.
    pub fn load(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
        Self::parse(&text).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            let Some(token) = words.next().filter(|token| !token.starts_with('#')) else {
                continue;
            };
            let access = match (words.next(), words.next()) {
                (None, _) => Access::Write,
                (Some("read-only"), None) => Access::Read,
                _ => return Err(format!("line {}: expected TOKEN [read-only]", number + 1)),
            };
            tokens.push((token.as_bytes().into(), access));
        }
        match tokens.len() {
            0 => Err("no token".to_owned()),
            1..=TOKENS_MAX => Ok(Self { tokens }),
            _ => Err(format!("more than {TOKENS_MAX} tokens")),
        }
    }

    /// What the value of an Authorization field allows: `Bearer TOKEN` (RFC 6750 §2.1) or
    /// `Basic` with any user name and the token as password (RFC 7617 §2).
    pub(super) fn check(&self, authorization: Option<&[u8]>) -> Access {
        let Some(value) = authorization else { return Access::Denied };
        let Some(space) = value.iter().position(|&byte| byte == b' ') else {
            return Access::Denied;
        };
        let (scheme, credentials) = (&value[..space], value[space..].trim_ascii());
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return self.find(credentials);
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return Access::Denied;
        }
        let Ok(pair) = STANDARD.decode(credentials) else { return Access::Denied };
        let Some(colon) = pair.iter().position(|&byte| byte == b':') else { return Access::Denied };
        self.find(&pair[colon + 1..])
    }

    /// Compares with every token in constant time, so that how long the answer takes tells
    /// nothing about how much of a guess was right.
    fn find(&self, token: &[u8]) -> Access {
        let mut found = Access::Denied as u8;
        for (known, access) in &self.tokens {
            let same: Choice = known.ct_eq(token);
            found.conditional_assign(&(*access as u8), same);
        }
        [Access::Denied, Access::Read, Access::Write][usize::from(found)]
    }
}

/// Whether two byte strings are equal, in a time that depends on their lengths alone. By words,
/// since every request with credentials is compared so.
pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut differences = 0;
    // Opaque to the compiler, which could leave a loop early otherwise.
    let mut compare = |a, b| differences = black_box(differences | (a ^ b));
    match (a.last_chunk(), b.last_chunk()) {
        (Some(a_last), Some(b_last)) => {
            for (a, b) in a.as_chunks().0.iter().zip(b.as_chunks().0) {
                compare(u64::from_ne_bytes(*a), u64::from_ne_bytes(*b));
            }
            // Some of its bytes for the second time, which is quicker than each by itself.
            compare(u64::from_ne_bytes(*a_last), u64::from_ne_bytes(*b_last));
        }
        _ => a.iter().zip(b).for_each(|(&a, &b)| compare(u64::from(a), u64::from(b))),
    }
    differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_told_apart() {
        let tokens = Tokens::parse("# comment\n\nsecret\nviewer read-only\n").unwrap();
        for (value, access) in [
            (&b"Bearer secret"[..], Access::Write),
            (b"bearer   secret", Access::Write),
            (b"Bearer viewer", Access::Read),
            (b"Bearer secre", Access::Denied),
            (b"Bearer secret2", Access::Denied),
            (b"Bearer", Access::Denied),
            (b"Bearer ", Access::Denied),
            (b"Basic dXNlcjpzZWNyZXQ=", Access::Write),
            (b"Basic OnZpZXdlcg==", Access::Read),
            (b"Basic c2VjcmV0", Access::Denied),
            (b"Basic !!!", Access::Denied),
            (b"Digest secret", Access::Denied),
        ] {
            assert_eq!(tokens.check(Some(value)), access, "{}", value.escape_ascii());
        }
        assert_eq!(tokens.check(None), Access::Denied);
    }

    #[test]
    fn strings_are_equal_if_all_their_bytes_are() {
        let bytes: Vec<u8> = (0..40).collect();
        for len in 0..bytes.len() {
            assert!(equal(&bytes[..len], &bytes[..len]));
            assert!(!equal(&bytes[..len], &bytes[..len + 1]));
            for at in 0..len {
                let mut other = bytes[..len].to_vec();
                other[at] ^= 0x80;
                assert!(!equal(&bytes[..len], &other), "byte {at} of {len}");
            }
        }
    }

    #[test]
    fn files_of_another_form_are_refused() {
        for text in ["", "# only\n", "a b\n", "a read-only b\n"] {
            assert!(Tokens::parse(text).is_err(), "{text:?}");
        }
    }
}
