//! The dashboard: what it says is what `/metrics` says, and a real browser draws it.

mod peers;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use peers::browser::document_and_console;
use serde_json::Value;
use testkit::{Client, Server, eventually};

/// A document of the dashboard.
fn document(client: &mut Client, target: &str) -> Value {
    let response = client.get(target);
    assert_eq!(response.field("Content-Type"), Some("application/json"));
    serde_json::from_slice(&response.body).expect("JSON")
}

/// The sum of a metric over all its labels.
fn metric(client: &mut Client, name: &str) -> u64 {
    let page = client.get("/metrics").line();
    let samples = page
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])));
    samples.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().expect("a number")).sum()
}

#[test]
fn the_page_is_whole_and_may_run_its_own_script_only() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for browser in ["", "Sec-Fetch-Site: none\r\n"] {
        let request = format!("GET /dashboard HTTP/1.1\r\nHost: localhost\r\n{browser}\r\n");
        let response = client.exchange(request);
        assert_eq!(response.status, 200);
        assert_eq!(response.field("Content-Type"), Some("text/html; charset=utf-8"));
        let policy = response.field("Content-Security-Policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(!policy.contains("sandbox"), "{policy}");
        let page = String::from_utf8(response.body).expect("text");
        assert!(page.ends_with("</html>\n"));
        for elsewhere in ["src=\"", "href=\"http", "@import", "url("] {
            assert!(!page.contains(elsewhere), "the page loads something: {elsewhere}");
        }
    }
    assert!(client.call("HEAD", "/dashboard").body.is_empty());
    client
        .put("/dashboard", "x")
        .assert_error(405, "Content-Type: text/plain\r\nAllow: GET, HEAD, OPTIONS\r\n");
}

#[test]
fn the_numbers_are_those_of_the_metrics() {
    let server = Server::start(&["--memory", "4MiB"]);
    let mut client = server.connect();
    let idle = server.connect();
    for n in 0..200 {
        client.put(&format!("/k{n}"), vec![b'v'; 1_000]);
        client.get(&format!("/k{}", n * 2));
    }
    let mut now = Value::Null;
    eventually("a sample is as the metrics are", || {
        now = document(&mut client, "/dashboard/now");
        now["samples"][0]["keys"] == metric(&mut client, "corekv_keys")
    });
    let sample = &now["samples"][0];
    assert_eq!(sample["connections"], metric(&mut client, "corekv_connections_open"));
    assert_eq!(sample["stored_bytes"], metric(&mut client, "corekv_stored_bytes"));
    assert_eq!(now["memory_limit_bytes"], 4 << 20);
    let cores = now["cores"].as_u64().expect("a number") as usize;
    assert_eq!(sample["core_busy"].as_array().map(Vec::len), Some(cores));

    let history = document(&mut client, "/dashboard/history");
    let samples = history["samples"].as_array().expect("samples");
    let sum = |name: &str| samples.iter().map(|sample| sample[name].as_f64().unwrap()).sum::<f64>();
    assert!(sum("write") > 0.0 && sum("read") > 0.0, "{history}");
    // Every second key was there by the time that it was asked for.
    let (hits, misses) = (sum("hits"), sum("misses"));
    let all = metric(&mut client, "corekv_hits_total") as f64;
    let share = all / (all + metric(&mut client, "corekv_misses_total") as f64);
    assert!((hits / (hits + misses) - share).abs() < 0.05, "{hits} of {misses}: {share}");
    assert!(samples.iter().any(|sample| sample["p99"].as_f64().is_some_and(|p99| p99 > 0.0)));
    drop(idle);
}

#[test]
#[ignore = "takes Chromium; .ci/run runs it"]
fn a_browser_draws_it_while_it_moves() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.connect();
            while !is_over.load(Ordering::Relaxed) {
                client.put("/k", "v");
                client.get("/k");
            }
        });
        eventually("there are samples", || {
            let history = document(&mut client, "/dashboard/history");
            history["samples"].as_array().is_some_and(|samples| samples.len() >= 3)
        });
        let url = format!("http://{}/dashboard", server.address());
        let drawn = document_and_console(&url);
        is_over.store(true, Ordering::Relaxed);
        let Some((page, console)) = drawn else { return };
        assert!(console.is_empty(), "the console has {console:?}");
        let tile = |id: &str| {
            let at = page.find(&format!("id=\"{id}\">")).expect("a tile");
            let text = &page[at..page[at..].find("</dd>").expect("an end") + at];
            text.split_once('>').expect("a tag").1.to_owned()
        };
        assert_eq!((tile("keys"), tile("hit-ratio")), ("1".to_owned(), "100.0 %".to_owned()));
        assert!(!["–", "0"].contains(&tile("requests").as_str()), "{}", tile("requests"));
        assert_eq!(page.matches("<canvas").count(), 8, "a plot per chart");
    });
}
