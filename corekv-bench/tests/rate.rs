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
