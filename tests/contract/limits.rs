//! Limits on heads and connections.

use crate::util::{Server, eventually};

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
        assert!(crate::util::error_line(&error.body), "{:?}", error.line());
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
