//! PURGE: all keys below a path go at once.

use testkit::{Client, Server, eventually};

fn metric(client: &mut Client, name: &str) -> u64 {
    let page = client.get("/metrics").line();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} in {page}")).parse().expect("a number")
}

#[test]
fn every_key_that_begins_with_the_path_goes_and_no_other() {
    let server = Server::start(&["--keep-fields", "content-type"]);
    let mut client = server.connect();
    let large = "x".repeat(50_000);
    let inside = ["/ci/", "/ci/a", "/ci//", "/ci/a/b", "/%63i%2Fc", "/ci/%00", "/ci/large"];
    let outside = ["/ci", "/cia", "/CI/a", "//ci/a", "/x/ci/a", "/c", "/ci%2", "/large"];
    let outside = outside.map(|target| target.replace("%2", "%252F"));
    let values = |target: &str| if target.ends_with("large") { &large[..] } else { "v" };
    for round in 0..20 {
        for target in inside.iter().copied().chain(outside.iter().map(String::as_str)) {
            let lines = if round % 2 == 0 { "Content-Type: text/plain\r\n" } else { "" };
            let stored = client.put_with(target, lines, values(target)).status;
            let is_new = round == 0 || inside.contains(&target);
            assert_eq!(stored, if is_new { 201 } else { 204 }, "{target} in round {round}");
        }
        let path = if round % 3 == 0 { "/%63i/?query" } else { "/ci/" };
        let purged = client.call("PURGE", path);
        assert_eq!((purged.status, purged.body.len()), (204, 0));
        for target in inside {
            assert_eq!(client.get(target).status, 404, "{target} in round {round}");
            client.send(format!("HEAD {target} HTTP/1.1\r\nHost: t\r\n\r\n"));
            assert_eq!(client.response_to_head().status, 404, "{target} in round {round}");
            assert_eq!(client.call("DELETE", target).status, 404, "{target} in round {round}");
        }
        for target in &outside {
            assert!(client.get(target).body == values(target).as_bytes(), "{target} is left");
        }
    }
    eventually("what was purged is removed", || client.size() == outside.len() as u64);
    eventually("nothing is under way", || metric(&mut client, "corekv_purges_under_way") == 0);
    let (purged, deleted) =
        (metric(&mut client, "corekv_purged_total"), metric(&mut client, "corekv_deleted_total"));
    assert_eq!((purged, deleted), (20 * inside.len() as u64, 0));
    assert_eq!(client.call("PURGE", "/").status, 204);
    for target in &outside {
        assert_eq!(client.get(target).status, 404);
    }
    eventually("all is gone", || client.size() == 0);
}

#[test]
fn only_paths_that_end_with_a_slash_are_purged() {
    let server = Server::start(&["--key-bytes-max", "20"]);
    let mut client = server.connect();
    assert_eq!(client.put("/ci/a", "v").status, 201);
    for (target, status) in [
        ("/ci", 405),
        ("/ci/a", 405),
        ("/ci/*", 405),
        ("/size", 405),
        ("/metrics", 405),
        ("/ci%", 400),
        ("/%zz/", 400),
        ("/a-path-that-is-too-long/", 204),
        ("/a-path-that-is-too-long", 414),
        ("/size/", 204),
        ("//", 204),
        ("/ci/a/", 204),
    ] {
        let answer = client.call("PURGE", target);
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.field("Allow").is_some(), status == 405, "{target}");
    }
    assert_eq!(client.get("/ci/a").line(), "v");
    // As a page of another site, and through an absolute target.
    client.send("PURGE /ci/ HTTP/1.1\r\nHost: t\r\nSec-Fetch-Site: cross-site\r\n\r\n");
    assert_eq!(client.response().status, 403);
    assert_eq!(client.get("/ci/a").line(), "v");
    client.send("PURGE http://t/ci/ HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.response().status, 204);
    assert_eq!(client.get("/ci/a").status, 404);
}

#[test]
fn a_purge_keeps_its_place_in_a_pipeline() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let put = |n: usize| format!("PUT /p/{n} HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nv");
    let get = |n: usize| format!("GET /p/{n} HTTP/1.1\r\nHost: t\r\n\r\n");
    // More purges than may be under way: the later ones wait, and so does what is behind them.
    let round = |n: usize| {
        [put(n), get(n), "PURGE /p/ HTTP/1.1\r\nHost: t\r\n\r\n".to_owned(), get(n), put(n), get(n)]
            .concat()
    };
    client.send((0..60).map(|n| round(n % 3)).collect::<String>());
    for n in 0..60 {
        let statuses: Vec<_> = (0..6).map(|_| client.response().status).collect();
        let first = if n < 3 { 201 } else { statuses[0] };
        assert_eq!(statuses, [first, 200, 204, 404, 201, 200], "round {n}");
    }
}

#[test]
fn an_upload_that_ends_after_a_purge_is_stored_and_a_read_that_began_before_goes_on() {
    let server = Server::start(&[]);
    let (mut uploader, mut reader, mut client) =
        (server.connect(), server.connect(), server.connect());
    let value = "x".repeat(8 << 20);
    assert_eq!(client.put("/ci/old", &value).status, 201);
    reader.send("GET /ci/old HTTP/1.1\r\nHost: t\r\n\r\n");
    reader.stream.peek(&mut [0]).expect("the answer begins");
    uploader.send("PUT /ci/new HTTP/1.1\r\nHost: t\r\nContent-Length: 20000\r\n\r\n");
    uploader.send("y".repeat(19_999));
    assert_eq!(client.call("PURGE", "/ci/").status, 204);
    assert_eq!(client.get("/ci/old").status, 404);
    uploader.send("y");
    assert_eq!(uploader.response().status, 201);
    assert_eq!(client.get("/ci/new").body.len(), 20_000);
    assert!(reader.response().body == value.as_bytes());
    eventually("the old value is gone", || client.size() == 1);
    eventually("its memory is free", || metric(&mut client, "corekv_pinned_bytes") == 0);
}

#[test]
fn preconditions_see_what_a_purge_has_left() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let stored = client.put_with("/ci/k", "If-None-Match: *\r\n", "v");
    assert_eq!(stored.status, 201);
    let tag = stored.field("ETag").expect("a tag").to_owned();
    assert_eq!(client.call("PURGE", "/ci/").status, 204);
    let matching = client.put_with("/ci/k", &format!("If-Match: {tag}\r\n"), "w");
    assert_eq!((matching.status, matching.field("ETag")), (412, None));
    assert_eq!(client.put_with("/ci/k", "If-None-Match: *\r\n", "v").status, 201);
    assert_eq!(client.put_with("/ci/k", &format!("If-Match: {tag}\r\n"), "w").status, 204);
}

#[test]
fn with_an_admin_address_it_is_purged_there_alone() {
    let server = Server::start(&["--admin", "127.0.0.1:0"]);
    let mut client = server.connect();
    let mut admin = Client::connect(server.admin.as_deref().expect("there is one"));
    assert_eq!(client.put("/ci/k", "v").status, 201);
    assert_eq!(client.call("PURGE", "/ci/").status, 405);
    assert_eq!(client.get("/ci/k").line(), "v");
    assert_eq!(admin.call("PURGE", "/ci").status, 404);
    assert_eq!(admin.call("PURGE", "/ci/").status, 204);
    assert_eq!(client.get("/ci/k").status, 404);
}
