//! SIGTERM and SIGINT: the first asks for an orderly end, the second ends the process at once.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// Exit code of a process that a signal ended, by the shell's convention.
const EXIT_CODE_BASE: i32 = 128;

/// A stream that becomes readable when the process is asked to end.
pub(super) fn subscribe() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let armed = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // Handlers run in the order of their registration: the check comes before the arming.
        flag::register_conditional_shutdown(signal, EXIT_CODE_BASE + signal, Arc::clone(&armed))?;
        flag::register(signal, Arc::clone(&armed))?;
        low_level::pipe::register(signal, theirs.try_clone()?)?;
    }
    Ok(ours)
}
