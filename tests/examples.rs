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
