//! One client that takes of the memory that all share.

use std::io::Write;
use std::thread;
use std::time::Duration;

use crate::Outcome;
use crate::client::{Client, Witness, metric};
use crate::crowds::{connect, store};
use crate::server::{Server, mebibytes};

/// Two connections that ask for most of what is stored and don't read, while others write.
pub(crate) fn greedy_readers(path: &str) -> Outcome {
    const SMALL: usize = 1_000;
    let mut server = Server::start(path, &["--memory", "64MiB"])?;
    for number in 0..60 {
        store(server.address, &format!("large{number}"), 1 << 20)?;
    }
    let mut client = Client::connect(server.address).map_err(|error| error.to_string())?;
    for number in 0..SMALL {
        client.put(&format!("small{number}"), b"v", "").map_err(|error| error.to_string())?;
    }
    let mut readers = Vec::new();
    for number in 0..2 {
        let request = |key| format!("GET /large{key} HTTP/1.1\r\nHost: h\r\n\r\n");
        let requests: String = (30 * number..30 * (number + 1)).map(request).collect();
        let mut reader = connect(server.address, number, Some(4096)).map_err(|e| e.to_string())?;
        reader.write_all(requests.as_bytes()).map_err(|error| error.to_string())?;
        readers.push(reader);
    }
    thread::sleep(Duration::from_millis(200));
    let pinned = metric(server.address, "corekv_pinned_bytes")?;
    let witness = Witness::start(server.address);
    let mut full = 0;
    for number in 0..100 {
        let stored = client.put(&format!("new{number}"), &[b'v'; 256 << 10], "");
        full += usize::from(stored.map_err(|error| error.to_string())?.status == 507);
    }
    let (_, text) = witness.finish()?;
    let mut kept = 0;
    for number in 0..SMALL {
        let found = client.get(&format!("small{number}")).map_err(|error| error.to_string())?;
        kept += usize::from(found.status == 200);
    }
    server.alive()?;
    let text = format!(
        "{} pinned; of 100 writes {full} answered 507; {kept} of {SMALL} small keys left; {text}",
        mebibytes(pinned)
    );
    if full == 0 && kept > SMALL / 2 { Ok(text) } else { Err(text) }
}

/// Heads that don't end, of the default's length and of the longest that can be set.
pub(crate) fn unfinished_heads(path: &str) -> Outcome {
    let mut texts = Vec::new();
    for (count, bytes, longest) in [(10_000, 16 << 10, "16KiB"), (1_500, 1 << 20, "1MiB")] {
        let flags = ["--header-bytes-max", longest, "--header-timeout", "60s"];
        let mut server = Server::start(path, &flags)?;
        let before = server.rss_bytes();
        let mut head = b"GET /x HTTP/1.1\r\nHost: h\r\nX: ".to_vec();
        head.resize(bytes, b'x');
        let mut crowd = Vec::new();
        for number in 0..count {
            let mut stream = connect(server.address, number, None)
                .map_err(|error| format!("after {number} connections: {error}"))?;
            stream.set_nonblocking(false).map_err(|error| error.to_string())?;
            // Whoever is refused may be told so while it sends.
            let _ = stream.write_all(&head);
            crowd.push(stream);
        }
        let witness = Witness::start(server.address);
        thread::sleep(Duration::from_secs(2));
        let (_, text) = witness.finish()?;
        server.alive()?;
        let held = metric(server.address, "corekv_held_bytes")?;
        let grown = server.rss_bytes().saturating_sub(before);
        let text = format!(
            "{count} heads of {longest}: {} held, RSS grew by {}; {text}",
            mebibytes(held),
            mebibytes(grown)
        );
        if held > 64 << 20 || grown > 128 << 20 {
            return Err(text);
        }
        texts.push(text);
    }
    Ok(texts.join("; "))
}
