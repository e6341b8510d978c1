//! Restarts of the real server with `--snapshot`: nothing that was acknowledged is lost, whatever ends it and
//! whenever.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use testkit::{Client, Numbers, Server, command, eventually};

/// A folder with the path of a snapshot in it.
struct Place {
    folder: TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("snapshot");
        Self { folder, path }
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = command(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(["--no-pin", "--snapshot"]).arg(&self.path).args(flags);
        if !flags.contains(&"--memory") {
            command.args(["--memory", "64MiB"]);
        }
        command
    }

    fn start(&self, flags: &[&str]) -> Server {
        Server::spawn(self.command(flags))
    }

    /// What the server says that is not to start.
    fn refuse(&self, flags: &[&str]) -> String {
        let output = self.command(flags).output().expect("it ends");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("text")
    }
}

fn admin(server: &Server) -> Client {
    Client::connect(server.admin.as_deref().expect("an admin address"))
}

fn post(server: &Server) -> u16 {
    admin(server).call("POST", "/snapshot").status
}

fn stop(mut server: Server) -> String {
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    server.stderr()
}

#[track_caller]
fn metric(server: &Server, name: &str) -> f64 {
    let page = admin(server).get("/metrics").line();
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("corekv_{name} ")));
    line.unwrap_or_else(|| panic!("{name} is missing")).parse().expect("a number")
}

/// Values of all lengths, some with fields and lives; as a client sees them.
fn fill(server: &Server, seed: u64, count: u64) -> HashMap<String, (Vec<u8>, Option<String>)> {
    let (mut numbers, mut model) = (Numbers::new(seed), HashMap::new());
    let mut client = server.connect();
    for number in 0..count {
        let length = match numbers.below(20) {
            0 => 3 << 20,
            1 => 100_000,
            2..=5 => numbers.below(9_000) as usize,
            _ => numbers.below(300) as usize,
        };
        let length = if number == 0 { 0 } else { length };
        let value = numbers.bytes(length);
        let kind = (numbers.below(3) == 0).then(|| format!("text/{}", numbers.below(5)));
        let mut lines =
            kind.as_ref().map_or(String::new(), |kind| format!("Content-Type: {kind}\r\n"));
        if numbers.below(3) == 0 {
            lines += "Cache-Control: max-age=1000\r\n";
        }
        let target = format!("/key-{number}-{}", "x".repeat(numbers.below(40) as usize));
        assert_eq!(client.put_with(&target, &lines, &value).status, 201);
        model.insert(target, (value, kind));
    }
    model
}

#[track_caller]
fn check(server: &Server, model: &HashMap<String, (Vec<u8>, Option<String>)>) {
    let mut client = server.connect();
    for (target, (value, kind)) in model {
        let answer = client.get(target);
        assert_eq!(answer.status, 200, "{target}");
        assert!(answer.body == *value, "{target}");
        assert_eq!(answer.field("Content-Type"), kind.as_deref(), "{target}");
    }
    assert_eq!(admin(server).get("/size").line(), model.len().to_string());
}

#[test]
fn a_restart_loses_nothing_on_any_number_of_cores() {
    let place = Place::new();
    let keep = ["--keep-fields", "content-type"];
    let server = place.start(&[&keep[..], &["--cores", "0"]].concat());
    let model = fill(&server, 1, 60);
    let mut client = server.connect();
    client.put_with("/short", "Cache-Control: max-age=2\r\n", "v");
    let written = Instant::now();
    stop(server);
    // What ends meanwhile does not come back.
    eventually("it has ended", || written.elapsed() > Duration::from_secs(4));
    for (signal, flags) in [
        (Signal::TERM, &["--cores", "auto"][..]),
        (Signal::INT, &["--cores", "0", "--memory", "1GiB"]),
        (Signal::TERM, &["--cores", "auto", "--snapshot-required"]),
    ] {
        let mut server = place.start(&[&keep[..], flags].concat());
        check(&server, &model);
        assert_eq!(server.connect().call("HEAD", "/short").status, 404);
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
    }
    // Fields that are not kept any more are left out.
    let server = place.start(&["--keep-fields", "content-encoding"]);
    let bare = model.into_iter().map(|(target, (value, _))| (target, (value, None))).collect();
    check(&server, &bare);
}

#[test]
fn with_less_memory_the_popular_stay() {
    let place = Place::new();
    let server = place.start(&["--cores", "0"]);
    let mut client = server.connect();
    for number in 0..4_000 {
        assert_eq!(
            client.put(&format!("/{number}"), Numbers::new(number).bytes(8_000)).status,
            201
        );
    }
    for _ in 0..3 {
        (0..4_000).step_by(10).for_each(|number| drop(client.get(&format!("/{number}"))));
    }
    drop(client);
    stop(server);
    let server = place.start(&["--cores", "auto", "--memory", "16MiB"]);
    let mut client = server.connect();
    let found = |number: &u64| {
        let answer = client.get(&format!("/{number}"));
        assert!(answer.status == 404 || answer.body == Numbers::new(*number).bytes(8_000));
        answer.status == 200
    };
    let all: Vec<u64> = (0..4_000).filter(found).collect();
    assert_eq!(all.iter().filter(|number| *number % 10 == 0).count(), 400);
    assert!(all.len() > 1_500, "{} fit", all.len());
}

#[test]
fn the_admin_address_has_snapshots_written() {
    let place = Place::new();
    let server = place.start(&[]);
    let started = std::time::SystemTime::now();
    assert_eq!(server.connect().put("/k", "v").status, 201);
    let know = || admin(&server).get("/snapshot");
    assert_eq!(know().field("Content-Type"), Some("application/json"));
    assert_eq!(
        know().line(),
        "{\"running\":false,\"saved\":null,\"error\":null,\"failures\":0,\"loaded_keys\":0}"
    );
    // The second one comes before the first one can be done.
    let mut client = admin(&server);
    client.send("POST /snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2));
    let (first, second) = (client.response(), client.response());
    assert_eq!((first.status, second.status), (202, 409));
    assert_eq!(second.line(), "a snapshot is being written already");
    eventually("it is written", || metric(&server, "snapshot_bytes") > 0.0);
    assert_eq!(
        metric(&server, "snapshot_bytes"),
        fs::metadata(&place.path).expect("a file").len() as f64
    );
    assert_eq!(metric(&server, "snapshot_failures_total"), 0.0);
    assert!(metric(&server, "snapshot_duration_seconds") > 0.0);
    let time = Duration::from_secs_f64(metric(&server, "snapshot_last_success_timestamp_seconds"));
    let began = started.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    assert!(time + Duration::from_millis(10) > began, "{time:?}, {began:?}");
    eventually("it is over", || metric(&server, "snapshot_running") == 0.0);
    assert!(know().line().contains("\"keys\":1}"), "{}", know().line());
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(&place.path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "values are nobody else's business");

    for method in ["PUT", "DELETE"] {
        let answer = admin(&server).call(method, "/snapshot");
        assert_eq!((answer.status, answer.field("Allow")), (405, Some("GET, HEAD, POST, OPTIONS")));
    }
    let answer = admin(&server).call("OPTIONS", "/snapshot");
    assert_eq!((answer.status, answer.field("Allow")), (204, Some("GET, HEAD, POST, OPTIONS")));
    assert_eq!(admin(&server).call("HEAD", "/snapshot").status, 200);
    // A body is dropped, and a web page of another origin does nothing.
    let body = "POST /snapshot HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(admin(&server).exchange(body).status, 202);
    let foreign =
        "POST /snapshot HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n";
    assert_eq!(admin(&server).exchange(foreign).status, 403);
    // On the data address the name is that of a key.
    let mut client = server.connect();
    assert_eq!(client.get("/snapshot").status, 404);
    assert_eq!(client.put("/snapshot", "value").status, 201);
    assert_eq!(client.get("/snapshot").line(), "value");
}

#[test]
fn without_the_option_there_is_no_such_name() {
    let server = Server::start(&["--admin", "127.0.0.1:0", "--memory", "4MiB"]);
    for method in ["GET", "POST"] {
        assert_eq!(admin(&server).call(method, "/snapshot").status, 404);
    }
    assert!(!admin(&server).get("/metrics").line().contains("snapshot"));
}

#[test]
fn only_who_may_write_may_have_one_written() {
    let place = Place::new();
    let tokens = place.folder.path().join("tokens");
    fs::write(&tokens, "writer\nreader read-only\n").expect("written");
    let server = place.start(&["--auth-file", tokens.to_str().expect("text")]);
    let post = |token: &str| {
        let line = if token.is_empty() {
            String::new()
        } else {
            format!("Authorization: Bearer {token}\r\n")
        };
        admin(&server).exchange(format!("POST /snapshot HTTP/1.1\r\nHost: t\r\n{line}\r\n")).status
    };
    assert_eq!((post(""), post("reader"), post("writer")), (401, 403, 202));
}

#[test]
fn one_is_written_every_so_often() {
    let place = Place::new();
    let mut server = place.start(&["--snapshot-interval", "1s"]);
    assert_eq!(server.connect().put("/k", "v").status, 201);
    let at = || fs::metadata(&place.path).and_then(|file| file.modified()).ok();
    eventually("one is written", || at().is_some());
    let first = at();
    eventually("and another", || at() > first);
    server.connect().put("/other", "v");
    eventually("with the new key", || {
        metric(&server, "snapshot_bytes") > 100.0 && {
            admin(&server).get("/snapshot").line().contains("\"keys\":2}")
        }
    });
    server.signal(Signal::KILL);
    server.wait();
    let server = place.start(&[]);
    assert_eq!(server.connect().get("/other").line(), "v");
    assert_eq!(metric(&server, "snapshot_loaded_keys"), 2.0);
}

#[test]
fn what_cannot_be_loaded_is_one_line_and_an_empty_start_or_exit_code_1() {
    let place = Place::new();
    let whole = {
        let server = place.start(&[]);
        server.connect().put("/k", "v");
        stop(server);
        fs::read(&place.path).expect("a snapshot")
    };
    let damaged = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    for (bytes, why) in [
        (damaged(0), "it is no snapshot of corekv"),
        (damaged(11), "of the format, this program reads 1"),
        (damaged(100), "it is damaged or truncated, at byte 64"),
        (damaged(whole.len() - 1), "it is damaged or truncated"),
        (whole[..whole.len() - 10].to_vec(), "it is damaged or truncated"),
        (Vec::new(), "it is truncated"),
    ] {
        fs::write(&place.path, &bytes).expect("written");
        let error = place.refuse(&["--snapshot-required"]);
        let line = error.lines().last().expect("a line");
        assert!(
            line.starts_with("error: can't load the snapshot") && line.contains(why),
            "{error}"
        );
        assert_eq!(fs::read(&place.path).expect("it stays"), bytes);
        let mut server = place.start(&[]);
        eventually("the log says why", || server.stderr().contains(why));
        assert_eq!(server.connect().get("/k").status, 404);
        server.signal(Signal::KILL);
        server.wait();
    }
    fs::remove_file(&place.path).expect("removed");
    assert!(place.refuse(&["--snapshot-required"]).contains("there is none"));
    fs::write(&place.path, &whole).expect("written");
    let server = place.start(&["--snapshot-required", "--snapshot-age-max", "1h"]);
    assert_eq!(server.connect().get("/k").line(), "v");
    drop(server);
    eventually("it is too old", || {
        let modified = fs::metadata(&place.path).and_then(|file| file.modified()).expect("a file");
        modified.elapsed().is_ok_and(|age| age > Duration::from_secs(2))
    });
    let error = place.refuse(&["--snapshot-required", "--snapshot-age-max", "1s"]);
    assert!(error.contains("old, which is more than --snapshot-age-max"), "{error}");
}

#[test]
fn a_path_that_cannot_be_written_to_is_found_at_the_start() {
    let place = Place::new();
    for path in [
        "/nonexistent/snapshot",
        "/proc/snapshot/x",
        place.folder.path().to_str().expect("text"),
        "/dev/null",
    ] {
        let output =
            command(&["--listen", "127.0.0.1:0", "--snapshot", path]).output().expect("it ends");
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{path}: {error}");
        assert!(error.lines().last().is_some_and(|line| line.contains(path)), "{error}");
    }
}

/// A file may have 64 KiB; the signal that says so (SIGXFSZ) would end the process.
#[test]
fn a_full_disk_costs_nothing_but_the_snapshot() {
    let place = Place::new();
    let server = place.start(&[]);
    server.connect().put("/old", "v");
    stop(server);
    let before = fs::read(&place.path).expect("a snapshot");
    let inner = place.command(&[]);
    let mut shell = Command::new("bash");
    shell.args(["--norc", "-c", "ulimit -f 64; exec \"$0\" \"$@\""]).arg(inner.get_program());
    shell.args(inner.get_args());
    let mut server = Server::spawn(shell);
    for large in [false, true] {
        let failures = metric(&server, "snapshot_failures_total");
        let mut client = server.connect();
        if large {
            client.put("/large", vec![b'x'; 300_000]);
        } else {
            (0..1000).for_each(|n| drop(client.put(&format!("/{n}"), [b'x'; 200])));
        }
        assert_eq!(post(&server), 202);
        eventually("it fails", || metric(&server, "snapshot_failures_total") == failures + 1.0);
        assert_eq!(fs::read(&place.path).expect("a snapshot"), before);
        assert_eq!(fs::read_dir(place.folder.path()).expect("a folder").count(), 1, "no rest");
    }
    assert!(admin(&server).get("/snapshot").line().contains("\"error\":\"write: File too large"));
    assert_eq!(server.connect().get("/old").line(), "v");
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(1), "the last one can't be written");
    let says_so = || server.stderr().contains("error: the snapshot can't be written");
    eventually("it says so", says_so);
}

#[test]
fn a_kill_at_any_moment_leaves_the_last_snapshot() {
    let place = Place::new();
    let server = place.start(&["--keep-fields", "content-type"]);
    let model = fill(&server, 2, 40);
    stop(server);
    let mut numbers = Numbers::new(3);
    let mut interrupted = 0;
    for round in 0..12 {
        let mut server = place.start(&["--keep-fields", "content-type"]);
        check(&server, &model);
        assert_eq!(post(&server), 202);
        // From before the file is begun to after its end.
        thread::sleep(Duration::from_micros(numbers.below(1 << (10 + round % 6))));
        server.signal(Signal::KILL);
        server.wait();
        interrupted += u32::from(place.path.with_file_name("snapshot.tmp").exists());
    }
    // What a killed process leaves behind is used again.
    let server = place.start(&["--keep-fields", "content-type"]);
    check(&server, &model);
    stop(server);
    assert_eq!(fs::read_dir(place.folder.path()).expect("a folder").count(), 1);
    eprintln!("{interrupted} of 12 were killed while they wrote");
}

const POST: &str = "POST /snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Threads that count up in keys of their own; what was acknowledged last.
struct Writers {
    done: AtomicBool,
}

fn value_of(version: u64, key: u64) -> Vec<u8> {
    let length = [10, 300, 5_000, 60_000][(version + key) as usize % 4];
    [format!("{version} ").into_bytes(), vec![b'.'; length]].concat()
}

fn version_of(body: &[u8]) -> u64 {
    let text = std::str::from_utf8(body).expect("text");
    text.split(' ').next().expect("a version").parse().expect("a number")
}

impl Writers {
    fn write(&self, address: &str, keys: &[u64], first: u64) -> HashMap<u64, (u64, u64)> {
        let (mut client, mut version) = (Client::connect(address), first);
        let mut sent: HashMap<u64, (u64, u64)> = HashMap::new();
        while !self.done.load(Ordering::Relaxed) {
            version += 1;
            for &key in keys {
                let entry = sent.entry(key).or_default();
                entry.1 = version;
                let value = value_of(version, key);
                let head = format!(
                    "PUT /{key} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n",
                    value.len()
                );
                match client.try_exchange([head.into_bytes(), value].concat()) {
                    Ok(answer) if answer.status / 100 == 2 => entry.0 = version,
                    Ok(answer) => panic!("{}", answer.status),
                    // The server ends.
                    Err(_) => return sent,
                }
            }
        }
        sent
    }
}

#[test]
fn what_is_acknowledged_until_the_end_is_there_afterwards() {
    let place = Place::new();
    let mut first = 0;
    let mut known: HashMap<u64, (u64, u64)> = HashMap::new();
    for round in 0..5 {
        let mut server = place.start(&["--snapshot-interval", "1s"]);
        let mut client = server.connect();
        for (key, (acknowledged, sent)) in &known {
            let answer = client.get(&format!("/{key}"));
            let version = version_of(&answer.body);
            assert_eq!(answer.status, 200, "round {round}: {key} is lost");
            assert!(
                version >= *acknowledged && version <= *sent,
                "{version}: {acknowledged}..{sent}"
            );
        }
        let writers = Writers { done: AtomicBool::new(false) };
        let (address, admin) =
            (server.address().to_owned(), server.admin.clone().expect("an address"));
        thread::scope(|scope| {
            let write = |keys: Vec<u64>| {
                let (writers, address) = (&writers, &address);
                scope.spawn(move || writers.write(address, &keys, first))
            };
            let threads = [write((0..40).collect()), write((100..140).collect())];
            for _ in 0..3 {
                thread::sleep(Duration::from_millis(30));
                let _ = Client::connect(&admin).try_exchange(POST);
            }
            server.signal(Signal::TERM);
            let ended = server.wait();
            writers.done.store(true, Ordering::Relaxed);
            assert_eq!(ended.code(), Some(0));
            for thread in threads {
                for (key, (acknowledged, sent)) in thread.join().expect("no panic") {
                    let entry = known.entry(key).or_default();
                    *entry = (entry.0.max(acknowledged), entry.1.max(sent));
                    first = first.max(sent);
                }
            }
        });
    }
    assert!(first > 5, "{first} rounds of writes");
}

/// strace holds the reading of the file up, so that the signal comes meanwhile.
#[test]
fn a_server_that_ends_while_it_loads_leaves_the_snapshot_alone() {
    let Some(strace) = find("strace") else { return };
    let place = Place::new();
    let server = place.start(&[]);
    let model = fill(&server, 4, 30);
    stop(server);
    let before = fs::read(&place.path).expect("a snapshot");
    let mut traced = Command::new(strace);
    traced.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=pread64"]);
    traced.args(["-e", "inject=pread64:delay_enter=200000"]);
    let inner = place.command(&[]);
    traced.arg(inner.get_program()).args(inner.get_args());
    traced.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = testkit::Killed(traced.spawn().expect("strace starts"));
    let tracee = || children(child.0.id()).into_iter().find(|&pid| is_loading(pid, &place.path));
    eventually("it loads", || tracee().is_some());
    let pid = tracee().expect("it loads").cast_signed();
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    rustix::process::kill_process(pid, Signal::TERM).expect("it runs");
    eventually("it ends", || child.0.try_wait().expect("a child").is_some());
    assert_eq!(fs::read(&place.path).expect("a snapshot"), before);
    let server = place.start(&[]);
    assert_eq!(admin(&server).get("/size").line(), model.len().to_string());
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join(program)).find(|p| p.is_file());
    assert!(
        found.is_some() || std::env::var_os("PEERS_REQUIRED").is_none(),
        "{program} is missing"
    );
    found
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn is_loading(pid: u32, path: &Path) -> bool {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|target| target == path)
}
