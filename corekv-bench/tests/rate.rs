//! The constant rate, and what a closed loop hides.

mod util;

use util::{Double, Fault, bench_json};

/// The server sleeps this long, once.
const STALL_MS: u64 = 1000;

/// The k-th longest latency, in milliseconds, of a closed loop during which the server stalls once:
/// every request that is in flight then waits for all of the stall, and no other is sent.
fn closed_loop_theory(k: f64, in_flight: f64) -> f64 {
    if k < in_flight { STALL_MS as f64 } else { 0.0 }
}

/// The same at a constant rate per second: requests go on being due, and each waits for what is left
/// of the stall.
fn constant_rate_theory(k: f64, rate: f64) -> f64 {
    (STALL_MS as f64 - k / rate * 1000.0).max(0.0)
}

#[test]
fn a_stall_shows_as_theory_says_in_a_closed_loop_and_at_a_constant_rate() {
    const CONNECTIONS: f64 = 4.0;
    const RATE: f64 = 400.0;
    let load = format!("--connections {CONNECTIONS} --pipelining 1 --keys 50 --write-ratio 0");
    let double = Double::start(Fault::Stall(STALL_MS));
    let (run, closed) = bench_json(&format!("--uri {} {load} --requests 2000", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    let double = Double::start(Fault::Stall(STALL_MS));
    let (run, constant) =
        bench_json(&format!("--uri {} {load} --rate {RATE} --duration 3", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");

    for (name, share) in
        [("p50_us", 0.5), ("p90_us", 0.1), ("p95_us", 0.05), ("p99_us", 0.01), ("p999_us", 0.001)]
    {
        let check = |json: &serde_json::Value, theory: &dyn Fn(f64) -> f64| {
            let requests = json["get"]["requests"].as_f64().unwrap();
            let expected = theory(share * requests);
            let measured = json["get"][name].as_f64().unwrap() / 1000.0;
            // Nothing makes a wait shorter; a busy machine makes it longer.
            let range = expected - 0.05 * STALL_MS as f64..expected + 0.5 * STALL_MS as f64;
            assert!(range.contains(&measured), "{name}: {measured} instead of {expected}: {json}");
        };
        check(&closed, &|k| closed_loop_theory(k, CONNECTIONS));
        check(&constant, &|k| constant_rate_theory(k, RATE));
    }
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
    // By the time t 100 t² requests are due, and no machine is busy enough for one to be early. The
    // main thread, which takes the samples, may begin a little late.
    let mut answered = 0.0;
    for point in json["series"].as_array().unwrap() {
        let value = |name: &str| point[name].as_f64().unwrap();
        answered += value("requests_per_second") * value("seconds");
        let due = 100.0 * (value("end_s") + 0.25).powi(2);
        assert!(answered <= due + 1.0, "{answered} of {due}: {run:?}");
    }
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
