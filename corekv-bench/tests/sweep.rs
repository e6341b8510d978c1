//! `--sweep`: latency against load, and the highest rate that keeps a limit.

mod util;

use serde_json::Value;
use util::{Double, Fault, bench, bench_json};

/// One request at a time takes 4 ms, so at most 250 are answered per second.
const LOAD: &str = "--connections 1 --pipelining 4 --keys 20 --write-ratio 0 --duration 700ms";

fn rates(json: &Value) -> Vec<f64> {
    let steps = json["steps"].as_array().unwrap();
    steps.iter().map(|step| step["rate"].as_f64().unwrap()).collect()
}

#[test]
fn a_server_is_swept_up_to_saturation() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page");
    let double = Double::start(Fault::Slow(4));
    let (run, json) =
        bench_json(&format!("{} {LOAD} --sweep 20..80%:20 --html {}", double.uri, page.display()));
    assert_eq!(run.code, Some(0), "{run:?}");
    let saturation = json["saturation"]["requests_per_second"].as_f64().unwrap();
    assert!(saturation > 0.0 && saturation <= 250.0, "{json}");
    for (rate, share) in rates(&json).iter().zip([0.2, 0.4, 0.6, 0.8]) {
        assert!((rate / saturation / share - 1.0).abs() < 0.01, "{json}");
    }
    for step in json["steps"].as_array().unwrap() {
        let all = &step["result"]["all"];
        let value = |name: &str| all[name].as_f64().unwrap();
        assert!(4000.0 <= value("p50_us") && value("p50_us") <= value("max_us"), "{json}");
        assert_eq!(step["result"]["rate"], step["rate"], "{json}");
    }
    assert!(run.stderr.contains("Saturation: ") && run.stderr.contains(" LOAD "), "{run:?}");
    let page = std::fs::read_to_string(page).unwrap();
    for part in ["Latency against load", "<polyline class=\"line d\"", "99.9%", "All steps"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn the_highest_rate_that_keeps_a_limit_is_between_those_that_do_and_dont() {
    // The server's own 4 ms are far below the limit: what decides is whether requests pile up, or
    // what else the machine does.
    let double = Double::start(Fault::Slow(4));
    let (run, json) = bench_json(&format!("{} {LOAD} --sweep --slo p50<60ms", double.uri));
    let steps = json["steps"].as_array().unwrap();
    let saturation = json["saturation"]["requests_per_second"].as_f64().unwrap();
    for step in steps {
        let keeps = step["result"]["all"]["p50_us"].as_f64().unwrap() < 60_000.0;
        let faults = step["faults"].as_array().unwrap();
        let is_named = faults.iter().any(|fault| fault.as_str().unwrap().starts_with("p50 is "));
        assert_eq!((is_named, step["passed"] == true), (!keeps, faults.is_empty()), "{json}");
    }
    let highest = steps.iter().take_while(|step| step["passed"] == true).last();
    let highest = highest.map_or(&Value::Null, |step| &step["rate"]);
    assert_eq!(&json["highest_rate"], highest, "{json}");
    assert_eq!(run.code, Some(i32::from(highest.is_null())), "{run:?}");
    // Bisection: the first step is the half, and each further one halves what is left.
    let rates = rates(&json);
    let has = |share: f64| rates.iter().any(|rate| (rate / saturation - share).abs() < 0.01);
    assert!(rates.is_sorted() && has(0.5) && (has(0.25) || has(0.75)), "{json}");
    assert!(rates.iter().all(|&rate| rate > 0.0 && rate < saturation), "{json}");
    let line = "Highest rate that keeps p50 < 60.0 ms: ";
    assert_eq!(run.stderr.contains(line), !highest.is_null(), "{run:?}");
}

#[test]
fn a_limit_that_no_rate_keeps_is_a_failure() {
    let double = Double::start(Fault::Slow(4));
    let run = bench(&format!("{} {LOAD} --sweep 50..100 --slo p50<1ms", double.uri));
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("no rate keeps p50 < 1.00 ms"), "{run:?}");
    assert!(run.stdout.contains("None of the rates keeps p50 < 1.00 ms."), "{run:?}");
    assert!(run.stdout.contains("p50 is "), "{run:?}");
}

#[test]
fn rates_are_taken_as_they_are_and_a_rate_that_is_not_kept_fails() {
    let double = Double::start(Fault::Slow(4));
    let (run, json) = bench_json(&format!("{} {LOAD} --sweep 50..1050:500", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!((rates(&json), &json["saturation"]), (vec![50.0, 550.0, 1050.0], &Value::Null));
    let faults = &json["steps"][2]["faults"];
    assert_eq!(faults, &serde_json::json!(["the rate was not kept"]), "{json}");
}

#[test]
fn a_lost_value_in_a_step_is_a_failure_of_the_sweep_once() {
    let double = Double::start(Fault::Lose);
    let load = "--connections 1 --keys 20 --write-ratio 0 --duration 500ms";
    let run = bench(&format!("{} {load} --sweep 1k..3k:1k", double.uri));
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("1 lost values"), "{run:?}");
}
