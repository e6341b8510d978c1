//! `--metrics`: the run can be watched, and clients that misbehave cannot stop it.

mod util;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use util::{Double, Fault, bench, command};

/// A run that says where its metrics are.
fn start(double: &Double) -> (Child, String) {
    let load = "--connections 2 --keys 50 --duration 60 --metrics 127.0.0.1:0";
    let mut child = command(&format!("{} {load}", double.uri))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("corekv-bench: metrics at http://").unwrap();
    let address = address.strip_suffix("/metrics").unwrap().to_owned();
    (child, address)
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The value of a metric, once it is above 0.
fn await_metric(address: &str, name: &str) -> f64 {
    let begin = Instant::now();
    loop {
        let page = get(address, "/metrics");
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        match value {
            Some(value) if value > 0.0 => return value,
            _ => assert!(begin.elapsed() < Duration::from_secs(30), "{name} in {page}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_run_can_be_watched() {
    let double = Double::start(Fault::None);
    let (mut child, address) = start(&double);
    let first = await_metric(&address, "corekv_bench_requests_total{method=\"get\"}");
    assert!(await_metric(&address, "corekv_bench_phase_info{phase=\"measuring\"}") == 1.0);
    await_metric(&address, "corekv_bench_latency_seconds_bucket{le=\"+Inf\"}");
    await_metric(&address, "corekv_bench_second_latency_seconds{quantile=\"0.99\"}");
    await_metric(&address, "corekv_bench_requests_per_second");
    assert!(await_metric(&address, "corekv_bench_requests_total{method=\"get\"}") >= first);
    assert!(get(&address, "/").starts_with("HTTP/1.1 404 "));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_client_that_says_nothing_or_too_much_is_let_go() {
    let double = Double::start(Fault::None);
    let (mut child, address) = start(&double);
    let _silent = TcpStream::connect(&address).unwrap();
    let mut endless = TcpStream::connect(&address).unwrap();
    let _ = endless.write_all(&vec![b'x'; 1 << 20]);
    // Both are ahead of this one.
    assert!(get(&address, "/metrics").starts_with("HTTP/1.1 200 OK\r\n"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_address_that_is_taken_is_known_before_the_run() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let run = bench(&format!("http://127.0.0.1:1 --metrics {address}"));
    assert_eq!((run.code, run.stderr.lines().count()), (Some(1), 1), "{run:?}");
    assert!(run.stderr.contains(&format!("--metrics {address}")), "{run:?}");
}
