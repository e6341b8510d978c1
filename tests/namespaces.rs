//! Namespaces that `/metrics` shows by themselves.

use testkit::{Client, Server, command, eventually};

/// The value of a metric of a namespace; `None` if the page has none.
fn metric(client: &mut Client, name: &str, namespace: &str) -> Option<u64> {
    let page = client.get("/metrics").line();
    let start = format!("corekv_namespace_{name}{{namespace=\"{namespace}\"}} ");
    let values: Vec<_> = page.lines().filter_map(|line| line.strip_prefix(&start)).collect();
    assert!(values.len() <= 1, "{name} of {namespace} is there twice");
    values.first().map(|value| value.parse().expect("a whole number"))
}

fn metrics<const N: usize>(client: &mut Client, names: [&str; N], of: &str) -> [u64; N] {
    names.map(|name| metric(client, name, of).unwrap_or_else(|| panic!("no {name} of {of}")))
}

#[test]
fn each_named_namespace_is_counted_by_itself_on_all_cores() {
    let server = Server::start(&["--namespace", "ci", "--namespace", "a b,q\"\\x"]);
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    let names = ["keys", "hits_total", "misses_total", "evicted_total", "expired_total"];
    assert_eq!(metrics(&mut clients[0], names, "ci"), [0; 5], "they are there from the start");
    for (n, client) in clients.iter_mut().enumerate() {
        for target in ["/ci/", "/other/", "/ci", "/ci2/", "/a%20b%2F", "/q%22%5Cx/", "//ci/"] {
            let target = format!("{target}{n}");
            assert_eq!(client.put(&target, "v").status, 201);
            assert_eq!(client.put(&target, "w").status, 204);
            assert_eq!(client.get(&target).status, 200);
            client.send(format!("HEAD {target}?x HTTP/1.1\r\nHost: t\r\n\r\n"));
            assert_eq!(client.response_to_head().status, 200);
            // Whose body comes in pieces, or which is in a pipeline.
            let pieces = format!(
                "GET {target} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            );
            assert_eq!(client.exchange(pieces).status, 200);
            client.send(format!("GET {target}/absent HTTP/1.1\r\nHost: t\r\n\r\n").repeat(3));
            assert!((0..3).all(|_| client.response().status == 404));
        }
    }
    let client = &mut clients[0];
    for name in ["ci", "a b", "q\\\"\\\\x"] {
        assert_eq!(metrics(client, names, name), [4, 12, 12, 0, 0], "{name}");
    }
    // A header of 8 bytes, a key of 4 and a value of 1.
    assert_eq!(metrics(client, ["stored_bytes"], "ci"), [4 * 16]);
    assert_eq!(client.put("/ci/large", vec![7; 100_000]).status, 201);
    let [bytes] = metrics(client, ["stored_bytes"], "ci");
    assert!((100_000..115_000).contains(&bytes), "{bytes}");
    assert_eq!(client.call("DELETE", "/ci/large").status, 204);
    assert_eq!(client.call("DELETE", "/ci/0").status, 204);
    assert_eq!(metrics(client, ["keys", "stored_bytes"], "ci"), [3, 48]);
    assert_eq!(metric(client, "keys", "other"), None);
    assert_eq!(client.size(), 4 * 7 - 1);
}

#[test]
fn what_goes_is_counted_by_why_it_goes() {
    let server = Server::start(&["--memory", "2MiB", "--cores", "0", "--namespace", "ci,x"]);
    let mut client = server.connect();
    for n in 0..50 {
        let lines = if n < 30 { "Cache-Control: max-age=1\r\n" } else { "" };
        assert_eq!(client.put_with(&format!("/ci/{n}"), lines, "v").status, 201);
    }
    let names = ["keys", "expired_total", "purged_total"];
    eventually("they expire", || metrics(&mut client, names, "ci") == [20, 30, 0]);
    assert_eq!(client.call("PURGE", "/ci/").status, 204);
    eventually("they are purged", || metrics(&mut client, names, "ci") == [0, 30, 20]);
    assert_eq!(metrics(&mut client, ["stored_bytes"], "ci"), [0]);
    let written = 4000;
    for n in 0..written {
        assert_eq!(client.put(&format!("/x/{n}"), vec![1; 1000]).status, 201);
    }
    let [keys, evicted, bytes] =
        metrics(&mut client, ["keys", "evicted_total", "stored_bytes"], "x");
    assert!(evicted > 0 && keys + evicted == written, "{keys} and {evicted}");
    assert!(bytes > keys * 1000 && bytes < 2 << 20, "{bytes}");
    assert_eq!(metrics(&mut client, ["evicted_total"], "ci"), [0]);
}

#[test]
fn without_names_the_page_has_no_such_metrics() {
    let server = Server::start(&[]);
    assert!(!server.connect().get("/metrics").line().contains("namespace"));
}

#[test]
fn what_is_no_name_is_refused_at_the_start() {
    let many = (0..33).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    for wrong in ["", "a/b", "/", "a,a", &many, &"x".repeat(256), "a\tb"] {
        let output = command(&["--namespace", wrong]).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{wrong}: {text}");
        assert!(text.contains("--namespace"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
