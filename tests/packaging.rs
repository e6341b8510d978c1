//! The Debian package is built, installed below a folder, started as its unit says and removed; the
//! units are checked by systemd's own tools; the container's command runs with nothing but the
//! program and its libraries beside it. Each test installs programs or needs to be root; `.ci/run`
//! runs them.

mod peers;

use std::collections::HashSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use peers::{both, find, output_of};
use rustix::process::{Signal, geteuid};
use testkit::{Client, Server, command};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a command prints, which has to succeed.
#[track_caller]
fn print_of(command: &mut Command) -> String {
    let output = output_of(command);
    assert!(output.status.success(), "{command:?}: {}", both(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// The value of a line of a unit.
fn setting<'a>(unit: &'a str, name: &str) -> &'a str {
    let line = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("{name} is missing"))
}

fn is_root() -> bool {
    if !geteuid().is_root() {
        eprintln!("skipped: it takes root");
    }
    geteuid().is_root()
}

/// The folder of the programs that were built for the tests, both of them.
fn binaries() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_corekv")).parent().expect("a folder").to_owned();
    if !folder.join("corekv-bench").is_file() {
        let mut cargo = Command::new(env!("CARGO"));
        print_of(cargo.args(["build", "--locked", "-p", "corekv-bench"]).current_dir(repository()));
    }
    folder
}

/// dpkg, which does all below a folder, and runs the package's scripts for it.
fn dpkg(root: &Path) -> Command {
    let database = root.join("var/lib/dpkg");
    for folder in ["info", "updates", "triggers"] {
        fs::create_dir_all(database.join(folder)).expect("a folder");
    }
    for file in ["status", "available"] {
        fs::OpenOptions::new().create(true).append(true).open(database.join(file)).expect("a file");
    }
    let mut dpkg = Command::new("dpkg");
    dpkg.arg(format!("--instdir={}", root.display()));
    dpkg.arg(format!("--admindir={}", database.display()));
    dpkg.arg(format!("--log={}/log", database.display()));
    // What it depends on is the machine's.
    dpkg.args(["--force-script-chrootless", "--force-depends"]);
    dpkg
}

/// Starts what a line of a unit says, with everything below a folder, and tells that it is ready.
fn start_unit(unit: &str, root: &Path) -> Server {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    let words = setting(unit, "ExecStart").split(' ').map(|word| {
        if word.starts_with('/') { format!("{}{word}", root.display()) } else { word.to_owned() }
    });
    let words: Vec<String> = words.collect();
    let mut command = Command::new(&words[0]);
    // The port of the configuration may be taken here; the environment goes before it.
    command.args(&words[1..]).env("COREKV_LISTEN", "127.0.0.1:0").env("NOTIFY_SOCKET", &path);
    let server = Server::spawn(command);
    manager.set_read_timeout(Some(Duration::from_secs(30))).expect("SO_RCVTIMEO");
    let mut message = [0; 4096];
    let len = manager.recv(&mut message).expect("a message");
    assert!(message[..len].starts_with(b"READY=1\n"));
    server
}

#[test]
#[ignore = "builds and installs a package; .ci/run runs it"]
fn the_debian_package_installs_starts_and_goes() {
    if !is_root() || find("dpkg-shlibdeps").is_none() || find("deb-systemd-helper").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (root, out) = (folder.path().join("root"), folder.path().join("out"));
    let mut build = Command::new(repository().join("packaging/build-deb"));
    let package = print_of(build.arg(&out).env("BINARIES", binaries()));
    let package = package.trim();
    let fields = print_of(Command::new("dpkg-deb").args(["--field", package]));
    assert!(fields.contains("Depends: libc6 (>="), "{fields}");
    assert!(fields.contains(concat!("Version: ", env!("CARGO_PKG_VERSION"))), "{fields}");

    print_of(dpkg(&root).args(["--install", package]));
    let wanted = root.join("etc/systemd/system/multi-user.target.wants/corekv.service");
    assert!(wanted.symlink_metadata().is_ok(), "the service is not enabled");
    let manual = root.join("usr/share/man/man1/corekv.1.gz");
    assert!(print_of(Command::new("zcat").arg(manual)).contains(".TH corekv 1"));
    let unit = fs::read_to_string(root.join("lib/systemd/system/corekv.service")).expect("a unit");
    let mut server = start_unit(&unit, &root);
    assert_eq!(server.connect().put("/k", "v").status, 201);
    let text = server.connect().get("/metrics").line();
    assert!(text.contains(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")));
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));

    // A configuration that was changed survives the same version again, and its removal.
    let config = root.join("etc/corekv/corekv.toml");
    fs::write(&config, "miss-status = 204\n").expect("written");
    print_of(dpkg(&root).args(["--force-confold", "--install", package]));
    print_of(dpkg(&root).args(["--remove", "corekv"]));
    assert_eq!(fs::read_to_string(&config).expect("it is there"), "miss-status = 204\n");
    assert!(!root.join("usr/bin/corekv").exists());
    print_of(dpkg(&root).args(["--purge", "corekv"]));
    assert!(!config.exists() && wanted.symlink_metadata().is_err());
}

#[test]
#[ignore = "takes systemd; .ci/run runs it"]
fn the_units_are_sound_by_systemds_own_judgement() {
    let Some(analyze) = find("systemd-analyze") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["corekv.service", "corekv.socket", "corekv-admin.socket"] {
        let unit = read(&format!("packaging/systemd/{name}"));
        let here = unit.replace("/usr/bin/corekv", env!("CARGO_BIN_EXE_corekv"));
        fs::write(folder.path().join(name), here).expect("written");
    }
    for name in ["corekv.service", "corekv.socket", "corekv-admin.socket"] {
        let mut verify = Command::new(&analyze);
        let output = output_of(verify.args(["verify", "--man=no"]).arg(folder.path().join(name)));
        let said = both(&output);
        assert!(output.status.success() && !said.contains(name), "{said}");
    }
    // The exposure in tenths: 0 is nothing, 100 all.
    let mut security = Command::new(&analyze);
    security.args(["security", "--no-pager", "--offline=true", "--threshold=15"]);
    let text = print_of(security.arg(folder.path().join("corekv.service")));
    eprintln!("{}", text.lines().last().unwrap_or_default());
}

/// The system calls of a group, and of the groups within it.
fn group(groups: &str, name: &str, calls: &mut HashSet<String>) {
    let of_group = groups.lines().skip_while(|line| *line != name).skip(1);
    for word in of_group.take_while(|line| !line.starts_with('@')).map(str::trim) {
        if word.starts_with('@') {
            group(groups, word, calls);
        } else if !word.is_empty() && !word.starts_with('#') {
            calls.insert(word.to_owned());
        }
    }
}

#[test]
#[ignore = "takes systemd and strace; .ci/run runs it"]
fn the_server_makes_no_system_call_that_its_unit_forbids() {
    let (Some(analyze), Some(strace)) = (find("systemd-analyze"), find("strace")) else { return };
    let groups = print_of(Command::new(analyze).args(["syscall-filter", "--no-pager"]));
    let unit = read("packaging/systemd/corekv.service");
    let mut allowed = HashSet::new();
    for filter in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let mut calls = HashSet::new();
        group(&groups, filter.trim_start_matches('~'), &mut calls);
        assert!(!calls.is_empty(), "{filter}");
        if filter.starts_with('~') {
            allowed.retain(|call| !calls.contains(call));
        } else {
            allowed.extend(calls);
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    let socket = format!("unix:{}/socket", folder.path().display());
    let path = folder.path().join("notify");
    let _manager = UnixDatagram::bind(&path).expect("a socket");
    let mut traced = Command::new(strace);
    traced.args(["-f", "-qq", "-e", "signal=none", "-o"]).arg(&trace);
    traced.arg(command(&[]).get_program());
    traced.args(["--listen", "127.0.0.1:0", "--listen", &socket, "--memory", "16MiB"]);
    traced.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000");
    let server = Server::spawn(traced);
    let mut client = server.connect();
    for n in 0..300 {
        for len in [10, 4_000, 200_000] {
            client.put(&format!("/{n}"), vec![b'v'; len]);
            client.get(&format!("/{n}"));
        }
    }
    client.get("/metrics");
    // It ends in order, which is traced, too: strace passes the signal's effect on.
    let pid = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid()));
    let pid: i32 = pid.expect("children").trim().parse().expect("the server");
    let pid = rustix::process::Pid::from_raw(pid).expect("a number");
    drop(client);
    rustix::process::kill_process(pid, Signal::TERM).expect("it runs");
    let mut server = server;
    assert_eq!(server.wait().code(), Some(0));
    let text = fs::read_to_string(trace).expect("a trace");
    let calls: HashSet<&str> = text
        .lines()
        .filter_map(|line| {
            let call = line.split_once(' ')?.1.trim_start().split('(').next()?;
            call.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then_some(call)
        })
        .collect();
    assert!(calls.contains("epoll_wait") || calls.contains("epoll_pwait"), "{calls:?}");
    // Started by the manager, before the filter counts.
    let forbidden: Vec<_> = calls.iter().filter(|call| !allowed.contains(**call)).collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
}

/// Words in brackets, as Dockerfiles and manifests have them.
fn words(text: &str) -> Vec<String> {
    let list = text.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let list = list.unwrap_or_else(|| panic!("no list: {text}"));
    list.split(',').map(|word| word.trim().trim_matches('"').to_owned()).collect()
}

/// The folder that the image would be: the program and the C library, nothing else.
fn image(root: &Path) {
    let program = env!("CARGO_BIN_EXE_corekv");
    let libraries = print_of(Command::new("ldd").arg(program));
    let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for file in libraries {
        let to = root.join(&file[1..]);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(file, to).expect("copied");
    }
    fs::create_dir_all(root.join("usr/bin")).expect("a folder");
    fs::copy(program, root.join("usr/bin/corekv")).expect("copied");
}

#[test]
#[ignore = "takes root; .ci/run runs it"]
fn the_containers_command_runs_with_nothing_beside_it() {
    let Some(chroot) = find("chroot").filter(|_| is_root()) else { return };
    let dockerfile = read("packaging/container/Dockerfile");
    let line = |name: &str| {
        let line = dockerfile.lines().rev().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} is missing")).trim()
    };
    let user = line("USER ");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "USER {user}");
    let manifest = read("packaging/container/kubernetes.yaml");
    let args = manifest.lines().find_map(|line| line.trim().strip_prefix("args: "));
    let folder = tempfile::tempdir().expect("a folder");
    image(folder.path());
    for args in [line("CMD "), args.expect("arguments")] {
        let mut check = Command::new(env!("CARGO_BIN_EXE_corekv"));
        let shown = print_of(check.arg("check").args(words(args)).stderr(Stdio::null()));
        assert!(shown.contains("0.0.0.0:8080") && shown.contains("0.0.0.0:8079"), "{shown}");
        let ports = ["--listen=0.0.0.0:8080", "--admin=0.0.0.0:8079"];
        // The ports may be taken here.
        let mut free = Command::new(&chroot);
        free.arg(format!("--userspec={user}")).arg(folder.path());
        free.args(words(line("ENTRYPOINT "))).env_clear();
        free.args(words(args).into_iter().map(|word| {
            assert!(!word.contains(':') || ports.contains(&word.as_str()), "{word}");
            word.replace(":8080", ":0").replace(":8079", ":0")
        }));
        let mut server = Server::spawn(free);
        let admin = server.admin.clone().expect("an admin address");
        let (_, port) = admin.rsplit_once(':').expect("a port");
        // Each probe, as the kubelet sends it: with the pod's address for a Host.
        let paths: Vec<&str> =
            manifest.lines().filter_map(|line| line.trim().strip_prefix("path: ")).collect();
        assert!(paths.len() >= 2, "{paths:?}");
        for path in paths {
            let mut client = Client::connect(&format!("127.0.0.1:{port}"));
            let probe = format!("GET {path} HTTP/1.1\r\nHost: 10.0.0.7:8079\r\n\r\n");
            assert_eq!(client.exchange(probe).status, 200, "{path}");
        }
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(0));
    }
}
