//! What the floor does with requests: it counts heads and answers each with a canned response as long as
//! corekv's, so that what is left to pay for is receiving and sending.

use memchr::memmem::Finder;

/// Answers for values of one length.
#[derive(Debug)]
pub struct Canned {
    blank_line: Finder<'static>,
    value_bytes: usize,
    /// The head of corekv's response to a GET.
    pub hit: Vec<u8>,
    /// The value behind it.
    pub value: Vec<u8>,
    /// corekv's response to a POST that replaces a value.
    pub replaced: Vec<u8>,
}

/// What a head asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A GET: `hit` and `value`.
    Read,
    /// A POST: `replaced`.
    Write,
}

impl Canned {
    /// Answers for values of that many bytes, which is also the length of every POST's body.
    #[must_use]
    pub fn new(value_bytes: usize) -> Self {
        let date = "Date: Tue, 24 Nov 2026 03:34:56 GMT";
        let hit = format!("HTTP/1.1 200 OK\r\n{date}\r\nContent-Length: {value_bytes}\r\n\r\n");
        Self {
            blank_line: Finder::new(b"\r\n\r\n"),
            value_bytes,
            hit: hit.into_bytes(),
            value: vec![b'v'; value_bytes],
            replaced: format!("HTTP/1.1 204 No Content\r\n{date}\r\n\r\n").into_bytes(),
        }
    }

    /// Calls `answer` for each head of the input, and says how many bytes of it are done with. `body` is
    /// what is left of a body that the input begins with, and afterwards of one that it ends within.
    #[inline]
    pub fn answer(&self, body: &mut usize, input: &[u8], mut answer: impl FnMut(Asked)) -> usize {
        let mut at = (*body).min(input.len());
        *body -= at;
        while *body == 0 {
            let Some(length) = self.blank_line.find(&input[at..]) else { break };
            let asked = if input[at] == b'P' { Asked::Write } else { Asked::Read };
            answer(asked);
            at += length + 4;
            if asked == Asked::Write {
                let here = self.value_bytes.min(input.len() - at);
                at += here;
                *body = self.value_bytes - here;
            }
        }
        at
    }
}
