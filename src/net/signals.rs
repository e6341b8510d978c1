//! SIGTERM and SIGINT: the first asks for an orderly end, the second ends the process at once. SIGUSR2 asks
//! for a successor.
//! SIGHUP, which a terminal sends when it closes, ends nothing, and neither does SIGXFSZ: a file that gets
//! too long is an error of the call that writes it.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2, SIGXFSZ};
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
    restart: Arc<AtomicBool>,
}

impl Signals {
    /// Takes the signals over for the whole process.
    pub(super) fn subscribe() -> io::Result<Self> {
        let (stream, sender) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        let (end, hangup, restart) = <(Arc<AtomicBool>, Arc<_>, Arc<_>)>::default();
        for signal in [SIGTERM, SIGINT] {
            // Handlers run in the order of their registration: the check comes before the arming.
            flag::register_conditional_shutdown(signal, EXIT_CODE_BASE + signal, Arc::clone(&end))?;
            flag::register(signal, Arc::clone(&end))?;
            low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        flag::register(SIGXFSZ, Arc::default())?;
        for (signal, flag) in [(SIGHUP, &hangup), (SIGUSR2, &restart)] {
            flag::register(signal, Arc::clone(flag))?;
            low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        Ok(Self { stream, end, hangup, restart })
    }

    /// Whether a successor was asked for since the last time.
    pub(super) fn take_restart(&self) -> bool {
        self.restart.swap(false, Ordering::Relaxed)
    }

    /// Says from any thread whether the process was asked to end.
    pub(super) fn end(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.end)
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
