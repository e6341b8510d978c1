//! A server: bound listeners, and the threads that serve them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mio::Poll;

use super::acceptor::{Acceptor, reserve};
use super::address::Address;
use super::affinity::{self, Cores};
use super::class::Class;
use super::counters::{Counter, Counters};
use super::event_loop::{EventLoop, LoopSettings};
use super::hooks::{Ending, Hangup, Phase, Ready, Succession, Ticker};
use super::listener::{Listener, Source};
use super::mailbox::{self, Mailbox, ShutdownFlags};
use super::pace::MinRate;
use super::service::Service;
use super::signals::Signals;
use super::stopper::Stopper;
use super::wait_timer::WaitLimits;
use crate::explain::explain;
use crate::invalid::{Invalid, check_number, check_time};
use crate::logging;

/// How long a peer gets to read the last response and close.
const LINGER: Duration = Duration::from_secs(5);

/// Connections that can be told apart and counted; far more than a process has descriptors.
const CONNECTIONS_MAX: usize = 1 << 30;

/// Bytes that a service may leave unconsumed: each loop has a few buffers of that size.
const INPUT_BYTES_MAX: usize = 1 << 20;

/// Highest rate that can be asked for, in bytes per second.
const MIN_RATE_MAX: u64 = 1 << 30;

/// All permission bits of a file.
const UNIX_MODE_MAX: u32 = 0o777;
/// How long a message waits for memory that slow peers hold.
const MEMORY_WAIT: Duration = Duration::from_secs(10);

/// How long they may stand still meanwhile.
const STALL: Duration = Duration::from_secs(5);

/// How long one of them may take for all that it holds meanwhile, by the pace that it has kept so far,
/// and how long nothing is concluded from that.
const WHOLE: Duration = Duration::from_secs(60);
const WHOLE_GRACE: Duration = Duration::from_secs(2);

/// How a server runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cores that get an event loop each.
    pub cores: Cores,
    /// Whether each loop's thread is pinned to its core.
    pub pin: bool,
    /// Spin instead of sleeping while there is nothing to do.
    pub busy_poll: bool,
    /// SIGTERM and SIGINT end [`Server::run`] in order; a second one ends the process at once. SIGHUP
    /// ends nothing, but calls what [`Server::at_hangup`] was given.
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
    /// Least bytes per second of a message body, and of reading what was sent, once `min_rate_grace`
    /// is over; 0 if none is too few. See `docs/http-api.md` for what exactly is measured.
    pub min_rate: u64,
    /// The time that each body, and each peer that is to read, has to begin with.
    pub min_rate_grace: Duration,
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
            min_rate: 1 << 10,
            min_rate_grace: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// Checks what doesn't depend on the system.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.cores.validate()?;
        check_number("connections_max", self.connections_max, 1..=CONNECTIONS_MAX)?;
        check_number("input_bytes_max", self.input_bytes_max, 1..=INPUT_BYTES_MAX)?;
        if self.unix_mode > UNIX_MODE_MAX {
            return Err(Invalid::new("unix_mode", "must be octal permission bits up to 777"));
        }
        check_time("idle_timeout", self.idle_timeout)?;
        check_time("header_timeout", self.header_timeout)?;
        check_time("body_timeout", self.body_timeout)?;
        check_number("min_rate", self.min_rate, 0..=MIN_RATE_MAX)?;
        check_time("min_rate_grace", self.min_rate_grace)?;
        check_time("drain_timeout", self.drain_timeout)
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
    rejection: fn() -> Vec<u8>,
    ready: Ready,
    ticker: Ticker,
    hangup: Hangup,
    succession: Option<Box<dyn Succession>>,
    poll: Poll,
    stopper: Stopper,
    signals: Option<Signals>,
}

impl Server {
    /// Binds the data addresses and the admin address. From then on clients can connect;
    /// they are served when [`run`](Self::run) is called.
    ///
    /// # Errors
    /// When a setting is out of its range, an address can't be bound or a core can't be pinned to.
    pub fn bind(data: &[Address], admin: Option<&Address>, settings: Settings) -> io::Result<Self> {
        let data = data.iter().cloned().map(Source::Address).collect();
        Self::open(data, admin.cloned().map(Source::Address), settings)
    }

    /// The same, where sockets that listen already may stand for addresses.
    ///
    /// # Errors
    /// As those of [`bind`](Self::bind), and when a socket does not listen for streams.
    pub fn open(data: Vec<Source>, admin: Option<Source>, settings: Settings) -> io::Result<Self> {
        settings.validate()?;
        let (cores, quota) = settings.cores.resolve()?;
        if settings.pin {
            affinity::check(&cores)?;
        }
        let mut listeners = Vec::new();
        for source in data {
            listeners.push(Listener::open(source, Class::Data, settings.unix_mode)?);
        }
        if let Some(source) = admin {
            listeners.push(Listener::open(source, Class::Admin, settings.unix_mode)?);
        }
        for listener in &listeners {
            listener.drop_unread_after(settings.idle_timeout + LINGER);
        }
        let poll = Poll::new().map_err(explain("can't make a poll (epoll_create1)"))?;
        let stopper = Stopper::new(&poll)?;
        let counters = cores.iter().map(|_| Counters::default()).collect();
        // Before anybody can know that the server is there, and might send one.
        let signals = settings.signals.then(Signals::subscribe).transpose();
        let signals =
            signals.map_err(explain("can't take signals over (socketpair, sigaction)"))?;
        if settings.cores == Cores::Auto {
            let quota = quota.map_or("none".to_owned(), |quota| format!("{quota:.2} cores"));
            log::info!("cores: {cores:?} (CPU quota: {quota})");
        }
        let ready = Ready(Box::new(|| Ok(())));
        Ok(Self {
            listeners,
            settings,
            cores,
            counters,
            turned_away: Arc::default(),
            rejection: Vec::new,
            ready,
            ticker: Ticker(Box::new(|_| {})),
            hangup: Hangup::default(),
            succession: None,
            poll,
            stopper,
            signals,
        })
    }

    /// Sets what makes the response to a connection that is rejected before any loop has to do with
    /// it, because the process has no descriptors left or too many are being rejected already. Such
    /// a connection is closed without a response otherwise.
    #[must_use]
    pub fn reject_with(self, rejection: fn() -> Vec<u8>) -> Self {
        Self { rejection, ..self }
    }

    /// Sets what [`run`](Self::run) calls once every loop runs, on its own thread, before the first
    /// connection is accepted. If that fails the server ends, and `run` returns the error.
    #[must_use]
    pub fn when_ready(mut self, ready: impl FnOnce() -> io::Result<()> + Send + 'static) -> Self {
        self.ready = Ready(Box::new(ready));
        self
    }

    /// Sets what [`run`](Self::run) calls on its own thread, that of the acceptor, at least every
    /// 250 ms from when the server is ready until every connection is closed. It must not block.
    #[must_use]
    pub fn at_each_tick(mut self, tick: impl FnMut(Phase) + Send + 'static) -> Self {
        self.ticker = Ticker(Box::new(tick));
        self
    }

    /// Adds to what [`run`](Self::run) calls on its own thread when SIGHUP comes, if the settings have it
    /// heed signals. It must not block.
    #[must_use]
    pub fn at_hangup(mut self, hook: impl FnMut() + Send + 'static) -> Self {
        self.hangup.0.push(Box::new(hook));
        self
    }

    /// Sets what SIGUSR2 asks for a process that goes on in the server's place. Without it the signal
    /// does nothing.
    #[must_use]
    pub fn succeeded_by(self, succession: impl Succession + 'static) -> Self {
        Self { succession: Some(Box::new(succession)), ..self }
    }

    /// Leaves the files of Unix-domain sockets to a process that has taken over.
    pub fn leave_files(&mut self) {
        self.listeners.iter_mut().for_each(Listener::leave_file);
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

    /// Connections rejected before any loop had to do with them.
    #[must_use]
    pub fn turned_away(&self) -> Arc<Counter> {
        Arc::clone(&self.turned_away)
    }

    /// What ends the server.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Says from any thread whether the server was told to end.
    pub fn end(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let (stopper, signal) = (self.stopper.clone(), self.signals.as_ref().map(Signals::end));
        move || {
            stopper.has_stopped() || signal.as_ref().is_some_and(|end| end.load(Ordering::Relaxed))
        }
    }

    /// Serves until a signal or the [`Stopper`] ends it. `make` is called on each loop's own
    /// thread, after it was pinned, with the loop's number.
    ///
    /// # Errors
    /// When a thread can't be started, what was set with [`when_ready`](Self::when_ready) fails, or
    /// the operating system refuses to wait for events.
    pub fn run<S: Service>(self, make: impl Fn(usize) -> S + Sync) -> io::Result<()> {
        self.run_for_now(make).map(drop)
    }

    /// The same. The server is given back if it stopped for a [successor](Self::succeeded_by): it then
    /// still listens, and can be run again if the successor fails.
    ///
    /// # Errors
    /// As those of [`run`](Self::run).
    pub fn run_for_now<S: Service>(
        mut self,
        make: impl Fn(usize) -> S + Sync,
    ) -> io::Result<Option<Self>> {
        let (polls, mailboxes): (Vec<_>, Vec<_>) =
            self.cores.iter().map(|_| mailbox::create()).collect::<io::Result<_>>()?;
        let flags = ShutdownFlags::default();
        let mut acceptor = Acceptor {
            poll: self.poll,
            listeners: self.listeners,
            mailboxes: &mailboxes,
            flags: &flags,
            connections_max: self.settings.connections_max,
            stopper: &self.stopper,
            signals: self.signals,
            next_loop: 0,
            reserve: reserve(),
            rejection: self.rejection,
            turned_away: &self.turned_away,
            ticker: self.ticker,
            hangup: self.hangup,
            succession: self.succession,
        };
        let starter = Starter {
            settings: &self.settings,
            cores: &self.cores,
            counters: &self.counters,
            mailboxes: &mailboxes,
            flags: &flags,
            stopper: &self.stopper,
        };
        let ready = std::mem::replace(&mut self.ready, Ready(Box::new(|| Ok(()))));
        let ending = thread::scope(|scope| {
            let loops = EndOfLoops { flags: &flags, mailboxes: &mailboxes };
            let (runs, running) = mpsc::channel();
            let mut threads = Vec::new();
            for (index, poll) in polls.into_iter().enumerate() {
                threads.push(starter.start(scope, index, poll, runs.clone(), &make)?);
            }
            drop(runs);
            // Fewer if a loop could not begin, for a reason that its thread returns.
            let all_run = running.into_iter().take(threads.len()).count() == threads.len();
            let result = if all_run { acceptor.serve(ready.0) } else { Ok(Ending::Stop) };
            match result {
                Ok(Ending::Succession) => {
                    acceptor.drain_for_successor(self.settings.drain_timeout);
                }
                _ => acceptor.drain(self.settings.drain_timeout),
            }
            drop(loops);
            threads
                .into_iter()
                .map(join)
                .fold(result, |ending, thread| ending.and_then(|ending| thread.map(|()| ending)))
        })?;
        acceptor.unwatch();
        let Acceptor { poll, listeners, signals, ticker, hangup, succession, .. } = acceptor;
        let server = Self { listeners, ticker, hangup, succession, poll, signals, ..self };
        Ok((ending == Ending::Succession).then_some(server))
    }
}

fn join(thread: thread::ScopedJoinHandle<'_, io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("panic")))
}

/// What the threads of the event loops are started with.
struct Starter<'a> {
    settings: &'a Settings,
    cores: &'a [usize],
    counters: &'a [Counters],
    mailboxes: &'a [Mailbox],
    flags: &'a ShutdownFlags,
    stopper: &'a Stopper,
}

impl<'a> Starter<'a> {
    /// Starts one, which says so when it runs.
    fn start<'scope, S: Service>(
        &self,
        scope: &'scope thread::Scope<'scope, 'a>,
        index: usize,
        poll: Poll,
        runs: mpsc::Sender<()>,
        make: &'a (impl Fn(usize) -> S + Sync),
    ) -> io::Result<thread::ScopedJoinHandle<'scope, io::Result<()>>> {
        let (mailbox, counters) = (&self.mailboxes[index], &self.counters[index]);
        let (flags, stopper) = (self.flags, self.stopper);
        let core = self.settings.pin.then_some(self.cores[index]);
        let settings = loop_settings(self.settings, self.cores.len());
        let body = move || {
            core.map_or(Ok(()), affinity::pin_loop)?;
            let event_loop = EventLoop::new(poll, mailbox, flags, counters, settings, make(index));
            // The acceptor may have given up and left.
            let _ = runs.send(());
            drop(runs);
            event_loop.run()
        };
        let name = format!("corekv-{index}");
        let explain = explain(format!("can't start the thread {name} (clone3)"));
        thread::Builder::new()
            .name(name)
            .spawn_scoped(scope, move || guarded(body, mailbox, stopper))
            .map_err(explain)
    }
}

/// Ends the loops, whatever way the thread that started them leaves: it waits for theirs, and they
/// would wait for its flags.
struct EndOfLoops<'a> {
    flags: &'a ShutdownFlags,
    mailboxes: &'a [Mailbox],
}

impl Drop for EndOfLoops<'_> {
    fn drop(&mut self) {
        self.flags.abort.store(true, Ordering::Relaxed);
        self.mailboxes.iter().for_each(Mailbox::wake);
    }
}

fn loop_settings(settings: &Settings, loops: usize) -> LoopSettings {
    LoopSettings {
        limits: WaitLimits {
            idle: settings.idle_timeout,
            head: settings.header_timeout,
            body: settings.body_timeout,
            linger: LINGER,
            rate: MinRate { bytes_per_second: settings.min_rate, grace: settings.min_rate_grace },
            memory: MEMORY_WAIT,
            stall: STALL,
            whole: WHOLE,
            whole_grace: WHOLE_GRACE,
        },
        input_bytes_max: settings.input_bytes_max,
        busy_poll: settings.busy_poll,
        loops,
    }
}

/// Runs a loop's thread. A panic ends the process: its connections would hang forever, and
/// what it had half done to the shared store is unknown. An error stops the server in order.
fn guarded(
    body: impl FnOnce() -> io::Result<()>,
    mailbox: &Mailbox,
    stopper: &Stopper,
) -> io::Result<()> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => {
            mailbox.close();
            if result.is_err() {
                stopper.stop();
            }
            result
        }
        Err(_) => {
            let name = thread::current().name().unwrap_or("an event loop").to_owned();
            logging::say(&format!("corekv: {name} panicked; ending the process"));
            std::process::abort();
        }
    }
}
