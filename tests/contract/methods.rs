//! What each method answers, to the byte.

use testkit::Server;

const HIT: &str = "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Length: 2\r\n\r\nv1";
const MISS: &str = "HTTP/1.1 404 Not Found\r\nDate: -\r\nContent-Length: 0\r\n\r\n";
const CREATED: &str = "HTTP/1.1 201 Created\r\nDate: -\r\nContent-Length: 0\r\n\r\n";
const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\nDate: -\r\n\r\n";
const ALLOW: &str = "GET, HEAD, PUT, POST, DELETE, OPTIONS";

#[test]
fn a_key_goes_through_its_life() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.get("/k1").text(), MISS);
    assert_eq!(client.call("HEAD", "/k1").text(), MISS);
    assert_eq!(client.call("DELETE", "/k1").text(), MISS);
    assert_eq!(client.put("/k1", "v0").text(), CREATED);
    assert_eq!(client.put("/k1", "v1").text(), NO_CONTENT);
    assert_eq!(client.get("/k1").text(), HIT);
    assert_eq!(
        client.call("HEAD", "/k1").text(),
        "HTTP/1.1 200 OK\r\nDate: -\r\nETag: \"64b3b2e89f274d11699a96a965cd390d\"\r\n\
         Content-Length: 2\r\n\r\n"
    );
    assert_eq!(client.call("DELETE", "/k1").text(), NO_CONTENT);
    assert_eq!(client.call("DELETE", "/k1").text(), MISS);
    assert_eq!(client.get("/k1").text(), MISS);
    assert_eq!(client.put("/k1", "v1").text(), CREATED, "a deleted key is absent");
}

#[test]
fn post_and_put_are_one_operation() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut post = |value: &str| {
        client.exchange(format!(
            "POST /k1 HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{value}",
            value.len()
        ))
    };
    assert_eq!(post("v0").text(), CREATED);
    assert_eq!(post("v1").text(), NO_CONTENT);
    assert_eq!(client.get("/k1").text(), HIT);
    assert_eq!(client.put("/k1", "v2").text(), NO_CONTENT);
    assert_eq!(client.get("/k1").line(), "v2");
}

#[test]
fn an_empty_value_is_a_hit() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.put("/k1", "").text(), CREATED);
    assert_eq!(client.get("/k1").text(), "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.size(), 1);
    assert_eq!(client.call("DELETE", "/k1").text(), NO_CONTENT);
}

#[test]
fn options_name_the_methods() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for target in ["*", "/k1", "/a/b?c", "http://t/k1"] {
        assert_eq!(
            client.call("OPTIONS", target).text(),
            format!("HTTP/1.1 204 No Content\r\nDate: -\r\nAllow: {ALLOW}\r\n\r\n"),
            "{target}"
        );
    }
}

#[test]
fn propfind_finds_nothing_even_where_there_is_something() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.call("PROPFIND", "/k1").text(), MISS);
    client.put("/k1", "v1");
    assert_eq!(client.call("PROPFIND", "/k1").text(), MISS);
    assert_eq!(client.get("/k1").text(), HIT);
}

#[test]
fn known_methods_that_make_no_sense_here_are_405() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.put("/k1", "v1");
    let allow = format!("Content-Type: text/plain\r\nAllow: {ALLOW}\r\n");
    for method in
        ["TRACE", "PATCH", "COPY", "LOCK", "MKCOL", "MOVE", "PROPPATCH", "UNLOCK", "PURGE"]
    {
        client.call(method, "/k1").assert_error(405, &allow);
        client.call(method, "/absent").assert_error(405, &allow);
    }
    client.call("CONNECT", "example.org:443").assert_error(405, &allow);
    assert_eq!(client.get("/k1").text(), HIT, "none of them changed anything");
    assert_eq!(client.size(), 1);
}

#[test]
fn unknown_methods_are_501() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for method in ["FROB", "get", "Get", "put", "GETT", "GE", "PUTS", "P", "M-SEARCH", "x!"] {
        client.call(method, "/k1").assert_soft_error(501);
    }
    assert_eq!(client.size(), 0);
}

#[test]
fn the_miss_status_can_be_chosen_for_reads() {
    for (status, miss) in [
        ("404", MISS),
        ("204", NO_CONTENT),
        ("200", "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let server = Server::start(&["--miss-status", status]);
        let mut client = server.connect();
        assert_eq!(client.get("/k1").text(), miss);
        assert_eq!(client.call("HEAD", "/k1").text(), miss);
        assert_eq!(client.call("DELETE", "/k1").text(), MISS, "DELETE is no read");
        assert_eq!(client.call("PROPFIND", "/k1").text(), MISS, "PROPFIND is no read");
        assert_eq!(client.put("/k1", "v1").text(), CREATED);
        assert_eq!(client.get("/k1").text(), HIT);
        assert_eq!(client.call("DELETE", "/k1").text(), NO_CONTENT);
        assert_eq!(client.get("/k1").text(), miss);
    }
}

#[test]
fn a_part_of_a_value_is_not_stored_for_the_whole() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.put("/k", "whole value");
    for method in ["PUT", "POST"] {
        for body in [
            "Content-Length: 5\r\n\r\nGET /",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n",
        ] {
            let error = client.exchange(format!(
                "{method} /k HTTP/1.1\r\nHost: t\r\nContent-Range: bytes 6-10/11\r\n{body}"
            ));
            error.assert_soft_error(400);
            assert!(error.line().contains("Content-Range"), "{:?}", error.line());
        }
    }
    assert_eq!(client.get("/k").line(), "whole value");
    // It means nothing to the other methods.
    let get = "GET /k HTTP/1.1\r\nHost: t\r\nContent-Range: bytes 6-10/11\r\n\r\n";
    assert_eq!(client.exchange(get).line(), "whole value");
    let delete = "DELETE /k HTTP/1.1\r\nHost: t\r\nContent-Range: bytes 6-10/11\r\n\r\n";
    assert_eq!(client.exchange(delete).status, 204);
}
