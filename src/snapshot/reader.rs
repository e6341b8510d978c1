//! Puts what a snapshot holds into a store that is empty.
//!
//! Threads take one block after the other. Each is checked by its checksum before anything is made of it;
//! only large values go into the store while they are read. When anything turns out to be wrong, what the
//! store holds by then is worth nothing, and the caller takes a new one.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, OFlags, fadvise};
use xxhash_rust::xxh3::Xxh3;

use super::format::{
    BLOCK_HEADER_BYTES, BlockHeader, BlockKind, CHECKSUM_BYTES, ENDLESS, ENTRY_BYTES, Entry,
    EntryHeader, Fault, HEADER_BYTES, Header, TRAILER_BYTES, Trailer, VERSION, checked, checksum,
    take_entry,
};
use super::moment::Moment;
use super::selection::Selection;
use super::writer::Contents;
use crate::store::{Expiry, Full, Tick};

/// A large value is read in pieces of this length.
const PIECE_BYTES: usize = 256 << 10;

/// What is loaded of a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The store's limit on its memory, in bytes.
    pub memory_bytes_max: u64,
    /// Longest key that can be asked for, in bytes.
    pub key_bytes_max: usize,
    /// Oldest snapshot that is loaded.
    pub age_max: Option<Duration>,
}

/// What was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Keys that were put into the store.
    pub keys: u64,
    /// Keys whose life was over.
    pub expired: u64,
    /// Keys that were left out: the memory is less than it was, or they are too long now.
    pub left_out: u64,
    /// Length of the file.
    pub bytes: u64,
    /// How old it is; `None` if the clock was set back.
    pub age: Option<Duration>,
}

/// Why a snapshot can't be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// There is none.
    Missing,
    /// It can't be read.
    Io(io::Error),
    /// It is something else.
    Foreign,
    /// A later version of the program wrote it, in this version of the format.
    Newer(u32),
    /// It is shorter than the shortest one.
    Truncated,
    /// What is at this offset is not what was written.
    Corrupt(u64),
    /// It is so old.
    TooOld(Duration),
    /// The clock was set back, so that nobody knows how old it is.
    AgeUnknown,
    /// The caller said to stop.
    Stopped,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "there is none"),
            Self::Io(error) => write!(f, "it can't be read: {error}"),
            Self::Foreign => write!(f, "it is no snapshot of corekv"),
            Self::Newer(version) => {
                write!(f, "it has version {version} of the format, this program reads {VERSION}")
            }
            Self::Truncated => write!(f, "it is truncated"),
            Self::Corrupt(offset) => write!(f, "it is damaged or truncated, at byte {offset}"),
            Self::TooOld(age) => {
                write!(f, "it is {} s old, which is more than --snapshot-age-max", age.as_secs())
            }
            Self::AgeUnknown => {
                write!(f, "it is from the future, so that --snapshot-age-max can't be checked")
            }
            Self::Stopped => write!(f, "the server was told to end"),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Says where the fault is.
fn at(offset: u64) -> impl Fn(Fault) -> LoadError {
    move |fault| match fault {
        Fault::Foreign => LoadError::Foreign,
        Fault::Newer(version) => LoadError::Newer(version),
        Fault::Corrupt => LoadError::Corrupt(offset),
    }
}

/// A file that several threads read.
struct Input<'a> {
    file: File,
    header: Header,
    /// Where the blocks end.
    end: u64,
    contents: &'a Contents,
    limits: Limits,
    selection: Selection,
    /// The moment of loading, and ticks from the snapshot's moment to it.
    now: Tick,
    elapsed: u32,
    next: Mutex<Next>,
    stop: &'a (dyn Fn() -> bool + Sync),
    failed: AtomicBool,
    entries: AtomicU64,
    expired: AtomicU64,
    left_out: AtomicU64,
    keys: AtomicU64,
}

/// The block that is read next.
struct Next {
    offset: u64,
    blocks: u64,
}

/// Puts what a snapshot holds into a store, with so many threads, until `stop` says to end.
///
/// # Errors
/// When that can't be done as a whole: the store then holds some of it.
pub fn load(
    path: &Path,
    contents: &Contents,
    limits: Limits,
    threads: usize,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Loaded, LoadError> {
    let (file, bytes) = open(path)?;
    let header = Header::parse(&read_array::<HEADER_BYTES>(&file, 0)?).map_err(at(0))?;
    if bytes < (HEADER_BYTES + TRAILER_BYTES) as u64 {
        return Err(LoadError::Truncated);
    }
    let end = bytes - TRAILER_BYTES as u64;
    let trailer = read_array::<TRAILER_BYTES>(&file, end)?;
    let trailer = Trailer::parse(&trailer, header.id, end).map_err(at(end))?;
    let age = Moment::now().since(&header.moment);
    match (limits.age_max, age) {
        (Some(_), None) => return Err(LoadError::AgeUnknown),
        (Some(max), Some(age)) if age > max => return Err(LoadError::TooOld(age)),
        _ => {}
    }
    let input = Input {
        file,
        header,
        end,
        contents,
        limits,
        selection: Selection::new(&trailer.cost_by_rank, limits.memory_bytes_max),
        now: contents.clock.tick(Instant::now()),
        elapsed: ticks(age.unwrap_or_default()),
        next: Mutex::new(Next { offset: HEADER_BYTES as u64, blocks: 0 }),
        stop,
        failed: AtomicBool::new(false),
        entries: AtomicU64::new(0),
        expired: AtomicU64::new(0),
        left_out: AtomicU64::new(0),
        keys: AtomicU64::new(0),
    };
    contents.store.set_share(trailer.share);
    input.load_all(threads)?;
    let blocks = input.next.lock().unwrap_or_else(PoisonError::into_inner).blocks;
    if (blocks, input.entries.load(Relaxed)) != (trailer.blocks, trailer.entries) {
        return Err(LoadError::Corrupt(end));
    }
    Ok(Loaded {
        keys: input.keys.load(Relaxed),
        expired: input.expired.load(Relaxed),
        left_out: input.left_out.load(Relaxed),
        bytes,
        age,
    })
}

fn open(path: &Path) -> Result<(File, u64), LoadError> {
    // Nobody waits for the other end of a pipe.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => LoadError::Missing,
        _ => LoadError::Io(error),
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(LoadError::Foreign);
    }
    let _ = fadvise(&file, 0, None, Advice::Sequential);
    Ok((file, metadata.len()))
}

/// Reads bytes at an offset; that there are fewer is no error of the system's.
fn read(file: &File, bytes: &mut [u8], offset: u64) -> Result<(), LoadError> {
    file.read_exact_at(bytes, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => LoadError::Truncated,
        _ => LoadError::Io(error),
    })
}

fn read_array<const N: usize>(file: &File, offset: u64) -> Result<[u8; N], LoadError> {
    let mut bytes = [0; N];
    read(file, &mut bytes, offset)?;
    Ok(bytes)
}

/// Whole ticks of a time.
fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / (1000 / u128::from(Tick::PER_SECOND))).unwrap_or(u32::MAX)
}

impl Input<'_> {
    fn load_all(&self, threads: usize) -> Result<(), LoadError> {
        let error = Mutex::new(None);
        let work = || {
            if let Err(fault) = self.load_blocks() {
                self.failed.store(true, Relaxed);
                error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                // With fewer threads it takes longer, and that is all.
                let _ = thread::Builder::new().name("load".to_owned()).spawn_scoped(scope, work);
            }
            work();
        });
        error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn load_blocks(&self) -> Result<(), LoadError> {
        let mut buffer = Vec::new();
        while !self.failed.load(Relaxed) {
            if (self.stop)() {
                return Err(LoadError::Stopped);
            }
            let Some((offset, header)) = self.take_block()? else { return Ok(()) };
            match header.kind {
                BlockKind::Small => self.load_small(offset, header, &mut buffer)?,
                BlockKind::Large => self.load_large(offset, header, &mut buffer)?,
            }
        }
        Ok(())
    }

    /// The next block, which nobody else gets. Its end is inside of the file.
    fn take_block(&self) -> Result<Option<(u64, BlockHeader)>, LoadError> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let (offset, left) = (next.offset, self.end - next.offset);
        if left == 0 {
            return Ok(None);
        }
        let corrupt = LoadError::Corrupt(offset);
        if left < BLOCK_HEADER_BYTES as u64 {
            return Err(corrupt);
        }
        let header = read_array::<BLOCK_HEADER_BYTES>(&self.file, offset)?;
        let header = BlockHeader::parse(&header).map_err(at(offset))?;
        let Some(bytes) = header.block_bytes().filter(|&bytes| bytes <= left) else {
            return Err(corrupt);
        };
        next.offset += bytes;
        next.blocks += 1;
        Ok(Some((offset, header)))
    }

    fn load_small(
        &self,
        offset: u64,
        header: BlockHeader,
        buffer: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        let bytes = BLOCK_HEADER_BYTES + header.length as usize + CHECKSUM_BYTES;
        buffer.resize(bytes, 0);
        read(&self.file, buffer, offset)?;
        let block = checked(buffer, self.header.id, offset).map_err(at(offset))?;
        let mut payload = &block[BLOCK_HEADER_BYTES..];
        for _ in 0..header.entries {
            let entry = take_entry(&mut payload).map_err(at(offset))?;
            self.load_entry(&entry);
        }
        if payload.is_empty() { Ok(()) } else { Err(LoadError::Corrupt(offset)) }
    }

    fn load_entry(&self, entry: &Entry<'_>) {
        let Some(expiry) = self.choose(&entry.header, entry.key) else { return };
        let Contents { store, fields, .. } = self.contents;
        let meta = fields.meta(entry.fields);
        let state = (expiry, entry.header.popularity);
        let key = store.key(entry.key);
        self.count(store.restore(key, &meta, entry.value, state, self.now));
    }

    /// When an entry ends that is to be loaded.
    fn choose(&self, header: &EntryHeader, key: &[u8]) -> Option<Expiry> {
        self.entries.fetch_add(1, Relaxed);
        let expiry = if header.life == ENDLESS {
            Expiry::NEVER
        } else {
            let left = header.life.saturating_sub(self.elapsed);
            Expiry::from_bits(self.now.0.saturating_add(left).min(u32::MAX - 1))
        };
        if expiry.is_due(self.now) {
            self.expired.fetch_add(1, Relaxed);
            return None;
        }
        if key.len() > self.limits.key_bytes_max || !self.selection.has(header.popularity, key) {
            self.left_out.fetch_add(1, Relaxed);
            return None;
        }
        Some(expiry)
    }

    fn count(&self, result: Result<bool, Full>) {
        let counter = if result.is_ok() { &self.keys } else { &self.left_out };
        counter.fetch_add(1, Relaxed);
    }

    fn load_large(
        &self,
        offset: u64,
        header: BlockHeader,
        buffer: &mut Vec<u8>,
    ) -> Result<(), LoadError> {
        let mut reader = Reader {
            file: &self.file,
            at: offset,
            left: BLOCK_HEADER_BYTES as u64 + header.length,
            sum: checksum(self.header.id, offset),
        };
        let corrupt = || LoadError::Corrupt(offset);
        buffer.resize(PIECE_BYTES, 0);
        let block = reader.take(&mut buffer[..BLOCK_HEADER_BYTES + ENTRY_BYTES])?;
        let entry = block.last_chunk().ok_or_else(corrupt)?;
        let entry = EntryHeader::parse(entry).map_err(at(offset))?;
        let head_len = entry.key_len + entry.fields_len;
        if reader.left != (head_len + entry.value_len) as u64 {
            return Err(corrupt());
        }
        let head = reader.take(&mut buffer[..head_len])?.to_vec();
        let (key, fields) = head.split_at(entry.key_len);
        let expiry = self.choose(&entry, key);
        let store = &self.contents.store;
        let key = store.key(key);
        let mut upload = expiry.map(|_| store.upload(key));
        let (mut result, meta) = (Ok(()), self.contents.fields.meta(fields));
        if let Some(upload) = &mut upload {
            result = upload.set_meta(&meta).and_then(|()| upload.expect(entry.value_len));
        }
        while reader.left > 0 {
            let len = buffer.len().min(usize::try_from(reader.left).unwrap_or(usize::MAX));
            let piece = reader.take(&mut buffer[..len])?;
            if let (Some(upload), Ok(())) = (&mut upload, result) {
                result = upload.append(piece);
            }
        }
        let sum: [u8; CHECKSUM_BYTES] = read_array(&self.file, reader.at)?;
        if reader.sum.digest() != u64::from_le_bytes(sum) {
            return Err(corrupt());
        }
        if let (Some(upload), Some(expiry)) = (upload, expiry) {
            let state = (expiry, entry.popularity);
            let stored = result.and_then(|()| store.restore_upload(key, upload, state, self.now));
            self.count(stored);
        }
        Ok(())
    }
}

/// Reads a block piece by piece.
struct Reader<'a> {
    file: &'a File,
    at: u64,
    /// Bytes before the checksum.
    left: u64,
    sum: Xxh3,
}

impl Reader<'_> {
    /// Fills a buffer, which is not longer than what is left.
    fn take<'b>(&mut self, buffer: &'b mut [u8]) -> Result<&'b [u8], LoadError> {
        read(self.file, buffer, self.at)?;
        self.sum.update(buffer);
        self.at += buffer.len() as u64;
        self.left -= buffer.len() as u64;
        Ok(buffer)
    }
}
