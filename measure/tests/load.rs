//! The load sends what it says and counts what came back.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use corekv::cache::Metrics;
use corekv::net::{Address, Stopper};
use corekv::{Config, Cores, Server};
use measure::load::{Client, Distribution, Pace, Replies, Requests, Socket, Wire, Workload, value};

const KEYS: u64 = 500;

/// A corekv in this process; it ends with the value.
struct Corekv {
    address: Address,
    metrics: Arc<Metrics>,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Corekv {
    fn start() -> Self {
        let config = Config {
            listen: vec!["127.0.0.1:0".parse().expect("an address")],
            cores: Cores::List(vec![0]),
            pin: false,
            memory_bytes_max: 64 << 20,
            ..Config::default()
        };
        let server = Server::bind(&config).expect("a server");
        let (stopper, metrics) = (server.stopper(), server.metrics());
        let address = server.local_addrs().remove(0);
        let thread = thread::spawn(move || server.run().expect("it runs"));
        Self { address, metrics, stopper, thread: Some(thread) }
    }

    fn requests(&self) -> u64 {
        self.metrics.requests().iter().sum()
    }

    fn replies(&self, value_bytes: usize) -> Replies {
        let socket = Socket::connect(&self.address).expect("a connection");
        Replies::learn(&Wire::http(), &socket, value_bytes, true).expect("replies")
    }

    fn client(&self) -> Client {
        Client {
            address: self.address.clone(),
            cores: vec![corekv::net::allowed_cores().expect("cores")[0]],
            connections: 3,
            warm_up: Duration::from_millis(5),
            duration: Duration::from_millis(50),
        }
    }
}

impl Drop for Corekv {
    fn drop(&mut self) {
        self.stopper.stop();
        let _ = self.thread.take().expect("it is joined once").join();
    }
}

fn workload(value_bytes: usize) -> Workload {
    Workload {
        keys: KEYS,
        distribution: Distribution::Zipf(0.99),
        write_percent: 50,
        differing_heads: true,
        value_bytes,
    }
}

#[test]
fn every_reply_is_counted_once() {
    for (value_bytes, pace) in [
        (8, Pace::Closed { depth: 1 }),
        (8, Pace::Closed { depth: 64 }),
        (64 << 10, Pace::Closed { depth: 10 }),
        (8, Pace::Open { rate: 2_000.0 }),
    ] {
        let corekv = Corekv::start();
        let (replies, client) = (corekv.replies(value_bytes), corekv.client());
        client.preload(&Wire::http(), 0..KEYS, &value(value_bytes), &replies).expect("stored");
        // The probe's key is one more.
        assert_eq!(corekv.metrics.store.keys(), KEYS + 1);
        let before = corekv.requests();
        let requests = Requests::draw(&Wire::http(), &workload(value_bytes), 1);
        let measured = client
            .run(&requests, &replies, pace, std::process::id())
            .expect("all replies are right");
        assert_eq!(measured.requests, measured.latency.len());
        // What was answered before and behind the measurement comes on top.
        assert!(corekv.requests() - before >= measured.requests, "{pace:?}");
        assert_eq!(corekv.metrics.store.keys(), KEYS + 1);
    }
}

#[test]
fn a_miss_is_not_taken_for_a_hit() {
    let corekv = Corekv::start();
    let replies = corekv.replies(8);
    let requests = Requests::draw(&Wire::http(), &workload(8), 1);
    // Nothing was stored.
    let result = corekv.client().run(&requests, &replies, Pace::Closed { depth: 10 }, 1);
    let error = result.expect_err("404 and 201 are no 200 and 204").to_string();
    assert!(error.starts_with("the reply to a "), "{error}");
}

#[test]
fn a_server_that_hangs_up_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        for stream in listener.incoming().take(4) {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        }
    });
    let corekv = Corekv::start();
    let client = Client { address: Address::Tcp(address), connections: 4, ..corekv.client() };
    let requests = Requests::draw(&Wire::http(), &workload(8), 1);
    let result = client.run(&requests, &corekv.replies(8), Pace::Closed { depth: 1 }, 1);
    result.expect_err("the connections were closed");
    server.join().expect("no panics");
}

/// A reply of each protocol, and what is in it.
#[test]
fn replies_are_told_from_failures() {
    let resp_hit: &[u8] = b"$2\r\nv1\r\n";
    let hit: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nv1";
    let cases: [(Wire, &[u8], &str); 6] = [
        (Wire::http(), hit, "v1"),
        (Wire::http(), b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        (Wire::Resp, resp_hit, "v1"),
        (Wire::Resp, b"+OK\r\n", ""),
        (Wire::Meta, b"VA 2\r\nv1\r\n", "v1"),
        (Wire::Meta, b"HD\r\n", ""),
    ];
    for (wire, reply, payload) in cases {
        for short in 0..reply.len() {
            assert_eq!(wire.parse_reply(&reply[..short]), Ok(None), "{wire:?}");
        }
        let (range, length) = wire.parse_reply(reply).expect("a reply").expect("whole");
        assert_eq!((&reply[range], length), (payload.as_bytes(), reply.len()));
    }
    let failures: [(Wire, &[u8]); 5] = [
        (Wire::http(), b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        (Wire::http(), b"HTTP/1.1 200 OK\r\n\r\n"),
        (Wire::Resp, b"$-1\r\n"),
        (Wire::Resp, b"-ERR unknown\r\n"),
        (Wire::Meta, b"EN\r\n"),
    ];
    for (wire, reply) in failures {
        wire.parse_reply(reply).expect_err("it is a failure");
    }
}
