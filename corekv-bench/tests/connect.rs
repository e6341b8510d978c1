//! Connections: when the clock starts, how soon a closed one is opened again, how long a request
//! may wait, and what each failure is called.

mod util;

use corekv::net::Address;
use corekv::{Config, Server};
use util::{Double, Fault, bench_json, command};

#[test]
fn the_clock_starts_when_all_connections_are_open() {
    let double = Double::start_slow_to_accept();
    let load = "--connections 6 --pipelining 1 --keys 50 --write-ratio 0 --no-preload";
    let (run, json) = bench_json(&format!("--uri {} {load} --rate 500 --duration 1", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    // The third connection or the fourth found the queue full.
    assert!(number(&json["connect"]["max_us"]) > 500_000.0, "{run:?}");
    assert!(number(&json["connect"]["seconds"]) > 0.5, "{run:?}");
    assert_eq!(json["connect"]["opened"], 6, "{run:?}");
    // A schedule that had begun before would have half its requests wait for that.
    assert!(number(&json["all"]["p50_us"]) < 250_000.0, "{run:?}");
    assert!(number(&json["seconds"]) < 1.5, "{run:?}");
    assert!(run.stderr.contains("Opened 6 connections in "), "{run:?}");
}

#[test]
fn a_connection_closed_without_a_word_is_opened_again_at_once() {
    let seconds = |fault: Fault| {
        let double = Double::start(fault);
        let load = "--connections 2 --pipelining 7 --keys 50 --write-ratio 0 --no-preload";
        let (run, json) = bench_json(&format!("--uri {} {load} --requests 2000", double.uri));
        assert!(json["reopened"].as_u64().unwrap() > 100, "{run:?}");
        json["seconds"].as_f64().unwrap()
    };
    // Each connection is closed 143 times. Waits for the tick would be 10 ms each on average, whatever the
    // machine does; what a busy one spoils is tried again.
    for fault in [Fault::CloseAnnounced(7), Fault::CloseEarly(7)] {
        assert!((0..5).any(|_| seconds(fault) < 1.0), "{fault:?}");
    }
}

#[test]
fn a_run_that_gives_up_counts_what_was_due_and_names_every_connection() {
    let double = Double::start(Fault::MuteFromTheStart);
    let load = "--connections 20 --pipelining 1 --threads 1 --rate 1000 --duration 60 \
                --timeout 0.5 --no-preload";
    let (run, json) = bench_json(&format!("--uri {} {load}", double.uri));
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(json["stopped_early"], "the server did not answer any more");
    assert_eq!(json["connection_errors"]["timeout"], 20, "{run:?}");
    assert_eq!((&json["errors"], &json["requests"]), (&20.into(), &0.into()), "{run:?}");
    // Of the 1000 per second some half second's.
    assert!(json["never_sent"].as_u64().unwrap() >= 400, "{run:?}");
}

#[test]
fn every_request_has_its_own_timeout() {
    let double = Double::start(Fault::Slow(300));
    // The last of ten requests would wait for three seconds, though an answer comes all the time.
    let load = "--connections 1 --pipelining 10 --requests 20 --keys 50 --write-ratio 0 \
                --no-preload --timeout 1";
    let (run, json) = bench_json(&format!("--uri {} {load}", double.uri));
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(json["connection_errors"]["timeout"].as_u64().unwrap() >= 1, "{run:?}");
    assert!(json["get"]["timeouts"].as_u64().unwrap() >= 1, "{run:?}");
    assert!(json["all"]["max_us"].as_f64().unwrap() < 2_500_000.0, "{run:?}");
}

#[test]
fn a_reset_is_called_a_reset() {
    let double = Double::start(Fault::Reset(7));
    let load = "--connections 2 --pipelining 10 --requests 400 --keys 50 --no-preload";
    let (run, json) = bench_json(&format!("--uri {} {load}", double.uri));
    assert_eq!(run.code, Some(1), "{run:?}");
    let errors = &json["connection_errors"];
    assert!(errors["reset"].as_u64().unwrap() > 10, "{run:?}");
    assert_eq!(errors["closed_early"], 0, "{run:?}");
}

#[test]
fn more_connections_than_the_soft_limit_of_open_files_raise_it() {
    let double = Double::start(Fault::None);
    let run = |limit: &str| {
        let load = "-c 200 -n 1000 --keys 100 --quiet";
        let bench = command("").get_program().to_owned();
        std::process::Command::new("sh")
            .args(["-c", &format!("ulimit {limit} && exec \"$0\" --uri {} {load}", double.uri)])
            .arg(bench)
            .output()
            .unwrap()
    };
    let output = run("-Sn 100");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = run("-n 100");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("this process may have 100 open files"), "{stderr}");
}

#[test]
fn a_connection_is_replaced_after_its_requests() {
    for (each, depth, connections) in [(1, 1, 300), (1, 8, 300), (7, 3, 45), (1000, 4, 2)] {
        let double = Double::start(Fault::None);
        let load = format!(
            "--connections 2 --pipelining {depth} --requests 300 --keys 50 --no-preload \
             --connection-requests {each}"
        );
        let (run, json) = bench_json(&format!("--uri {} {load}", double.uri));
        assert_eq!((run.code, &json["requests"]), (Some(0), &300.into()), "{run:?}");
        // Each of two connections sends 150 requests, the last on one that is not used up.
        let opened = json["reopened"].as_u64().unwrap() + 2;
        assert!(opened.abs_diff(connections) <= 2, "{each} {opened} {run:?}");
        assert_eq!(json["errors"], 0, "{run:?}");
        // No more are in flight than a connection may send.
        let rate = json["requests_per_second"].as_f64().unwrap();
        let expected = 2.0 * f64::from(depth.min(each)) / rate * 1e6;
        let by_littles_law = json["littles_law_mean_us"].as_f64().unwrap();
        assert!((by_littles_law / expected - 1.0).abs() < 1e-3, "{expected}: {json}");
        assert_eq!(json["connection_requests"], each, "{json}");
    }
    // At a constant rate, too.
    let double = Double::start(Fault::None);
    let load = "--rate 500 --duration 1 --keys 50 --no-preload --connection-requests 2";
    let (run, json) = bench_json(&format!("--uri {} {load}", double.uri));
    let (sent, never) = (json["requests"].as_u64().unwrap(), json["never_sent"].as_u64().unwrap());
    assert_eq!((run.code, sent + never), (Some(0), 500), "{run:?}");
    assert!(json["reopened"].as_u64().unwrap() > 200, "{run:?}");
}

/// The calls that send, as strace counts them; nothing where it is missing or not allowed.
fn count_sends(arguments: &str) -> Option<u64> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    let status = std::process::Command::new("strace")
        .args(["-f", "-e", "trace=sendto", "-o"])
        .arg(&path)
        .arg(command("").get_program())
        .args(arguments.split_ascii_whitespace())
        .status()
        .ok()?;
    let trace = std::fs::read_to_string(path).ok()?;
    let sends = trace.lines().filter(|line| line.contains("sendto(")).count() as u64;
    (status.success() && sends > 0).then_some(sends)
}

#[test]
fn long_answers_do_not_cost_a_send_each() {
    let server = Server::bind(&Config {
        listen: vec![Address::Tcp(([127, 0, 0, 1], 0).into())],
        signals: false,
        ..Config::default()
    })
    .unwrap();
    let (address, stopper) = (server.local_addrs()[0].to_string(), server.stopper());
    let server = std::thread::spawn(move || server.run());
    let load = "-c 1 -p 10 --keys 1 --value-bytes 64KiB --write-ratio 0 --quiet -n 2000";
    let sends = count_sends(&format!("--uri {address} {load}"));
    stopper.stop();
    server.join().unwrap().unwrap();
    let Some(sends) = sends else {
        println!("strace is not installed, or may not trace");
        return;
    };
    assert!(sends < 1200, "{sends} sends for 2000 requests");
}
