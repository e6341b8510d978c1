//! The last ten minutes, a sample a second.

use std::collections::VecDeque;
use std::fmt::Write;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::sample::{Sample, Sampler};
use crate::cache::metrics::Metrics;
use crate::explain::explain;

/// Samples that are kept: ten minutes of them. One takes some 200 bytes, and 16 more for each core.
const SAMPLES_MAX: usize = 600;

/// How often a sample is taken.
const INTERVAL: Duration = Duration::from_secs(1);

/// The samples, and what of them is rendered.
#[derive(Debug)]
pub struct History {
    samples: Mutex<VecDeque<Sample>>,
    rendered: Mutex<Rendered>,
    /// Somebody has asked for them since the last sample: the next ones are rendered ahead.
    is_watched: AtomicBool,
    memory_bytes_max: u64,
    cores: usize,
    /// When the server started, in milliseconds since 1970; tells it from the one before it.
    started: u128,
    start: Instant,
}

/// Rendered documents.
#[derive(Debug, Default)]
struct Rendered {
    all: Arc<[u8]>,
    last: Arc<[u8]>,
    /// The time of the last sample in them.
    time: Option<u64>,
}

/// Takes samples on a thread of its own, and ends with the value.
#[derive(Debug)]
pub struct Recorder {
    is_ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl History {
    /// An empty history of a server that is about to start.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            samples: Mutex::default(),
            rendered: Mutex::default(),
            is_watched: AtomicBool::new(false),
            memory_bytes_max: metrics.memory_bytes_max,
            cores: metrics.net.len(),
            started: since_1970.as_millis(),
            start: Instant::now(),
        }
    }

    /// Starts to take samples.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn record(self: &Arc<Self>, metrics: Arc<Metrics>) -> io::Result<Recorder> {
        let (history, is_ended) = (Arc::clone(self), Arc::new(AtomicBool::new(false)));
        let ended = Arc::clone(&is_ended);
        let record = move || {
            let mut sampler = Sampler::new(&metrics);
            let mut next = Instant::now() + INTERVAL;
            loop {
                thread::park_timeout(next.saturating_duration_since(Instant::now()));
                if ended.load(Ordering::Acquire) {
                    return;
                }
                if Instant::now() >= next {
                    next = Instant::now() + INTERVAL;
                    history.push(sampler.sample(&metrics));
                }
            }
        };
        let thread = thread::Builder::new().name("history".to_owned()).spawn(record);
        let thread = thread.map_err(explain("can't start the thread that takes samples"))?;
        Ok(Recorder { is_ended, thread: Some(thread) })
    }

    fn push(&self, sample: Sample) {
        let mut samples = lock(&self.samples);
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
        drop(samples);
        if self.is_watched.swap(false, Ordering::Relaxed) {
            self.render();
        }
    }

    /// All samples as a JSON document.
    pub(in crate::cache) fn all(&self) -> Arc<[u8]> {
        self.fresh(|rendered| &rendered.all)
    }

    /// The last sample as a JSON document.
    pub(in crate::cache) fn last(&self) -> Arc<[u8]> {
        self.fresh(|rendered| &rendered.last)
    }

    fn fresh(&self, part: impl Fn(&Rendered) -> &Arc<[u8]>) -> Arc<[u8]> {
        self.is_watched.store(true, Ordering::Relaxed);
        let newest = lock(&self.samples).back().map(|sample| sample.time);
        let rendered = lock(&self.rendered);
        if newest == rendered.time && !rendered.all.is_empty() {
            return Arc::clone(part(&rendered));
        }
        drop(rendered);
        self.render();
        Arc::clone(part(&lock(&self.rendered)))
    }

    fn render(&self) {
        let samples = lock(&self.samples).clone();
        let all = self.document(samples.iter()).into_bytes().into();
        let last = self.document(samples.back().into_iter()).into_bytes().into();
        let time = samples.back().map(|sample| sample.time);
        *lock(&self.rendered) = Rendered { all, last, time };
    }

    fn document<'a>(&self, samples: impl Iterator<Item = &'a Sample>) -> String {
        let mut out = String::new();
        // Writing to a string can't fail.
        let _ = write!(
            out,
            "{{\"version\":\"{}\",\"started\":{},\"uptime_seconds\":{},\
             \"memory_limit_bytes\":{},\"cores\":{},\"samples\":[",
            env!("CARGO_PKG_VERSION"),
            self.started,
            self.start.elapsed().as_secs(),
            self.memory_bytes_max,
            self.cores,
        );
        for (at, sample) in samples.enumerate() {
            if at > 0 {
                out.push(',');
            }
            sample.write(&mut out);
        }
        out + "]}\n"
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.is_ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread has been reported already.
            let _ = thread.join();
        }
    }
}
