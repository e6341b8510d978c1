//! The limit on open files, of which every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::error::Error;

/// Descriptors for everything that is no connection of ours: standard streams, files, an event
/// loop and a timer per thread, an embedded server's listeners.
const DESCRIPTORS_RESERVED: u64 = 64;

/// Raises the limit on open files as far as this process may. Fails if so many connections do
/// not fit all the same. A server inside the process has the other ends of them.
pub(super) fn make_room_for(connections: usize, has_server: bool) -> Result<(), Error> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some() && limit.current != limit.maximum {
        // Where that is refused the limit stays what it is, and the next line tells.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
    let ends = if has_server { 2 } else { 1 };
    let needed = connections as u64 * ends + DESCRIPTORS_RESERVED;
    match getrlimit(Resource::Nofile).current {
        Some(files) if files < needed => Err(Error::usage(format!(
            "--connections {connections}: this process may have {files} open files, not the \
             {needed} that takes (ulimit -n)"
        ))),
        _ => Ok(()),
    }
}
