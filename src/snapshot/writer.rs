//! Writes what a store holds to a file, while others read and write the store.
//!
//! Each key is in the file as it was at some moment between the beginning and the end. A write that was
//! acknowledged before the beginning is in it, or one of the same key that came later.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Instant, SystemTime};

use super::fields::Fields;
use super::format::{
    BLOCK_BYTES, BLOCK_HEADER_BYTES, BlockHeader, BlockKind, ENDLESS, ENTRY_BYTES, EntryHeader,
    HEADER_BYTES, Header, Trailer, checksum,
};
use super::moment::Moment;
use super::replacement::Replacement;
use super::status::Saved;
use crate::explain::explain;
use crate::store::{
    Clock, Expiry, LargeValue, POPULARITY_RANKS, Scan, Scanned, ScannedValue, Store, Tick,
};

/// What is written is forced to the disk each time it is so many bytes more, while the server serves: all at
/// once at the end would hold others up who use the disk.
const SYNCED_BYTES: u64 = 32 << 20;

/// What is saved, and what its bytes and times mean.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The keys and values.
    pub store: Arc<Store>,
    /// The clock that their lives are counted by.
    pub clock: Clock,
    /// What is kept beside the values.
    pub fields: Arc<dyn Fields>,
}

/// A file that several threads write to.
struct Output<'a> {
    contents: &'a Contents,
    file: &'a File,
    id: u64,
    start: Tick,
    /// Where the next block goes.
    end: AtomicU64,
    blocks: AtomicU64,
    /// Up to where all is on the disk; `None` if that is left to the end.
    synced: Option<AtomicU64>,
    stop: &'a AtomicBool,
    failed: AtomicBool,
}

/// What one thread has written.
#[derive(Default)]
struct Counts {
    entries: u64,
    cost_by_rank: [u64; POPULARITY_RANKS],
}

/// A block of small entries that is being filled.
struct Block {
    /// With room for the header in front.
    bytes: Vec<u8>,
    entries: u32,
}

/// Writes a snapshot with so many threads. `gently`: others use the machine meanwhile. It ends with an
/// error soon after `stop` became true.
///
/// # Errors
/// When the file can't be written; what was at the path before is still there.
pub fn save(
    path: &Path,
    contents: &Contents,
    threads: usize,
    gently: bool,
    stop: &AtomicBool,
) -> io::Result<Saved> {
    let began = Instant::now();
    let replacement = Replacement::create(path)?;
    let header = Header { id: RandomState::new().build_hasher().finish(), moment: Moment::now() };
    let file = replacement.file();
    let output = Output {
        contents,
        file,
        id: header.id,
        start: contents.clock.tick(Instant::now()),
        end: AtomicU64::new(HEADER_BYTES as u64),
        blocks: AtomicU64::new(0),
        synced: gently.then(AtomicU64::default),
        stop,
        failed: AtomicBool::new(false),
    };
    file.write_all_at(&header.to_bytes(), 0).map_err(explain("write"))?;
    let counts = output.write_all_partitions(threads)?;
    let end = output.end.load(Relaxed);
    let trailer = Trailer {
        blocks: output.blocks.load(Relaxed),
        entries: counts.entries,
        share: contents.store.share(),
        cost_by_rank: counts.cost_by_rank,
    };
    let trailer = trailer.to_bytes(header.id, end);
    file.write_all_at(&trailer, end).map_err(explain("write"))?;
    replacement.commit()?;
    Ok(Saved {
        time: SystemTime::now(),
        duration: began.elapsed(),
        bytes: end + trailer.len() as u64,
        keys: counts.entries,
    })
}

impl Output<'_> {
    fn write_all_partitions(&self, threads: usize) -> io::Result<Counts> {
        let next = AtomicUsize::new(0);
        let partitions = self.contents.store.partitions();
        let (sum, error) = (Mutex::new(Counts::default()), Mutex::new(None));
        let work = || {
            let mut block = Block::new();
            let mut counts = Counts::default();
            let mut write = || -> io::Result<()> {
                loop {
                    let partition = next.fetch_add(1, Relaxed);
                    if partition >= partitions {
                        return self.flush(&mut block);
                    }
                    self.write_partition(partition, &mut block, &mut counts)?;
                }
            };
            if let Err(fault) = write() {
                self.failed.store(true, Relaxed);
                error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
            }
            sum.lock().unwrap_or_else(PoisonError::into_inner).add(&counts);
        };
        thread::scope(|scope| {
            for _ in 1..threads.min(partitions) {
                // With fewer threads it takes longer, and that is all.
                let _ =
                    thread::Builder::new().name("snapshot".to_owned()).spawn_scoped(scope, work);
            }
            work();
        });
        match error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(sum.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn write_partition(
        &self,
        partition: usize,
        block: &mut Block,
        counts: &mut Counts,
    ) -> io::Result<()> {
        let Contents { store, clock, .. } = self.contents;
        let mut scan = Scan::new(store, partition);
        let mut write = |shown: &Scanned<'_>| self.write_entry(shown, block, counts);
        while scan.step(clock.tick(Instant::now()), &mut write)? {
            if self.stop.load(Relaxed) || self.failed.load(Relaxed) {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "it was told to stop"));
            }
        }
        Ok(())
    }

    fn write_entry(
        &self,
        shown: &Scanned<'_>,
        block: &mut Block,
        counts: &mut Counts,
    ) -> io::Result<()> {
        let fields = self.contents.fields.lines(shown.meta);
        let value_len = match &shown.value {
            ScannedValue::Small(value) => value.len(),
            ScannedValue::Large(value) => value.len(),
        };
        let header = EntryHeader {
            key_len: shown.key.len(),
            fields_len: fields.len(),
            value_len,
            life: self.life(shown.expiry),
            popularity: shown.popularity,
        };
        counts.entries += 1;
        counts.cost_by_rank[shown.popularity.rank()] +=
            Store::cost(shown.key.len(), shown.meta.len(), value_len);
        match &shown.value {
            ScannedValue::Small(value) => {
                block.push(header, [shown.key, fields, value]);
                if block.bytes.len() >= BLOCK_BYTES { self.flush(block) } else { Ok(()) }
            }
            ScannedValue::Large(value) => self.write_large(header, shown.key, fields, value),
        }
    }

    /// Ticks from the snapshot's moment to the end of a key.
    fn life(&self, expiry: Expiry) -> u32 {
        if expiry == Expiry::NEVER {
            return ENDLESS;
        }
        expiry.to_bits().saturating_sub(self.start.0).min(ENDLESS - 1)
    }

    /// Takes a place in the file for a block.
    fn reserve(&self, header: BlockHeader) -> u64 {
        self.blocks.fetch_add(1, Relaxed);
        self.end.fetch_add(header.block_bytes().expect("it fits into memory"), Relaxed)
    }

    fn flush(&self, block: &mut Block) -> io::Result<()> {
        if block.entries > 0 {
            let length = (block.bytes.len() - BLOCK_HEADER_BYTES) as u64;
            let header = BlockHeader { length, kind: BlockKind::Small, entries: block.entries };
            block.bytes[..BLOCK_HEADER_BYTES].copy_from_slice(&header.to_bytes());
            let offset = self.reserve(header);
            let mut sum = checksum(self.id, offset);
            sum.update(&block.bytes);
            block.bytes.extend(sum.digest().to_le_bytes());
            self.file.write_all_at(&block.bytes, offset).map_err(explain("write"))?;
            block.clear();
        }
        self.sync()
    }

    /// Writes a large value from where it lies in the store.
    fn write_large(
        &self,
        header: EntryHeader,
        key: &[u8],
        fields: &[u8],
        value: &LargeValue,
    ) -> io::Result<()> {
        let length = (ENTRY_BYTES + key.len() + fields.len() + value.len()) as u64;
        let block = BlockHeader { length, kind: BlockKind::Large, entries: 1 };
        let offset = self.reserve(block);
        let (mut sum, mut at, mut result) = (checksum(self.id, offset), offset, Ok(()));
        let mut write = |piece: &[u8]| -> io::Result<()> {
            if self.stop.load(Relaxed) {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "it was told to stop"));
            }
            sum.update(piece);
            self.file.write_all_at(piece, at).map_err(explain("write"))?;
            at += piece.len() as u64;
            Ok(())
        };
        write(&[&block.to_bytes()[..], &header.to_bytes(), key, fields].concat())?;
        value.pieces(0, |piece| {
            result = write(piece);
            result.is_ok()
        });
        result?;
        self.file.write_all_at(&sum.digest().to_le_bytes(), at).map_err(explain("write"))?;
        self.sync()
    }

    /// Forces what was written to the disk if that is to be done now and then, and is due.
    fn sync(&self) -> io::Result<()> {
        let Some(synced) = &self.synced else { return Ok(()) };
        let (end, before) = (self.end.load(Relaxed), synced.load(Relaxed));
        if end < before + SYNCED_BYTES {
            return Ok(());
        }
        synced.store(end, Relaxed);
        self.file.sync_data().map_err(explain("fdatasync"))
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.entries += other.entries;
        for (sum, cost) in self.cost_by_rank.iter_mut().zip(other.cost_by_rank) {
            *sum += cost;
        }
    }
}

impl Block {
    fn new() -> Self {
        let mut block = Self { bytes: Vec::with_capacity(BLOCK_BYTES * 5 / 4), entries: 0 };
        block.clear();
        block
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.extend([0; BLOCK_HEADER_BYTES]);
        self.entries = 0;
    }

    fn push(&mut self, header: EntryHeader, parts: [&[u8]; 3]) {
        self.bytes.extend(header.to_bytes());
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.entries += 1;
    }
}
