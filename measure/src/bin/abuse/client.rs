//! A plain client, and one that measures how it is served meanwhile.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use testkit::{Response, put_request};

#[derive(Debug)]
pub(crate) struct Client {
    connection: testkit::Client,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        let connection = testkit::Client::from_stream(stream);
        connection.stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        connection.stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { connection })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.connection.stream
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connection.stream.write_all(bytes)
    }

    pub(crate) fn receive(&mut self) -> io::Result<Response> {
        self.connection.try_response()
    }

    pub(crate) fn get(&mut self, key: &str) -> io::Result<Response> {
        self.connection.try_exchange(format!("GET /{key} HTTP/1.1\r\nHost: h\r\n\r\n"))
    }

    pub(crate) fn put(&mut self, key: &str, value: &[u8], field: &str) -> io::Result<Response> {
        self.connection.try_exchange(put_request(&format!("/{key}"), field, value))
    }
}

/// How often the witness asks.
const INTERVAL: Duration = Duration::from_millis(2);

/// A client of good manners that writes and reads at a fixed pace, in a thread of its own.
///
/// A request's time counts from when it was due: one that waits behind a stall counts the stall,
/// too, as it would for clients that do not wait for each other.
#[derive(Debug)]
pub(crate) struct Witness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Vec<(Duration, Duration)>>>,
}

impl Witness {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        // Before whoever comes after it.
        let client = Client::connect(address);
        let thread = thread::spawn(move || {
            let mut client = client?;
            let mut times = Vec::new();
            let start = Instant::now();
            for round in 0u32.. {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                let due = start + INTERVAL * round;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let (key, value) =
                    (format!("witness-{}", round / 2 % 100), (round / 2).to_string());
                if round % 2 == 0 {
                    client.put(&key, value.as_bytes(), "")?;
                } else if client.get(&key)?.body != value.as_bytes() {
                    return Err(io::Error::other("a wrong value was read"));
                }
                times.push((due.elapsed(), due - start));
            }
            Ok(times)
        });
        Self { stop, thread }
    }

    /// The 99th percentile and what to print of the times.
    pub(crate) fn finish(self) -> Result<(Duration, String), String> {
        self.stop.store(true, Ordering::Relaxed);
        let times = self.thread.join().map_err(|_| "the witness panicked")?;
        let mut times = times.map_err(|error| format!("the witness was not served: {error}"))?;
        times.sort_unstable();
        if times.is_empty() {
            return Err("the witness got no answer".to_owned());
        }
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let (slowest, when) = at(1.0);
        let text = format!(
            "{} requests, p50 {:.0?}, p99 {:.1?}, p99.9 {:.1?}, slowest {slowest:.1?} at {when:.1?}",
            times.len(),
            at(0.5).0,
            at(0.99).0,
            at(0.999).0,
        );
        Ok((at(0.99).0, text))
    }
}

/// A number that the server shows at /metrics, summed over its labels.
pub(crate) fn metric(address: SocketAddr, name: &str) -> Result<u64, String> {
    let page = Client::connect(address).and_then(|mut client| client.get("metrics"));
    let page = page.map_err(|error| format!("no metrics: {error}"))?.body;
    let page = String::from_utf8_lossy(&page);
    let values = page
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
    let values: Vec<u64> =
        values.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    if values.is_empty() { Err(format!("no metric {name}")) } else { Ok(values.iter().sum()) }
}
