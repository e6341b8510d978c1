//! The examples do what they say.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use testkit::Client;

/// An example that serves, ended with the test.
struct Example {
    child: Child,
    address: String,
}

fn cargo_run(example: &str) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--locked", "--example", example, "--"]);
    command
}

impl Example {
    fn start(example: &str) -> Self {
        // Cargo becomes the example, so that ending the process ends the example.
        let mut child = cargo_run(example)
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo is there");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = lines.next().expect("an example says where it listens").expect("text");
        let address = line.strip_prefix("listening on http://").expect("an address").to_owned();
        Self { child, address }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn hello_greets() {
    let hello = Example::start("hello");
    let mut client = Client::connect(&hello.address);
    let response = client.get("/Ada");
    assert_eq!((response.status, response.line()), (200, "Hello, Ada!".to_owned()));
}

#[test]
fn the_table_stores_what_it_is_given() {
    let table = Example::start("table");
    let mut client = Client::connect(&table.address);
    assert_eq!(client.get("/a").status, 404);
    assert_eq!(client.put("/a", "one").status, 201);
    assert_eq!(client.put("/a", "two").status, 204);
    assert_eq!(client.get("/a").body, b"two");
    let head = client.call("HEAD", "/a");
    assert_eq!((head.status, head.field("Content-Length")), (200, Some("3")));
    let large = vec![b'v'; 1 << 20];
    assert_eq!(client.put("/large", &large).status, 201);
    assert_eq!(client.get("/large").body, large);
    let chunked = "PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(client.exchange(chunked).status, 201);
    // Another connection, so perhaps another event loop.
    let mut other = Client::connect(&table.address);
    assert_eq!(other.get("/c").body, b"abcde");
    assert_eq!(other.call("DELETE", "/c").status, 204);
    assert_eq!(client.get("/c").status, 404);
    let refused = client.call("POST", "/a");
    assert_eq!((refused.status, refused.field("Allow")), (405, Some("GET, HEAD, PUT, DELETE")));
    let long = "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n";
    assert_eq!(other.exchange(long).status, 413);
}

#[test]
fn the_client_reads_back_what_it_stored() {
    let table = Example::start("table");
    let output = cargo_run("client").arg(&table.address).output().expect("cargo is there");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for key in 0..10 {
        assert!(text.contains(&format!("PUT /key{key}: HTTP/1.1 201 Created\n")), "{text}");
        let read = format!("GET /key{key}: HTTP/1.1 200 OK: value {key}\n");
        assert!(text.contains(&read), "{text}");
    }
}

/// HttpArena's `validate.sh`, profiles `baseline` and `limited-conn`: what is sent, and the body of the
/// 200 that has to come back.
fn arena_requests() -> Vec<(String, String)> {
    let mut numbers = testkit::Numbers::new(1);
    let mut random = || 100 + numbers.below(900);
    let (a, b, c) = (random(), random(), random());
    let get = |a: u64, b: u64, fields: &str| {
        format!("GET /baseline11?a={a}&b={b} HTTP/1.1\r\n{fields}\r\n")
    };
    let post = |a: u64, b: u64, fields: &str, body: &str| {
        format!("POST /baseline11?a={a}&b={b} HTTP/1.1\r\n{fields}\r\n{body}")
    };
    let typed = "Host: localhost\r\nContent-Type: text/plain\r\n";
    let chunked = format!("{typed}Transfer-Encoding: chunked\r\n");
    let browser =
        "Host: localhost\r\nUser-Agent: arena\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n";
    vec![
        (get(13, 42, "Host: localhost\r\n"), "55".to_owned()),
        (get(13, 42, browser), "55".to_owned()),
        (get(13, 42, "host: localhost\r\nuser-agent: arena\r\n"), "55".to_owned()),
        (get(a, b, "Host: localhost\r\n"), (a + b).to_string()),
        (post(13, 42, &format!("{typed}Content-Length: 2\r\n"), "20"), "75".to_owned()),
        (
            post(
                13,
                42,
                "host: localhost\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n",
                "20",
            ),
            "75".to_owned(),
        ),
        (
            post(a, b, &format!("{typed}Content-Length: 3\r\n"), &c.to_string()),
            (a + b + c).to_string(),
        ),
        (post(13, 42, &chunked, "2\r\n20\r\n0\r\n\r\n"), "75".to_owned()),
        (post(13, 42, &chunked, "1\r\n2\r\n1\r\n0\r\n0\r\n\r\n"), "75".to_owned()),
    ]
}

#[test]
fn the_arena_sums_as_httparena_asks() {
    let arena = Example::start("arena");
    let mut client = Client::connect(&arena.address);
    for (request, body) in arena_requests() {
        let response = client.exchange(&request);
        assert_eq!((response.status, response.line()), (200, body.clone()), "{request}");
        assert_eq!(response.field("Content-Type"), Some("text/plain"));
        // In two pieces, divided anywhere.
        for at in 1..request.len() {
            client.send(&request[..at]);
            client.send(&request[at..]);
            let response = client.response();
            assert_eq!(
                (response.status, response.line()),
                (200, body.clone()),
                "at {at}: {request}"
            );
        }
    }
    // `limited-conn`: ten requests, then another connection.
    for _ in 0..3 {
        let mut client = Client::connect(&arena.address);
        for (request, body) in arena_requests().into_iter().cycle().take(10) {
            assert_eq!(client.exchange(&request).line(), body);
        }
    }
    let get = "GET /baseline11?a=13&b=42 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let response = client.exchange(get);
    assert_eq!((response.line(), response.field("Connection")), ("55".to_owned(), Some("close")));
    client.assert_closed();
}

#[test]
fn the_arena_refuses_what_it_cannot_sum() {
    let arena = Example::start("arena");
    let mut client = Client::connect(&arena.address);
    assert_eq!(client.get("/baseline11?a=1&b=x").status, 400);
    assert_eq!(client.get("/baseline11?a=9223372036854775807&b=1").status, 400);
    assert_eq!(client.get("/baseline11").line(), "0");
    assert_eq!(client.get("/baseline11?a=%31&b=2").status, 400);
    assert_eq!(client.get("/%62aseline11?a=1&b=2").line(), "3");
    assert_eq!(client.get("/other").status, 404);
    let refused = client.call("POST", "/pipeline");
    assert_eq!((refused.status, refused.field("Allow")), (405, Some("GET, HEAD")));
    let long = format!(
        "POST /baseline11 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        "8\r\n11111111\r\n".repeat(4)
    );
    assert_eq!(client.exchange(&long).status, 413);
    assert_eq!(client.get("/pipeline").line(), "ok");
}

#[test]
fn the_arena_answers_a_pipeline_of_sixteen() {
    let arena = Example::start("arena");
    let mut client = Client::connect(&arena.address);
    client.send("GET /pipeline HTTP/1.1\r\nHost: localhost:8080\r\n\r\n".repeat(16));
    for _ in 0..16 {
        let response = client.response();
        assert_eq!((response.status, response.line()), (200, "ok".to_owned()));
        assert_eq!(response.field("Content-Type"), Some("text/plain"));
    }
}

/// TechEmpower's `toolset/test_types`: the fields that its verification requires, a Date that is not
/// cached for long, and the bodies.
#[test]
fn the_arena_answers_as_techempower_asks() {
    let arena = Example::start("arena");
    let mut client = Client::connect(&arena.address);
    for (path, content_type) in [("/plaintext", "text/plain"), ("/json", "application/json")] {
        let response = client.get(path);
        assert_eq!(response.status, 200);
        assert_eq!(response.field("Content-Type"), Some(content_type));
        let length = response.body.len().to_string();
        assert_eq!(response.field("Content-Length"), Some(length.as_str()));
        assert!(response.field("Server").is_some_and(|name| !name.is_empty()));
        assert!(response.field("Date").is_some_and(|date| date.ends_with(" GMT")));
    }
    assert_eq!(client.get("/plaintext").body, b"Hello, World!");
    let object: serde_json::Value =
        serde_json::from_slice(&client.get("/json").body).expect("JSON");
    assert_eq!(object, serde_json::json!({ "message": "Hello, World!" }));
    let date = |client: &mut Client| client.get("/plaintext").field("Date").map(str::to_owned);
    let first = date(&mut client);
    while date(&mut client) == first {}
}
