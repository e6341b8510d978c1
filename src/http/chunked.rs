//! The chunked transfer coding (RFC 9112 §7.1), decoded as it comes, in any split.

use super::error::Error;
use super::token::{is_text, is_token};

/// Hexadecimal digits of a chunk size, leading zeros included.
const SIZE_DIGITS_MAX: u32 = 16;

/// A chunk-size line with its extensions, in bytes without the line end.
const LINE_BYTES_MAX: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Within the digits of a size, of which this many have come.
    Size(u32),
    /// Behind the size or an extension, where white space needs a `;` to follow.
    BeforeExtension,
    /// Behind the `;`, where white space may stand before the name.
    Extension,
    ExtensionName,
    /// Behind the name, where white space needs a `=` or a `;` to follow.
    BeforeValue,
    /// Behind the `=`, where white space may stand before the value.
    Value,
    ValueToken,
    ValueQuoted,
    /// Behind a backslash within the quotes.
    ValueEscaped,
    /// Behind the closing quote.
    ValueEnd,
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
            State::SizeLineFeed => self.size_end(byte),
            State::DataReturn => expect(byte, b'\r', State::DataLineFeed),
            State::DataLineFeed => expect(byte, b'\n', State::Size(0)),
            State::LastLineFeed if byte == b'\n' => Ok(State::End),
            State::Trailer
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLineFeed
            | State::LastLineFeed => self.trailer(byte),
            _ => self.extension(byte),
        }
    }

    /// Extensions (RFC 9112 §7.1.1) are checked and ignored: where a line ends that breaks the
    /// grammar, its readers may disagree.
    fn extension(&mut self, byte: u8) -> Result<State, Error> {
        use State::*;
        self.line_bytes += 1;
        if self.line_bytes > LINE_BYTES_MAX {
            return Err(Error::ChunkLineTooLong);
        }
        match (self.state, byte) {
            (BeforeExtension | ValueToken | ValueEnd, b' ' | b'\t') => Ok(BeforeExtension),
            (Extension | Value, b' ' | b'\t') => Ok(self.state),
            (ExtensionName | BeforeValue, b' ' | b'\t') => Ok(BeforeValue),
            (BeforeExtension | ExtensionName | BeforeValue | ValueToken | ValueEnd, b';') => {
                Ok(Extension)
            }
            (ExtensionName | BeforeValue, b'=') => Ok(Value),
            (ExtensionName | ValueToken | ValueEnd, b'\r') => Ok(SizeLineFeed),
            (Extension | ExtensionName, byte) if is_token(byte) => Ok(ExtensionName),
            (Value | ValueToken, byte) if is_token(byte) => Ok(ValueToken),
            (Value, b'"') => Ok(ValueQuoted),
            (ValueQuoted, b'"') => Ok(ValueEnd),
            (ValueQuoted, b'\\') => Ok(ValueEscaped),
            (ValueQuoted | ValueEscaped, byte) if is_text(byte) => Ok(ValueQuoted),
            _ => Err(Error::ChunkExtension),
        }
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
            b"5\r\nhello\r\n06;a=b;c=\"d\"\r\n world\r\n1 ;x ; y = \"\\\"\"\r\n!\r\n0\r\nA: b\r\nC:\r\n\r\nGET";
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
            (b"1 \r\n", Error::ChunkExtension),
            (b"1\n", Error::ChunkSize),
            (b"1\rx", Error::ChunkSize),
            (b"00000000000000001\r\n", Error::ChunkSize),
            (b"1;\r\n", Error::ChunkExtension),
            (b"1;a\x00\r\n", Error::ChunkExtension),
            (b"1;a=\r\n", Error::ChunkExtension),
            (b"1;a \r\n", Error::ChunkExtension),
            (b"1;a=b \r\n", Error::ChunkExtension),
            (b"1;a=\"b\"c\r\n", Error::ChunkExtension),
            (b"1;a=\"\\\"\r\n", Error::ChunkExtension),
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
