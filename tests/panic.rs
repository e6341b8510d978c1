//! A panic in one core ends the process with a message: a deaf core would leave its
//! connections hanging.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;

use corekv::http::{self, Handler, Protocol, Requests, Responses};
use corekv::net::{self, Address};

/// Set in the process that is to panic: this test runs itself as a child.
const CHILD: &str = "COREKV_TEST_PANICS";

struct Panics;

impl Handler for Panics {
    type Upload = ();
    type Batch = ();

    fn handle(&mut self, _requests: Requests<'_>, (): &mut (), _responses: &mut Responses<'_>) {
        panic!("the handler gave up");
    }
}

fn serve_and_panic() {
    let address: Address = "127.0.0.1:0".parse().unwrap();
    let server = net::Server::bind(&[address], None, net::Settings::default()).unwrap();
    let Address::Tcp(address) = server.addresses()[0].clone() else { unreachable!() };
    std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let _ = client.read(&mut [0]);
    });
    server.run(|_| Protocol::new(Panics, http::Settings::default(), Arc::default())).unwrap();
}

#[test]
fn a_panic_in_one_core_ends_the_process_with_a_message() {
    if std::env::var_os(CHILD).is_some() {
        return serve_and_panic();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_panic_in_one_core_ends_the_process_with_a_message", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(message.contains("the handler gave up"), "{message}");
    assert!(message.contains("panicked; ending the process"), "{message}");
}
