//! `Expect: 100-continue` of a client that does wait.

use testkit::{Numbers, Server};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[test]
fn a_client_that_waits_is_told_to_go_on() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let value = Numbers::new(6).bytes(300_000);
    for n in 0..3 {
        client.send(format!(
            "PUT /k{n} HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 300000\r\n\r\n"
        ));
        let interim = client.response();
        assert_eq!(interim.head, CONTINUE);
        client.send(&value);
        assert_eq!(client.response().status, 201);
        assert!(client.get(&format!("/k{n}")).body == value);
    }
    client.send(
        "PUT /c HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    assert_eq!(client.response().head, CONTINUE);
    client.send("5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 201);
    assert_eq!(client.get("/c").line(), "hello");
}

#[test]
fn a_client_whose_body_is_not_wanted_is_told_at_once() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    for (head, status) in [
        ("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 999999999\r\n", 413),
        ("PUT /%zz HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n", 400),
        ("PUT /k HTTP/1.1\r\nHost: t\r\nCache-Control: max-age=-1\r\nContent-Length: 5\r\n", 400),
        ("FROB /k HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n", 501),
        ("PATCH /k HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n", 405),
        ("POST /healthz HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n", 405),
    ] {
        let mut client = server.connect();
        // The body is never sent: an answer must come all the same.
        let error = client.exchange(format!("{head}Expect: 100-continue\r\n\r\n"));
        assert_eq!(error.status, status, "{head:?}");
        assert_eq!(error.field("Connection"), Some("close"), "{head:?}");
        client.assert_closed();
    }
    let mut client = server.connect();
    client
        .exchange("PUT /k HTTP/1.1\r\nHost: t\r\nExpect: gold\r\nContent-Length: 5\r\n\r\n")
        .assert_closing_error(417);
    client.assert_closed();
    assert_eq!(other.size(), 0);
}

#[test]
fn the_interim_response_waits_for_its_turn() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let value = Numbers::new(7).bytes(2_000_000);
    client.put("/large", &value);
    client.send(
        "GET /large HTTP/1.1\r\nHost: t\r\n\r\n\
         PUT /k HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    );
    assert!(client.response().body == value);
    assert_eq!(client.response().head, CONTINUE);
    client.send("v1GET /k HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.response().status, 201);
    assert_eq!(client.response().line(), "v1");
}

#[test]
fn a_method_that_has_no_use_for_a_body_is_answered_at_once_and_never_told_to_go_on() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    for framing in ["Content-Length: 41", "Transfer-Encoding: chunked"] {
        for (method, status) in
            [("GET", 200), ("HEAD", 200), ("OPTIONS", 204), ("PROPFIND", 404), ("DELETE", 204)]
        {
            other.put("/k", "v");
            let mut client = server.connect();
            // The body is never sent: an answer must come all the same.
            client.send(format!(
                "{method} /k HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n{framing}\r\n\r\n"
            ));
            let answer =
                if method == "HEAD" { client.response_to_head() } else { client.response() };
            assert_eq!(answer.status, status, "{method} {framing}");
            assert_eq!(answer.field("Connection"), Some("close"), "{method} {framing}");
            client.assert_closed();
        }
        assert_eq!(other.get("/k").status, 404, "the DELETE was carried out");
    }
}

#[test]
fn a_body_that_nobody_needs_and_that_is_there_already_leaves_the_connection_open() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for body in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"] {
        for (method, status) in [("PUT", 100), ("GET", 200), ("OPTIONS", 204), ("DELETE", 204)] {
            let answer = client.exchange(format!(
                "{method} /k HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n{body}"
            ));
            assert_eq!((answer.status, answer.field("Connection")), (status, None), "{method}");
            if status == 100 {
                assert_eq!(client.response().status, 201);
            }
        }
    }
    // What follows the body is a request.
    client.send(
        "GET /k HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello\
         GET /size HTTP/1.1\r\nHost: t\r\n\r\n",
    );
    assert_eq!(client.response().status, 404);
    assert_eq!(client.response().line(), "0");
}
