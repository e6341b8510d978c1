//! What must not be lost, mixed up or kept for too long.

use std::fs;
use std::net::Shutdown;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testkit::Numbers;

use crate::Outcome;
use crate::client::Client;
use crate::server::{Server, mebibytes};

/// The value of a key, from which it can be told that the key is the right one.
fn value(key: u64, bytes: usize) -> Vec<u8> {
    format!("{key},").bytes().cycle().take(bytes).collect()
}

/// Far more than fits, of all sizes.
pub(crate) fn memory(path: &str) -> Outcome {
    const MEMORY: u64 = 32 << 20;
    let mut server = Server::start(path, &["--memory", "32MiB"])?;
    let before = server.rss_bytes();
    let mut client = Client::connect(server.address).map_err(|error| error.to_string())?;
    let mut random = Numbers::new(7);
    let (mut written, mut full, mut hits, mut misses, mut bytes, mut most) = (0, 0, 0, 0, 0u64, 0);
    let end = Instant::now() + Duration::from_secs(15);
    while Instant::now() < end {
        let key = random.below(20_000);
        let size = 1 << random.below(21);
        let size = size + random.below(size);
        let data = value(key, size as usize);
        let response = client.put(&key.to_string(), &data, "").map_err(|e| format!("PUT: {e}"))?;
        match response.status {
            201 | 204 => written += 1,
            507 => full += 1,
            status => return Err(format!("PUT of {size} bytes: {status}")),
        }
        bytes += size;
        let key = random.below(20_000);
        let response = client.get(&key.to_string()).map_err(|e| format!("GET: {e}"))?;
        match response.status {
            200 if response.body == value(key, response.body.len()) => hits += 1,
            404 => misses += 1,
            status => return Err(format!("GET {key}: {status}, or another key's value")),
        }
        most = most.max(server.rss_bytes());
    }
    server.alive()?;
    let text = format!(
        "{} written into 32 MiB: {written} stored, {full} answered 507; {hits} hits, all right, \
         {misses} misses; RSS at most {}, {} at start",
        mebibytes(bytes),
        mebibytes(most),
        mebibytes(before)
    );
    // The rest of the process, and one value on its way in and out.
    if most < before + MEMORY + (16 << 20) { Ok(text) } else { Err(text) }
}

/// Connections killed at random moments: what was acknowledged is there.
pub(crate) fn kills(path: &str) -> Outcome {
    const WRITERS: u64 = 4;
    const TIME: Duration = Duration::from_secs(60);
    let mut server = Server::start(path, &[])?;
    let address = server.address;
    let (writes, kills) = (AtomicU64::new(0), AtomicU64::new(0));
    let writer = |number: u64| -> Result<(), String> {
        let mut random = Numbers::new(number + 1);
        let mut sent = [0u64; 16];
        let mut acknowledged = [0u64; 16];
        let end = Instant::now() + TIME;
        while Instant::now() < end {
            let mut client = Client::connect(address).map_err(|e| format!("connect: {e}"))?;
            // Only this writer writes these keys: a value lies between the last one that was
            // acknowledged and the last one that was sent.
            for key in 0..16u64 {
                let at = key as usize;
                let response =
                    client.get(&format!("{number}-{key}")).map_err(|e| format!("read: {e}"))?;
                let text = String::from_utf8_lossy(&response.body).into_owned();
                let found = text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
                if !(acknowledged[at]..=sent[at]).contains(&found) {
                    return Err(format!(
                        "{number}-{key} is {found}, {} was acknowledged and {} sent last",
                        acknowledged[at], sent[at]
                    ));
                }
                acknowledged[at] = found;
            }
            // A pipeline of writes, of which some answers are read before the end.
            let count = 1 + random.below(64);
            let mut bytes = Vec::new();
            let mut order = Vec::new();
            for _ in 0..count {
                let key = random.below(16);
                sent[key as usize] += 1;
                let mut body = format!("{} ", sent[key as usize]).into_bytes();
                body.resize(body.len() + random.below(20_000) as usize, b'x');
                let length = body.len();
                bytes.extend(
                    format!("PUT /{number}-{key} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n")
                        .bytes(),
                );
                bytes.extend(body);
                order.push((key as usize, sent[key as usize]));
            }
            let cut = random.below(bytes.len() as u64 + 1) as usize;
            if client.send(&bytes[..cut]).is_err() {
                continue;
            }
            for &(key, version) in order.iter().take(random.below(count + 1) as usize) {
                let _ = client.stream().set_read_timeout(Some(Duration::from_millis(20)));
                let Ok(response) = client.receive() else { break };
                if !matches!(response.status, 201 | 204) {
                    return Err(format!("a write was answered {}", response.status));
                }
                acknowledged[key] = acknowledged[key].max(version);
                writes.fetch_add(1, Ordering::Relaxed);
            }
            if random.below(2) == 0 {
                let socket = socket2::SockRef::from(client.stream());
                let _ = socket.set_linger(Some(Duration::ZERO));
            } else {
                let _ = client.stream().shutdown(Shutdown::Both);
            }
            drop(client);
            kills.fetch_add(1, Ordering::Relaxed);
            // The rest of what was received before the end may still be carried out.
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|n| scope.spawn(move || writer(n))).collect();
        writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| "a writer panicked")?)
    })?;
    server.alive()?;
    Ok(format!(
        "{TIME:.0?}, {} connections killed, {} writes acknowledged, none lost",
        kills.into_inner(),
        writes.into_inner()
    ))
}

/// Debian's libfaketime.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// The wall clock is set back and forth: lives go on as before, and Date follows.
pub(crate) fn clock(path: &str) -> Outcome {
    if !Path::new(FAKETIME).exists() {
        return Ok("skipped, libfaketime is not installed".to_owned());
    }
    let file = std::env::temp_dir().join(format!("abuse-clock-{}", std::process::id()));
    let set = |offset: &str| fs::write(&file, offset).map_err(|error| error.to_string());
    set("+0")?;
    let server = Server::spawn(
        Command::new(path)
            .env("LD_PRELOAD", FAKETIME)
            .env("FAKETIME_TIMESTAMP_FILE", &file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    )?;
    let run = || -> Result<String, String> {
        let mut client = Client::connect(server.address).map_err(|error| error.to_string())?;
        let start = Instant::now();
        for (key, age) in [("short", 4), ("long", 3600)] {
            let field = format!("Cache-Control: max-age={age}\r\n");
            client.put(key, b"v", &field).map_err(|error| error.to_string())?;
        }
        let mut dates = Vec::new();
        for offset in ["+0", "+10d", "-10d", "+3650d", "+0"] {
            set(offset)?;
            thread::sleep(Duration::from_millis(400));
            for key in ["short", "long"] {
                let response = client.get(key).map_err(|error| error.to_string())?;
                if response.status != 200 {
                    return Err(format!("{key} is {} at {offset}", response.status));
                }
                if key == "long" {
                    dates.push(format!("{offset} {}", response.field("Date").unwrap_or("-")));
                }
            }
        }
        set("-10d")?;
        thread::sleep(Duration::from_millis(5200).saturating_sub(start.elapsed()));
        let short = client.get("short").map_err(|error| error.to_string())?.status;
        let long = client.get("long").map_err(|error| error.to_string())?.status;
        if (short, long) != (404, 200) {
            return Err(format!("after 5.2 s the short life is {short}, the long one {long}"));
        }
        Ok(format!("nothing expired early or was revived; {}", dates.join(", ")))
    };
    let outcome = run();
    let _ = fs::remove_file(&file);
    outcome
}
