//! A server: bound listeners, and the threads that serve them.

use std::io;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mio::{Poll, Waker};

use super::acceptor::{Acceptor, Listener, Refusal, reserve};
use super::address::Address;
use super::affinity::{self, Cores};
use super::connection::Limits;
use super::counters::{Counter, Counters};
use super::event_loop::{EventLoop, LoopSettings, held_bytes_max};
use super::mailbox::{self, Orders};
use super::output::Output;
use super::service::{Class, Service};
use super::signals;

/// How long a peer gets to read the last response and close.
const LINGER: Duration = Duration::from_secs(5);

/// How long a message waits for its turn, when slow peers hold the memory that it needs.
const TURN: Duration = Duration::from_secs(10);

/// How long they may stand still meanwhile.
const STALL: Duration = Duration::from_secs(5);

/// How a server runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cores that get an event loop each.
    pub cores: Cores,
    /// Whether each loop's thread is pinned to its core.
    pub pin: bool,
    /// Spin instead of sleeping while there is nothing to do.
    pub busy_poll: bool,
    /// SIGTERM and SIGINT end [`Server::run`] in order; a second one ends the process at once.
    pub signals: bool,
    /// Open connections of all loops together; more are refused.
    pub connections_max: usize,
    /// Most bytes that the service leaves unconsumed when it asks for more.
    pub input_bytes_max: usize,
    /// Permission bits of the socket files of Unix-domain listeners.
    pub unix_mode: u32,
    /// Limit on a connection without a message under way, and on a peer that does not read.
    pub idle_timeout: Duration,
    /// Limit on the arrival of a whole message head.
    pub header_timeout: Duration,
    /// Limit on a pause within a message body.
    pub body_timeout: Duration,
    /// Limit on answering and closing everything after the server was told to stop.
    pub drain_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cores: Cores::Auto,
            pin: true,
            busy_poll: false,
            signals: true,
            connections_max: 65_536,
            input_bytes_max: 64 << 10,
            unix_mode: 0o600,
            idle_timeout: Duration::from_secs(60),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Ends a running server from another thread, as a signal would.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Waker>);

impl Stopper {
    /// Asks the server to drain and return. May be called more than once.
    pub fn stop(&self) {
        if let Err(error) = self.0.wake() {
            log::error!("can't stop the server: {error}");
        }
    }
}

/// Bound sockets, and what is needed to serve them.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    settings: Settings,
    cores: Vec<usize>,
    counters: Arc<[Counters]>,
    turned_away: Arc<Counter>,
    refusal: Refusal,
    poll: Poll,
    stopper: Stopper,
    signals: Option<UnixStream>,
}

impl Server {
    /// Binds the data addresses and the admin address. From then on clients can connect;
    /// they are served when [`run`](Self::run) is called.
    ///
    /// # Errors
    /// When an address can't be bound or a core can't be pinned to.
    pub fn bind(data: &[Address], admin: Option<&Address>, settings: Settings) -> io::Result<Self> {
        let cores = settings.cores.resolve()?;
        if settings.pin {
            affinity::check(&cores)?;
        }
        let mut listeners = Vec::new();
        for address in data {
            listeners.push(Listener::bind(address, Class::Data, settings.unix_mode)?);
        }
        if let Some(address) = admin {
            listeners.push(Listener::bind(address, Class::Admin, settings.unix_mode)?);
        }
        let poll = Poll::new()?;
        let stopper = Stopper(Arc::new(Waker::new(poll.registry(), Acceptor::STOP)?));
        let counters = cores.iter().map(|_| Counters::default()).collect();
        // Before anybody can know that the server is there, and might send one.
        let signals = if settings.signals { Some(signals::subscribe()?) } else { None };
        let (turned_away, refusal) = (Arc::default(), Refusal(Box::new(|_| {})));
        Ok(Self {
            listeners,
            settings,
            cores,
            counters,
            turned_away,
            refusal,
            poll,
            stopper,
            signals,
        })
    }

    /// Sets what is said to a connection that is turned away before any loop has to do with it,
    /// because the process has no descriptors left or too many are being refused already. It is
    /// closed without a word otherwise.
    #[must_use]
    pub fn turn_away_with(mut self, words: impl FnMut(&mut Output) + Send + 'static) -> Self {
        self.refusal = Refusal(Box::new(words));
        self
    }

    /// The addresses that were bound, in the order given to [`bind`](Self::bind).
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.listeners.iter().map(|listener| listener.address.clone()).collect()
    }

    /// Number of event loops.
    #[must_use]
    pub fn loops(&self) -> usize {
        self.cores.len()
    }

    /// The counters of every loop.
    #[must_use]
    pub fn counters(&self) -> Arc<[Counters]> {
        Arc::clone(&self.counters)
    }

    /// Connections turned away before any loop had to do with them.
    #[must_use]
    pub fn turned_away(&self) -> Arc<Counter> {
        Arc::clone(&self.turned_away)
    }

    /// What ends the server.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves until a signal or the [`Stopper`] ends it. `make` is called on each loop's own
    /// thread, after it was pinned, with the loop's number.
    ///
    /// # Errors
    /// When a thread can't be started or the operating system refuses to wait for events.
    pub fn run<S: Service>(self, make: impl Fn(usize) -> S + Sync) -> io::Result<()> {
        let mut polls = Vec::new();
        let mut mailboxes = Vec::new();
        for _ in &self.cores {
            let (poll, mailbox) = mailbox::create()?;
            polls.push(poll);
            mailboxes.push(mailbox);
        }
        let orders = Orders::default();
        let mut acceptor = Acceptor {
            poll: self.poll,
            listeners: self.listeners,
            mailboxes: &mailboxes,
            orders: &orders,
            connections_max: self.settings.connections_max,
            signals: self.signals,
            turn: 0,
            reserve: reserve(),
            refusal: self.refusal,
            turned_away: &self.turned_away,
        };
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for (index, poll) in polls.into_iter().enumerate() {
                let (make, stopper, mailbox) = (&make, &self.stopper, &mailboxes[index]);
                let (orders, counters) = (&orders, &self.counters[index]);
                let core = self.settings.pin.then_some(self.cores[index]);
                let settings = loop_settings(&self.settings, self.cores.len());
                let body = move || {
                    core.map_or(Ok(()), affinity::pin)?;
                    EventLoop::new(poll, mailbox, orders, counters, settings, make(index)).run()
                };
                let name = format!("corekv-{index}");
                let thread = thread::Builder::new()
                    .name(name)
                    .spawn_scoped(scope, move || guarded(body, stopper))?;
                threads.push(thread);
            }
            let result = acceptor.run();
            acceptor.drain(self.settings.drain_timeout);
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("panic"))))
                .fold(result, Result::and)
        })
    }
}

fn loop_settings(settings: &Settings, loops: usize) -> LoopSettings {
    LoopSettings {
        limits: Limits {
            idle: settings.idle_timeout,
            head: settings.header_timeout,
            body: settings.body_timeout,
            linger: LINGER,
            turn: TURN,
            stall: STALL,
        },
        input_bytes_max: settings.input_bytes_max,
        busy_poll: settings.busy_poll,
        held_bytes_max: held_bytes_max(loops),
    }
}

/// Runs a loop's thread. A panic ends the process: its connections would hang forever, and
/// what it had half done to the shared store is unknown. An error stops the server in order.
fn guarded(body: impl FnOnce() -> io::Result<()>, stopper: &Stopper) -> io::Result<()> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => {
            if result.is_err() {
                stopper.stop();
            }
            result
        }
        Err(_) => {
            let name = thread::current().name().unwrap_or("an event loop").to_owned();
            eprintln!("corekv: {name} panicked; ending the process");
            std::process::abort();
        }
    }
}
