//! The real program, started on a port that the system chooses.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Client, PATIENCE};

/// The program with the given flags and none of the caller's own settings.
pub(crate) fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corekv"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("COREKV_") {
            command.env_remove(name);
        }
    }
    command.args(flags);
    command
}

/// A child that is killed with the value, so that a test that fails leaves none behind.
#[derive(Debug)]
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running server; it ends with the value.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Addresses of the data listeners, as `host:port`.
    pub(crate) addresses: Vec<String>,
    /// Address of the admin listener.
    pub(crate) admin: Option<String>,
    stderr: Arc<Mutex<String>>,
    may_exit: bool,
}

impl Server {
    /// Starts a server on a free loopback port.
    #[track_caller]
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut command = command(flags);
        command.args(["--listen", "127.0.0.1:0"]);
        Self::spawn(command)
    }

    /// Starts a command that becomes a server, and waits until it is ready.
    #[track_caller]
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");

        let stderr = Arc::new(Mutex::new(String::new()));
        let mut pipe = child.stderr.take().expect("stderr is piped");
        let sink = Arc::clone(&stderr);
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(len @ 1..) = pipe.read(&mut piece) {
                sink.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..len]));
            }
        });

        let (sender, lines) = mpsc::channel();
        let pipe = child.stdout.take().expect("stdout is piped");
        thread::spawn(move || {
            // Reads on after `ready`, so that the server can never block on a full pipe.
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });

        let mut server =
            Self { child, addresses: Vec::new(), admin: None, stderr, may_exit: false };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line == "ready" => return server,
                Ok(line) => {
                    if let Some(address) = line.strip_prefix("listening on http://") {
                        server.addresses.push(address.to_owned());
                    } else if let Some(address) = line.strip_prefix("admin on http://") {
                        server.admin = Some(address.to_owned());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    server.may_exit = true;
                    let status = server.child.wait();
                    panic!("the server ended before it was ready: {status:?}");
                }
                Err(RecvTimeoutError::Timeout) => panic!("the server never became ready"),
            }
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.addresses[0]
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the server has written to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.may_exit = true;
        kill_process(Pid::from_child(&self.child), signal).expect("the server can be signalled");
    }

    /// Waits for the server to end by itself.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.may_exit = true;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child can be waited for").is_none()
    }

    /// Resident memory of the server process, in bytes.
    pub(crate) fn rss_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("status");
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
        let kib: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("KiB");
        kib * 1024
    }

    /// Open file descriptors of the server process.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("fd").count()
    }

    /// Number of event loops, by what the metrics say of each.
    #[track_caller]
    pub(crate) fn cores(&self) -> usize {
        let mut client = Client::connect(self.admin.as_deref().unwrap_or(self.address()));
        let metrics = client.get("/metrics").line();
        metrics.lines().filter(|l| l.starts_with("corekv_connections_accepted_total{")).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the server's stderr:\n{}---", self.stderr());
        } else if let Some(status) = ended.filter(|_| !self.may_exit) {
            panic!("the server died during the test: {status}\n{}", self.stderr());
        }
    }
}
