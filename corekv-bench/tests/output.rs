//! Where results go, what is said of a run that is not to be believed, and the server inside the
//! process.

mod util;

use std::fs::File;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use corekv::net::{allowed_cores, pin};
use rustix::process::{Pid, Signal, kill_process};
use util::peer::wait_until;
use util::{Double, Fault, Run, bench, bench_json, command};

const LOAD: &str = "--connections 2 --pipelining 4 --keys 100 --requests 500";

#[test]
fn a_file_that_cannot_be_written_is_known_before_the_run() {
    // Nobody listens there, but it doesn't come to that.
    for flag in ["--json", "--csv", "--hgrm", "--html"] {
        let run = bench(&format!("--uri http://127.0.0.1:1 {flag} /nonexistent/file"));
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.stderr.contains("cannot write /nonexistent/file"), "{run:?}");
        assert!(!run.stderr.contains("refused"), "{run:?}");
    }
}

#[test]
fn two_outputs_to_one_file_are_refused_whatever_they_call_it() {
    let folder = tempfile::tempdir().unwrap();
    let (one, same) = (folder.path().join("out"), folder.path().join("link"));
    std::os::unix::fs::symlink(&one, &same).unwrap();
    // The server is not asked.
    let load = "--uri http://127.0.0.1:1";
    let run = bench(&format!("{load} --json {} --series {}", one.display(), same.display()));
    assert_eq!((run.code, run.stderr.lines().count()), (Some(2), 1), "{run:?}");
    assert!(run.stderr.contains("two outputs write to one file"), "{run:?}");
    assert!(!one.exists());
    let double = Double::start(Fault::None);
    let devices = "--json /dev/null --csv /dev/../dev/null";
    let run = bench(&format!("--uri {} {LOAD} {devices} --quiet", double.uri));
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
}

#[test]
fn a_result_that_could_not_be_written_is_a_failure() {
    let double = Double::start(Fault::None);
    for arguments in ["", "--json -", "--quiet --csv", "--quiet --json /dev/full"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command(&format!("--uri {} {LOAD} {arguments}", double.uri))
            .stdout(full)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments}: {output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("No space left"), "{arguments}: {stderr}");
    }
}

#[test]
fn a_longer_result_of_another_run_is_replaced_by_a_good_one_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("result");
    let old = "x".repeat(100_000);
    std::fs::write(&path, &old).unwrap();
    let failed = bench(&format!("--uri http://127.0.0.1:1 --json {}", path.display()));
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), old);
    let double = Double::start(Fault::None);
    let run = bench(&format!("--uri {} {LOAD} --json {}", double.uri, path.display()));
    assert_eq!(run.code, Some(0), "{run:?}");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
}

#[test]
fn what_there_is_no_sample_of_is_null() {
    let double = Double::start(Fault::MuteFromTheStart);
    let (run, json) =
        bench_json(&format!("--uri {} {LOAD} --no-preload --timeout 0.2", double.uri));
    assert_eq!(run.code, Some(1), "{run:?}");
    for member in ["mean_us", "p50_us", "p95_us", "max_us"] {
        assert!(json["all"][member].is_null(), "{member} in {json}");
    }
}

#[test]
fn the_json_says_what_was_run() {
    let double = Double::start(Fault::None);
    let (run, json) = bench_json(&format!(
        "--uri {} {LOAD} --value-bytes 10-20 --warmup 100ms --threads 2 --method-mix get=3,put=1",
        double.uri
    ));
    assert_eq!(run.code, Some(0), "{run:?}");
    let expected = serde_json::json!({
        "schema": 1, "version": env!("CARGO_PKG_VERSION"), "planned": "500 requests",
        "warmup_seconds": 0.1, "threads": 2, "value_bytes": "10-20", "keys": 100,
        "mix": {"get": 0.75, "put": 0.25}, "connections": 2, "pipelining": 4,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&json[name], value, "{name}");
    }
    let statuses = json["statuses"].as_array().unwrap();
    let total: u64 = statuses.iter().map(|status| status["count"].as_u64().unwrap()).sum();
    assert_eq!(total, 500, "{json}");
    let codes: Vec<_> = statuses.iter().map(|status| status["status"].as_u64().unwrap()).collect();
    assert_eq!(codes, [200, 204], "{json}");
    assert_eq!(json["load_threads"].as_array().unwrap().len(), 2);
    assert!(json["started_unix_s"].as_f64().unwrap() > 1.6e9);
    // Names that jq takes without quotes.
    let is_plain = |name: &String| {
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let names = json.as_object().unwrap().keys().chain(json["get"].as_object().unwrap().keys());
    assert!(names.clone().all(|name| is_plain(name) && !name.as_bytes()[0].is_ascii_digit()));
}

#[test]
fn a_busy_neighbour_disturbs_the_run() {
    let core = *allowed_cores().unwrap().last().unwrap();
    let is_over = AtomicBool::new(false);
    let spin = || {
        pin(core).unwrap();
        while !is_over.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    };
    let double = Double::start(Fault::None);
    let run = std::thread::scope(|scope| {
        scope.spawn(spin);
        scope.spawn(spin);
        let run = bench(&format!(
            "--uri {} --keys 100 --duration 1 --cores {core} --strict --json -",
            double.uri
        ));
        is_over.store(true, Ordering::Relaxed);
        run
    });
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &json["disturbed"]), (Some(1), &true.into()), "{run:?}");
    assert!(run.stderr.contains("Disturbed: a load thread waited for its core for"), "{run:?}");
}

#[test]
fn a_standstill_disturbs_the_run() {
    let double = Double::start(Fault::None);
    let load = "--connections 1 --keys 9 --write-ratio 0 --rate 20 --duration 3 --strict --json -";
    let child = command(&format!("--uri {} {load}", double.uri))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until(|| double.requests().len() > 9 + 5);
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    kill_process(pid, Signal::CONT).unwrap();
    let run = Run::from(child.wait_with_output().unwrap());
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &json["disturbed"]), (Some(1), &true.into()), "{run:?}");
    // No run queue knows of it, and so little load waits for little else.
    let waited = json["load_threads"][0]["waited"].as_f64().unwrap();
    assert!(waited * json["seconds"].as_f64().unwrap() > 1.3, "{run:?}");
}

#[test]
fn the_server_inside_takes_arguments_and_says_that_it_is_full() {
    // A megabyte holds few of these.
    let load = "--keys 20k --value-bytes 1KiB --requests 10k";
    let run = bench(&format!("{load} --json - -- --memory 1MiB"));
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(json["lost"].as_u64().unwrap() > 0, "{run:?}");
    assert!(json["server_evicted"].as_u64().unwrap() > 0, "{run:?}");
    assert!(run.stderr.contains("A server that is full evicts keys"), "{run:?}");
    assert!(run.stderr.contains("The server says that it evicted "), "{run:?}");
}

#[test]
fn the_series_has_a_point_per_second() {
    let double = Double::start(Fault::None);
    let (run, json) = bench_json(&format!("--uri {} --keys 100 --duration 2", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    let series = json["series"].as_array().unwrap();
    // On a busy machine a sample may come so late that it covers two seconds.
    assert!((1..=3).contains(&series.len()), "{run:?}");
    let answered: f64 = series
        .iter()
        .map(|point| {
            let number = |name: &str| point[name].as_f64().unwrap();
            assert!(number("p50_us") > 0.0 && number("p50_us") <= number("p99_us"), "{point}");
            number("requests_per_second") * number("seconds")
        })
        .sum();
    let requests = json["requests"].as_f64().unwrap();
    assert!((answered / requests - 1.0).abs() < 0.01, "{answered} {requests}");
}

#[test]
fn the_page_and_the_series_show_every_second_and_load_nothing() {
    let double = Double::start(Fault::None);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (page, series) = (path("page"), path("series"));
    let run = bench(&format!(
        "--uri {} --keys 100 --duration 2 --html {page} --series {series}",
        double.uri
    ));
    assert_eq!(run.code, Some(0), "{run:?}");
    let page = std::fs::read_to_string(page).unwrap();
    assert_eq!(page.matches("<svg ").count(), 6, "{page}");
    for tag in ["svg", "section", "table", "tr", "details", "style", "body", "html", "text"] {
        let opened =
            page.matches(&format!("<{tag} ")).count() + page.matches(&format!("<{tag}>")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    for loads in ["<script", "<link", "<img", "src=", "url(", "@import", "NaN", "inf,"] {
        assert!(!page.contains(loads), "{loads} in {page}");
    }
    let series = std::fs::read_to_string(series).unwrap();
    let columns: Vec<_> = series.lines().map(|line| line.split(',').count()).collect();
    assert!(columns.len() > 1 && columns.iter().all(|&count| count == 12), "{series}");
    // The page draws the 99th percentile of each second that had an answer.
    let seconds = series.lines().skip(1).filter(|line| !line.contains(",,")).count();
    let line = page.split("class=\"line b\" points=\"").nth(1).unwrap().split('"').next();
    assert_eq!(line.unwrap().split_ascii_whitespace().count(), seconds, "{page}");
}

#[test]
fn a_limit_that_is_broken_fails_the_run() {
    let double = Double::start(Fault::None);
    let load = format!("--uri {} {LOAD} --quiet", double.uri);
    for (limits, complaint) in [
        ("--fail-if p99<1h", "which is < 3600 s"),
        ("--fail-if errors>0 --fail-if rate>1", "rate is "),
        ("--fail-if errors>=0", "errors is 0, which is >= 0"),
    ] {
        let run = bench(&format!("{load} {limits}"));
        assert_eq!(run.code, Some(1), "{limits}: {run:?}");
        assert!(run.stderr.contains(complaint), "{limits}: {run:?}");
    }
    let run = bench(&format!("{load} --fail-if p99>1h --fail-if errors>0 --fail-if rate<=0"));
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
}

#[test]
fn a_run_that_fails_leaves_no_empty_file_and_old_results_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("old"), "{}").unwrap();
    for name in ["new", "old"] {
        // Nobody listens on a port that was closed just now.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let run = bench(&format!("--uri http://127.0.0.1:{port} --json {} --quiet", path(name)));
        assert_ne!(run.code, Some(0), "{run:?}");
    }
    assert!(!folder.path().join("new").exists());
    assert_eq!(std::fs::read_to_string(path("old")).unwrap(), "{}");
}
