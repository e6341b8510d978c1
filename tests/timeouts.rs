//! What happens to clients that take their time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use testkit::{Client, Server, eventually};

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
        let deadline = Instant::now() + testkit::PATIENCE;
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
    let stream = TcpStream::connect(server.address()).unwrap();
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

/// A server with this least rate and grace.
fn with_min_rate(rate: &str, grace: &str) -> Server {
    Server::start(&["--min-rate", rate, "--min-rate-grace", grace])
}

/// Sends a byte at a time, until the server has had enough. The interval keeps the sender below
/// 100 bytes per second.
fn trickle(mut stream: TcpStream) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let deadline = Instant::now() + testkit::PATIENCE;
        while stream.write_all(b"1").is_ok() {
            assert!(Instant::now() < deadline, "the trickle is never ended");
            thread::sleep(Duration::from_millis(10));
        }
    })
}

/// Leaves, before the server's patience with a client that goes on is over.
fn end(client: &Client, sender: thread::JoinHandle<()>) {
    client.stream.shutdown(Shutdown::Both).unwrap();
    sender.join().unwrap();
}

#[test]
fn a_body_below_the_minimum_rate_is_408_and_stores_nothing() {
    let server = with_min_rate("64KiB", SHORT);
    for head in [
        "PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n",
        "PUT /k HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n",
        "DELETE /k HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n",
    ] {
        let mut client = server.connect();
        let started = Instant::now();
        client.send(head);
        let sender = trickle(client.stream.try_clone().unwrap());
        client.response().assert_closing_error(408);
        assert!(started.elapsed() >= LEAST, "after only {:?}", started.elapsed());
        client.assert_closed();
        end(&client, sender);
    }
    assert_eq!(server.connect().get("/k").status, 404);
}

#[test]
fn a_fast_start_does_not_pay_for_a_body_that_trickles_after_it() {
    let flags = ["--min-rate", "64KiB", "--min-rate-grace", SHORT, "--body-timeout", "1s"];
    let server = Server::start(&flags);
    let mut client = server.connect();
    // Over the whole body's time, this would pay for two minutes.
    client.send("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 9000000\r\n\r\n");
    client.send(vec![b'v'; 8 << 20]);
    let sender = trickle(client.stream.try_clone().unwrap());
    client.response().assert_closing_error(408);
    client.assert_closed();
    end(&client, sender);
}

#[test]
fn a_body_above_the_minimum_rate_may_take_long() {
    let server = with_min_rate("1KiB", "1s");
    let mut client = server.connect();
    client.send("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 40960\r\n\r\n");
    for _ in 0..20 {
        client.send([b'x'; 2048]);
        thread::sleep(Duration::from_millis(110));
    }
    assert_eq!(client.response().status, 201);
    assert_eq!(client.get("/k").body, [b'x'; 40_960]);
}

#[test]
fn many_small_bodies_in_a_row_are_not_one_slow_body() {
    let server = with_min_rate("1GiB", "2s");
    let mut client = server.connect();
    let request = "PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 8\r\n\r\n12345678";
    let (start, rest) = request.split_at(request.len() - 4);
    client.send(start);
    // There is never a moment without half a body.
    for _ in 0..50 {
        client.send(format!("{rest}{start}"));
        assert!(matches!(client.response().status, 201 | 204));
        thread::sleep(Duration::from_millis(60));
    }
    client.send(rest);
    assert_eq!(client.response().status, 204);
}

#[test]
fn the_minimum_rate_can_be_switched_off_and_does_not_concern_idle_connections() {
    let off = with_min_rate("0", "1ms");
    let on = with_min_rate("1GiB", "1ms");
    let mut idle = on.connect();
    assert_eq!(idle.get("/k").status, 404);
    let mut slow = off.connect();
    slow.send("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n");
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(110));
        slow.send("x");
    }
    assert_eq!(slow.response().status, 201);
    assert_eq!(idle.get("/k").status, 404);
}

/// A client whose system takes little for it in advance, that has asked for a value of so many bytes.
fn asking_for(server: &Server, bytes: usize) -> Client {
    server.connect().put("/large", vec![7; bytes]);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let address: std::net::SocketAddr = server.address().parse().unwrap();
    socket.connect(&address.into()).unwrap();
    let mut client = Client::from_stream(socket.into());
    client.send("GET /large HTTP/1.1\r\nHost: t\r\n\r\n");
    client
}

/// Reads so much at a time with pauses of 10 ms, up to so much in all. How much it was, and how it
/// ended if the server ended it.
fn read_slowly(client: &mut Client, piece: usize, most: usize) -> (usize, Option<ErrorKind>) {
    let mut sink = vec![0; piece];
    let mut read = 0;
    while read < most {
        match client.stream.read(&mut sink) {
            Ok(0) => return (read, Some(ErrorKind::UnexpectedEof)),
            Ok(len) => read += len,
            Err(error) => return (read, Some(error.kind())),
        }
        thread::sleep(Duration::from_millis(10));
    }
    (read, None)
}

#[test]
fn a_client_that_reads_below_the_minimum_rate_is_reset() {
    let server = with_min_rate("4MiB", SHORT);
    let mut client = asking_for(&server, 24 << 20);
    let started = Instant::now();
    // At most 400 KiB per second: a minute for all of it.
    let (read, end) = read_slowly(&mut client, 4 << 10, 24 << 20);
    assert_eq!(end, Some(ErrorKind::ConnectionReset), "after {read} bytes");
    assert!(started.elapsed() >= LEAST, "after only {:?}", started.elapsed());
}

#[test]
fn a_client_that_reads_above_the_minimum_rate_may_take_long() {
    // Less than it takes to read all of it, and what the kernel takes is worth a second more.
    let server = with_min_rate("128KiB", SHORT);
    let mut client = asking_for(&server, 4 << 20);
    let (read, end) = read_slowly(&mut client, 16 << 10, 4 << 20);
    assert_eq!(end, None, "after {read} bytes");
}

#[test]
fn a_client_that_does_not_read_is_reset_when_its_time_is_up() {
    let server = Server::start(&["--idle-timeout", SHORT]);
    let mut witness = server.connect();
    assert_eq!(witness.get("/k").status, 404);
    let idle = server.descriptors();
    let mut client = asking_for(&server, 4 << 20);
    eventually("the server has given the connections up", || server.descriptors() < idle);
    // Without a reset the rest of what the kernel held would come, and then the end.
    let (_, end) = read_slowly(&mut client, 1 << 20, 4 << 20);
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
}

/// The bytes that the kernel holds for a peer on the server's side of its connection, if there is one
/// (proc_net_tcp(5)).
fn unsent(server: &Server, client: &Client) -> Option<u64> {
    let port = server.address().rsplit(':').next()?.parse::<u16>().ok()?;
    let peer = client.stream.local_addr().expect("an address").port();
    let table = std::fs::read_to_string("/proc/net/tcp").expect("connections");
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_ours = fields.get(1)?.ends_with(&format!(":{port:04X}"))
            && fields.get(2)?.ends_with(&format!(":{peer:04X}"));
        let held = u64::from_str_radix(fields.get(4)?.split(':').next()?, 16).ok()?;
        is_ours.then_some(held)
    })
}

#[test]
fn the_kernel_does_not_keep_what_a_client_that_left_has_not_read() {
    let server = Server::start(&["--idle-timeout", SHORT]);
    assert_eq!(server.connect().get("/k").status, 404);
    // It fits into the socket's buffer, so the server has nothing left to send.
    let client = asking_for(&server, 100 << 10);
    eventually("the kernel holds it", || unsent(&server, &client).is_some_and(|held| held > 0));
    let open = server.descriptors();
    client.half_close();
    eventually("the server is done with it", || server.descriptors() < open);
    eventually("the kernel is, too", || unsent(&server, &client).is_none());
}
