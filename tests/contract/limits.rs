//! Limits on heads and connections.

use testkit::{Server, eventually};

#[test]
fn the_limit_on_heads_can_be_set() {
    let server = Server::start(&["--header-bytes-max", "1KiB"]);
    let mut client = server.connect();
    let line = "GET /k HTTP/1.1\r\nHost: t\r\nX: ";
    let fits = format!("{line}{}\r\n\r\n", "x".repeat(1024 - line.len() - 4));
    assert_eq!(fits.len(), 1024);
    assert_eq!(client.exchange(&fits).status, 404);
    // The limit is per request, not per batch.
    client.send(fits.repeat(50));
    for _ in 0..50 {
        assert_eq!(client.response().status, 404);
    }
    let error = client.exchange(format!("{line}{}\r\n\r\n", "x".repeat(1024 - line.len() - 3)));
    error.assert_closing_error(431);
    assert!(
        error.line().contains("header-bytes-max"),
        "the error names the limit: {}",
        error.line()
    );
    client.assert_closed();

    let mut client = server.connect();
    client
        .exchange(format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "x".repeat(1024)))
        .assert_closing_error(414);
    client.assert_closed();
}

#[test]
fn a_larger_head_fits_if_the_limit_says_so() {
    let server = Server::start(&["--header-bytes-max", "200KiB", "--key-bytes-max", "2KiB"]);
    let mut client = server.connect();
    let key = "x".repeat(2048);
    let lines = format!("X: {}\r\n", "y".repeat(180 * 1024));
    assert_eq!(client.put_with(&format!("/{key}"), &lines, "v").status, 201);
    assert_eq!(client.get(&format!("/{key}")).line(), "v");
}

#[test]
fn one_connection_too_many_is_told_to_come_back() {
    let server = Server::start(&["--connections-max", "4"]);
    let mut inside: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for client in &mut inside {
        assert_eq!(client.get("/k").status, 404);
    }
    for _ in 0..3 {
        let mut outside = server.connect();
        let error = outside.response();
        assert_eq!(error.status, 503);
        let fields: Vec<_> = error.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(fields, ["Date", "Connection", "Content-Type", "Retry-After", "Content-Length"]);
        assert_eq!(error.field("Retry-After"), Some("1"));
        assert_eq!(error.field("Connection"), Some("close"));
        assert!(testkit::error_line(&error.body), "{:?}", error.line());
        outside.assert_closed();
    }
    // Those who are in notice nothing.
    for client in &mut inside {
        assert_eq!(client.get("/k").status, 404);
    }
    // When one leaves, another may come.
    drop(inside.pop());
    eventually("a free place", || {
        let mut client = server.connect();
        client.send("GET /k HTTP/1.1\r\nHost: t\r\n\r\n");
        client.response().status == 404
    });
}

#[test]
fn memory_is_bounded_by_dropping_keys() {
    const MIB: u64 = 1024 * 1024;
    let server = Server::start(&["--memory", "64MiB"]);
    let mut client = server.connect();
    let before = server.rss_bytes();
    // Five times what fits, of different sizes.
    let (mut stored, mut number) = (0, 0_u64);
    while stored < 320 * MIB {
        let len = [100, 3_000, 40_000, 700_000][number as usize % 4];
        let status = client.put(&format!("/k{number}"), vec![number as u8; len]).status;
        assert_eq!(status, 201, "key {number}");
        stored += len as u64;
        number += 1;
    }
    // What was stored last is there, what is there is right, and much is gone.
    let last = format!("/k{}", number - 1);
    assert_eq!(client.get(&last).status, 200);
    let mut hits = 0;
    for n in (0..number).step_by(3) {
        let response = client.get(&format!("/k{n}"));
        if response.status == 200 {
            assert!(response.body.iter().all(|&byte| byte == n as u8), "the value of another key");
            hits += 1;
        }
    }
    assert!(hits > 0 && hits < number / 3, "{hits} of {} keys are left", number / 3);
    assert!(client.size() < number);
    let grown = server.rss_bytes().saturating_sub(before);
    assert!(grown < 64 * MIB + 16 * MIB, "grew by {} MiB", grown / MIB);
    assert!(client.get("/metrics").line().contains("corekv_evicted_total"));
}

#[test]
fn a_value_that_never_fits_is_507_and_the_old_one_stays() {
    let server = Server::start(&["--memory", "32MiB", "--value-bytes-max", "256MiB"]);
    let mut client = server.connect();
    assert_eq!(client.put("/k", "old").status, 201);
    let head = "PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 104857600\r\n\r\n";
    let mut writer = client.stream.try_clone().expect("a second handle");
    let thread = std::thread::spawn(move || {
        use std::io::Write;
        writer.write_all(head.as_bytes()).expect("the head is sent");
        let piece = vec![0; 1 << 20];
        // Whether the server reads the rest or closes is not what this is about.
        for _ in 0..100 {
            if writer.write_all(&piece).is_err() {
                break;
            }
        }
    });
    let response = client.response();
    assert_eq!(response.status, 507);
    assert!(testkit::error_line(&response.body));
    client.stream.shutdown(std::net::Shutdown::Both).expect("shutdown");
    thread.join().expect("no panic");
    assert_eq!(server.connect().get("/k").line(), "old");
}

#[test]
fn nothing_is_evicted_for_a_value_that_can_never_fit() {
    let server = Server::start(&["--memory", "16MiB", "--value-bytes-max", "64MiB"]);
    let mut client = server.connect();
    for n in 0..1_000 {
        assert_eq!(client.put(&format!("/small{n}"), [b'v'; 1_000]).status, 201);
    }
    assert_eq!(client.put("/large", vec![b'v'; 32 << 20]).status, 507);
    for n in 0..1_000 {
        assert_eq!(client.get(&format!("/small{n}")).status, 200, "small{n} was lost");
    }
}
