//! The command line: what it accepts, what it says, and how it ends.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use testkit::{Killed, PATIENCE, Server, command, eventually};

/// Every flag that takes a value, with the text of its default where it has one.
const FLAGS: [(&str, Option<&str>); 20] = [
    ("--listen", Some("127.0.0.1:8080")),
    ("--cores", Some("auto")),
    ("--no-pin", None),
    ("--ttl", None),
    ("--miss-status", Some("404")),
    ("--admin", None),
    ("--host", None),
    ("--key-bytes-max", Some("1KiB")),
    ("--value-bytes-max", Some("256MiB")),
    ("--header-bytes-max", Some("16KiB")),
    ("--connections-max", Some("65536")),
    ("--header-timeout", Some("10s")),
    ("--body-timeout", Some("30s")),
    ("--min-rate", Some("1KiB")),
    ("--min-rate-grace", Some("10s")),
    ("--idle-timeout", Some("60s")),
    ("--drain-timeout", Some("10s")),
    ("--no-date", None),
    ("--busy-poll", None),
    ("--log-level", None),
];

/// Runs a command that ought to end by itself.
#[track_caller]
fn run(mut command: Command) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("it can be waited for").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("{command:?} does not end");
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.wait_with_output().expect("its output can be read")
}

/// Checks that a command fails with this code and one line on stderr; gives the line.
#[track_caller]
fn fails(command: Command, code: i32) -> String {
    let shown = format!("{command:?}");
    let output = run(command);
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{shown}\n{error}");
    assert!(error.starts_with("error: "), "{shown}\n{error}");
    assert_eq!(error.trim_end_matches('\n').lines().count(), 1, "{shown}: not one line\n{error}");
    error
}

#[test]
fn help_explains_every_flag_and_its_default() {
    for flag in ["--help", "-h"] {
        let output = run(command(&[flag]));
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stderr.is_empty());
        let help = String::from_utf8(output.stdout).expect("text");
        for (flag, default) in FLAGS {
            let at = help
                .find(&format!("{flag} "))
                .or_else(|| help.find(&format!("{flag}\n")))
                .unwrap_or_else(|| panic!("{flag} is missing:\n{help}"));
            // The text of a flag goes on to the next flag.
            let text = &help[at + flag.len()..];
            let end = text.find("\n      --").or_else(|| text.find("\n  -")).unwrap_or(text.len());
            let text = &text[..end];
            assert!(text.split_whitespace().count() >= 3, "{flag} is not explained:\n{text}");
            let variable = format!("COREKV_{}", flag[2..].to_uppercase().replace('-', "_"));
            assert!(text.contains(&variable), "{flag} does not name {variable}:\n{text}");
            if let Some(default) = default {
                assert!(text.contains(default), "{flag} does not name {default}:\n{text}");
            }
        }
    }
}

#[test]
fn version_is_the_packages() {
    let output = run(command(&["--version"]));
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.trim_end(), concat!("corekv ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_value_is_one_line_and_exit_code_2() {
    for flags in [
        &["--ttl", "500ms"][..],
        &["--ttl", "0s"],
        &["--ttl", "1.5s"],
        &["--ttl=-1s"],
        &["--ttl", "5"],
        &["--ttl", "1500ms"],
        &["--ttl", ""],
        &["--ttl", "1y"],
        &["--ttl", "3651d"],
        &["--miss-status", "403"],
        &["--miss-status", "x"],
        &["--key-bytes-max", "0"],
        &["--key-bytes-max", "x"],
        &["--key-bytes-max", "-1"],
        &["--value-bytes-max", "32XB"],
        &["--value-bytes-max", "99999999999999999999"],
        &["--value-bytes-max", "99999999999GiB"],
        &["--header-bytes-max", "KiB"],
        &["--connections-max", "0"],
        &["--connections-max", "many"],
        &["--header-timeout", "x"],
        &["--body-timeout", "10"],
        &["--idle-timeout", "10 s s"],
        &["--drain-timeout", "s"],
        &["--drain-timeout", "0s"],
        &["--idle-timeout", "3651d"],
        &["--min-rate", "1KB/s"],
        &["--min-rate", "2GiB"],
        &["--min-rate-grace", "0ms"],
        &["--memory", "1023KiB"],
        &["--memory", "16385GiB"],
        &["--ttl", "10000d"],
        &["--key-bytes-max", "8001"],
        &["--value-bytes-max", "0"],
        &["--header-bytes-max", "1025KiB"],
        &["--connections-max", "2000000000"],
        &["--unix-mode", "1777"],
        &["--cores", "1024"],
        &["--cores", "x"],
        &["--cores", ""],
        &["--cores", "0,0"],
        &["--cores", "3-1"],
        &["--cores", "0-"],
        &["--listen", "nonsense"],
        &["--listen", "127.0.0.1:99999"],
        &["--listen", "127.0.0.1"],
        &["--admin", "nonsense"],
        &["--host", ""],
        &["--host", "cache.example:80"],
        &["--host", "http://cache.example"],
        &["--host", "*.example"],
        &["--log-level", "loud"],
        &["--no-such-flag"],
        &["surplus"],
        &["--ttl"],
    ] {
        let mut command = command(flags);
        if flags[0] != "--listen" {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let error = fails(command, 2);
        if flags.len() == 2 && !flags[1].is_empty() {
            assert!(
                error.contains(flags[1]) || error.contains(flags[0]),
                "{flags:?}: the line names neither the flag nor the value: {error}"
            );
        }
    }
}

#[test]
fn a_port_in_use_is_one_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let error = fails(command(&["--listen", &address]), 1);
    assert!(error.contains(&address), "{error}");
    let error = fails(command(&["--listen", "127.0.0.1:0", "--admin", &address]), 1);
    assert!(error.contains(&address), "{error}");
    // A second server on the port of a first one must not share it silently.
    let server = Server::start(&[]);
    fails(command(&["--listen", server.address()]), 1);
}

#[test]
fn an_address_of_another_machine_is_one_line_and_exit_code_1() {
    // An address for documentation (RFC 5737), which no machine has.
    let output = run(command(&["--listen", "192.0.2.1:0"]));
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).expect("text");
    // A line before it may warn that the address would be open to others.
    let line = error.trim_end().lines().last().unwrap_or_default();
    assert!(line.starts_with("error: ") && line.contains("192.0.2.1"), "{error}");
}

#[test]
fn a_missing_core_is_one_line_and_exit_code_1() {
    for cores in ["999", "0,999", "998-999"] {
        let error = fails(command(&["--listen", "127.0.0.1:0", "--cores", cores]), 1);
        assert!(error.contains("99"), "{error}");
    }
}

#[test]
fn memory_for_fewer_event_loops_is_one_line_and_exit_code_1() {
    let flags = ["--no-pin", "--cores", "0-63", "--listen", "127.0.0.1:0"];
    let mut little = command(&flags);
    little.args(["--memory", "1MiB"]);
    let error = fails(little, 1);
    for part in ["--memory", "64 event loops", "--cores", "16384KiB"] {
        assert!(error.contains(part), "{part} is missing: {error}");
    }
    let mut least = command(&flags);
    least.args(["--memory", "16MiB"]);
    let server = Server::spawn(least);
    let mut client = server.connect();
    // With the least memory, values of all kinds are held in any partition.
    for n in 0..200 {
        for len in [5, 3_000, 60_000, 1_000_000] {
            assert_eq!(client.put(&format!("/k{n}"), vec![b'v'; len]).status / 100, 2, "{len}");
            assert_eq!(client.get(&format!("/k{n}")).body.len(), len);
        }
    }
}

#[test]
fn every_flag_is_an_environment_variable() {
    let mut program = command(&["--listen", "127.0.0.1:0"]);
    program
        .env("COREKV_MISS_STATUS", "204")
        .env("COREKV_KEY_BYTES_MAX", "4")
        .env("COREKV_VALUE_BYTES_MAX", "2KiB")
        .env("COREKV_NO_DATE", "true")
        .env("COREKV_ADMIN", "127.0.0.1:0")
        .env("COREKV_CORES", "0");
    let server = Server::spawn(program);
    assert_eq!(server.cores(), 1);
    assert!(server.admin.is_some());
    let mut client = server.connect();
    assert_eq!(client.get("/k").text(), "HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(client.get("/12345").status, 414);
    assert_eq!(client.put("/k", vec![0; 2048]).status, 201);
    assert_eq!(client.put("/k", vec![0; 2049]).status, 413);

    // A flag beats the variable.
    let mut program = command(&["--listen", "127.0.0.1:0", "--miss-status", "404"]);
    program.env("COREKV_MISS_STATUS", "204");
    let server = Server::spawn(program);
    assert_eq!(server.connect().get("/k").status, 404);

    // The address, too.
    let mut program = command(&[]);
    program.env("COREKV_LISTEN", "127.0.0.1:0");
    let server = Server::spawn(program);
    assert_eq!(server.connect().get("/k").status, 404);

    for (name, value) in
        [("COREKV_TTL", "500ms"), ("COREKV_CORES", "x"), ("COREKV_IDLE_TIMEOUT", "soon")]
    {
        let mut program = command(&["--listen", "127.0.0.1:0"]);
        program.env(name, value);
        fails(program, 2);
    }
}

#[test]
fn sizes_and_durations_have_units() {
    for (flag, value) in [
        ("--key-bytes-max", "512"),
        ("--key-bytes-max", "2KiB"),
        ("--value-bytes-max", "1MiB"),
        ("--value-bytes-max", "1GiB"),
        ("--header-timeout", "500ms"),
        ("--body-timeout", "5s"),
        ("--idle-timeout", "30m"),
        ("--drain-timeout", "2h"),
        ("--idle-timeout", "1d"),
        ("--ttl", "1s"),
        ("--ttl", "30m"),
        ("--ttl", "2h"),
        ("--ttl", "1d"),
        ("--ttl", "3107d"),
        ("--ttl", "3650d"),
    ] {
        let server = Server::start(&[flag, value]);
        assert_eq!(server.connect().get("/k").status, 404, "{flag} {value}");
    }
}

/// The program under a limit on its address space.
fn within_address_space(kibibytes: u64, flags: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -v {kibibytes} && exec \"$0\" \"$@\"")]);
    shell.arg(command(&[]).get_program()).args(["--listen", "127.0.0.1:0", "--no-pin"]).args(flags);
    shell
}

#[test]
fn too_little_address_space_is_one_line_that_says_what_to_do() {
    let error = fails(within_address_space(1 << 20, &["--memory", "1GiB", "--cores", "0"]), 1);
    for part in ["1024 MiB", "RLIMIT_AS", "ulimit -v", "--memory"] {
        assert!(error.contains(part), "{part} is missing: {error}");
    }
}

#[test]
fn a_server_is_content_with_twice_its_memory_of_address_space() {
    let flags = ["--memory", "300MiB", "--cores", "0"];
    // And a little for the program itself.
    let server = Server::spawn(within_address_space(2 * (300 << 10) + (4 << 10), &flags));
    let mut client = server.connect();
    for key in 0..40 {
        assert_eq!(client.put(&format!("/{key}"), vec![key; 8 << 20]).status, 201);
    }
    assert_eq!(client.get("/39").body, vec![39; 8 << 20]);
}

#[test]
fn reserved_memory_is_not_committed() {
    // With vm.overcommit_memory=2 the kernel counts what may be written to, which is `VmData`.
    let server = Server::start(&["--memory", "64GiB"]);
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("status");
    let kibibytes = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    assert!(kibibytes("VmSize:") > 64 << 20, "{status}");
    assert!(kibibytes("VmData:") < 1 << 20, "{status}");
}

/// Name and allowed cores of the server's event loops, by name.
///
/// The loops name and pin themselves, which the first answers may overtake.
fn loops(server: &Server) -> Vec<(String, String)> {
    let cores = server.cores();
    eventually("every loop has its name", || loops_now(server).len() == cores);
    loops_now(server)
}

fn loops_now(server: &Server) -> Vec<(String, String)> {
    let mut loops: Vec<_> = fs::read_dir(format!("/proc/{}/task", server.pid()))
        .expect("task")
        .filter_map(|task| {
            let path = task.ok()?.path();
            let name = fs::read_to_string(path.join("comm")).ok()?.trim_end().to_owned();
            let status = fs::read_to_string(path.join("status")).ok()?;
            let list = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:"))?;
            let number = name.strip_prefix("corekv-")?;
            number.parse::<usize>().ok()?;
            Some((name, list.trim().to_owned()))
        })
        .collect();
    loops.sort();
    loops
}

#[test]
fn one_event_loop_per_core_each_pinned_to_its_own() {
    let cores = corekv::net::allowed_cores().expect("the cores are known");
    let server = Server::start(&[]);
    assert_eq!(server.cores(), cores.len());
    let pinned: Vec<_> = loops(&server).into_iter().map(|(_, list)| list).collect();
    for core in &cores {
        assert!(pinned.contains(&core.to_string()), "no loop is pinned to {core}: {pinned:?}");
    }

    let last = cores.last().expect("at least one").to_string();
    let server = Server::start(&["--cores", &last]);
    assert_eq!(loops(&server), [("corekv-0".to_owned(), last)]);

    let list = cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let server = Server::start(&["--cores", &list]);
    assert_eq!(server.cores(), cores.len());

    let server = Server::start(&["--no-pin"]);
    let everywhere = fs::read_to_string("/proc/self/status").expect("status");
    for (name, list) in loops(&server) {
        assert!(
            everywhere.contains(&format!("Cpus_allowed_list:\t{list}\n")),
            "{name} may run on {list} only"
        );
    }
}

#[test]
fn auto_means_the_cores_that_the_process_may_use() {
    let core =
        *corekv::net::allowed_cores().expect("the cores are known").last().expect("at least one");
    let program = command(&[]);
    let mut taskset = Command::new("taskset");
    taskset
        .args(["-c", &core.to_string()])
        .arg(program.get_program())
        .args(["--listen", "127.0.0.1:0"]);
    if Command::new("taskset").arg("--version").output().is_err() {
        eprintln!("skipped: taskset is not installed");
        return;
    }
    let server = Server::spawn(taskset);
    assert_eq!(loops(&server), [("corekv-0".to_owned(), core.to_string())]);
    assert_eq!(server.connect().get("/k").status, 404);
}

/// A control group with a CPU quota of one core; it goes with the value.
struct OneCore(PathBuf);

impl OneCore {
    /// `None` where this process may not make one.
    fn create() -> Option<Self> {
        let name = format!("corekv-test-{}", std::process::id());
        let of_version_1 = Path::new("/sys/fs/cgroup/cpu").is_dir();
        let mount = if of_version_1 { "/sys/fs/cgroup/cpu" } else { "/sys/fs/cgroup" };
        let group = Self(Path::new(mount).join(name));
        fs::create_dir(&group.0).ok()?;
        let write = |file: &str, text| fs::write(group.0.join(file), text).ok();
        if of_version_1 {
            write("cpu.cfs_period_us", "100000")?;
            write("cpu.cfs_quota_us", "100000")?;
        } else {
            write("cpu.max", "100000 100000")?;
        }
        Some(group)
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn auto_means_no_more_cores_than_the_cpu_quota_is_worth() {
    let Some(group) = OneCore::create() else {
        eprintln!("skipped: no control group can be made here");
        return;
    };
    let program = command(&[]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "echo $$ > \"$1/cgroup.procs\"; exec \"$0\" --listen 127.0.0.1:0"])
        .arg(program.get_program())
        .arg(&group.0);
    let server = Server::spawn(shell);
    assert_eq!(loops(&server).len(), 1);
    assert_eq!(server.connect().get("/k").status, 404);
    eventually("the quota is named", || server.stderr().contains("CPU quota: 1.00 cores"));
    drop(server);
    eventually("the group is empty", || fs::remove_dir(&group.0).is_ok());
}

#[test]
fn a_busy_polling_server_serves() {
    let server = Server::start(&["--busy-poll", "--cores", "0"]);
    let mut client = server.connect();
    assert_eq!(client.put("/k", "v").status, 201);
    assert_eq!(client.get("/k").line(), "v");
}

#[test]
fn requests_are_not_logged_and_stdout_is_for_the_addresses() {
    let server = Server::start(&[]);
    let before = server.stderr();
    let mut client = server.connect();
    for _ in 0..100 {
        client.get("/some-key-in-a-log");
    }
    client.exchange("BROKEN\r\n\r\n");
    assert!(!server.stderr().contains("some-key-in-a-log"));
    assert!(server.stderr().len() < before.len() + 2_000, "{}", server.stderr());
}

#[test]
fn a_log_that_nobody_reads_or_that_is_closed_hangs_and_ends_nothing() {
    let (reader, mut full) = std::io::pipe().expect("a pipe");
    let flags = rustix::fs::fcntl_getfl(&full).expect("flags");
    rustix::fs::fcntl_setfl(&full, flags | rustix::fs::OFlags::NONBLOCK).expect("O_NONBLOCK");
    while std::io::Write::write(&mut full, &[b'x'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&full, flags).expect("as before");
    let broken = fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    for stderr in [Stdio::from(full), Stdio::from(broken)] {
        let mut command = command(&["--listen", "127.0.0.1:0", "--log-level", "debug"]);
        let child = command.stdout(Stdio::piped()).stderr(stderr).spawn();
        let mut child = Killed(child.expect("the program starts"));
        let mut said = std::io::BufReader::new(child.0.stdout.take().expect("piped"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut said, &mut line).expect("a line");
        let address = line.trim_end().strip_prefix("listening on http://").expect("an address");
        let pid = rustix::process::Pid::from_child(&child.0);
        // Each makes the server say something.
        for _ in 0..3 {
            rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it runs");
            assert_eq!(testkit::Client::connect(address).get("/k").status, 404);
        }
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        while child.0.try_wait().expect("it can be waited for").is_none() {
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(child.0.wait().expect("it ended").code(), Some(0));
    }
    drop(reader);
}

#[test]
fn a_server_that_cannot_say_that_it_is_ready_ends() {
    let full = fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let mut command = command(&["--listen", "127.0.0.1:0"]);
    let output = command.stdout(full).stderr(Stdio::piped()).output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: can't write to standard output: "), "{said}");
}
