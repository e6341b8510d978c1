//! The cache as a server: the modules put together.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cache::{self, Cache, History, KeptSets, Metrics, Routes, StoredFields};
use crate::config::{Config, memory_bytes_min};
use crate::explain::explain;
use crate::handover::{Handover, Inherited, Predecessor};
use crate::http::tokens::{Tokens, TokensInForce};
use crate::http::{self, AccessLog, Protocol};
use crate::line_log::LineLog;
use crate::loading::{Loading, Outcome};
use crate::net::{self, Address, Phase, Reach, Source, Stopper};
use crate::snapshot::{Contents, Saver};
use crate::systemd::{Manager, PassedSocket, Watch};

/// Descriptors that are no connections: listeners, polls, wakers, standard streams.
const DESCRIPTORS_RESERVED: u64 = 32;

/// The name of the socket that stands for the admin address.
const ADMIN_SOCKET: &str = "admin";

/// A bound server.
#[derive(Debug)]
pub struct Server {
    net: net::Server,
    metrics: Arc<Metrics>,
    http: http::Settings,
    cache: cache::Settings,
    data_addresses: usize,
    /// The access log, and of how many responses one gets a line.
    access_log: Option<(LineLog, u32)>,
    sets: Arc<KeptSets>,
    contents: Contents,
    saver: Option<Arc<Saver>>,
    manager: Option<Arc<Manager>>,
    handover: Option<Handover>,
    /// It was told to end before it had loaded its snapshot.
    is_over: bool,
}

/// Checks settings as far as that can be done without a server: what they say, the tokens, and
/// the memory for so many event loops.
///
/// # Errors
/// Those of [`Server::bind`] that this finds.
pub fn check(config: &Config) -> io::Result<()> {
    config.validate()?;
    config.auth_file.as_deref().map(Tokens::load).transpose()?;
    let (cores, _) = config.cores.resolve()?;
    check_memory(config.memory_bytes_max, cores.len())
}

impl Server {
    /// Binds the addresses and reserves the store's memory.
    ///
    /// # Errors
    /// When a setting is [out of its range](Config::validate), an address can't be bound, a core
    /// can't be pinned to, the tokens can't be read, the access log can't be opened, the memory can't be
    /// reserved, or is too little for so many event loops.
    pub fn bind(config: &Config) -> io::Result<Self> {
        Self::bind_with(config, Vec::new())
    }

    /// The same with sockets that were handed over: the one with the name `admin` stands for the
    /// admin address, the others for the addresses that serve keys.
    ///
    /// # Errors
    /// As those of [`bind`](Self::bind), and when a socket does not listen for streams.
    pub fn bind_with(config: &Config, sockets: Vec<PassedSocket>) -> io::Result<Self> {
        Self::open(
            config,
            || sources(config, sockets),
            || Ok(config.snapshot.clone()),
            config.snapshot_required,
        )
    }

    /// A server that goes on in another one's place, with its listeners and what it holds.
    ///
    /// # Errors
    /// As those of [`bind`](Self::bind), and when the other goes on, or what it holds can't be loaded.
    pub fn succeed(config: &Config, predecessor: &mut Predecessor) -> io::Result<Self> {
        let listeners = predecessor.take_listeners();
        let (admin, data): (Vec<_>, Vec<_>) = listeners.into_iter().partition(|l| l.is_admin);
        let source = |listener: Inherited| match listener.owns_file {
            true => Source::Inherited(listener.fd),
            false => Source::Socket(listener.fd),
        };
        let data = data.into_iter().map(source).collect();
        let admin = admin.into_iter().next().map(source);
        Self::open(config, || Ok((data, admin)), || predecessor.wait(), true)
    }

    /// `snapshot` is asked when everything else is there; where what it names is not loaded, there is no
    /// server if it is `required`.
    fn open(
        config: &Config,
        sources: impl FnOnce() -> io::Result<(Vec<Source>, Option<Source>)>,
        snapshot: impl FnOnce() -> io::Result<Option<PathBuf>>,
        required: bool,
    ) -> io::Result<Self> {
        config.validate()?;
        let tokens = config.auth_file.as_deref().map(Tokens::load).transpose()?;
        let tokens = tokens.map(TokensInForce::new).map(Arc::new);
        let connections_max = config.connections_max.min(descriptors());
        let settings = net::Settings { connections_max, ..config.net() };
        let (listen, admin) = sources()?;
        let (data_addresses, has_admin) = (listen.len(), admin.is_some());
        let net = net::Server::open(listen, admin, settings)?;
        if tokens.is_none() {
            warn_if_open(&net.addresses());
        }
        check_memory(config.memory_bytes_max, net.loops())?;
        let saver = config.snapshot.clone().map(|path| Saver::new(path, config.snapshot_interval));
        let saver = saver.transpose()?.map(Arc::new);
        let sets = Arc::new(KeptSets::default());
        let fields = StoredFields { sets: Arc::clone(&sets), kept: config.cache().kept };
        let loading = Loading { config, end: &net.end(), threads: net.loops(), required };
        let (contents, outcome) = loading.contents(fields, snapshot)?;
        if let (Outcome::Loaded(keys), Some(saver)) = (&outcome, &saver) {
            saver.status().set_loaded(*keys);
        }
        let is_over = matches!(outcome, Outcome::Stopped);
        let namespaces = config.cache().namespaces;
        let metrics = Metrics {
            turned_away: net.turned_away(),
            memory_bytes_max: config.memory_bytes_max,
            connections_max,
            snapshot: saver.clone(),
            ..Metrics::with_namespaces(Arc::clone(&contents.store), net.counters(), namespaces)
        };
        let log = |path| LineLog::open(path, Arc::clone(&metrics.access_log));
        let access_log = config.access_log.as_deref().map(log).transpose()?;
        let net = with_hangup(net, access_log.as_ref(), tokens.as_ref(), config);
        let access_log = access_log.map(|log| (log, config.access_log_sample));
        let routes = if has_admin { Routes::AdminOnly } else { Routes::Everywhere };
        let mut http = config.http();
        http.rules.tokens = tokens;
        let cache = cache::Settings { routes, ..config.cache() };
        let metrics = Arc::new(metrics);
        Ok(Self {
            net,
            metrics,
            http,
            cache,
            data_addresses,
            sets,
            contents,
            saver,
            manager: None,
            handover: None,
            access_log,
            is_over,
        })
    }

    /// The addresses that serve keys, with the ports that were bound.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<Address> {
        let mut addresses = self.net.addresses();
        addresses.truncate(self.data_addresses);
        addresses
    }

    /// The admin address, if there is one.
    #[must_use]
    pub fn admin_addr(&self) -> Option<Address> {
        self.net.addresses().into_iter().nth(self.data_addresses)
    }

    /// What the server counts, also while it runs.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// What ends the server.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.net.stopper()
    }

    /// Sets what [`run`](Self::run) calls once every event loop runs on its core; the server ends
    /// if it fails.
    #[must_use]
    pub fn when_ready(self, ready: impl FnOnce() -> io::Result<()> + Send + 'static) -> Self {
        Self { net: self.net.when_ready(ready), ..self }
    }

    /// Has a service manager told how the server is from when it is [ready](Self::when_ready), and
    /// its watchdog fed as long as every event loop makes progress.
    #[must_use]
    pub fn watched_by(self, manager: Arc<Manager>) -> Self {
        let metrics = Arc::clone(&self.metrics);
        let mut watch = Watch::new(Arc::clone(&manager));
        let net = self.net.at_each_tick(move |phase| match phase {
            Phase::Serving => {
                let iterations = metrics.net.iter().map(|core| core.iterations.get());
                watch.look(iterations, || status(&metrics));
            }
            Phase::Draining => watch.stop(),
            Phase::HandingOver => watch.feed(),
        });
        Self { net, manager: Some(manager), ..self }
    }

    /// Has SIGUSR2 start a process that goes on in this one's place.
    #[must_use]
    pub fn succeeded_by(self, handover: Handover) -> Self {
        let net = self.net.succeeded_by(handover.clone());
        Self { net, handover: Some(handover), ..self }
    }

    /// Serves until it is told to end, and writes its snapshot then; or until another process has taken
    /// over.
    ///
    /// # Errors
    /// When a thread can't be started, nobody can be told that the server is ready, the operating
    /// system refuses to wait for events, or the snapshot can't be written.
    pub fn run(self) -> io::Result<()> {
        let Self { is_over, metrics, http, cache, sets, contents, saver, manager, .. } = self;
        let (mut net, handover, access_log) = (self.net, self.handover, self.access_log);
        if is_over {
            return Ok(());
        }
        let (clock, loops, end) = (contents.clock, net.loops(), net.end());
        let history = Arc::new(History::new(&metrics));
        let _recorder = history.record(Arc::clone(&metrics))?;
        // Dropped when all loops have ended, and with them their lines handed over.
        let log = access_log.map(|(log, every)| Ok::<_, io::Error>((log.start()?, every)));
        let log = log.transpose()?;
        let rejection =
            if http.date { || http::rejection(true) } else { || http::rejection(false) };
        net = net.reject_with(rejection);
        let make = |index: usize| {
            let counters = Arc::clone(&metrics.http[index]);
            let (sets, metrics, history) =
                (Arc::clone(&sets), Arc::clone(&metrics), Arc::clone(&history));
            let cache = Cache::new(index, clock, cache.clone(), sets, metrics, history);
            let log = log.as_ref();
            let log = log.map(|(log, every)| AccessLog::new(log.lines(index), *every, index));
            Protocol::new(cache, http.clone(), counters).with_log(log)
        };
        let is_saved = Cell::new(false);
        let save = || {
            let saved = saver.as_ref().map(|saver| saver.save(&contents, loops, false)).transpose();
            saved.map_err(explain("the snapshot can't be written"))?;
            is_saved.set(true);
            Ok(saver.as_ref().map(|saver| saver.path().to_owned()))
        };
        loop {
            let running = saver.as_ref().map(|saver| saver.start(&contents)).transpose()?;
            let paused = net.run_for_now(make);
            drop(running);
            is_saved.set(false);
            net = match paused {
                Ok(Some(paused)) => paused,
                ended => {
                    handover.iter().for_each(Handover::cancel);
                    let saved = busy(manager.as_deref(), "writing the snapshot", save);
                    return ended.and(saved).map(drop);
                }
            };
            let completed = busy(manager.as_deref(), "handing over", || {
                let announce = |process| manager.iter().for_each(|m| m.succeeded_by(process));
                handover.as_ref().map_or(Ok(()), |handover| handover.complete(save, &end, announce))
            });
            match completed {
                Ok(()) => net.leave_files(),
                Err(error) if !end() => {
                    log::error!("no process has taken over, this one goes on: {error}");
                    continue;
                }
                Err(error) if !is_saved.get() => return Err(error),
                Err(_) => {}
            }
            return Ok(());
        }
    }
}

/// Has SIGHUP open the log and read the tokens anew.
fn with_hangup(
    net: net::Server,
    log: Option<&LineLog>,
    tokens: Option<&Arc<TokensInForce>>,
    config: &Config,
) -> net::Server {
    let net = match log {
        Some(log) => net.at_hangup(log.reopener()),
        None => net,
    };
    match (tokens.cloned(), config.auth_file.clone()) {
        (Some(tokens), Some(path)) => net.at_hangup(move || read_tokens_anew(&tokens, &path)),
        _ => net,
    }
}

/// Puts the tokens that the file has now in the place of those in force, if nothing is wrong with it.
fn read_tokens_anew(tokens: &TokensInForce, path: &Path) {
    match Tokens::load_at_once(path) {
        Ok(new) => {
            let (count, path) = (new.len(), path.display());
            tokens.exchange(new);
            log::info!("SIGHUP: {path} was read anew, tokens in force: {count}");
        }
        Err(error) => log::error!("SIGHUP: {error}; the tokens from before stay in force"),
    }
}

/// Does something that takes its time, and has a service manager know meanwhile.
fn busy<R>(manager: Option<&Manager>, what: &str, work: impl FnOnce() -> R) -> R {
    match manager {
        Some(manager) => manager.busy(what, work),
        None => work(),
    }
}

/// Refuses a store that could hold next to nothing.
fn check_memory(bytes: u64, loops: usize) -> io::Result<()> {
    let bytes_min = memory_bytes_min(loops);
    if bytes >= bytes_min {
        return Ok(());
    }
    let least = bytes_min >> 10;
    let text = format!(
        "--memory is {bytes} bytes, but {loops} event loops (--cores) need at least {least}KiB"
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// What the server listens on.
fn sources(
    config: &Config,
    sockets: Vec<PassedSocket>,
) -> io::Result<(Vec<Source>, Option<Source>)> {
    let (admin, data): (Vec<_>, Vec<_>) =
        sockets.into_iter().partition(|socket| socket.name == ADMIN_SOCKET);
    if admin.len() > 1 {
        let text = format!("{} sockets have the name {ADMIN_SOCKET}", admin.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let socket = |socket: PassedSocket| Source::Socket(socket.fd);
    let admin = admin.into_iter().next().map(socket);
    let admin = admin.or_else(|| config.admin.clone().map(Source::Address));
    if data.is_empty() {
        return Ok((config.listen.iter().cloned().map(Source::Address).collect(), admin));
    }
    log::info!("{} sockets were handed over and stand for --listen", data.len());
    Ok((data.into_iter().map(socket).collect(), admin))
}

/// How the server is, in one line.
fn status(metrics: &Metrics) -> String {
    let mebibytes = |bytes: u64| bytes >> 20;
    let bytes = metrics.statistics().iter().map(|partition| partition.bytes).sum();
    let open: u64 = metrics.net.iter().map(net::Counters::open).sum();
    format!(
        "{} keys in {} of {} MiB, {open} connections",
        metrics.store.keys(),
        mebibytes(bytes),
        mebibytes(metrics.memory_bytes_max),
    )
}

fn warn_if_open(addresses: &[Address]) {
    for address in addresses {
        if address.reach() == Reach::Network {
            log::warn!("{address} can be reached from outside and needs no token (--auth-file)");
        }
    }
}

/// Raises the limit on open files as far as it goes; how many connections it leaves room for.
fn descriptors() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
            Ok(()) => limit.current = limit.maximum,
            Err(error) => log::warn!("can't raise the limit on open files: {error}"),
        }
    }
    let files = limit.current.unwrap_or(u64::MAX).saturating_sub(DESCRIPTORS_RESERVED);
    usize::try_from(files).unwrap_or(usize::MAX).max(1)
}
