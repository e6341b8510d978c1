//! The page for Prometheus: its form by a strict parser of our own, its numbers by known traffic.

use std::collections::{BTreeMap, HashMap, HashSet};

use testkit::{Client, Response, Server, eventually};

type Labels = BTreeMap<String, String>;

/// One sample line.
#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: Labels,
    value: f64,
}

/// One metric with its samples.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    samples: Vec<Sample>,
}

fn is_name(text: &str, colon: bool) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':');
    !text.is_empty() && text.chars().all(legal) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Labels up to the closing brace, and what follows it.
fn labels(text: &str) -> (Labels, &str) {
    let mut labels = Labels::new();
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return (labels, after);
        }
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("labels {text:?}"));
        assert!(is_name(name, false), "label name {name:?}");
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().unwrap_or_else(|| panic!("unclosed label in {text:?}")) {
                (at, '"') => break at,
                (_, '\\') => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c @ ('\\' | '"'))) => value.push(c),
                    other => panic!("escape {other:?} in {text:?}"),
                },
                (_, c) => value.push(c),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "{name} twice in {text:?}");
        rest = &after[end + 1..];
        if let Some(after) = rest.strip_prefix(',') {
            assert!(!after.starts_with('}'), "a comma at the end of {text:?}");
            rest = after;
        } else {
            assert!(rest.starts_with('}'), "labels {text:?}");
        }
    }
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        _ => {
            assert!(!text.to_lowercase().contains("inf"), "number {text:?}");
            text.parse().unwrap_or_else(|_| panic!("number {text:?}"))
        }
    }
}

/// Parses the text format, version 0.0.4, refusing all that its description does not allow and
/// what good taste forbids: samples without HELP and TYPE before them, in scattered groups.
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line must end");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut seen = HashSet::new();
    for line in text.lines() {
        assert_eq!(line.trim(), line, "white space around {line:?}");
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            assert!(is_name(name, true), "{line:?}");
            assert!(!families.contains_key(name), "{name} has HELP twice");
            name.clone_into(&mut current);
            families.entry(current.clone()).or_default().help = help.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            assert_eq!(name, current, "TYPE must follow its HELP");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line:?}");
            let family = families.get_mut(name).expect("HELP came before");
            assert!(family.kind.is_empty() && family.samples.is_empty(), "{line:?}");
            kind.clone_into(&mut family.kind);
        } else {
            assert!(!line.starts_with('#') && !line.is_empty(), "{line:?}");
            let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line:?}"));
            let name = &line[..end];
            assert!(is_name(name, true), "{line:?}");
            let (labels, value) = match line[end..].strip_prefix('{') {
                Some(rest) => labels(rest),
                None => (Labels::new(), &line[end..]),
            };
            let value = number(value.strip_prefix(' ').unwrap_or_else(|| panic!("{line:?}")));
            let family = families.get_mut(&current).unwrap_or_else(|| panic!("{line:?}"));
            assert!(!family.kind.is_empty(), "{line:?} has no TYPE");
            let belongs = match family.kind.as_str() {
                "histogram" => name
                    .strip_prefix(current.as_str())
                    .is_some_and(|s| ["_bucket", "_sum", "_count"].contains(&s)),
                _ => name == current,
            };
            assert!(belongs, "{line:?} among the samples of {current}");
            assert!(seen.insert((name.to_owned(), labels.clone())), "{line:?} twice");
            family.samples.push(Sample { name: name.to_owned(), labels, value });
        }
    }
    for (name, family) in &families {
        check(name, family);
    }
    families
}

fn check(name: &str, family: &Family) {
    assert!(name.starts_with("corekv_") || name.starts_with("process_"), "{name}");
    assert!(!family.help.is_empty(), "{name} has no help");
    assert!(!family.samples.is_empty(), "{name} has no samples");
    match family.kind.as_str() {
        "counter" => {
            assert!(name.ends_with("_total"), "the counter {name}");
            for sample in &family.samples {
                let is_whole = sample.value.fract() == 0.0 || name.ends_with("_seconds_total");
                assert!(sample.value >= 0.0 && is_whole, "{sample:?}");
            }
        }
        "gauge" => assert!(!name.ends_with("_total"), "the gauge {name}"),
        _ => check_histogram(name, family),
    }
}

fn check_histogram(name: &str, family: &Family) {
    // One histogram per set of labels apart from `le`.
    let mut buckets: HashMap<Labels, Vec<(f64, f64)>> = HashMap::new();
    let mut counts = HashMap::new();
    let mut sums = HashMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le");
        match (sample.name.strip_prefix(name), bound) {
            (Some("_bucket"), Some(bound)) => {
                buckets.entry(labels).or_default().push((number(&bound), sample.value));
            }
            (Some("_count"), None) => drop(counts.insert(labels, sample.value)),
            (Some("_sum"), None) => drop(sums.insert(labels, sample.value)),
            _ => panic!("{sample:?} in {name}"),
        }
    }
    assert!(!buckets.is_empty(), "{name} has no buckets");
    assert_eq!(counts.len(), buckets.len(), "{name}");
    assert_eq!(sums.len(), buckets.len(), "{name}");
    for (labels, buckets) in buckets {
        for pair in buckets.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{name}: bounds out of order in {buckets:?}");
            assert!(pair[0].1 <= pair[1].1, "{name}: buckets are not cumulative: {buckets:?}");
        }
        let (bound, last) = buckets.last().expect("not empty");
        assert!(bound.is_infinite(), "{name}: no bucket for +Inf");
        assert!((last - counts[&labels]).abs() < 0.5, "{name}: +Inf is not the count");
        let sum = sums[&labels];
        assert!(sum >= 0.0 && (sum > 0.0 || counts[&labels] == 0.0 || *last > 0.0), "{name}");
    }
}

fn scrape(client: &mut Client) -> BTreeMap<String, Family> {
    let response = client.get("/metrics");
    assert_eq!(response.status, 200);
    parse(std::str::from_utf8(&response.body).expect("text"))
}

/// The sum of the samples of a metric that have all the given labels.
fn sum(families: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> u64 {
    let family = families.get(name).unwrap_or_else(|| panic!("{name} is missing"));
    family
        .samples
        .iter()
        .filter(|s| labels.iter().all(|(k, v)| s.labels.get(*k).is_some_and(|have| have == v)))
        .map(|s| s.value)
        .sum::<f64>() as u64
}

/// The `_count` or `_sum` of a histogram, over all its label sets.
fn of_histogram(families: &BTreeMap<String, Family>, name: &str, suffix: &str) -> u64 {
    let samples = &families[name].samples;
    let is_wanted = |s: &&Sample| s.name.strip_prefix(name) == Some(suffix);
    samples.iter().filter(is_wanted).map(|s| s.value).sum::<f64>() as u64
}

#[test]
fn the_parser_refuses_what_is_wrong() {
    let good =
        "# HELP corekv_x_total X.\n# TYPE corekv_x_total counter\ncorekv_x_total{a=\"b\"} 1\n";
    assert_eq!(parse(good).len(), 1);
    for bad in [
        "corekv_x_total 1\n",
        "# HELP corekv_x X.\n# TYPE corekv_x counter\ncorekv_x 1\n",
        "# HELP corekv_x_total X.\n# TYPE corekv_x_total counter\ncorekv_x_total{a=b} 1\n",
        "# HELP corekv_x_total X.\n# TYPE corekv_x_total counter\ncorekv_x_total{a=\"b\",} 1\n",
        "# HELP corekv_x_total X.\n# TYPE corekv_x_total counter\ncorekv_x_total 1",
        "# HELP corekv_x_total X.\n# TYPE corekv_x_total counter\ncorekv_x_total 1\ncorekv_x_total 2\n",
        "# HELP corekv_x X.\n# TYPE corekv_x histogram\ncorekv_x_bucket{le=\"1\"} 2\n\
         corekv_x_bucket{le=\"+Inf\"} 1\ncorekv_x_sum 1\ncorekv_x_count 1\n",
        "# HELP corekv_x X.\n# TYPE corekv_x histogram\ncorekv_x_bucket{le=\"1\"} 2\n\
         corekv_x_sum 1\ncorekv_x_count 2\n",
    ] {
        assert!(std::panic::catch_unwind(|| parse(bad)).is_err(), "{bad:?} was accepted");
    }
}

#[test]
fn every_metric_is_there_from_the_start() {
    let server = Server::start(&[]);
    let families = scrape(&mut server.connect());
    for (name, kind) in [
        ("corekv_requests_total", "counter"),
        ("corekv_hits_total", "counter"),
        ("corekv_misses_total", "counter"),
        ("corekv_keys", "gauge"),
        ("corekv_stored_bytes", "gauge"),
        ("corekv_pinned_bytes", "gauge"),
        ("corekv_upload_bytes", "gauge"),
        ("corekv_held_bytes", "gauge"),
        ("corekv_connections_shed_total", "counter"),
        ("corekv_evicted_total", "counter"),
        ("corekv_expired_total", "counter"),
        ("corekv_purged_total", "counter"),
        ("corekv_purges_under_way", "gauge"),
        ("corekv_replaced_total", "counter"),
        ("corekv_deleted_total", "counter"),
        ("corekv_connections_open", "gauge"),
        ("corekv_connections_accepted_total", "counter"),
        ("corekv_connections_refused_total", "counter"),
        ("corekv_connections_turned_away_total", "counter"),
        ("corekv_received_bytes_total", "counter"),
        ("corekv_sent_bytes_total", "counter"),
        ("corekv_connections_limit", "gauge"),
        ("corekv_core_iterations_total", "counter"),
        ("corekv_large_values_deferred_total", "counter"),
        ("corekv_memory_limit_bytes", "gauge"),
        ("corekv_access_log_lines_total", "counter"),
        ("corekv_access_log_lost_lines_total", "counter"),
        ("process_cpu_seconds_total", "counter"),
        ("process_max_fds", "gauge"),
        ("process_resident_memory_bytes", "gauge"),
        ("process_start_time_seconds", "gauge"),
        ("process_threads", "gauge"),
        ("process_virtual_memory_bytes", "gauge"),
        ("corekv_batch_requests", "histogram"),
        ("corekv_batch_seconds", "histogram"),
    ] {
        let family = families.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(family.kind, kind, "{name}");
    }
    let cores = server.cores();
    for name in ["corekv_connections_open", "corekv_connections_accepted_total"] {
        for core in 0..cores {
            let core = core.to_string();
            assert!(
                families[name].samples.iter().any(|s| s.labels.get("core") == Some(&core)),
                "{name} says nothing of core {core}"
            );
        }
    }
}

#[test]
fn the_process_is_described_as_proc_has_it() {
    let server = Server::start(&["--memory", "7MiB", "--connections-max", "17"]);
    let families = scrape(&mut server.connect());
    let value = |name: &str| families[name].samples[0].value;
    assert_eq!(sum(&families, "corekv_memory_limit_bytes", &[]), 7 << 20);
    assert_eq!(sum(&families, "corekv_connections_limit", &[]), 17);
    let folder = format!("/proc/{}", server.pid());
    let threads = std::fs::read_dir(format!("{folder}/task")).expect("task").count();
    assert_eq!(value("process_threads") as usize, threads);
    let resident = server.rss_bytes() as f64;
    let shown = value("process_resident_memory_bytes");
    assert!((0.5..2.0).contains(&(shown / resident)), "{shown} of {resident}");
    if families.contains_key("process_open_fds") {
        let open = std::fs::read_dir(format!("{folder}/fd")).expect("fd").count() as f64;
        assert!((value("process_open_fds") - open).abs() <= 2.0, "{open}");
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let age = now.expect("after 1970").as_secs_f64() - value("process_start_time_seconds");
    assert!((-1.0..600.0).contains(&age), "{age} s old");
}

#[test]
fn the_bounds_of_buckets_are_round() {
    let server = Server::start(&[]);
    let page = server.connect().get("/metrics").line();
    let bounds = page.lines().filter(|line| line.starts_with("corekv_batch_seconds_bucket{le="));
    let bounds: Vec<&str> = bounds.filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(
        bounds[..7],
        ["0.000001", "0.000002", "0.000004", "0.000008", "0.000016", "0.000032", "0.000064"]
    );
    for bound in &bounds {
        assert!(bound.len() <= 9, "{bound}");
    }
}

/// What Prometheus 2.42 sends, which Debian has.
const OF_PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0,\
     application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

fn scrape_as(client: &mut Client, method: &str, accept: &str) -> Response {
    let lines = format!("{method} /metrics HTTP/1.1\r\nHost: t\r\nAccept: {accept}\r\n\r\n");
    client.send(lines);
    if method == "HEAD" { client.response_to_head() } else { client.response() }
}

#[test]
fn the_client_chooses_the_format() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for (accept, is_open) in [
        (OF_PROMETHEUS, true),
        ("application/openmetrics-text", true),
        ("text/plain;q=0.5, application/openmetrics-text;q=0.5", true),
        ("text/plain;q=0.6, application/openmetrics-text;q=0.5", false),
        ("application/openmetrics-text;q=0", false),
        ("application/*", false),
        ("*/*", false),
        ("text/html", false),
        ("", false),
    ] {
        let expected = if is_open {
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        } else {
            "text/plain; version=0.0.4"
        };
        for method in ["GET", "HEAD"] {
            let response = scrape_as(&mut client, method, accept);
            assert_eq!(response.status, 200);
            assert_eq!(response.field("Content-Type"), Some(expected), "{method} {accept}");
            assert_eq!(response.field("Vary"), Some("Accept"));
            assert_eq!(response.body.ends_with(b"\n# EOF\n"), is_open && method == "GET");
        }
    }
    assert_eq!(client.get("/metrics").field("Content-Type"), Some("text/plain; version=0.0.4"));
    // Whether its body comes with the head or after it, one with a body gets the same.
    let head = format!(
        "GET /metrics HTTP/1.1\r\nHost: t\r\nAccept: {OF_PROMETHEUS}\r\nContent-Length: 2\r\n\r\n"
    );
    client.send(format!("{head}xy"));
    assert_eq!(client.response().field("Content-Type"), Some("text/plain; version=0.0.4"));
    client.send(head);
    client.send("GET /absent HTTP/1.1\r\nHost: t\r\n\r\n".replacen("GET ", "xyGET ", 1));
    assert_eq!(client.response().field("Content-Type"), Some("text/plain; version=0.0.4"));
    assert_eq!(client.response().status, 404);
}

/// The same page in the text format, by what differs between the two: where the suffix of a counter
/// stands, how bounds are written, and the last line.
fn from_openmetrics(page: &str) -> String {
    let page = page.strip_suffix("# EOF\n").expect("an end");
    let mut text = String::new();
    let counters: HashSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                assert!(!name.ends_with("_total"), "{line}");
                text += &format!("# {what} {name}_total {rest}\n");
            }
            _ => {
                if let Some(bound) = line.split("le=\"").nth(1) {
                    let bound = bound.split('"').next().expect("an end");
                    assert!(bound == "+Inf" || bound.contains(['.', 'e']), "{line}");
                }
                text += &format!("{line}\n");
            }
        }
    }
    text
}

#[test]
fn openmetrics_says_the_same_as_the_text_format() {
    let server = Server::start(&["--namespace", "a"]);
    let mut client = server.connect();
    client.put("/a/1", "x");
    let plain = scrape(&mut client);
    let page = scrape_as(&mut client, "GET", OF_PROMETHEUS).body;
    let open = parse(&from_openmetrics(std::str::from_utf8(&page).expect("text")));
    assert_eq!(plain.keys().collect::<Vec<_>>(), open.keys().collect::<Vec<_>>());
    let outline = |family: &Family| -> Vec<(String, Labels)> {
        let mut samples: Vec<_> = family
            .samples
            .iter()
            .map(|sample| {
                let mut labels = sample.labels.clone();
                if let Some(bound) = labels.get_mut("le") {
                    *bound = number(bound).to_string();
                }
                (sample.name.clone(), labels)
            })
            .collect();
        samples.sort();
        samples
    };
    for (name, family) in &plain {
        let other = &open[name];
        assert_eq!((&family.kind, &family.help), (&other.kind, &other.help), "{name}");
        assert_eq!(outline(family), outline(other));
    }
    assert_eq!(sum(&open, "corekv_namespace_keys", &[("namespace", "a")]), 1);
}

#[test]
fn every_loop_iterates_though_nothing_is_asked_of_it() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let iterations = |client: &mut Client| -> Vec<u64> {
        let families = scrape(client);
        families["corekv_core_iterations_total"].samples.iter().map(|s| s.value as u64).collect()
    };
    let before = iterations(&mut client);
    eventually("every loop made two more", || {
        iterations(&mut client).iter().zip(&before).all(|(now, before)| now >= &(before + 2))
    });
}

#[test]
fn the_numbers_add_up() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut others: Vec<_> = (0..5).map(|_| server.connect()).collect();
    for n in 0..10 {
        assert_eq!(client.put(&format!("/k{n}"), "1234567890").status, 201);
    }
    for n in 0..4 {
        assert_eq!(client.put(&format!("/k{n}"), "12345").status, 204);
    }
    for n in 0..3 {
        assert_eq!(client.call("DELETE", &format!("/k{n}")).status, 204);
    }
    client.call("DELETE", "/absent");
    for other in &mut others {
        for _ in 0..20 {
            assert_eq!(other.get("/k9").status, 200);
        }
        for _ in 0..7 {
            assert_eq!(other.get("/absent").status, 404);
        }
        assert_eq!(other.call("HEAD", "/k9").status, 200);
        assert_eq!(other.call("HEAD", "/absent").status, 404);
    }
    client.call("PATCH", "/k9");
    client.call("FROB", "/k9");
    let post = "POST /p HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nv";
    assert_eq!(client.exchange(post).status, 201);

    let families = scrape(&mut client);
    let requests = |method: &str, status: &str| {
        sum(&families, "corekv_requests_total", &[("method", method), ("status", status)])
    };
    assert_eq!(requests("PUT", "2xx"), 14);
    assert_eq!(requests("POST", "2xx"), 1);
    assert_eq!(requests("DELETE", "2xx"), 3);
    assert_eq!(requests("DELETE", "4xx"), 1);
    assert_eq!(requests("HEAD", "2xx"), 5);
    assert_eq!(requests("HEAD", "4xx"), 5);
    assert_eq!(requests("GET", "4xx"), 35);
    // The scrape itself may be counted already or not yet.
    assert!((100..=101).contains(&requests("GET", "2xx")), "{}", requests("GET", "2xx"));
    assert_eq!(sum(&families, "corekv_requests_total", &[("status", "5xx")]), 1, "the 501");
    let all = sum(&families, "corekv_requests_total", &[]);
    assert!((166..=167).contains(&all), "{all}");

    assert_eq!(sum(&families, "corekv_hits_total", &[]), 105);
    assert_eq!(sum(&families, "corekv_misses_total", &[]), 40);
    assert_eq!(sum(&families, "corekv_keys", &[]), 8);
    assert_eq!(sum(&families, "corekv_replaced_total", &[]), 4);
    assert_eq!(sum(&families, "corekv_deleted_total", &[]), 3);
    assert_eq!(sum(&families, "corekv_evicted_total", &[]), 0);
    assert_eq!(sum(&families, "corekv_expired_total", &[]), 0);
    assert!(sum(&families, "corekv_stored_bytes", &[]) > 0);
    assert_eq!(sum(&families, "corekv_connections_open", &[]), 6);
    assert_eq!(sum(&families, "corekv_connections_accepted_total", &[]), 6);
    assert!(of_histogram(&families, "corekv_batch_requests", "_count") > 0);
    assert!(of_histogram(&families, "corekv_batch_seconds", "_count") > 0);
    // A core counts a batch after its answers may have been read; every look is a request more.
    let mut looks = 0;
    eventually("every request is in one batch", || {
        let batched = of_histogram(&scrape(&mut client), "corekv_batch_requests", "_sum");
        looks += 1;
        (166 + looks..=167 + looks).contains(&batched)
    });

    drop(others);
    eventually("the closed connections are not counted", || {
        sum(&scrape(&mut client), "corekv_connections_open", &[]) == 1
    });
    assert_eq!(sum(&scrape(&mut client), "corekv_connections_accepted_total", &[]), 6);
}

/// How many requests the page says were answered, as of the moment that it was rendered.
fn answered(response: &Response) -> u64 {
    let families = parse(std::str::from_utf8(&response.body).expect("text"));
    sum(&families, "corekv_requests_total", &[])
}

#[test]
fn a_flood_of_scrapes_renders_the_page_a_bounded_number_of_times() {
    const SCRAPES: usize = 2_000;
    let server = Server::start(&["--cores", "0"]);
    let mut client = server.connect();
    let mut writer = client.stream.try_clone().expect("a second handle");
    let started = std::time::Instant::now();
    let sender = std::thread::spawn(move || {
        std::io::Write::write_all(
            &mut writer,
            "GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n".repeat(SCRAPES).as_bytes(),
        )
    });
    let pages: Vec<u64> = (0..SCRAPES).map(|_| answered(&client.response())).collect();
    let intervals = started.elapsed().as_millis() / 100 + 2;
    sender.join().expect("no panic").expect("everything is sent");
    // Each rendering counts the request before it, so no two of them are the same.
    let mut renderings = pages.clone();
    renderings.dedup();
    assert!(pages.is_sorted(), "a page is older than the one before it");
    assert!(
        renderings.len() as u128 <= 32 * intervals,
        "{} of {SCRAPES} pages in {intervals} intervals were rendered",
        renderings.len()
    );
    // Whoever asks once in a while is shown how things are.
    eventually("the page is as of now", || answered(&client.get("/metrics")) >= SCRAPES as u64);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let before = answered(&client.get("/metrics"));
    assert_eq!(client.get("/k").status, 404);
    assert_eq!(answered(&client.get("/metrics")), before + 2);
}

#[test]
fn bytes_are_counted_as_they_cross_the_wire() {
    let server = Server::start(&["--admin", "127.0.0.1:0"]);
    let mut admin = Client::connect(server.admin.as_deref().expect("an admin address"));
    let mut client = server.connect();
    let bytes = |admin: &mut Client| {
        let families = scrape(admin);
        (
            sum(&families, "corekv_received_bytes_total", &[]),
            sum(&families, "corekv_sent_bytes_total", &[]),
        )
    };
    let before = bytes(&mut admin);
    let value = vec![b'v'; 1_000_000];
    let put =
        "PUT /k HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n".len() + value.len();
    let get = "GET /k HTTP/1.1\r\nHost: test\r\n\r\n".len();
    let mut sent = 0;
    sent += client.put("/k", &value).head.len();
    for _ in 0..3 {
        let response = client.get("/k");
        sent += response.head.len() + response.body.len();
    }
    let (received, sent) = ((put + 3 * get) as u64, sent as u64);
    // A core counts what it sent after the client may have read it.
    let mut after = before;
    eventually("everything is counted", || {
        after = bytes(&mut admin);
        after.0 - before.0 >= received && after.1 - before.1 >= sent
    });
    // The admin's own scrapes count, too: pages and requests of some kilobytes.
    let slack = 500_000;
    assert!(after.0 - before.0 < received + slack, "received more than {received}");
    assert!(after.1 - before.1 < sent + slack, "sent more than {sent}");
}

#[test]
fn expirations_are_counted_and_their_bytes_given_back() {
    let server = Server::start(&["--ttl", "1s"]);
    let mut client = server.connect();
    for n in 0..100 {
        client.put(&format!("/k{n}"), vec![0; 10_000]);
    }
    let full = sum(&scrape(&mut client), "corekv_stored_bytes", &[]);
    assert!(full >= 1_000_000, "{full}");
    eventually("everything has expired", || {
        let families = scrape(&mut client);
        sum(&families, "corekv_expired_total", &[]) == 100
            && sum(&families, "corekv_keys", &[]) == 0
            && sum(&families, "corekv_stored_bytes", &[]) < full / 4
    });
    assert_eq!(sum(&scrape(&mut client), "corekv_evicted_total", &[]), 0);
}

#[test]
fn a_pipeline_is_one_batch_or_few() {
    let server = Server::start(&["--cores", "0"]);
    let mut client = server.connect();
    let before = scrape(&mut client);
    let batches = of_histogram(&before, "corekv_batch_requests", "_count");
    for _ in 0..20 {
        client.send("GET /k HTTP/1.1\r\nHost: t\r\n\r\n".repeat(10));
        for _ in 0..10 {
            client.response();
        }
    }
    let grown = of_histogram(&scrape(&mut client), "corekv_batch_requests", "_count") - batches;
    // Each pipeline was one write of 300 bytes, which arrives whole on the loopback.
    assert!((20..=42).contains(&grown), "200 requests in {grown} batches");
}

#[test]
fn a_refused_body_is_counted_under_its_method() {
    let server = Server::start(&["--memory", "16MiB", "--value-bytes-max", "64MiB"]);
    let too_long = "Content-Length: 67108865\r\n\r\n";
    let chunk_too_long = "Transfer-Encoding: chunked\r\n\r\n4000001\r\n";
    let no_chunk = "Transfer-Encoding: chunked\r\n\r\nx";
    for (method, rest, status) in [
        ("PUT", too_long, 413),
        ("POST", too_long, 413),
        ("GET", too_long, 413),
        ("PUT", chunk_too_long, 413),
        ("POST", no_chunk, 400),
        ("PUT", "Expect: 100-continue\r\nContent-Length: 60000000\r\n\r\n", 507),
    ] {
        let mut client = server.connect();
        let head = format!("{method} /k HTTP/1.1\r\nHost: t\r\n{rest}");
        assert_eq!(client.exchange(head).status, status, "{method} {rest}");
    }
    let families = scrape(&mut server.connect());
    let requests = |method: &str, status: &str| {
        sum(&families, "corekv_requests_total", &[("method", method), ("status", status)])
    };
    assert_eq!(requests("PUT", "4xx"), 2);
    assert_eq!(requests("PUT", "5xx"), 1);
    assert_eq!(requests("POST", "4xx"), 2);
    assert_eq!(requests("GET", "4xx"), 1);
    assert_eq!(requests("unknown", "4xx"), 0);
}
