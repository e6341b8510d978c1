//! Huge pages that are made resident ahead of their use.
//!
//! Among many keys, nearly every look-up misses the processor's cache of addresses, and huge pages
//! make that cheap. But the kernel fills one with zeroes at its first touch, which takes 0.1 to
//! 0.3 ms, or some 5 ms in a virtual machine whose memory the host provides as it is touched; an
//! event loop must not wait for that. So a thread of its own touches the next huge page while the
//! one before it is being filled. When it does not keep up, small pages are used, whose touch takes
//! microseconds.
//!
//! The start of each region stays on small pages, so that a small store stays small.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::mapping::{HUGE_BYTES, Mapping};

/// Bytes of a region that stay on small pages. Half of the last huge page is idle on the average, and
/// a quarter of the time another one behind it. With one partition that is little next to a million
/// keys; with several it is not, and a region has to be larger first.
const ALONE_SMALL_BYTES: usize = HUGE_BYTES;
const SHARED_SMALL_BYTES: usize = 16 * HUGE_BYTES;

/// Huge pages that wait to be touched. With more, the next ones stay small.
const REQUESTS_MAX: usize = 256;

/// The next huge page is asked for when all but so much of the one before it is in use.
pub(super) const QUARTER_BYTES: usize = HUGE_BYTES / 4;

/// If the quarter before was filled sooner than this, the huge page would come too late, and the loop
/// would have to wait for it. A region that grows that fast holds large values, which have little use
/// for it.
pub(super) const QUARTER_TIME_MIN: Duration = Duration::from_millis(10);

/// The thread that touches. It ends after the last region that uses it.
#[derive(Debug, Clone)]
pub(super) struct Prefaulter {
    pub(super) requests: SyncSender<Request>,
    /// Where a region's huge pages begin.
    start: usize,
}

/// A huge page of a mapping that is to be touched, by where it starts.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) mapping: Arc<Mapping>,
    pub(super) start: usize,
}

/// What the thread is asked for. Without it nobody is asked.
#[derive(Debug)]
pub(super) struct Requests(Receiver<Request>);

/// How far a region is in use.
#[derive(Debug)]
pub(super) struct Growth {
    prefaulter: Prefaulter,
    mapping: Arc<Mapping>,
    /// A multiple of [`QUARTER_BYTES`].
    reached: AtomicUsize,
    reached_at: Mutex<Instant>,
}

impl Prefaulter {
    /// For so many partitions, with the requests that the thread is to be started for.
    pub(super) fn new(partitions: usize) -> (Self, Requests) {
        let (requests, received) = sync_channel(REQUESTS_MAX);
        let start = if partitions == 1 { ALONE_SMALL_BYTES } else { SHARED_SMALL_BYTES };
        (Self { requests, start }, Requests(received))
    }

    /// One that has the test take its requests, so many at a time at most.
    #[cfg(test)]
    pub(super) fn without_thread(requests_max: usize) -> (Self, Receiver<Request>) {
        let (requests, received) = sync_channel(requests_max);
        (Self { requests, start: HUGE_BYTES }, received)
    }
}

impl Requests {
    /// Starts the thread. If the system won't have it all pages are small.
    pub(super) fn serve(self) {
        let work = move || {
            for request in self.0 {
                request.mapping.touch_huge(request.start);
            }
        };
        let _ = thread::Builder::new().name("prefault".into()).spawn(work);
    }
}

impl Growth {
    pub(super) fn new(prefaulter: &Prefaulter, mapping: &Arc<Mapping>) -> Self {
        Self {
            prefaulter: prefaulter.clone(),
            mapping: Arc::clone(mapping),
            reached: AtomicUsize::new(0),
            reached_at: Mutex::new(Instant::now()),
        }
    }

    /// Notes that bytes up to `end` are about to be used, a few more than the last time. Where the huge
    /// page starts that is to be [asked](Self::ask) for now, if one is.
    pub(super) fn reach(&self, end: usize) -> Option<usize> {
        if end <= self.reached.load(Relaxed) {
            return None;
        }
        self.reach_quarter(end.next_multiple_of(QUARTER_BYTES), Instant::now())
    }

    fn reach_quarter(&self, end: usize, now: Instant) -> Option<usize> {
        self.reached.store(end, Relaxed);
        let mut reached_at = self.reached_at.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *reached_at, now);
        // The last quarter of a page is begun, and the next one's would come too late otherwise.
        let is_due = end.is_multiple_of(HUGE_BYTES) && end >= self.prefaulter.start;
        (is_due && now.duration_since(before) >= QUARTER_TIME_MIN).then_some(end)
    }

    /// Notes that bytes from `end` on are no longer in use.
    pub(super) fn retreat(&self, end: usize) {
        self.reached.fetch_min(end.next_multiple_of(QUARTER_BYTES), Relaxed);
    }

    /// Has the thread touch a huge page; false if it has too much to do.
    pub(super) fn ask(&self, start: usize) -> bool {
        let request = Request { mapping: Arc::clone(&self.mapping), start };
        self.prefaulter.requests.try_send(request).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills quarters of a region, each in so much time.
    fn fill(growth: &Growth, quarters: std::ops::Range<usize>, time: Duration) -> Vec<usize> {
        let mut now = Instant::now();
        *growth.reached_at.lock().expect("nobody panics") = now;
        let reach = |quarter| {
            now += time;
            growth.reach_quarter((quarter + 1) * QUARTER_BYTES, now)
        };
        quarters.filter_map(reach).collect()
    }

    #[test]
    fn the_next_huge_page_is_asked_for_while_there_is_time() {
        let (prefaulter, _requests) = Prefaulter::without_thread(9);
        let mapping = Arc::new(Mapping::reserve(3 * HUGE_BYTES).expect("address space"));
        let growth = Growth::new(&prefaulter, &mapping);
        assert!(fill(&growth, 0..3, QUARTER_TIME_MIN).is_empty(), "it is too early");
        assert_eq!(fill(&growth, 3..4, QUARTER_TIME_MIN), [HUGE_BYTES], "a page is nearly used");
        let fast = QUARTER_TIME_MIN - Duration::from_nanos(1);
        assert!(fill(&growth, 4..8, fast).is_empty(), "it grows too fast");
        growth.retreat(HUGE_BYTES);
        assert_eq!(fill(&growth, 4..8, QUARTER_TIME_MIN), [2 * HUGE_BYTES], "it has grown again");
    }
}
