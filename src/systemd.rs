//! What a service manager is told about the server, and what it hands over: the protocols of
//! sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3), which others than systemd speak, too.

use std::env;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::explain::explain;
use crate::logging::Sparing;
use crate::passed_socket;

/// The first descriptor that is handed over (`SD_LISTEN_FDS_START`).
const FDS_START: RawFd = 3;

/// Sockets that may be handed over.
const SOCKETS_MAX: u32 = 64;

/// How long the manager may take to receive that the server is ready.
const READY_MAX: Duration = Duration::from_secs(5);

/// How often it is told how the server is if it has no watchdog.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// How often the manager is told that something is under way that takes its time, and how many of
/// these messages may be late before it does not believe it any more.
const BUSY_EVERY: Duration = Duration::from_secs(1);
const BUSY_MISSED_MAX: u32 = 30;

/// Times that the watchdog is fed within its timeout: an iteration that takes long, or a message that
/// finds the manager's queue full, does not count for more than it is.
const FEEDINGS: u32 = 4;

/// A socket that was handed over.
#[derive(Debug)]
pub struct PassedSocket {
    /// Its name in the manager (`FileDescriptorName=`); empty if it has none.
    pub name: String,
    /// The socket.
    pub fd: OwnedFd,
}

/// Takes over the sockets that the process was started with, if `LISTEN_PID` says that they are
/// for it.
///
/// # Errors
/// When the variables make no sense, a descriptor is no socket, or it was called before: the
/// descriptors are then another's.
pub fn sockets() -> io::Result<Vec<PassedSocket>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name: &str| env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(process::id()) {
        return Ok(Vec::new());
    }
    let wrong = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    let Some(count) = number("LISTEN_FDS").filter(|&count| count <= SOCKETS_MAX) else {
        return wrong(format!("LISTEN_FDS is no number from 0 to {SOCKETS_MAX}"));
    };
    if TAKEN.swap(true, Ordering::Relaxed) {
        return wrong("the sockets of LISTEN_FDS have been taken over already".to_owned());
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = Vec::new();
    for fd in (FDS_START..).take(count as usize) {
        let Some(fd) = passed_socket::take(fd) else {
            return wrong(format!("LISTEN_FDS is {count}, but descriptor {fd} is no socket"));
        };
        sockets.push(PassedSocket { name: names.next().unwrap_or_default().to_owned(), fd });
    }
    Ok(sockets)
}

/// The service manager, if there is one that wants to be told.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    /// It ends the server when it heard nothing for so long.
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that `NOTIFY_SOCKET` names.
    ///
    /// # Errors
    /// When it can't be reached.
    pub fn from_env() -> io::Result<Option<Self>> {
        let Some(path) = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        let explain = explain(format!("can't reach the service manager at {path:?}"));
        let connect = || -> io::Result<UnixDatagram> {
            let address = match path.as_encoded_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
                _ => SocketAddr::from_pathname(&path)?,
            };
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            socket.set_write_timeout(Some(READY_MAX))?;
            Ok(socket)
        };
        let socket = connect().map_err(explain)?;
        Ok(Some(Self { socket, watchdog: watchdog() }))
    }

    /// Says that the server is ready.
    ///
    /// # Errors
    /// When that can't be sent: the manager would wait for it.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        let message = format!("READY=1\nSTATUS={status}\n");
        let sent = self.socket.send(message.as_bytes());
        sent.map_err(explain("can't tell the service manager that the server is ready"))?;
        self.socket.set_nonblocking(true)
    }

    /// Says something that need not arrive.
    fn tell(&self, message: &str) {
        static SPARING: Sparing = Sparing::new();
        if let Err(error) = self.socket.send(message.as_bytes())
            && SPARING.allows()
        {
            log::warn!("can't tell the service manager (sendto): {error}");
        }
    }

    /// Does something that takes its time, and has the manager know meanwhile that it goes on.
    pub fn busy<R>(&self, what: &str, work: impl FnOnce() -> R) -> R {
        let micros = (BUSY_EVERY * BUSY_MISSED_MAX).as_micros();
        let message = format!("STATUS={what}\nEXTEND_TIMEOUT_USEC={micros}\nWATCHDOG=1\n");
        let (done, is_done) = mpsc::channel::<()>();
        let tell = move || {
            loop {
                self.tell(&message);
                if is_done.recv_timeout(BUSY_EVERY) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        };
        thread::scope(|scope| {
            // Without the thread the manager's usual times hold.
            let _ = thread::Builder::new().name("notify".to_owned()).spawn_scoped(scope, tell);
            let result = work();
            drop(done);
            result
        })
    }

    /// Says that another process goes on in this one's place.
    pub(crate) fn succeeded_by(&self, process: u32) {
        self.tell(&format!("MAINPID={process}\n"));
    }

    fn interval(&self) -> Duration {
        self.watchdog.map_or(STATUS_EVERY, |timeout| timeout / FEEDINGS)
    }
}

/// The watchdog's timeout, if it is this process that is watched.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    let is_watched = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process::id()));
    let timeout = Duration::from_micros(number("WATCHDOG_USEC")?);
    (is_watched && !timeout.is_zero()).then_some(timeout)
}

/// Tells the manager how the server is, and feeds its watchdog as long as every event loop makes
/// progress.
#[derive(Debug)]
pub(crate) struct Watch {
    manager: Arc<Manager>,
    next: Instant,
    /// The iterations that each loop had made when it was last looked at.
    iterations: Vec<u64>,
    is_stopping: bool,
}

impl Watch {
    pub(crate) fn new(manager: Arc<Manager>) -> Self {
        Self { manager, next: Instant::now(), iterations: Vec::new(), is_stopping: false }
    }

    /// To be called often. `iterations` are those that the loops have made so far.
    pub(crate) fn look(
        &mut self,
        iterations: impl Iterator<Item = u64>,
        status: impl Fn() -> String,
    ) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + self.manager.interval();
        let before = std::mem::replace(&mut self.iterations, iterations.collect());
        let stuck = self.iterations.iter().zip(&before).position(|(now, before)| now == before);
        match stuck {
            None => self.manager.tell(&format!("WATCHDOG=1\nSTATUS={}\n", status())),
            Some(stuck) => {
                static SPARING: Sparing = Sparing::new();
                if SPARING.allows() {
                    log::error!("event loop {stuck} makes no progress");
                }
                self.manager.tell(&format!("STATUS=event loop {stuck} makes no progress\n"));
            }
        }
    }

    /// To be called often while the server ends, which has a limit of its own.
    pub(crate) fn stop(&mut self) {
        if !std::mem::replace(&mut self.is_stopping, true) {
            self.manager.tell("STOPPING=1\nSTATUS=answering what was received\n");
        }
        self.feed();
    }

    /// The same while it hands over.
    pub(crate) fn feed(&mut self) {
        let now = Instant::now();
        if now >= self.next {
            self.next = now + self.manager.interval();
            self.manager.tell("WATCHDOG=1\n");
        }
    }
}
