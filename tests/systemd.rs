//! Under a service manager: sockets that are handed over, readiness, status, watchdog. The test is
//! the manager, and speaks the protocols of sd_notify(3) and sd_listen_fds(3).

mod peers;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use testkit::{Client, Killed, PATIENCE, Server, command, eventually};

/// Where a server sends its messages.
struct Manager {
    socket: UnixDatagram,
    /// For the environment.
    address: String,
    _folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let address = path.to_str().expect("text").to_owned();
        Self::with(socket, address, folder)
    }

    /// In the name space of Linux that is no file system.
    fn abstract_one() -> Self {
        let name = format!("corekv-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        Self::with(socket, format!("@{name}"), tempfile::tempdir().expect("a folder"))
    }

    fn with(socket: UnixDatagram, address: String, folder: TempDir) -> Self {
        Self { socket, address, _folder: folder }
    }

    /// The next message's lines.
    #[track_caller]
    fn hear(&self) -> Vec<String> {
        self.socket.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
        let mut message = [0; 4096];
        let len = self.socket.recv(&mut message).expect("a message");
        let text = std::str::from_utf8(&message[..len]).expect("text");
        text.lines().map(ToOwned::to_owned).collect()
    }

    /// Reads on until a message has the line; gives that message.
    #[track_caller]
    fn hear_of(&self, line: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.hear();
            if message.iter().any(|have| have == line) {
                return message;
            }
            assert!(Instant::now() < deadline, "{line} never came");
        }
    }

    /// Whether the watchdog is fed within the time.
    fn is_fed_within(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.socket.set_read_timeout(Some(left)).expect("SO_RCVTIMEO");
            let mut message = [0; 4096];
            let len = self.socket.recv(&mut message).unwrap_or(0);
            if message[..len].starts_with(b"WATCHDOG=1\n") {
                return true;
            }
        }
    }
}

/// The server with descriptors from 3 on, as a manager would start it.
fn with_sockets(sockets: &[&dyn AsFd], flags: &[&str]) -> Command {
    // The shell becomes the server, so that it knows the process's number.
    let (mut aside, mut back) = (String::new(), String::new());
    for (at, socket) in sockets.iter().enumerate() {
        fcntl_setfd(socket.as_fd(), FdFlags::empty()).expect("FD_CLOEXEC can be cleared");
        // By way of another number: it may be one of those that others are to have.
        let (number, place) = (socket.as_fd().as_raw_fd(), at + 3);
        aside += &format!(" {}<&{number}", 200 + place);
        back += &format!(" {place}<&{} {}<&-", 200 + place, 200 + place);
    }
    let script = format!("LISTEN_PID=$$ exec \"$0\" \"$@\"{aside}{back}");
    let server = command(&[]);
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", &script]).arg(server.get_program()).args(flags);
    bash.env("LISTEN_FDS", sockets.len().to_string());
    bash
}

#[test]
fn the_manager_is_told_of_readiness_status_and_end() {
    for manager in [Manager::new(), Manager::abstract_one()] {
        let mut command = command(&["--listen", "127.0.0.1:0"]);
        command.env("NOTIFY_SOCKET", &manager.address);
        let mut child = Killed(command.stdout(Stdio::null()).spawn().expect("it starts"));
        let first = manager.hear();
        assert_eq!(first[0], "READY=1");
        let address = first[1].strip_prefix("STATUS=listening on http://").expect("a status");
        // From then on it serves.
        let mut client = Client::connect(address);
        assert_eq!(client.put("/k", "v").status, 201);
        drop(client);
        kill_process(Pid::from_child(&child.0), Signal::TERM).expect("it runs");
        manager.hear_of("STOPPING=1");
        assert_eq!(child.0.wait().expect("it ends").code(), Some(0));
    }
}

#[test]
fn the_watchdog_is_fed_with_a_status() {
    let manager = Manager::new();
    let mut command = command(&["--listen", "127.0.0.1:0", "--memory", "3MiB"]);
    command.env("NOTIFY_SOCKET", &manager.address).env("WATCHDOG_USEC", "2000000");
    let server = Server::spawn(command);
    let mut client = server.connect();
    client.put("/k", "v");
    let status = "STATUS=1 keys in 0 of 3 MiB, 1 connections";
    for _ in 0..3 {
        assert_eq!(manager.hear_of(status)[0], "WATCHDOG=1");
    }
}

#[test]
fn another_processs_watchdog_is_not_fed() {
    let manager = Manager::new();
    let mut command = command(&["--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &manager.address);
    command.env("WATCHDOG_USEC", "400000").env("WATCHDOG_PID", "1");
    let _server = Server::spawn(command);
    assert_eq!(manager.hear()[0], "READY=1");
    // One is sent with the first status.
    manager.is_fed_within(Duration::from_secs(1));
    assert!(!manager.is_fed_within(Duration::from_secs(2)));
}

/// The thread of a server that has this name.
fn thread(server: &Server, name: &str) -> String {
    let tasks = format!("/proc/{}/task", server.pid());
    let mut tasks = fs::read_dir(tasks).expect("task").map(|task| task.expect("task").path());
    let has_name = |task: &std::path::PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let task = tasks.find(has_name).expect("a thread of this name");
    task.file_name().expect("a number").to_str().expect("text").to_owned()
}

/// strace holds one thread up at its next system call.
#[test]
fn the_watchdog_starves_while_a_loop_or_the_acceptor_makes_no_progress() {
    let Some(strace) = peers::find("strace") else { return };
    let manager = Manager::new();
    let mut command = command(&["--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &manager.address).env("WATCHDOG_USEC", "1000000");
    let server = Server::spawn(command);
    assert!(manager.is_fed_within(PATIENCE));
    let last = format!("corekv-{}", server.cores() - 1);
    for (name, culprit) in [(last.as_str(), Some(server.cores() - 1)), ("corekv", None)] {
        let mut hold = Command::new(&strace);
        hold.args(["-qq", "-o", "/dev/null", "-p", &thread(&server, name)]);
        hold.args(["-e", "trace=epoll_wait,epoll_pwait"]);
        hold.args(["-e", "inject=epoll_wait,epoll_pwait:delay_enter=60000000"]);
        let holder = Killed(hold.stdin(Stdio::null()).spawn().expect("strace starts"));
        // What was on its way may still arrive.
        eventually("the watchdog is not fed", || {
            !manager.is_fed_within(Duration::from_millis(1500))
        });
        assert!(!manager.is_fed_within(Duration::from_secs(2)), "{name}");
        if let Some(culprit) = culprit {
            manager.hear_of(&format!("STATUS=event loop {culprit} makes no progress"));
            let line = format!("event loop {culprit} makes no progress");
            eventually("the log says which loop", || server.stderr().contains(&line));
        }
        drop(holder);
        assert!(manager.is_fed_within(PATIENCE), "{name} goes on, and is fed again");
    }
}

#[test]
fn a_manager_that_cannot_be_reached_is_one_line_and_exit_code_1() {
    for address in ["/nonexistent/notify", "nonsense", "@corekv-test-nobody"] {
        let mut command = command(&["--listen", "127.0.0.1:0"]);
        let output = command.env("NOTIFY_SOCKET", address).output().expect("it ends");
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{error}");
        let line = error.trim_end().lines().last().expect("a line");
        assert!(line.starts_with("error: ") && line.contains(address), "{error}");
    }
}

#[test]
fn sockets_that_are_handed_over_stand_for_the_addresses() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let unix = UnixListener::bind(&path).expect("a socket");
    let admin = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = tcp.local_addr().expect("an address").to_string();
    let admin_address = admin.local_addr().expect("an address").to_string();
    // Connections from before the server are answered.
    let mut early = Client::connect(&address);
    early.send("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nv");

    // Its own addresses are not bound: nobody may have this one (RFC 5737).
    let flags = ["--listen", "192.0.2.1:1", "--admin", "192.0.2.1:2"];
    let mut command = with_sockets(&[&tcp, &unix, &admin], &flags);
    command.env("LISTEN_FDNAMES", "corekv.socket:other:admin");
    let mut server = Server::spawn(command);
    drop((tcp, unix, admin));
    assert_eq!(server.addresses, [address.as_str()]);
    assert_eq!(server.admin.as_deref(), Some(admin_address.as_str()));
    assert_eq!(early.response().status, 201);
    assert_eq!(server.connect().get("/k").line(), "v");
    // The reserved names are the admin socket's alone.
    assert_eq!(server.connect().get("/size").status, 404);
    assert_eq!(Client::connect(&admin_address).get("/size").line(), "1");
    let mut stream = UnixStream::connect(&path).expect("it listens");
    stream.write_all(b"GET /k HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nv"), "{answer}");

    // The manager's file stays when the server goes.
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(path.exists());
}

#[test]
fn the_managers_sockets_wait_while_a_server_is_replaced() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = tcp.local_addr().expect("an address").to_string();
    for _ in 0..3 {
        let mut server = Server::spawn(with_sockets(&[&tcp], &[]));
        assert_eq!(server.connect().put("/k", "v").status, 201);
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(0));
        // In between nobody is refused.
        TcpStream::connect(&address).expect("the manager listens");
    }
}

#[test]
fn sockets_of_another_process_are_left_alone() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let mut command = command(&["--listen", "127.0.0.1:0"]);
    command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let server = Server::spawn(command);
    assert_ne!(server.address(), tcp.local_addr().expect("an address").to_string());
}

#[test]
fn what_is_no_listener_is_one_line_and_exit_code_1() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let stream = TcpStream::connect(tcp.local_addr().expect("an address")).expect("connected");
    let file = fs::File::open("/dev/null").expect("a file");
    let two = TcpListener::bind("127.0.0.1:0").expect("a socket");
    for (sockets, names, part) in [
        (&[&udp as &dyn AsFd][..], "", "descriptor 3"),
        (&[&tcp, &stream], "", "descriptor 4"),
        (&[&tcp, &file], "", "descriptor 4"),
        (&[&tcp, &two], "admin:admin", "admin"),
    ] {
        let mut command = with_sockets(sockets, &[]);
        let child = command.env("LISTEN_FDNAMES", names).stdout(Stdio::null());
        let mut child = Killed(child.stderr(Stdio::piped()).spawn().expect("it starts"));
        eventually("it ends", || child.0.try_wait().expect("it can be waited for").is_some());
        let mut error = String::new();
        let stderr = child.0.stderr.as_mut().expect("piped");
        stderr.read_to_string(&mut error).expect("text");
        assert!(error.lines().last().is_some_and(|line| line.starts_with("error: ")), "{error}");
        assert!(error.contains(part), "{part}: {error}");
        assert_eq!(child.0.wait().expect("it ends").code(), Some(1));
    }
    let mut command = with_sockets(&[&tcp], &[]);
    let output = command.env("LISTEN_FDS", "many").output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("LISTEN_FDS"));
}
