//! `https://`: against nginx, and against a server that is wrong in one chosen way.

mod util;

use std::net::TcpListener;

use util::peer::{BIG, Certificate, Peer};
use util::{Double, Fault, Run, bench, bench_json};

const LOAD: &str = "--connections 3 --pipelining 8 --keys 100 --requests 3000 --timeout 5";

#[test]
fn nginx_is_measured_over_either_version() {
    let Some(certificate) = Certificate::make() else { return };
    for (protocol, version) in [("TLSv1.2", "TLSv1_2"), ("TLSv1.3", "TLSv1_3")] {
        let location = format!("ssl_protocols {protocol};");
        let Some(nginx) = Peer::nginx(&location, Some(&certificate)) else { return };
        let cacert = certificate.path().display().to_string();
        let load = format!("{LOAD} --path /big --cacert {cacert}");
        let (run, json) = bench_json(&format!("{} {load}", nginx.uri));
        assert_eq!((run.code, &json["requests"]), (Some(0), &3000.into()), "{run:?}");
        assert_eq!((&json["errors"], &json["non_2xx"]), (&0.into(), &0.into()), "{run:?}");
        assert!(json["get"]["bytes"].as_u64().unwrap() > 3000 * BIG as u64, "{run:?}");
        assert!(json["connect"]["tls"].as_str().unwrap().starts_with(version), "{run:?}");
        assert!(run.stderr.contains(&format!("{version} ")), "{run:?}");
        // It closes a connection after 500 requests, and another one needs its handshake.
        assert!(json["reopened"].as_u64().unwrap() >= 3, "{run:?}");
    }
}

#[test]
fn connecting_and_the_handshake_are_timed_apart() {
    let Some(certificate) = Certificate::make() else { return };
    let Some(nginx) = Peer::nginx("", Some(&certificate)) else { return };
    let load = "--connections 2 --pipelining 1 --requests 200 --path / --insecure";
    let (run, json) = bench_json(&format!("{} {load} --connection-requests 1", nginx.uri));
    assert_eq!((run.code, &json["requests"]), (Some(0), &200.into()), "{run:?}");
    assert!(json["reopened"].as_u64().unwrap() >= 196, "{run:?}");
    let us = |name: &str| json["connect"][name].as_f64().unwrap();
    // A signature takes longer than a SYN on the loopback interface.
    assert!(us("tls_p50_us") > us("p50_us"), "{run:?}");
    assert!(us("tls_p50_us") <= us("tls_p99_us") && us("tls_p99_us") <= us("tls_max_us"));
    assert!(run.stderr.contains("the handshake took "), "{run:?}");
    // Without TLS there is nothing to say.
    let double = Double::start(Fault::None);
    let (run, json) = bench_json(&format!("{} {LOAD}", double.uri));
    assert!(json["connect"]["tls"].is_null() && json["connect"]["tls_p50_us"].is_null(), "{run:?}");
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_unless_it_does_not_matter() {
    let Some(certificate) = Certificate::make() else { return };
    let double = Double::start_tls(Fault::None, &certificate);
    let Run { code, stderr, .. } = bench(&format!("{} {LOAD}", double.uri));
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("TLS failed") && stderr.contains("UnknownIssuer"), "{stderr}");
    let run = bench(&format!("{} {LOAD} --insecure", double.uri));
    assert_eq!(run.code, Some(0), "{run:?}");
    // The name counts as well.
    let Some(certificate) = Certificate::make_for("DNS:elsewhere.example") else { return };
    let double = Double::start_tls(Fault::None, &certificate);
    let cacert = certificate.path().display().to_string();
    let Run { code, stderr, .. } = bench(&format!("{} {LOAD} --cacert {cacert}", double.uri));
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("TLS failed") && stderr.contains("not valid for"), "{stderr}");
}

#[test]
fn every_framing_and_every_check_work_over_tls() {
    let Some(certificate) = Certificate::make() else { return };
    let cacert = certificate.path().display().to_string();
    for (fault, more) in [
        (Fault::None, "--value-bytes 32-300"),
        (Fault::None, "--value-bytes 32-100000 --keys 30 --requests 1000"),
        (Fault::None, "--pipelining 500"),
        (Fault::Chunked, ""),
        (Fault::UntilClose, "--pipelining 1 --requests 300"),
        (Fault::CloseAnnounced(100), ""),
    ] {
        let double = Double::start_tls(fault, &certificate);
        let load = format!("{LOAD} --verify --cacert {cacert}");
        let (run, json) = bench_json(&format!("{} {load} {more}", double.uri));
        assert_eq!(run.code, Some(0), "{fault:?} {more}: {run:?}");
        assert_eq!((&json["wrong_values"], &json["lost"]), (&0.into(), &0.into()), "{run:?}");
    }
}

#[test]
fn faults_are_found_over_tls() {
    let Some(certificate) = Certificate::make() else { return };
    let cacert = certificate.path().display().to_string();
    for (fault, member) in [
        (Fault::Swap, ""),
        (Fault::CloseEarly(50), "closed_early"),
        (Fault::Garbage, "invalid_response"),
        (Fault::Mute, "timeout"),
    ] {
        let double = Double::start_tls(fault, &certificate);
        let load = "--connections 3 --pipelining 8 --keys 100 --requests 3000 --timeout 0.5";
        let preload = if member == "closed_early" { "--no-preload" } else { "--verify" };
        let (run, json) = bench_json(&format!("{} {load} {preload} --cacert {cacert}", double.uri));
        assert_eq!(run.code, Some(1), "{fault:?}: {run:?}");
        let count = match member {
            "" => json["wrong_values"].as_u64().unwrap() + json["lost"].as_u64().unwrap(),
            member => json["connection_errors"][member].as_u64().unwrap(),
        };
        assert!(count >= 1, "{fault:?}: {run:?}");
    }
}

#[test]
fn a_server_without_tls_or_without_a_word_is_reported() {
    let double = Double::start(Fault::None);
    let uri = double.uri.replace("http:", "https:");
    let Run { code, stderr, .. } = bench(&format!("{uri} {LOAD} --insecure --timeout 1"));
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    // It accepts, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("https://{}", listener.local_addr().unwrap());
    let Run { code, stderr, .. } = bench(&format!("{uri} {LOAD} --insecure --timeout 0.5"));
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("connect timed out"), "{stderr}");
    // It shakes hands once, for the first look at it, and then no more.
    let Some(certificate) = Certificate::make() else { return };
    let double = Double::start_tls_once(&certificate);
    let Run { code, stderr, .. } =
        bench(&format!("{} {LOAD} --insecure --timeout 0.5", double.uri));
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains(" connect timed out"), "{stderr}");
}
