//! The tokens that give access: from a file, checked against the Authorization field, and exchanged
//! while the server runs.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::OFlags;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::access::Access;
use super::target::{self, BYTE_CLASSES, ByteClass};

/// Tokens in the file, at most.
const TOKENS_MAX: usize = 1024;

/// Prefixes that one token may have: each request is compared with all of them.
const PREFIXES_MAX: usize = 16;

/// Longest file, in bytes: more is some other file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a line consists of.
const FORM: &str = "expected TOKEN, TOKEN read-only or TOKEN read-write, and prefixes behind that";

/// The tokens that give access.
pub struct Tokens {
    tokens: Vec<Token>,
}

struct Token {
    secret: Box<[u8]>,
    may_write: bool,
    /// What the paths begin with that it is for, without the first `/`, decoded; none if it is for all.
    prefixes: Vec<Box<[u8]>>,
}

/// Which of the tokens a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant(u16);

impl Grant {
    const NONE: Self = Self(0);
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The tokens themselves are secrets.
        f.debug_struct("Tokens").field("count", &self.tokens.len()).finish()
    }
}

impl Tokens {
    /// Reads a file of one token per line: `TOKEN`, or `TOKEN read-only`, or `TOKEN read-write`; behind
    /// the latter two the prefixes of the paths that it is for, as `/ci/`, if it is not for all. Empty
    /// lines and lines that start with `#` are skipped.
    ///
    /// # Errors
    /// When the file can't be read or is too long, has no token, too many, the same one twice, or a
    /// line of another form.
    pub fn load(path: &Path) -> io::Result<Self> {
        Self::read(path, &mut OpenOptions::new())
    }

    /// The same without waiting for somebody to write to a pipe.
    ///
    /// # Errors
    /// As those of [`load`](Self::load).
    pub fn load_at_once(path: &Path) -> io::Result<Self> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        Self::read(path, OpenOptions::new().custom_flags(flags))
    }

    fn read(path: &Path, options: &mut OpenOptions) -> io::Result<Self> {
        let explain =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut text = String::new();
        let file = options.read(true).open(path).map_err(explain)?;
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(explain)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(explain(io::Error::other(format!("longer than {FILE_BYTES_MAX} bytes"))));
        }
        Self::parse(&text)
            .map_err(|problem| explain(io::Error::new(io::ErrorKind::InvalidData, problem)))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut tokens: Vec<Token> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let words = line.split_whitespace().collect::<Vec<_>>();
            let [secret, rest @ ..] = &words[..] else { continue };
            if secret.starts_with('#') {
                continue;
            }
            let token =
                Token::new(secret, rest).map_err(|what| format!("line {number}: {what}"))?;
            if tokens.iter().any(|other| other.secret == token.secret) {
                return Err(format!("line {number}: the token is in another line already"));
            }
            if tokens.len() == TOKENS_MAX {
                return Err(format!("more than {TOKENS_MAX} tokens"));
            }
            tokens.push(token);
        }
        if tokens.is_empty() { Err("no token".to_owned()) } else { Ok(Self { tokens }) }
    }

    /// How many there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The token in the value of an Authorization field: `Bearer TOKEN` (RFC 6750 §2.1) or `Basic`
    /// with any user name and the token as password (RFC 7617 §2).
    pub(super) fn find(&self, authorization: Option<&[u8]>) -> Grant {
        let Some(value) = authorization else { return Grant::NONE };
        let Some(space) = value.iter().position(|&byte| byte == b' ') else {
            return Grant::NONE;
        };
        let (scheme, credentials) = (&value[..space], value[space..].trim_ascii());
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return self.find_secret(credentials);
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return Grant::NONE;
        }
        let Ok(pair) = STANDARD.decode(credentials) else { return Grant::NONE };
        let Some(colon) = pair.iter().position(|&byte| byte == b':') else { return Grant::NONE };
        self.find_secret(&pair[colon + 1..])
    }

    /// Compares with every token in a time that depends on lengths alone, so that guessing tells
    /// nothing about how much of a guess was right.
    fn find_secret(&self, secret: &[u8]) -> Grant {
        let mut found = 0;
        for (number, token) in (1..).zip(&self.tokens) {
            let same: Choice = token.secret.ct_eq(secret);
            found.conditional_assign(&number, same);
        }
        Grant(found)
    }

    /// What a token allows on a path, which stands behind the target's first `/`, and may be encoded.
    pub(super) fn access(&self, grant: Grant, path: &[u8]) -> Access {
        let token = usize::from(grant.0).checked_sub(1).and_then(|at| self.tokens.get(at));
        let Some(token) = token else { return Access::Denied };
        let is_covered = || token.prefixes.iter().any(|prefix| target::begins_with(path, prefix));
        match (token.prefixes.is_empty(), token.may_write) {
            (true, false) => Access::ReadAll,
            (true, true) => Access::WriteAll,
            (false, _) if !is_covered() => Access::Elsewhere,
            (false, false) => Access::Read,
            (false, true) => Access::Write,
        }
    }
}

impl Token {
    fn new(secret: &str, rest: &[&str]) -> Result<Self, String> {
        let (may_write, prefixes) = match rest {
            [] => (true, rest),
            ["read-only", prefixes @ ..] => (false, prefixes),
            ["read-write", prefixes @ ..] => (true, prefixes),
            _ => return Err(FORM.to_owned()),
        };
        if prefixes.len() > PREFIXES_MAX {
            return Err(format!("more than {PREFIXES_MAX} prefixes"));
        }
        let prefixes =
            prefixes.iter().map(|prefix| read_prefix(prefix)).collect::<Result<_, _>>()?;
        Ok(Self { secret: secret.as_bytes().into(), may_write, prefixes })
    }
}

/// A prefix without its first `/`, decoded. That it ends with one makes it a prefix by whole segments.
fn read_prefix(prefix: &str) -> Result<Box<[u8]>, String> {
    let problem = |what: &str| Err(format!("the prefix {prefix} {what}"));
    let Some(path) = prefix.strip_prefix('/').filter(|_| prefix.ends_with('/')) else {
        return problem("does not begin and end with /");
    };
    let class = |byte: u8| BYTE_CLASSES[usize::from(byte)];
    if !path.bytes().all(|byte| matches!(class(byte), ByteClass::Plain | ByteClass::Percent)) {
        return problem("has a character that must be percent-encoded");
    }
    let mut decoded = Vec::new();
    if !target::percent_decode(path.as_bytes(), &mut decoded) {
        return problem("has a % that is not followed by two hexadecimal digits");
    }
    Ok(decoded.into())
}

/// The tokens in force, which can be exchanged at any time.
#[derive(Debug)]
pub struct TokensInForce {
    /// Changes with them.
    version: AtomicU64,
    tokens: Mutex<Arc<Tokens>>,
}

impl TokensInForce {
    /// These, until they are exchanged.
    #[must_use]
    pub fn new(tokens: Tokens) -> Self {
        Self { version: AtomicU64::new(0), tokens: Mutex::new(Arc::new(tokens)) }
    }

    /// Puts others in their place. What arrives from now on is checked against these.
    pub fn exchange(&self, tokens: Tokens) {
        let mut current = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(tokens);
        self.version.fetch_add(1, Ordering::Release);
    }

    fn get(&self) -> (u64, Arc<Tokens>) {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        (self.version.load(Ordering::Acquire), Arc::clone(&tokens))
    }
}

/// The tokens in force, as one event loop has them.
#[derive(Debug)]
pub(super) struct HeldTokens {
    in_force: Arc<TokensInForce>,
    version: u64,
    pub(super) tokens: Arc<Tokens>,
}

impl HeldTokens {
    pub(super) fn new(in_force: Arc<TokensInForce>) -> Self {
        let (version, tokens) = in_force.get();
        Self { in_force, version, tokens }
    }

    /// Follows an exchange. Whether there was one.
    #[inline]
    pub(super) fn refresh(&mut self) -> bool {
        let is_old = self.in_force.version.load(Ordering::Acquire) != self.version;
        if is_old {
            (self.version, self.tokens) = self.in_force.get();
        }
        is_old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(tokens: &Tokens, authorization: &[u8], path: &str) -> Access {
        tokens.access(tokens.find(Some(authorization)), path.as_bytes())
    }

    #[test]
    fn credentials_are_told_apart() {
        let tokens = Tokens::parse("# comment\n\nsecret\nviewer read-only\n").unwrap();
        for (value, expected) in [
            (&b"Bearer secret"[..], Access::WriteAll),
            (b"bearer   secret", Access::WriteAll),
            (b"Bearer viewer", Access::ReadAll),
            (b"Bearer secre", Access::Denied),
            (b"Bearer secret2", Access::Denied),
            (b"Bearer", Access::Denied),
            (b"Bearer ", Access::Denied),
            (b"Basic dXNlcjpzZWNyZXQ=", Access::WriteAll),
            (b"Basic OnZpZXdlcg==", Access::ReadAll),
            (b"Basic c2VjcmV0", Access::Denied),
            (b"Basic !!!", Access::Denied),
            (b"Digest secret", Access::Denied),
        ] {
            assert_eq!(access(&tokens, value, "k"), expected, "{}", value.escape_ascii());
        }
        assert_eq!(tokens.find(None), Grant::NONE);
    }

    #[test]
    fn a_prefix_is_one_of_whole_segments_and_of_decoded_bytes() {
        let text = "a read-write /ci/ /x%2fy%20z/\nb read-only /\n";
        let tokens = Tokens::parse(text).unwrap();
        for (path, expected) in [
            ("ci/", true),
            ("ci/a", true),
            ("ci/../b", true),
            ("ci//", true),
            ("%63i%2Fa", true),
            ("%63%69/%zz", true),
            ("x/y%20z/k", true),
            ("x%2Fy z/", true),
            ("", false),
            ("ci", false),
            ("cid/a", false),
            ("CI/a", false),
            ("/ci/a", false),
            ("../ci/a", false),
            ("a/ci/b", false),
            ("%ci/", false),
            ("ci%252Fa", false),
            ("ci%", false),
        ] {
            let here = if expected { Access::Write } else { Access::Elsewhere };
            assert_eq!(access(&tokens, b"Bearer a", path), here, "{path}");
            assert_eq!(access(&tokens, b"Bearer b", path), Access::Read, "{path}");
            assert_eq!(access(&tokens, b"Bearer c", path), Access::Denied, "{path}");
        }
    }

    #[test]
    fn files_of_another_form_are_refused() {
        let many = format!("a read-only {}\n", "/p/ ".repeat(PREFIXES_MAX + 1));
        for text in [
            "",
            "# only\n",
            "a b\n",
            "a /ci/\n",
            "a read-only b\n",
            "a read-only /b\n",
            "a read-only b/\n",
            "a read-write /b/ read-only\n",
            "a read-write /%/\n",
            "a read-write /b?/\n",
            "a read-write /\u{e4}/\n",
            "a\nb read-only\na read-only\n",
            &many,
        ] {
            let problem = Tokens::parse(text).expect_err(text);
            assert!(problem == "no token" || problem.starts_with("line "), "{problem}");
        }
        let too_many: String = (0..=TOKENS_MAX).map(|n| format!("t{n}\n")).collect();
        assert!(Tokens::parse(&too_many).is_err());
    }
}
