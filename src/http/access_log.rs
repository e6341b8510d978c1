//! A line of JSON for each response, or for one of so many.
//!
//! ```json
//! {"time":"2026-11-27T03:36:48.123456Z","client":"127.0.0.1:51034","method":"GET","target":"/k?x=1","status":200,"bytes":5,"microseconds":12}
//! ```
//!
//! The target is as it was sent; header fields, and with them tokens, are never in a line.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::date;
use super::method::Method;
use crate::line_log::Lines;

/// The longest target that is shown as a whole, in bytes; of longer ones this much is. More would let
/// one client fill the buffers with few requests.
const TARGET_BYTES_MAX: usize = 8 << 10;

/// An event loop's part of the log.
#[derive(Debug)]
pub(crate) struct AccessLog {
    lines: Lines,
    sampler: Sampler,
    stamp: Stamp,
}

/// What is known of a request before it is answered.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) target: Box<[u8]>,
    /// When the loop woke up that found the request.
    pub(super) since: Instant,
}

/// A response, rendered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered<'a> {
    /// From its status line on, as far as it lies in memory of the connection's own.
    pub(super) bytes: &'a [u8],
    /// What is sent from where it lies.
    pub(super) payload_bytes: usize,
}

impl AccessLog {
    /// A log that has, on average, one line for so many responses.
    pub(crate) fn new(lines: Lines, every: u32, seed: usize) -> Self {
        Self { lines, sampler: Sampler::new(every, seed as u64), stamp: Stamp::default() }
    }

    /// Passes over responses that get no line, up to `most` of them; how many. None: the next one
    /// gets a line.
    pub(super) fn pass_over(&mut self, most: usize) -> usize {
        self.sampler.pass_over(most)
    }

    /// Whether the next response gets a line.
    pub(super) fn takes_next(&mut self) -> bool {
        self.pass_over(1) == 0
    }

    /// Adds the line of a response to the request of that method and target; `None` if the request
    /// could not be read.
    pub(super) fn add(
        &mut self,
        client: Option<&str>,
        asked: Option<(Method, &[u8])>,
        since: Instant,
        answered: Answered<'_>,
    ) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let took = since.elapsed();
        let stamp = self.stamp.of(time.as_secs());
        let micros = time.subsec_micros();
        self.lines.push(|line| {
            line.extend_from_slice(stamp);
            line.extend_from_slice(&six_digits(micros));
            render(line, client, asked, took, answered);
        });
    }

    /// Has the lines written.
    pub(super) fn hand_over(&mut self) {
        self.lines.hand_over();
    }
}

/// What a line calls the other end of a connection.
pub(super) fn client_name(peer: Option<SocketAddr>) -> Box<str> {
    peer.map_or_else(|| "unix".into(), |peer| peer.to_string().into())
}

/// The target that ends at `end`, where a space stands as before it.
pub(super) fn target(input: &[u8], end: u32) -> &[u8] {
    let before = &input[..end as usize];
    &before[memchr::memrchr(b' ', before).map_or(0, |space| space + 1)..]
}

/// The start of a line up to the second's fraction, rendered once a second.
#[derive(Debug, Default)]
struct Stamp {
    second: u64,
    text: Vec<u8>,
}

impl Stamp {
    fn of(&mut self, second: u64) -> &[u8] {
        if self.text.is_empty() || second != self.second {
            self.second = second;
            self.text.clear();
            self.text.extend_from_slice(b"{\"time\":\"");
            date::render_rfc3339(second, &mut self.text);
            self.text.push(b'.');
        }
        &self.text
    }
}

fn six_digits(number: u32) -> [u8; 6] {
    let mut digits = [b'0'; 6];
    let mut left = number;
    for digit in digits.iter_mut().rev() {
        *digit += (left % 10) as u8;
        left /= 10;
    }
    digits
}

/// Appends what follows the time.
fn render(
    line: &mut Vec<u8>,
    client: Option<&str>,
    asked: Option<(Method, &[u8])>,
    took: Duration,
    answered: Answered<'_>,
) {
    line.extend_from_slice(b"Z\",\"client\":");
    match client {
        Some(client) => quote(client.as_bytes(), line),
        None => line.extend_from_slice(b"null"),
    }
    match asked {
        Some((method, target)) => {
            line.extend_from_slice(b",\"method\":");
            quote(method.label().as_bytes(), line);
            line.extend_from_slice(b",\"target\":");
            quote(&target[..target.len().min(TARGET_BYTES_MAX)], line);
        }
        None => line.extend_from_slice(b",\"method\":null,\"target\":null"),
    }
    // `HTTP/1.1 200 OK`.
    let status = answered.bytes.get(9..12).unwrap_or(b"0");
    line.extend_from_slice(b",\"status\":");
    line.extend_from_slice(status);
    let bytes = answered.bytes.len() - head_bytes(answered.bytes) + answered.payload_bytes;
    let mut digits = itoa::Buffer::new();
    line.extend_from_slice(b",\"bytes\":");
    line.extend_from_slice(digits.format(bytes).as_bytes());
    line.extend_from_slice(b",\"microseconds\":");
    line.extend_from_slice(digits.format(took.as_micros() as u64).as_bytes());
    line.extend_from_slice(b"}\n");
}

/// Length of a response's head, with the blank line.
fn head_bytes(response: &[u8]) -> usize {
    let mut ends = memchr::memchr_iter(b'\r', response);
    ends.find(|&end| response[end..].starts_with(b"\r\n\r\n")).map_or(0, |end| end + 4)
}

/// Appends a string of JSON (RFC 8259 §7). What is not visible ASCII, and a target has nothing else,
/// is shown as the character of the byte's number.
fn quote(text: &[u8], line: &mut Vec<u8>) {
    line.push(b'"');
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    let mut rest = text;
    // What is plain up to the next byte that is not.
    while let Some(at) = rest.iter().position(|&byte| !is_plain(byte)) {
        line.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => line.extend_from_slice(&[b'\\', byte]),
            // Writing to a vector can't fail.
            byte => drop(write!(line, "\\u{byte:04x}")),
        }
        rest = &rest[at + 1..];
    }
    line.extend_from_slice(rest);
    line.push(b'"');
}

/// Chooses one of so many, on average, in steps that no pattern of requests keeps in time with.
#[derive(Debug)]
struct Sampler {
    every: u32,
    /// Responses to pass over before the next line.
    left: u64,
    state: u64,
}

impl Sampler {
    fn new(every: u32, seed: u64) -> Self {
        let mut sampler = Self { every, left: 0, state: seed.wrapping_add(1) };
        sampler.draw();
        sampler
    }

    fn pass_over(&mut self, most: usize) -> usize {
        let passed = self.left.min(most as u64);
        self.left -= passed;
        if passed == 0 {
            self.draw();
        }
        passed as usize
    }

    /// Draws how many are passed over, from none to twice `every` less two, each as likely.
    fn draw(&mut self) {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let steps = u64::from(self.every) * 2 - 1;
        self.left = ((u128::from(z ^ z >> 31) * u128::from(steps)) >> 64) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_quoted() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let mut line = Vec::new();
        quote(&all, &mut line);
        let text: String = serde_json::from_slice(&line).unwrap();
        assert_eq!(text, all.iter().map(|&byte| char::from(byte)).collect::<String>());
    }

    #[test]
    fn one_of_so_many_is_chosen() {
        for every in [1, 2, 10, 1000] {
            let mut sampler = Sampler::new(every, 7);
            let (mut chosen, all) = (0u32, 100_000);
            for _ in 0..all {
                chosen += u32::from(sampler.pass_over(1) == 0);
            }
            let expected = all / every;
            assert!(chosen.abs_diff(expected) <= expected / 5, "{chosen} of {all}, 1 in {every}");
        }
    }
}
