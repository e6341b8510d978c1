//! The framing of chunked bodies, one byte at a time except for the data.

use super::garbage::Garbage;

/// Where in a chunked body the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    Size { value: u64, digits: u8 },
    Extension { value: u64 },
    SizeLf { value: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
}

/// More digits would not fit into 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

impl Chunk {
    pub(super) fn start() -> Self {
        Self::Size { value: 0, digits: 0 }
    }

    /// Returns how many bytes were taken, and where the body stands, which is nowhere after its
    /// end.
    pub(super) fn read(
        self,
        bytes: &[u8],
        mut data: impl FnMut(&[u8]),
    ) -> Result<(usize, Option<Self>), Garbage> {
        let mut at = self;
        let mut index = 0;
        while index < bytes.len() {
            if let Self::Data { left } = at {
                let rest = &bytes[index..];
                let take = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                data(&rest[..take]);
                index += take;
                let left = left - take as u64;
                at = if left == 0 { Self::DataCr } else { Self::Data { left } };
                continue;
            }
            let byte = bytes[index];
            index += 1;
            match at.after(byte)? {
                Some(next) => at = next,
                None => return Ok((index, None)),
            }
        }
        Ok((index, Some(at)))
    }

    /// Where the byte after `byte` is. Nothing comes after the last one.
    fn after(self, byte: u8) -> Result<Option<Self>, Garbage> {
        let next = match (self, byte) {
            (Self::Size { value, digits: 1.. } | Self::Extension { value }, b'\r') => {
                Self::SizeLf { value }
            }
            (Self::Size { value, digits: 1.. }, b';' | b' ' | b'\t') => Self::Extension { value },
            (Self::Size { value, digits }, _) => {
                let digit = (byte as char).to_digit(16).ok_or(Garbage("a malformed chunk size"))?;
                if digits == SIZE_DIGITS_MAX {
                    return Err(Garbage("a chunk size of more than 64 bits"));
                }
                Self::Size { value: value << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Extension { value }, 1..) if byte != b'\n' => Self::Extension { value },
            (Self::SizeLf { value: 0 } | Self::TrailerLf, b'\n') => Self::TrailerStart,
            (Self::SizeLf { value }, b'\n') => Self::Data { left: value },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::start(),
            (Self::TrailerStart, b'\r') => Self::LastLf,
            (Self::Trailer, b'\r') => Self::TrailerLf,
            (Self::TrailerStart | Self::Trailer, 1..) if byte != b'\n' => Self::Trailer,
            (Self::LastLf, b'\n') => return Ok(None),
            _ => return Err(Garbage("malformed chunks")),
        };
        Ok(Some(next))
    }
}
