//! Header fields that are stored with a value, digests of bodies, and what is told of a value's life.

use testkit::{Numbers, Server};

const KEEP: [&str; 2] = ["--keep-fields", "content-type,content-encoding,x-artifact-tag"];

fn values() -> [Vec<u8>; 3] {
    [Vec::new(), b"value".to_vec(), Numbers::new(8).bytes(100_000)]
}

#[test]
fn kept_fields_come_back_with_the_value() {
    let server = Server::start(&KEEP);
    let mut client = server.connect();
    for value in values() {
        for (lines, expected) in [
            ("", [None, None]),
            ("content-TYPE:  text/plain \r\n", [Some("text/plain"), None]),
            ("Content-Type: a/b\r\nContent-Encoding: gzip\r\n", [Some("a/b"), Some("gzip")]),
            ("X-Other: 1\r\nContent-Encoding: br\r\n", [None, Some("br")]),
            ("Content-Type: \r\n", [Some(""), None]),
        ] {
            client.put_with("/k", lines, &value);
            for method in ["GET", "HEAD"] {
                let response = client.call(method, "/k");
                let told = [response.field("Content-Type"), response.field("Content-Encoding")];
                assert_eq!(told, expected, "{method} {lines:?}");
                assert_eq!(response.field("X-Other"), None);
                assert!(method == "HEAD" || response.body == value, "{lines:?}");
            }
        }
        // A write without them leaves none.
        client.put("/k", &value);
        assert_eq!(client.get("/k").field("Content-Encoding"), None);
    }
}

#[test]
fn by_default_no_field_is_kept() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.put_with("/k", "Content-Type: text/html\r\n", "v");
    assert_eq!(client.get("/k").field("Content-Type"), None);
}

#[test]
fn kept_fields_are_part_of_the_tag() {
    let server = Server::start(&KEEP);
    let mut client = server.connect();
    for value in values() {
        let mut tag = |lines: &str| {
            client.put_with("/k", lines, &value);
            client.call("HEAD", "/k").field("ETag").expect("a tag").to_owned()
        };
        let (none, text, html) =
            (tag(""), tag("Content-Type: text/plain\r\n"), tag("Content-Type: text/html\r\n"));
        assert!(none != text && text != html && none != html);
        assert_eq!(tag("Content-Type: text/plain\r\n"), text);
    }
}

#[test]
fn many_different_fields_are_all_kept() {
    let server = Server::start(&KEEP);
    let mut client = server.connect();
    // More than the server remembers once for all values.
    for n in 0..3_000 {
        let lines = format!("X-Artifact-Tag: tag-{n}\r\n");
        client.put_with(&format!("/k{n}"), &lines, format!("value {n}"));
    }
    for n in 0..3_000 {
        let response = client.get(&format!("/k{n}"));
        assert_eq!(response.field("X-Artifact-Tag"), Some(format!("tag-{n}").as_str()));
        assert_eq!(response.line(), format!("value {n}"));
    }
}

#[test]
fn fields_that_are_too_long_store_nothing() {
    let server = Server::start(&KEEP);
    let mut client = server.connect();
    for value in values() {
        let lines = format!("Content-Type: {}\r\n", "x".repeat(1_100));
        client.put_with("/long", &lines, &value).assert_soft_error(431);
        assert_eq!(client.get("/long").status, 404);
    }
}

#[test]
fn a_browser_gets_kept_types_in_a_sandbox() {
    let server = Server::start(&KEEP);
    let mut client = server.connect();
    client.put_with("/page", "Content-Type: text/html\r\n", "<script>1</script>");
    let request = "GET /page HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: none\r\n\r\n";
    let response = client.exchange(request);
    assert_eq!(response.field("Content-Type"), Some("text/html"));
    assert_eq!(response.field("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(response.field("Content-Security-Policy"), Some("sandbox"));
}

#[test]
fn a_digest_is_checked_before_anything_is_stored() {
    // RFC 9530, appendix D: the digests of these bytes.
    const BODY: &[u8] = b"{\"hello\": \"world\"}\n";
    const DIGEST: &str = "RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=";
    let server = Server::start(&[]);
    let mut client = server.connect();
    for field in ["Content-Digest", "Repr-Digest"] {
        client.put("/k", "old");
        let lines = format!("{field}: sha-512=:YWJj:, sha-256=:{DIGEST}:\r\n");
        assert_eq!(client.put_with("/k", &lines, BODY).status, 204, "{field}");
        client.put_with("/k", &lines, &BODY[1..]).assert_soft_error(400);
        client.put_with("/k", &lines, vec![7; 100_000]).assert_soft_error(400);
        let malformed = format!("{field}: sha-256={DIGEST}\r\n");
        client.put_with("/k", &malformed, BODY).assert_soft_error(400);
        let unknown = format!("{field}: unixsum=30637\r\n");
        assert!(client.get("/k").body == BODY);
        assert_eq!(client.put_with("/k", &unknown, "new").status, 204);
        let chunked = format!(
            "PUT /k HTTP/1.1\r\nHost: t\r\n{lines}Transfer-Encoding: chunked\r\n\r\n\
             5\r\n{{\"hel\r\ne\r\nlo\": \"world\"}}\n\r\n0\r\n\r\n"
        );
        assert_eq!(client.exchange(chunked).status, 204, "in pieces");
        assert!(client.get("/k").body == BODY);
    }
}

#[test]
fn under_a_cas_prefix_a_key_is_the_digest_of_its_value() {
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let server = Server::start(&["--cas-prefix", "/cas/", "--cas-prefix", "/bazel/cas/"]);
    let mut client = server.connect();
    for prefix in ["/cas/", "/bazel/cas/", "/cas/more/"] {
        let target = format!("{prefix}{EMPTY}");
        assert_eq!(client.put(&target, "").status, 201);
        client.put(&target, "x").assert_soft_error(400);
        client.put(&target, vec![0; 100_000]).assert_soft_error(400);
        client.put(&format!("{prefix}key"), "").assert_soft_error(400);
        assert_eq!(client.get(&target).status, 200);
        assert_eq!(client.get(&format!("{prefix}key")).status, 404);
    }
    assert_eq!(client.put("/ac/key", "x").status, 201);
    assert_eq!(client.put("/caskey", "x").status, 201);
}

#[test]
fn caches_are_told_how_long_a_value_lives() {
    for (flags, hit, immortal, miss) in [
        (&[][..], None, None, None),
        (&["--cache-headers", "no-cache"], Some("no-cache"), Some("no-cache"), Some("no-cache")),
        (&["--cache-headers", "max-age"], Some("max-age"), Some("no-cache"), Some("no-cache")),
    ] {
        let server = Server::start(flags);
        let mut client = server.connect();
        for value in values() {
            client.put_with("/k", "Cache-Control: max-age=100\r\n", &value);
            client.put("/immortal", &value);
            let told = |response: &testkit::Response| {
                response.field("Cache-Control").map(|value| {
                    let (name, age) = value.split_once('=').unwrap_or((value, "100"));
                    let age: u32 = age.parse().expect("seconds");
                    assert!((90..=100).contains(&age), "{value}");
                    name.to_owned()
                })
            };
            assert_eq!(told(&client.get("/k")).as_deref(), hit, "{flags:?}");
            assert_eq!(told(&client.get("/immortal")).as_deref(), immortal, "{flags:?}");
            assert_eq!(told(&client.get("/absent")).as_deref(), miss, "{flags:?}");
            let head = told(&client.call("HEAD", "/k"));
            assert_eq!(head.as_deref(), hit.or(Some("max-age")), "{flags:?}");
        }
    }
}

#[test]
fn a_write_can_be_answered_as_some_clients_expect() {
    let server = Server::start(&["--store-status", "200"]);
    let mut client = server.connect();
    for value in values() {
        for _ in 0..2 {
            let response = client.put("/k", &value);
            assert_eq!((response.status, response.field("Content-Length")), (200, Some("0")));
        }
        assert_eq!(client.call("DELETE", "/k").status, 204);
    }
}
