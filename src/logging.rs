//! Log lines on standard error, one write each. Nobody waits for them: what standard error does not
//! take at once is dropped, whether it is closed, full, or a pipe whose reader has stopped.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::{LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Bytes that a pipe takes without waiting once it says that it is writable (`PIPE_BUF`, pipe(7)).
const PIECE_BYTES_MAX: usize = 4096;

/// Pause between two lines about a fault that lasts.
const REPEAT: Duration = Duration::from_secs(10);

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Dependencies keep to themselves.
        metadata.target().starts_with("corekv")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_lowercase();
            say(&format!("corekv: {level}: {}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Starts logging up to `level`. Later calls change the level only.
pub fn start(level: LevelFilter) {
    // Fails only if a logger is set already: in tests, or by a program that embeds the server.
    let _ = log::set_logger(&Stderr);
    log::set_max_level(level);
}

/// Writes text and a line end to standard error, as far as that can be done without waiting.
pub fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    for piece in format!("{text}\n").as_bytes().chunks(PIECE_BYTES_MAX) {
        let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
        let polled = poll(&mut fds, Some(&Timespec::default()));
        // There is nowhere to say that standard error is gone.
        if polled == Ok(0) || stderr.write_all(piece).is_err() {
            return;
        }
    }
}

/// Reports panics as [`say`] does, from now on: the standard library's report would wait for
/// standard error. For a program's `main`.
pub fn report_panics() {
    panic::set_hook(Box::new(|panic| {
        let name = thread::current().name().unwrap_or("a thread").to_owned();
        let trace = Backtrace::capture();
        let has_trace = trace.status() == BacktraceStatus::Captured;
        let trace = if has_trace { format!("\n{trace}") } else { String::new() };
        say(&format!("corekv: {name} {panic}{trace}"));
    }));
}

/// Keeps a line about a fault that lasts from being repeated without end.
#[derive(Debug, Default)]
pub struct Sparing(Mutex<Option<Instant>>);

impl Sparing {
    /// For a line that was not shown yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether the line may be shown now: the first time, and 10 s after the last one.
    pub fn allows(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = last.is_none_or(|last| last.elapsed() >= REPEAT);
        if allowed {
            *last = Some(Instant::now());
        }
        allowed
    }
}
