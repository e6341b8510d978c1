//! The request target (RFC 9112 §3.2) and its percent-encoding (RFC 3986 §2.1).

use std::ops::Range;

use super::error::Error;
use super::method::Method;
use crate::vector;

/// What a target names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A path; its bytes after the first `/`, without the query.
    Path {
        /// Whether the path is not what it names as it stands: it has percent-encoded bytes, or
        /// a query follows.
        escaped: bool,
    },
    /// A path in which a `%` is not followed by two hexadecimal digits.
    Undecodable,
    /// `*`: the server as a whole.
    Server,
    /// The authority of a CONNECT.
    Authority,
}

impl Target {
    /// Whether it is a path that has to be decoded, or completed from its query.
    #[inline]
    pub(super) fn is_escaped(self) -> bool {
        matches!(self, Self::Path { escaped: true })
    }
}

/// How the scan of a target goes on at a byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteClass {
    Plain,
    Percent,
    Query,
    Space,
    Bad,
}

/// Visible ASCII is accepted, more than RFC 3986 allows but as real clients send it; a fragment
/// is never sent, and bytes beyond ASCII must be percent-encoded.
pub(super) static BYTE_CLASSES: [ByteClass; 256] = {
    let mut classes = [ByteClass::Bad; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        classes[byte] = ByteClass::Plain;
        byte += 1;
    }
    classes[b'%' as usize] = ByteClass::Percent;
    classes[b'?' as usize] = ByteClass::Query;
    classes[b' ' as usize] = ByteClass::Space;
    classes[b'#' as usize] = ByteClass::Bad;
    classes
};

/// Finds the end of the path that starts at `start`: its range, whether it has percent-encoded
/// bytes or a query, and where the target ends. `None` when the target has a byte that none may have, or
/// does not end within `input`.
pub(super) fn scan(input: &[u8], start: usize) -> Option<(Range<usize>, bool, usize)> {
    let end = skip_plain(input, start);
    if input.get(end) == Some(&b' ') {
        return Some((start..end, false, end));
    }
    scan_on(input, start, end)
}

/// The rest of a scan that has come upon a byte at `at` that is neither plain nor a space.
#[inline(never)]
fn scan_on(input: &[u8], start: usize, mut at: usize) -> Option<(Range<usize>, bool, usize)> {
    let mut escaped = false;
    loop {
        match BYTE_CLASSES[*input.get(at)? as usize] {
            ByteClass::Plain => {}
            ByteClass::Percent => escaped = true,
            ByteClass::Space => return Some((start..at, escaped, at)),
            ByteClass::Query => break,
            ByteClass::Bad => return None,
        }
        at += 1;
    }
    let path = start..at;
    loop {
        match BYTE_CLASSES[*input.get(at)? as usize] {
            ByteClass::Space => return Some((path, true, at)),
            ByteClass::Bad => return None,
            _ => at += 1,
        }
    }
}

/// Where the bytes of a path from `at` on, of which some are in `block`, are no longer all of the commonest
/// plain ones, or no longer fill a block.
#[inline(always)] // Into the loop over a connection's input.
pub(super) fn plain_end(input: &[u8], at: usize, block: &vector::Block) -> usize {
    match vector::uncommon_in_path(block) {
        0 => skip_plain(input, at + vector::BLOCK_BYTES),
        others => at + others.trailing_zeros() as usize,
    }
}

/// Where the bytes from `at` on, as far as they come in whole blocks, are no longer all of the commonest
/// plain ones. Without a branch for each byte: where a path ends can't be predicted.
#[inline]
fn skip_plain(input: &[u8], mut at: usize) -> usize {
    while let Some(block) = input.get(at..).and_then(|rest| rest.first_chunk()) {
        let others = vector::uncommon_in_path(block);
        if others != 0 {
            return at + others.trailing_zeros() as usize;
        }
        at += vector::BLOCK_BYTES;
    }
    at
}

/// A target, where its path lies in the input, and the authority of an absolute one.
type Parts<'a> = (Target, Range<usize>, Option<&'a [u8]>);

/// Takes a target apart that stands in `input` at `range`, followed by a space, and has no byte
/// that none may have.
pub(super) fn parse(input: &[u8], range: Range<usize>, method: Method) -> Result<Parts<'_>, Error> {
    let target = &input[range.clone()];
    let path_at = |start: usize, authority| {
        let (path, escaped, end) = scan(input, start).ok_or(Error::Target)?;
        let target = Target::Path { escaped };
        if end == range.end { Ok((target, path, authority)) } else { Err(Error::Target) }
    };
    if method == Method::Connect {
        let end = range.end;
        return if is_authority(target) {
            Ok((Target::Authority, end..end, None))
        } else {
            Err(Error::Target)
        };
    }
    match target {
        [b'/', ..] => path_at(range.start + 1, None),
        b"*" if method == Method::Options => Ok((Target::Server, range.end..range.end, None)),
        _ => {
            let scheme = ["http://", "https://"].into_iter().find(|scheme| {
                target
                    .get(..scheme.len())
                    .is_some_and(|s| s.eq_ignore_ascii_case(scheme.as_bytes()))
            });
            let authority_at = scheme.ok_or(Error::Target)?.len();
            let rest = &target[authority_at..];
            let length = rest.iter().position(|&b| b == b'/' || b == b'?').unwrap_or(rest.len());
            let authority = &rest[..length];
            if !is_authority(authority) {
                return Err(Error::Target);
            }
            let path = range.start + authority_at + length;
            path_at(path + usize::from(input[path] == b'/'), Some(authority))
        }
    }
}

/// Whether the bytes are `host[:port]`, as a Host field's value or within a target (RFC 3986
/// §3.2.2, §3.2.3).
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    let literal = bytes.first() == Some(&b'[');
    let (host, port) = if literal {
        let Some(end) = bytes.iter().position(|&byte| byte == b']') else { return false };
        (&bytes[1..end], &bytes[end + 1..])
    } else {
        bytes.split_at(bytes.iter().position(|&byte| byte == b':').unwrap_or(bytes.len()))
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let is_host = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || b"-._~!$&'()*+,;=%".contains(byte)
            || (literal && *byte == b':')
    };
    is_port && !host.is_empty() && host.iter().all(is_host)
}

/// Appends the decoded bytes of a percent-encoded path to `onto`. False, with part of them
/// appended, if a `%` is not followed by two hexadecimal digits.
#[must_use]
pub(super) fn percent_decode(path: &[u8], onto: &mut Vec<u8>) -> bool {
    let mut rest = path;
    while !rest.is_empty() {
        let Some(byte) = take_decoded(&mut rest) else { return false };
        onto.push(byte);
    }
    true
}

/// Whether the decoded bytes of a percent-encoded path begin with others.
pub(super) fn begins_with(path: &[u8], prefix: &[u8]) -> bool {
    let mut rest = path;
    prefix.iter().all(|&byte| take_decoded(&mut rest) == Some(byte))
}

/// Takes the first byte of a percent-encoded path; `None` if there is none, or a `%` is not followed
/// by two hexadecimal digits.
#[inline]
fn take_decoded(path: &mut &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let (byte, rest) = match *path {
        [b'%', high, low, rest @ ..] => (digit(*high)? << 4 | digit(*low)?, rest),
        [b'%', ..] | [] => return None,
        [byte, rest @ ..] => (*byte, rest),
    };
    *path = rest;
    Some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_told_from_what_is_none() {
        for right in ["a", "a.b:80", "a:", "[::1]", "[::1]:8080", "1.2.3.4:5", "a_b-c~d"] {
            assert!(is_authority(right.as_bytes()), "{right}");
        }
        for wrong in [
            "", ":80", "a:8x", "a:80:80", "[::1", "[::1]x", "[]", "[[::1]", "[::1]]", "a@b", "a/b",
            "a b", "::1",
        ] {
            assert!(!is_authority(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn a_block_of_bytes_is_scanned_as_one_by_one() {
        for byte in 0..=u8::MAX {
            for at in 0..40 {
                let mut input = [b'a'; 64];
                (input[at], input[62]) = (byte, b' ');
                assert_eq!(scan(&input, 0), scan_on(&input, 0, 0), "{byte} at {at}");
            }
        }
    }

    #[test]
    fn percent_encoding_is_decoded_or_refused() {
        let decode = |text: &str| {
            let mut decoded = Vec::new();
            percent_decode(text.as_bytes(), &mut decoded).then_some(decoded)
        };
        assert_eq!(decode("a%2Fb%2fc%00%ff"), Some(b"a/b/c\0\xff".to_vec()));
        for wrong in ["%", "%1", "a%g0", "%0g", "%%20"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
