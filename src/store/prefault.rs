//! Huge pages that are made resident ahead of their use.
//!
//! Among many keys, nearly every look-up misses the processor's cache of addresses, and huge pages
//! make that cheap. But the kernel fills one with zeroes at its first touch, which takes 0.1 to
//! 0.3 ms, or some 5 ms in a virtual machine whose memory the host provides as it is touched; an
//! event loop must not wait for that. So a thread of its own touches the next huge page while the
//! one before it is being filled, on the NUMA node of the partition that it is for. When it does
//! not keep up, small pages are used, whose touch takes microseconds.
//!
//! The start of each region stays on small pages, so that a small store stays small.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::memory::{HUGE_BYTES, Mapping};
use super::numa::Nodes;

/// Bytes of a region that stay on small pages. Half of the last huge page is idle on the average, and
/// a quarter of the time another one behind it. With one partition that is little next to a million
/// keys; with several it is not, and a region has to be larger first.
const ALONE_SMALL_BYTES: usize = HUGE_BYTES;
const SHARED_SMALL_BYTES: usize = 16 * HUGE_BYTES;

/// Huge pages that wait to be touched. With more, the next ones stay small.
const REQUESTS_MAX: usize = 256;

/// The next huge page is asked for when all but so much of the one before it is in use.
const QUARTER_BYTES: usize = HUGE_BYTES / 4;

/// If the quarter before was filled sooner than this, the huge page would come too late, and the loop
/// would have to wait for it. A region that grows that fast holds large values, which have little use
/// for it.
const QUARTER_TIME_MIN: Duration = Duration::from_millis(10);

/// No page; the first one is never asked for.
const NONE: usize = 0;

/// The thread that touches. It ends after the last region that uses it.
#[derive(Debug, Clone)]
pub(super) struct Prefaulter {
    requests: SyncSender<Request>,
    /// Where a region's huge pages begin.
    start: usize,
    /// The core of the partition whose memory this is, if it is known.
    core: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Request {
    wanted: Arc<Wanted>,
    start: usize,
    core: usize,
}

/// The huge page of a mapping that was asked for, by where it starts. Whoever takes it away may go
/// on: the thread to touch it, or the region, which came first, to use small pages there.
#[derive(Debug)]
struct Wanted {
    mapping: Arc<Mapping>,
    start: AtomicUsize,
}

/// How far a region is in use.
#[derive(Debug)]
pub(super) struct Growth {
    prefaulter: Prefaulter,
    wanted: Arc<Wanted>,
    /// A multiple of [`QUARTER_BYTES`].
    reached: AtomicUsize,
    reached_at: Mutex<Instant>,
}

impl Prefaulter {
    /// Starts the thread for so many partitions. `None` if the system won't have it: then all pages
    /// are small.
    pub(super) fn start(partitions: usize) -> Option<Self> {
        let (requests, received) = sync_channel::<Request>(REQUESTS_MAX);
        let work = move || {
            let nodes = Nodes::of_system();
            for request in received {
                nodes.move_near(request.core);
                request.serve();
            }
        };
        let thread = thread::Builder::new().name("prefault".into()).spawn(work);
        let start = if partitions == 1 { ALONE_SMALL_BYTES } else { SHARED_SMALL_BYTES };
        thread.ok().map(|_| Self { requests, start, core: Arc::default() })
    }

    /// The same thread for a partition of its own.
    pub(super) fn for_partition(&self) -> Self {
        let core = Arc::new(AtomicUsize::new(usize::MAX));
        Self { core, ..self.clone() }
    }

    /// Says which core the partition belongs to.
    pub(super) fn belong_to(&self, core: usize) {
        self.core.store(core, Relaxed);
    }
}

impl Request {
    fn serve(&self) {
        let Wanted { mapping, start } = &*self.wanted;
        if start.compare_exchange(self.start, NONE, Relaxed, Relaxed).is_ok() {
            mapping.populate_huge(self.start);
        }
    }
}

impl Growth {
    pub(super) fn new(prefaulter: &Prefaulter, mapping: &Arc<Mapping>) -> Self {
        let wanted = Wanted { mapping: Arc::clone(mapping), start: AtomicUsize::new(NONE) };
        Self {
            prefaulter: prefaulter.clone(),
            wanted: Arc::new(wanted),
            reached: AtomicUsize::new(0),
            reached_at: Mutex::new(Instant::now()),
        }
    }

    /// Says that bytes up to `end` are about to be used; a few more than the last time.
    #[inline]
    pub(super) fn reach(&self, end: usize) {
        if end > self.reached.load(Relaxed) {
            self.reach_quarter(end.next_multiple_of(QUARTER_BYTES), Instant::now());
        }
    }

    #[cold]
    fn reach_quarter(&self, end: usize, now: Instant) {
        self.reached.store(end, Relaxed);
        let mut reached_at = self.reached_at.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *reached_at, now);
        match end % HUGE_BYTES / QUARTER_BYTES {
            // A page is begun that may not have been touched yet.
            1 => self.wanted.start.store(NONE, Relaxed),
            // The last quarter of one is.
            0 if now.duration_since(before) >= QUARTER_TIME_MIN => self.want(end),
            _ => {}
        }
    }

    fn want(&self, start: usize) {
        let end = start + HUGE_BYTES;
        if start < self.prefaulter.start || end > self.wanted.mapping.bytes() {
            return;
        }
        self.wanted.start.store(start, Relaxed);
        let core = self.prefaulter.core.load(Relaxed);
        let request = Request { wanted: Arc::clone(&self.wanted), start, core };
        if self.prefaulter.requests.try_send(request).is_err() {
            self.wanted.start.store(NONE, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use super::*;

    /// A region of three huge pages, and the requests that it makes.
    fn region(requests_max: usize) -> (Growth, Receiver<Request>) {
        let (requests, received) = sync_channel(requests_max);
        let prefaulter = Prefaulter { requests, start: HUGE_BYTES, core: Arc::default() };
        let mapping = Arc::new(Mapping::reserve(3 * HUGE_BYTES).expect("address space"));
        (Growth::new(&prefaulter, &mapping), received)
    }

    fn fill(growth: &Growth, quarters: std::ops::Range<usize>, time: Duration) {
        let mut now = Instant::now();
        *growth.reached_at.lock().expect("nobody panics") = now;
        for quarter in quarters {
            now += time;
            growth.reach_quarter((quarter + 1) * QUARTER_BYTES, now);
        }
    }

    fn wanted(growth: &Growth) -> usize {
        growth.wanted.start.load(Relaxed)
    }

    #[test]
    fn the_next_huge_page_is_asked_for_while_there_is_time() {
        let (growth, requests) = region(9);
        fill(&growth, 0..3, QUARTER_TIME_MIN);
        assert!(requests.try_recv().is_err(), "it is too early");
        fill(&growth, 3..4, QUARTER_TIME_MIN);
        let request = requests.try_recv().expect("a page is nearly used");
        assert_eq!((request.start, wanted(&growth)), (HUGE_BYTES, HUGE_BYTES));
        request.serve();
        assert_eq!(wanted(&growth), NONE);
        fill(&growth, 4..8, QUARTER_TIME_MIN - Duration::from_nanos(1));
        assert!(requests.try_recv().is_err(), "it grows too fast");
    }

    #[test]
    fn a_page_that_is_reached_first_is_left_alone() {
        let (growth, requests) = region(9);
        fill(&growth, 0..4, QUARTER_TIME_MIN);
        fill(&growth, 4..8, QUARTER_TIME_MIN);
        let late = requests.try_recv().expect("the second page");
        late.serve();
        assert_eq!(wanted(&growth), 2 * HUGE_BYTES, "the third one is still wanted");
    }

    #[test]
    fn nothing_is_asked_for_behind_the_end_or_of_a_thread_that_is_busy() {
        let (growth, requests) = region(1);
        fill(&growth, 0..4, QUARTER_TIME_MIN);
        fill(&growth, 4..8, QUARTER_TIME_MIN);
        assert_eq!(wanted(&growth), NONE, "the queue is full");
        assert_eq!(requests.try_recv().expect("the second page").start, HUGE_BYTES);
        fill(&growth, 8..12, QUARTER_TIME_MIN);
        assert!(requests.try_recv().is_err(), "the region has three pages");
    }
}
