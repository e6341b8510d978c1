//! A plain client, and one that measures how it is served meanwhile.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) date: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream().write_all(bytes)
    }

    pub(crate) fn receive(&mut self) -> io::Result<Response> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let status = line.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (mut length, mut date) = (0, String::new());
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name {
                "Content-Length" => length = value.parse().map_err(io::Error::other)?,
                "Date" => value.clone_into(&mut date),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok(Response { status, date, body })
    }

    pub(crate) fn get(&mut self, key: &str) -> io::Result<Response> {
        self.send(format!("GET /{key} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())?;
        self.receive()
    }

    pub(crate) fn put(&mut self, key: &str, value: &[u8], field: &str) -> io::Result<Response> {
        let length = value.len();
        let head =
            format!("PUT /{key} HTTP/1.1\r\nHost: h\r\n{field}Content-Length: {length}\r\n\r\n");
        self.send(&[head.as_bytes(), value].concat())?;
        self.receive()
    }
}

/// A client of good manners that reads and writes all the time, in a thread of its own.
#[derive(Debug)]
pub(crate) struct Witness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Vec<Duration>>>,
}

impl Witness {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut client = Client::connect(address)?;
            let mut times = Vec::new();
            for round in 0u64.. {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                let (key, value) = (format!("witness-{}", round % 100), round.to_string());
                let start = Instant::now();
                client.put(&key, value.as_bytes(), "")?;
                times.push(start.elapsed());
                let start = Instant::now();
                let response = client.get(&key)?;
                times.push(start.elapsed());
                if response.body != value.as_bytes() {
                    return Err(io::Error::other("a wrong value was read"));
                }
                thread::sleep(Duration::from_millis(1));
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
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let text = format!(
            "{} requests, p50 {:.0?}, p99 {:.0?}, slowest {:.1?}",
            times.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        );
        Ok((at(0.99), text))
    }
}
