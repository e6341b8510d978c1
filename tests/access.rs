//! Who may use the server: tokens, and sockets in the file system.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use testkit::{Client, Server, error_line, parse};

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

    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!path.exists(), "the socket is taken away at the end");
}

#[test]
fn a_socket_that_a_killed_server_left_is_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("corekv.sock");
    let listen = format!("unix:{}", path.display());
    let mut killed = Server::start(&["--listen", &listen]);
    killed.signal(rustix::process::Signal::KILL);
    killed.wait();
    assert!(path.exists());
    let _server = Server::start(&["--listen", &listen]);
    assert!(UnixStream::connect(&path).is_ok());
}
