//! The cache as a server: the modules put together.

use std::io;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cache::{self, Cache, Metrics};
use crate::config::{Config, memory_bytes_min};
use crate::http::access::Tokens;
use crate::http::{self, Protocol};
use crate::net::{self, Address, Reach, Stopper};
use crate::store::{Clock, Store};

/// Descriptors that are no connections: listeners, polls, wakers, standard streams.
const DESCRIPTORS_RESERVED: u64 = 32;

/// A bound server.
#[derive(Debug)]
pub struct Server {
    net: net::Server,
    metrics: Arc<Metrics>,
    http: http::Settings,
    cache: cache::Settings,
    data_addresses: usize,
}

impl Server {
    /// Binds the addresses and reserves the store's memory.
    ///
    /// # Errors
    /// When a setting is [out of its range](Config::validate), an address can't be bound, a core
    /// can't be pinned to, the tokens can't be read, the memory can't be reserved, or is too little
    /// for so many event loops.
    pub fn bind(config: &Config) -> io::Result<Self> {
        config.validate()?;
        let tokens = config.auth_file.as_deref().map(Tokens::load).transpose()?.map(Arc::new);
        let connections_max = config.connections_max.min(descriptors());
        let settings = net::Settings { connections_max, ..config.net() };
        let net = net::Server::bind(&config.listen, config.admin.as_ref(), settings)?;
        if tokens.is_none() {
            warn_if_open(config);
        }
        check_memory(config.memory_bytes_max, net.loops())?;
        let store = Store::new(config.store(net.loops()))?;
        let metrics =
            Metrics { turned_away: net.turned_away(), ..Metrics::new(store, net.counters()) };
        let (http, cache) = (http::Settings { tokens, ..config.http() }, config.cache());
        let metrics = Arc::new(metrics);
        Ok(Self { net, metrics, http, cache, data_addresses: config.listen.len() })
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

    /// Serves until it is told to end.
    ///
    /// # Errors
    /// When a thread can't be started, nobody can be told that the server is ready, or the
    /// operating system refuses to wait for events.
    pub fn run(self) -> io::Result<()> {
        let Self { net, metrics, http, cache, .. } = self;
        let clock = Clock::start();
        let rejection =
            if http.date { || http::rejection(true) } else { || http::rejection(false) };
        net.reject_with(rejection).run(|index| {
            let counters = Arc::clone(&metrics.http[index]);
            let cache = Cache::new(index, clock, cache, Arc::clone(&metrics));
            Protocol::new(cache, http.clone(), counters)
        })
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

fn warn_if_open(config: &Config) {
    for address in config.listen.iter().chain(&config.admin) {
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
