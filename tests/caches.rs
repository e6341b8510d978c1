//! nginx and Varnish as caches in front of the server, by their own rules: none of them serves a value
//! that has been replaced, if the server says how long its answers may be kept. A test whose program
//! isn't installed says so and passes; `.ci/install` installs both.

mod peers;

use peers::proxy::{Kind, Proxy};
use peers::wire::Peer;
use socket2::SockAddr;
use testkit::{Response, Server};

fn get(place: &SockAddr, target: &str, lines: &str) -> Response {
    let mut peer = Peer::connect(place);
    peer.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    peer.answer()
}

/// How often the server has answered a GET with a status of a class.
fn gets(server: &Server, class: &str) -> u64 {
    let metrics = server.connect().get("/metrics").line();
    let name = format!("corekv_requests_total{{method=\"GET\",status=\"{class}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok());
    count.unwrap_or(0)
}

/// Replaces a value behind the back of whatever is in front, deletes it and stores it again.
fn nothing_replaced_is_served(kind: Kind) {
    let server = Server::start(&["--cache-headers", "no-cache", "--etag"]);
    let Some(proxy) = Proxy::start(kind, server.address()) else { return };
    let mut client = server.connect();
    for (front, place) in &proxy.fronts {
        let target = format!("/{front}");
        assert_eq!(get(place, &target, "").status, 404, "{front}");
        for n in 0..50 {
            let value = format!("value {n}");
            client.put(&target, &value);
            for _ in 0..3 {
                let answer = get(place, &target, "");
                assert_eq!((answer.status, answer.line()), (200, value.clone()), "{front}");
            }
            let tag = get(place, &target, "").field("ETag").map(str::to_owned);
            let lines = format!("If-None-Match: {}\r\n", tag.expect("a tag"));
            // nginx answers such a request itself, and only from what it keeps.
            let expected = if kind == Kind::NginxCache { 200 } else { 304 };
            assert_eq!(get(place, &target, &lines).status, expected, "{front}");
            if n % 5 == 4 {
                client.call("DELETE", &target);
                assert_eq!(get(place, &target, "").status, 404, "{front}");
            }
        }
    }
}

#[test]
#[ignore = "takes ten seconds, and nginx; .ci/run runs it"]
fn nginx_serves_nothing_that_was_replaced() {
    nothing_replaced_is_served(Kind::NginxCache);
}

#[test]
#[ignore = "takes ten seconds, and Varnish; .ci/run runs it"]
fn varnish_serves_nothing_that_was_replaced() {
    nothing_replaced_is_served(Kind::VarnishCache);
}

/// A cache that was told to keep all asks whether it has changed, and is answered in few bytes.
#[test]
#[ignore = "takes a few seconds, and Varnish; .ci/run runs it"]
fn varnish_revalidates() {
    let server = Server::start(&["--cache-headers", "no-cache", "--etag"]);
    let Some(proxy) = Proxy::start(Kind::VarnishCache, server.address()) else { return };
    let (_, place) = proxy.fronts.iter().find(|(name, _)| *name == "revalidating").expect("it");
    let value = "v".repeat(10_000);
    server.connect().put("/k", &value);
    for n in 0..10 {
        assert_eq!(get(place, "/k", "").line(), value);
        assert_eq!(gets(&server, "3xx"), n, "not revalidated");
    }
}

/// What the option is there for: without it Varnish keeps a value for two minutes. So the tests above
/// can fail.
#[test]
#[ignore = "takes a few seconds, and Varnish; .ci/run runs it"]
fn without_cache_headers_varnish_serves_what_was_replaced() {
    let server = Server::start(&[]);
    let Some(proxy) = Proxy::start(Kind::VarnishCache, server.address()) else { return };
    let (_, place) = proxy.fronts.iter().find(|(name, _)| *name == "builtin").expect("it");
    server.connect().put("/k", "old");
    assert_eq!(get(place, "/k", "").line(), "old");
    server.connect().put("/k", "new");
    assert_eq!(get(place, "/k", "").line(), "old");
}

/// With `max-age`, a cache keeps a value for as long as it lives on the server, and no longer.
#[test]
#[ignore = "takes a few seconds, and nginx; .ci/run runs it"]
fn nginx_keeps_a_value_for_the_rest_of_its_life() {
    let server = Server::start(&["--cache-headers", "max-age"]);
    let Some(proxy) = Proxy::start(Kind::NginxCache, server.address()) else { return };
    let (_, place) = &proxy.fronts[0];
    let mut client = server.connect();
    client.put_with("/k", "Cache-Control: max-age=3\r\n", "v");
    client.put("/stays", "v");
    assert_eq!(get(place, "/k", "").field("X-Cache"), Some("MISS"));
    assert_eq!(get(place, "/k", "").field("X-Cache"), Some("HIT"));
    testkit::eventually("it has expired in both places", || get(place, "/k", "").status == 404);
    assert_eq!(client.get("/k").status, 404);
    for _ in 0..3 {
        assert_eq!(get(place, "/stays", "").field("X-Cache"), Some("MISS"));
    }
}
