//! Named workloads, and requests that follow from answers.

mod util;

use std::collections::HashSet;

use util::{Double, Fault, bench, bench_json};

const LOAD: &str = "--connections 2 --pipelining 4 --keys 200 --timeout 5";

/// The key of a logged request, its method and the length of its body.
fn parts(request: &str) -> (&str, u64, usize) {
    let mut parts = request.splitn(3, ' ');
    let (method, target, body) =
        (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    (method, target[1..].parse().unwrap(), body.len())
}

#[test]
fn a_miss_is_followed_by_a_write_of_its_key_and_nothing_else_is() {
    let double = Double::start(Fault::None);
    let arguments = "--connections 1 --pipelining 1 --keys 20 --write-ratio 0 --no-preload \
                     --read-through --value-bytes 7 --requests 300";
    let (run, json) = bench_json(&format!("{} {arguments}", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    let requests = double.requests();
    let mut stored = HashSet::new();
    let mut missed = None;
    for request in &requests {
        match (parts(request), missed.take()) {
            (("PUT", key, 7), Some(due)) => assert!(key == due && stored.insert(key), "{request}"),
            (("GET", key, 0), None) if !stored.contains(&key) => missed = Some(key),
            (("GET", _, 0), None) => {}
            other => panic!("{other:?} {request}"),
        }
    }
    // A write that follows is no request of those that were asked for.
    assert_eq!((&json["get"]["requests"], &json["get"]["misses"]), (&300.into(), &20.into()));
    assert_eq!((&json["put"]["requests"], &json["lost"]), (&20.into(), &0.into()), "{json}");
}

#[test]
fn read_through_goes_on_at_every_depth_and_at_a_rate() {
    for more in ["--pipelining 16 --requests 5000", "--rate 2000 --duration 1"] {
        let double = Double::start(Fault::None);
        let (run, json) = bench_json(&format!(
            "{} --connections 2 --keys 500 --write-ratio 0 --no-preload --read-through {more}",
            double.uri
        ));
        assert_eq!((run.code, &json["errors"]), (Some(0), &0.into()), "{more}: {run:?}");
        assert_eq!(json["get"]["misses"], json["put"]["requests"], "{more}: {json}");
        assert!(json["put"]["requests"].as_u64().unwrap() >= 300, "{more}: {json}");
    }
}

#[test]
fn an_error_is_no_miss() {
    let double = Double::start(Fault::Status(503));
    let run = bench(&format!("{} {LOAD} --no-preload --read-through --requests 100", double.uri));
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(double.requests().iter().all(|request| !request.starts_with("PUT")));
}

#[test]
fn every_published_workload_runs() {
    for name in [
        "ycsb-a",
        "ycsb-b",
        "ycsb-c",
        "ycsb-d",
        "ycsb-e",
        "ycsb-f",
        "hotspot",
        "cachebench-ram",
        "facebook-etc",
        "facebook-usr",
        "facebook-zippydb",
        "twitter-12",
        "twitter-14",
        "twitter-52",
    ] {
        let double = Double::start(Fault::None);
        let (run, json) =
            bench_json(&format!("{} {LOAD} --workload {name} --requests 2000", double.uri));
        assert_eq!(
            (run.code, &json["errors"], &json["lost"]),
            (Some(0), &0.into(), &0.into()),
            "{name}: {run:?}"
        );
        let requests = double.requests();
        let sent = requests[200..].iter().map(|request| parts(request));
        let share = |method: &str| {
            let all = sent.clone();
            all.filter(|(one, ..)| *one == method).count() as f64 / sent.len() as f64
        };
        let (gets, deletes) = match name {
            "ycsb-a" => (0.5, 0.0),
            // Half of the operations are a GET, the others a GET and a PUT.
            "ycsb-f" => (2.0 / 3.0, 0.0),
            "ycsb-c" => (1.0, 0.0),
            "hotspot" => (0.8, 0.0),
            // A scan reads 50 keys on average.
            "ycsb-e" => (1.0, 0.0),
            "cachebench-ram" => (0.8 / 0.91, 0.01 / 0.91),
            "facebook-etc" => (30.0 / 31.0, 0.0),
            "facebook-usr" => (0.998, 0.0),
            "facebook-zippydb" => ((0.83 + 0.03 * 50.5) / (0.97 + 0.03 * 50.5), 0.0),
            "twitter-12" => (0.2, 0.0),
            "twitter-14" => (0.65, 0.22),
            "twitter-52" => (0.94, 0.0),
            _ => (0.95, 0.0),
        };
        assert!((share("GET") - gets).abs() < 0.04, "{name}: {} GETs", share("GET"));
        assert!((share("DELETE") - deletes).abs() < 0.04, "{name}");
        let mut writes = sent.filter(|(method, ..)| *method == "PUT").map(|(.., bytes)| bytes);
        let bounds = match name {
            "cachebench-ram" => 256..=8192,
            "facebook-etc" | "facebook-zippydb" => 0..=1 << 20,
            "facebook-usr" => 2..=2,
            "twitter-12" => 1030..=1030,
            "twitter-14" => 414..=414,
            "twitter-52" => 273..=273,
            _ => 1000..=1000,
        };
        assert!(writes.all(|bytes| bounds.contains(&bytes)), "{name}");
    }
}

#[test]
fn read_modify_write_writes_what_it_has_read() {
    let double = Double::start(Fault::None);
    let arguments = "--connections 1 --pipelining 1 --keys 50 --method-mix rmw=1 --requests 100";
    let run = bench(&format!("{} {arguments}", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    let requests = double.requests();
    assert_eq!(requests.len(), 50 + 2 * 100);
    for pair in requests[50..].chunks(2) {
        let ((first, key, _), (second, same, _)) = (parts(&pair[0]), parts(&pair[1]));
        assert_eq!((first, second, key), ("GET", "PUT", same));
    }
}

#[test]
fn inserts_are_new_keys_that_the_latest_reads_find() {
    let double = Double::start(Fault::None);
    let (run, json) = bench_json(&format!(
        "{} {LOAD} --method-mix get=1,insert=1 --distribution latest:0.99 --requests 2000",
        double.uri
    ));
    assert_eq!((run.code, &json["lost"]), (Some(0), &0.into()), "{run:?}");
    let requests = double.requests();
    let of = |method: &'static str| {
        requests[200..].iter().map(|request| parts(request)).filter(move |one| one.0 == method)
    };
    let inserted: HashSet<_> = of("PUT").map(|(_, key, _)| key).collect();
    assert_eq!(inserted.len(), of("PUT").count());
    assert!(inserted.iter().all(|key| (200..1300).contains(key)));
    // Most reads are of keys that came with the run.
    assert!(of("GET").filter(|(_, key, _)| *key >= 200).count() * 2 > of("GET").count());
}

#[test]
fn what_the_command_line_says_goes_before_the_workload() {
    let double = Double::start(Fault::None);
    let (run, json) = bench_json(&format!(
        "{} {LOAD} --workload ycsb-a --value-bytes 3 --write-ratio 0 --distribution uniform -n 10",
        double.uri
    ));
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!((&json["value_bytes"], &json["distribution"]), (&"3".into(), &"uniform".into()));
    assert_eq!(json["mix"], serde_json::json!({"get": 1.0}));
}

#[test]
fn pools_of_cachebench_have_keys_and_operations_of_their_own() {
    let file = tempfile::NamedTempFile::new().unwrap();
    // A quarter of the keys gets three quarters of the operations, most of them on its first key.
    let text = r#"{"test_config": {"numKeys": 100, "keyPoolDistribution": [0.25, 0.75],
        "opPoolDistribution": [0.75, 0.25], "poolDistributions": [
        {"getRatio": 0.9, "setRatio": 0.1, "valSizeRange": [10], "valSizeRangeProbability": [1],
         "popularityBuckets": [1, 24], "popularityWeights": [8, 2]},
        {"getRatio": 0.5, "setRatio": 0.5, "valSizeRange": [90], "valSizeRangeProbability": [1]}]}}"#;
    std::fs::write(file.path(), text).unwrap();
    let double = Double::start(Fault::None);
    let name = file.path().display();
    let run = bench(&format!("{} --workload cachebench:{name} --requests 4000", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    let requests = double.requests();
    let sent: Vec<_> = requests[100..].iter().map(|request| parts(request)).collect();
    let share = |is_one: &dyn Fn(&(&str, u64, usize)) -> bool| {
        sent.iter().filter(|one| is_one(one)).count() as f64 / sent.len() as f64
    };
    let near = |share: f64, expected: f64| (share - expected).abs() < 0.04;
    assert!(near(share(&|one| one.1 == 0), 0.6), "{}", share(&|one| one.1 == 0));
    assert!(near(share(&|one| one.1 < 25), 0.75), "{}", share(&|one| one.1 < 25));
    assert!(near(share(&|one| one.0 == "GET"), 0.9 * 0.75 + 0.5 * 0.25));
    let long = share(&|one| one.0 == "PUT" && one.2 == 90) / share(&|one| one.0 == "PUT");
    assert!((long - 0.25).abs() < 0.08, "{long}");
    assert!(sent.iter().all(|one| one.0 == "GET" || [10, 90].contains(&one.2)));
}

#[test]
fn files_of_cachebench_are_read_with_those_that_they_name() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("pop.json", r#"{"popularityBuckets": [1, 9], "popularityWeights": [90, 10]}"#);
    write("sizes.json", r#"{"valSizeRange": [10, 20, 30], "valSizeRangeProbability": [1, 0]}"#);
    write(
        "config.json",
        r#"{"cache_config": {}, "test_config": {"numKeys": 100, "enableLookaside": true,
            "poolDistributions": [{"getRatio": 0.5, "loneGetRatio": 0.1, "setRatio": 0.2,
            "loneSetRatio": 0.2, "popDistFile": "pop.json", "valSizeDistFile": "sizes.json"}]}}"#,
    );
    let file = folder.path().join("config.json").display().to_string();
    let double = Double::start(Fault::None);
    let (run, json) =
        bench_json(&format!("{} --workload cachebench:{file} --requests 2000", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!((&json["keys"], &json["read_through"]), (&100.into(), &true.into()), "{json}");
    let requests = double.requests();
    let sent = || requests[100..].iter().map(|request| parts(request));
    assert!(sent().filter(|one| one.0 == "PUT").all(|(.., bytes)| (10..=20).contains(&bytes)));
    let gets = sent().filter(|one| one.0 == "GET");
    let (hot, all) = gets.fold((0, 0), |(hot, all), one| (hot + usize::from(one.1 < 10), all + 1));
    assert!((hot as f64 / f64::from(all) - 0.9).abs() < 0.05, "{hot} of {all}");
    for (content, about) in [
        ("{", "EOF"),
        ("{}", "no ratio of operations"),
        (r#"{"test_config": {"getRatio": 1}}"#, "no valSizeRange"),
        (
            r#"{"test_config": {"getRatio": 1, "valSizeRange": [1, 2, 3], "valSizeRangeProbability": [1]}}"#,
            "don't belong together",
        ),
    ] {
        write("config.json", content);
        let run = bench(&format!("{} --workload cachebench:{file}", double.uri));
        assert_eq!((run.code, run.stderr.lines().count()), (Some(2), 1), "{run:?}");
        assert!(run.stderr.contains(about), "{run:?}");
    }
}
