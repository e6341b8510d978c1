//! The load generator against servers that are right.

mod util;

use std::io::Read;
use std::process::Stdio;

use util::peer::wait_until;
use util::{Double, Fault, bench, bench_json, command};

const LOAD: &str = "--connections 3 --pipelining 8 --keys 100 --requests 3000 --timeout 5";

#[test]
fn a_right_server_passes_every_check() {
    for more in [
        "",
        "--verify",
        "--verify --value-bytes 32-300",
        "--value-bytes 0-10",
        "--distribution zipf:0.99",
        "--threads 3 --cores 0",
        "--warmup 100ms",
        "--method-mix get=6,head=2,post=1,put=1 --verify",
        "--method-mix get=5,put=1,delete=1",
    ] {
        let double = Double::start(Fault::None);
        let (run, json) = bench_json(&format!("--uri {} {LOAD} {more}", double.uri));
        assert_eq!(run.code, Some(0), "{more}: {run:?}");
        assert_eq!(json["requests"], 3000, "{more}");
        for count in ["lost", "errors", "wrong_values"] {
            assert_eq!(json[count], 0, "{more}: {count}");
        }
        let deletes = more.contains("delete");
        assert_eq!(json["loss_checked"], !deletes, "{more}");
        assert!(deletes || json["non_2xx"] == 0, "{more}");
    }
}

#[test]
fn without_a_server_to_measure_one_is_started() {
    for more in ["", "--verify", "--verify --value-bytes 40-9000 --write-ratio 0.5"] {
        let (run, json) = bench_json(&format!("{LOAD} {more}"));
        assert_eq!((run.code, &json["requests"]), (Some(0), &3000.into()), "{more}: {run:?}");
        for count in ["non_2xx", "lost", "errors", "wrong_values"] {
            assert_eq!(json[count], 0, "{more}: {count}");
        }
        assert!(run.stderr.contains("server thread corekv-0: "), "{run:?}");
        assert!(json["server_cpu_us_per_request"].as_f64().unwrap() > 0.0, "{run:?}");
    }
}

#[test]
fn every_framing_of_the_answers_is_understood() {
    for fault in [Fault::Chunked, Fault::UntilClose, Fault::CloseAnnounced(100)] {
        let double = Double::start(fault);
        let (run, json) = bench_json(&format!("--uri {} {LOAD} --verify", double.uri));
        assert_eq!((run.code, &json["requests"]), (Some(0), &3000.into()), "{fault:?}: {run:?}");
        assert_eq!(json["reopened"].as_u64().unwrap() > 0, fault != Fault::Chunked, "{fault:?}");
    }
}

#[test]
fn a_unix_socket_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let _double = Double::start_unix(&path);
    let run = bench(&format!("--unix {} {LOAD} --verify", path.display()));
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains(&format!("test @ unix:{}", path.display())), "{run:?}");
}

#[test]
fn all_addresses_of_localhost_are_tried() {
    let double = Double::start(Fault::None);
    let uri = double.uri.replace("127.0.0.1", "localhost");
    assert_eq!(bench(&format!("--uri {uri} {LOAD}")).code, Some(0));
}

#[test]
fn the_prefix_and_the_fields_are_sent() {
    let double = Double::start(Fault::None);
    let run = bench(&format!("--uri {}/a/b/ {LOAD} --header X-One:1 -H X-Two:2", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(double.requests().iter().all(|request| request.contains(" /a/b/")));
}

#[test]
fn the_preload_stores_every_key_once() {
    let double = Double::start(Fault::None);
    let arguments = format!("--uri {} --keys 100 --requests 1 --write-ratio 0", double.uri);
    assert_eq!(bench(&arguments).code, Some(0));
    let mut stored = double.requests();
    assert!(stored.pop().unwrap().starts_with("GET /"));
    stored.sort();
    let mut expected: Vec<_> = (0..100).map(|key| format!("POST /{key} 0")).collect();
    expected.sort();
    assert_eq!(stored, expected);
}

#[test]
fn a_write_is_the_last_value_read_plus_one() {
    let double = Double::start(Fault::None);
    let arguments = "--connections 1 --pipelining 1 --keys 5 --requests 200 --write-ratio 0.5";
    assert_eq!(bench(&format!("--uri {} {arguments}", double.uri)).code, Some(0));
    let mut values = [0_u64; 5];
    let mut last_read = 0;
    for request in &double.requests()[5..] {
        let mut parts = request.split(' ');
        let (method, target, body) =
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let key: usize = target[1..].parse().unwrap();
        if method == "GET" {
            last_read = values[key];
        } else {
            values[key] = body.parse().unwrap();
            assert_eq!(values[key], last_read + 1);
        }
    }
    assert!(values.iter().any(|&value| value > 1), "{values:?}");
}

#[test]
fn the_same_seed_sends_the_same_requests() {
    let sent = |seed: u32| {
        let double = Double::start(Fault::None);
        let arguments = format!("--uri {} {LOAD} --value-bytes 5-50 --seed {seed}", double.uri);
        assert_eq!(bench(&arguments).code, Some(0));
        let mut requests = double.requests();
        requests.sort();
        requests
    };
    let first = sent(7);
    assert_eq!(first, sent(7));
    assert_ne!(first, sent(8));
}

#[test]
fn without_a_preload_a_miss_is_no_loss() {
    let double = Double::start(Fault::None);
    let (run, json) = bench_json(&format!("--uri {} {LOAD} --no-preload", double.uri));
    assert_eq!((run.code, &json["lost"]), (Some(0), &0.into()), "{run:?}");
    assert!(json["get"]["misses"].as_u64().unwrap() > 0);
    assert_eq!(json["non_2xx"], json["get"]["misses"]);
    assert!(run.stderr.contains("loss not checked"), "{run:?}");
}

#[test]
fn the_numbers_of_the_json_belong_together() {
    let double = Double::start(Fault::None);
    let (run, json) = bench_json(&format!("--uri {} {LOAD}", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    let (get, post) = (&json["get"], &json["post"]);
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    assert_eq!(number(&get["requests"]) + number(&post["requests"]), 3000.0);
    assert!((number(&post["requests"]) - 600.0).abs() < 150.0, "{json}");
    for method in [get, post] {
        assert!(number(&method["p50_us"]) <= number(&method["p99_us"]));
        assert!(number(&method["p99_us"]) <= number(&method["p999_us"]));
        assert!(number(&method["p999_us"]) <= number(&method["max_us"]));
        assert!(number(&method["max_us"]) > 0.0);
    }
    let rate = number(&json["requests"]) / number(&json["seconds"]);
    assert!((number(&json["requests_per_second"]) / rate - 1.0).abs() < 0.05, "{json}");
}

#[test]
fn results_go_to_files_and_quiet_is_quiet() {
    let double = Double::start(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let run = bench(&format!(
        "--uri {} {LOAD} --quiet --json {} --csv {} --hgrm {}",
        double.uri,
        path("json"),
        path("csv"),
        path("hgrm")
    ));
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(0), "", ""));
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    assert!(read("json").contains("\"requests\": 3000"));
    let csv = read("csv");
    let columns: Vec<_> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [18; 4], "{csv}");
    assert!(csv.lines().last().unwrap().starts_with("all,3000,"));
    assert!(read("hgrm").contains("Total count    =         3000]"));
}

#[test]
fn an_interrupt_prints_what_there_is() {
    let double = Double::start(Fault::None);
    let mut child = command(&format!("--uri {} --keys 100 --duration 60", double.uri))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The preload is over when GETs arrive.
    wait_until(|| double.requests().iter().filter(|line| line.starts_with("GET")).count() > 100);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    // What a shell expects of a program that an interrupt ended.
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(stdout.contains("Stopped early: interrupted.") && stdout.contains("Done!"), "{stdout}");
}
