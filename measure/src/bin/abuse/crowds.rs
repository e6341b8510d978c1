//! Many connections at once, none of them well-behaved.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::Outcome;
use crate::client::{Client, Witness, metric};
use crate::server::{Server, mebibytes};

const ATTACKERS: usize = 2_000;
const ATTACK: Duration = Duration::from_secs(15);
const P99_MAX: Duration = Duration::from_millis(10);

/// Connections per source address, so that none runs out of ports.
const CONNECTIONS_PER_SOURCE: usize = 10_000;

/// Connects from one of several loopback addresses, not blocking any more.
pub(crate) fn connect(
    address: SocketAddr,
    number: usize,
    receive_bytes: Option<usize>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    let source = 2 + (number / CONNECTIONS_PER_SOURCE % 200) as u8;
    socket.bind(&SocketAddr::from(([127, 0, 0, source], 0)).into())?;
    socket.connect(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Whether the other end is gone, after reading all that it sent.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 1024];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// Reads as little as can be. Whether the other end is gone.
fn sip(stream: &mut TcpStream) -> bool {
    let mut byte = [0; 1];
    match stream.read(&mut byte) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

pub(crate) fn baseline(path: &str) -> Outcome {
    let server = Server::start(path, &[])?;
    let witness = Witness::start(server.address);
    thread::sleep(Duration::from_secs(5));
    Ok(witness.finish()?.1)
}

/// Keeps attackers at work while a witness measures; one that is thrown out comes back.
fn attack(
    mut server: Server,
    receive_bytes: Option<usize>,
    start: &[u8],
    mut step: impl FnMut(&mut TcpStream) -> bool,
) -> Outcome {
    let connect = |number| -> Result<TcpStream, String> {
        let mut stream = connect(server.address, number, receive_bytes)
            .map_err(|error| format!("an attacker can't connect: {error}"))?;
        let _ = stream.write(start);
        Ok(stream)
    };
    let mut attackers = (0..ATTACKERS).map(connect).collect::<Result<Vec<_>, _>>()?;
    let witness = Witness::start(server.address);
    let end = Instant::now() + ATTACK;
    let mut returned = 0;
    while Instant::now() < end {
        for (number, attacker) in attackers.iter_mut().enumerate() {
            if step(attacker) {
                *attacker = connect(number)?;
                returned += 1;
            }
        }
        thread::sleep(Duration::from_secs(1));
    }
    let (p99, text) = witness.finish()?;
    server.alive()?;
    let resident = mebibytes(server.rss_bytes());
    let timeouts = metric(server.address, "corekv_timeouts_total")?;
    let text = format!(
        "{ATTACKERS} attackers, {timeouts} timed out, {returned} came back; {text}; RSS {resident}"
    );
    if p99 < P99_MAX { Ok(text) } else { Err(text) }
}

pub(crate) fn slow_heads(path: &str) -> Outcome {
    let server = Server::start(path, &[])?;
    attack(server, None, b"GET /x HTTP/1.1\r\nHost: h\r\n", |stream| {
        stream.write(b"A: b\r\n").is_err() || is_closed(stream)
    })
}

pub(crate) fn slow_bodies(path: &str) -> Outcome {
    let server = Server::start(path, &["--body-timeout", "5s", "--min-rate-grace", "5s"])?;
    let head = b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n";
    attack(server, None, head, |stream| stream.write(b"b").is_err() || is_closed(stream))
}

pub(crate) fn slow_reads(path: &str) -> Outcome {
    let server = Server::start(path, &["--idle-timeout", "5s"])?;
    store(server.address, "large", 1 << 20)?;
    let requests = b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n".repeat(8);
    attack(server, Some(4096), &requests, sip)
}

/// Connections that pipeline the metrics, again as soon as they have read them.
pub(crate) fn scrapes(path: &str) -> Outcome {
    const SCRAPERS: usize = 1_000;
    let server = Server::start(path, &[])?;
    let pipeline = [
        b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(8),
        b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
    ]
    .concat();
    let mut scrapers = Vec::new();
    for number in 0..SCRAPERS {
        let mut scraper = connect(server.address, number, None).map_err(|e| e.to_string())?;
        scraper.write_all(&pipeline).map_err(|error| error.to_string())?;
        scrapers.push(scraper);
    }
    let mut bytes = vec![0; 256 << 10];
    let witness = Witness::start(server.address);
    let end = Instant::now() + ATTACK;
    let mut pipelines = 0;
    while Instant::now() < end {
        for scraper in &mut scrapers {
            while let Ok(n @ 1..) = scraper.read(&mut bytes) {
                // The last answer's body, which is like no end of the others.
                if bytes[..n].ends_with(b"ok") {
                    let _ = scraper.write(&pipeline);
                    pipelines += 1;
                }
            }
        }
    }
    let (p99, text) = witness.finish()?;
    let text = format!("{SCRAPERS} scrapers, {} pages; {text}", pipelines * 8);
    if p99 < P99_MAX { Ok(text) } else { Err(text) }
}

pub(crate) fn store(address: SocketAddr, key: &str, bytes: usize) -> Result<(), String> {
    let mut client = Client::connect(address).map_err(|error| error.to_string())?;
    let response = client.put(key, &vec![b'v'; bytes], "").map_err(|error| error.to_string())?;
    if response.status == 201 { Ok(()) } else { Err(format!("PUT: {}", response.status)) }
}

/// Whether the server still answers.
fn answers(address: SocketAddr) -> Result<(), String> {
    let response = Client::connect(address).and_then(|mut client| client.get("healthz"));
    match response {
        Ok(response) if response.status == 200 => Ok(()),
        other => Err(format!("the server does not answer any more: {other:?}")),
    }
}

pub(crate) fn idle(path: &str) -> Outcome {
    const CONNECTIONS: usize = 10_000;
    let server = Server::start(path, &[])?;
    answers(server.address)?;
    let before = server.rss_bytes();
    let mut crowd = Vec::new();
    for number in 0..CONNECTIONS {
        let mut stream = connect(server.address, number, None)
            .map_err(|error| format!("after {number} connections: {error}"))?;
        stream.write_all(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n").map_err(|e| e.to_string())?;
        crowd.push(stream);
    }
    thread::sleep(Duration::from_secs(2));
    let mut answered = 0;
    for stream in &mut crowd {
        let mut bytes = [0; 512];
        answered += usize::from(stream.read(&mut bytes).is_ok_and(|n| n > 0));
    }
    let grown = server.rss_bytes().saturating_sub(before);
    let witness = Witness::start(server.address);
    thread::sleep(Duration::from_secs(5));
    let (_, text) = witness.finish()?;
    if answered < CONNECTIONS {
        return Err(format!("only {answered} of {CONNECTIONS} were answered"));
    }
    let each = grown as usize / CONNECTIONS;
    Ok(format!("{CONNECTIONS} connections, each answered once, {each} B RSS each; {text}"))
}

/// Waits until the server has as few descriptors as before.
fn settle(server: &mut Server, before: usize) -> Result<(), String> {
    server.alive()?;
    answers(server.address)?;
    let end = Instant::now() + Duration::from_secs(10);
    while server.descriptors() > before {
        if Instant::now() > end {
            return Err(format!("{} descriptors, {before} before", server.descriptors()));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

pub(crate) fn connect_and_close(path: &str) -> Outcome {
    const CONNECTIONS: usize = 50_000;
    let mut server = Server::start(path, &[])?;
    // Its last descriptors are opened when it listens already.
    answers(server.address)?;
    let (before, resident) = (server.descriptors(), server.rss_bytes());
    let start = Instant::now();
    for number in 0..CONNECTIONS {
        connect(server.address, number, None).map_err(|e| format!("after {number}: {e}"))?;
    }
    let seconds = start.elapsed().as_secs_f64();
    settle(&mut server, before)?;
    let grown = mebibytes(server.rss_bytes().saturating_sub(resident));
    Ok(format!("{CONNECTIONS} in {seconds:.1} s, no descriptor left over, RSS grew by {grown}"))
}

pub(crate) fn resets(path: &str) -> Outcome {
    const CONNECTIONS: usize = 20_000;
    let mut server = Server::start(path, &[])?;
    store(server.address, "large", 1 << 20)?;
    let before = server.descriptors();
    let requests: [&[u8]; 5] = [
        b"",
        b"GET /x HTTP/1.1\r\nHo",
        b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nabc",
        b"GET /large HTTP/1.1\r\nHost: h\r\n\r\nGET /large HTTP/1.1\r\nHost: h\r\n\r\n",
        b"nonsense\r\n\r\n",
    ];
    let witness = Witness::start(server.address);
    for number in 0..CONNECTIONS {
        let mut stream =
            connect(server.address, number, None).map_err(|e| format!("after {number}: {e}"))?;
        let _ = stream.write(requests[number % requests.len()]);
        if number % 3 == 0 {
            thread::yield_now();
        }
        let socket = Socket::from(stream);
        socket.set_linger(Some(Duration::ZERO)).map_err(|error| error.to_string())?;
    }
    let (_, text) = witness.finish()?;
    settle(&mut server, before)?;
    Ok(format!("{CONNECTIONS} connections reset; {text}"))
}

pub(crate) fn descriptors(path: &str) -> Outcome {
    const LIMIT: u32 = 128;
    const CONNECTIONS: usize = 400;
    let mut server = Server::with_descriptors(path, LIMIT)?;
    let witness = Witness::start(server.address);
    let start = Instant::now();
    let mut waiting = Vec::new();
    for number in 0..CONNECTIONS {
        let mut stream =
            connect(server.address, number, None).map_err(|e| format!("connect: {e}"))?;
        // Whoever was turned away already may be told so by an error.
        let _ = stream.write(b"GET /k HTTP/1.1\r\nHost: h\r\n\r\n");
        waiting.push(stream);
    }
    // Nobody leaves, not even after an answer, so that no place becomes free.
    let (mut served, mut told, mut closed, mut answered) = (0, 0, 0, Vec::new());
    let mut last = start;
    while !waiting.is_empty() && last.elapsed() < Duration::from_secs(3) {
        for mut stream in std::mem::take(&mut waiting) {
            let mut bytes = [0; 512];
            match stream.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    waiting.push(stream);
                    continue;
                }
                Ok(n) if bytes[..n].starts_with(b"HTTP/1.1 503") => told += 1,
                Ok(n) if bytes[..n].starts_with(b"HTTP/1.1 404") => served += 1,
                _ => closed += 1,
            }
            answered.push(stream);
            last = Instant::now();
        }
    }
    let (took, silent) = (last - start, waiting.len());
    let (_, text) = witness.finish()?;
    drop((answered, waiting));
    server.alive()?;
    let freed = Instant::now();
    while answers(server.address).is_err() {
        if freed.elapsed() > Duration::from_secs(10) {
            return Err("does not recover".to_owned());
        }
        thread::sleep(Duration::from_millis(10));
    }
    let counts = format!(
        "ulimit -n {LIMIT}, {CONNECTIONS} connections: {served} served, {told} told 503, {closed} \
         closed without a word, {silent} left waiting; the last answer after {took:.1?}; {text}; \
         new ones are served {:.1?} after they left",
        freed.elapsed()
    );
    if silent + closed > 0 || took > Duration::from_secs(1) { Err(counts) } else { Ok(counts) }
}

pub(crate) fn never_reads(path: &str) -> Outcome {
    const CONNECTIONS: usize = 200;
    let mut server = Server::start(path, &[])?;
    store(server.address, "large", 1 << 20)?;
    store(server.address, "small", 2000)?;
    let before = server.rss_bytes();
    let requests = [
        b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100),
        b"GET /small HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1000),
    ];
    let mut crowd = Vec::new();
    for number in 0..CONNECTIONS {
        let stream = connect(server.address, number, None).map_err(|error| error.to_string())?;
        crowd.push(stream);
    }
    let witness = Witness::start(server.address);
    let mut most = 0;
    for _ in 0..50 {
        for (number, stream) in crowd.iter_mut().enumerate() {
            let _ = stream.write(&requests[number % 2]);
        }
        most = most.max(server.rss_bytes());
        thread::sleep(Duration::from_millis(100));
    }
    let (_, text) = witness.finish()?;
    server.alive()?;
    let grown = mebibytes(most.saturating_sub(before));
    Ok(format!(
        "{CONNECTIONS} connections that pipeline and never read: RSS grew by {grown}; {text}"
    ))
}
