//! The configuration file, `corekv check` and what the program writes about itself.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;
use testkit::{Server, command};

/// Flags that the next two tests set in every way: name, a value, another one, a third.
const OPTIONS: [[&str; 4]; 27] = [
    ["listen", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"],
    ["admin", "127.0.0.1:4", "127.0.0.1:5", "127.0.0.1:6"],
    ["unix-mode", "600", "660", "666"],
    ["host", "a.example", "b.example", "c.example"],
    ["cores", "0", "0-0", "auto"],
    ["no-pin", "true", "false", "true"],
    ["busy-poll", "true", "false", "true"],
    ["memory", "2MiB", "3MiB", "4MiB"],
    ["ttl", "1s", "2m", "3h"],
    ["miss-status", "200", "204", "404"],
    ["key-bytes-max", "1", "2KiB", "3"],
    ["value-bytes-max", "1MiB", "2", "3"],
    ["header-bytes-max", "8KiB", "9KiB", "10KiB"],
    ["connections-max", "1", "2", "3"],
    ["header-timeout", "1s", "2s", "3s"],
    ["body-timeout", "1s", "2s", "3s"],
    ["min-rate", "0", "1KiB", "2KiB"],
    ["min-rate-grace", "1s", "2s", "3s"],
    ["drain-timeout", "1s", "2s", "3s"],
    ["turborepo", "true", "false", "true"],
    ["access-log", "a", "b", "c"],
    ["access-log-sample", "1", "2", "3"],
    ["snapshot", "/a", "/b", "/c"],
    ["snapshot-interval", "1s", "2m", "3h"],
    ["snapshot-age-max", "1s", "2m", "3h"],
    ["snapshot-required", "true", "false", "true"],
    ["log-level", "error", "warn", "debug"],
];

fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("corekv.toml");
    fs::write(&path, text).expect("the file");
    (folder, path)
}

fn run(mut command: Command) -> Output {
    command.output().expect("the program runs")
}

#[track_caller]
fn shown(command: Command) -> String {
    let output = run(command);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    String::from_utf8(output.stdout).expect("text")
}

/// The line that `corekv check` has for an option, and the comment behind it.
#[track_caller]
fn line<'a>(shown: &'a str, name: &str) -> (&'a str, &'a str) {
    let line = shown.lines().find(|line| line.starts_with(&format!("{name} = ")));
    let line = line.unwrap_or_else(|| panic!("{name} is missing:\n{shown}"));
    line.split_once("  # ").unwrap_or_else(|| panic!("{line} has no comment"))
}

/// A value as it is written in a file.
fn written(name: &str, value: &str) -> String {
    let is_bare = value.parse::<u64>().is_ok() || value == "true" || value == "false";
    let value = if is_bare { value.to_owned() } else { format!("\"{value}\"") };
    let is_list = name == "listen" || name == "host";
    if is_list { format!("[{value}]") } else { value }
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let lines = OPTIONS.map(|[name, value, ..]| format!("{name} = {}\n", written(name, value)));
    let (_folder, path) = file(&lines.concat());
    let path = path.to_str().expect("text");
    for (at, [name, in_file, in_environment, as_flag]) in OPTIONS.into_iter().enumerate() {
        let mut check = command(&["check", "--config", path]);
        let text = shown(check);
        let expected =
            (format!("{name} = {}", written(name, in_file)), format!("{path}:{}", at + 1));
        assert_eq!(line(&text, name), (expected.0.as_str(), expected.1.as_str()));

        let variable = format!("COREKV_{}", name.to_uppercase().replace('-', "_"));
        check = command(&["check", "--config", path]);
        check.env(&variable, in_environment);
        let text = shown(check);
        let expected = format!("{name} = {}", written(name, in_environment));
        assert_eq!(line(&text, name), (expected.as_str(), variable.as_str()));

        let is_switch = in_file == "true";
        let flag = if is_switch { format!("--{name}") } else { format!("--{name}={as_flag}") };
        check = command(&["check", "--config", path, &flag]);
        check.env(&variable, in_environment);
        let text = shown(check);
        let (expected, flag) =
            (format!("{name} = {}", written(name, as_flag)), format!("--{name}"));
        assert_eq!(line(&text, name), (expected.as_str(), flag.as_str()));
    }
}

#[test]
fn what_check_shows_is_a_file_that_means_the_same() {
    let values = |text: &str| -> Vec<String> {
        let values = text.lines().filter(|line| !line.starts_with('#'));
        values.map(|line| line.split_once("  # ").expect("a comment").0.to_owned()).collect()
    };
    let mut flags = vec!["check".to_owned()];
    for [name, value, ..] in OPTIONS {
        flags.push(if value == "true" { format!("--{name}") } else { format!("--{name}={value}") });
    }
    flags.push("--listen=unix:/tmp/a \"quoted\" \\ name".to_owned());
    for flags in [&flags[..1], &flags[..]] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let once = shown(command(&flags));
        let (_folder, path) = file(&once);
        let twice = shown(command(&["check", "--config", path.to_str().expect("text")]));
        assert_eq!(values(&once), values(&twice));
        assert!(values(&once).len() >= 18, "{once}");
    }
}

#[test]
fn a_server_uses_the_file_and_names_it_by_the_environment_too() {
    let text = "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nmiss-status = 204\nno-date = true\n";
    let (_folder, path) = file(text);
    let mut by_flag = command(&["--config"]);
    by_flag.arg(&path);
    let mut by_variable = command(&[]);
    by_variable.env("COREKV_CONFIG", &path);
    for command in [by_flag, by_variable] {
        let server = Server::spawn(command);
        assert_eq!(server.addresses.len(), 2);
        assert_eq!(server.connect().get("/k").text(), "HTTP/1.1 204 No Content\r\n\r\n");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_one_line_with_its_number() {
    for (line, text, part) in [
        (2, "ttl = \"1s\"\nt-t-l = 1\n", "'t-t-l'"),
        (1, "no_pin = true\n", "'no_pin'"),
        (1, "config = \"x\"\n", "'config'"),
        (1, "help = true\n", "'help'"),
        (3, "\n# ttl\n[server]\nttl = \"1s\"\n", "'server'"),
        (2, "\nttl = \"5\"\n", "'5'"),
        (1, "ttl = 5\n", "'5'"),
        (1, "ttl = \"0s\"\n", "ttl"),
        (1, "ttl = \"4000d\"\n", "ttl"),
        (1, "ttl = [\"5s\"]\n", "ttl"),
        (1, "ttl = 1979-05-27\n", "ttl"),
        (1, "unix-mode = 0o660\n", "unix-mode"),
        (1, "no-pin = \"yes\"\n", "no-pin"),
        (1, "no-pin = 1\n", "no-pin"),
        (1, "listen = []\n", "listen"),
        (1, "listen = [\"nonsense\"]\n", "nonsense"),
        (1, "host = [\"*.example\"]\n", "*.example"),
        (1, "memory = 1.5\n", "memory"),
        (2, "ttl = \"1s\"\nttl = \"2s\"\n", "duplicate"),
        (2, "no-pin = true\nttl = \n", ""),
        (1, "ttl = \"1s\n", ""),
    ] {
        let (_folder, path) = file(text);
        let shown = path.to_str().expect("text").to_owned();
        for words in [&["--listen=127.0.0.1:0"][..], &["check"]] {
            let mut command = command(words);
            command.arg("--config").arg(&path);
            let output = run(command);
            let error = String::from_utf8(output.stderr).expect("text");
            assert_eq!(output.status.code(), Some(2), "{text}: {error}");
            assert!(error.starts_with(&format!("error: {shown}:{line}: ")), "{text}: {error}");
            assert!(error.contains(part), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{text}: {error}");
        }
    }
    // Also where a flag goes before it.
    let (_folder, path) = file("ttl = \"x\"\n");
    let output = run(command(&["check", "--ttl=1s", "--config", path.to_str().expect("text")]));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_file_that_cannot_be_read_is_one_line_with_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let huge = folder.path().join("huge");
    fs::write(&huge, vec![b'#'; (1 << 20) + 1]).expect("the file");
    let binary = folder.path().join("binary");
    fs::write(&binary, [0xff, 0xfe, 0]).expect("the file");
    let absent = folder.path().join("absent");
    for path in [huge, binary, absent, folder.path().to_owned()] {
        let mut command = command(&["--config"]);
        command.arg(&path);
        let output = run(command);
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.starts_with(&format!("error: {}: ", path.display())), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn check_finds_what_the_server_would_not_start_with() {
    let absent = ["check", "--auth-file", "/nonexistent/tokens"];
    let little = ["check", "--cores", "0-63", "--no-pin", "--memory", "1MiB"];
    for (flags, part) in [(&absent[..], "/nonexistent/tokens"), (&little, "64 event loops")] {
        let output = run(command(flags));
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(part) && error.lines().count() == 1, "{error}");
    }
    // It binds nothing: this port is taken.
    let server = Server::start(&[]);
    shown(command(&["check", "--listen", server.address()]));
}

#[test]
fn completions_and_the_manual_know_every_option() {
    let help = shown(command(&["--help"]));
    let options = |text: &str| -> Vec<String> {
        let words = text.lines().map(str::trim).filter(|line| line.starts_with("--"));
        words.map(|line| line.split(' ').next().expect("a word").to_owned()).collect()
    };
    let options = options(&help);
    assert!(options.len() >= 22, "{help}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = shown(command(&["completions", shell]));
        for option in &options {
            let name = if shell == "fish" { &option[2..] } else { option };
            assert!(text.contains(name), "{shell} does not know {option}");
        }
    }
    let manual = shown(command(&["man"])).replace("\\-", "-");
    for part in
        options.iter().map(String::as_str).chain([".TH corekv 1", "COREKV_MIN_RATE", "SIGTERM"])
    {
        assert!(manual.contains(part), "the manual page does not have {part}");
    }
}

/// The shell itself takes what is written for it.
#[test]
fn bash_completes_options() {
    let script = "
        set -e
        source <(\"$0\" completions bash)
        COMP_WORDS=(corekv --miss) COMP_CWORD=1
        _corekv corekv --miss corekv
        echo \"${COMPREPLY[*]}\"";
    let program = command(&[]).get_program().to_owned();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script]).arg(program);
    let Ok(output) = bash.output() else {
        eprintln!("skipped: bash is not installed");
        return;
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "--miss-status", "{error}");
}
