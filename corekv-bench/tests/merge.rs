//! Several load generators at the same time: logs of histograms, their sum, a common beginning, and the
//! probe beside them.

mod util;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use corekv_bench::hdrlog::{self, Counts};
use corekv_bench::recorder::latency_histogram;
use serde_json::Value;
use util::{Double, Fault, Run, bench, bench_json, command};

/// A log of latencies in microseconds.
fn log(begin: u64, seconds: u64, microseconds: impl Iterator<Item = u64>) -> String {
    let mut latency = latency_histogram();
    microseconds.for_each(|us| latency.record(us * 1000).unwrap());
    let (begin, length) = (Duration::from_secs(begin), Duration::from_secs(seconds));
    hdrlog::write(&Counts::default(), begin, length, [("get", &latency)].into_iter())
}

#[test]
fn percentiles_of_a_merge_are_those_of_all_requests() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    // A thousand fast requests on one machine, ten slow ones on another: the mean of both 99th
    // percentiles would be half a second.
    std::fs::write(path("fast"), log(1000, 10, (0..1000).map(|_| 100))).unwrap();
    std::fs::write(path("slow"), log(1000, 10, (0..10).map(|_| 1_000_000))).unwrap();
    let run = bench(&format!(
        "merge {} {} --json - --hgrm {} --hdr-log {}",
        path("fast"),
        path("slow"),
        path("hgrm"),
        path("both")
    ));
    assert_eq!(run.code, Some(0), "{run:?}");
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    let near = |value: &Value, right: f64| (value.as_f64().unwrap() / right - 1.0).abs() < 0.002;
    assert!(near(&json["all"]["p99_us"], 100.0) && near(&json["get"]["p999_us"], 1e6), "{json}");
    assert!(near(&json["requests_per_second"], 101.0), "{json}");
    assert_eq!((&json["requests"], &json["at_the_same_time"]), (&1010.into(), &true.into()));
    assert!(
        std::fs::read_to_string(path("hgrm")).unwrap().contains("Total count    =         1010]")
    );
    // What was merged is a log again.
    let again = bench(&format!("merge {} --json -", path("both")));
    let again: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(again["all"], json["all"]);
}

#[test]
fn runs_that_were_not_at_the_same_time_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("a"), log(1000, 10, 1..100)).unwrap();
    std::fs::write(path("b"), log(1005, 10, 1..100)).unwrap();
    let Run { code, stdout, .. } = bench(&format!("merge {} {}", path("a"), path("b")));
    assert_eq!(code, Some(0));
    assert!(
        stdout.contains("Not at the same time: beginnings or ends are 5.00 s apart"),
        "{stdout}"
    );
    let strict = bench(&format!("merge {} {} --strict", path("a"), path("b")));
    assert_eq!(strict.code, Some(1), "{strict:?}");
    assert!(strict.stderr.contains("not at the same time"), "{strict:?}");
}

#[test]
fn logs_of_other_tools_are_read_and_what_is_no_log_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    // As Java's HistogramLogWriter writes them: intervals without a tag, and a legend.
    let text = log(0, 1, 1..100).replace("Tag=get,", "");
    let text = format!(
        "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n{text}"
    );
    std::fs::write(&path, text).unwrap();
    let run = bench(&format!("merge {} --json -", path.display()));
    assert_eq!(run.code, Some(0), "{run:?}");
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(json["requests"], 99, "{json}");
    for text in ["", "x", "#only a comment\n", "0.1,1.0,2.0,AAAA\n", "#corekv-bench {\n0,1,2,x\n"] {
        std::fs::write(&path, text).unwrap();
        let run = bench(&format!("merge {}", path.display()));
        assert_eq!((run.code, run.stderr.lines().count()), (Some(2), 1), "{text}: {run:?}");
    }
    for arguments in ["merge", "merge /nonexistent/log"] {
        assert_eq!(bench(arguments).code, Some(2), "{arguments}");
    }
}

/// Reads a log, prints what is in it, and writes the same latencies as a log of its own.
const FOREIGN: &str = "
import sys
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader, HistogramLogWriter
reader = HistogramLogReader(sys.argv[1], HdrHistogram(1, 3600 * 10**9, 3))
latency = reader.get_next_interval_histogram()
percentiles = [latency.get_value_at_percentile(one) for one in (50, 90, 99, 99.9, 100)]
print(latency.get_tag(), latency.get_total_count(), *percentiles)
assert reader.get_next_interval_histogram() is None
with open(sys.argv[2], 'w') as file:
    writer = HistogramLogWriter(file)
    writer.output_legend()
    writer.output_interval_histogram(latency)
";

#[test]
#[ignore = "needs the Python package hdrhistogram, which .ci/install brings"]
fn another_implementation_reads_the_log_and_its_log_is_read() {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../peers/python/bin/python3");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    // From a microsecond to eight seconds.
    let latencies = || (0..24).flat_map(|power| (0..50 - power).map(move |one| (1 << power) + one));
    std::fs::write(path("ours"), log(1000, 2, latencies())).unwrap();
    let output = Command::new(python)
        .args(["-c", FOREIGN, &path("ours"), &path("theirs")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut latency = latency_histogram();
    latencies().for_each(|us| latency.record(us * 1000).unwrap());
    let percentiles = [50.0, 90.0, 99.0, 99.9, 100.0].map(|one| latency.value_at_percentile(one));
    let expected = percentiles.map(|ns| ns.to_string()).join(" ");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.trim_end(), format!("get {} {expected}", latency.len()));

    let run = bench(&format!("merge {} --json -", path("theirs")));
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, json["requests"].as_u64()), (Some(0), Some(latency.len())), "{run:?}");
    for (name, ns) in ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"].iter().zip(percentiles) {
        assert_eq!(json["all"][name], ns as f64 / 1000.0, "{name}: {json}");
    }
}

#[test]
fn two_processes_that_begin_at_a_time_are_one_result() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let double = Double::start(Fault::None);
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() + 6.0;
    let children = ["a", "b"].map(|name| {
        command(&format!(
            "{} --connections 2 --keys 50 --seed {} --rate 300 --duration 2 --quiet \
             --start-at {at:.3} --hdr-log {}",
            double.uri,
            name.len(),
            path(name)
        ))
        .spawn()
        .unwrap()
    });
    for mut child in children {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let run = bench(&format!("merge {} {} --json -", path("a"), path("b")));
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    let requests = json["requests"].as_u64().unwrap() + json["never_sent"].as_u64().unwrap();
    assert_eq!((run.code, requests, &json["errors"]), (Some(0), 1200, &0.into()), "{json}");
    for one in json["runs"].as_array().unwrap() {
        let late = one["begin_unix_s"].as_f64().unwrap() - at;
        assert!((-0.002..3.0).contains(&late), "{json}");
        assert_eq!(one["target"], double.uri, "{json}");
    }
}

#[test]
fn a_beginning_that_is_over_is_an_error() {
    let double = Double::start(Fault::None);
    let run = bench(&format!("{} --keys 50 --duration 1 --start-at 1000", double.uri));
    assert_eq!((run.code, run.stderr.lines().count()), (Some(1), 1), "{run:?}");
    assert!(run.stderr.contains("--start-at was "), "{run:?}");
}

#[test]
fn the_probe_is_apart_from_the_load() {
    let double = Double::start(Fault::None);
    let load = "--connections 4 --keys 50 --write-ratio 1 --duration 2";
    let (run, json) = bench_json(&format!("{} {load} --probe=100", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    let probe = &json["probe"];
    let sent = probe["requests"].as_u64().unwrap() + probe["never_sent"].as_u64().unwrap();
    assert!((199..=200).contains(&sent) && probe["errors"] == 0, "{json}");
    assert!(probe["p50_us"].as_f64().unwrap() > 0.0, "{json}");
    // The load has no GET, and the probe's GETs are in none of its numbers.
    assert_eq!((&json["get"], &json["all"]["requests"]), (&Value::Null, &Value::Null), "{json}");
    let gets = double.requests().iter().filter(|line| line.starts_with("GET")).count() as u64;
    assert_eq!(gets, probe["requests"].as_u64().unwrap(), "{json}");
    assert!(run.stderr.contains("Probe: 100/s over a connection of its own: "), "{run:?}");
}

#[test]
fn the_probe_ends_with_a_run_of_so_many_requests_and_knows_a_stall() {
    let double = Double::start(Fault::Stall(500));
    let load = "--connections 2 --pipelining 1 --keys 50 --write-ratio 0 --requests 3000";
    let (run, json) = bench_json(&format!("{} {load} --probe=200", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(json["probe"]["max_us"].as_f64().unwrap() > 400_000.0, "{json}");
    // It goes on as it was due, so that the stall delays many: a hundred were due in it.
    assert!(json["probe"]["p50_us"].as_f64().unwrap() > 0.0, "{json}");
}
