//! Servers that are none of keys and values: real ones, paths and requests of all kinds.

mod util;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hyper::body::{Body, Incoming};
use hyper::rt::{Read as HyperRead, ReadBufCursor, Write as HyperWrite};
use hyper::service::service_fn;
use hyper::{Request, Response};
use rustix::event::{PollFd, PollFlags, Timespec};
use util::peer::{BIG, Peer};
use util::{Double, Fault, bench, bench_json};

const LOAD: &str = "--connections 3 --keys 100 --timeout 5";

/// A file of requests in a folder of its own.
fn request_file(lines: &[&str]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("requests.jsonl");
    std::fs::write(&path, lines.join("\n")).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn nginx_is_measured_although_it_closes_connections_now_and_then() {
    let Some(nginx) = Peer::nginx("location / { return 200 1; }", None) else { return };
    let load = format!("{LOAD} --pipelining 8 --requests 3000 --server-pid {}", nginx.pid());
    let (run, json) = bench_json(&format!("--uri {} {load}", nginx.uri));
    assert_eq!((run.code, &json["requests"]), (Some(0), &3000.into()), "{run:?}");
    for count in ["non_2xx", "lost", "errors"] {
        assert_eq!(json[count], 0, "{run:?}");
    }
    assert!(json["reopened"].as_u64().unwrap() > 0, "{run:?}");
}

#[test]
fn nginx_is_sent_the_requests_of_a_file() {
    let Some(nginx) = Peer::nginx("rewrite ^/old$ /big permanent;", None) else { return };
    let (_folder, file) = request_file(&[
        r#"{"path": "/"}"#,
        r#"{"path": "/big?n={n}", "headers": ["Accept-Encoding: identity"]}"#,
        r#"{"method": "HEAD", "path": "/big"}"#,
        r#"{"path": "/old"}"#,
    ]);
    let load = format!("{LOAD} --pipelining 4 --requests 1200 --request-file {file}");
    let (run, json) = bench_json(&format!("{} {load}", nginx.uri));
    assert_eq!((run.code, &json["requests"]), (Some(0), &1200.into()), "{run:?}");
    let statuses =
        serde_json::json!([{"status": 200, "count": 900}, {"status": 301, "count": 300}]);
    assert_eq!((&json["statuses"], &json["errors"]), (&statuses, &0.into()), "{run:?}");
    assert_eq!(json["head"]["requests"], 300, "{run:?}");
    assert!(json["get"]["bytes"].as_u64().unwrap() > 300 * BIG as u64, "{run:?}");
    assert_eq!(json["mix"], serde_json::json!({"get": 0.75, "head": 0.25}));
    // What is not there, or not allowed, is a failure.
    let (_folder, file) = request_file(&[
        r#"{"path": "/nothing", "weight": 0.5}"#,
        r#"{"method": "OPTIONS", "path": "/", "weight": 0.25}"#,
        r#"{"path": "/", "weight": 0.25}"#,
    ]);
    let load = format!("{LOAD} --requests 1000 --request-file {file} --request-order random");
    let (run, json) = bench_json(&format!("{} {load}", nginx.uri));
    assert_eq!(run.code, Some(1), "{run:?}");
    let count = |status: u64| {
        let all = json["statuses"].as_array().unwrap();
        all.iter().find(|one| one["status"] == status).unwrap()["count"].as_u64().unwrap()
    };
    // Six standard deviations, and more.
    assert!(count(404).abs_diff(500) < 100 && count(405).abs_diff(250) < 90, "{run:?}");
    assert_eq!(json["other"]["requests"], count(405), "{run:?}");
    assert!(run.stderr.contains("refused."), "{run:?}");
}

#[test]
fn pythons_server_is_measured_although_it_closes_after_each_answer() {
    let Some(python) = Peer::python() else { return };
    let load = format!("{LOAD} --pipelining 1 --requests 200 --path /big?v={{n}}");
    let (run, json) = bench_json(&format!("{} {load}", python.uri));
    assert_eq!((run.code, &json["requests"]), (Some(0), &200.into()), "{run:?}");
    let statuses = serde_json::json!([{"status": 200, "count": 200}]);
    assert_eq!((&json["statuses"], &json["errors"]), (&statuses, &0.into()), "{run:?}");
    assert!(json["reopened"].as_u64().unwrap() >= 190, "{run:?}");
    assert!(json["get"]["bytes"].as_u64().unwrap() > 200 * BIG as u64, "{run:?}");
}

/// A non-blocking socket as hyper wants one.
struct Socket(TcpStream);

fn ready<T>(result: std::io::Result<T>) -> Poll<std::io::Result<T>> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

impl HyperRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut room: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let mut buffer = [0; 8192];
        let most = room.remaining().min(buffer.len());
        ready(self.0.read(&mut buffer[..most]).map(|length| room.put_slice(&buffer[..length])))
    }
}

impl HyperWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        ready(self.0.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(self.0.shutdown(std::net::Shutdown::Write))
    }
}

/// Answers with the method, the target and the length of the body.
async fn describe(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let (head, mut body) = request.into_parts();
    let mut length = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        length += frame.unwrap().data_ref().map_or(0, hyper::body::Bytes::len);
    }
    let own = head.headers.get("x-own").map_or("", |value| value.to_str().unwrap());
    Ok(Response::new(format!("{} {} {length} {own}", head.method, head.uri)))
}

const MILLISECOND: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// hyper, a thread per connection. Returns where it is.
fn start_hyper() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_nodelay(true).unwrap();
            stream.set_nonblocking(true).unwrap();
            std::thread::spawn(move || {
                let watched = stream.try_clone().unwrap();
                let builder = hyper::server::conn::http1::Builder::new();
                let served = builder.serve_connection(Socket(stream), service_fn(describe));
                let mut served = Box::pin(served);
                let mut context = Context::from_waker(Waker::noop());
                while served.as_mut().poll(&mut context).is_pending() {
                    // Most often it is a request that it waits for.
                    let mut fds = [PollFd::new(&watched, PollFlags::IN)];
                    let _ = rustix::event::poll(&mut fds, Some(&MILLISECOND));
                }
            });
        }
    });
    uri
}

#[test]
fn hyper_is_measured() {
    let uri = start_hyper();
    let (folder, file) = request_file(&[
        r#"{"method": "POST", "path": "/a?k={key}", "body_file": "body", "headers": ["X-Own: 1"]}"#,
        r#"{"method": "PATCH", "path": "/b/{n}", "body": "xyz"}"#,
        r#"{"path": "/c"}"#,
        r#"{"method": "HEAD", "path": "/d"}"#,
    ]);
    std::fs::write(folder.path().join("body"), "v".repeat(50_000)).unwrap();
    let load = format!("{LOAD} --pipelining 5 --requests 2000 --request-file {file}");
    let (run, json) = bench_json(&format!("{uri} {load}"));
    assert_eq!((run.code, &json["requests"]), (Some(0), &2000.into()), "{run:?}");
    assert_eq!((&json["non_2xx"], &json["errors"]), (&0.into(), &0.into()), "{run:?}");
    for method in ["post", "other", "get", "head"] {
        assert_eq!(json[method]["requests"], 500, "{method}: {run:?}");
    }
}

#[test]
fn each_request_of_a_sequence_is_sent_once_before_any_is_sent_again() {
    let double = Double::start(Fault::None);
    let lines: Vec<_> =
        (0..50).map(|entry| format!(r#"{{"method": "PUT", "path": "/{entry}?{{n}}"}}"#)).collect();
    let (_folder, file) = request_file(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let load = format!("{LOAD} --pipelining 4 --requests 100 --request-file {file} --warmup 50ms");
    let run = bench(&format!("{} {load}", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    // The warm-up counts for itself.
    let mut sent = double.requests();
    let mut sent = sent.split_off(sent.len() - 100);
    sent.sort();
    let mut expected: Vec<_> = (0..100).map(|n| format!("PUT /{}?{n} ", n % 50)).collect();
    expected.sort();
    assert_eq!(sent, expected);
}

#[test]
fn what_an_announced_close_left_is_sent_again_as_it_was() {
    let double = Double::start(Fault::CloseAnnounced(7));
    let (_folder, file) = request_file(&[r#"{"method": "PUT", "path": "/{key}?{n}"}"#]);
    let load = format!("{LOAD} --pipelining 4 --requests 300 --request-file {file}");
    let (run, json) = bench_json(&format!("{} {load}", double.uri));
    assert_eq!((run.code, &json["requests"]), (Some(0), &300.into()), "{run:?}");
    let mut numbers = std::collections::HashMap::new();
    for request in double.requests() {
        let (path, number) = request.split_once('?').unwrap();
        let earlier = numbers.insert(number.to_owned(), path.to_owned());
        assert!(earlier.is_none_or(|earlier| earlier == path), "{request}");
    }
    assert_eq!(numbers.len(), 300);
}

#[test]
fn a_path_may_have_the_key_anywhere_and_keeps_every_check() {
    let double = Double::start(Fault::None);
    let load = format!("{LOAD} --pipelining 8 --requests 2000 --path /item/{{key}}/v?x=1 --verify");
    let (run, json) = bench_json(&format!("{}/api/ {load}", double.uri));
    assert_eq!((run.code, &json["loss_checked"]), (Some(0), &true.into()), "{run:?}");
    assert_eq!((&json["lost"], &json["path"]), (&0.into(), &"/item/{key}/v?x=1".into()), "{run:?}");
    let is_right = |request: &String| {
        let target = request.split(' ').nth(1).unwrap();
        target.starts_with("/api/item/") && target.ends_with("/v?x=1")
    };
    assert!(double.requests().iter().all(is_right), "{:?}", double.requests()[0]);
}

#[test]
fn a_path_without_the_key_is_read_and_nothing_else() {
    let uri = start_hyper();
    let (run, json) = bench_json(&format!("{uri} {LOAD} --requests 500 --path /index.html"));
    assert_eq!((run.code, &json["get"]["requests"]), (Some(0), &500.into()), "{run:?}");
    assert_eq!((&json["loss_checked"], &json["post"]), (&false.into(), &().into()), "{run:?}");
}

#[test]
fn a_body_comes_from_a_file_as_it_is() {
    let double = Double::start(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, "{\"a\": 1}\n").unwrap();
    let load = format!("{LOAD} --requests 500 --body-file {}", file.display());
    let (run, json) = bench_json(&format!("{} {load}", double.uri));
    assert_eq!((run.code, &json["lost"]), (Some(0), &0.into()), "{run:?}");
    let requests = double.requests();
    let mut stores = requests.iter().filter(|request| request.starts_with("POST"));
    assert!(stores.clone().count() > 100 && stores.all(|store| store.ends_with(" {\"a\": 1}\n")));
}
