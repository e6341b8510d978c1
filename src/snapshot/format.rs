//! What the bytes of a snapshot mean.
//!
//! ```text
//!   | header, 64 bytes | block | block | ... | trailer, 104 bytes |
//!
//!   header    magic: 8 | version: 4 | 0: 4 | id: 8 | moment: 32 | checksum: 8
//!   block     payload's length: 8 | kind: 4 | entries: 4 | payload | checksum: 8
//!   entry     key's length: 2 | fields' length: 2 | value's length: 4 | life: 4 | rank: 1 | 0: 3
//!             | key | fields | value
//!   trailer   blocks: 8 | entries: 8 | share: 8 | cost by rank: 8 * 8 | checksum: 8 | magic: 8
//! ```
//!
//! Numbers are little-endian. A checksum is XXH3 of all that stands before it in its part, with the
//! file's random id plus the part's offset for a seed: a block of another file, or from another place, is
//! none. Blocks come in any order, and none needs another, so that they are read and written in parallel.
//! A block of kind [`SMALL`] has as many entries as fit; one of kind [`LARGE`] has one, of any length.
//!
//! A life is counted in ticks from the header's moment, [`ENDLESS`] for a key that does not end. The
//! rank is that of the entry's popularity. The trailer says what the entries of each rank take of a
//! store's memory, so that it is known in advance which ones fit.

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::moment::{MOMENT_BYTES, Moment};
use crate::store::{KEY_BYTES_MAX, POPULARITY_RANKS, Popularity};

/// The line end tells a file that was taken for text.
const MAGIC: [u8; 8] = *b"corekv\r\n";
const END_MAGIC: [u8; 8] = *b"\r\nvkeroc";

/// What this program writes, and reads.
pub(super) const VERSION: u32 = 1;

pub(super) const HEADER_BYTES: usize = 64;
pub(super) const TRAILER_BYTES: usize = 104;
pub(super) const BLOCK_HEADER_BYTES: usize = 16;
pub(super) const CHECKSUM_BYTES: usize = 8;
pub(super) const ENTRY_BYTES: usize = 16;

/// A block of small entries is written once it is this long.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// Longest payload of small entries: one more entry, with the fields that belong to it.
pub(super) const SMALL_BLOCK_BYTES_MAX: usize = BLOCK_BYTES + (128 << 10);

/// The life of a key that does not end.
pub(super) const ENDLESS: u32 = u32::MAX;

const SMALL: u32 = 1;
const LARGE: u32 = 2;

/// Why bytes are no part of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is something else.
    Foreign,
    /// It was written by a later version of the program, in this version of the format.
    Newer(u32),
    /// It is not as it was written.
    Corrupt,
}

/// The start of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u64,
    pub(super) moment: Moment,
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    Small,
    Large,
}

/// The start of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) length: u64,
    pub(super) kind: BlockKind,
    pub(super) entries: u32,
}

/// The start of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryHeader {
    pub(super) key_len: usize,
    pub(super) fields_len: usize,
    pub(super) value_len: usize,
    pub(super) life: u32,
    pub(super) popularity: Popularity,
}

/// The end of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) blocks: u64,
    pub(super) entries: u64,
    /// See [`Store::share`](crate::store::Store::share).
    pub(super) share: u64,
    /// What the entries of each rank take of the memory limit.
    pub(super) cost_by_rank: [u64; POPULARITY_RANKS],
}

/// Takes numbers off the front of bytes that are long enough.
struct Parts<'a>(&'a [u8]);

impl Parts<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (part, rest) = self.0.split_first_chunk().expect("the length was checked");
        self.0 = rest;
        *part
    }

    fn u16(&mut self) -> usize {
        usize::from(u16::from_le_bytes(self.take()))
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

fn seed(id: u64, offset: u64) -> u64 {
    id.wrapping_add(offset)
}

/// The checksum of a part that comes in pieces.
pub(super) fn checksum(id: u64, offset: u64) -> Xxh3 {
    Xxh3::with_seed(seed(id, offset))
}

fn append_checksum(bytes: &mut Vec<u8>, id: u64, offset: u64) {
    let checksum = xxh3_64_with_seed(bytes, seed(id, offset));
    bytes.extend(checksum.to_le_bytes());
}

/// What of a part stands before its checksum, if that is right.
pub(super) fn checked(bytes: &[u8], id: u64, offset: u64) -> Result<&[u8], Fault> {
    let (content, sum) = bytes.split_last_chunk().ok_or(Fault::Corrupt)?;
    let is_right = xxh3_64_with_seed(content, seed(id, offset)) == u64::from_le_bytes(*sum);
    is_right.then_some(content).ok_or(Fault::Corrupt)
}

impl Header {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.id.to_le_bytes());
        bytes.extend(self.moment.to_bytes());
        append_checksum(&mut bytes, 0, 0);
        bytes
    }

    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Fault> {
        let mut parts = Parts(bytes);
        if parts.take() != MAGIC {
            return Err(Fault::Foreign);
        }
        let version = parts.u32();
        if version > VERSION {
            return Err(Fault::Newer(version));
        }
        checked(bytes, 0, 0)?;
        if version != VERSION || parts.u32() != 0 {
            return Err(Fault::Corrupt);
        }
        let id = parts.u64();
        Ok(Self { id, moment: Moment::from_bytes(&parts.take::<MOMENT_BYTES>()) })
    }
}

impl BlockHeader {
    pub(super) fn to_bytes(self) -> [u8; BLOCK_HEADER_BYTES] {
        let kind = match self.kind {
            BlockKind::Small => SMALL,
            BlockKind::Large => LARGE,
        };
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        bytes[..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..12].copy_from_slice(&kind.to_le_bytes());
        bytes[12..].copy_from_slice(&self.entries.to_le_bytes());
        bytes
    }

    /// Reads a header that may be anything; it is right if the block's checksum is.
    pub(super) fn parse(bytes: &[u8; BLOCK_HEADER_BYTES]) -> Result<Self, Fault> {
        let mut parts = Parts(bytes);
        let (length, kind, entries) = (parts.u64(), parts.u32(), parts.u32());
        let kind = match kind {
            SMALL if length <= SMALL_BLOCK_BYTES_MAX as u64 => BlockKind::Small,
            LARGE if entries == 1 && length >= ENTRY_BYTES as u64 => BlockKind::Large,
            _ => return Err(Fault::Corrupt),
        };
        Ok(Self { length, kind, entries })
    }

    /// Bytes of the block as a whole; `None` if there is no such number.
    pub(super) fn block_bytes(self) -> Option<u64> {
        self.length.checked_add((BLOCK_HEADER_BYTES + CHECKSUM_BYTES) as u64)
    }
}

impl EntryHeader {
    pub(super) fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..2].copy_from_slice(&(self.key_len as u16).to_le_bytes());
        bytes[2..4].copy_from_slice(&(self.fields_len as u16).to_le_bytes());
        bytes[4..8].copy_from_slice(&(self.value_len as u32).to_le_bytes());
        bytes[8..12].copy_from_slice(&self.life.to_le_bytes());
        bytes[12] = self.popularity.rank() as u8;
        bytes
    }

    pub(super) fn parse(bytes: &[u8; ENTRY_BYTES]) -> Result<Self, Fault> {
        let mut parts = Parts(bytes);
        let (key_len, fields_len) = (parts.u16(), parts.u16());
        let (value_len, life) = (parts.u32() as usize, parts.u32());
        let [rank, zeroes @ ..] = parts.take::<4>();
        let popularity = Popularity::of_rank(usize::from(rank)).ok_or(Fault::Corrupt)?;
        if key_len == 0 || key_len > KEY_BYTES_MAX || zeroes != [0; 3] {
            return Err(Fault::Corrupt);
        }
        Ok(Self { key_len, fields_len, value_len, life, popularity })
    }
}

/// An entry of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) header: EntryHeader,
    pub(super) key: &'a [u8],
    pub(super) fields: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Takes the first entry off the payload of a block of small entries.
pub(super) fn take_entry<'a>(payload: &mut &'a [u8]) -> Result<Entry<'a>, Fault> {
    let (header, mut rest) = payload.split_first_chunk().ok_or(Fault::Corrupt)?;
    let header = EntryHeader::parse(header)?;
    let mut take = |len: usize| -> Result<&'a [u8], Fault> {
        let (part, others) = rest.split_at_checked(len).ok_or(Fault::Corrupt)?;
        rest = others;
        Ok(part)
    };
    let (key, fields) = (take(header.key_len)?, take(header.fields_len)?);
    let value = take(header.value_len)?;
    *payload = rest;
    Ok(Entry { header, key, fields, value })
}

impl Trailer {
    /// At this offset of its file.
    pub(super) fn to_bytes(self, id: u64, offset: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TRAILER_BYTES);
        for number in [self.blocks, self.entries, self.share].into_iter().chain(self.cost_by_rank) {
            bytes.extend(number.to_le_bytes());
        }
        append_checksum(&mut bytes, id, offset);
        bytes.extend(END_MAGIC);
        bytes
    }

    pub(super) fn parse(bytes: &[u8; TRAILER_BYTES], id: u64, offset: u64) -> Result<Self, Fault> {
        let (bytes, magic) = bytes.split_last_chunk().ok_or(Fault::Corrupt)?;
        if *magic != END_MAGIC {
            return Err(Fault::Corrupt);
        }
        let mut parts = Parts(checked(bytes, id, offset)?);
        Ok(Self {
            blocks: parts.u64(),
            entries: parts.u64(),
            share: parts.u64(),
            cost_by_rank: std::array::from_fn(|_| parts.u64()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_the_lengths_that_are_stated() {
        let header = Header { id: 7, moment: Moment::now() };
        let bytes: [u8; HEADER_BYTES] = header.to_bytes().try_into().expect("its length");
        assert_eq!(Header::parse(&bytes), Ok(header));
        let trailer = Trailer { blocks: 1, entries: 2, share: 3, cost_by_rank: [4; 8] };
        let bytes: [u8; TRAILER_BYTES] = trailer.to_bytes(7, 9).try_into().expect("its length");
        assert_eq!(Trailer::parse(&bytes, 7, 9), Ok(trailer));
        assert_eq!(Trailer::parse(&bytes, 7, 8), Err(Fault::Corrupt), "from another place");
        assert_eq!(Trailer::parse(&bytes, 8, 9), Err(Fault::Corrupt), "of another file");
    }
}
