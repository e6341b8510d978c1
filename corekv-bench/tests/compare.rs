//! `compare`: equal servers are called equal, different ones different, and files are what counts.

mod util;

use corekv_bench::compare::{Comparison, Measured, Side};
use corekv_bench::statistics::Verdict;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use util::{Double, Fault, Run, bench};

/// A run of so many seconds whose rate varies by 2 % and whose latencies vary by 5 %.
fn simulated(random: &mut Xoshiro256PlusPlus, seconds: usize, speed: f64) -> Value {
    let mut normal = || {
        let mut unit = || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        (0..12).map(|_| unit()).sum::<f64>() - 6.0
    };
    let series: Vec<_> = (1..=seconds)
        .map(|end| {
            json!({
                "end_s": end, "seconds": 1.0,
                "requests_per_second": 1e5 * speed * (1.0 + 0.02 * normal()),
                "p50_us": 100.0 / speed * (0.05 * normal()).exp(),
                "p99_us": 900.0 / speed * (0.05 * normal()).exp(),
            })
        })
        .collect();
    let mean = |name: &str| {
        series.iter().map(|point| point[name].as_f64().unwrap()).sum::<f64>() / seconds as f64
    };
    json!({
        "requests_per_second": mean("requests_per_second"),
        "all": {"p50_us": mean("p50_us"), "p99_us": mean("p99_us")},
        "series": series,
    })
}

/// How many of a hundred comparisons see a difference in anything, and how many one in the rate.
fn called_different(seconds: usize, runs: usize, speed: f64) -> (usize, usize) {
    let verdicts = (0..100).map(|seed| {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut side = |speed| {
            Side::new("", (0..runs).map(|_| simulated(&mut random, seconds, speed)).collect())
        };
        let (a, b) = (side(1.0), side(speed));
        let comparison = Comparison::new(&a, &b);
        Measured::ALL.map(|measured| comparison.verdict(measured))
    });
    verdicts.fold((0, 0), |(any, rate), all| {
        let is_any = all.iter().any(|&verdict| verdict != Verdict::Equal);
        (any + usize::from(is_any), rate + usize::from(all[0] == Verdict::Higher))
    })
}

#[test]
fn equal_servers_are_equal_in_95_of_100_cases_and_a_difference_of_5_percent_is_seen() {
    // One run a side, three, and enough that each is a sample.
    for (seconds, runs) in [(10, 1), (60, 1), (10, 3), (10, 6)] {
        let (any, _) = called_different(seconds, runs, 1.0);
        assert!(any <= 5, "{any} of 100 equal pairs differ: {runs} runs of {seconds} s");
        let (_, rate) = called_different(seconds, runs, 1.05);
        assert!(rate >= 95, "{rate} of 100 different pairs differ: {runs} runs of {seconds} s");
    }
}

#[test]
fn runs_that_overlap_are_not_different_however_steady_each_is() {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut side = |speeds: [f64; 2]| {
        Side::new("", speeds.map(|speed| simulated(&mut random, 30, speed)).to_vec())
    };
    let (a, b, c) = (side([1.0, 1.1]), side([1.05, 1.2]), side([1.15, 1.2]));
    assert_eq!(Comparison::new(&a, &b).verdict(Measured::Rate), Verdict::Equal);
    assert_eq!(Comparison::new(&a, &c).verdict(Measured::Rate), Verdict::Higher);
}

#[test]
fn files_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
    let mut file = |name: &str, speed| {
        let path = folder.path().join(name);
        let mut run = simulated(&mut random, 20, speed);
        run["pipelining"] = 10.into();
        std::fs::write(&path, run.to_string()).unwrap();
        path.display().to_string()
    };
    let (a, b, slow) = (file("a", 1.0), file("b", 1.0), file("slow", 0.9));
    let Run { code, stdout, stderr } = bench(&format!("compare {a} {b} {slow}"));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("Verdict: no difference is shown."), "{stdout}");
    assert!(stdout.contains("Verdict: B is worse in requests/s, p50, p99."), "{stdout}");
    let run = bench(&format!("compare {a} {b} --with {slow} {slow} --strict --json -"));
    assert_eq!(run.code, Some(1), "{run:?}");
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    let found = &json["comparisons"][0];
    assert_eq!((&found["unit"], &found["samples_a"]), (&"stretch".into(), &20.into()), "{json}");
    let rate = &found["results"]["requests_per_second"];
    assert_eq!(rate["verdict"], "lower", "{json}");
    assert!((rate["ratio"].as_f64().unwrap() - 0.9).abs() < 0.02, "{json}");
}

#[test]
fn results_of_runs_are_compared_and_what_differs_in_the_load_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (fast, slow) = (Double::start(Fault::None), Double::start(Fault::Slow(2)));
    let slower = "2 --connection-requests 9";
    for (double, name, depth) in [(&fast, "fast", "4"), (&slow, "slow", slower)] {
        let run = bench(&format!(
            "{} --keys 50 --duration 1 --write-ratio 0 --pipelining {depth} --json {} --quiet",
            double.uri,
            path(name)
        ));
        assert_eq!(run.code, Some(0), "{run:?}");
    }
    let Run { code, stdout, .. } = bench(&format!("compare {} {}", path("fast"), path("slow")));
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.contains("Not like for like: pipelining is 4 and 2."), "{stdout}");
    assert!(stdout.contains("connection_requests is null and 9."), "{stdout}");
    // A second has one sample.
    assert!(stdout.contains("Too few samples"), "{stdout}");
}

#[test]
fn what_is_no_result_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    for (content, about) in [("{}", "not the results"), ("{", "EOF"), ("[1]", "not the results")] {
        std::fs::write(&path, content).unwrap();
        let run = bench(&format!("compare {0} {0}", path.display()));
        assert_eq!((run.code, run.stderr.lines().count()), (Some(2), 1), "{run:?}");
        assert!(run.stderr.contains(about), "{run:?}");
    }
    for arguments in ["compare", "compare /nonexistent/a", "compare /nonexistent/a /nonexistent/b"]
    {
        let run = bench(arguments);
        assert_eq!((run.code, run.stderr.lines().count()), (Some(2), 1), "{run:?}");
    }
}
