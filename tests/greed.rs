//! What one client may take of the memory that all share: large values that it asks for and does
//! not read, and values that it sends and does not finish.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use testkit::{Client, Server, eventually};

const MIB: usize = 1 << 20;

/// A number that the server shows at /metrics, summed over its labels.
fn metric(client: &mut Client, name: &str) -> u64 {
    let page = client.get("/metrics").line();
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix("corekv_")?.strip_prefix(name)?;
        rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    let values: Vec<f64> = values.collect();
    assert!(!values.is_empty(), "no metric {name}");
    values.iter().sum::<f64>() as u64
}

/// A connection that takes as few bytes as can be while it does not read.
fn small_window(server: &Server) -> Client {
    let address: std::net::SocketAddr = server.address().parse().expect("an address");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.set_recv_buffer_size(4096).expect("SO_RCVBUF");
    socket.connect(&address.into()).expect("a connection");
    Client::from_stream(TcpStream::from(socket))
}

fn ask_for(client: &mut Client, fields: &str, keys: impl IntoIterator<Item = usize>) {
    let requests: String = keys
        .into_iter()
        .map(|key| format!("GET /large{key} HTTP/1.1\r\nHost: t\r\n{fields}\r\n"))
        .collect();
    client.send(requests);
}

#[test]
fn readers_that_do_not_read_evict_nothing_and_refuse_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let tokens = directory.path().join("tokens");
    fs::write(&tokens, "writer\nreader read-only\n").expect("a file");
    let tokens = tokens.to_str().expect("a path");
    let server = Server::start(&["--memory", "64MiB", "--cores", "0", "--auth-file", tokens]);
    let mut writer = server.connect();
    let token = "Authorization: Bearer writer\r\n";
    for n in 0..60 {
        let stored = writer.put_with(&format!("/large{n}"), token, vec![n as u8; MIB]);
        assert_eq!(stored.status, 201);
    }
    for n in 0..1_000 {
        assert_eq!(writer.put_with(&format!("/small{n}"), token, "v").status, 201);
    }
    let mut readers: Vec<Client> = (0..2).map(|_| small_window(&server)).collect();
    for (n, reader) in readers.iter_mut().enumerate() {
        ask_for(reader, "Authorization: Bearer reader\r\n", 30 * n..30 * (n + 1));
    }
    let get = |client: &mut Client, target: &str| {
        client.exchange(format!("GET {target} HTTP/1.1\r\nHost: t\r\n{token}\r\n"))
    };
    eventually("both are answered", || {
        let page = get(&mut writer, "/metrics").line();
        let hits = page.lines().find_map(|line| line.strip_prefix("corekv_hits_total "));
        hits.and_then(|hits| hits.parse::<u64>().ok()).is_some_and(|hits| hits >= 2)
    });
    for n in 0..40 {
        let stored = writer.put_with(&format!("/new{n}"), token, vec![1; MIB / 4]);
        assert_eq!(stored.status, 201, "new{n}");
    }
    for n in 0..1_000 {
        assert_eq!(get(&mut writer, &format!("/small{n}")).status, 200, "small{n} was evicted");
    }
    // What they asked for arrives, as soon as they read.
    for (n, reader) in readers.iter_mut().enumerate() {
        let first = reader.response();
        assert_eq!((first.status, first.body.len()), (200, MIB));
        assert!(first.body.iter().all(|&byte| byte == 30 * n as u8), "the value of another key");
        for _ in 1..30 {
            assert!(matches!(reader.response().status, 200 | 404));
        }
    }
}

/// Replaces a value in pieces, so that several such uploads are under way at once. The status.
fn replace(mut client: Client, key: usize, len: usize) -> u16 {
    client.send(format!("PUT /k{key} HTTP/1.1\r\nHost: t\r\nContent-Length: {len}\r\n\r\n"));
    for _ in 0..len / MIB {
        client.send(vec![100 + key as u8; MIB]);
    }
    client.response().status
}

#[test]
fn uploads_at_the_same_time_lose_no_old_value_together_with_a_507() {
    const CLIENTS: usize = 3;
    let server = Server::start(&["--memory", "64MiB", "--cores", "0"]);
    for round in 0..3 {
        let mut witness = server.connect();
        for key in 0..CLIENTS {
            assert!(witness.put(&format!("/k{key}"), vec![key as u8; 20 * MIB]).status < 300);
        }
        let clients: Vec<_> = (0..CLIENTS).map(|key| (key, server.connect())).collect();
        let threads: Vec<_> = clients
            .into_iter()
            .map(|(key, client)| thread::spawn(move || replace(client, key, 24 * MIB)))
            .collect();
        for (key, thread) in threads.into_iter().enumerate() {
            let status = thread.join().expect("an answer");
            let value = witness.get(&format!("/k{key}"));
            match status {
                // Evicted since, or the new one.
                201 | 204 => assert!(value.status == 404 || value.body[0] == 100 + key as u8),
                507 => {
                    let kept = (value.status, value.body.len()) == (200, 20 * MIB);
                    assert!(kept, "round {round}: 507, and the old value of k{key} is lost");
                }
                status => panic!("status {status}"),
            }
        }
    }
}

#[test]
fn a_connection_pins_one_value_beyond_its_share_however_deep_it_pipelines() {
    let server = Server::start(&["--memory", "64MiB", "--cores", "0"]);
    let mut witness = server.connect();
    for n in 0..40 {
        assert_eq!(witness.put(&format!("/large{n}"), vec![n as u8; MIB]).status, 201);
    }
    assert_eq!(metric(&mut witness, "pinned_bytes"), 0);
    let mut reader = small_window(&server);
    ask_for(&mut reader, "", 0..40);
    eventually("something is pinned", || metric(&mut witness, "pinned_bytes") > 0);
    let pinned = metric(&mut witness, "pinned_bytes") as usize;
    assert!((MIB..MIB + MIB / 2).contains(&pinned), "{pinned} bytes are pinned");
    for n in 0..40 {
        let response = reader.response();
        assert_eq!((response.status, response.body), (200, vec![n as u8; MIB]));
    }
    eventually("nothing is pinned", || metric(&mut witness, "pinned_bytes") == 0);
}

#[test]
fn readers_together_pin_half_of_the_memory_and_the_next_one_has_its_turn() {
    let server = Server::start(&["--memory", "64MiB", "--cores", "0"]);
    let mut witness = server.connect();
    for n in 0..50 {
        assert_eq!(witness.put(&format!("/large{n}"), vec![n as u8; MIB]).status, 201);
    }
    let mut crowd: Vec<Client> = (0..50).map(|_| small_window(&server)).collect();
    for (n, reader) in crowd.iter_mut().enumerate() {
        ask_for(reader, "", [n]);
    }
    eventually("the share is used up", || metric(&mut witness, "pinned_bytes") as usize > 30 * MIB);
    let pinned = metric(&mut witness, "pinned_bytes") as usize;
    assert!(pinned <= 32 * MIB, "{pinned} bytes are pinned");
    // Who writes finds room, small and large.
    for n in 0..100 {
        assert_eq!(witness.put(&format!("/new{n}"), vec![1; MIB / 2]).status, 201, "new{n}");
    }
    // Who reads one of the last values waits until those who don't take theirs are let go.
    for n in 0..20 {
        assert_eq!(witness.put(&format!("/last{n}"), vec![2; MIB]).status, 201, "last{n}");
    }
    let answer = witness.get("/last19");
    assert_eq!((answer.status, answer.body), (200, vec![2; MIB]));
    assert!(metric(&mut witness, "timeouts_total") > 0);
}

#[test]
fn unfinished_uploads_leave_room_for_others() {
    let server = Server::start(&["--memory", "64MiB", "--cores", "0"]);
    let mut witness = server.connect();
    for n in 0..1_000 {
        assert_eq!(witness.put(&format!("/small{n}"), [b'v'; 1_000]).status, 201);
    }
    // Each sends all of its value but the last byte, as far as it is taken.
    let mut crowd: Vec<Client> = (0..16).map(|_| server.connect()).collect();
    for (n, client) in crowd.iter_mut().enumerate() {
        client.send(format!("PUT /u{n} HTTP/1.1\r\nHost: t\r\nContent-Length: {MIB}\r\n\r\n"));
        client.stream.set_nonblocking(true).expect("O_NONBLOCK");
        let _ = client.stream.write(&vec![3; MIB - 1]);
    }
    eventually("the share is used up", || metric(&mut witness, "upload_bytes") as usize > 15 * MIB);
    let held = metric(&mut witness, "upload_bytes") as usize;
    assert!(held <= 17 * MIB + MIB / 2, "{held} bytes are held for uploads");
    for n in 0..1_000 {
        assert_eq!(witness.get(&format!("/small{n}")).status, 200, "small{n} was evicted");
    }
    for n in 0..40 {
        assert_eq!(witness.put(&format!("/new{n}"), vec![1; 60_000]).status, 201, "new{n}");
    }
    // One more large value waits until some of those that stand still are let go.
    assert_eq!(server.connect().put("/large", vec![4; 8 * MIB]).status, 201);
    drop(crowd);
    eventually("nothing is held", || metric(&mut witness, "upload_bytes") == 0);
}

/// Sends a few bytes now and then, until the server has had enough.
fn drip(mut client: Client) {
    loop {
        if client.is_answered() || client.stream.write_all(&[5; 2 << 10]).is_err() {
            return;
        }
        // What makes the rate: 8 KiB/s.
        thread::sleep(std::time::Duration::from_millis(250));
    }
}

#[test]
fn uploads_at_little_more_than_the_least_rate_do_not_keep_others_out() {
    let server = Server::start(&["--memory", "64MiB", "--cores", "0"]);
    let mut witness = server.connect();
    for n in 0..1_000 {
        assert_eq!(witness.put(&format!("/small{n}"), [b'v'; 1_000]).status, 201);
    }
    let mut crowd: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    for (n, client) in crowd.iter_mut().enumerate() {
        let length = 8 * MIB;
        client.send(format!("PUT /u{n} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n"));
    }
    eventually("the share is used up", || metric(&mut witness, "upload_bytes") as usize > 16 * MIB);
    let threads: Vec<_> =
        crowd.into_iter().map(|client| thread::spawn(move || drip(client))).collect();
    // Whoever sends as fast as can be has a turn before its patience is over, and small values
    // were not in the way.
    assert_eq!(server.connect().put("/large", vec![4; 8 * MIB]).status, 201);
    assert_eq!(witness.get("/large").body.len(), 8 * MIB);
    for n in 0..1_000 {
        assert_eq!(witness.get(&format!("/small{n}")).status, 200, "small{n} was evicted");
    }
    assert!(metric(&mut witness, "timeouts_total") > 0, "they made room");
    drop((witness, server));
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

#[test]
fn a_slow_upload_goes_on_as_long_as_nobody_waits() {
    let server = Server::start(&["--memory", "64MiB", "--cores", "0"]);
    let mut slow = server.connect();
    slow.send(format!("PUT /slow HTTP/1.1\r\nHost: t\r\nContent-Length: {MIB}\r\n\r\n"));
    // Longer than it would have if others waited, at a thousandth of the pace.
    for _ in 0..30 {
        slow.send([6; 1 << 10]);
        thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(!slow.is_answered());
    slow.send(vec![6; MIB - (30 << 10)]);
    assert_eq!(slow.response().status, 201);
}

#[test]
fn a_get_whose_body_comes_in_pieces_waits_for_its_turn() {
    let server = Server::start(&["--memory", "64MiB", "--cores", "0"]);
    let mut witness = server.connect();
    for n in 0..50 {
        assert_eq!(witness.put(&format!("/large{n}"), vec![n as u8; MIB]).status, 201);
    }
    let mut crowd: Vec<Client> = (0..33).map(|_| small_window(&server)).collect();
    for (n, reader) in crowd.iter_mut().enumerate() {
        ask_for(reader, "", [n]);
    }
    eventually("the share is used up", || metric(&mut witness, "pinned_bytes") as usize > 30 * MIB);
    let mut late: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    late[0].send("GET /large49 HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n");
    late[1].send("GET /large48 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(witness.get("/healthz").status, 200);
    // What follows it in the pipeline is answered after it.
    late[0].send("12345GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n");
    late[1].send("5\r\n12345\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(witness.get("/healthz").status, 200);
    assert!(late.iter().all(|client| !client.is_answered()), "there is no room for them yet");
    drop(crowd);
    for (client, n) in late.iter_mut().zip([49, 48]) {
        let answer = client.response();
        assert_eq!((answer.status, answer.body), (200, vec![n; MIB]));
        assert_eq!(client.response().line(), "ok");
    }
}

/// Raises this process's limit on descriptors, which the server inherits. How many connections can
/// then be open at once.
fn descriptors_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Where it is refused the old limit holds, and fewer connections are tried.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(current).unwrap_or(usize::MAX).saturating_sub(500)
}

/// The total of what is held for connections, and what the allocator may add to it.
const HELD_MAX: usize = 64 * MIB;
const ALLOCATOR_MAX: usize = 24 * MIB;

/// A connection with so many bytes of a head that does not end, as far as they are taken.
fn unfinished(server: &Server, bytes: usize) -> Client {
    let mut client = server.connect();
    let mut head = b"GET /k HTTP/1.1\r\nHost: t\r\nX: ".to_vec();
    head.resize(bytes, b'x');
    // A part at a time, so that the head is not refused for the rest of it.
    for part in head.chunks(64 << 10) {
        if client.stream.write_all(part).is_err() {
            break;
        }
    }
    client
}

fn hold_heads(count: usize, bytes: usize, flags: &[&str]) {
    let server = Server::start(&[&["--cores", "0", "--header-timeout", "60s"], flags].concat());
    let mut witness = server.connect();
    assert_eq!(witness.put("/k", "v").status, 201);
    let before = server.rss_bytes() as usize;
    let count = count.min(descriptors_max());
    let mut crowd = Vec::new();
    while crowd.len() < count {
        crowd.extend((0..50).map(|_| unfinished(&server, bytes)));
        assert_eq!(witness.get("/k").line(), "v");
        let (held, grown) =
            (metric(&mut witness, "held_bytes") as usize, server.rss_bytes() as usize - before);
        assert!(held <= HELD_MAX, "{held} bytes are held");
        assert!(grown <= HELD_MAX + ALLOCATOR_MAX, "grew by {grown} bytes");
    }
    println!(
        "{count} heads of {bytes} bytes: {} held, grown by {}",
        metric(&mut witness, "held_bytes"),
        server.rss_bytes() as usize - before
    );
    // As long as half of it is held, which those who were refused have just made less.
    eventually("a long head is refused", || {
        let mut late = unfinished(&server, 6_000);
        crowd.extend((0..50).map(|_| unfinished(&server, 4_090)));
        let refused = late.is_answered();
        if refused {
            late.response().assert_closing_error(431);
        }
        crowd.push(late);
        refused
    });
    drop(crowd);
    eventually("nothing is held", || metric(&mut witness, "held_bytes") == 0);
    let mut late = unfinished(&server, 6_000);
    assert_eq!(late.exchange("\r\n\r\n").line(), "v", "a long head is welcome again");
}

#[test]
fn unfinished_heads_are_held_within_a_limit() {
    hold_heads(4_000, 16 << 10, &[]);
}

#[test]
fn unfinished_heads_of_a_mebibyte_are_held_within_the_same_limit() {
    hold_heads(400, MIB, &["--header-bytes-max", "1MiB"]);
}

#[test]
fn what_has_come_of_a_small_value_is_in_the_account() {
    const COUNT: usize = 300;
    let server = Server::start(&[]);
    let mut witness = server.connect();
    // Half of a page, and nearly one.
    for bytes in [4_000, 7_900] {
        let begin = |_| {
            let mut client = server.connect();
            client.send("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 8000\r\n\r\n");
            client.send(b"v".repeat(bytes));
            client
        };
        let mut crowd: Vec<Client> = (0..COUNT).map(begin).collect();
        let held = |witness: &mut Client| metric(witness, "held_bytes") as usize;
        eventually("what has come is held", || held(&mut witness) >= COUNT * bytes);
        assert_eq!(metric(&mut witness, "upload_bytes"), 0, "and not twice");
        crowd[0].send(b"v".repeat(8_000 - bytes));
        assert!(crowd[0].response().status < 300);
        drop(crowd);
        eventually("nothing is held", || held(&mut witness) == 0);
    }
}

#[test]
fn those_that_have_waited_longest_make_room_for_the_others() {
    let count = descriptors_max().min(12_000);
    if count < 12_000 {
        println!("skipped: the limit on descriptors is too low");
        return;
    }
    let server = Server::start(&["--cores", "0", "--header-timeout", "60s"]);
    let mut witness = server.connect();
    assert_eq!(witness.put("/k", vec![b'v'; 4_000]).status, 201);
    let before = server.rss_bytes() as usize;
    // Responses that nobody reads take the first half, short heads the second.
    let mut readers: Vec<Client> = (0..500).map(|_| small_window(&server)).collect();
    for reader in &mut readers {
        reader.stream.set_nonblocking(true).expect("O_NONBLOCK");
        let _ = reader.stream.write(&b"GET /k HTTP/1.1\r\nHost: t\r\n\r\n".repeat(100));
    }
    eventually("half is held", || metric(&mut witness, "held_bytes") as usize > HELD_MAX / 2);
    let mut heads = Vec::new();
    for _ in 0..(count - 500) / 100 {
        heads.extend((0..100).map(|_| unfinished(&server, 4_090)));
        let (held, grown) =
            (metric(&mut witness, "held_bytes") as usize, server.rss_bytes() as usize - before);
        assert!(held <= HELD_MAX, "{held} bytes are held");
        assert!(grown <= HELD_MAX + ALLOCATOR_MAX, "grew by {grown} bytes");
    }
    let held = metric(&mut witness, "held_bytes");
    assert!(metric(&mut witness, "connections_shed_total") > 0, "{held} bytes are held");
    assert_eq!(heads.last_mut().expect("one").exchange("\r\n\r\n").body.len(), 4_000);
    let gone = |reader: &mut Client| {
        let end = reader.stream.read_to_end(&mut Vec::new());
        end.map_or_else(|error| error.kind() != ErrorKind::WouldBlock, |_| true)
    };
    assert!(readers.iter_mut().any(gone), "somebody who came before the heads was closed");
    let newest = heads.len() - 1_000..;
    assert!(heads[newest].iter().all(|head| !head.is_answered()), "and none of the last ones");
}

#[test]
fn an_idle_connection_holds_no_buffer_after_its_responses_have_waited() {
    let server = Server::start(&[]);
    let (mut witness, mut client) = (server.connect(), server.connect());
    client.send(format!("PUT /k HTTP/1.1\r\nHost: h\r\nContent-Length: 4000\r\n\r\n{:4000}", ""));
    assert_eq!(client.response().status, 201);
    // More than one look's output.
    let count = 100;
    client.send("GET /k HTTP/1.1\r\nHost: h\r\n\r\n".repeat(count));
    for _ in 0..count {
        assert_eq!(client.response().status, 200);
    }
    eventually("nothing is held", || metric(&mut witness, "held_bytes") == 0);
}
