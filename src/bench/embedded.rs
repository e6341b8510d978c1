//! A corekv server inside the process, for a run without `--uri`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;

use super::error::Error;
use super::target::Target;
use crate::net::{Address, Stopper};
use crate::{Config, Cores, Server};

/// What the names of the server's event-loop threads begin with; the number of the loop follows.
const THREAD_NAME: &str = "corekv-";

/// The number of the event loop that a thread runs, if it is one of a corekv server.
pub fn loop_number(thread_name: &str) -> Option<usize> {
    thread_name.strip_prefix(THREAD_NAME)?.parse().ok()
}

/// The counter of the metrics page that says how many requests each loop has answered.
const REQUESTS_PER_CORE: &str = "corekv_core_requests_total{core=\"";

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Embedded {
    target: Target,
    address: SocketAddr,
    stopper: Stopper,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Embedded {
    /// Starts a server on these cores, on a free port of the loopback interface.
    pub fn start(cores: &[usize]) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::failed(format!("cannot start a server: {error}"));
        let config = Config {
            listen: vec![Address::Tcp(([127, 0, 0, 1], 0).into())],
            cores: Cores::List(cores.to_vec()),
            ..Config::default()
        };
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

    /// How many requests each event loop has answered, or nothing if the server doesn't say.
    pub fn requests_per_core(&self) -> Vec<u64> {
        self.metrics().map(|page| parse_requests(&page)).unwrap_or_default()
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

/// The cores are listed in order.
fn parse_requests(page: &str) -> Vec<u64> {
    page.lines()
        .filter_map(|line| line.strip_prefix(REQUESTS_PER_CORE))
        .filter_map(|rest| rest.split_once("\"} ")?.1.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_page_says_how_many_requests_each_core_answered() {
        let page = "# TYPE corekv_core_requests_total counter\r\n\
                    corekv_core_requests_total{core=\"0\"} 12\n\
                    corekv_core_requests_total{core=\"1\"} 34\n";
        assert_eq!(parse_requests(page), [12, 34]);
        assert_eq!((loop_number("corekv-12"), loop_number("corekv-bench")), (Some(12), None));
        let server = Embedded::start(&super::super::cpu::available_cores()[..1]).unwrap();
        let first = server.requests_per_core();
        assert_eq!(first.len(), 1);
        assert!(server.requests_per_core() > first);
    }
}
