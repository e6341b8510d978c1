//! SIGTERM and SIGINT: the first asks for an orderly end, the second ends the process at once.
//! SIGHUP, which a terminal sends when it closes, ends nothing; the server may have a use for it.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// Exit code of a process that a signal ended, by the shell's convention.
const EXIT_CODE_BASE: i32 = 128;

/// The signals that have come.
#[derive(Debug)]
pub(super) struct Signals {
    /// Becomes readable when one comes.
    stream: UnixStream,
    end: Arc<AtomicBool>,
    hangup: Arc<AtomicBool>,
}

impl Signals {
    /// Takes the signals over for the whole process.
    pub(super) fn subscribe() -> io::Result<Self> {
        let (stream, sender) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        let (end, hangup) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGTERM, SIGINT] {
            // Handlers run in the order of their registration: the check comes before the arming.
            flag::register_conditional_shutdown(signal, EXIT_CODE_BASE + signal, Arc::clone(&end))?;
            flag::register(signal, Arc::clone(&end))?;
            low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        flag::register(SIGHUP, Arc::clone(&hangup))?;
        low_level::pipe::register(SIGHUP, sender)?;
        Ok(Self { stream, end, hangup })
    }

    /// What to poll.
    pub(super) fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Empties the stream after an event.
    pub(super) fn drain(&mut self) {
        while matches!(self.stream.read(&mut [0; 64]), Ok(1..)) {}
    }

    /// Whether SIGHUP has come since the last time that this was asked.
    pub(super) fn take_hangup(&self) -> bool {
        self.hangup.swap(false, Ordering::Relaxed)
    }

    /// Whether the process was asked to end.
    pub(super) fn ask_for_end(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }
}
