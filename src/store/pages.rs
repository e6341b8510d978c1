//! A partition's memory for entries and values: uniform pages, so that nothing fragments.
//!
//! A page is a piece of the log that small entries are appended to, or part of a large value, or
//! free. What is known about a page lies apart from it, in a side array, and is touched by
//! writers alone (large values' readers follow its links, which stand still meanwhile).
//!
//! Pages are numbered from 1. Page 0 is never used, so that 0 can mean "none" in links and slots
//! and zeroed memory is a valid beginning.

#![allow(unsafe_code)] // Says that page records may live in zeroed memory.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::memory::{Region, Zeroed};
use super::prefault::Prefaulter;

/// Bytes of a page. 4 KiB takes more records and more `writev` pieces, 16 KiB makes the steps of
/// eviction and expiry longer and wastes more of a large value's last page.
pub(super) const PAGE_BYTES: usize = 8 << 10;

/// Words of a page; places count in words.
pub(super) const PAGE_WORDS: usize = PAGE_BYTES / 8;

/// What a page costs of the memory limit: itself and its record.
pub(super) const PAGE_CHARGE: u64 = PAGE_BYTES as u64 + RECORD_BYTES;

pub(super) const RECORD_BYTES: u64 = size_of::<Record>() as u64;

/// No page.
pub(super) const NONE: u32 = 0;

/// What a page is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Free = 0,
    /// A piece of the log that new entries start in.
    Small = 1,
    /// A piece of the log for entries that have proved themselves.
    Main = 2,
    /// Part of a large value.
    Large = 3,
}

impl Kind {
    /// The queue's number, of a piece of the log.
    pub(super) fn queue(self) -> usize {
        usize::from(self == Self::Main)
    }
}

/// The lists that a page can be on at the same time, each with links of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Links {
    /// Its queue of the log by age; a large value's chain; the free pages.
    Queue = 0,
    /// What is due at the same time.
    Wheel = 1,
    /// Pages with about the same number of dead words; the first pages of large values, by last use.
    Sparse = 2,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) next: AtomicU32,
    pub(super) previous: AtomicU32,
}

/// What is known about a page.
#[derive(Debug)]
pub(super) struct Record {
    links: [Link; 3],
    /// When the expiry wheel looks at the page, in its units.
    pub(super) due: AtomicU32,
    /// The wheel's list that the page is on, plus one; 0 for none.
    pub(super) wheel_list: AtomicU16,
    /// Words that entries were appended to.
    pub(super) used: AtomicU16,
    /// Words of entries that the index still refers to.
    pub(super) live: AtomicU16,
    /// Words that eviction has already walked over.
    pub(super) hand: AtomicU16,
    kind: AtomicU8,
    /// The list of sparse pages that the page is on; 0 for none.
    pub(super) sparse: AtomicU8,
    /// When the page became part of the log, or the entry of a value whose first page it is, by the
    /// policy's clock.
    pub(super) stamp: AtomicU16,
}

const _: () = assert!(size_of::<Record>() == 40);
const _: () = assert!(PAGE_WORDS <= u16::MAX as usize);

// SAFETY: nothing but atomic integers.
unsafe impl Zeroed for Record {}

impl Record {
    pub(super) fn link(&self, links: Links) -> &Link {
        &self.links[links as usize]
    }

    pub(super) fn kind(&self) -> Kind {
        match self.kind.load(Ordering::Relaxed) {
            1 => Kind::Small,
            2 => Kind::Main,
            3 => Kind::Large,
            _ => Kind::Free,
        }
    }

    pub(super) fn set_kind(&self, kind: Kind) {
        self.kind.store(kind as u8, Ordering::Relaxed);
    }

    /// Readers that hold the large value whose first page this is.
    pub(super) fn references(&self) -> &AtomicU32 {
        &self.link(Links::Wheel).next
    }

    /// Number of pages of the large value whose first page this is.
    pub(super) fn chain_pages(&self) -> &AtomicU32 {
        &self.link(Links::Wheel).previous
    }

    /// When the large value whose first page this is entered its queue, or was used last if that is what
    /// counts, by the policy's clock.
    pub(super) fn entered(&self) -> &AtomicU32 {
        &self.due
    }

    /// The last page of the large value whose first page this is.
    pub(super) fn chain_last(&self) -> &AtomicU32 {
        &self.link(Links::Queue).previous
    }

    /// Where the entry lies of the large value whose first page this is.
    pub(super) fn home(&self) -> u64 {
        let parts = [&self.used, &self.live, &self.hand];
        let part = |part: &AtomicU16| u64::from(part.load(Ordering::Relaxed));
        parts.into_iter().rev().fold(0, |place, bits| place << 16 | part(bits))
    }

    pub(super) fn set_home(&self, place: u64) {
        for (at, part) in [&self.used, &self.live, &self.hand].into_iter().enumerate() {
            part.store((place >> (16 * at)) as u16, Ordering::Relaxed);
        }
    }
}

/// The memory, shared with readers.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) words: Region<AtomicU64>,
    pub(super) records: Region<Record>,
}

impl Pages {
    /// Reserves address space for pages of so many bytes altogether.
    pub(super) fn reserve(bytes: u64, prefaulter: Option<&Prefaulter>) -> io::Result<Self> {
        let pages = usize::try_from(bytes / PAGE_BYTES as u64 + 1)
            .ok()
            .filter(|&pages| u32::try_from(pages).is_ok())
            .ok_or(io::ErrorKind::InvalidInput)?;
        let words = Region::reserve(pages * PAGE_WORDS, prefaulter)?;
        words.skip(PAGE_WORDS);
        Ok(Self { words, records: Region::reserve(pages, None)? })
    }

    /// Bytes that are charged to the budget.
    pub(super) fn charged_bytes(&self) -> u64 {
        self.words.charged_bytes() + self.records.charged_bytes()
    }

    /// Bytes of pages that there is address space for.
    pub(super) fn bytes_max(&self) -> u64 {
        self.words.len() as u64 * 8
    }

    #[inline]
    pub(super) fn record(&self, page: u32) -> &Record {
        &self.records[page as usize]
    }

    /// The words of one page.
    #[inline]
    pub(super) fn page(&self, page: u32) -> &[AtomicU64] {
        self.run(page, 1)
    }

    /// The words of so many pages in a row.
    #[inline]
    pub(super) fn run(&self, page: u32, pages: usize) -> &[AtomicU64] {
        &self.words[page as usize * PAGE_WORDS..][..pages * PAGE_WORDS]
    }

    /// The words from a place on to its page's end.
    #[inline]
    pub(super) fn words_at(&self, place: u64) -> &[AtomicU64] {
        let place = place as usize;
        &self.words[place..(place | (PAGE_WORDS - 1)) + 1]
    }

    #[inline]
    pub(super) fn prefetch(&self, place: u64) {
        self.words.prefetch(place as usize);
        // Small entries often reach into the next cache line.
        self.words.prefetch(place as usize + 2);
    }

    /// The page that [`Links::Queue`] lead to.
    pub(super) fn next_in_chain(&self, page: u32) -> u32 {
        self.record(page).link(Links::Queue).next.load(Ordering::Relaxed)
    }
}

#[inline]
pub(super) fn page_of(place: u64) -> u32 {
    (place as usize / PAGE_WORDS) as u32
}

#[inline]
pub(super) fn place_in(page: u32, word: usize) -> u64 {
    u64::from(page) * PAGE_WORDS as u64 + word as u64
}
