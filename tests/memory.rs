//! What the kernel charges the server's memory cgroup with, whatever its clients do.
//! `tests/store_memory.rs` looks at the store alone, with more sequences.

use std::fmt::Write as _;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use testkit::{Cgroup, Client, Server, command};

const MEMORY: u64 = 64 << 20;
const SLACK: u64 = 16 << 20;

/// Requests that are sent before their answers are read.
const PIPELINED: usize = 64;

/// Starts a server that joins the cgroup before it becomes one.
fn start_in(cgroup: &Cgroup, flags: &[&str]) -> Server {
    let server = command(&[flags, &["--memory", "64MiB", "--listen", "127.0.0.1:0"]].concat());
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "echo 0 > \"$0\" && exec \"$@\""]);
    shell.arg(cgroup.path().join("cgroup.procs")).arg(server.get_program());
    shell.args(server.get_args());
    for (name, value) in server.get_envs() {
        assert!(value.is_none(), "settings are only taken away");
        shell.env_remove(name);
    }
    Server::spawn(shell)
}

/// Sends requests and reads their answers, each of which has one of two statuses.
fn exchange(client: &mut Client, requests: &str, count: usize, statuses: [u16; 2]) {
    client.send(requests);
    for _ in 0..count {
        let status = client.response().status;
        assert!(statuses.contains(&status), "status {status}");
    }
}

/// Stores values as slowly as huge pages need it: a region that grows by 512 KiB in less than 10 ms
/// does without.
fn fill(client: &mut Client, keys: Range<u64>, len: usize) {
    const BYTES_PER_MS: u64 = (512 << 10) / 12;
    let (start, mut written, body) = (Instant::now(), 0, "v".repeat(len));
    for keys in keys.collect::<Vec<_>>().chunks(PIPELINED) {
        let mut requests = String::new();
        for key in keys {
            let head = format!("PUT /{key} HTTP/1.1\r\nHost: t\r\nContent-Length: {len}\r\n\r\n");
            requests += &head;
            requests += &body;
        }
        exchange(client, &requests, keys.len(), [201, 204]);
        written += (keys.len() * (len + 24)) as u64;
        let due = Duration::from_millis(written / BYTES_PER_MS);
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
}

fn delete_all_but(client: &mut Client, keys: Range<u64>, kept: u64) {
    let keys: Vec<u64> = keys.filter(|key| !key.is_multiple_of(kept)).collect();
    for keys in keys.chunks(PIPELINED) {
        let mut requests = String::new();
        for key in keys {
            write!(requests, "DELETE /{key} HTTP/1.1\r\nHost: t\r\n\r\n").expect("a string");
        }
        exchange(client, &requests, keys.len(), [204, 404]);
    }
}

#[test]
fn the_servers_cgroup_is_never_charged_with_more_than_the_limit_and_a_tenth() {
    let work = |name: &str, flags: &[&str]| {
        let Some(cgroup) = Cgroup::new(name) else {
            eprintln!("skipped: no memory cgroup can be made here");
            return;
        };
        let mut server = start_in(&cgroup, flags);
        let mut client = server.connect();
        for len in [1000, 3000, 300] {
            let keys = 0..MEMORY / (len + 24);
            fill(&mut client, keys.clone(), len as usize);
            delete_all_but(&mut client, keys, 400);
        }
        fill(&mut client, 0..MEMORY / 1024, 1000);
        server.signal(Signal::TERM);
        server.wait();
        let peak = cgroup.peak().expect("it was there before");
        println!("{name}: {} MiB of {} charged at most", peak >> 20, MEMORY >> 20);
        assert!(peak > MEMORY / 2, "{peak} bytes: the server is not in its cgroup");
        assert!(peak <= MEMORY + MEMORY / 10 + SLACK, "{peak} bytes were charged");
    };
    thread::scope(|scope| {
        scope.spawn(|| work("server-one", &["--cores", "0"]));
        scope.spawn(|| work("server-all", &[]));
    });
}
