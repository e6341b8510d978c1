//! The request line (RFC 9112 §3).
//!
//! It is read from left to right, and its first faulty byte decides: what is wrong with a line is
//! the same whether it comes whole or in pieces, and is said as soon as it is there.

use std::ops::Range;

use super::error::Error;
use super::method::Method;
use super::target::{self, ByteClass, Target};
use super::token::is_token;

/// How a line ends, a 0 standing for any digit.
const VERSION: &[u8] = b"HTTP/0.0\r\n";

/// A request line, and where its parts lie in the input.
#[derive(Debug)]
pub(super) struct RequestLine<'a> {
    pub(super) method: Method,
    pub(super) target: Target,
    /// That of an absolute target.
    pub(super) authority: Option<&'a [u8]>,
    /// The path behind its first `/`, without the query.
    pub(super) path: Range<usize>,
    /// Where the target ends and a space stands.
    pub(super) target_end: usize,
    /// The minor version; the major one is 1.
    pub(super) minor: u8,
    /// Where the line ends, behind its LF.
    pub(super) end: usize,
}

/// Reads the line at `at`, of which `checked` bytes were found to be in order before. `None`: it
/// is not complete, and nothing is wrong with it so far.
pub(super) fn read(
    input: &[u8],
    at: usize,
    checked: usize,
) -> Result<Option<RequestLine<'_>>, Error> {
    let line = &input[at..];
    if let [b'\r', rest @ ..] = line {
        // Half an empty line, perhaps. That it was in order before says nothing of it now.
        return if rest.is_empty() { Ok(None) } else { Err(Error::RequestLine) };
    }
    let Some(method_end) = word_end(line, 0, checked, method_fault)? else { return Ok(None) };
    let Some(target_end) = word_end(line, method_end + 1, checked, target_fault)? else {
        return Ok(None);
    };
    let version = &line[target_end + 1..];
    let fits = |(byte, expected): (&u8, &u8)| match expected {
        b'0' => byte.is_ascii_digit(),
        _ => byte == expected,
    };
    if !version.iter().zip(VERSION).all(fits) {
        return Err(Error::RequestLine);
    }
    let [_, _, _, _, _, major, _, minor, _, _, ..] = version else { return Ok(None) };
    if *major != b'1' {
        return Err(Error::Version);
    }
    let method = Method::from_token(&line[..method_end]);
    let target_end = at + target_end;
    let (target, path, authority) = target::parse(input, at + method_end + 1..target_end, method)?;
    let end = target_end + 1 + VERSION.len();
    let minor = minor - b'0';
    Ok(Some(RequestLine { method, target, authority, path, target_end, minor, end }))
}

/// Where the word that begins at `start` ends, with a space; `None` if it goes on.
fn word_end(
    line: &[u8],
    start: usize,
    checked: usize,
    fault: impl Fn(u8) -> Option<Error>,
) -> Result<Option<usize>, Error> {
    let space = memchr::memchr(b' ', &line[start..]).map(|length| start + length);
    let end = space.unwrap_or(line.len());
    match line[checked.clamp(start, end)..end].iter().find_map(|&byte| fault(byte)) {
        Some(error) => Err(error),
        None if space == Some(start) => Err(Error::RequestLine),
        None => Ok(space),
    }
}

fn method_fault(byte: u8) -> Option<Error> {
    (!is_token(byte)).then_some(Error::RequestLine)
}

fn target_fault(byte: u8) -> Option<Error> {
    match target::BYTE_CLASSES[usize::from(byte)] {
        ByteClass::Bad if byte.is_ascii_control() => Some(Error::RequestLine),
        ByteClass::Bad => Some(Error::Target),
        _ => None,
    }
}
