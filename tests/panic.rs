//! A panic ends the process with a message: a deaf core would leave its connections hanging.

use std::fs::File;
use std::io::{PipeWriter, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use corekv::http::{self, Handler, Protocol, Request, Requests, Responses};
use corekv::net::{self, Address};

/// Set in the process that is to panic: a test runs itself as a child.
const CHILD: &str = "COREKV_TEST_PANICS";

/// How long a process gets to end.
const PATIENCE: Duration = Duration::from_secs(30);

struct Panics;

impl Handler for Panics {
    type Lookup = ();
    type Pending = ();

    fn look_up(&mut self, _request: &Request<'_>) {}

    fn answer(&mut self, _requests: Requests<'_, ()>, _responses: &mut Responses<'_>) {
        panic!("the handler gave up");
    }
}

fn bind(settings: net::Settings) -> (net::Server, SocketAddr) {
    let address: Address = "127.0.0.1:0".parse().unwrap();
    let server = net::Server::bind(&[address], None, settings).unwrap();
    let Address::Tcp(address) = server.addresses()[0].clone() else { unreachable!() };
    (server, address)
}

fn run(server: net::Server) {
    server.run(|_| Protocol::new(Panics, http::Settings::default(), Arc::default())).unwrap();
}

fn serve_and_panic() {
    let (server, address) = bind(net::Settings::default());
    std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let _ = client.read(&mut [0]);
    });
    run(server);
}

/// Runs a test of this file as a child that panics, with that standard error. How it ended; a child
/// that does not end fails the test.
#[track_caller]
fn child(test: &str, stderr: impl Into<Stdio>) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("the process does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

#[test]
fn a_panic_in_one_core_ends_the_process_with_a_message() {
    if is_child() {
        return serve_and_panic();
    }
    let output = child("a_panic_in_one_core_ends_the_process_with_a_message", Stdio::piped());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(message.contains("the handler gave up"), "{message}");
    assert!(message.contains("panicked; ending the process"), "{message}");
}

#[test]
fn a_panic_ends_the_process_where_standard_error_takes_nothing() {
    if is_child() {
        return serve_and_panic();
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (reader, gone) = std::io::pipe().unwrap();
    drop(reader);
    for stderr in [Stdio::from(full), Stdio::from(gone)] {
        let output = child("a_panic_ends_the_process_where_standard_error_takes_nothing", stderr);
        assert!(!output.status.success());
    }
}

#[test]
fn a_panic_of_the_program_does_not_wait_for_standard_error() {
    if is_child() {
        // As the program does; the standard library's own report would wait.
        corekv::logging::report_panics();
        return serve_and_panic();
    }
    let (_reader, mut pipe) = std::io::pipe().unwrap();
    fill(&mut pipe);
    let output = child("a_panic_of_the_program_does_not_wait_for_standard_error", pipe);
    assert!(!output.status.success());
}

/// Fills a pipe.
fn fill(pipe: &mut PipeWriter) {
    let flags = rustix::fs::fcntl_getfl(&*pipe).unwrap();
    rustix::fs::fcntl_setfl(&*pipe, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while pipe.write(&[b'x'; 4096]).is_ok() {}
    while pipe.write(b"x").is_ok() {}
    rustix::fs::fcntl_setfl(&*pipe, flags).unwrap();
}

#[test]
fn a_panic_of_the_acceptor_ends_the_server() {
    if is_child() {
        let settings = net::Settings { connections_max: 1, ..net::Settings::default() };
        let (server, address) = bind(settings);
        let server = server.reject_with(|| panic!("no words"));
        std::thread::spawn(move || {
            // More than are let in or told so by the loops.
            let clients: Vec<_> = (0..200).map(|_| TcpStream::connect(address)).collect();
            std::thread::sleep(PATIENCE * 2);
            drop(clients);
        });
        return run(server);
    }
    let output = child("a_panic_of_the_acceptor_ends_the_server", Stdio::piped());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(message.contains("no words"), "{message}");
}
