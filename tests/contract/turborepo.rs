//! What `--turborepo` adds. The program itself is in `tests/build_tools.rs`.

use std::fs;

use testkit::{Client, Response, Server};

fn ask(client: &mut Client, method: &str, target: &str, body: &str) -> Response {
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n");
    client.exchange(head + body)
}

#[test]
fn teams_have_keys_of_their_own() {
    let server = Server::start(&["--turborepo"]);
    let mut client = server.connect();
    // Each line is one key, under names that mean the same.
    let keys: [&[&str]; 6] = [
        &[
            "/v8/artifacts/1f",
            "/v8/artifacts/1f?",
            "/v8/artifacts/1f?other=1",
            "/v8/artifacts/%31f",
        ],
        &[
            "/v8/artifacts/1f?slug=blue",
            "/v8/artifacts/1f?a=b&slug=blue&c=d",
            "/v8/artifacts/%31f?slug=blue",
        ],
        &["/v8/artifacts/1f?slug=green", "http://t/v8/artifacts/1f?slug=green"],
        &["/v8/artifacts/1f?teamId=blue"],
        &["/v8/artifacts/1f?teamId=a&slug=b", "/v8/artifacts/1f?slug=b&teamId=a"],
        &["/v8/artifacts/1f?slug=b%26teamId=a"],
    ];
    for (n, names) in keys.iter().enumerate() {
        for (at, name) in names.iter().enumerate() {
            let stored = ask(&mut client, "PUT", name, &format!("{n}"));
            assert_eq!(stored.status, if at == 0 { 201 } else { 204 }, "{name}");
        }
    }
    assert_eq!(client.size(), keys.len() as u64);
    for (n, names) in keys.iter().enumerate() {
        for name in *names {
            assert_eq!(ask(&mut client, "GET", name, "").line(), n.to_string(), "{name}");
        }
        // In pieces, which goes another way.
        let chunked =
            format!("PUT {} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n", names[0]);
        assert_eq!(client.exchange(chunked + "1\r\n+\r\n0\r\n\r\n").status, 204);
        assert_eq!(ask(&mut client, "GET", names[0], "").line(), "+");
        assert_eq!(ask(&mut client, "DELETE", names[0], "").status, 204);
    }
    assert_eq!(client.size(), 0);
}

#[test]
fn without_the_option_a_query_is_ignored() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(ask(&mut client, "PUT", "/v8/artifacts/1f?slug=blue", "v").status, 201);
    assert_eq!(ask(&mut client, "GET", "/v8/artifacts/1f?slug=green", "").line(), "v");
    assert_eq!(ask(&mut client, "GET", "/v8/artifacts/status?slug=blue", "").status, 404);
    assert_eq!(ask(&mut client, "POST", "/v8/artifacts/events", "[]").status, 201);
}

#[test]
fn status_and_events_are_there_below_any_path() {
    let server = Server::start(&["--turborepo", "--admin", "127.0.0.1:0"]);
    let mut client = server.connect();
    let mut admin = Client::connect(server.admin.as_deref().expect("an admin address"));
    for prefix in ["/v8", "/ci/v8", "/a/b/v8"] {
        for query in ["", "?slug=blue", "?teamId=a&slug=b"] {
            let status = format!("{prefix}/artifacts/status{query}");
            let answer = ask(&mut client, "GET", &status, "");
            assert_eq!(answer.line(), "{\"status\":\"enabled\"}", "{status}");
            assert_eq!(answer.field("Content-Type"), Some("application/json"));
            assert_eq!(ask(&mut client, "PUT", &status, "v").status, 405, "{status}");
            let events = format!("{prefix}/artifacts/events{query}");
            let answer = ask(&mut client, "POST", &events, "[{\"event\": \"HIT\"}]");
            assert_eq!((answer.status, answer.body.len()), (200, 0), "{events}");
            for method in ["GET", "PUT", "DELETE"] {
                let answer = ask(&mut client, method, &events, "");
                assert_eq!(answer.status, 405, "{method} {events}");
                assert_eq!(answer.field("Allow"), Some("POST, OPTIONS"));
            }
        }
    }
    let chunked =
        "POST /v8/artifacts/events HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(client.exchange(format!("{chunked}2\r\n[]\r\n0\r\n\r\n")).status, 200);
    assert_eq!(admin.size(), 0);
    // Ordinary keys.
    for key in ["/xv8/artifacts/status", "/v8/artifacts/status/", "/v8/artifacts/statuses"] {
        assert_eq!(ask(&mut client, "GET", key, "").status, 404, "{key}");
        assert_eq!(ask(&mut client, "PUT", key, "v").status, 201, "{key}");
    }
}

#[test]
fn the_fields_of_an_artifact_come_back() {
    let server = Server::start(&["--turborepo", "--keep-fields", "content-type"]);
    let mut client = server.connect();
    let fields = "x-artifact-duration: 303\r\nX-Artifact-Tag: rLkj+S4=\r\nx-artifact-sha: 1f\r\n\
                  x-artifact-dirty-hash: 2e\r\nContent-Type: application/octet-stream\r\nX-Other: y\r\n";
    assert_eq!(client.put_with("/v8/artifacts/1f?slug=blue", fields, "v").status, 201);
    let answer = ask(&mut client, "GET", "/v8/artifacts/1f?slug=blue", "");
    for (name, value) in [
        ("x-artifact-duration", Some("303")),
        ("x-artifact-tag", Some("rLkj+S4=")),
        ("x-artifact-sha", Some("1f")),
        ("x-artifact-dirty-hash", Some("2e")),
        ("content-type", Some("application/octet-stream")),
        ("x-other", None),
    ] {
        assert_eq!(answer.field(name), value, "{name}");
    }
}

#[test]
fn tokens_are_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens");
    fs::write(&file, "secret\nviewer read-only\n").expect("the token file");
    let server = Server::start(&["--turborepo", "--auth-file", file.to_str().expect("text")]);
    let mut client = server.connect();
    for (method, target, token, expected) in [
        ("GET", "/v8/artifacts/status", "", 401),
        ("POST", "/v8/artifacts/events", "", 401),
        ("GET", "/v8/artifacts/status", "viewer", 200),
        ("POST", "/v8/artifacts/events", "viewer", 200),
        ("PUT", "/v8/artifacts/1f?slug=blue", "viewer", 403),
        ("PUT", "/v8/artifacts/1f?slug=blue", "secret", 201),
    ] {
        let answer = client.exchange(format!(
            "{method} {target} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: 0\r\n\r\n"
        ));
        assert_eq!(answer.status, expected, "{method} {target} {token}");
    }
}
