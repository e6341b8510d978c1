//! Pipelines of any depth, and clients that do not behave: slow readers, endless senders, resets.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;
use testkit::{Client, Numbers, Server, eventually};

const MIB: usize = 1024 * 1024;

/// Sends in a thread, so that the test can read meanwhile.
fn send_aside(client: &Client, bytes: Vec<u8>) -> JoinHandle<()> {
    let mut writer = client.stream.try_clone().expect("a second handle");
    thread::spawn(move || writer.write_all(&bytes).expect("everything is sent"))
}

/// Requests whose answers are all different and known.
fn pipeline(depth: usize) -> (Vec<u8>, Vec<(u16, String)>) {
    let mut requests = Vec::new();
    let mut answers = Vec::with_capacity(depth);
    for n in 0..depth {
        let key = n / 4;
        match n % 4 {
            0 => {
                write!(requests, "GET /k{key} HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
                answers.push((404, String::new()));
            }
            1 => {
                let value = format!("value-{n}");
                write!(
                    requests,
                    "PUT /k{key} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{value}",
                    value.len()
                )
                .unwrap();
                answers.push((201, String::new()));
            }
            2 => {
                write!(requests, "GET /k{key} HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
                answers.push((200, format!("value-{}", n - 1)));
            }
            _ => {
                write!(requests, "DELETE /k{key} HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
                answers.push((204, String::new()));
            }
        }
    }
    (requests, answers)
}

fn run_pipeline(depth: usize) {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let (requests, answers) = pipeline(depth);
    let writer = send_aside(&client, requests);
    for (n, expected) in answers.iter().enumerate() {
        let response = client.response();
        assert_eq!((response.status, response.line()), *expected, "answer {n} of {depth}");
    }
    writer.join().unwrap();
    assert_eq!(client.get("/absent").status, 404);
}

#[test]
fn a_pipeline_of_one() {
    run_pipeline(1);
}

#[test]
fn a_pipeline_of_ten() {
    run_pipeline(10);
}

#[test]
fn a_pipeline_of_a_thousand() {
    run_pipeline(1_000);
}

#[test]
fn a_pipeline_of_fifty_thousand() {
    run_pipeline(50_000);
}

#[test]
fn a_pipeline_that_is_sent_whole_before_anything_is_read() {
    // Its answers are larger than what the sockets hold; the server must stop reading, keep what
    // it has, and go on when the client reads at last.
    let server = Server::start(&[]);
    let mut client = server.connect();
    let value = Numbers::new(1).bytes(10_000);
    client.put("/k", &value);
    let depth = 20_000;
    let writer = send_aside(&client, b"GET /k HTTP/1.1\r\nHost: t\r\n\r\n".repeat(depth));
    let mut other = server.connect();
    // The sender is stuck or done after a while; either way the others are served.
    for _ in 0..100 {
        assert_eq!(other.get("/absent").status, 404);
        thread::sleep(Duration::from_millis(1));
    }
    for _ in 0..depth {
        assert!(client.response().body == value);
    }
    writer.join().unwrap();
}

#[test]
fn a_client_that_never_reads_costs_bounded_memory() {
    let server = Server::start(&["--cores", "0"]);
    let mut other = server.connect();
    let value = Numbers::new(2).bytes(MIB);
    other.put("/large", &value);
    other.put("/small", "v");
    let before = server.rss_bytes();
    let stop = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    let senders: Vec<_> = ["/large", "/small", "/absent", "/metrics"]
        .into_iter()
        .flat_map(|target| [target; 4])
        .map(|target| {
            let client = server.connect();
            let mut writer = client.stream.try_clone().unwrap();
            writer.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
            readers.push(client);
            let stop = Arc::clone(&stop);
            let requests = format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n").repeat(1_000);
            thread::spawn(move || {
                let mut stalls = 0;
                let mut at = 0;
                while !stop.load(Ordering::Relaxed) && stalls < 25 {
                    match writer.write(&requests.as_bytes()[at..]) {
                        Ok(len) => {
                            at = (at + len) % requests.len();
                            stalls = 0;
                        }
                        Err(_) => stalls += 1,
                    }
                }
                stalls
            })
        })
        .collect();
    let mut peak = before;
    while senders.iter().any(|sender| !sender.is_finished()) {
        peak = peak.max(server.rss_bytes());
        assert_eq!(other.get("/small").line(), "v", "the others are served");
        thread::sleep(Duration::from_millis(5));
        if peak > before + 64 * MIB as u64 {
            stop.store(true, Ordering::Relaxed);
        }
    }
    for sender in senders {
        // A sender that was not stopped by backpressure was stopped by the limit on memory.
        assert!(sender.join().unwrap() >= 25 || stop.load(Ordering::Relaxed));
    }
    let grown = peak.saturating_sub(before) / MIB as u64;
    assert!(grown < 64, "16 clients that do not read made the server grow by {grown} MiB");
}

#[test]
fn large_values_in_a_pipeline() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let value = Numbers::new(3).bytes(32 * MIB);
    let mut requests = Vec::new();
    for n in 0..2 {
        requests.extend_from_slice(
            format!("PUT /large HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", value.len())
                .as_bytes(),
        );
        requests.extend_from_slice(&value);
        requests.extend_from_slice(
            format!(
                "PUT /small{n} HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\n{n}\
                 GET /large HTTP/1.1\r\nHost: t\r\n\r\n\
                 GET /small{n} HTTP/1.1\r\nHost: t\r\n\r\n"
            )
            .as_bytes(),
        );
    }
    let writer = send_aside(&client, requests);
    for n in 0..2 {
        assert_eq!(client.response().status, if n == 0 { 201 } else { 204 });
        assert_eq!(client.response().status, 201);
        assert!(client.response().body == value, "the value came back differently");
        assert_eq!(client.response().line(), n.to_string());
    }
    writer.join().unwrap();
}

#[test]
fn a_large_value_survives_being_replaced_while_it_is_sent() {
    let server = Server::start(&[]);
    let mut slow = server.connect();
    let mut other = server.connect();
    let old = Numbers::new(4).bytes(16 * MIB);
    let new = Numbers::new(5).bytes(16 * MIB);
    other.put("/k", &old);
    slow.send("GET /k HTTP/1.1\r\nHost: t\r\n\r\nGET /k HTTP/1.1\r\nHost: t\r\n\r\n");
    // The first bytes are there, so the first answer has begun; then the value goes away.
    let mut first = [0];
    slow.stream.peek(&mut first).unwrap();
    assert_eq!(other.put("/k", &new).status, 204);
    assert_eq!(other.call("DELETE", "/k").status, 204);
    let first = slow.response();
    assert!(first.body == old || first.body == new, "neither the old nor the new value");
    assert!(first.body == old, "the answer had begun with the old value");
    let second = slow.response();
    assert!(
        second.status == 404 || second.body == old || second.body == new,
        "a value that was never stored"
    );
}

#[test]
fn a_sender_without_end_does_not_starve_the_others_of_its_core() {
    let server = Server::start(&["--cores", "0"]);
    let mut other = server.connect();
    other.put("/k", "v");
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let client = server.connect();
            let mut writer = client.stream.try_clone().unwrap();
            let sending = Arc::clone(&stop);
            let sender = thread::spawn(move || {
                let requests = b"GET /k HTTP/1.1\r\nHost: t\r\n\r\n".repeat(1_000);
                while !sending.load(Ordering::Relaxed) && writer.write_all(&requests).is_ok() {}
                let _ = writer.shutdown(std::net::Shutdown::Write);
            });
            let reader = thread::spawn(move || {
                let mut client = client;
                let mut sink = vec![0; 1 << 20];
                let mut read = 0;
                while let Ok(len @ 1..) = std::io::Read::read(&mut client.stream, &mut sink) {
                    read += len;
                }
                read
            });
            (sender, reader)
        })
        .collect();
    for _ in 0..300 {
        assert_eq!(other.get("/k").line(), "v");
    }
    stop.store(true, Ordering::Relaxed);
    for (sender, reader) in threads {
        sender.join().unwrap();
        assert!(reader.join().unwrap() > 0);
    }
}

#[test]
fn an_endless_upload_does_not_starve_the_others_of_its_core() {
    let server = Server::start(&["--cores", "0"]);
    let mut other = server.connect();
    let uploader = server.connect();
    let mut requests =
        format!("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", 8 * MIB).into_bytes();
    requests.resize(requests.len() + 8 * MIB, b'u');
    let mut writer = uploader.stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        for _ in 0..20 {
            writer.write_all(&requests).expect("the upload goes on");
        }
    });
    let reader = thread::spawn(move || {
        let mut uploader = uploader;
        for n in 0..20 {
            assert_eq!(uploader.response().status, if n == 0 { 201 } else { 204 });
        }
    });
    while !reader.is_finished() {
        assert_eq!(other.get("/absent").status, 404);
    }
    sender.join().unwrap();
    reader.join().unwrap();
}

#[test]
fn many_readers_of_large_values_starve_neither_each_other_nor_the_rest() {
    let server = Server::start(&["--cores", "0"]);
    let mut other = server.connect();
    let value = Numbers::new(9).bytes(2 * MIB);
    other.put("/large", &value);
    other.put("/k", "v");
    let large = "GET /large HTTP/1.1\r\nHost: t\r\n\r\n";
    let small = "GET /k HTTP/1.1\r\nHost: t\r\n\r\n";
    let mut readers: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    for reader in &mut readers {
        reader.send([large, small, large, small].concat());
    }
    // Some take all that comes, at once, and the others nothing meanwhile.
    let at_once = readers.split_off(50);
    let threads: Vec<_> = at_once
        .into_iter()
        .map(|mut reader| {
            let value = value.clone();
            thread::spawn(move || check_large_and_small(&mut reader, &value))
        })
        .collect();
    for _ in 0..300 {
        assert_eq!(other.get("/k").line(), "v");
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    readers.iter_mut().for_each(|reader| check_large_and_small(reader, &value));
}

fn check_large_and_small(reader: &mut Client, value: &[u8]) {
    for _ in 0..2 {
        assert!(reader.response().body == value, "the value came back differently");
        assert_eq!(reader.response().line(), "v");
    }
}

#[test]
fn a_half_closed_client_gets_every_answer() {
    let server = Server::start(&[]);
    for depth in [1, 10, 5_000] {
        let mut client = server.connect();
        let (requests, answers) = pipeline(depth);
        let mut writer = client.stream.try_clone().unwrap();
        let sender = thread::spawn(move || {
            writer.write_all(&requests).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        for (n, expected) in answers.iter().enumerate() {
            let response = client.response();
            assert_eq!((response.status, response.line()), *expected, "answer {n} of {depth}");
        }
        client.assert_closed();
        sender.join().unwrap();
        let mut cleaner = server.connect();
        // An uneven depth leaves a key behind that the next pipeline expects to be absent.
        for n in 0..depth.div_ceil(4) {
            cleaner.call("DELETE", &format!("/k{n}"));
        }
    }
    let value = Numbers::new(6).bytes(8 * MIB);
    let mut client = server.connect();
    client.put("/large", &value);
    client.send("GET /large HTTP/1.1\r\nHost: t\r\n\r\n".repeat(3));
    client.half_close();
    for _ in 0..3 {
        assert!(client.response().body == value);
    }
    client.assert_closed();
}

#[test]
fn an_incomplete_request_at_the_end_is_dropped_silently() {
    let server = Server::start(&[]);
    for end in [
        "G",
        "GET /k HTTP/1.1\r\nHost: t\r\n",
        "PUT /dropped HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n123456789",
        "PUT /dropped HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let mut client = server.connect();
        client.send(format!("GET /k HTTP/1.1\r\nHost: t\r\n\r\n{end}"));
        client.half_close();
        assert_eq!(client.response().status, 404);
        client.assert_closed();
    }
    let mut client = server.connect();
    client.half_close();
    client.assert_closed();
    assert_eq!(server.connect().get("/dropped").status, 404);
}

/// Ends a connection with RST instead of FIN.
fn reset(client: Client) {
    SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    drop(client);
}

#[test]
fn resets_at_any_point_hurt_nobody_else() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    let value = Numbers::new(7).bytes(2 * MIB);
    other.put("/large", &value);
    let idle = server.descriptors();
    let large = "GET /large HTTP/1.1\r\nHost: t\r\n\r\n";
    for round in 0..30 {
        reset(server.connect());

        let mut client = server.connect();
        client.send("GET /k HTT");
        reset(client);

        let mut client = server.connect();
        client.send("PUT /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\nbegun");
        reset(client);

        let mut client = server.connect();
        client.send(large.repeat(5));
        if round % 2 == 0 {
            let mut first = [0];
            client.stream.peek(&mut first).unwrap();
        }
        reset(client);

        let mut client = server.connect();
        client.send("BROKEN\r\n\r\n");
        reset(client);

        assert!(other.get("/large").body == value);
    }
    assert_eq!(other.get("/upload").status, 404);
    eventually("the descriptors of the reset connections are free", || {
        server.descriptors() <= idle
    });
}

#[test]
fn a_reset_between_request_and_answer_does_not_undo_the_write() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    for n in 0..50 {
        let mut client = server.connect();
        client.send(format!("PUT /k{n} HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nv"));
        // Once it was seen through another connection it stays, whatever the writer does.
        eventually("the write", || other.get(&format!("/k{n}")).status == 200);
        reset(client);
    }
    assert_eq!(other.size(), 50);
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    let server = Server::start(&[]);
    let stream = TcpStream::connect(server.address()).unwrap();
    SockRef::from(&stream).set_recv_buffer_size(32 * 1024).unwrap();
    let mut client = Client::from_stream(stream);
    let value = Numbers::new(8).bytes(300_000);
    client.put("/k", &value);
    client.send("GET /k HTTP/1.1\r\nHost: t\r\n\r\n".repeat(5));
    let mut received = Vec::new();
    let mut piece = [0; 5_000];
    let (mut parsed, mut answers) = (0, 0);
    while answers < 5 {
        let len = std::io::Read::read(&mut client.stream, &mut piece).unwrap();
        assert!(len > 0, "the connection ended early");
        received.extend_from_slice(&piece[..len]);
        while let Some((response, len)) = testkit::parse(&received[parsed..], false) {
            assert!(response.body == value);
            parsed += len;
            answers += 1;
        }
        thread::yield_now();
    }
    assert_eq!(parsed, received.len());
}
