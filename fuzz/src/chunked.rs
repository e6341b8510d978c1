//! The chunked coding by RFC 9112 §7.1 and the contract, one line at a time.

use crate::Statuses;
use crate::head::is_token;

/// What the bytes from a body's first one on are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The data so far, that of an incomplete chunk included.
    Incomplete(Vec<u8>),
    Refused(Statuses),
    Complete {
        consumed: usize,
        data: Vec<u8>,
    },
    /// The trailers are at their limit to within a line end, where either answer will do.
    Unsure,
}

/// Reads the chunked body at the start of `input`.
pub fn read(input: &[u8], body_bytes_max: u64, trailer_bytes_max: usize) -> Outcome {
    let mut data = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = line(&input[at..]) else { return Outcome::Incomplete(data) };
        let Some(size) = size(line) else { return Outcome::Refused(vec![400]) };
        at += line.len() + 1;
        if size == 0 {
            break;
        }
        if u128::from(size) + data.len() as u128 > u128::from(body_bytes_max) {
            return Outcome::Refused(vec![413]);
        }
        let size = size as usize;
        let rest = &input[at..];
        data.extend_from_slice(&rest[..size.min(rest.len())]);
        match rest.get(size..) {
            None | Some([]) | Some(b"\r") => return Outcome::Incomplete(data),
            Some([b'\r', b'\n', ..]) => at += size + 2,
            Some(_) => return Outcome::Refused(vec![400]),
        }
    }
    let start = at;
    loop {
        let bytes =
            input.len().min(at + line(&input[at..]).map_or(usize::MAX / 2, |l| l.len() + 1));
        let length = bytes - start;
        if length.abs_diff(trailer_bytes_max) <= 2 {
            return Outcome::Unsure;
        }
        if length > trailer_bytes_max {
            return Outcome::Refused(vec![400, 431]);
        }
        let Some(line) = line(&input[at..]) else { return Outcome::Incomplete(data) };
        at += line.len() + 1;
        let Some(line) = line.strip_suffix(b"\r") else { return Outcome::Refused(vec![400]) };
        if line.is_empty() {
            return Outcome::Complete { consumed: at, data };
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            return Outcome::Refused(vec![400]);
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) || !value.iter().all(is_text)
        {
            return Outcome::Refused(vec![400]);
        }
    }
}

/// A line's bytes up to its LF.
fn line(bytes: &[u8]) -> Option<&[u8]> {
    bytes.iter().position(|&byte| byte == b'\n').map(|at| &bytes[..at])
}

/// The size that a line gives: 1 to 16 digits, then extensions.
fn size(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\r").filter(|line| line.len() <= 1024)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let mut rest = &line[digits..];
    if !(1..=16).contains(&digits) {
        return None;
    }
    while !rest.is_empty() {
        rest = extension(rest)?;
    }
    u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()
}

/// What follows the extension (RFC 9112 §7.1.1) that `bytes` begin with.
fn extension(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = blanks(blanks(bytes).strip_prefix(b";")?);
    let rest = token(bytes)?;
    let Some(value) = blanks(rest).strip_prefix(b"=").map(blanks) else { return Some(rest) };
    let Some(mut quoted) = value.strip_prefix(b"\"") else { return token(value) };
    loop {
        match quoted {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', byte, rest @ ..] if is_text(byte) => quoted = rest,
            [byte, rest @ ..] if is_text(byte) && *byte != b'\\' => quoted = rest,
            _ => return None,
        }
    }
}

fn blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// What follows the token that `bytes` begin with.
fn token(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.iter().take_while(|byte| is_token(**byte)).count();
    (length > 0).then(|| &bytes[length..])
}

fn is_text(byte: &u8) -> bool {
    *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f)
}
