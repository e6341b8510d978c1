//! nginx, HAProxy, Varnish and Apache Traffic Server in front of the server: plain use works through
//! each, and no message makes a proxy and the server disagree about where a request ends. A test whose
//! program isn't installed says so and passes; `.ci/install` installs all of them, and `.ci/run` runs
//! the ignored ones.

mod peers;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::slice;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use peers::proxy::{Kind, Proxy};
use peers::tap::Tap;
use peers::vectors::{self, Inside, Vector};
use peers::wire::Peer;
use socket2::SockAddr;
use testkit::{Numbers, Server, show};

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
fn through(kind: Kind, check: impl Fn(&str, &SockAddr, &Tap)) {
    let server = Server::start(&["--value-bytes-max", "12MiB"]);
    let tap = Tap::start(server.address());
    let Some(proxy) = Proxy::start(kind, &tap.address) else { return };
    for (name, place) in &proxy.fronts {
        check(name, place, &tap);
    }
}

fn plain_use(kind: Kind) {
    through(kind, |front, place, tap| {
        let connections = tap.connections();
        let mut peer = Peer::connect(place);
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
    through(kind, |front, place, _| {
        let mut numbers = Numbers::new(7);
        let value = numbers.bytes(10 << 20);
        let plain = request("PUT", &format!("/{front}/plain"), &value);
        let chunks = chunked(&format!("/{front}/chunked"), &value, &mut numbers);
        for (target, upload) in [("plain", plain), ("chunked", chunks)] {
            let mut peer = Peer::connect(place);
            let sender = peer.send_beside(upload);
            assert_eq!(peer.answer().status, 201, "{front} {target}");
            sender.join().unwrap();
            let answer = peer.exchange(request("GET", &format!("/{front}/{target}"), b""));
            assert_eq!(answer.status, 200, "{front} {target}");
            assert!(answer.body == value, "{front} {target}: the value has changed");
        }
        // With Expect the body follows the interim response, from the proxy or the server.
        let mut peer = Peer::connect(place);
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
    through(kind, |front, place, _| {
        let value = Numbers::new(8).bytes(13 << 20);
        let target = format!("/{front}/over");
        let plain = request("PUT", &target, &value);
        let chunks = chunked(&target, &value, &mut Numbers::new(9));
        for upload in [plain, chunks] {
            let mut peer = Peer::connect(place);
            let sender = peer.send_beside(upload);
            let answer = peer.next(false);
            drop(peer);
            sender.join().unwrap();
            // A proxy that is still sending may miss the answer and make up one of its own.
            let status = answer.map_or(0, |answer| answer.status);
            assert!([413, 502, 503].contains(&status), "{front}: {status}");
            let answer = Peer::connect(place).exchange(request("GET", &target, b""));
            assert_eq!(answer.status, 404, "{front}");
        }
    });
}

fn pipelines(kind: Kind) {
    through(kind, |front, place, _| {
        let mut peer = Peer::connect(place);
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

/// Sends vectors through one place of a proxy and gives what went wrong, a line each.
fn smuggle(
    vectors: &[(Vector, String)],
    place: &SockAddr,
    tap: &Tap,
    is_stored: &dyn Fn(&str) -> bool,
) -> String {
    let mut findings = String::new();
    let mut victim = Peer::connect(place);
    for (vector, target) in vectors {
        let name = target.trim_start_matches('/');
        let mut attacker = Peer::connect(place);
        let (first, rest) = vector.bytes.split_at(vector.first);
        attacker.send(first);
        let mut answers = attacker.gather(FIRST, QUIET);
        if !rest.is_empty() {
            attacker.send(rest);
            answers.extend(attacker.gather(FIRST, QUIET));
        }
        let mut wrong = Vec::new();
        // At once: a later request could be swallowed by what is left of the smuggled one, and
        // the numbers would be even again.
        wrong.extend(tap.surplus());
        // While the attacker's connection is open, then again after it has gone.
        wrong.extend(probe(place, &mut victim, &format!("{name}-open")));
        drop(attacker);
        wrong.extend(probe(place, &mut victim, &format!("{name}-gone")));
        wrong.extend(tap.surplus());
        if answers.len() > vector.owed_max() {
            wrong.push(format!("{} answers came", answers.len()));
        }
        if is_stored(target) && (vector.inside == Inside::Hidden || !tap.forwarded(target)) {
            wrong.push("the second request was carried out".to_owned());
        }
        if !wrong.is_empty() {
            let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
            let (wrong, sent) = (wrong.join("; "), show(&vector.bytes));
            let _ = writeln!(findings, "{}: {wrong}\n  {statuses:?} to\n    {sent}", vector.name);
        }
    }
    findings
}

/// Whether another client gets its own answers: on a connection from before, and on a new one.
fn probe(place: &SockAddr, victim: &mut Peer, name: &str) -> Option<String> {
    let mut fresh = Peer::connect(place);
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
    for (front, place) in &proxy.fronts {
        let vectors = vectors::all(|n| format!("/{front}-poison-{n}"));
        let findings = smuggle(&vectors, place, &tap, &is_stored);
        assert!(findings.is_empty(), "{front}:\n{findings}");
    }
    assert!(tap.requests() > 1_000, "the proxy marked too few requests to have been tested");
    thread::sleep(FIRST);
    assert_eq!(tap.surplus(), None);
}

type Values = Mutex<HashMap<String, Vec<u8>>>;

/// A server that knows the length of a body for PUT alone: it takes the body of any other request
/// for the next one.
fn naive_server() -> (String, Arc<Values>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let stored: Arc<Values> = Arc::default();
    let kept = Arc::clone(&stored);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let stored = Arc::clone(&kept);
            stream.set_nodelay(true).expect("TCP_NODELAY");
            thread::spawn(move || serve_naively(stream, &stored));
        }
    });
    (address, stored)
}

fn serve_naively(mut stream: TcpStream, stored: &Values) -> Option<()> {
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let end = received.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
        let head = end.map(|end| String::from_utf8_lossy(&received[..end]).into_owned());
        let length = head.as_deref().filter(|head| head.starts_with("PUT ")).and_then(|head| {
            let head = head.to_ascii_lowercase();
            head.split_once("content-length: ")?.1.split_once('\r')?.0.parse().ok()
        });
        let total = end.map(|end| end + length.unwrap_or(0)).filter(|&n| n <= received.len());
        let (Some(head), Some(end), Some(total)) = (head, end, total) else {
            let len = stream.read(&mut piece).ok().filter(|&len| len > 0)?;
            received.extend_from_slice(&piece[..len]);
            continue;
        };
        let body = received[end..total].to_vec();
        received.drain(..total);
        let mut words = head.split(' ');
        let (method, target) = (words.next()?, words.next()?.to_owned());
        let mut stored = stored.lock().unwrap();
        let (line, body) = match method {
            "GET" => ("200 OK", stored.get(&target).cloned().unwrap_or_default()),
            "DELETE" => ("204 No Content", stored.remove(&target).map_or(vec![], |_| vec![])),
            _ => ("201 Created", stored.insert(target, body).map_or(vec![], |_| vec![])),
        };
        let length = match line {
            "204 No Content" => String::new(),
            _ => format!("Content-Length: {}\r\n", body.len()),
        };
        let answer = [format!("HTTP/1.1 {line}\r\n{length}\r\n").as_bytes(), &body].concat();
        stream.write_all(&answer).ok()?;
    }
}

/// The tests above can fail: behind a server that can be smuggled to, each of their ways to see it
/// sees it.
#[test]
fn a_naive_server_is_found_out() {
    let (address, stored) = naive_server();
    let tap = Tap::start(&address);
    let Some(proxy) = Proxy::start(Kind::Haproxy, &tap.address) else { return };
    let (_, place) = &proxy.fronts[0];
    let vectors = vectors::all(|n| format!("/poison-{n}"));
    let vector = vectors.iter().find(|(vector, _)| vector.name == "CL.0 by POST");
    let vector = vector.expect("a vector of this name").clone();
    let is_stored = |target: &str| stored.lock().unwrap().contains_key(target);

    let findings = smuggle(slice::from_ref(&vector), place, &tap, &is_stored);
    for finding in ["responses to", "the second request was carried out"] {
        assert!(findings.contains(finding), "{finding}: {findings}");
    }
    assert!(!tap.forwarded(&vector.1), "the proxy forwarded a body, not a request");

    // HAProxy drops a connection that has said more than it was asked; the probe is shown a wrong
    // answer by a request of which it doesn't know.
    let mut victim = Peer::connect(place);
    assert_eq!(probe(place, &mut victim, "right"), None);
    victim.send(request("GET", "/early", b""));
    let wrong = probe(place, &mut victim, "wrong").expect("an answer that was not asked for");
    assert!(wrong.contains("wrong answer"), "{wrong}");
}

macro_rules! of_each {
    ($($test:ident),* $(,)?) => {
        of_each!(nginx Nginx: $($test)*);
        of_each!(haproxy Haproxy: $($test)*);
        of_each!(varnish Varnish: $($test)*);
        of_each!(traffic_server TrafficServer: $($test)*);
    };
    ($proxy:ident $kind:ident: $($test:ident)*) => {
        mod $proxy {
            $(
                #[test]
                #[ignore = "takes a minute in all, and an installed proxy; .ci/run runs it"]
                fn $test() {
                    super::$test(super::Kind::$kind);
                }
            )*
        }
    };
}

of_each!(plain_use, large_bodies, too_large_a_body, pipelines, no_smuggling);
