//! Debian's Prometheus scrapes a server under load with the files of `examples/monitoring`, and knows
//! every series that rules and dashboard ask for. `.ci/install` installs it, `.ci/run` runs this.

mod peers;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use peers::{Daemon, both, find, find_python, folder, output_of};
use serde_json::Value;
use testkit::{Client, Server};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/monitoring").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(example(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The metrics that a text names.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c| !is_part(c));
    let is_metric = |word: &&str| {
        ["corekv_", "corekv:", "process_"].iter().any(|prefix| word.starts_with(prefix))
    };
    words.filter(is_metric).map(ToOwned::to_owned).collect()
}

/// The strings under a key, at any depth.
fn values_of<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key).and_then(Value::as_str));
            fields.values().for_each(|value| values_of(value, key, found));
        }
        Value::Array(values) => values.iter().for_each(|value| values_of(value, key, found)),
        _ => {}
    }
}

/// What the dashboard asks, with Grafana's variables filled in.
fn questions(dashboard: &Value) -> Vec<String> {
    let mut questions = Vec::new();
    values_of(dashboard, "expr", &mut questions);
    let fill = |text: &&str| text.replace("$__rate_interval", "4s").replace("$instance", ".+");
    questions.iter().map(fill).collect()
}

/// A running Prometheus.
struct Prometheus {
    daemon: Daemon,
    address: String,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// With the files of the example, but for the server's address and shorter times.
    fn start(program: &Path, target: &str) -> Self {
        let folder = folder();
        let config = read("prometheus.yml");
        for part in ["127.0.0.1:8080", "scrape_interval: 5s", "evaluation_interval: 5s"] {
            assert!(config.contains(part), "{part}");
        }
        let config =
            config.replace("127.0.0.1:8080", target).replace("interval: 5s", "interval: 1s");
        fs::write(folder.path().join("prometheus.yml"), config).expect("written");
        // Recorded over a shorter time than that of the test.
        let rules = read("alerts.yml").replace("[5m]", "[5s]");
        fs::write(folder.path().join("alerts.yml"), rules).expect("written");
        let mut command = peers::command(program, folder.path());
        command.current_dir(folder.path());
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        command.args(["--web.listen-address=127.0.0.1:0"]);
        let mut daemon = Daemon::start(&mut command, folder.path());
        let mut address = None;
        let log = folder.path().join("output");
        daemon.wait_until(|| {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let rest = text.split_once("msg=\"Listening on\" address=").map(|(_, rest)| rest);
            let line = rest.and_then(|rest| rest.split_once('\n'));
            address = line.map(|(line, _)| line.trim().to_owned());
            address.is_some()
        });
        Self { daemon, address: address.expect("found"), _folder: folder }
    }

    /// What its API says.
    fn ask(&self, target: &str, parameters: &[(&str, &str)]) -> Value {
        let mut query = String::new();
        for (name, value) in parameters {
            let value = value.bytes().map(|byte| {
                let is_plain = byte.is_ascii_alphanumeric();
                if is_plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
            });
            query += &format!("&{name}={}", value.collect::<String>());
        }
        let place = self.address.parse::<std::net::SocketAddr>().expect("an address").into();
        let request = format!("GET {target}?{query} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        let answer = peers::wire::Peer::connect(&place).exchange(request);
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(body["status"], "success", "{target} {parameters:?}: {body}");
        body["data"].clone()
    }

    /// How many series a question has for an answer.
    fn count(&self, question: &str) -> usize {
        self.ask("/api/v1/query", &[("query", question)])["result"].as_array().map_or(0, Vec::len)
    }
}

/// Requests of every kind, until it is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Load {
    fn start(address: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut client = Client::connect(&address);
            for n in (0..).take_while(|_| !stopped.load(Ordering::Relaxed)) {
                client.put(&format!("/{}", n % 50), vec![b'v'; 100_000]);
                client.get(&format!("/{}", n % 50));
                client.get("/absent");
                thread::sleep(std::time::Duration::from_millis(2));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
#[ignore = "takes Prometheus; .ci/run runs it"]
fn prometheus_knows_every_series_that_rules_and_dashboard_ask_for() {
    let Some(program) = find("prometheus") else { return };
    let saved = folder();
    let snapshot = saved.path().join("snapshot");
    let snapshot = snapshot.to_str().expect("plain characters");
    let server = Server::start(&["--memory", "4MiB", "--snapshot", snapshot]);
    let load = Load::start(server.address().to_owned());
    let mut prometheus = Prometheus::start(&program, server.address());
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).expect("JSON");
    let questions = questions(&dashboard);
    assert!(questions.len() >= 35, "{}", questions.len());

    let mut wanted = names(&read("alerts.yml"));
    questions.iter().for_each(|question| wanted.extend(names(question)));
    // Linux before 6.2 does not count these cheaply.
    let page = server.connect().get("/metrics").line();
    if !page.contains("process_open_fds") {
        wanted.remove("process_open_fds");
    }
    assert!(wanted.len() >= 30, "{wanted:?}");
    let series = |address: &Prometheus| -> Vec<Value> {
        let data = address.ask("/api/v1/label/__name__/values", &[]);
        data.as_array().expect("a list").clone()
    };
    for name in &wanted {
        let daemon = &mut prometheus;
        let mut have = Vec::new();
        let deadline = std::time::Instant::now() + testkit::PATIENCE;
        while !have.iter().any(|have: &Value| have == name.as_str()) {
            assert!(std::time::Instant::now() < deadline, "{name} is not among {have:?}");
            thread::sleep(std::time::Duration::from_millis(100));
            have = series(daemon);
        }
    }
    for question in &questions {
        let is_absent = question.contains("process_open_fds") && !page.contains("process_open_fds");
        if question.contains("changes(") || is_absent {
            prometheus.count(question);
            continue;
        }
        testkit::eventually(question, || prometheus.count(question) > 0);
    }
    // The rules are evaluated without an error, and with this load nothing is wrong but the memory.
    let rules = prometheus.ask("/api/v1/rules", &[]);
    let mut healths = Vec::new();
    values_of(&rules, "health", &mut healths);
    assert!(healths.len() >= 15 && healths.iter().all(|health| *health == "ok"), "{rules}");
    assert_eq!(prometheus.count("up{job=\"corekv\"} == 1"), 1);
    let evicted = "rate(corekv_evicted_total[5s]) > 0";
    testkit::eventually("evictions are seen", || prometheus.count(evicted) == 1);

    drop(load);
    drop(server);
    testkit::eventually("its end is seen", || prometheus.count("up{job=\"corekv\"} == 0") == 1);
    assert!(!prometheus.daemon.output().contains("level=error"), "{}", prometheus.daemon.output());
}

#[test]
#[ignore = "takes promtool; .ci/run runs it"]
fn the_alerts_pass_their_tests_and_the_page_its_lint() {
    let Some(promtool) = find("promtool") else { return };
    let tool = |arguments: &[&str]| {
        let mut command = Command::new(&promtool);
        let output = output_of(command.args(arguments).current_dir(example("")));
        assert!(output.status.success(), "{arguments:?}: {}", both(&output));
    };
    tool(&["check", "config", "prometheus.yml"]);
    tool(&["check", "rules", "alerts.yml"]);
    tool(&["test", "rules", "alerts_test.yml"]);
    // Every alert has a test.
    let (rules, tests) = (read("alerts.yml"), read("alerts_test.yml"));
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let fires = tests.split("alertname: ").skip(1).any(|test| {
            test.lines().next() == Some(alert)
                && test.lines().nth(1).is_some_and(|line| line.contains("exp_labels"))
        });
        assert!(fires, "{alert} never fires in a test");
    }
    let folder = folder();
    let snapshot = folder.path().join("snapshot");
    let server = Server::start(&["--snapshot", snapshot.to_str().expect("plain characters")]);
    let page = server.connect().get("/metrics").line() + "\n";
    let path = folder.path().join("page");
    fs::write(&path, page).expect("written");
    let mut lint = Command::new(&promtool);
    lint.args(["check", "metrics"]).stdin(fs::File::open(&path).expect("a file"));
    let child = lint.output().expect("promtool runs");
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.is_empty(), "{said}");
}

#[test]
#[ignore = "takes Prometheus' library for Python; .ci/run runs it"]
fn the_python_library_of_prometheus_reads_openmetrics() {
    let Some(python) = find_python() else { return };
    let server = Server::start(&["--namespace", "a\\b"]);
    let mut client = server.connect();
    client.put("/1", "x");
    let accept = "Accept: application/openmetrics-text; version=1.0.0";
    let request = format!("GET /metrics HTTP/1.1\r\nHost: t\r\n{accept}\r\n\r\n");
    let folder = folder();
    let path = folder.path().join("page");
    fs::write(&path, client.exchange(request).body).expect("written");
    let script = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
        found = {f.name: f for f in read(open(sys.argv[1]).read())}\n\
        print(len(found), found['corekv_keys'].samples[0].value, found['corekv_requests'].type)";
    let mut command = Command::new(python);
    let output = output_of(command.args(["-c", script]).arg(&path));
    assert!(output.status.success(), "{}", both(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<&str> = said.split_whitespace().collect();
    assert!(words[0].parse::<usize>().expect("a number") > 40, "{said}");
    assert_eq!(words[1..], ["1", "counter"]);
}
