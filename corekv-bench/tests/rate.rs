//! The constant rate, and what a closed loop hides.

mod util;

use util::{Double, Fault, bench_json};

/// The server sleeps this long, once.
const STALL_MS: u64 = 1000;

#[test]
fn a_stall_that_the_closed_loop_hides_shows_at_a_constant_rate() {
    let load = "--connections 4 --keys 50 --write-ratio 0";
    let double = Double::start(Fault::Stall(STALL_MS));
    let (run, closed) =
        bench_json(&format!("--uri {} {load} --pipelining 1 --requests 2000", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    let double = Double::start(Fault::Stall(STALL_MS));
    let (run, constant) =
        bench_json(&format!("--uri {} {load} --pipelining 1 --rate 400 --duration 3", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");

    // Both saw it: the maximum is what it should be.
    let us = |json: &serde_json::Value, name: &str| json["get"][name].as_f64().unwrap();
    let stall_us = (STALL_MS * 1000) as f64;
    assert!(us(&closed, "max_us") >= stall_us * 0.9, "{closed}");
    assert!(us(&constant, "max_us") >= stall_us * 0.9, "{constant}");
    // In the closed loop four requests of 2000 waited; of the schedule's 1200, a third did.
    assert!(us(&closed, "p99_us") < stall_us * 0.4, "{closed}");
    assert!(us(&constant, "p99_us") > stall_us * 0.7, "{constant}");
    assert!(us(&constant, "p90_us") > stall_us * 0.4, "{constant}");
}

#[test]
fn the_rate_is_kept() {
    let double = Double::start(Fault::None);
    let (run, json) =
        bench_json(&format!("--uri {} --keys 50 --rate 1000 --duration 1", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    let sent = json["requests"].as_u64().unwrap() + json["never_sent"].as_u64().unwrap();
    assert_eq!(sent, 1000, "{run:?}");
    assert!(run.stderr.contains("Rate asked for: 1000/s."), "{run:?}");
}

#[test]
fn what_the_server_was_too_slow_for_is_said() {
    let double = Double::start(Fault::Stall(STALL_MS));
    // One request in flight at a time, of a server that sleeps while most of them are due.
    let arguments =
        "--connections 1 --pipelining 1 --keys 5 --rate 300 --duration 1 --write-ratio 0";
    let (run, json) = bench_json(&format!("--uri {} {arguments}", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    let (sent, never) = (json["requests"].as_u64().unwrap(), json["never_sent"].as_u64().unwrap());
    // The server stalls at its 200th GET, after two thirds of a second, until after the end.
    assert!(never >= 50 && sent + never == 300, "{run:?}");
    let line = format!("{never} requests of the schedule were not sent in time.");
    assert!(run.stderr.contains(&line), "{run:?}");
}

#[test]
fn a_ramp_sends_more_from_second_to_second() {
    let double = Double::start(Fault::None);
    let arguments = "--connections 2 --keys 50 --ramp 0..600 --duration 3";
    let (run, json) = bench_json(&format!("--uri {} {arguments}", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    let sent = json["requests"].as_u64().unwrap() + json["never_sent"].as_u64().unwrap();
    assert_eq!((sent, &json["ramp"]), (900, &serde_json::json!([0.0, 600.0])), "{run:?}");
    assert!(json["rate"].is_null(), "{run:?}");
    // 100 requests, 300 and 500; a second of a busy machine is not that exact.
    let rates: Vec<_> = json["series"].as_array().unwrap().iter().collect();
    let rate = |index: usize| rates[index]["requests_per_second"].as_f64().unwrap();
    assert!(rate(0) < 200.0 && rate(0) < rate(1) && rate(1) < rate(2), "{run:?}");
    assert!(run.stderr.contains("Rate asked for: 0/s to 600/s."), "{run:?}");
}

#[test]
fn a_ramp_says_where_the_server_fell_behind() {
    // At most 250/s.
    let double = Double::start(Fault::Slow(4));
    let load = "--connections 1 --pipelining 4 --keys 50 --write-ratio 0 --no-preload";
    let run = util::bench(&format!("--uri {} {load} --ramp 1..1000 --duration 3", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    let line = run.stdout.lines().find(|line| line.starts_with("Ramp: the answers fell behind"));
    let asked = line.and_then(|line| line.split_once("when ")?.1.split_once("/s")?.0.parse().ok());
    assert!(asked.is_some_and(|asked: f64| (150.0..1000.0).contains(&asked)), "{run:?}");
}
