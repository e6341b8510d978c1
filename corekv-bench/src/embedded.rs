//! A corekv server inside the process, for a run without `--uri`.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;

use super::cli::first_line;
use super::error::Error;
use super::target::Target;
use corekv::cli::{self, Failure};
use corekv::net::{Address, Stopper};
use corekv::{Config, Cores, Server};

/// What the names of the server's event-loop threads begin with; the number of the loop follows.
const THREAD_NAME: &str = "corekv-";

/// The number of the event loop that a thread runs, if it is one of a corekv server.
pub fn loop_number(thread_name: &str) -> Option<usize> {
    thread_name.strip_prefix(THREAD_NAME)?.parse().ok()
}

/// The counter of the metrics page that says how many requests each loop has answered.
const REQUESTS_PER_CORE: &str = "corekv_core_requests_total{core=\"";

/// The counters of the metrics page that say how many keys were dropped to make room, and how
/// many because their time was over.
const EVICTED: &str = "corekv_evicted_total ";
const EXPIRED: &str = "corekv_expired_total ";

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
    address: SocketAddr,
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
        let stopper = server.stopper();
        let thread = std::thread::Builder::new()
            .name("server".to_owned())
            .spawn(move || server.run())
            .map_err(failed)?;
        Ok(Self { target, address, stopper, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What it says of itself, or nothing if it doesn't say.
    pub fn tell(&self) -> Told {
        self.metrics().map(|page| parse(&page)).unwrap_or_default()
    }

    fn metrics(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
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

/// The cores are listed in order.
fn parse(page: &str) -> Told {
    let requests = page
        .lines()
        .filter_map(|line| line.strip_prefix(REQUESTS_PER_CORE))
        .filter_map(|rest| rest.split_once("\"} ")?.1.trim().parse().ok());
    let counter = |name: &str| {
        page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
    };
    let removed = counter(EVICTED).zip(counter(EXPIRED));
    Told {
        requests: requests.collect(),
        removed: removed.map(|(evicted, expired)| Removed { evicted, expired }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_page_says_how_many_requests_each_core_answered() {
        let page = "# TYPE corekv_core_requests_total counter\r\n\
                    corekv_core_requests_total{core=\"0\"} 12\n\
                    corekv_core_requests_total{core=\"1\"} 34\n\
                    corekv_evicted_total 5\ncorekv_expired_total 6\n";
        let removed = Some(Removed { evicted: 5, expired: 6 });
        assert_eq!(parse(page), Told { requests: vec![12, 34], removed });
        assert_eq!((loop_number("corekv-12"), loop_number("corekv-bench")), (Some(12), None));
        let server = Embedded::start(&corekv::net::allowed_cores().unwrap()[..1], &[]).unwrap();
        let first = server.tell();
        assert_eq!((first.requests.len(), first.removed), (1, Some(Removed::default())));
        assert!(server.tell().requests > first.requests);
    }
}
