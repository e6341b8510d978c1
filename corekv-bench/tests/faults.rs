//! A server that is wrong in one way is reported for what it is, with exit code 1.

mod util;

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use util::{Double, Fault, Run, bench, bench_json};

/// Enough of everything to reach the fault, on a server of few keys that are often written.
const LOAD: &str = "--connections 4 --pipelining 8 --keys 50 --requests 4000 --write-ratio 0.4 \
                    --timeout 1";

fn measured(fault: Fault, more: &str) -> (Run, serde_json::Value) {
    let double = Double::start(fault);
    let (run, json) = bench_json(&format!("--uri {} {LOAD} {more}", double.uri));
    assert_eq!(run.code, Some(1), "{run:?}");
    (run, json)
}

#[test]
fn a_swap_of_two_responses_is_caught() {
    let (run, json) = measured(Fault::Swap, "--verify");
    let wrong = json["wrong_values"].as_u64().unwrap() + json["lost"].as_u64().unwrap();
    assert!(wrong >= 1, "{run:?}");
}

#[test]
fn a_swap_of_two_values_is_reported_with_its_bytes() {
    let double = Double::start(Fault::Swap);
    let (run, json) = bench_json(&format!(
        "--uri {} --connections 4 --pipelining 8 --keys 50 --requests 4000 --write-ratio 0 \
         --verify --timeout 1",
        double.uri
    ));
    assert_eq!((run.code, json["wrong_values"].as_u64()), (Some(1), Some(2)), "{run:?}");
    let first = json["violations"][0].as_str().unwrap();
    assert!(first.contains("got the value of key") && first.contains(":1\""), "{first}");
    assert!(run.stderr.contains(first), "{run:?}");
}

#[test]
fn a_dropped_response_is_caught() {
    let (run, json) = measured(Fault::Drop, "--verify");
    assert!(json["wrong_values"].as_u64().unwrap() + json["lost"].as_u64().unwrap() >= 1);
    assert!(json["connection_errors"]["timeout"].as_u64().unwrap() >= 1, "{run:?}");
}

#[test]
fn a_dropped_response_is_missed_even_without_verify() {
    let (run, json) = measured(Fault::Drop, "");
    assert!(json["connection_errors"]["timeout"].as_u64().unwrap() >= 1, "{run:?}");
    assert!(json["errors"].as_u64().unwrap() >= 1);
}

#[test]
fn a_stale_value_is_caught() {
    let (run, json) = measured(Fault::Stale, "--verify");
    assert_eq!(json["wrong_values"].as_u64(), Some(1), "{run:?}");
    assert!(json["violations"][0].as_str().unwrap().contains("was acknowledged before"));
}

#[test]
fn a_wrong_length_is_caught() {
    let (run, json) = measured(Fault::ShortValue, "--verify --value-bytes 40-60");
    assert_eq!(json["wrong_values"].as_u64(), Some(1), "{run:?}");
    assert!(json["violations"][0].as_str().unwrap().contains("a wrong length"));
}

#[test]
fn a_lost_value_is_counted() {
    for more in ["", "--verify", "--value-bytes 100"] {
        let (run, json) = measured(Fault::Lose, more);
        assert_eq!(json["lost"].as_u64(), Some(1), "{run:?}");
        assert!(run.stderr.contains("1 misses, 1 lost."), "{run:?}");
    }
}

#[test]
fn garbage_is_reported_by_its_kind() {
    let (run, json) = measured(Fault::Garbage, "");
    assert_eq!(json["connection_errors"]["invalid_response"].as_u64(), Some(1), "{run:?}");
    assert!(run.stderr.contains("1 invalid response (not an HTTP/1 status line)"), "{run:?}");
}

#[test]
fn a_silent_close_is_reported_by_its_kind() {
    let double = Double::start(Fault::CloseEarly(100));
    let run = bench(&format!("--uri {} {LOAD}", double.uri));
    assert_eq!(run.code, Some(1), "{run:?}");
    // The preload meets it first, and there is no use in measuring a server without its keys.
    let (run, json) = measured(Fault::CloseEarly(100), "--no-preload");
    let errors = &json["connection_errors"];
    let closed = errors["closed_early"].as_u64().unwrap() + errors["reset"].as_u64().unwrap();
    assert!(closed >= 1, "{run:?}");
    assert!(json["reopened"].as_u64().unwrap() >= 1, "{run:?}");
}

#[test]
fn a_server_that_stops_to_answer_is_given_up() {
    let double = Double::start(Fault::Mute);
    let load = "--connections 4 --pipelining 8 --keys 50 --duration 60 --timeout 0.3";
    let begin = Instant::now();
    let (run, json) = bench_json(&format!("--uri {} {load}", double.uri));
    // Many times the timeout, for a busy machine; and far less than the duration.
    assert!(begin.elapsed() < Duration::from_secs(15), "{run:?}");
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(json["stopped_early"], "the server did not answer any more");
    assert!(json["connection_errors"]["timeout"].as_u64().unwrap() >= 4, "{run:?}");
    assert!(run.stderr.contains("request timed out"), "{run:?}");
}

#[test]
fn a_server_that_never_answers_fails_the_preload() {
    let double = Double::start(Fault::MuteFromTheStart);
    let run = bench(&format!("--uri {} --keys 50 --timeout 0.3", double.uri));
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    assert!(run.stderr.contains("only 0 of 50 keys could be stored"), "{run:?}");
    assert!(run.stderr.contains("request timed out"), "{run:?}");
}

#[test]
fn a_server_that_stores_nothing_is_not_asked_a_million_times() {
    // The server inside refuses to write its own page.
    let run = bench("--path /metrics?{key} --keys 1M --connections 2 --threads 1");
    assert_eq!((run.code, run.stderr.lines().count()), (Some(1), 1), "{run:?}");
    let refused = run.stderr.split_once("could be stored: ").unwrap().1;
    let (count, rest) = refused.split_once(' ').unwrap();
    assert!(rest.starts_with("status 405; of a server that stores nothing, "), "{run:?}");
    assert!(count.parse::<u64>().unwrap() < 900_000, "{run:?}");
}

#[test]
fn refused_requests_are_failures() {
    let (run, json) = measured(Fault::Status(500), "");
    let gets = &json["get"];
    assert_eq!(json["non_2xx"], gets["requests"], "{run:?}");
    assert!(run.stderr.contains("Statuses other than 2xx: 500: "), "{run:?}");
}

/// Answers without end: each begins rightly.
const FLOODS: [(&[u8], &[u8]); 4] = [
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n"),
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
];

#[test]
fn a_server_that_floods_does_not_outlast_the_duration() {
    for (head, more) in FLOODS {
        let double = Double::start(Fault::Flood(head, more));
        let (run, json) = bench_json(&format!(
            "--uri {} --connections 2 --keys 50 --duration 1 --timeout 0.3",
            double.uri
        ));
        assert_eq!(run.code, Some(1), "{run:?}");
        let errors = &json["connection_errors"];
        let failed = ["timeout", "invalid_response"].map(|kind| errors[kind].as_u64().unwrap());
        assert!(failed.iter().sum::<u64>() >= 1, "{run:?}");
    }
}

#[test]
fn a_server_that_floods_does_not_outlast_an_interrupt() {
    let (head, more) = FLOODS[0];
    let double = Double::start(Fault::Flood(head, more));
    let arguments =
        format!("--uri {} --connections 2 --keys 50 --duration 600 --timeout 600", double.uri);
    let mut child = util::command(&arguments);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The flood has begun once the first GET came.
    while !double.requests().iter().any(|request| request.starts_with("POST /")) {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(500));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_secs(30) {
            child.kill().unwrap();
            panic!("the first Ctrl-C does not end it");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
