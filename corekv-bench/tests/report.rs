//! The report of known samples, letter for letter.

use std::time::{Duration, SystemTime};

use corekv_bench::cpu::{ThreadUsage, Usage};
use corekv_bench::distribution::Distribution;
use corekv_bench::embedded::Removed;
use corekv_bench::error::Failure;
use corekv_bench::method::Method;
use corekv_bench::mix::Mix;
use corekv_bench::rate::Pace;
use corekv_bench::recorder::Recorder;
use corekv_bench::series::{Counts, Point, Rates, Tail};
use corekv_bench::summary::{Limit, LoadThread, Opening, ServerUsage, Summary};
use corekv_bench::values::Values;
use corekv_bench::verify::Wrong;
use corekv_bench::workload::Workload;
use corekv_bench::{csv, json, report};

/// A hundred GETs of 1 to 100 ms and ten POSTs of 250 µs in two seconds.
fn summary() -> Summary {
    let mut recorder = Recorder::default();
    let end = 1_000_000_000;
    for ms in 1..=100 {
        recorder.answered(Method::Get, end - ms * 1_000_000, 50, 200, end);
    }
    for _ in 0..10 {
        recorder.answered(Method::Post, end - 250_000, 20, 204, end);
    }
    recorder.flush(end);
    recorder.connected(1_000_000);
    recorder.methods[Method::Get as usize].hits = 100;
    let mut rates: [Rates; Method::COUNT] = Default::default();
    for (gets, posts) in [(60, 4), (40, 6)] {
        rates[Method::Get as usize].add(gets, gets * 50, Duration::from_secs(1));
        rates[Method::Post as usize].add(posts, posts * 20, Duration::from_secs(1));
    }
    Summary {
        target: "http://localhost:8080".to_owned(),
        connections: 20,
        pipelining: 10,
        connection_requests: None,
        workload: Workload {
            keys: 1_000_000,
            distribution: Distribution::Uniform,
            mix: Mix::write_ratio(0.2),
            values: Values::Counter,
            seed: 1,
            read_through: false,
        },
        path: "/{key}".to_owned(),
        request_file: None,
        is_key_value: true,
        tls: None,
        planned: "2s".to_owned(),
        warmup: Duration::from_secs(1),
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        opening: Opening { opened: 20, elapsed: Duration::from_millis(2) },
        elapsed: Duration::from_secs(2),
        recorder,
        rates,
        series: vec![point(1, 64, Some(100_000_000)), point(2, 46, None)],
        used: [true, true, false, false, false, false],
        load: vec![LoadThread {
            core: Some(1),
            answered: 110,
            cpu_ns: 1_000_000_000,
            busy: 0.5,
            waited: 0.01,
        }],
        server: None,
        preload: Some((1_000_000, Duration::from_millis(512))),
        loss_checked: true,
        verified: false,
        pace: None,
        probe: None,
        trace: None,
        behind: 0,
        stopped_early: None,
    }
}

fn point(second: u64, requests: u64, max: Option<u64>) -> Point {
    let mut counts = Counts { load_cpu_ns: 500_000_000, errors: 1, ..Counts::default() };
    (counts.requests[0], counts.bytes[0]) = (requests, requests * 50);
    Point {
        at: Duration::from_secs(second),
        length: Duration::from_secs(1),
        counts,
        latency: max.map(|max| Tail { p50: max / 2, p90: max, p99: max, p999: max, max }),
    }
}

#[test]
fn known_samples_give_the_known_report() {
    let expected = "\
running 2s test @ http://localhost:8080
20 connections with 10 pipelining factor.
Generated random int as needed, with range [0, 1000000), uniform, seed 1.
Stored 1000000 keys first, in 0.51 s.

---------- Read/GET ----------

+---------+---------+---------+---------+---------+---------+---------+--------+
|  STAT   |  2.5%   |   50%   |  97.5%  |   99%   |   AVG   |  STDEV  |  MAX   |
+---------+---------+---------+---------+---------+---------+---------+--------+
| Latency | 3.00 ms | 50.0 ms | 98.0 ms | 99.0 ms | 50.5 ms | 28.9 ms | 100 ms |
+---------+---------+---------+---------+---------+---------+---------+--------+

+-----------+--------+--------+--------+--------+--------+-------+--------+
|   STAT    |   1%   |  2.5%  |  50%   | 97.5%  |  AVG   | STDEV |  MIN   |
+-----------+--------+--------+--------+--------+--------+-------+--------+
| Req/Sec   |     40 |     40 |     40 |     60 |  50.00 | 10.00 |     40 |
| Bytes/Sec | 2.0 kB | 2.0 kB | 2.0 kB | 3.0 kB | 2.5 kB | 500 B | 2.0 kB |
+-----------+--------+--------+--------+--------+--------+-------+--------+

Req/Bytes counts sampled once per second.

100 2xx responses, 0 non 2xx responses.
100 total requests in 2 seconds, 5.0 kB read for GET.


---------- Write/POST ----------

+---------+--------+--------+--------+--------+--------+-------+--------+
|  STAT   |  2.5%  |  50%   | 97.5%  |  99%   |  AVG   | STDEV |  MAX   |
+---------+--------+--------+--------+--------+--------+-------+--------+
| Latency | 250 µs | 250 µs | 250 µs | 250 µs | 250 µs | 0 ns  | 250 µs |
+---------+--------+--------+--------+--------+--------+-------+--------+

+-----------+------+------+------+-------+-------+-------+------+
|   STAT    |  1%  | 2.5% | 50%  | 97.5% |  AVG  | STDEV | MIN  |
+-----------+------+------+------+-------+-------+-------+------+
| Req/Sec   |    4 |    4 |    4 |     6 |  5.00 |  1.00 |    4 |
| Bytes/Sec | 80 B | 80 B | 80 B | 120 B | 100 B | 20 B  | 80 B |
+-----------+------+------+------+-------+-------+-------+------+

Req/Bytes counts sampled once per second.

10 2xx responses, 0 non 2xx responses.
10 total requests in 2 seconds, 200 B read for POST.

Done!

---------- Tail ----------

+------+---------+---------+---------+--------+--------+--------+----------+
| STAT |   50%   |   90%   |   99%   | 99.9%  | 99.99% |  MAX   | REQUESTS |
+------+---------+---------+---------+--------+--------+--------+----------+
| GET  | 50.0 ms | 90.0 ms | 99.0 ms | 100 ms | 100 ms | 100 ms |      100 |
| POST | 250 µs  | 250 µs  | 250 µs  | 250 µs | 250 µs | 250 µs |       10 |
| all  | 45.0 ms | 89.1 ms | 99.0 ms | 100 ms | 100 ms | 100 ms |      110 |
+------+---------+---------+---------+--------+--------+--------+----------+

";
    let report = report::render(&summary(), false);
    let (tables, rest) = report.split_at(report.find("Latency of all requests").unwrap());
    assert_eq!(tables, expected);
    let expected = "\
Latency of all requests
  <= 500 µs ████████                                   9.09 %
 <= 1.00 ms ▊                                          0.91 %
 <= 2.00 ms ▊                                          0.91 %
 <= 5.00 ms ██▍                                        2.73 %
 <= 10.0 ms ████                                       4.55 %
 <= 20.0 ms ████████                                   9.09 %
 <= 50.0 ms ████████████████████████                  27.27 %
  <= 100 ms ████████████████████████████████████████  45.45 %

55 requests/s. 100 hits, 0 misses, 0 lost.

load thread 0 on core 1: 110 requests, 55/s, CPU 50 %, busy 50 %
CPU per request: load generator 9.09 ms
The load generator was not the limit.
Opened 20 connections in 2.00 ms; connecting took 1.00 ms (50%), 1.00 ms (99%), 1.00 ms (max).
Little's law: 200 requests in flight at 55/s make a mean of 3.64 s; measured 45.9 ms.
";
    assert_eq!(rest, expected);
}

#[test]
fn what_went_wrong_is_in_the_report() {
    let mut bad = summary();
    bad.recorder.lost = 3;
    bad.recorder.reopened = 2;
    bad.recorder.failed(Failure::Timeout);
    bad.recorder.failed(Failure::Garbage);
    bad.recorder.garbage = Some("not an HTTP/1 status line");
    bad.recorder.unanswered(Method::Get, Some(Failure::Timeout));
    bad.recorder.unanswered(Method::Get, Some(Failure::Garbage));
    bad.recorder.answered(Method::Get, 1, 1, 503, 2);
    bad.recorder.violations.add(7, Wrong::OtherKey(8), b"8:1\0");
    bad.verified = true;
    bad.pace = Some(Pace::Constant(100.0));
    bad.behind = 5;
    bad.stopped_early = Some("interrupted");
    bad.load[0].waited = 0.123;
    let removed = Some(Removed { evicted: 7, expired: 8 });
    bad.server = Some(ServerUsage { removed, ..ServerUsage::default() });
    let text = report::render(&bad, false);
    for line in [
        "Stopped early: interrupted.",
        "100 2xx responses, 1 non 2xx responses.",
        "2 total errors (1 timeouts).",
        "100 hits, 0 misses, 3 lost.",
        "Rate asked for: 100/s. 5 requests of the schedule were not sent in time.",
        "Statuses other than 2xx: 503: 1.",
        "Connection errors: 1 invalid response (not an HTTP/1 status line), 1 request timed out.",
        "2 connections were opened again.",
        "1 wrong values.",
        "A server that is full evicts keys, and one with a time to live expires them: both look",
        "The server says that it evicted 7 and expired 8 keys.",
        "Disturbed: a load thread waited for its core for 12.3 % of the time",
        "  GET of key 7 got the value of key 8: 4 bytes \"8:1\\x00\"",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let faults = bad.own_faults().join("; ");
    assert_eq!(
        faults,
        "3 lost values; 1 wrong values; 1 failed requests (neither 2xx nor the 404 of an absent \
         key); 2 requests or connections without answer"
    );
    assert_eq!(summary().own_faults(), Vec::<String>::new());
}

#[test]
fn the_saturated_side_is_named() {
    let says = |load_busy: f64, server_busy: Option<f64>, sentence: &str| {
        let mut summary = summary();
        summary.load[0].busy = load_busy;
        summary.server = server_busy.map(|busy| ServerUsage {
            threads: vec![ThreadUsage {
                id: 1,
                name: "corekv-0".to_owned(),
                usage: Usage { cpu_ns: (busy * 2e9) as u64, waited_ns: 0 },
            }],
            requests: vec![110],
            removed: None,
        });
        let text = report::render(&summary, false);
        assert!(text.contains(&format!("\n{sentence}\n")), "{text}");
        if let Some(busy) = server_busy {
            let line =
                format!("server thread corekv-0: 110 requests, 55/s, CPU {:.0} %", busy * 100.0);
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    };
    says(0.99, Some(0.5), "The load generator, not the server, was the limit.");
    says(0.99, None, "The load generator, not the server, was the limit.");
    says(0.5, Some(0.99), "The server, not the load generator, was the limit.");
    says(0.99, Some(0.99), "Both the server and the load generator were saturated.");
    says(0.5, None, "The load generator was not the limit.");
    let mut starved = summary();
    let usage = Usage { cpu_ns: 200_000_000, waited_ns: 1_700_000_000 };
    let thread = ThreadUsage { id: 1, name: "corekv-0".to_owned(), usage };
    starved.server = Some(ServerUsage { threads: vec![thread], ..ServerUsage::default() });
    let text = report::render(&starved, false);
    let line = "\nA thread of the server waited for its core for 85.0 % of the time.\n";
    assert!(text.contains(line), "{text}");
    let mut kept = summary();
    kept.pace = Some(Pace::Constant(55.0));
    kept.load[0].busy = 1.0;
    assert_eq!(kept.limit(), Limit::Rate);
    kept.pace = Some(Pace::Constant(100.0));
    assert_eq!(kept.limit(), Limit::LoadGenerator);
}

#[test]
fn what_there_is_no_sample_of_is_left_out() {
    let mut none = summary();
    none.recorder = Recorder::default();
    let text = report::render(&none, false);
    assert!(!text.contains("0 ns"), "{text}");
    assert_eq!(text.matches("| -").count(), 2 * 7 + 3 * 6, "{text}");
    let csv = csv::render(&none);
    let line = csv.lines().find(|line| line.starts_with("get,")).unwrap();
    assert_eq!(line, "get,0,0.0,0,0,0,0,0,0,0,,,,,,,,", "{csv}");
}

#[test]
fn colours_are_only_added() {
    let plain = report::render(&summary(), false);
    let colored = report::render(&summary(), true);
    assert!(!plain.contains('\x1b') && colored.contains("\x1b[1;36m"));
    let mut stripped = String::new();
    for part in colored.split("\x1b[") {
        stripped.push_str(
            part.strip_prefix("1;36m")
                .or(part.strip_prefix("1m"))
                .unwrap_or(part.strip_prefix("0m").unwrap_or(part)),
        );
    }
    assert_eq!(stripped, plain);
}

#[test]
fn the_files_have_the_same_numbers() {
    let document: serde_json::Value = serde_json::from_str(&json::render(&summary())).unwrap();
    assert_eq!(document["requests_per_second"], 55.0);
    for count in ["non_2xx", "lost", "errors"] {
        assert_eq!(document[count], 0);
    }
    assert_eq!((&document["get"]["requests"], &document["post"]["ok"]), (&100.into(), &10.into()));
    for (name, ms) in [("p50_us", 50.0), ("p99_us", 99.0), ("p999_us", 100.0), ("max_us", 100.0)] {
        let us = document["get"][name].as_f64().unwrap();
        assert!((us / 1000.0 - ms).abs() < 0.1, "{name} {us}");
    }
    let csv = csv::render(&summary());
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines[0], csv::HEADER);
    assert!(lines[1].starts_with("get,100,50.0,100,0,100,0,0,0,5000,50"), "{csv}");
    assert!(lines[2].starts_with("post,10,5.0,10,0,0,0,0,0,200,250"), "{csv}");
    assert!(lines[3].starts_with("all,110,55.0,110,0,100,0,0,0,5200,"), "{csv}");
}
