//! Who may use the server: tokens, and sockets in the file system.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use testkit::{Client, Server, error_line, eventually, parse};

/// A request with an Authorization field, if there is one.
fn call(
    client: &mut Client,
    method: &str,
    target: &str,
    credentials: Option<&str>,
) -> (u16, String) {
    let field = credentials.map(|c| format!("Authorization: {c}\r\n")).unwrap_or_default();
    let response = client.exchange(format!(
        "{method} {target} HTTP/1.1\r\nHost: t\r\n{field}Content-Length: 1\r\n\r\nv"
    ));
    match response.status {
        401 => {
            let asked = response.field("WWW-Authenticate").expect("RFC 9110 11.6.1 demands it");
            assert!(asked.contains("Bearer") && asked.contains("Basic realm=\""), "{asked}");
            assert!(error_line(&response.body));
        }
        403 => assert!(error_line(&response.body)),
        _ => {}
    }
    assert_eq!(response.field("Connection"), None, "the connection lives");
    (response.status, response.line())
}

#[test]
fn with_tokens_every_request_needs_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens");
    fs::write(&file, "# who may write\nsecret\n\nviewer read-only\n").expect("the file");
    let server = Server::start(&["--auth-file", file.to_str().expect("text")]);
    let mut client = server.connect();
    // "user:secret", "user:viewer" and "user:wrong" in base64.
    let (bearer, basic) = ("Bearer secret", "Basic dXNlcjpzZWNyZXQ=");
    let (viewer, basic_viewer) = ("Bearer viewer", "Basic dXNlcjp2aWV3ZXI=");

    for (method, target) in [
        ("GET", "/k"),
        ("PUT", "/k"),
        ("DELETE", "/k"),
        ("GET", "/size"),
        ("GET", "/metrics"),
        ("GET", "/"),
    ] {
        for wrong in [
            None,
            Some("Bearer wrong"),
            Some("Bearer secre"),
            Some("Bearer secretx"),
            Some("Bearer"),
            Some("secret"),
            Some("Digest secret"),
            Some("Basic dXNlcjp3cm9uZw=="),
            Some("Basic secret"),
        ] {
            let (status, _) = call(&mut client, method, target, wrong);
            assert_eq!(status, 401, "{method} {target} with {wrong:?}");
        }
    }
    assert_eq!(call(&mut client, "GET", "/healthz", None), (200, "ok".to_owned()));

    assert_eq!(call(&mut client, "PUT", "/k", Some(bearer)).0, 201, "nothing was stored before");
    assert_eq!(call(&mut client, "POST", "/k", Some(basic)).0, 204);
    for credentials in
        [bearer, basic, viewer, basic_viewer, "bearer secret", "BASIC dXNlcjpzZWNyZXQ="]
    {
        let read = call(&mut client, "GET", "/k", Some(credentials));
        assert_eq!(read, (200, "v".to_owned()), "{credentials}");
        assert_eq!(call(&mut client, "GET", "/size", Some(credentials)).1, "1");
    }
    for credentials in [viewer, basic_viewer] {
        for method in ["PUT", "POST", "DELETE"] {
            assert_eq!(call(&mut client, method, "/k", Some(credentials)).0, 403, "{method}");
        }
    }
    assert_eq!(call(&mut client, "GET", "/k", Some(viewer)).1, "v", "a 403 changed nothing");
    // A good request does not open the door for the next one of its connection or pipeline.
    client.send(
        "GET /k HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer secret\r\n\r\n\
         GET /k HTTP/1.1\r\nHost: t\r\n\r\n\
         GET /k HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer secret\r\n\r\n",
    );
    let answers: Vec<_> = (0..3).map(|_| client.response().status).collect();
    assert_eq!(answers, [200, 401, 200]);
}

#[test]
fn a_remembered_head_does_not_let_in_one_that_differs_in_the_credentials() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens");
    let token = "0123456789abcdefghijklmnopqrstuvwxyz";
    fs::write(&file, format!("{token}\n")).expect("the file");
    let server = Server::start(&["--auth-file", file.to_str().expect("text")]);
    let mut client = server.connect();
    let head = |token: &str| {
        format!("GET /k HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {token}\r\nX: y\r\n\r\n")
    };
    for at in 0..token.len() {
        // Twice: the second time it is a remembered head.
        assert_eq!(client.exchange(head(token)).status, 404);
        assert_eq!(client.exchange(head(token)).status, 404);
        let mut other = token.as_bytes().to_vec();
        other[at] = b'_';
        let other = String::from_utf8(other).expect("text");
        assert_eq!(client.exchange(head(&other)).status, 401, "{other}");
        assert_eq!(client.exchange(head(&token[..at])).status, 401, "{}", &token[..at]);
    }
    assert_eq!(client.exchange(head(&format!("{token}0"))).status, 401);
}

/// A server with a file of tokens, and the file.
fn with_tokens(tokens: &str, flags: &[&str]) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens");
    fs::write(&file, tokens).expect("the file");
    let server = Server::start(&[&["--auth-file", file.to_str().expect("text")], flags].concat());
    (server, folder)
}

const LIMITED: &str = "admin\nall read-write /\nreader read-only\nci read-write /ci/ /a%20b/\n\
                       viewer read-only /ci/\n";

#[test]
fn a_token_is_limited_to_its_prefixes() {
    let (server, _folder) = with_tokens(LIMITED, &[]);
    let mut client = server.connect();
    // Of admin, all, reader, ci, viewer: a digit each for GET, PUT and DELETE; 2 is allowed, 3 is 403.
    let paths = [
        ("/ci/k", "222 222 233 222 233"),
        ("/ci/", "222 222 233 222 233"),
        ("/ci//k", "222 222 233 222 233"),
        ("/%63i%2Fk", "222 222 233 222 233"),
        ("/ci/../x/k", "222 222 233 222 233"),
        ("/ci/k?x=/other/", "222 222 233 222 233"),
        ("http://other.example/ci/k", "222 222 233 222 233"),
        ("/a%20b/k", "222 222 233 222 333"),
        ("/ci", "222 222 233 333 333"),
        ("/cix/k", "222 222 233 333 333"),
        ("//ci/k", "222 222 233 333 333"),
        ("/x/../ci/k", "222 222 233 333 333"),
        ("/CI/k", "222 222 233 333 333"),
        ("/x?/ci/", "222 222 233 333 333"),
        ("http://ci/other/k", "222 222 233 333 333"),
        ("/%2563i/k", "222 222 233 333 333"),
    ];
    for (path, allowed) in paths {
        let tokens = ["admin", "all", "reader", "ci", "viewer"];
        for (token, allowed) in tokens.into_iter().zip(allowed.split(' ')) {
            // Twice: the second time the heads are remembered.
            for round in 0..2 {
                let token = format!("Bearer {token}");
                let calls = ["GET", "PUT", "DELETE"].map(|method| {
                    let (status, line) = call(&mut client, method, path, Some(&token));
                    assert!(status != 403 || line.contains("token"), "{line}");
                    if status == 403 { '3' } else { '2' }
                });
                assert!(calls.into_iter().eq(allowed.chars()), "{path} {token} {round} {calls:?}");
            }
        }
    }
}

#[test]
fn what_is_wrong_whatever_the_token_is_told_first() {
    let (server, _folder) = with_tokens(LIMITED, &["--key-bytes-max", "8"]);
    let mut client = server.connect();
    for token in [Some("Bearer ci"), Some("Bearer viewer"), Some("Bearer admin")] {
        let is_admin = token == Some("Bearer admin");
        for (method, target, status) in [
            ("GET", "/x%4", 400),
            ("GET", "/123456789", 414),
            ("PATCH", "/x/k", 405),
            ("FETCH", "/x/k", 501),
            ("PROPFIND", "/x/k", 404),
            ("OPTIONS", "/x/k", 204),
            ("PUT", "/metrics", 405),
            ("GET", "/healthz", 200),
            ("GET", "/metrics", if is_admin { 200 } else { 403 }),
            ("GET", "/size", if is_admin { 200 } else { 403 }),
            ("GET", "/", if is_admin { 200 } else { 403 }),
            ("GET", "/dashboard/now", if is_admin { 200 } else { 403 }),
        ] {
            assert_eq!(call(&mut client, method, target, token).0, status, "{method} {target}");
        }
    }
}

#[test]
fn only_a_token_for_everything_may_purge() {
    let (server, _folder) = with_tokens(LIMITED, &[]);
    let mut client = server.connect();
    let admin = Some("Bearer admin");
    assert_eq!(call(&mut client, "PUT", "/ci/k", admin).0, 201);
    for round in 0..2 {
        assert_eq!(call(&mut client, "PURGE", "/ci/", None).0, 401);
        for token in ["all", "reader", "ci", "viewer"] {
            let token = format!("Bearer {token}");
            for path in ["/ci/", "/"] {
                let (status, line) = call(&mut client, "PURGE", path, Some(&token));
                assert_eq!(status, 403, "{token} {path} in round {round}");
                assert!(line.contains("PURGE"), "{line}");
            }
        }
        assert_eq!(call(&mut client, "GET", "/ci/k", admin).0, 200);
    }
    assert_eq!(call(&mut client, "PURGE", "/ci/", admin).0, 204);
    assert_eq!(call(&mut client, "GET", "/ci/k", admin).0, 404);
}

#[test]
fn a_pipeline_of_limited_tokens_and_bodies_in_pieces() {
    let (server, _folder) = with_tokens(LIMITED, &[]);
    let mut client = server.connect();
    let put = |path: &str, token: &str| {
        format!(
            "PUT {path} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {token}\r\n\
             Transfer-Encoding: chunked\r\n\r\n1\r\nv\r\n0\r\n\r\n"
        )
    };
    for _ in 0..2 {
        client.send(
            [
                put("/ci/a", "ci"),
                put("/x/a", "ci"),
                put("/ci/a", "viewer"),
                put("/x/b", "all"),
                put("/ci%2Fa", "ci"),
            ]
            .concat(),
        );
        let statuses: Vec<_> = (0..5).map(|_| client.response().status / 100).collect();
        assert_eq!(statuses, [2, 4, 4, 2, 2]);
    }
    client.send(
        "PUT /x/c HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer ci\r\nExpect: 100-continue\r\n\
         Content-Length: 5\r\n\r\n",
    );
    let refused = client.response();
    assert_eq!((refused.status, refused.field("Connection")), (403, Some("close")));
    let mut client = server.connect();
    assert_eq!(call(&mut client, "GET", "/size", Some("Bearer reader")), (200, "2".to_owned()));
}

/// Has the file read anew, and waits until the log has a line with `text` once more.
fn hang_up(server: &mut Server, text: &str) {
    let count = |server: &Server| server.stderr().matches(text).count();
    let before = count(server);
    server.signal(Signal::HUP);
    eventually("the file is read anew", || count(server) > before);
}

#[test]
fn tokens_are_read_anew_and_count_for_open_connections_at_once() {
    let (mut server, folder) = with_tokens("old\nshared read-only\n", &[]);
    let file = folder.path().join("tokens");
    let mut clients: Vec<_> = (0..6).map(|_| server.connect()).collect();
    for round in 0..10 {
        let (old, new) = if round % 2 == 0 { ("old", "new") } else { ("new", "old") };
        let (old, new) = (format!("Bearer {old}"), format!("Bearer {new}"));
        let shared = Some("Bearer shared");
        for client in &mut clients {
            for _ in 0..2 {
                assert_ne!(call(client, "PUT", "/k", Some(&old)).0, 401);
                assert_eq!(call(client, "PUT", "/k", Some(&new)).0, 401);
                assert_eq!(call(client, "PUT", "/k", shared).0, 403);
            }
        }
        let token = new.trim_start_matches("Bearer ");
        fs::write(&file, format!("{token}\nshared read-only\n")).expect("the file");
        hang_up(&mut server, "was read anew");
        for client in &mut clients {
            assert_eq!(call(client, "GET", "/k", Some(&old)).0, 401, "round {round}");
            assert_eq!(call(client, "PUT", "/k", Some(&old)).0, 401, "round {round}");
            assert_eq!(call(client, "GET", "/k", Some(&new)).0, 200, "round {round}");
            assert_eq!(call(client, "PUT", "/k", Some(&new)).0, 204, "round {round}");
            assert_eq!(call(client, "GET", "/k", shared).0, 200, "round {round}");
        }
    }
}

#[test]
fn a_limit_that_is_added_to_a_token_counts_at_once() {
    let (mut server, folder) = with_tokens("one\ntwo\n", &[]);
    let mut client = server.connect();
    for _ in 0..2 {
        assert!(call(&mut client, "PUT", "/x/k", Some("Bearer two")).0 < 300);
    }
    // The tokens change their places as well.
    fs::write(folder.path().join("tokens"), "two read-write /ci/\none\n").expect("the file");
    hang_up(&mut server, "was read anew");
    assert_eq!(call(&mut client, "PUT", "/x/k", Some("Bearer two")).0, 403);
    assert_eq!(call(&mut client, "PUT", "/ci/k", Some("Bearer two")).0, 201);
    assert_eq!(call(&mut client, "PUT", "/x/k", Some("Bearer one")).0, 204);
}

#[test]
fn a_faulty_file_leaves_the_tokens_in_force() {
    let (mut server, folder) = with_tokens("secret\n", &[]);
    let file = folder.path().join("tokens");
    let mut client = server.connect();
    for (faulty, problem) in [
        ("", "no token"),
        ("secret\nother read-write ci\n", "line 2: the prefix ci does not begin and end with /"),
        ("secret\nsecret read-only\n", "line 2: the token is in another line already"),
        ("secret maybe\n", "line 1: expected TOKEN"),
    ] {
        fs::write(&file, faulty).expect("the file");
        hang_up(&mut server, problem);
        assert!(server.stderr().contains("the tokens from before stay in force"));
        assert!(call(&mut client, "PUT", "/k", Some("Bearer secret")).0 < 300, "{problem}");
        assert_eq!(call(&mut client, "PUT", "/k", Some("Bearer other")).0, 401, "{problem}");
    }
    fs::remove_file(&file).expect("it is there");
    hang_up(&mut server, "No such file");
    assert_eq!(call(&mut client, "PUT", "/k", Some("Bearer secret")).0, 204);
    // A pipe that nobody writes to does not stop the server either.
    let fifo = file.to_str().expect("text");
    let made = std::process::Command::new("mkfifo").arg(fifo).status().expect("mkfifo");
    assert!(made.success());
    hang_up(&mut server, "tokens: no token");
    assert_eq!(call(&mut server.connect(), "PUT", "/k", Some("Bearer secret")).0, 204);
    fs::remove_file(&file).expect("it is there");
    fs::write(&file, "other\n").expect("the file");
    hang_up(&mut server, "was read anew");
    assert_eq!(call(&mut client, "PUT", "/k", Some("Bearer secret")).0, 401);
    assert!(!server.stderr().contains("secret"), "the log tells no tokens");
}

#[test]
fn a_body_without_a_token_is_not_stored_nor_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens");
    fs::write(&file, "secret\n").expect("the file");
    let server = Server::start(&["--auth-file", file.to_str().expect("text")]);
    let mut client = server.connect();
    let refused = client.exchange(
        "PUT /k HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    assert_eq!((refused.status, refused.field("Connection")), (401, Some("close")));
    client.assert_closed();
    let mut client = server.connect();
    let read = call(&mut client, "GET", "/k", Some("Bearer secret"));
    assert_eq!(read.0, 404);
}

#[test]
fn a_socket_in_the_file_system_serves_the_same_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("corekv.sock");
    let listen = format!("unix:{}", path.display());
    let mut server = Server::start(&["--listen", &listen, "--unix-mode", "640"]);
    let mode = fs::metadata(&path).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(server.connect().put("/k", "v").status, 201);
    let mut stream = UnixStream::connect(&path).expect("a connection");
    stream.set_read_timeout(Some(testkit::PATIENCE)).expect("a time limit");
    stream
        .write_all(b"GET /k HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n")
        .expect("the request is sent");
    let mut received = Vec::new();
    stream.read_to_end(&mut received).expect("an answer and the end");
    let (response, len) = parse(&received, false).expect("a whole response");
    assert_eq!((response.status, response.line().as_str(), len), (200, "v", received.len()));

    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!path.exists(), "the socket is taken away at the end");
}

#[test]
fn a_socket_that_a_killed_server_left_is_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("corekv.sock");
    let listen = format!("unix:{}", path.display());
    let mut killed = Server::start(&["--listen", &listen]);
    killed.signal(Signal::KILL);
    killed.wait();
    assert!(path.exists());
    let _server = Server::start(&["--listen", &listen]);
    assert!(UnixStream::connect(&path).is_ok());
}
