//! What a client can make the server do for its money: processor time by kind of request.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use crate::Outcome;
use crate::server::Server;

/// Bytes of requests sent per kind, about.
const SENT_BYTES: usize = 16 << 20;

/// Requests sent per kind at most.
const REQUESTS_MAX: usize = 50_000;

/// What every answer starts with, and nothing else that the server sends here contains.
const START: &[u8] = b"HTTP/1.1 ";

/// Requests by name, and how many answers each has.
fn kinds() -> Vec<(&'static str, String, usize)> {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    let bare = |line: &str| format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n");
    let chunked = |chunks: &str| {
        format!("PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    };
    let fields: String = (0..90).fold(String::new(), |mut fields, n| {
        let _ = write!(fields, "X-{n}: {n}\r\n");
        fields
    });
    // More than the parser remembers, so that each is parsed in full.
    let strange = (0..8).map(|n| format!("GET /k HTTP/1.1\r\nHost: h\r\nY: {n}\r\n{fields}\r\n"));
    let continued =
        "PUT /e HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nv";
    vec![
        ("GET, a miss", get("/absent"), 1),
        ("GET, 1,000 bytes of key", get(&format!("/{}", "k".repeat(1000))), 1),
        ("GET, the same with escapes", get(&format!("/{}", "%6B".repeat(1000))), 1),
        ("GET, a key too long", get(&format!("/{}", "k".repeat(8000))), 1),
        ("GET, 90 fields", format!("GET /k HTTP/1.1\r\nHost: h\r\n{fields}\r\n"), 1),
        ("8 GETs, 90 fields, all different", strange.collect(), 8),
        ("DELETE, a miss", bare("DELETE /absent"), 1),
        ("OPTIONS *", bare("OPTIONS *"), 1),
        ("an unknown method", bare("FROB /k"), 1),
        ("PUT of 1 byte, chunked", chunked("1\r\nv\r\n"), 1),
        ("PUT of 1,000 chunks of 1 byte", chunked(&"1\r\nv\r\n".repeat(1000)), 1),
        (
            "PUT with 1,000 bytes of extension",
            chunked(&format!("1{}\r\nv\r\n", ";e=f".repeat(250))),
            1,
        ),
        ("PUT with Expect", continued.to_owned(), 2),
        ("GET /size", get("/size"), 1),
        ("GET /metrics", get("/metrics"), 1),
        ("HEAD /metrics", bare("HEAD /metrics"), 1),
    ]
}

pub(crate) fn prices(path: &str) -> Outcome {
    let server = Server::start(path, &["--cores", "0"])?;
    let mut table = String::from("processor time of the event loop");
    for (name, request, answers) in kinds() {
        let count = (SENT_BYTES / request.len()).min(REQUESTS_MAX);
        let before = server.loop_nanos();
        converse(server.address, request.as_bytes(), count, count * answers)
            .map_err(|error| format!("{name}: {error}"))?;
        let nanos = (server.loop_nanos() - before) / count as u64;
        let per_byte = nanos as f64 / request.len() as f64;
        let _ = write!(table, "\n  {name:<34} {nanos:>8} ns a request {per_byte:>7.1} ns a byte");
    }
    let before = server.loop_nanos();
    const CONNECTIONS: u64 = 5_000;
    for _ in 0..CONNECTIONS {
        drop(TcpStream::connect(server.address).map_err(|error| error.to_string())?);
    }
    let nanos = (server.loop_nanos() - before) / CONNECTIONS;
    let _ = write!(table, "\n  {:<34} {nanos:>8} ns", "a connection that says nothing");
    Ok(table)
}

/// Sends requests in a row, and reads until that many answers have come.
fn converse(
    address: SocketAddr,
    request: &[u8],
    requests: usize,
    answers: usize,
) -> io::Result<()> {
    let stream = TcpStream::connect(address)?;
    let mut writer = stream.try_clone()?;
    let pipeline = request.repeat((64 << 10) / request.len() + 1);
    let bytes = request.len() * requests;
    let sender = thread::spawn(move || {
        let mut left = bytes;
        while left > 0 {
            let n = left.min(pipeline.len());
            writer.write_all(&pipeline[..n])?;
            left -= n;
        }
        Ok(())
    });
    count(stream, answers)?;
    sender.join().unwrap_or_else(|_| Err(io::Error::other("the sender panicked")))
}

fn count(mut stream: TcpStream, answers: usize) -> io::Result<()> {
    let mut bytes = vec![0; 256 << 10];
    let (mut kept, mut found) = (0, 0);
    while found < answers {
        let n = stream.read(&mut bytes[kept..])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = kept + n;
        found += bytes[..end].windows(START.len()).filter(|window| *window == START).count();
        // The start of one may be cut in two.
        kept = end.min(START.len() - 1);
        bytes.copy_within(end - kept..end, 0);
    }
    Ok(())
}

impl Server {
    /// Processor time that the event loops have used, in nanoseconds (the first number of a
    /// thread's schedstat, proc(5)).
    fn loop_nanos(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid()));
        let nanos = |task: io::Result<fs::DirEntry>| -> Option<u64> {
            let task = task.ok()?.path();
            let name = fs::read_to_string(task.join("comm")).ok()?;
            name.strip_prefix("corekv-")?;
            let times = fs::read_to_string(task.join("schedstat")).ok()?;
            times.split(' ').next()?.parse().ok()
        };
        tasks.map_or(0, |tasks| tasks.filter_map(nanos).sum())
    }
}
