//! curl, as a person uses it. Without curl these tests say so and pass.

use std::fs;
use std::process::{Command, Output};

use testkit::{Numbers, Server};

fn is_installed() -> bool {
    let found = Command::new("curl").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: curl is not installed");
    }
    found
}

fn curl(arguments: &[&str]) -> Output {
    Command::new("curl")
        .args(["-q", "-sS", "--max-time", "30", "--noproxy", "*"])
        .args(arguments)
        .output()
        .expect("curl runs")
}

/// Runs curl and gives its standard output.
#[track_caller]
fn body(arguments: &[&str]) -> String {
    let output = curl(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs curl and gives the status of the response.
#[track_caller]
fn status(arguments: &[&str]) -> String {
    body(&[&["-o", "/dev/null", "-w", "%{http_code}"], arguments].concat())
}

#[test]
fn the_session_of_the_readme() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let at = |path: &str| format!("{}{path}", server.address());
    assert_eq!(body(&["-d", "v1", &at("/k1")]), "");
    assert_eq!(body(&[&at("/k1")]), "v1");
    assert_eq!(body(&[&at("/size")]).trim_end(), "1");
    assert_eq!(body(&["-X", "PUT", "--data-binary", "v2", &at("/k1")]), "");
    assert_eq!(body(&[&at("/k1")]), "v2");
    assert_eq!(status(&[&at("/absent")]), "404");
    assert_eq!(status(&["-X", "DELETE", &at("/k1")]), "204");
    assert_eq!(status(&["-X", "DELETE", &at("/k1")]), "404");
    assert_eq!(body(&[&at("/healthz")]).trim_end(), "ok");
    assert_eq!(status(&["-d", "v", "-H", "Cache-Control: max-age=60", &at("/ttl")]), "201");
    assert!(body(&[&at("/metrics")]).contains("\ncorekv_keys"));
    assert!(body(&[&at("/")]).contains("corekv"));
    let options = body(&["-i", "-X", "OPTIONS", &at("/k1")]);
    assert!(options.contains("\r\nAllow: GET, HEAD, PUT, POST, DELETE, OPTIONS\r\n"), "{options}");
    let head = body(&["-I", &at("/ttl")]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Length: 1\r\n"), "{head}");
}

#[test]
fn several_calls_share_one_connection() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let target = format!("http://{}/k1", server.address());
    let out = body(&[
        "-d",
        "one",
        &target,
        "--next",
        "-w",
        " %{num_connects}\n",
        &target,
        "--next",
        "-X",
        "DELETE",
        "-w",
        "%{http_code} %{num_connects}\n",
        &target,
        "--next",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{num_connects}\n",
        &target,
    ]);
    assert_eq!(out, "one 0\n204 0\n404 0\n");
}

#[test]
fn uploads_of_ten_mebibytes() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let value = Numbers::new(1).bytes(10 << 20);
    let file = folder.path().join("value");
    fs::write(&file, &value).expect("the file");
    let file = file.to_str().expect("text");
    let fetched = folder.path().join("fetched");
    let fetched = fetched.to_str().expect("text");
    for (n, more) in [
        &["-H", "Expect: 100-continue"][..],
        &["-H", "Expect:"],
        &["-H", "Transfer-Encoding: chunked"],
        &["-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue"],
        &["--http1.0"],
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("http://{}/large{n}", server.address());
        let arguments = [&["-T", file, "--expect100-timeout", "20"][..], more, &[&target]].concat();
        assert_eq!(status(&arguments), "201", "{more:?}");
        body(&["-o", fetched, &target]);
        assert!(fs::read(fetched).expect("the file") == value, "{more:?}");
        assert_eq!(status(&["--http1.0", "-o", fetched, &target]), "200");
    }
}

#[test]
fn an_upload_over_the_limit_is_413_with_its_reason() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&["--value-bytes-max", "1MiB"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("value");
    fs::write(&file, vec![7; 4 << 20]).expect("the file");
    let file = file.to_str().expect("text");
    let target = format!("http://{}/large", server.address());
    // With Expect the body is never sent; without, the error must be readable all the same.
    for more in ["Expect: 100-continue", "Expect:", "Transfer-Encoding: chunked"] {
        let output = curl(&["-w", "%{http_code}", "-H", more, "-T", file, &target]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.ends_with("413"), "{more:?}: {output:?}");
        assert!(text.contains("value-bytes-max"), "{more:?}: {text}");
    }
    assert_eq!(status(&[&target]), "404");
}

#[test]
fn every_method() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let target = format!("{}/k", server.address());
    for (method, expected) in [
        ("GET", "404"),
        ("PUT", "201"),
        ("POST", "204"),
        ("GET", "200"),
        ("PROPFIND", "404"),
        ("PATCH", "405"),
        ("TRACE", "405"),
        ("MKCOL", "405"),
        ("FROB", "501"),
        ("OPTIONS", "204"),
        ("DELETE", "204"),
        ("DELETE", "404"),
    ] {
        assert_eq!(status(&["-X", method, &target]), expected, "{method}");
    }
    assert_eq!(status(&["-I", &target]), "404");
    assert_eq!(
        status(&["--path-as-is", "-d", "x", &format!("{}/a/../b", server.address())]),
        "201"
    );
    assert_eq!(body(&["--path-as-is", &format!("{}/a/../b", server.address())]), "x");
}

#[test]
fn an_upload_that_is_resumed_does_not_replace_the_value_by_its_tail() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("value");
    fs::write(&file, "0123456789").expect("the file");
    let file = file.to_str().expect("text");
    let target = format!("http://{}/k", server.address());
    assert_eq!(status(&["-T", file, &target]), "201");
    let output = curl(&["-w", "%{http_code}", "-C", "5", "-T", file, &target]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.ends_with("400") && text.contains("Content-Range"), "{output:?}");
    assert_eq!(body(&[&target]), "0123456789");
}

#[test]
fn a_copy_is_fetched_again_only_if_the_value_has_changed() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&["--etag"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (tag, copy) = (file("tag"), file("copy"));
    let target = format!("http://{}/k", server.address());
    let fetch = || {
        let tags = ["--etag-save", &tag, "--etag-compare", &tag, "-o", &copy];
        body(&[&tags[..], &["-w", "%{http_code} %{size_download}", &target]].concat())
    };
    assert_eq!(status(&["-d", "first", &target]), "201");
    assert_eq!(fetch(), "200 5");
    assert_eq!(fetch(), "304 0");
    assert_eq!(fs::read(&copy).expect("the copy"), b"first");
    assert_eq!(status(&["-d", "second", &target]), "204");
    assert_eq!(fetch(), "200 6");
    assert_eq!(fetch(), "304 0");
    assert_eq!(fs::read(&copy).expect("the copy"), b"second");
}

#[test]
fn parts_of_values() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    for (name, value) in
        [("small", b"0123456789".to_vec()), ("large", Numbers::new(9).bytes(3 << 20))]
    {
        let file = folder.path().join(name);
        fs::write(&file, &value).expect("the file");
        let target = format!("http://{}/{name}", server.address());
        assert_eq!(status(&["-T", file.to_str().expect("text"), &target]), "201");
        let part = folder.path().join("part");
        let part_name = part.to_str().expect("text");
        let end = value.len();
        for (range, expected) in [
            ("2-4", &value[2..5]),
            ("-3", &value[end - 3..]),
            ("5-", &value[5..]),
            ("0-0", &value[..1]),
        ] {
            assert_eq!(body(&["-r", range, "-o", part_name, "-w", "%{http_code}", &target]), "206");
            assert!(fs::read(&part).expect("the part") == expected, "{name} {range}");
        }
        assert_eq!(status(&["-r", &format!("{end}-"), &target]), "416");
        // What is there already is not fetched again.
        fs::write(&part, &value[..7]).expect("the part");
        let fetched = "%{http_code} %{size_download}";
        let fetched = body(&["-C", "-", "-o", part_name, "-w", fetched, &target]);
        assert_eq!(fetched, format!("206 {}", end - 7));
        assert!(fs::read(&part).expect("the part") == value, "{name}");
    }
}

/// There are no modification dates, so that a copy is fetched anew whatever its date.
#[test]
fn a_copy_by_date_is_fetched_again() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let target = format!("http://{}/k", server.address());
    assert_eq!(status(&["-d", "v", &target]), "201");
    for date in ["2040-01-01", "-1999-01-01", "1999-01-01"] {
        assert_eq!(body(&["-z", date, "-w", " %{http_code}", &target]), "v 200", "{date}");
    }
}
