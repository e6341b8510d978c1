//! Time to live: at least what was promised, at most one second longer.

use std::thread;
use std::time::{Duration, Instant};

use testkit::{Client, Server, eventually};

const SECOND: Duration = Duration::from_secs(1);
/// What a loaded test machine may add between the server's clock and the test's.
const SLACK: Duration = Duration::from_millis(400);

/// Watches a key that was written between `before` and `after` until it is gone, and fails
/// unless that was between `ttl` and `ttl` plus one second later.
fn watch(client: &mut Client, target: &str, (before, after): (Instant, Instant), ttl: Duration) {
    loop {
        let asked = Instant::now();
        let response = client.get(target);
        let answered = Instant::now();
        if response.status == 404 {
            assert!(
                answered.duration_since(before) >= ttl,
                "{target} lived only {:?} of {ttl:?}",
                answered.duration_since(before)
            );
            return;
        }
        assert!(
            asked.duration_since(after) <= ttl + SECOND + SLACK,
            "{target} still lives after {:?}, {ttl:?} were promised",
            asked.duration_since(after)
        );
        thread::sleep(Duration::from_millis(10));
    }
}

fn written(client: &mut Client, target: &str, lines: &str) -> (Instant, Instant) {
    let before = Instant::now();
    assert_eq!(client.put_with(target, lines, "v").status, 201);
    (before, Instant::now())
}

#[test]
fn a_key_lives_as_long_as_its_max_age_says() {
    let server = Server::start(&[]);
    let threads: Vec<_> = (0..8_u64)
        .map(|n| {
            let mut client = server.connect();
            thread::spawn(move || {
                // Spread over the clock's ticks, which no request can choose.
                thread::sleep(Duration::from_millis(n * 37));
                let ttl = 1 + n % 2;
                let target = format!("/k{n}");
                let lines = format!("Cache-Control: max-age={ttl}\r\n");
                let at = written(&mut client, &target, &lines);
                watch(&mut client, &target, at, SECOND * ttl as u32);
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("the key lived as promised");
    }
}

#[test]
fn the_servers_ttl_holds_for_keys_without_their_own() {
    let server = Server::start(&["--ttl", "1s"]);
    let mut client = server.connect();
    let at = written(&mut client, "/k", "");
    let mut longer = server.connect();
    written(&mut longer, "/own", "Cache-Control: max-age=60\r\n");
    watch(&mut client, "/k", at, SECOND);
    assert_eq!(longer.get("/own").status, 200, "a key's own time beats the server's");
}

#[test]
fn an_expired_key_is_absent_for_every_method() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for key in ["get", "head", "delete", "propfind", "put", "post"] {
        written(&mut client, &format!("/{key}"), "Cache-Control: max-age=1\r\n");
    }
    written(&mut client, "/kept", "");
    // Written last, so that all the others are gone once it is.
    let probe = written(&mut client, "/probe", "Cache-Control: max-age=1\r\n");
    watch(&mut client, "/probe", probe, SECOND);
    assert_eq!(client.get("/get").status, 404);
    assert_eq!(client.call("HEAD", "/head").status, 404);
    assert_eq!(client.call("DELETE", "/delete").status, 404);
    assert_eq!(client.call("PROPFIND", "/propfind").status, 404);
    assert_eq!(client.put("/put", "v").status, 201);
    let post = "POST /post HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nv";
    assert_eq!(client.exchange(post).status, 201);
    assert_eq!(client.get("/kept").line(), "v");
    // Two seconds later the count has noticed, and nobody had to ask for the keys.
    eventually("the count without the expired keys", || client.size() == 3);
}

#[test]
fn expired_keys_leave_the_count_without_being_asked_for() {
    let server = Server::start(&["--ttl", "1s"]);
    let mut client = server.connect();
    for n in 0..1_000 {
        assert_eq!(client.put(&format!("/k{n}"), "v").status, 201);
    }
    let done = Instant::now();
    eventually("an empty cache", || client.size() == 0);
    let took = done.elapsed();
    assert!(took <= SECOND * 4 + SLACK, "the count took {took:?} to notice");
}

#[test]
fn a_write_restarts_the_life() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let first = written(&mut client, "/k", "Cache-Control: max-age=1\r\n");
    thread::sleep(Duration::from_millis(600));
    let before = Instant::now();
    let again = client.put_with("/k", "Cache-Control: max-age=2\r\n", "v");
    if before.duration_since(first.0) < SECOND {
        assert_eq!(again.status, 204, "the key was alive");
    }
    watch(&mut client, "/k", (before, Instant::now()), SECOND * 2);

    // A write without a time of its own takes the old one away.
    written(&mut client, "/k", "Cache-Control: max-age=1\r\n");
    client.put("/k", "for ever");
    let probe = written(&mut client, "/probe", "Cache-Control: max-age=1\r\n");
    watch(&mut client, "/probe", probe, SECOND);
    assert_eq!(client.get("/k").line(), "for ever");
}

#[test]
fn a_max_age_of_zero_is_no_time_of_its_own() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let zero = "Cache-Control: max-age=0\r\n";
    assert_eq!(client.put_with("/k", zero, "v").status, 201);
    assert_eq!(client.get("/k").line(), "v");
    assert_eq!(client.put_with("/k", zero, "w").status, 204);
    assert_eq!(client.get("/k").line(), "w");
    let chunked = "POST /k HTTP/1.1\r\nHost: t\r\nCache-Control: no-cache, max-age=000\r\n\
                   Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    assert_eq!(client.exchange(chunked).status, 204);
    assert_eq!(client.get("/k").line(), "x");
    let delete = "DELETE /k HTTP/1.1\r\nHost: t\r\nCache-Control: max-age=0\r\n\r\n";
    assert_eq!(client.exchange(delete).status, 204);
    assert_eq!(client.get("/k").status, 404);

    // The value gets the server's time, as a write without the directive does.
    let server = Server::start(&["--ttl", "1s"]);
    let mut client = server.connect();
    let at = written(&mut client, "/k", zero);
    watch(&mut client, "/k", at, SECOND);
    written(&mut client, "/k", "Cache-Control: max-age=60\r\n");
    let before = Instant::now();
    assert_eq!(client.put_with("/k", zero, "v").status, 204);
    watch(&mut client, "/k", (before, Instant::now()), SECOND);
}

#[test]
fn max_age_is_read_from_any_spelling_of_cache_control() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut short = Vec::new();
    for (n, lines) in [
        "Cache-Control: max-age=1\r\n",
        "cache-control: MAX-AGE=1\r\n",
        "Cache-Control: no-transform, max-age=1 , private\r\n",
        "Cache-Control:max-age=\"1\"\r\n",
        "Cache-Control: private\r\nX: y\r\nCache-Control: max-age=1\r\n",
        "Cache-Control: max-age=1, max-age=1\r\n",
        "Cache-Control: max-age=1\r\nCache-Control: max-age=1\r\n",
        "Cache-Control: max-age=01\r\n",
        "Cache-Control: foo=\"max-age=7\", max-age=1\r\n",
        "Cache-Control: foo=\"a, max-age=7, b\", max-age=1\r\n",
        "Cache-Control: max-age=\"\\1\"\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("/short{n}");
        short.push((written(&mut client, &target, lines), target));
    }
    for (n, lines) in [
        "Cache-Control: no-cache\r\n",
        "Cache-Control: s-maxage=1\r\n",
        "Cache-Control: x-max-age=1\r\n",
        "Cache-Control: public, immutable\r\n",
        "Cache-Control:\r\n",
        "X-Cache-Control: max-age=1\r\n",
        "Cache-Control: max-age=0\r\n",
        "Cache-Control: max-age=99999999999999999999999999\r\n",
        "Cache-Control: max-age=4294967295\r\n",
        "Cache-Control: max-age=4294967296\r\n",
        "Cache-Control: max-age=18446744073709551616\r\n",
        "Cache-Control: max-age=60\r\n",
        "Cache-Control: private=\"x, max-age=1\"\r\n",
        "Cache-Control: foo=\"a\\\", max-age=1, b\"\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        written(&mut client, &format!("/long{n}"), lines);
    }
    for (at, target) in short {
        watch(&mut client, &target, at, SECOND);
    }
    for n in 0..14 {
        assert_eq!(client.get(&format!("/long{n}")).status, 200, "long{n}");
    }
}

#[test]
fn a_malformed_max_age_is_refused_and_stores_nothing() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.put("/k", "old");
    for value in [
        "max-age",
        "max-age=",
        "max-age=x",
        "max-age=-1",
        "max-age=+1",
        "max-age=1.5",
        "max-age=1s",
        "max-age=1 0",
        "max-age=0x1",
        "max-age=\"1",
        "max-age=1\"",
        "max-age=\"\"",
        "max-age=\"1\\\"",
        "max-age=\"1, 2\"",
        "max-age=1, max-age=2",
        "max-age=0, max-age=1",
        "private, max-age=",
    ] {
        let lines = format!("Cache-Control: {value}\r\n");
        let error = client.put_with("/k", &lines, "GET /x HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(error.status, 400, "{value:?}");
        error.assert_soft_error(400);
        assert!(error.line().to_lowercase().contains("max-age"), "{:?}", error.line());
    }
    let lines = "Cache-Control: max-age=1\r\nCache-Control: max-age=2\r\n";
    client.put_with("/k", lines, "v").assert_soft_error(400);
    assert_eq!(client.get("/k").line(), "old");
    // A read does not care.
    let read = "GET /k HTTP/1.1\r\nHost: t\r\nCache-Control: max-age=x\r\n\r\n";
    assert_eq!(client.exchange(read).line(), "old");
}
