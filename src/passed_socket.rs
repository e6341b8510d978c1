//! Sockets that the process was started with.

#![allow(unsafe_code)] // Takes over descriptors that are known by their numbers.

use std::fs;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Descriptors up to this one are the standard streams.
const STANDARD_MAX: RawFd = 2;

/// Takes over the socket with a descriptor, which whoever started the process says is this process's to use.
/// `None` if that is no socket. To be called once for each.
pub(crate) fn take(fd: RawFd) -> Option<OwnedFd> {
    let is_socket = fd > STANDARD_MAX
        && fs::read_link(format!("/proc/self/fd/{fd}"))
            .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"));
    if !is_socket {
        return None;
    }
    // SAFETY: The descriptor is open. Nothing else uses it: what the process opens for itself has a
    // number that is free, and the caller does this once.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}
