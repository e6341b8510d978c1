//! Wrong input: one clear line on standard error and exit code 2. A server that isn't there: one
//! line and exit code 1.

mod util;

use std::net::TcpListener;

use util::{Run, bench};

fn complains(arguments: &str, code: i32, about: &str) {
    let Run { code: got, stdout, stderr } = bench(arguments);
    assert_eq!(got, Some(code), "{arguments}: {stderr}");
    assert_eq!((stderr.lines().count(), stdout.as_str()), (1, ""), "{arguments}: {stderr}");
    assert!(stderr.contains(about), "{arguments}: {stderr}");
}

#[test]
fn wrong_input_is_explained_in_one_line() {
    for (arguments, about) in [
        ("--uri localhost:8080", "no scheme"),
        ("--uri ftp://localhost", "only the schemes http and https"),
        ("--uri http://127.0.0.1:1 --insecure", "are for a server at https://"),
        ("--uri https://127.0.0.1:1 --cacert /nonexistent", "certificates in /nonexistent"),
        ("--uri http://no-such-host.invalid:1", "unknown host no-such-host.invalid"),
        ("--connections 0", "not a number from 1 to"),
        ("--pipelining 0", "not a number from 1 to"),
        ("--duration 0", "must be more than 0"),
        ("--write-ratio 2", "not a number from 0 to 1"),
        ("--distribution normal", "write uniform, zipf:THETA"),
        ("--cores 1023", "may not run on core 1023"),
        ("--nonsense", "--nonsense"),
        ("--fail-if p99", "write RESULT>LIMIT"),
        ("--fail-if p98>1ms", "'p98' is none of p50, p90"),
        ("--connection-requests 0", "sends nothing"),
        ("--conections 1", "a similar argument exists: '--connections'"),
        ("--json - --csv -", "--json and --csv both write to standard output"),
        ("--csv x --hgrm x", "--csv and --hgrm both write to x"),
        ("-- --memory 1", "after --: "),
        ("http://127.0.0.1:1 -- --memory 64MiB", "another one is named"),
        ("--uri http://127.0.0.1:1 --server-pid 4294967294", "no such process"),
        ("--uri http://127.0.0.1:1 --verify --value-bytes 8", "--verify needs --value-bytes"),
        ("--uri http://127.0.0.1:1 --header Host", "write 'Name: value'"),
        ("http://127.0.0.1:1 --path x", "begins with a slash"),
        ("http://127.0.0.1:1 --path /{x}", "the only places are {key} and {n}"),
        ("http://127.0.0.1:1 --path /x --verify", "need paths that the key is part of"),
        ("http://127.0.0.1:1 --path /x --preload", "need paths that the key is part of"),
        ("http://127.0.0.1:1 --request-file /nonexistent", "/nonexistent: No such file"),
        ("http://127.0.0.1:1 --body-file /nonexistent", "--body-file /nonexistent: No such file"),
        ("http://127.0.0.1:1 --request-order random", "--request-file"),
    ] {
        complains(arguments, 2, about);
    }
    // What follows -- is for the server.
    assert!(!bench("--conections 1").stderr.contains("-- --conections"));
}

#[test]
fn a_server_that_is_not_there_is_reported_at_once() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    complains(&format!("--uri http://127.0.0.1:{port}"), 1, "connection refused: 127.0.0.1:");
    complains("--unix /nonexistent/socket", 1, "no such socket: /nonexistent/socket");
}

#[test]
fn help_and_version_are_no_errors() {
    let help = bench("--help");
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    // To clap {n} is a new line.
    let words = help.stdout.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("{key} is the key, and n in braces the number"), "{help:?}");
    for flag in [
        "--uri",
        "--unix",
        "--connections",
        "--pipelining",
        "--duration",
        "--requests",
        "--warmup",
        "--threads",
        "--cores",
        "--keys",
        "--write-ratio",
        "--method-mix",
        "--value-bytes",
        "--distribution",
        "--seed",
        "--preload",
        "--no-preload",
        "--rate",
        "--verify",
        "--header",
        "--timeout",
        "--path",
        "--body-file",
        "--request-file",
        "--request-order",
        "--cacert",
        "--insecure",
        "--server-pid",
        "--json",
        "--csv",
        "--hgrm",
        "--html",
        "--series",
        "--fail-if",
        "--connection-requests",
        "--strict",
        "--quiet",
        "--no-color",
    ] {
        assert!(help.stdout.contains(flag), "{flag}");
    }
    assert!(bench("--version").stdout.starts_with("corekv-bench "));
}
