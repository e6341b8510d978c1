//! A log of lines that are made on the data path and written by a thread of its own.
//!
//! ```text
//!   Lines::push        an event loop appends a line to a buffer of its own
//!   Lines::hand_over   it swaps the buffer for the empty one that the writer has left, if it has
//!   Writer::run        the writer swaps the full buffers for empty ones, and writes
//! ```
//!
//! Nobody waits for the writer, however long a write takes: an event loop's lines stay in its buffer
//! until that is full, and then they are dropped and counted. Lines of one loop keep their order.

mod file;
mod lines;
mod writer;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::explain::explain;
use crate::net::Counter;
use file::LogFile;
pub(crate) use lines::Lines;
use writer::Writer;

/// Lines of a loop that wait to be handed over, or to be written, in bytes each. One line more can
/// come on top of it.
const BUFFER_BYTES_MAX: usize = 256 << 10;

/// How often the writer looks for lines if nobody wakes it.
const INTERVAL: Duration = Duration::from_millis(100);

/// How long the end of the server waits for the last lines to be written.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a log counts.
#[derive(Debug, Default)]
pub(crate) struct LogCounters {
    /// Lines that were written.
    pub(crate) written: Counter,
    /// Lines that were lost since writing failed.
    pub(crate) failed: Counter,
    /// Lines that each loop has dropped since they came faster than they were written.
    pub(crate) dropped: Vec<Counter>,
}

impl LogCounters {
    /// Those of a log that so many loops write to.
    pub(crate) fn new(loops: usize) -> Self {
        Self { dropped: (0..loops).map(|_| Counter::default()).collect(), ..Self::default() }
    }
}

/// Lines on their way to the writer.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
}

/// What the loops and the writer share.
#[derive(Debug)]
struct Shared {
    /// What each loop has handed over and the writer has not taken.
    handed: Vec<Mutex<Batch>>,
    counters: Arc<LogCounters>,
    writer: OnceLock<Thread>,
    reopen: AtomicBool,
    end: AtomicBool,
}

impl Shared {
    fn wake_writer(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}

/// A log whose file is open.
#[derive(Debug)]
pub(crate) struct LineLog {
    shared: Arc<Shared>,
    file: LogFile,
}

impl LineLog {
    /// Opens a file, or standard output for `-`, to be appended to by as many loops as `counters` has.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub(crate) fn open(path: &Path, counters: Arc<LogCounters>) -> io::Result<Self> {
        let file = LogFile::open(path)?;
        let shared = Shared {
            handed: counters.dropped.iter().map(|_| Mutex::default()).collect(),
            counters,
            writer: OnceLock::new(),
            reopen: AtomicBool::new(false),
            end: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared), file })
    }

    /// What has the file opened anew, after it was renamed, say.
    pub(crate) fn reopener(&self) -> impl Fn() + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || {
            shared.reopen.store(true, Ordering::Release);
            shared.wake_writer();
        }
    }

    /// Starts the writer. It ends with what this returns.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub(crate) fn start(self) -> io::Result<Running> {
        let Self { shared, file } = self;
        let (ended, wait) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&shared), file);
        let run = move || {
            writer.run();
            // Nobody may wait any more.
            let _ = ended.send(());
        };
        let thread = thread::Builder::new().name("access-log".to_owned()).spawn(run);
        let thread =
            thread.map_err(explain("can't start the thread that writes the access log"))?;
        let _ = shared.writer.set(thread.thread().clone());
        Ok(Running { shared, wait: Mutex::new(wait) })
    }
}

/// A log that is being written.
#[derive(Debug)]
pub(crate) struct Running {
    shared: Arc<Shared>,
    /// Told when the writer has ended. Loops on other threads see this, too, which asks for a lock.
    wait: Mutex<mpsc::Receiver<()>>,
}

impl Running {
    /// Where the loop of that number puts its lines.
    pub(crate) fn lines(&self, index: usize) -> Lines {
        Lines::new(Arc::clone(&self.shared), index)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Release);
        self.shared.wake_writer();
        let wait = self.wait.get_mut().unwrap_or_else(PoisonError::into_inner);
        if wait.recv_timeout(FAREWELL).is_err() {
            log::warn!("the access log can't be written in time; its last lines are lost");
        }
    }
}
