//! Signals: what has been received is answered, then the process ends.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use testkit::{Client, Numbers, Server, eventually};

fn stops_on(signal: Signal) {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.put("/k", "v").status, 201);
    server.signal(signal);
    assert_eq!(server.wait().code(), Some(0));
    client.assert_closed();
    assert!(std::net::TcpStream::connect(server.address()).is_err(), "the port is free");
}

#[test]
fn term_ends_an_idle_server() {
    stops_on(Signal::TERM);
}

#[test]
fn int_ends_an_idle_server() {
    stops_on(Signal::INT);
}

#[test]
fn a_server_without_connections_stops() {
    let mut server = Server::start(&["--admin", "127.0.0.1:0"]);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn idle_connections_are_closed_and_new_ones_are_not_taken() {
    let mut server = Server::start(&["--drain-timeout", "30s"]);
    let mut idle: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    for client in &mut idle {
        client.get("/k");
    }
    // One upload is under way, so that the server has to wait.
    let mut busy = server.connect();
    busy.send("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n12345");
    assert_eq!(idle[0].get("/k").status, 404);
    server.signal(Signal::TERM);
    for client in &mut idle {
        client.assert_closed();
    }
    let address = server.address().to_owned();
    eventually("new connections are refused", || std::net::TcpStream::connect(&address).is_err());
    assert!(server.is_running(), "the upload is still under way");
    busy.send("67890");
    let answer = busy.response();
    assert_eq!(answer.status, 201);
    assert_eq!(answer.field("Connection"), Some("close"));
    busy.assert_closed();
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn answers_to_what_was_received_are_delivered() {
    let mut server = Server::start(&["--drain-timeout", "30s"]);
    let value = Numbers::new(1).bytes(8 << 20);
    let mut client = server.connect();
    client.put("/large", &value);
    // More than the sockets hold: most of it is still to be sent when the signal comes.
    client.send("GET /large HTTP/1.1\r\nHost: t\r\n\r\n".repeat(6));
    assert!(client.response().body == value);
    server.signal(Signal::TERM);
    for n in 1..6 {
        assert!(client.response().body == value, "answer {n}");
    }
    client.assert_closed();
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn an_endless_sender_does_not_keep_the_server_alive() {
    let mut server = Server::start(&["--drain-timeout", "2s"]);
    let client = server.connect();
    let mut writer = client.stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let requests = b"GET /k HTTP/1.1\r\nHost: t\r\n\r\n".repeat(100);
        while writer.write_all(&requests).is_ok() {}
    });
    let mut client = client;
    for _ in 0..1_000 {
        assert_eq!(client.response().status, 404);
    }
    let reader = thread::spawn(move || {
        let mut sink = vec![0; 1 << 20];
        while let Ok(1..) = std::io::Read::read(&mut client.stream, &mut sink) {}
    });
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    sender.join().unwrap();
    reader.join().unwrap();
}

#[test]
fn the_drain_ends_with_its_timeout() {
    let mut server = Server::start(&["--drain-timeout", "500ms"]);
    let mut client = server.connect();
    client.send("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n12345");
    let mut unread = server.connect();
    unread.put("/large", vec![1; 16 << 20]);
    unread.send("GET /large HTTP/1.1\r\nHost: t\r\n\r\n".repeat(3));
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    drop((client, unread));
}

#[test]
fn a_hangup_ends_nothing_and_is_told() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.put("/k", "v").status, 201);
    for _ in 0..3 {
        server.signal(Signal::HUP);
        eventually("the hangup is told", || server.stderr().contains("SIGHUP"));
        assert_eq!(client.get("/k").line(), "v");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0), "the first signal that counts is an orderly end");
}

/// Ends a server at the second signal, while an upload keeps it from ending at the first.
fn ends_at_once(second: Signal, code: i32) {
    let mut server = Server::start(&["--drain-timeout", "600s", "--body-timeout", "600s"]);
    let mut idle = server.connect();
    let mut client = server.connect();
    client.send("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n12345");
    // The idle one lies on whichever core; its end shows that the drain has begun.
    assert_eq!(idle.get("/k").status, 404);
    server.signal(Signal::TERM);
    idle.assert_closed();
    assert!(server.is_running());
    server.signal(second);
    let status = server.wait();
    assert_eq!(status.code(), Some(code), "{status:?}, signal {:?}", status.signal());
    client.assert_closed_or_reset();
}

#[test]
fn a_second_term_ends_at_once() {
    ends_at_once(Signal::TERM, 143);
}

#[test]
fn a_second_int_ends_at_once() {
    ends_at_once(Signal::INT, 130);
}

#[test]
fn a_request_that_comes_during_the_drain_is_the_last() {
    let mut server = Server::start(&["--drain-timeout", "30s", "--cores", "0"]);
    let mut witness = server.connect();
    let mut client = server.connect();
    // A complete request and an incomplete one: the connection is not idle.
    client.send("GET /k HTTP/1.1\r\nHost: t\r\n\r\nGET /k HTTP/1.1\r\n");
    assert_eq!(client.response().status, 404);
    assert_eq!(witness.get("/k").status, 404);
    server.signal(Signal::TERM);
    witness.assert_closed();
    // Whether an unfinished head counts as received is open; an answer must say close, though.
    let _ = client.stream.write_all(b"Host: t\r\n\r\n");
    client.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let rest = client.read_to_end_or_reset();
    if !rest.is_empty() {
        let (answer, len) = testkit::parse(&rest, false).expect("a whole answer or none");
        assert_eq!(answer.status, 404);
        assert_eq!(answer.field("Connection"), Some("close"));
        assert_eq!(len, rest.len());
    }
    assert_eq!(server.wait().code(), Some(0));
}
