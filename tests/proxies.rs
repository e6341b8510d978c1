//! nginx, HAProxy and Varnish in front of the server: plain use works through each, and no message
//! makes a proxy and the server disagree about where a request ends. A test whose program isn't
//! installed says so and passes; `.ci/install` installs all of them.

mod peers;
mod util;

use std::fmt::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use peers::proxy::{Kind, Proxy};
use peers::tap::Tap;
use peers::vectors::{self, Inside};
use peers::wire::Peer;
use util::{Numbers, Server, show};

/// How long the first response to a vector may take before there is taken to be none: some leave
/// proxy or server waiting for the rest of a request.
const FIRST: Duration = Duration::from_millis(250);
/// How long nothing may have come before a connection counts as answered. A response that comes
/// later is not missed: the relay counts it before the test ends.
const QUIET: Duration = Duration::from_millis(20);

fn request(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let length = if body.is_empty() && method != "PUT" && method != "POST" {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{length}\r\n").into_bytes();
    request.extend_from_slice(body);
    request
}

fn chunked(target: &str, value: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut request =
        format!("PUT {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .into_bytes();
    let mut rest = value;
    while !rest.is_empty() {
        let len = usize::try_from(1 + numbers.below(100_000)).unwrap().min(rest.len());
        request.extend_from_slice(format!("{len:x}\r\n").as_bytes());
        request.extend_from_slice(&rest[..len]);
        request.extend_from_slice(b"\r\n");
        rest = &rest[len..];
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

/// Runs `check` for each place where the program listens, in front of a server of its own.
fn through(kind: Kind, check: impl Fn(&str, &Path, &Tap)) {
    let server = Server::start(&["--value-bytes-max", "12MiB"]);
    let tap = Tap::start(server.address());
    let Some(proxy) = Proxy::start(kind, &tap.address) else { return };
    for (name, path) in &proxy.fronts {
        check(name, path, &tap);
    }
}

fn plain_use(kind: Kind) {
    through(kind, |front, path, tap| {
        let connections = tap.connections();
        let mut peer = Peer::connect(path);
        let key = |name: &str| format!("/{front}/{name}");
        let mut status = |method: &str, target: &str, body: &[u8]| {
            peer.send(request(method, target, body));
            peer.next(method == "HEAD").unwrap_or_else(|| panic!("{front}: {method} {target}"))
        };
        let a = key("a");
        assert_eq!(status("GET", &a, b"").status, 404, "{front}");
        assert_eq!(status("POST", &a, b"one").status, 201, "{front}");
        assert_eq!(status("GET", &a, b"").body, b"one", "{front}");
        assert_eq!(status("PUT", &a, b"second").status, 204, "{front}");
        let head = status("HEAD", &a, b"");
        assert_eq!((head.status, head.field("Content-Length")), (200, Some("6")), "{front}");
        assert_eq!(status("DELETE", &a, b"").status, 204, "{front}");
        assert_eq!(status("DELETE", &a, b"").status, 404, "{front}");
        assert_eq!(status("OPTIONS", &a, b"").status, 204, "{front}");
        assert_eq!(status("PROPFIND", &a, b"<x/>").status, 404, "{front}");
        assert_eq!(status("PATCH", &a, b"x").status, 405, "{front}");
        // An empty value, and keys that a proxy could be tempted to tidy up.
        for name in ["empty", "%01%ff", "a//b", "a/./b", "a/%2e%2e/b", "a%2Fb", "~!$&'()*+,;=:@"] {
            let value = if name == "empty" { "" } else { name };
            assert_eq!(status("PUT", &key(name), value.as_bytes()).status, 201, "{front} {name}");
            assert_eq!(status("GET", &key(name), b"").body, value.as_bytes(), "{front} {name}");
        }
        // Many requests on one connection, and few connections behind the proxy.
        for n in 0..200_u32 {
            let value = format!("value {n}");
            status("PUT", &a, value.as_bytes());
            assert_eq!(status("GET", &a, b"").body, value.as_bytes(), "{front}");
        }
        let opened = tap.connections() - connections;
        assert!(opened <= 8, "{front}: {opened} connections for one client: no keep-alive");
    });
}

fn large_bodies(kind: Kind) {
    through(kind, |front, path, _| {
        let mut numbers = Numbers::new(7);
        let value = numbers.bytes(10 << 20);
        let plain = request("PUT", &format!("/{front}/plain"), &value);
        let chunks = chunked(&format!("/{front}/chunked"), &value, &mut numbers);
        for (target, upload) in [("plain", plain), ("chunked", chunks)] {
            let mut peer = Peer::connect(path);
            let sender = peer.send_beside(upload);
            assert_eq!(peer.answer().status, 201, "{front} {target}");
            sender.join().unwrap();
            let answer = peer.exchange(request("GET", &format!("/{front}/{target}"), b""));
            assert_eq!(answer.status, 200, "{front} {target}");
            assert!(answer.body == value, "{front} {target}: the value has changed");
        }
        // With Expect the body follows the interim response, from the proxy or the server.
        let mut peer = Peer::connect(path);
        let head = format!(
            "PUT /{front}/plain HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
             Content-Length: {}\r\n\r\n",
            value.len()
        );
        peer.send(head);
        let sender = peer.send_beside(value);
        assert_eq!(peer.answer().status, 204, "{front}");
        sender.join().unwrap();
    });
}

/// A value over the limit is refused while it is being sent; the client must get to read that.
fn too_large_a_body(kind: Kind) {
    through(kind, |front, path, _| {
        let value = Numbers::new(8).bytes(13 << 20);
        let target = format!("/{front}/over");
        let plain = request("PUT", &target, &value);
        let chunks = chunked(&target, &value, &mut Numbers::new(9));
        for upload in [plain, chunks] {
            let mut peer = Peer::connect(path);
            let sender = peer.send_beside(upload);
            let answer = peer.next(false);
            drop(peer);
            sender.join().unwrap();
            // A proxy that is still sending may miss the answer and make up one of its own.
            let status = answer.map_or(0, |answer| answer.status);
            assert!([413, 502, 503].contains(&status), "{front}: {status}");
            let answer = Peer::connect(path).exchange(request("GET", &target, b""));
            assert_eq!(answer.status, 404, "{front}");
        }
    });
}

fn pipelines(kind: Kind) {
    through(kind, |front, path, _| {
        let mut peer = Peer::connect(path);
        let mut sent = Vec::new();
        for n in 0..100 {
            let target = format!("/{front}/p{}", n % 10);
            sent.extend(request("PUT", &target, format!("value {n}").as_bytes()));
            sent.extend(request("GET", &target, b""));
        }
        let sender = peer.send_beside(sent);
        for n in 0..100 {
            let stored = peer.answer().status;
            assert_eq!(stored, if n < 10 { 201 } else { 204 }, "{front} {n}");
            let answer = peer.answer();
            assert_eq!(answer.body, format!("value {n}").as_bytes(), "{front} {n}");
        }
        sender.join().unwrap();
    });
}

/// Sends every vector through one place of a proxy and gives what went wrong, a line each.
fn smuggle(path: &Path, tap: &Tap, is_stored: &dyn Fn(&str) -> bool, prefix: &str) -> String {
    let mut findings = String::new();
    let mut victim = Peer::connect(path);
    for (n, (vector, target)) in
        vectors::all(|n| format!("/{prefix}/poison{n}")).into_iter().enumerate()
    {
        let mut attacker = Peer::connect(path);
        attacker.send(&vector.bytes);
        let answers = attacker.gather(FIRST, QUIET);
        // While the attacker's connection is open, then again after it has gone.
        let mut wrong = probe(path, &mut victim, &format!("{prefix}-{n}-open"));
        drop(attacker);
        wrong = wrong.or_else(|| probe(path, &mut victim, &format!("{prefix}-{n}-gone")));
        if answers.len() > vector.owed_max() {
            wrong = Some(format!("{} responses to one request", answers.len()));
        }
        if is_stored(&target) && (vector.inside == Inside::Hidden || !tap.forwarded(&target)) {
            wrong = Some("the second request was carried out".to_owned());
        }
        wrong = wrong.or_else(|| tap.surplus());
        if let Some(wrong) = wrong {
            let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
            let sent = show(&vector.bytes);
            let _ = writeln!(findings, "{}: {wrong}\n  {statuses:?} to\n    {sent}", vector.name);
        }
    }
    findings
}

/// Whether another client gets its own answers: on a connection from before, and on a new one.
fn probe(path: &Path, victim: &mut Peer, name: &str) -> Option<String> {
    let mut fresh = Peer::connect(path);
    for (who, peer) in [("the connection from before", victim), ("a new connection", &mut fresh)] {
        let target = format!("/probe-{}-{name}", who.len());
        for (method, body, status) in [("PUT", name, 201), ("GET", "", 200), ("DELETE", "", 204)] {
            peer.send(request(method, &target, body.as_bytes()));
            let Some(answer) = peer.next(false) else {
                return Some(format!("{who} ended instead of answering"));
            };
            let expected: &[u8] = if method == "GET" { name.as_bytes() } else { b"" };
            if answer.status != status || answer.body != expected {
                return Some(format!("{who} got a wrong answer to {method}: {answer:?}"));
            }
        }
    }
    None
}

fn no_smuggling(kind: Kind) {
    let server = Server::start(&[]);
    let tap = Tap::start(server.address());
    let Some(proxy) = Proxy::start(kind, &tap.address) else { return };
    let is_stored = |target: &str| server.connect().get(target).status == 200;
    for (front, path) in &proxy.fronts {
        let findings = smuggle(path, &tap, &is_stored, front);
        assert!(findings.is_empty(), "{front}:\n{findings}");
    }
    assert!(tap.requests() > 1_000, "the proxy marked too few requests to have been tested");
    thread::sleep(FIRST);
    assert_eq!(tap.surplus(), None);
}

macro_rules! of_each {
    ($($test:ident),* $(,)?) => {
        mod nginx { $( #[test] fn $test() { super::$test(super::Kind::Nginx); } )* }
        mod haproxy { $( #[test] fn $test() { super::$test(super::Kind::Haproxy); } )* }
        mod varnish { $( #[test] fn $test() { super::$test(super::Kind::Varnish); } )* }
    };
}

of_each!(plain_use, large_bodies, too_large_a_body, pipelines, no_smuggling);
