//! What happens to clients that take their time.

mod util;

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use util::{Client, Server, eventually};

/// Long enough for the coarse clock; the tests only ever wait for something to happen.
const SHORT: &str = "400ms";
const LEAST: Duration = Duration::from_millis(400);

#[test]
fn a_head_that_does_not_end_is_408() {
    let server = Server::start(&["--header-timeout", SHORT]);
    for begun in ["G", "GET /k HTTP/1.1\r\n", "GET /k HTTP/1.1\r\nHost: t\r\nX: "] {
        let mut client = server.connect();
        let started = Instant::now();
        client.send(begun);
        client.response().assert_closing_error(408);
        assert!(started.elapsed() >= LEAST, "after only {:?}", started.elapsed());
        client.assert_closed();
    }
}

#[test]
fn the_time_for_a_head_does_not_restart_with_every_byte() {
    let server = Server::start(&["--header-timeout", SHORT]);
    let mut client = server.connect();
    let mut writer = client.stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let deadline = Instant::now() + util::PATIENCE;
        writer.write_all(b"GET /k HTTP/1.1\r\nHost: t\r\nX: ").unwrap();
        while writer.write_all(b"x").is_ok() {
            assert!(Instant::now() < deadline, "a slow head is never ended");
            thread::sleep(Duration::from_millis(20));
        }
    });
    client.response().assert_closing_error(408);
    client.assert_closed();
    // The sender sees the end, too: the patience with a client that goes on is bounded.
    sender.join().unwrap();
}

#[test]
fn answers_before_a_stalled_head_are_sent() {
    let server = Server::start(&["--header-timeout", SHORT]);
    let mut client = server.connect();
    client.send("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nvGET /k HTTP/1.1\r\nHost: t\r\n\r\nGET /k");
    assert_eq!(client.response().status, 201);
    assert_eq!(client.response().line(), "v");
    client.response().assert_closing_error(408);
    client.assert_closed();
}

#[test]
fn a_body_that_stalls_is_408_and_stores_nothing() {
    let server = Server::start(&["--body-timeout", SHORT, "--header-timeout", "60s"]);
    for begun in [
        "PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n",
        "PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n12345",
        "PUT /k HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "PUT /k HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y",
        "PATCH /k HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n12345",
    ] {
        let mut client = server.connect();
        let started = Instant::now();
        client.send(begun);
        let mut answer = client.response();
        if begun.starts_with("PATCH") && answer.status == 405 {
            // Whether the refusal leaves before or after the body is the server's choice.
            answer = client.response();
        }
        answer.assert_closing_error(408);
        assert!(started.elapsed() >= LEAST, "after only {:?}", started.elapsed());
        client.assert_closed();
    }
    assert_eq!(server.connect().get("/k").status, 404);
}

#[test]
fn a_body_that_moves_on_may_take_long() {
    let server = Server::start(&["--body-timeout", "1s", "--header-timeout", "1s"]);
    let mut client = server.connect();
    client.send("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 20\r\n\r\n");
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(110));
        client.send("x");
    }
    assert_eq!(client.response().status, 201);
    assert_eq!(client.get("/k").body, [b'x'; 20]);
}

#[test]
fn an_idle_connection_is_closed_silently() {
    let server = Server::start(&["--idle-timeout", SHORT]);
    let started = Instant::now();
    let mut fresh = server.connect();
    let mut used = server.connect();
    assert_eq!(used.get("/k").status, 404);
    fresh.assert_closed();
    assert!(started.elapsed() >= LEAST, "after only {:?}", started.elapsed());
    used.assert_closed();

    // Empty lines are no request, so they keep nothing alive for ever, and nothing is said.
    let mut client = server.connect();
    client.send("\r\n");
    client.assert_closed();
}

#[test]
fn a_busy_connection_is_not_idle() {
    let server = Server::start(&["--idle-timeout", "1s"]);
    let mut client = server.connect();
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2_500) {
        assert_eq!(client.get("/k").status, 404);
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_client_that_does_not_read_is_closed_as_idle() {
    let server = Server::start(&["--idle-timeout", SHORT]);
    let mut other = server.connect();
    other.put("/k", vec![1; 4 << 20]);
    drop(other);
    let mut client = server.connect();
    client.send("GET /k HTTP/1.1\r\nHost: t\r\n\r\n".repeat(20));
    eventually("the server has given the connection up", || {
        // Its descriptor is gone when only the process's own are left.
        client.stream.write(b"\r\n").is_err()
    });
    // What had been sent is still there, the rest is not.
    let mut sink = vec![0; 1 << 20];
    let mut read = 0;
    while let Ok(len @ 1..) = client.stream.read(&mut sink) {
        read += len;
    }
    assert!(read < 20 * (4 << 20), "everything arrived");
}

#[test]
fn a_client_that_reads_slowly_is_not_idle() {
    let server = Server::start(&["--idle-timeout", "1s"]);
    let stream = std::net::TcpStream::connect(server.address()).unwrap();
    socket2::SockRef::from(&stream).set_recv_buffer_size(32 * 1024).unwrap();
    let mut client = Client::from_stream(stream);
    let value = vec![7; 12 << 20];
    client.put("/k", &value);
    client.send("GET /k HTTP/1.1\r\nHost: t\r\n\r\n");
    let started = Instant::now();
    let mut piece = vec![0; 256 * 1024];
    let mut read = 0;
    // Takes longer than the limit, always with some progress.
    while read < value.len() {
        let len = client.stream.read(&mut piece).expect("the server goes on sending");
        assert!(len > 0, "closed after {read} bytes and {:?}", started.elapsed());
        read += len;
        if started.elapsed() < Duration::from_millis(2_500) {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn an_error_waits_for_its_reader_but_not_for_ever() {
    let server = Server::start(&["--idle-timeout", SHORT]);
    let mut witness = server.connect();
    assert_eq!(witness.get("/k").status, 404);
    let idle = server.descriptors();
    let mut client = server.connect();
    client.send("BROKEN\r\n\r\n");
    client.response().assert_closing_error(400);
    client.assert_closed();
    // The client's own side stays open; the server must not keep its side for ever.
    eventually("the descriptor is free", || server.descriptors() <= idle);
}
