//! The chunked transfer coding (RFC 9112 §7.1), decoded as it comes, in any split.

use super::error::Error;

/// Hexadecimal digits of a chunk size, leading zeros included.
const SIZE_DIGITS_MAX: u32 = 16;

/// A chunk-size line with its extensions, in bytes without the line end.
const LINE_BYTES_MAX: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Within the digits of a size, of which this many have come.
    Size(u32),
    /// Behind the size, where white space needs a `;` to follow.
    BeforeExtension,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    /// At the start of a trailer line, or of the blank line that ends the body.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
    End,
}

/// The decoder's state between two pieces of input.
#[derive(Debug, Clone)]
pub struct Chunked {
    state: State,
    /// The size being read, then what is left of the chunk.
    left: u64,
    total: u64,
    line_bytes: usize,
    body_bytes_max: u64,
    trailer_bytes_max: usize,
}

/// What [`Chunked::decode`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that belong to the body.
    pub consumed: usize,
    /// The body is complete.
    pub complete: bool,
}

impl Chunked {
    /// A decoder for bodies of up to `body_bytes_max` bytes, followed by up to
    /// `trailer_bytes_max` bytes of trailers, which are checked and ignored.
    #[must_use]
    pub fn new(body_bytes_max: u64, trailer_bytes_max: usize) -> Self {
        Self {
            state: State::Size(0),
            left: 0,
            total: 0,
            line_bytes: 0,
            body_bytes_max,
            trailer_bytes_max,
        }
    }

    /// Decodes what there is and hands the data on, in order.
    ///
    /// # Errors
    /// When the coding is malformed or a limit is exceeded. Nothing more can be decoded then.
    pub fn decode(&mut self, input: &[u8], mut data: impl FnMut(&[u8])) -> Result<Decoded, Error> {
        let mut at = 0;
        while at < input.len() && self.state != State::End {
            if self.state == State::Data {
                let n = self.left.min((input.len() - at) as u64) as usize;
                data(&input[at..at + n]);
                at += n;
                self.left -= n as u64;
                if self.left == 0 {
                    self.state = State::DataReturn;
                }
            } else {
                self.state = self.step(input[at])?;
                at += 1;
            }
        }
        Ok(Decoded { consumed: at, complete: self.state == State::End })
    }

    /// Takes one byte that is not data.
    fn step(&mut self, byte: u8) -> Result<State, Error> {
        match self.state {
            State::Size(digits) => self.size(byte, digits),
            State::BeforeExtension => self.line(byte, |byte| match byte {
                b' ' | b'\t' => Ok(State::BeforeExtension),
                b';' => Ok(State::Extension),
                _ => Err(Error::ChunkSize),
            }),
            State::Extension => self.line(byte, |byte| match byte {
                b'\r' => Ok(State::SizeLineFeed),
                byte if is_text(byte) => Ok(State::Extension),
                _ => Err(Error::ChunkSize),
            }),
            State::SizeLineFeed => self.size_end(byte),
            State::DataReturn => expect(byte, b'\r', State::DataLineFeed),
            State::DataLineFeed => expect(byte, b'\n', State::Size(0)),
            State::LastLineFeed if byte == b'\n' => Ok(State::End),
            _ => self.trailer(byte),
        }
    }

    fn line(
        &mut self,
        byte: u8,
        next: impl Fn(u8) -> Result<State, Error>,
    ) -> Result<State, Error> {
        self.line_bytes += 1;
        if self.line_bytes > LINE_BYTES_MAX {
            return Err(Error::ChunkLineTooLong);
        }
        next(byte)
    }

    fn size(&mut self, byte: u8, digits: u32) -> Result<State, Error> {
        if let Some(digit) = (byte as char).to_digit(16) {
            if digits == SIZE_DIGITS_MAX {
                return Err(Error::ChunkSize);
            }
            self.line_bytes = digits as usize + 1;
            self.left = self.left << 4 | u64::from(digit);
            return Ok(State::Size(digits + 1));
        }
        match byte {
            _ if digits == 0 => Err(Error::ChunkSize),
            b'\r' => Ok(State::SizeLineFeed),
            b';' => Ok(State::Extension),
            b' ' | b'\t' => Ok(State::BeforeExtension),
            _ => Err(Error::ChunkSize),
        }
    }

    fn size_end(&mut self, byte: u8) -> Result<State, Error> {
        if byte != b'\n' {
            return Err(Error::ChunkSize);
        }
        self.line_bytes = 0;
        if self.left == 0 {
            return Ok(State::Trailer);
        }
        // Checked before the data comes: what is too long need not be received.
        self.total = self.total.checked_add(self.left).ok_or(Error::BodyTooLarge)?;
        if self.total > self.body_bytes_max { Err(Error::BodyTooLarge) } else { Ok(State::Data) }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Error> {
        self.line_bytes += 1;
        if self.line_bytes > self.trailer_bytes_max {
            return Err(Error::TrailersTooLarge);
        }
        match (self.state, byte) {
            (State::Trailer, b'\r') => Ok(State::LastLineFeed),
            (State::Trailer | State::TrailerName, byte) if is_token(byte) => Ok(State::TrailerName),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLineFeed),
            (State::TrailerValue, byte) if is_text(byte) => Ok(State::TrailerValue),
            (State::TrailerLineFeed, b'\n') => Ok(State::Trailer),
            _ => Err(Error::Trailer),
        }
    }
}

fn expect(byte: u8, expected: u8, next: State) -> Result<State, Error> {
    if byte == expected { Ok(next) } else { Err(Error::ChunkEnd) }
}

/// Characters of a field value or a chunk extension.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Characters of a field name (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8], piece: usize) -> Result<(Vec<u8>, usize, bool), Error> {
        let mut decoder = Chunked::new(1000, 100);
        let mut body = Vec::new();
        let mut consumed = 0;
        let mut complete = false;
        for part in input.chunks(piece) {
            let decoded = decoder.decode(part, |data| body.extend_from_slice(data))?;
            consumed += decoded.consumed;
            complete = decoded.complete;
            if complete {
                break;
            }
        }
        Ok((body, consumed, complete))
    }

    #[test]
    fn bodies_decode_in_any_split() {
        let input =
            b"5\r\nhello\r\n06;a=b;c=\"d\"\r\n world\r\n1 ;x\r\n!\r\n0\r\nA: b\r\nC:\r\n\r\nGET";
        for piece in 1..=input.len() {
            let (body, consumed, complete) = decode(input, piece).unwrap();
            assert_eq!(
                (&body[..], consumed, complete),
                (&b"hello world!"[..], input.len() - 3, true)
            );
        }
    }

    #[test]
    fn malformed_bodies_are_refused_in_any_split() {
        for (input, error) in [
            (&b"\r\n"[..], Error::ChunkSize),
            (b"g\r\n", Error::ChunkSize),
            (b"-1\r\n", Error::ChunkSize),
            (b"0x1\r\n", Error::ChunkSize),
            (b" 1\r\n", Error::ChunkSize),
            (b"1 \r\n", Error::ChunkSize),
            (b"1\n", Error::ChunkSize),
            (b"1\rx", Error::ChunkSize),
            (b"00000000000000001\r\n", Error::ChunkSize),
            (b"1;a\x00\r\n", Error::ChunkSize),
            (b"1\r\nab", Error::ChunkEnd),
            (b"1\r\na\n", Error::ChunkEnd),
            (b"1\r\na\rb", Error::ChunkEnd),
            (b"3e9\r\n", Error::BodyTooLarge),
            (b"1\r\na\r\nffffffffffffffff\r\n", Error::BodyTooLarge),
            (b"0\r\n\n", Error::Trailer),
            (b"0\r\n a: b\r\n", Error::Trailer),
            (b"0\r\na : b\r\n", Error::Trailer),
            (b"0\r\na\r\n", Error::Trailer),
            (b"0\r\na: b\n", Error::Trailer),
            (b"0\r\n\rx", Error::Trailer),
        ] {
            for piece in 1..=input.len() {
                assert_eq!(decode(input, piece), Err(error), "{}", input.escape_ascii());
            }
        }
        let long = [b"1;".to_vec(), vec![b'x'; LINE_BYTES_MAX]].concat();
        assert_eq!(decode(&long, 7), Err(Error::ChunkLineTooLong));
        let trailers = [b"0\r\na:".to_vec(), vec![b'x'; 100]].concat();
        assert_eq!(decode(&trailers, 7), Err(Error::TrailersTooLarge));
    }
}
