//! Three nodes behind HAProxy and nginx, with the files of `examples/cluster`: keys are spread evenly,
//! a node that stops takes its own share along and nothing else, what comes back is never old, and
//! a fourth node takes about a quarter. ccache shards by itself. `.ci/run` runs this.

mod peers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use peers::wire::Peer;
use peers::{Daemon, both, find, folder, load_generator, output_of};
use rustix::process::Signal;
use serde_json::Value;
use socket2::SockAddr;
use tempfile::TempDir;
use testkit::{Server, command};

const KEYS: usize = 100_000;

/// What a node may have more or less than its part of the keys.
const IMBALANCE_MAX: f64 = 0.15;

/// Longest time until a proxy that fails over has found a node to be away, or back: the times of
/// its configuration, and much for a machine that is busy.
const DETECTION_MAX: Duration = Duration::from_secs(10);

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cluster").join(name);
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A node that can be stopped and started on the same socket.
struct Node {
    server: Option<Server>,
    socket: PathBuf,
    /// Flags beyond those of every node.
    flags: Vec<String>,
}

impl Node {
    fn start(folder: &Path, name: &str) -> Self {
        Self::start_with(folder, name, Vec::new())
    }

    fn start_with(folder: &Path, name: &str, flags: Vec<String>) -> Self {
        let mut node = Self { server: None, socket: folder.join(name), flags };
        node.again();
        node
    }

    fn again(&mut self) {
        let address = format!("unix:{}", self.socket.display());
        let flags = ["--memory", "256MiB", "--cores", "0", "--no-pin"];
        let mut command = command(&flags);
        command.args(["--listen", &address]).args(&self.flags);
        self.server = Some(Server::spawn(command));
    }

    fn crash(&mut self) {
        let mut server = self.server.take().expect("it runs");
        server.signal(Signal::KILL);
        server.wait();
    }

    fn stop(&mut self) {
        let mut server = self.server.take().expect("it runs");
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(0));
    }

    /// Asks the node itself.
    fn get(&self, target: &str) -> (u16, String) {
        let get = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = Peer::connect(&place(&self.socket)).exchange(get);
        (answer.status, String::from_utf8(answer.body).expect("text"))
    }

    fn keys(&self) -> usize {
        self.get("/size").1.parse().expect("a number")
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Haproxy,
    Nginx,
}

/// A proxy with both ways in.
struct Proxy {
    strict: PathBuf,
    failover: PathBuf,
    _daemon: Daemon,
    _folder: TempDir,
}

impl Proxy {
    /// In front of the first nodes of a folder, so many; `None` if it is not installed.
    fn start(kind: Kind, nodes: &[Node]) -> Option<Self> {
        Self::start_with(kind, nodes, |text| text)
    }

    /// The same with a configuration that is changed.
    fn start_with(
        kind: Kind,
        nodes: &[Node],
        change: impl FnOnce(String) -> String,
    ) -> Option<Self> {
        let folder = folder();
        let [strict, failover] = ["strict", "failover"].map(|name| folder.path().join(name));
        let config = folder.path().join("config");
        let mut command;
        match kind {
            Kind::Haproxy => {
                let mut text = change(example("haproxy.cfg"));
                if nodes.len() == 4 {
                    text = text.replace("#server d", "server d");
                }
                fs::write(&config, text).expect("written");
                command = peers::command(find("haproxy")?, folder.path());
                command.args(["-db", "-f"]).arg(&config);
                command.env("STRICT", format!("unix@{}", strict.display()));
                command.env("FAILOVER", format!("unix@{}", failover.display()));
                for (node, name) in nodes.iter().zip(["NODE_A", "NODE_B", "NODE_C", "NODE_D"]) {
                    command.env(name, format!("unix@{}", node.socket.display()));
                }
            }
            Kind::Nginx => {
                let mut text = change(example("nginx.conf"));
                let at = folder.path().display();
                if nodes.len() == 4 {
                    text = text.replace("#server 127.0.0.1:8084", "server 127.0.0.1:8084");
                }
                for (place, path) in [("127.0.0.1:8080", &strict), ("127.0.0.1:8090", &failover)] {
                    text = text.replace(place, &format!("unix:{}", path.display()));
                }
                for (node, port) in nodes.iter().zip(8081..) {
                    let place = format!("unix:{}", node.socket.display());
                    text = text.replace(&format!("127.0.0.1:{port}"), &place);
                }
                // As a child of the test, with its files in the test's folder.
                let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|name| format!("{name}_temp_path {at}/{name};"));
                let text = text.replace("http {", &format!("http {{ {}", paths.join(" ")));
                let text = text.replace("worker_processes auto", "worker_processes 1");
                let head = format!("user root; daemon off; pid {at}/pid;\n");
                fs::write(&config, head + &text).expect("written");
                command = peers::command(find("nginx")?, folder.path());
                command.args(["-e", "stderr", "-p"]).arg(folder.path()).arg("-c").arg(&config);
            }
        }
        let mut daemon = Daemon::start(&mut command, folder.path());
        daemon.wait_until(|| {
            [&strict, &failover].iter().all(|path| {
                let ask = |mut peer: Peer| {
                    peer.send("GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n");
                    peer.next(false).is_some_and(|answer| answer.status == 404)
                };
                Peer::try_connect(&place(path)).is_ok_and(ask)
            })
        });
        Some(Self { strict, failover, _daemon: daemon, _folder: folder })
    }
}

fn place(path: &Path) -> SockAddr {
    SockAddr::unix(path).expect("a short path")
}

/// Runs the load generator with results to look at.
fn load(path: &Path, flags: &[&str]) -> Value {
    let folder = folder();
    let json = folder.path().join("results");
    let mut command = Command::new(load_generator());
    command.arg("--unix").arg(path).args(["-q", "-t", "1", "-c", "8"]);
    command.args(["--keys", &KEYS.to_string(), "--verify"]).args(flags).arg("--json").arg(&json);
    let output = output_of(&mut command);
    assert!(output.status.success(), "{}", both(&output));
    serde_json::from_slice(&fs::read(&json).expect("results")).expect("JSON")
}

/// Sends requests through a proxy on one connection, which is made again when it is closed, and
/// gives their statuses and bodies.
fn ask(
    path: &Path,
    requests: impl Iterator<Item = (String, String, String)>,
) -> Vec<(u16, String)> {
    let mut peer = Peer::connect(&place(path));
    requests
        .map(|(method, key, value)| {
            let length = value.len();
            let request = format!(
                "{method} /{key} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{value}"
            );
            peer.send(&request);
            let answer = peer.next(false).unwrap_or_else(|| {
                peer = Peer::connect(&place(path));
                peer.exchange(&request)
            });
            if answer.field("Connection").is_some_and(|v| v.eq_ignore_ascii_case("close")) {
                peer = Peer::connect(&place(path));
            }
            (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
        })
        .collect()
}

fn read(path: &Path, keys: &[usize]) -> Vec<(u16, String)> {
    let get = |key: &usize| ("GET".to_owned(), format!("x{key}"), String::new());
    ask(path, keys.iter().map(get))
}

fn write(path: &Path, keys: &[usize], value: &str) -> Vec<(u16, String)> {
    let put = |key: &usize| ("PUT".to_owned(), format!("x{key}"), format!("{value}{key}"));
    ask(path, keys.iter().map(put))
}

/// Keys of their own, beside those of the load generator.
fn some_keys() -> Vec<usize> {
    (0..600).collect()
}

/// Who of the keys is stored where: the nodes are asked themselves.
fn owned(node: &Node, keys: &[usize]) -> Vec<usize> {
    keys.iter().copied().filter(|key| node.get(&format!("/x{key}")).0 == 200).collect()
}

fn shares(nodes: &[Node]) -> Vec<usize> {
    nodes.iter().map(Node::keys).collect()
}

fn nodes(folder: &Path) -> Vec<Node> {
    ["a", "b", "c"].map(|name| Node::start(folder, name)).into()
}

/// Values that change: a key has one node, and no answer is ever old.
fn strict(kind: Kind) {
    let folder = folder();
    let mut nodes = nodes(folder.path());
    let Some(proxy) = Proxy::start(kind, &nodes) else { return };
    // Stored, read and checked by the load generator.
    let results = load(&proxy.strict, &["-n", "50000", "--write-ratio", "0.2"]);
    assert_eq!((&results["wrong_values"], &results["lost"]), (&0.into(), &0.into()), "{results}");
    let before = shares(&nodes);
    assert_eq!(before.iter().sum::<usize>(), KEYS, "a key is on one node: {before:?}");
    let even = KEYS as f64 / 3.0;
    let worst = before.iter().map(|&n| (n as f64 / even - 1.0).abs()).fold(0.0, f64::max);
    eprintln!(
        "{kind:?}: {KEYS} keys on three nodes: {before:?}, at most {:.1} % off",
        worst * 100.0
    );
    assert!(worst < IMBALANCE_MAX, "{before:?}");

    let keys = some_keys();
    assert!(write(&proxy.strict, &keys, "old ").iter().all(|(status, _)| *status == 201));
    let of_b = owned(&nodes[1], &keys);
    assert!((100..300).contains(&of_b.len()), "{}", of_b.len());

    // One node stops: its keys are misses at once and can't be written, the others are as before.
    nodes[1].stop();
    for (key, (status, body)) in keys.iter().zip(read(&proxy.strict, &keys)) {
        if of_b.contains(key) {
            assert_eq!(status, 404, "{key}");
        } else {
            assert_eq!((status, body), (200, format!("old {key}")));
        }
    }
    for (key, (status, _)) in keys.iter().zip(write(&proxy.strict, &keys, "new ")) {
        assert_eq!(status, if of_b.contains(key) { 503 } else { 204 }, "{key}");
    }
    assert_eq!(
        [nodes[0].keys(), nodes[2].keys()].iter().sum::<usize>(),
        before[0] + before[2] + keys.len() - of_b.len(),
        "nothing went to another node"
    );

    // It comes back empty, and has its share again.
    nodes[1].again();
    let deadline = Instant::now() + DETECTION_MAX;
    while write(&proxy.strict, &of_b[..1], "new ")[0].0 != 201 {
        assert!(Instant::now() < deadline, "the node is not used again");
        thread::sleep(Duration::from_millis(50));
    }
    for (key, (status, body)) in keys.iter().zip(read(&proxy.strict, &keys)) {
        if of_b[1..].contains(key) {
            assert_eq!(status, 404, "{key}");
        } else {
            assert_eq!((status, body), (200, format!("new {key}")));
        }
    }
    assert!(write(&proxy.strict, &keys, "newer ").iter().all(|(status, _)| *status / 100 == 2));

    // A fourth takes about a quarter, and what stays is where it was.
    load(&proxy.strict, &["-n", "1"]);
    nodes.push(Node::start(folder.path(), "d"));
    drop(proxy);
    let proxy = Proxy::start(kind, &nodes).expect("it was there before");
    let answers = read(&proxy.strict, &keys);
    let moved = answers.iter().filter(|(status, _)| *status == 404).count();
    eprintln!("{kind:?}: a fourth node took {moved} of {} keys", keys.len());
    assert!((keys.len() / 6..keys.len() / 3).contains(&moved), "{moved}");
    assert!(
        answers
            .iter()
            .zip(&keys)
            .all(|((status, body), key)| *status == 404 || *body == format!("newer {key}"))
    );
    let before: usize = nodes[..3].iter().map(Node::keys).sum();
    load(&proxy.strict, &["-n", "1"]);
    let after = shares(&nodes);
    assert_eq!(after[..3].iter().sum::<usize>(), before, "what stays is where it was");
    eprintln!("{kind:?}: of {KEYS} keys, the fourth node has {}", after[3]);
    let share = after[3] as f64 / (KEYS as f64 / 4.0);
    assert!((1.0 - IMBALANCE_MAX..1.0 + IMBALANCE_MAX).contains(&share), "{after:?}");
}

/// Values that never change under their key: others stand in for a node that is away.
fn failover(kind: Kind) {
    let folder = folder();
    let mut nodes = nodes(folder.path());
    let Some(proxy) = Proxy::start(kind, &nodes) else { return };
    let keys = some_keys();
    assert!(write(&proxy.failover, &keys, "v").iter().all(|(status, _)| *status == 201));
    let of_b = owned(&nodes[1], &keys);

    // For a moment there may be errors and misses, then every key can be written and read, and at no
    // time is a value wrong.
    let stopped = Instant::now();
    nodes[1].stop();
    loop {
        let written =
            write(&proxy.failover, &of_b, "v").iter().all(|(status, _)| status / 100 == 2);
        let mut all_read = true;
        for (key, (status, body)) in keys.iter().zip(read(&proxy.failover, &keys)) {
            assert!(status != 200 || body == format!("v{key}"), "{key}: {body}");
            assert!(status == 200 || of_b.contains(key), "{key} is not of the node that stopped");
            all_read &= status == 200;
        }
        if written && all_read {
            break;
        }
        assert!(stopped.elapsed() < DETECTION_MAX, "the others don't stand in");
    }
    eprintln!("{kind:?}: all keys were there again {:?} after a node stopped", stopped.elapsed());

    // When it is back it is used again, and no answer is wrong meanwhile.
    nodes[1].again();
    let back = Instant::now();
    while nodes[1].keys() == 0 {
        assert!(back.elapsed() < DETECTION_MAX, "the node is not used again");
        for (key, (status, body)) in of_b.iter().zip(write_and_read(&proxy.failover, &of_b)) {
            assert!(status != 200 || body == format!("v{key}"), "{key}: {body}");
        }
    }
    eprintln!("{kind:?}: the node was used again {:?} after it started", back.elapsed());
}

/// Waits until a strict proxy uses a node again, which answers 404 or 200 then, and 503 before.
fn wait_for(proxy: &Path, keys: &[usize]) {
    let deadline = Instant::now() + DETECTION_MAX;
    while write(proxy, &keys[..1], "new ")[0].0 / 100 != 2 {
        assert!(Instant::now() < deadline, "the node is not used again");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Nodes with snapshots are restarted one after the other, and nothing is lost; and a snapshot that is too
/// old brings nothing back.
fn rolling(kind: Kind) {
    let folder = folder();
    let snapshot = |name: &str| {
        let path = folder.path().join(format!("snapshot-{name}"));
        vec!["--snapshot".to_owned(), path.to_str().expect("text").to_owned()]
    };
    let node = |name| Node::start_with(folder.path(), name, snapshot(name));
    let mut nodes: Vec<Node> = ["a", "b", "c"].map(node).into();
    let Some(proxy) = Proxy::start(kind, &nodes) else { return };
    let results = load(&proxy.strict, &["-n", "50000", "--write-ratio", "0.2"]);
    assert_eq!((&results["wrong_values"], &results["lost"]), (&0.into(), &0.into()), "{results}");
    let keys = some_keys();
    assert!(write(&proxy.strict, &keys, "old ").iter().all(|(status, _)| *status == 201));
    let before = shares(&nodes);
    assert_eq!(before.iter().sum::<usize>(), KEYS + keys.len());
    for at in 0..nodes.len() {
        let own = owned(&nodes[at], &keys);
        nodes[at].stop();
        nodes[at].again();
        wait_for(&proxy.strict, &own);
        assert!(write(&proxy.strict, &own[..1], "old ").iter().all(|(status, _)| *status == 204));
        assert_eq!(shares(&nodes), before, "nothing is lost");
        for (key, answer) in keys.iter().zip(read(&proxy.strict, &keys)) {
            assert_eq!(answer, (200, format!("old {key}")));
        }
    }

    // A node crashes after its values were replaced: its snapshot is from before.
    let of_b = owned(&nodes[1], &keys);
    let written = Instant::now();
    assert!(write(&proxy.strict, &of_b, "new ").iter().all(|(status, _)| *status == 204));
    nodes[1].crash();
    nodes[1].again();
    assert_eq!(nodes[1].get(&format!("/x{}", of_b[1])), (200, format!("old {}", of_b[1])));
    nodes[1].crash();
    nodes[1].flags.extend(["--snapshot-age-max".to_owned(), "1s".to_owned()]);
    while written.elapsed() < Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(50));
    }
    nodes[1].again();
    wait_for(&proxy.strict, &of_b);
    for (key, (status, body)) in keys.iter().zip(read(&proxy.strict, &keys)) {
        if of_b[1..].contains(key) {
            assert_eq!(status, 404, "{key}: {body}");
        } else {
            assert_eq!(status, 200, "{key}");
        }
    }
}

fn write_and_read(path: &Path, keys: &[usize]) -> Vec<(u16, String)> {
    write(path, keys, "v");
    read(path, keys)
}

/// HAProxy evens out a load that is all for one key if it is told to, and pays with misses.
#[test]
#[ignore = "takes HAProxy; .ci/run runs it"]
fn haproxy_bounds_the_load_of_a_hot_node() {
    let folder = folder();
    let nodes = nodes(folder.path());
    let Some(proxy) = Proxy::start_with(Kind::Haproxy, &nodes, |text| {
        assert!(text.contains("#hash-balance-factor 150"));
        text.replace("#hash-balance-factor", "hash-balance-factor")
    }) else {
        return;
    };
    // One key, from many connections at a time.
    let flags = ["--keys", "1", "-c", "32", "-p", "1", "-n", "20000", "--write-ratio", "0"];
    let mut command = Command::new(load_generator());
    command.arg("--unix").arg(&proxy.failover).args(["-q", "-t", "1", "--no-preload"]).args(flags);
    let output = output_of(&mut command);
    assert!(output.status.success(), "{}", both(&output));
    let reads = |node: &Node| -> u64 {
        let page = node.get("/metrics").1;
        let lines = page.lines().filter(|l| l.starts_with("corekv_requests_total{method=\"GET\""));
        lines.filter_map(|l| l.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    };
    let requests: Vec<u64> = nodes.iter().map(reads).collect();
    eprintln!("20000 reads of one key, by node: {requests:?}");
    let busy = requests.iter().filter(|&&n| n > 2_000).count();
    assert!(busy >= 2, "one node answered nearly all: {requests:?}");
}

macro_rules! of_each {
    ($($proxy:ident $kind:ident),*) => {$(
        mod $proxy {
            #[test]
            #[ignore = "takes a minute, and an installed proxy; .ci/run runs it"]
            fn a_strict_cluster_is_never_wrong() {
                super::strict(super::Kind::$kind);
            }

            #[test]
            #[ignore = "takes an installed proxy; .ci/run runs it"]
            fn a_cluster_that_fails_over_goes_on() {
                super::failover(super::Kind::$kind);
            }

            #[test]
            #[ignore = "takes an installed proxy; .ci/run runs it"]
            fn a_restart_of_all_nodes_loses_nothing() {
                super::rolling(super::Kind::$kind);
            }
        }
    )*};
}

of_each!(haproxy Haproxy, nginx Nginx);

/// ccache spreads objects over the nodes by itself, and builds go on without one of them.
#[test]
#[ignore = "takes ccache and a compiler; .ci/run runs it"]
fn ccache_shards_by_itself() {
    let (Some(ccache), Some(gcc)) = (find("ccache"), find("gcc")) else { return };
    const SOURCES: usize = 30;
    let mut servers: Vec<Option<Server>> = (0..3).map(|_| Some(Server::start(&[]))).collect();
    let addresses: Vec<String> =
        servers.iter().flatten().map(|server| server.address().to_owned()).collect();
    let mut config = example("ccache.conf");
    for (address, port) in addresses.iter().zip(8081..) {
        config = config.replace(&format!("127.0.0.1:{port}"), address);
    }
    let home = folder();
    let path = home.path().join("ccache.conf");
    fs::write(&path, config).expect("written");
    for n in 0..SOURCES {
        let source = format!("int f{n}(int x) {{ return x + {n}; }}\n");
        fs::write(home.path().join(format!("{n}.c")), source).expect("written");
    }
    // Each time with an empty cache of its own; gives the hits of the nodes.
    let build = |round: usize| -> u64 {
        let local = home.path().join(format!("local-{round}"));
        let run = |arguments: &[&str]| {
            let mut command = peers::command(&ccache, home.path());
            command.env("CCACHE_CONFIGPATH", &path).env("CCACHE_DIR", &local);
            let output = output_of(command.current_dir(home.path()).args(arguments));
            assert!(output.status.success(), "{}", both(&output));
            String::from_utf8(output.stdout).expect("text")
        };
        for n in 0..SOURCES {
            let (source, object) = (format!("{n}.c"), format!("{n}.o"));
            run(&[gcc.to_str().expect("text"), "-c", &source, "-o", &object]);
        }
        let statistics = run(&["--print-stats"]);
        let hits = statistics.lines().find_map(|line| line.strip_prefix("remote_storage_hit\t"));
        hits.and_then(|hits| hits.parse().ok()).expect("a number")
    };
    assert_eq!(build(0), 0);
    let stored: Vec<usize> = servers
        .iter()
        .flatten()
        .map(|server| server.connect().get("/size").line().parse().expect("a size"))
        .collect();
    eprintln!("ccache: {SOURCES} compilations, objects by node: {stored:?}");
    assert!(stored.iter().all(|&count| count > 0), "{stored:?}");
    let all = build(1);
    assert!(all >= SOURCES as u64, "{all} hits");
    // Without one node, its part is compiled again.
    drop(servers[0].take());
    let rest = build(2);
    eprintln!("ccache: {all} hits with three nodes, {rest} with two");
    assert!(rest > 0 && rest < all, "{rest} of {all}");
}
