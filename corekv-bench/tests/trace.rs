//! `--trace`: what was recorded is sent again, in order, with its times, sizes and lives.

mod util;

use std::collections::HashMap;
use std::io::Write as _;

use util::{Double, Fault, bench, bench_json};

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Rounds of a write, a read and a deletion of each of ten keys.
fn rounds(count: usize) -> String {
    let mut text = String::from("timestamp,key,key size,value size,client id,operation,TTL\n");
    for round in 0..count {
        for key in 0..10 {
            let (at, size) = (round * 10 + key, 20 + key);
            let at = format!("{:.3}", at as f64 / 1000.0);
            text += &format!("{at},ns:key{key},12,{size},1,set,60\n");
            text += &format!("{at},ns:key{key},12,0,1,get,0\n");
            text += &format!("{at},ns:key{key},12,0,2,delete,0\n");
        }
    }
    text
}

#[test]
fn a_trace_is_sent_in_the_order_of_each_key_and_every_read_hits() {
    let trace = file(&rounds(50));
    for speed in ["1", "4", "max"] {
        let double = Double::start(Fault::None);
        let (run, json) = bench_json(&format!(
            "{} --connections 3 --pipelining 8 --trace {} --trace-speed {speed}",
            double.uri,
            trace.path().display()
        ));
        assert_eq!((run.code, &json["requests"]), (Some(0), &1500.into()), "{run:?}");
        assert_eq!((&json["get"]["hits"], &json["get"]["misses"]), (&500.into(), &0.into()));
        assert_eq!(json["keys"], 10, "{json}");
        let mut by_key: HashMap<String, Vec<String>> = HashMap::new();
        for request in double.requests() {
            let mut parts = request.splitn(3, ' ');
            let (method, target, body) =
                (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            // As many bytes as the key had.
            assert_eq!(target.len(), 1 + 12, "{request}");
            let list = by_key.entry(target.to_owned()).or_default();
            list.push(format!("{method} {}", body.len()));
        }
        assert_eq!(by_key.len(), 10);
        for (target, requests) in by_key {
            let size = 20 + target[1..].parse::<usize>().unwrap();
            for round in requests.chunks(3) {
                assert_eq!(round, [format!("PUT {size}"), "GET 0".into(), "DELETE 0".into()]);
            }
        }
    }
}

#[test]
fn times_are_kept_or_scaled() {
    // A request every 20 ms for a second and a half.
    let line = |at: u32| format!("{:.2},k{at},4,0,1,get,0\n", f64::from(at) * 0.02);
    let trace = file(&(0..75).map(line).collect::<String>());
    for (speed, seconds) in [("1", 1.48), ("3", 1.48 / 3.0)] {
        let double = Double::start(Fault::None);
        let (run, json) = bench_json(&format!(
            "{} --connections 2 --trace {} --trace-speed {speed}",
            double.uri,
            trace.path().display()
        ));
        assert_eq!((run.code, &json["requests"]), (Some(0), &75.into()), "{run:?}");
        let took = json["seconds"].as_f64().unwrap();
        assert!(took > seconds * 0.99 && took < seconds + 1.0, "{speed}: {took} s");
        assert!(run.stderr.contains("Replayed 75 requests for 75 keys of "), "{run:?}");
    }
}

#[test]
fn a_trace_can_be_cut_short_and_lives_are_sent() {
    let trace = file("0,a,1,3,1,set,60\n1,a,1,0,1,get,0\n100,a,1,0,1,get,0\n");
    let double = Double::start(Fault::None);
    let (run, json) =
        bench_json(&format!("{} --trace {} --duration 2", double.uri, trace.path().display()));
    assert_eq!((run.code, &json["requests"]), (Some(0), &2.into()), "{run:?}");
    // A second of life, and the server inside: what is read after three of them is gone.
    let trace = file("0,a,1,3,1,set,1\n0.2,a,1,0,1,get,0\n3,a,1,0,1,get,0\n");
    let (run, json) = bench_json(&format!("--trace {}", trace.path().display()));
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!((&json["get"]["hits"], &json["get"]["misses"]), (&1.into(), &1.into()), "{json}");
}

#[test]
fn what_is_no_trace_is_refused() {
    for (text, about) in [("", "no request"), ("1,2\n", "line 1: "), ("1,a,1,1,1,fly,0\n", "'fly'")]
    {
        let trace = file(text);
        let run = bench(&format!("http://127.0.0.1:1 --trace {}", trace.path().display()));
        assert_eq!((run.code, run.stderr.lines().count()), (Some(2), 1), "{run:?}");
        assert!(run.stderr.contains(about), "{run:?}");
    }
    let trace = file("1,a,1,1,1,get,0\n");
    for more in
        ["--rate 5", "--verify", "--read-through", "--sweep 1..2", "--requests 7", "--preload"]
    {
        let run = bench(&format!("http://127.0.0.1:1 --trace {} {more}", trace.path().display()));
        assert_eq!((run.code, run.stderr.lines().count()), (Some(2), 1), "{more}: {run:?}");
    }
}
