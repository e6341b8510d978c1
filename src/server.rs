//! The cache as a server: the modules put together.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cache::{self, Cache, History, KeptSets, Metrics, Routes};
use crate::config::{Config, memory_bytes_min};
use crate::http::tokens::{Tokens, TokensInForce};
use crate::http::{self, Protocol};
use crate::net::{self, Address, Phase, Reach, Source, Stopper};
use crate::store::{Clock, Store};
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
    auth_file: Option<PathBuf>,
    data_addresses: usize,
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
    /// can't be pinned to, the tokens can't be read, the memory can't be reserved, or is too little
    /// for so many event loops.
    pub fn bind(config: &Config) -> io::Result<Self> {
        Self::bind_with(config, Vec::new())
    }

    /// The same with sockets that were handed over: the one with the name `admin` stands for the
    /// admin address, the others for the addresses that serve keys.
    ///
    /// # Errors
    /// As those of [`bind`](Self::bind), and when a socket does not listen for streams.
    pub fn bind_with(config: &Config, sockets: Vec<PassedSocket>) -> io::Result<Self> {
        config.validate()?;
        let tokens = config.auth_file.as_deref().map(Tokens::load).transpose()?;
        let tokens = tokens.map(TokensInForce::new).map(Arc::new);
        let connections_max = config.connections_max.min(descriptors());
        let settings = net::Settings { connections_max, ..config.net() };
        let (listen, admin) = sources(config, sockets)?;
        let (data_addresses, has_admin) = (listen.len(), admin.is_some());
        let net = net::Server::open(listen, admin, settings)?;
        if tokens.is_none() {
            warn_if_open(&net.addresses());
        }
        check_memory(config.memory_bytes_max, net.loops())?;
        let namespaces = config.cache().namespaces;
        let store = Store::with_namespaces(config.store(net.loops()), namespaces.prefixes())?;
        let metrics = Metrics {
            turned_away: net.turned_away(),
            memory_bytes_max: config.memory_bytes_max,
            connections_max,
            ..Metrics::with_namespaces(store, net.counters(), namespaces)
        };
        let routes = if has_admin { Routes::AdminOnly } else { Routes::Everywhere };
        let mut http = config.http();
        http.rules.tokens = tokens;
        let cache = cache::Settings { routes, ..config.cache() };
        let (metrics, auth_file) = (Arc::new(metrics), config.auth_file.clone());
        Ok(Self { net, metrics, http, cache, auth_file, data_addresses })
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
        let mut watch = Watch::new(manager);
        let net = self.net.at_each_tick(move |phase| match phase {
            Phase::Serving => {
                let iterations = metrics.net.iter().map(|core| core.iterations.get());
                watch.look(iterations, || status(&metrics));
            }
            Phase::Draining => watch.stop(),
        });
        Self { net, ..self }
    }

    /// Serves until it is told to end.
    ///
    /// # Errors
    /// When a thread can't be started, nobody can be told that the server is ready, or the
    /// operating system refuses to wait for events.
    pub fn run(self) -> io::Result<()> {
        let Self { mut net, metrics, http, cache, auth_file, .. } = self;
        if let (Some(tokens), Some(path)) = (http.rules.tokens.clone(), auth_file) {
            net = net.at_hangup(move || read_tokens_anew(&tokens, &path));
        }
        let clock = Clock::start();
        let history = Arc::new(History::new(&metrics));
        let _recorder = history.record(Arc::clone(&metrics))?;
        let sets = Arc::new(KeptSets::default());
        let rejection =
            if http.date { || http::rejection(true) } else { || http::rejection(false) };
        net.reject_with(rejection).run(|index| {
            let counters = Arc::clone(&metrics.http[index]);
            let (sets, metrics, history) =
                (Arc::clone(&sets), Arc::clone(&metrics), Arc::clone(&history));
            let cache = Cache::new(index, clock, cache.clone(), sets, metrics, history);
            Protocol::new(cache, http.clone(), counters)
        })
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
