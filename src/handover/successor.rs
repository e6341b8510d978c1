//! The side of the server that is succeeded.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{ACKNOWLEDGED, ADMIN, GO, OWNS_FILE, PREPARED, READY, VARIABLE};
use crate::net::{Inheritable, Succession};

/// How long a successor may take to prepare itself. The server serves meanwhile.
const PREPARE_MAX: Duration = Duration::from_secs(60);

/// How long it may take to load the snapshot and to start. Nobody serves meanwhile.
const LOAD_MAX: Duration = Duration::from_secs(600);

/// How often the server looks meanwhile whether it is told to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Variables that name this process.
const OWN_VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// How a successor is started.
#[derive(Debug, Clone)]
pub struct Order {
    /// The program as it was called, so that a newer one in its place is found.
    program: OsString,
    /// The program that was found then.
    executable: Option<PathBuf>,
    arguments: Vec<OsString>,
}

impl Order {
    /// As this process was started.
    #[must_use]
    pub fn own() -> Self {
        let mut words = env::args_os();
        let executable = env::current_exe().ok();
        let program = words.next().unwrap_or_default();
        Self { program, executable, arguments: words.collect() }
    }

    fn spawn(&self, variable: &str) -> io::Result<Child> {
        let spawn = |program: &std::ffi::OsStr| {
            let mut command = Command::new(program);
            OWN_VARIABLES.iter().for_each(|name| {
                command.env_remove(name);
            });
            command.args(&self.arguments).env(VARIABLE, variable).stdin(Stdio::null()).spawn()
        };
        match (spawn(&self.program), &self.executable) {
            (Err(error), Some(executable)) if error.kind() == io::ErrorKind::NotFound => {
                spawn(executable.as_os_str())
            }
            (result, _) => result,
        }
    }
}

/// A successor that was started; it is killed with the value, unless it has taken over.
#[derive(Debug)]
struct Successor {
    child: Child,
    control: UnixStream,
    started: Instant,
    is_prepared: bool,
    has_taken_over: bool,
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.has_taken_over {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Starts successors of a server, and hands over to them.
#[derive(Debug, Clone)]
pub struct Handover {
    order: Order,
    successor: Arc<Mutex<Option<Successor>>>,
}

impl Handover {
    /// To processes that are started so.
    #[must_use]
    pub fn new(order: Order) -> Self {
        Self { order, successor: Arc::default() }
    }

    fn start(&self, listeners: &[Inheritable<'_>]) -> io::Result<Successor> {
        // The one process of a container can't leave it to another.
        if process::id() == 1 {
            return Err(io::Error::other(
                "process 1 can't be replaced, since all others end with it",
            ));
        }
        let (control, theirs) = UnixStream::pair()?;
        control.set_nonblocking(true)?;
        // Duplicates that the new process inherits; here they are closed again at once.
        let theirs = rustix::io::dup(&theirs)?;
        let mut variable = format!("{} {}", process::id(), theirs.as_raw_fd());
        let mut inherited: Vec<OwnedFd> = Vec::new();
        for listener in listeners {
            let fd = rustix::io::dup(listener.fd)?;
            let _ = write!(variable, " {}", fd.as_raw_fd());
            variable.extend(listener.is_admin.then_some(ADMIN));
            variable.extend(listener.owns_file.then_some(OWNS_FILE));
            inherited.push(fd);
        }
        let child = self.order.spawn(&variable)?;
        log::info!("SIGUSR2: process {} prepares to take over", child.id());
        let started = Instant::now();
        Ok(Successor { child, control, started, is_prepared: false, has_taken_over: false })
    }

    /// Hands over to the successor that waits for that, after `save` has said where the snapshot is,
    /// if anywhere. `told_to_end` is asked now and then. `announce` is called with the successor's
    /// number when it is ready, before it accepts.
    ///
    /// # Errors
    /// When it did not become ready: it does not run any more, and the server is to go on.
    pub fn complete(
        &self,
        save: impl FnOnce() -> io::Result<Option<PathBuf>>,
        told_to_end: impl Fn() -> bool,
        announce: impl FnOnce(u32),
    ) -> io::Result<()> {
        let successor = self.successor.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut successor = successor.ok_or(io::ErrorKind::NotFound)?;
        let path = save()?;
        successor.go(path.as_deref())?;
        successor.wait_until_ready(told_to_end)?;
        announce(successor.child.id());
        successor.has_taken_over = true;
        // If it does not hear that, it finds that this process is gone.
        let _ = successor.control.write_all(&[ACKNOWLEDGED]);
        log::info!("process {} has taken over", successor.child.id());
        Ok(())
    }

    /// Ends a successor that is being prepared.
    pub fn cancel(&self) {
        self.successor.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Succession for Handover {
    fn begin(&mut self, listeners: &[Inheritable<'_>]) {
        let mut successor = self.successor.lock().unwrap_or_else(PoisonError::into_inner);
        if successor.is_some() {
            log::warn!("SIGUSR2: a process is about to take over already");
            return;
        }
        match self.start(listeners) {
            Ok(started) => *successor = Some(started),
            Err(error) => log::error!("SIGUSR2: can't start a process that takes over: {error}"),
        }
    }

    fn is_due(&mut self) -> bool {
        let mut slot = self.successor.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(successor) = slot.as_mut() else { return false };
        match successor.look() {
            Ok(is_prepared) => is_prepared,
            Err(error) => {
                log::error!(
                    "the process that was to take over has failed, this one goes on: {error}"
                );
                *slot = None;
                false
            }
        }
    }
}

impl Successor {
    /// Whether it is prepared.
    fn look(&mut self) -> io::Result<bool> {
        if self.is_prepared {
            return Ok(true);
        }
        match self.receive()? {
            Some(PREPARED) => self.is_prepared = true,
            Some(_) => return Err(io::Error::other("it says what makes no sense")),
            None if self.started.elapsed() > PREPARE_MAX => {
                return Err(io::Error::other(format!("it was not prepared in {PREPARE_MAX:?}")));
            }
            None => {}
        }
        Ok(self.is_prepared)
    }

    /// What it says, if it says anything yet.
    fn receive(&mut self) -> io::Result<Option<u8>> {
        let mut message = [0];
        match self.control.read(&mut message) {
            Ok(0) => Err(self.ended()),
            Ok(_) => Ok(Some(message[0])),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            Err(_) => Err(self.ended()),
        }
    }

    /// It has closed its end.
    fn ended(&mut self) -> io::Error {
        let _ = self.child.kill();
        match self.child.wait() {
            Ok(status) => io::Error::other(format!("it ended, {status}")),
            Err(error) => error,
        }
    }

    fn go(&mut self, path: Option<&Path>) -> io::Result<()> {
        let path = path.map_or(&[][..], |path| path.as_os_str().as_bytes());
        let message = [&[GO], &(path.len() as u32).to_le_bytes()[..], path].concat();
        self.control.set_nonblocking(false)?;
        self.control.write_all(&message)
    }

    fn wait_until_ready(&mut self, told_to_end: impl Fn() -> bool) -> io::Result<()> {
        self.control.set_read_timeout(Some(LOOK_EVERY))?;
        let began = Instant::now();
        loop {
            match self.receive()? {
                Some(READY) => return Ok(()),
                Some(_) => return Err(io::Error::other("it says what makes no sense")),
                None if told_to_end() => {
                    return Err(io::Error::new(io::ErrorKind::Interrupted, "told to end"));
                }
                None if began.elapsed() > LOAD_MAX => {
                    return Err(io::Error::other(format!("it was not ready in {LOAD_MAX:?}")));
                }
                None => {}
            }
        }
    }
}
