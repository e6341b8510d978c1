//! Restarts without refusal: SIGUSR2 has a new process take over from the server, and nobody who connects
//! meanwhile is refused, and nothing that was acknowledged is lost.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

mod peers;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{Client, PATIENCE, Server, command, eventually, program};

/// A server and those that took over from it one after the other. All write to the pipes of the first.
struct Line {
    first: Server,
    current: Pid,
    successions: usize,
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.cast_signed()).expect("a process")
}

impl Line {
    fn start(command: Command) -> Self {
        let first = Server::spawn(command);
        let current = pid(first.pid());
        Self { first, current, successions: 0 }
    }

    /// The processes that have taken over, by what was logged.
    fn successors(&self) -> Vec<u32> {
        let log = self.first.stderr();
        let lines = log.lines().filter_map(|line| line.strip_suffix(" has taken over"));
        lines
            .map(|line| line.rsplit(' ').next().expect("a word").parse().expect("a number"))
            .collect()
    }

    fn signal(&mut self, signal: Signal) {
        if self.successions == 0 {
            self.first.signal(signal);
        } else {
            kill_process(self.current, signal).expect("it runs");
        }
    }

    fn succeed(&mut self) {
        self.signal(Signal::USR2);
        let wanted = self.successions + 1;
        eventually("another process takes over", || self.successors().len() == wanted);
        let successor = pid(self.successors()[wanted - 1]);
        let before = std::mem::replace(&mut self.current, successor);
        if wanted == 1 {
            assert_eq!(self.first.wait().code(), Some(0));
        } else {
            eventually("the old one ends", || has_ended(before));
        }
        self.successions = wanted;
    }

    /// Asks for a successor that will fail.
    fn fail_to_succeed(&mut self, why: &str) {
        let count = || self.first.stderr().matches(why).count();
        let before = count();
        kill_process(self.current, Signal::USR2).expect("it runs");
        eventually("the successor fails", || count() > before);
        assert!(!has_ended(self.current));
    }

    fn admin(&self) -> Client {
        Client::connect(self.first.admin.as_deref().expect("an address"))
    }
}

/// Whether a process is gone; nobody may have waited for it yet.
fn has_ended(pid: Pid) -> bool {
    let state =
        fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let state = state.rsplit(") ").next().unwrap_or_default().to_owned();
    test_kill_process(pid).is_err() || state.starts_with('Z')
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.successions > 0 {
            let _ = kill_process(self.current, Signal::KILL);
        }
    }
}

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot");
    (folder, path)
}

fn with_snapshot(path: &std::path::Path, flags: &[&str]) -> Command {
    let mut command = command(&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--no-pin"]);
    command.args(["--memory", "64MiB", "--snapshot"]).arg(path).args(flags);
    command
}

/// What a writer has sent of each key, and what was acknowledged: versions.
type Known = HashMap<u64, (u64, u64)>;

fn put(key: u64, version: u64) -> Vec<u8> {
    let filler = ".".repeat([10, 300, 9_000][(version + key) as usize % 3]);
    let value = format!("{version} {filler}");
    format!("PUT /{key} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{value}", value.len())
        .into_bytes()
}

fn check(version: Option<u64>, (acknowledged, sent): (u64, u64), key: u64) {
    match version {
        None => assert_eq!(acknowledged, 0, "{key} is lost"),
        Some(version) => {
            assert!(
                version >= acknowledged && version <= sent,
                "{key}: {version} of {acknowledged}..{sent}"
            );
        }
    }
}

/// What clients have seen.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    /// Connections that were closed by `Connection: close`, and without it.
    told: AtomicU64,
    cut: AtomicU64,
}

impl Counts {
    fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// One client over either kind of socket: a connection that is used until the server closes it. The first
/// request of each connection has to be answered.
struct Patient<'a> {
    connect: &'a dyn Fn() -> Client,
    client: Option<Client>,
    answered: u64,
    counts: &'a Counts,
}

impl Patient<'_> {
    /// The answer, if the connection was not closed before it.
    fn exchange(&mut self, request: &[u8]) -> Option<testkit::Response> {
        let is_new = self.client.is_none();
        if is_new {
            self.counts.connections.fetch_add(1, Ordering::Relaxed);
        }
        let mut client = self.client.take().unwrap_or_else(self.connect);
        match client.try_exchange(request) {
            Ok(answer) => {
                self.answered += 1;
                // A connection now and then.
                let told = answer.field("Connection") == Some("close");
                self.counts.told.fetch_add(u64::from(told), Ordering::Relaxed);
                let closes = told || self.answered.is_multiple_of(20);
                self.client = (!closes).then_some(client);
                Some(answer)
            }
            Err(error) => {
                assert!(!is_new, "the first request of a connection: {error}");
                self.counts.cut.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

/// Writes and reads until it is told to stop.
fn work(connect: &dyn Fn() -> Client, base: u64, done: &AtomicBool, counts: &Counts) -> Known {
    let mut client = Patient { connect, client: None, answered: 0, counts };
    let (mut known, mut version) = (Known::new(), 0);
    while !done.load(Ordering::Relaxed) {
        version += 1;
        for key in base..base + 20 {
            let entry = known.entry(key).or_default();
            entry.1 = version;
            if client.exchange(&put(key, version)).is_some_and(|answer| answer.status / 100 == 2) {
                entry.0 = version;
            }
            let get = format!("GET /{key} HTTP/1.1\r\nHost: t\r\n\r\n");
            if let Some(answer) = client.exchange(get.as_bytes()) {
                check(version_of(&answer), *entry, key);
            }
        }
    }
    known
}

fn version_of(answer: &testkit::Response) -> Option<u64> {
    (answer.status == 200).then(|| {
        let text = std::str::from_utf8(&answer.body).expect("text");
        text.split(' ').next().expect("a version").parse().expect("a number")
    })
}

#[test]
fn ten_restarts_under_load_lose_nothing_and_refuse_nobody() {
    let (folder, path) = place();
    let socket = folder.path().join("socket");
    let address = format!("unix:{}", socket.display());
    let mut line = Line::start(with_snapshot(&path, &["--listen", &address]));
    let (tcp, admin) = (line.first.address().to_owned(), line.first.admin.clone().expect("one"));
    let (done, counts) = (AtomicBool::new(false), Counts::default());
    let known = thread::scope(|scope| {
        let (done, counts, tcp) = (&done, &counts, &tcp);
        let by_tcp = |base| scope.spawn(move || work(&|| Client::connect(tcp), base, done, counts));
        let workers = [by_tcp(0), by_tcp(1000), by_tcp(2000)];
        let admin = scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(Client::connect(&admin).get("/healthz").line(), "ok");
            }
        });
        let socket = &socket;
        let unix = scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let answer = by_unix(socket, "/healthz");
                assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
            }
        });
        let restarts = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..10 {
                line.succeed();
                thread::sleep(Duration::from_millis(100));
            }
        }));
        done.store(true, Ordering::Relaxed);
        restarts.expect("ten restarts");
        admin.join().expect("the admin address");
        unix.join().expect("the Unix-domain socket");
        workers.map(|worker| worker.join().expect("a worker"))
    });
    let mut client = Client::connect(&tcp);
    for (key, entry) in known.into_iter().flatten() {
        check(version_of(&client.get(&format!("/{key}"))), entry, key);
    }
    assert!(Counts::get(&counts.connections) > 30, "{counts:?}");
    // A request was on its way on most of those that were in use; a busy machine may let one rest for
    // longer than it is spared.
    assert!(Counts::get(&counts.cut) * 4 <= Counts::get(&counts.told), "{counts:?}");
    // The last one removes the socket's file, as the first one would have.
    assert!(socket.exists());
    line.signal(Signal::TERM);
    eventually("it ends", || has_ended(line.current));
    assert!(!socket.exists());
}

#[test]
#[ignore = "takes the load generator; .ci/run runs it"]
fn ten_restarts_under_the_load_generator_lose_nothing() {
    let (folder, path) = place();
    let mut line = Line::start(with_snapshot(&path, &[]));
    let results = folder.path().join("results");
    let mut load = Command::new(peers::load_generator());
    load.args(["--uri", &format!("http://{}", line.first.address()), "--verify", "--quiet"]);
    load.args(["--keys", "10000", "--duration", "1h", "--json"]).arg(&results);
    let mut load = testkit::Killed(load.spawn().expect("it starts"));
    for n in 0..10 {
        // Each process answers some of it.
        let answered = |line: &Line| {
            let page = line.admin().get("/metrics").line();
            let hits = page.lines().find_map(|line| line.strip_prefix("corekv_hits_total "));
            hits.and_then(|hits| hits.parse::<u64>().ok()).unwrap_or(0)
        };
        eventually(&format!("process {n} has something to do"), || answered(&line) > 10_000);
        line.succeed();
    }
    kill_process(pid(load.0.id()), Signal::INT).expect("it runs");
    load.0.wait().expect("it ends");
    let results: Value =
        serde_json::from_slice(&fs::read(&results).expect("results")).expect("JSON");
    for (name, expected) in [("lost", 0), ("wrong_values", 0), ("non_2xx", 0)] {
        assert_eq!(results[name], expected, "{name}: {results}");
    }
    assert_eq!(results["loss_checked"], true, "{results}");
    let errors = results["connection_errors"].as_object().expect("by kind");
    for (kind, count) in errors {
        // A machine that is busy may let a connection rest for longer than it is spared.
        assert!(kind == "closed_early" || *count == 0, "{kind}: {results}");
    }
    let reopened = results["reopened"].as_u64().expect("a number");
    let early = results["connection_errors"]["closed_early"].as_u64().expect("a number");
    assert!(reopened >= 10 && early * 4 <= reopened, "{early} of {reopened} connections");
}

fn by_unix(socket: &std::path::Path, target: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
    let request = format!("GET {target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn what_was_received_is_answered_and_what_comes_then_waits() {
    let (_folder, path) = place();
    // With one event loop: that it closes one connection says that it knows for the others, too.
    let flags = ["--drain-timeout", "30s", "--cores", "0"];
    let mut line = Line::start(with_snapshot(&path, &flags));
    let mut idle = line.first.connect();
    assert_eq!(idle.put("/k", "old").status, 201);
    let mut busy = line.first.connect();
    busy.send("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nn");
    assert_eq!(idle.get("/k").line(), "old");
    line.first.signal(Signal::USR2);
    idle.assert_closed();
    // It is accepted by nobody yet.
    let mut waiting = line.first.connect();
    waiting.send("GET /k HTTP/1.1\r\nHost: t\r\n\r\n");
    busy.send("ew");
    let answer = busy.response();
    assert_eq!((answer.status, answer.field("Connection")), (204, Some("close")));
    assert_eq!(waiting.response().line(), "new", "what was acknowledged by the other one");
    eventually("it has taken over", || line.successors().len() == 1);
    assert_eq!(line.first.wait().code(), Some(0));
    (line.current, line.successions) = (pid(line.successors()[0]), 1);
    assert!(line.admin().get("/metrics").line().contains("\ncorekv_snapshot_loaded_keys 1\n"));
}

#[test]
fn a_connection_that_has_sent_nothing_yet_is_answered() {
    let (_folder, path) = place();
    // With one event loop, as above.
    let mut line = Line::start(with_snapshot(&path, &["--cores", "0"]));
    let mut used = line.first.connect();
    assert_eq!(used.put("/k", "v").status, 201);
    let mut new = line.first.connect();
    eventually("it is accepted", || {
        let page = line.admin().get("/metrics").line();
        page.lines()
            .filter_map(|l| l.strip_prefix("corekv_connections_accepted_total{"))
            .filter_map(|l| l.split(' ').nth(1)?.parse::<u64>().ok())
            .sum::<u64>()
            >= 3
    });
    line.first.signal(Signal::USR2);
    used.assert_closed();
    new.send("GET /k HTTP/1.1\r\nHost: t\r\n\r\n");
    let answer = new.response();
    assert_eq!((answer.line().as_str(), answer.field("Connection")), ("v", Some("close")));
    eventually("it has taken over", || line.successors().len() == 1);
    (line.current, line.successions) = (pid(line.successors()[0]), 1);
}

#[test]
fn without_a_snapshot_nobody_is_refused_either() {
    let mut line =
        Line::start(command(&["--listen", "127.0.0.1:0", "--no-pin", "--memory", "4MiB"]));
    assert_eq!(line.first.connect().put("/k", "v").status, 201);
    for _ in 0..2 {
        line.succeed();
        assert_eq!(line.first.connect().get("/k").status, 404, "there is nothing to hand over by");
    }
}

/// The new process has the socket by the number that it was told of, and not by the manager's as well.
#[test]
fn a_managers_socket_is_inherited_once() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    fcntl_setfd(&listener, FdFlags::empty()).expect("FD_CLOEXEC can be cleared");
    let number = listener.as_raw_fd();
    let moved = if number == 3 { String::new() } else { format!(" 3<&{number} {number}<&-") };
    let server = command(&[]);
    let mut shell = Command::new("bash");
    let script = format!("LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"{moved}");
    shell.args(["--norc", "-c", &script]).arg(server.get_program());
    shell.args(["--no-pin", "--memory", "4MiB"]);
    let mut line = Line::start(shell);
    line.succeed();
    assert_eq!(line.first.connect().put("/k", "v").status, 201);
    let socket = fs::read_link(format!("/proc/self/fd/{number}")).expect("it is open");
    let folder = format!("/proc/{}/fd", line.current.as_raw_nonzero());
    let links = fs::read_dir(folder).expect("it runs");
    let links = links.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    assert_eq!(links.filter(|link| *link == socket).count(), 1);
}

#[test]
fn if_the_successor_fails_the_server_goes_on() {
    let (folder, path) = place();
    let config = folder.path().join("corekv.toml");
    fs::write(&config, "miss-status = 404\n").expect("written");
    let flags = ["--config", config.to_str().expect("text")];
    let mut line = Line::start(with_snapshot(&path, &flags));
    let mut client = line.first.connect();
    assert_eq!(client.put("/k", "v").status, 201);
    // It finds that before anybody stops for it.
    fs::write(&config, "miss-status = 500\n").expect("written");
    line.fail_to_succeed("the process that was to take over has failed, this one goes on");
    assert_eq!(client.get("/k").line(), "v", "the connection goes on, too");
    // Here the server has stopped already when its snapshot can't be written.
    fs::write(&config, "miss-status = 404\n").expect("written");
    let held = fs::File::create(folder.path().join("snapshot.tmp")).expect("created");
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    line.fail_to_succeed("no process has taken over, this one goes on");
    assert!(line.first.stderr().contains("another process is writing it"));
    drop(held);
    let mut client = line.first.connect();
    assert_eq!(client.get("/k").line(), "v");
    assert_eq!(client.put("/later", "w").status, 201);
    // And the next one succeeds.
    line.succeed();
    let mut client = line.first.connect();
    assert_eq!((client.get("/k").line(), client.get("/later").line()), ("v".into(), "w".into()));
}

#[test]
fn a_successor_that_is_killed_while_it_loads_leaves_the_server_on() {
    let (_folder, path) = place();
    let mut line = Line::start(with_snapshot(&path, &[]));
    let mut client = line.first.connect();
    for number in 0..200 {
        assert_eq!(client.put(&format!("/{number}"), vec![b'x'; 100_000]).status, 201);
    }
    drop(client);
    for round in 0..4 {
        kill_process(line.current, Signal::USR2).expect("it runs");
        let prepared = |line: &Line| {
            let log = line.first.stderr();
            let lines = log.lines().filter_map(|l| l.strip_suffix(" prepares to take over"));
            lines
                .map(|l| l.rsplit(' ').next().expect("a word").parse::<u32>().expect("a number"))
                .collect::<Vec<_>>()
        };
        eventually("one is started", || prepared(&line).len() == round + 1);
        thread::sleep(Duration::from_millis(90 * round as u64));
        let successor = pid(prepared(&line)[round]);
        // It may have taken over by now, and then the first process ends.
        let _ = kill_process(successor, Signal::KILL);
        let goes_on = || line.first.stderr().matches("this one goes on").count() > round;
        eventually("the server goes on", || goes_on() || line.successors().len() == 1);
        if line.successors().len() == 1 {
            assert_eq!(line.first.wait().code(), Some(0));
            return;
        }
        let mut client = line.first.connect();
        assert_eq!(client.get("/199").body.len(), 100_000, "round {round}");
    }
}

#[test]
fn a_newer_program_in_the_place_of_the_old_one_is_started() {
    let (folder, path) = place();
    let copy = folder.path().join("corekv");
    fs::copy(program("corekv"), &copy).expect("copied");
    let given = with_snapshot(&path, &[]);
    let mut command = Command::new(&copy);
    command.args(given.get_args());
    let mut line = Line::start(command);
    // As a package manager does it.
    let newer = folder.path().join("corekv.new");
    fs::copy(program("corekv"), &newer).expect("copied");
    fs::rename(&newer, &copy).expect("renamed");
    line.succeed();
    let executable = fs::read_link(format!("/proc/{}/exe", line.current.as_raw_nonzero()));
    assert_eq!(executable.expect("it runs"), copy);
}

#[test]
fn the_service_manager_is_told_whom_to_watch() {
    let (folder, path) = place();
    let address = folder.path().join("notify");
    let manager = UnixDatagram::bind(&address).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
    let mut command = with_snapshot(&path, &[]);
    command.env("NOTIFY_SOCKET", &address).env("WATCHDOG_USEC", "2000000");
    // That of the first process alone, as systemd sets it.
    let mut shell = Command::new("bash");
    shell.args(["--norc", "-c", "WATCHDOG_PID=$$ exec \"$0\" \"$@\""]).arg(command.get_program());
    shell.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut line = Line::start(shell);
    line.succeed();
    let mut messages = Vec::new();
    let mut hear = |wanted: &str| {
        while !messages.iter().any(|m: &String| m.starts_with(wanted)) {
            let mut message = [0; 4096];
            let len = manager.recv(&mut message).expect("a message");
            messages.push(String::from_utf8_lossy(&message[..len]).into_owned());
        }
        let at = messages.iter().position(|m| m.starts_with(wanted)).expect("it is there");
        messages.drain(..=at).collect::<Vec<_>>()
    };
    hear("READY=1");
    let before = hear(&format!("MAINPID={}\n", line.current.as_raw_nonzero()));
    assert!(!before.iter().any(|m| m.starts_with("STOPPING=1")), "{before:?}");
    hear("READY=1");
    hear("WATCHDOG=1");
    line.signal(Signal::TERM);
    hear("STOPPING=1");
}
