//! The real program, started on a port that the system chooses.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Client, PATIENCE, program};

/// The server with the given flags and none of the caller's own settings.
#[must_use]
pub fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(program("corekv"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("COREKV_") {
            command.env_remove(name);
        }
    }
    command.args(flags);
    command
}

/// A running server; it ends with the value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Addresses of the data listeners, as `host:port`.
    pub addresses: Vec<String>,
    /// Address of the admin listener.
    pub admin: Option<String>,
    stderr: Arc<Mutex<String>>,
    may_exit: bool,
}

impl Server {
    /// Starts a server on a free loopback port.
    ///
    /// # Panics
    /// If it does not become ready.
    #[track_caller]
    #[must_use]
    pub fn start(flags: &[&str]) -> Self {
        let mut command = command(flags);
        command.args(["--listen", "127.0.0.1:0"]);
        Self::spawn(command)
    }

    /// Starts a command that becomes a server, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready.
    #[track_caller]
    #[must_use]
    pub fn spawn(mut command: Command) -> Self {
        Self::try_spawn(&mut command).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts a command that becomes a server, and waits until it is ready.
    ///
    /// # Errors
    /// What went wrong, if it does not become ready.
    pub fn try_spawn(command: &mut Command) -> Result<Self, String> {
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("the server can't be started: {error}"))?;

        let stderr = Arc::new(Mutex::new(String::new()));
        let mut pipe = child.stderr.take().expect("stderr is piped");
        let sink = Arc::clone(&stderr);
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(len @ 1..) = pipe.read(&mut piece) {
                sink.lock().expect("no panics").push_str(&String::from_utf8_lossy(&piece[..len]));
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
                Ok(line) if line == "ready" => return Ok(server),
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
                    return Err(format!("the server ended before it was ready: {status:?}"));
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err("the server never became ready".to_owned());
                }
            }
        }
    }

    /// The address of the first data listener.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// A connection to the first data listener.
    #[track_caller]
    #[must_use]
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the server has written to stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("no panics").clone()
    }

    /// Sends a signal, after which the server may end.
    pub fn signal(&mut self, signal: Signal) {
        self.may_exit = true;
        kill_process(Pid::from_child(&self.child), signal).expect("the server can be signalled");
    }

    /// Waits for the server to end by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
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

    /// Whether the process is still there. Who is told that it is not may drop the value without a
    /// panic.
    pub fn is_running(&mut self) -> bool {
        let running = self.child.try_wait().expect("the child can be waited for").is_none();
        self.may_exit |= !running;
        running
    }

    /// Resident memory of the server process, in bytes.
    #[must_use]
    pub fn rss_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("status");
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
        let kib: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("KiB");
        kib * 1024
    }

    /// Open file descriptors of the server process.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("fd").count()
    }

    /// Number of event loops, by what the metrics say of each.
    #[track_caller]
    #[must_use]
    pub fn cores(&self) -> usize {
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
