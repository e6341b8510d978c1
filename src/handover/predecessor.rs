//! The side of the process that takes over.

use std::env;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{ACKNOWLEDGED, ADMIN, GO, OWNS_FILE, PATH_BYTES_MAX, PREPARED, READY, VARIABLE};
use crate::explain::explain;
use crate::passed_socket;

/// The process that this one goes on for.
#[derive(Debug)]
pub struct Predecessor {
    control: UnixStream,
    listeners: Vec<Inherited>,
}

/// A listener that was taken over.
#[derive(Debug)]
pub(crate) struct Inherited {
    pub(crate) fd: OwnedFd,
    pub(crate) is_admin: bool,
    pub(crate) owns_file: bool,
}

impl Predecessor {
    /// The one that the environment tells of, if it is this process's parent.
    ///
    /// # Errors
    /// When what it tells makes no sense, or it was asked before: the descriptors are then another's.
    pub fn from_env() -> io::Result<Option<Self>> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        let Ok(text) = env::var(VARIABLE) else { return Ok(None) };
        let mut words = text.split(' ');
        if words.next().and_then(|pid| pid.parse().ok()) != Some(parent_id()) {
            return Ok(None);
        }
        let wrong =
            || io::Error::new(io::ErrorKind::InvalidInput, format!("{VARIABLE} makes no sense"));
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Err(wrong());
        }
        let control = words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
        let control = UnixStream::from(take(control)?);
        let mut listeners = Vec::new();
        for word in words {
            let digits = word.trim_end_matches([ADMIN, OWNS_FILE]);
            let marks = &word[digits.len()..];
            let fd = take(digits.parse().map_err(|_| wrong())?)?;
            let (is_admin, owns_file) = (marks.contains(ADMIN), marks.contains(OWNS_FILE));
            listeners.push(Inherited { fd, is_admin, owns_file });
        }
        Ok(Some(Self { control, listeners }))
    }

    /// The listeners, once.
    pub(crate) fn take_listeners(&mut self) -> Vec<Inherited> {
        std::mem::take(&mut self.listeners)
    }

    /// Says that everything is prepared, and waits until the other has stopped. Where its snapshot is.
    ///
    /// # Errors
    /// When the other is gone, or goes on.
    pub(crate) fn wait(&mut self) -> io::Result<Option<PathBuf>> {
        self.exchange().map_err(explain("the process to take over from goes on, or is gone"))
    }

    fn exchange(&mut self) -> io::Result<Option<PathBuf>> {
        self.control.write_all(&[PREPARED])?;
        let (mut message, mut length) = ([0], [0; 4]);
        self.control.read_exact(&mut message)?;
        self.control.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if message != [GO] || length > PATH_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut path = vec![0; length as usize];
        self.control.read_exact(&mut path)?;
        Ok((length > 0).then(|| OsString::from_vec(path).into()))
    }

    /// Says that this process is ready, and waits until the other has told everybody. From then on this
    /// one may accept.
    pub fn succeed(mut self) {
        let mut message = [0];
        let heard = self.control.write_all(&[READY]);
        let heard = heard.and_then(|()| self.control.read_exact(&mut message));
        if heard.is_err() || message != [ACKNOWLEDGED] {
            log::warn!("the process that was to be succeeded is gone");
        }
    }
}

fn take(fd: RawFd) -> io::Result<OwnedFd> {
    let no_socket = || io::Error::other(format!("{VARIABLE}: descriptor {fd} is no socket"));
    passed_socket::take(fd).ok_or_else(no_socket)
}
