//! What web pages may do, and by which names the server may be addressed.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use testkit::{Client, Response, Server, command, parse};

const BROWSER_FIELDS: &str =
    "X-Content-Type-Options: nosniff\r\nContent-Security-Policy: sandbox\r\n";

/// A request with these lines, each with its CRLF.
#[track_caller]
fn call(client: &mut Client, method: &str, target: &str, lines: &str) -> Response {
    let body =
        if ["PUT", "POST"].contains(&method) { "Content-Length: 3\r\n\r\nbad" } else { "\r\n" };
    client.send(format!("{method} {target} HTTP/1.1\r\n{lines}{body}"));
    if method == "HEAD" { client.response_to_head() } else { client.response() }
}

/// Checks that a response has what every answer to a browser has, behind its Date.
#[track_caller]
fn assert_to_browser(response: &Response) {
    let head = String::from_utf8_lossy(&response.head).into_owned();
    let date = response.field("Date").expect("a date");
    assert!(head.contains(&format!("Date: {date}\r\n{BROWSER_FIELDS}")), "{head}");
    let all = ["Access-Control", "Cross-Origin"];
    assert!(!all.iter().any(|grant| head.contains(grant)), "something is granted: {head}");
}

/// Checks that a request of a page was refused.
#[track_caller]
fn assert_forbidden(response: &Response, method: &str) {
    assert_to_browser(response);
    assert_eq!(response.status, 403);
    assert_eq!(response.field("Content-Type"), Some("text/plain"));
    assert_eq!(response.field("Connection"), None, "the connection lives");
    if method != "HEAD" {
        assert!(response.line().contains("Sec-Fetch-Site"), "{}", response.line());
    }
}

#[test]
fn a_write_is_for_pages_of_the_same_origin() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.put("/k", "good");
    let same = "Sec-Fetch-Site: same-origin\r\n";
    for (lines, allowed) in [
        (same, true),
        ("Sec-Fetch-Site: none\r\n", true),
        ("sec-fetch-site:none\r\nORIGIN: null\r\n", true),
        ("Sec-Fetch-Site: cross-site\r\n", false),
        ("Sec-Fetch-Site: same-site\r\n", false),
        ("Sec-Fetch-Site: Same-Origin\r\n", false),
        ("Sec-Fetch-Site: some-day\r\n", false),
        ("Sec-Fetch-Site:\r\n", false),
        ("Sec-Fetch-Site: same-origin, cross-site\r\n", false),
        ("Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n", false),
        ("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Site: same-origin\r\n", false),
        ("Sec-Fetch-Site: cross-site\r\nOrigin: http://t:8080\r\n", false),
        // A navigation that changes something is a form of another page.
        (
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
            false,
        ),
        // Without Sec-Fetch-Site the Origin decides.
        ("Origin: http://t:8080\r\n", true),
        ("Origin: HTTP://T:8080\r\n", true),
        ("Sec-Fetch-Mode: cors\r\nOrigin: https://t:8080\r\n", true),
        ("Sec-Fetch-Mode: cors\r\n", true),
        ("Origin: http://t\r\n", false),
        ("Origin: http://t:8081\r\n", false),
        ("Origin: http://t.:8080\r\n", false),
        ("Origin: http://evil.example:8080\r\n", false),
        ("Origin: http://evil.t:8080\r\n", false),
        ("Origin: tauri://t:8080\r\n", false),
        ("Origin: null\r\n", false),
        ("Origin:\r\n", false),
        ("Origin: http://t:8080\r\nOrigin: http://evil.example\r\n", false),
        ("Origin: http://t:8080\r\nOrigin: http://t:8080\r\n", false),
        ("Origin: http://t:8080 http://evil.example\r\n", false),
    ] {
        let lines = format!("Host: t:8080\r\n{lines}");
        for method in ["PUT", "POST", "DELETE"] {
            let response = call(&mut client, method, "/k", &lines);
            assert_to_browser(&response);
            if allowed {
                assert!([201, 204].contains(&response.status), "{method} {lines}");
                client.put("/k", "good");
            } else {
                assert_forbidden(&response, method);
            }
            assert_eq!(client.get("/k").line(), "good", "{method} {lines}");
            // Whatever name it is about.
            for target in ["/", "/size", "/metrics", "/healthz", "/%zz"] {
                let status = call(&mut client, method, target, &lines).status;
                let expected = if !allowed {
                    403
                } else if target == "/%zz" {
                    400
                } else {
                    405
                };
                assert_eq!(status, expected, "{method} {target} {lines}");
            }
        }
    }
    assert_eq!(client.size(), 1);
}

#[test]
fn an_origin_is_compared_with_what_the_request_addresses() {
    let server = Server::start(&[]);
    for (target, host, origin, status) in [
        ("/k", "t", "http://t", 201),
        ("/k", "t", "https://t", 201),
        ("/k", "t:80", "http://t", 201),
        ("/k", "t:443", "https://t", 201),
        ("/k", "t:80", "https://t", 403),
        ("/k", "t:443", "http://t", 403),
        ("/k", "t", "http://t:8080", 403),
        ("/k", "[::1]:8080", "http://[::1]:8080", 201),
        ("/k", "[::1]:8080", "http://[::1]", 403),
        ("/k", "", "http://t", 403),
        ("/k", "", "null", 403),
        // An absolute target takes the Host's place.
        ("http://u:81/k", "t", "http://u:81", 201),
        ("http://u:81/k", "t", "http://t", 403),
    ] {
        let mut client = server.connect();
        let lines = format!("Host: {host}\r\nOrigin: {origin}\r\n");
        // Twice: what was learned of the head stays true.
        for _ in 0..2 {
            let response = call(&mut client, "PUT", target, &lines);
            assert_eq!(response.status, status, "{target} {lines}");
            client.call("DELETE", "/k");
        }
    }
    // HTTP/1.0 may leave the Host out; then there is nothing that the origin could be equal to.
    let mut client = server.connect();
    let refused = client.exchange(
        "PUT /k HTTP/1.0\r\nOrigin: http://t\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nv",
    );
    assert_eq!((refused.status, refused.field("Connection")), (403, Some("keep-alive")));
    let stored = client.exchange("PUT /k HTTP/1.0\r\nContent-Length: 1\r\n\r\nv");
    assert_eq!(stored.text(), "HTTP/1.1 201 Created\r\nDate: -\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn a_read_is_for_pages_of_the_same_origin_and_for_those_who_open_it() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.put("/k", "good");
    let opens = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    for (lines, allowed) in [
        ("Sec-Fetch-Site: same-origin\r\n", true),
        ("Sec-Fetch-Site: none\r\n", true),
        ("Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\n", true),
        ("Origin: http://evil.example\r\n", true),
        ("Sec-Fetch-Site: cross-site\r\n", false),
        ("Sec-Fetch-Site: same-site\r\n", false),
        ("Sec-Fetch-Site: same-site\r\nSec-Fetch-Dest: script\r\n", false),
        ("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n", false),
        ("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: document\r\n", false),
        (
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n",
            false,
        ),
        (
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\
             Sec-Fetch-Dest: iframe\r\n",
            false,
        ),
        ("Sec-Fetch-Site: other\r\n", false),
        (&format!("Sec-Fetch-Site: cross-site\r\n{opens}"), true),
        (&format!("Sec-Fetch-Site: same-site\r\n{opens}"), true),
    ] {
        let lines = format!("Host: t\r\n{lines}");
        for method in ["GET", "HEAD"] {
            for target in ["/k", "/", "/size", "/metrics", "/healthz"] {
                let response = call(&mut client, method, target, &lines);
                assert_to_browser(&response);
                if allowed {
                    assert_eq!(response.status, 200, "{method} {target} {lines}");
                } else {
                    assert_forbidden(&response, method);
                }
            }
            let missing = call(&mut client, method, "/missing", &lines);
            assert_eq!(missing.status, if allowed { 404 } else { 403 }, "whether a key is there");
        }
    }
}

#[test]
fn a_preflight_grants_nothing() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for target in ["/k", "/size", "*"] {
        let response = call(
            &mut client,
            "OPTIONS",
            target,
            "Host: t\r\nOrigin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\n\
             Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x\r\n\
             Access-Control-Request-Private-Network: true\r\n",
        );
        assert_eq!(response.status, 204);
        assert_to_browser(&response);
    }
}

#[test]
fn an_answer_to_a_browser_has_two_fields_more_and_no_other_has_them() {
    let requests = [
        ("PUT /k HTTP/1.1\r\nHost: t\r\nBContent-Length: 1\r\n\r\nv", 201),
        ("PUT /k HTTP/1.1\r\nHost: t\r\nBContent-Length: 1\r\n\r\nv", 204),
        ("POST /k HTTP/1.1\r\nHost: t\r\nBTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 204),
        ("GET /k HTTP/1.1\r\nHost: t\r\nB\r\n", 200),
        ("GET /k HTTP/1.1\r\nHost: t\r\nBConnection: close\r\n\r\n", 200),
        ("GET /k HTTP/1.0\r\nBConnection: keep-alive\r\n\r\n", 200),
        ("PUT /long HTTP/1.1\r\nHost: t\r\nBContent-Length: 90\r\n\r\nLONG", 204),
        ("GET /long HTTP/1.1\r\nHost: t\r\nB\r\n", 200),
        ("GET /none HTTP/1.1\r\nHost: t\r\nB\r\n", 404),
        ("GET /size HTTP/1.1\r\nHost: t\r\nB\r\n", 200),
        ("GET /%zz HTTP/1.1\r\nHost: t\r\nB\r\n", 400),
        ("DELETE /k HTTP/1.1\r\nHost: t\r\nB\r\n", 204),
        ("DELETE /k HTTP/1.1\r\nHost: t\r\nB\r\n", 404),
        ("PUT /size HTTP/1.1\r\nHost: t\r\nBContent-Length: 1\r\n\r\nv", 405),
        ("FROB /k HTTP/1.1\r\nHost: t\r\nB\r\n", 501),
        ("OPTIONS /k HTTP/1.1\r\nHost: t\r\nB\r\n", 204),
        ("PROPFIND /k HTTP/1.1\r\nHost: t\r\nB\r\n", 404),
        ("GET /k HTTP/1.1\r\nHost: evil.example\r\nB\r\n", 421),
        ("PUT /k HTTP/1.1\r\nHost: t\r\nBContent-Length: 101\r\n\r\n", 413),
        ("PUT /k HTTP/1.1\r\nHost: t\r\nBTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    ];
    for line in ["Sec-Fetch-Site: same-origin", "sec-fetch-user: ?1", "Origin: http://t"] {
        // What is done to one server is done to the other.
        let [browsers, others] = [(); 2].map(|()| Server::start(&["--value-bytes-max", "100"]));
        for (request, status) in requests {
            let request = request.replace("LONG", &"x".repeat(90));
            let [answer, plain] = [(&browsers, format!("{line}\r\n")), (&others, String::new())]
                .map(|(server, line)| {
                    // Twice: the second head is recognised.
                    let request = request.replacen("\nB", &format!("\n{line}"), 1);
                    let mut client = server.connect();
                    let before = client.exchange(request.replacen("/k ", "/other ", 1));
                    if before.field("Connection") == Some("close") {
                        client = server.connect();
                    }
                    client.exchange(request)
                });
            assert_eq!(answer.status, status, "{request}");
            assert_to_browser(&answer);
            assert_eq!(answer.text().replacen(BROWSER_FIELDS, "", 1), plain.text(), "{request}");
        }
    }
}

#[test]
fn a_timeout_within_a_browsers_body_is_marked_and_one_within_a_head_is_not() {
    let server = Server::start(&["--body-timeout", "1s", "--header-timeout", "1s"]);
    let head = "PUT /k HTTP/1.1\r\nHost: t\r\nSec-Fetch-Site: none\r\nContent-Length: 5\r\n";
    let mut client = server.connect();
    let late = client.exchange(format!("{head}\r\nv"));
    assert_eq!(late.status, 408);
    assert_to_browser(&late);
    let mut client = server.connect();
    client.exchange(head).assert_closing_error(408);
}

/// A request for a host that the server may not have.
#[track_caller]
fn addressed(client: &mut Client, method: &str, host: &str) -> u16 {
    let response = call(client, method, "/k", &format!("Host: {host}\r\n"));
    if response.status == 421 && method != "HEAD" {
        response.assert_soft_error(421);
        assert!(response.line().contains("--host"), "{}", response.line());
    }
    response.status
}

#[test]
fn another_servers_name_is_misdirected_on_a_loopback_address() {
    let server = Server::start(&["--listen", "[::1]:0", "--admin", "127.0.0.1:0"]);
    let admin = server.admin.clone().expect("an admin address");
    for address in server.addresses.iter().chain([&admin]) {
        let mut client = Client::connect(address);
        let is_admin = *address == admin;
        for host in ["evil.example", "evil.example:8080", "EVIL.EXAMPLE.", "localhost.evil.example"]
        {
            for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "PROPFIND"] {
                assert_eq!(addressed(&mut client, method, host), 421, "{method} {host}");
            }
        }
        // An address, but one that browsers don't take for the own machine's.
        for host in ["0.0.0.0:1", "[::]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(addressed(&mut client, "GET", host), 421, "{host}");
        }
        for host in [
            "",
            "localhost",
            "LocalHost:80",
            "localhost.",
            "a.localhost:80",
            "corekv",
            "corekv.:1",
            "127.0.0.1",
            "127.0.0.1:8080",
            "10.0.0.1",
            "[::1]",
            "[::1]:8080",
            "[2001:db8::1]",
        ] {
            let status = addressed(&mut client, "OPTIONS", host);
            assert_eq!(status, if is_admin { 404 } else { 204 }, "{host}");
        }
    }
    let mut client = server.connect();
    assert_eq!(client.exchange("GET /k HTTP/1.0\r\n\r\n").status, 404, "no Host at all");
    let mut client = server.connect();
    // An absolute target takes the Host's place.
    for (target, host, status) in [
        ("http://evil.example/k", "localhost", 421),
        ("http://localhost/k", "evil.example", 404),
        ("/k", "localhost", 404),
        ("/k", "evil.example", 421),
    ] {
        let response = call(&mut client, "GET", target, &format!("Host: {host}\r\n"));
        assert_eq!(response.status, status, "{target} {host}");
    }
}

#[test]
fn a_misdirected_body_is_dropped_and_not_asked_for() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let head = "PUT /k HTTP/1.1\r\nHost: evil.example\r\nTransfer-Encoding: chunked\r\n";
    client.exchange(format!("{head}\r\n1\r\nv\r\n0\r\n\r\n")).assert_soft_error(421);
    client.exchange(format!("{head}Expect: 100-continue\r\n\r\n")).assert_closing_error(421);
    client.assert_closed();
    assert_eq!(server.connect().size(), 0);
}

#[test]
fn a_name_that_is_given_is_the_servers_own() {
    let flags =
        ["--host", "cache.example", "--host", "Other.Example.,10.example", "--host", "0.0.0.0"];
    let server = Server::start(&flags);
    let mut client = server.connect();
    for host in
        ["cache.example:80", "CACHE.example.", "other.example", "10.example", "0.0.0.0:1", "t"]
    {
        assert_eq!(addressed(&mut client, "GET", host), 404, "{host}");
    }
    for host in ["evil.example", "sub.cache.example", "[::]"] {
        assert_eq!(addressed(&mut client, "GET", host), 421, "{host}");
    }
    let server = Server::start(&["--host", "cache.example,any"]);
    assert_eq!(addressed(&mut server.connect(), "GET", "evil.example"), 404);
    let mut program = command(&["--listen", "127.0.0.1:0"]);
    program.env("COREKV_HOST", "a.example,b.example");
    let server = Server::spawn(program);
    for (host, status) in [("a.example", 404), ("b.example", 404), ("c.example", 421)] {
        assert_eq!(addressed(&mut server.connect(), "GET", host), status, "{host}");
    }
}

#[test]
fn where_no_page_comes_in_by_its_own_name_every_host_will_do() {
    // On an address that others reach, unless names are given.
    for (flags, status) in [(&[][..], 404), (&["--host", "cache.example"], 421)] {
        let mut program = command(flags);
        program.args(["--listen", "0.0.0.0:0"]);
        let server = Server::spawn(program);
        let port = server.address().rsplit_once(':').expect("a port").1.to_owned();
        let mut client = Client::connect(&format!("127.0.0.1:{port}"));
        assert_eq!(addressed(&mut client, "GET", "evil.example"), status, "{flags:?}");
        assert_eq!(addressed(&mut client, "GET", "cache.example"), 404, "{flags:?}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    // With tokens: a page has none.
    let file = folder.path().join("tokens");
    std::fs::write(&file, "secret\n").expect("the file");
    let server = Server::start(&["--auth-file", file.to_str().expect("text")]);
    let lines = "Host: evil.example\r\nAuthorization: Bearer secret\r\n";
    assert_eq!(call(&mut server.connect(), "GET", "/k", lines).status, 404);
    let foreign = format!("{lines}Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(call(&mut server.connect(), "PUT", "/k", &foreign).status, 403, "not to a page");
    // On a socket in the file system: no browser opens one.
    let path = folder.path().join("corekv.sock");
    let listen = format!("unix:{}", path.display());
    let _server = Server::start(&["--listen", &listen, "--host", "cache.example"]);
    let mut stream = UnixStream::connect(&path).expect("a connection");
    stream
        .write_all(b"GET /k HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        .expect("the request is sent");
    let mut received = Vec::new();
    stream.read_to_end(&mut received).expect("an answer and the end");
    assert_eq!(parse(&received, false).expect("a whole response").0.status, 404);
}
