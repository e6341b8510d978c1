//! A corekv server inside the process, for a run without `--uri`.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::error::{Error, first_line};
use super::target::Target;
use corekv::cache::Metrics;
use corekv::cli::{self, Failure};
use corekv::net::{Address, Stopper};
use corekv::{Config, Cores, Server};

/// What the names of the server's event-loop threads begin with; the number of the loop follows.
const THREAD_NAME: &str = "corekv-";

/// The number of the event loop that a thread runs, if it is one of a corekv server.
pub fn loop_number(thread_name: &str) -> Option<usize> {
    thread_name.strip_prefix(THREAD_NAME)?.parse().ok()
}

/// What a server says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Requests that each event loop has answered.
    pub requests: Vec<u64>,
    /// Keys that the server has dropped by itself.
    pub removed: Option<Removed>,
}

/// Keys that the server dropped by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// To make room.
    pub evicted: u64,
    /// Because their time to live was over.
    pub expired: u64,
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Embedded {
    target: Target,
    metrics: Arc<Metrics>,
    stopper: Stopper,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Embedded {
    /// Starts a server with these arguments on a free port of the loopback interface, and on
    /// these cores unless the arguments name others.
    pub fn start(cores: &[usize], arguments: &[OsString]) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::failed(format!("cannot start a server: {error}"));
        let config = configure(cores, arguments)?;
        let server = Server::bind(&config).map_err(failed)?;
        let Some(Address::Tcp(address)) = server.local_addrs().into_iter().next() else {
            return Err(Error::failed("cannot start a server: it has no address"));
        };
        let target = Target::parse(&format!("http://{address}"))?;
        let (metrics, stopper) = (server.metrics(), server.stopper());
        let thread = std::thread::Builder::new()
            .name("server".to_owned())
            .spawn(move || server.run())
            .map_err(failed)?;
        Ok(Self { target, metrics, stopper, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What it says of itself.
    pub fn tell(&self) -> Told {
        let mut removed = Removed::default();
        for partition in self.metrics.statistics() {
            removed.evicted += partition.evicted;
            removed.expired += partition.expired;
        }
        Told { requests: self.metrics.requests(), removed: Some(removed) }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // The measurement is over; how its server ended is of no interest any more.
            let _ = thread.join();
        }
    }
}

fn configure(cores: &[usize], arguments: &[OsString]) -> Result<Config, Error> {
    let listen = vec![Address::Tcp(([127, 0, 0, 1], 0).into())];
    let here = Cores::List(cores.to_vec());
    if arguments.is_empty() {
        return Ok(Config { listen, cores: here, ..Config::default() });
    }
    let words = std::iter::once(OsString::from("corekv")).chain(arguments.iter().cloned());
    let chosen = cli::parse_options(words).map_err(|failure| {
        let text = match failure {
            Failure::Help(help) => help.to_string(),
            Failure::Wrong(text) => text,
        };
        Error::usage(format!("after --: {}", first_line(&text)))
    })?;
    let config = chosen.config();
    config
        .validate()
        .map_err(|invalid| Error::usage(format!("after --: {}", chosen.explain(&invalid))))?;
    let cores = if config.cores == Cores::Auto { here } else { config.cores };
    // The interrupt is the load generator's.
    Ok(Config { listen, cores, signals: false, ..config })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::target::Endpoint;

    #[test]
    fn the_server_counts_the_requests_of_each_loop() {
        assert_eq!((loop_number("corekv-12"), loop_number("corekv-bench")), (Some(12), None));
        let server = Embedded::start(&corekv::net::allowed_cores().unwrap()[..1], &[]).unwrap();
        let first = server.tell();
        assert_eq!((first.requests, first.removed), (vec![0], Some(Removed::default())));
        let endpoint = server.target().resolve().unwrap().remove(0);
        let Endpoint::Tcp(address) = endpoint else { panic!("it listens on TCP") };
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        // A loop closes a connection when it has counted its last request.
        stream.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(server.tell().requests, [1]);
    }
}
