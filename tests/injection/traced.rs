//! The real server under strace, which has chosen system calls fail.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use testkit::{PATIENCE, command};

/// How long an idle server is watched for being busy nevertheless.
const WATCHED: Duration = Duration::from_millis(600);
/// What it may use of the processor meanwhile; one that spins uses many times as much, even when
/// others have the cores.
const IDLE_MAX: Duration = Duration::from_millis(60);

/// A server whose system calls are traced. It ends with the value.
#[derive(Debug)]
pub(crate) struct Traced {
    child: Child,
    pub(crate) folder: TempDir,
    stdout: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
    /// Where it can be reached over TCP, once it is ready.
    pub(crate) address: String,
}

impl Traced {
    /// Starts a server with a TCP and a Unix-domain listener and two event loops, and has strace do
    /// what `options` say. It need not become ready.
    pub(crate) fn start(strace: &Path, options: &[String], flags: &[&str]) -> Self {
        let folder = crate::peers::folder();
        let tokens = folder.path().join("tokens");
        fs::write(&tokens, "secret\n").expect("a file of tokens");
        let server = command(&[]);
        let mut traced = Command::new(strace);
        for (name, value) in server.get_envs().filter(|(_, value)| value.is_none()) {
            debug_assert!(value.is_none());
            traced.env_remove(name);
        }
        // With -D the process that is started here becomes the server, and strace its grandchild:
        // signals and exit codes are the server's own.
        traced.args(["-D", "-f", "-qq", "-o"]).arg(folder.path().join("calls")).args(options);
        traced.arg(server.get_program()).args(["--listen", "127.0.0.1:0", "--listen"]);
        traced.arg(format!("unix:{}", folder.path().join("socket").display()));
        traced.arg("--auth-file").arg(&tokens).args(["--drain-timeout", "1s"]).args(flags);
        let child = traced.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().expect("strace starts");
        let (sender, stdout) = mpsc::channel();
        let pipe = child.stdout.take().expect("piped");
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut pipe = child.stderr.take().expect("piped");
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            let _ = pipe.read_to_string(&mut text);
            text
        });
        Self { child, folder, stdout, stderr: Some(stderr), address: String::new() }
    }

    /// Waits until the server is ready or has ended; whether it is ready.
    pub(crate) fn wait_until_ready(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        // The channel closes with the server's standard output.
        while let Ok(line) =
            self.stdout.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if line == "ready" {
                return true;
            }
            if let Some(address) = line.strip_prefix("listening on http://") {
                self.address = address.to_owned();
            }
        }
        assert!(Instant::now() < deadline, "it neither became ready nor ended");
        false
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// What strace wrote.
    pub(crate) fn calls(&self) -> String {
        fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_none()
    }

    /// Waits for the server to end. Its status, and what it said on standard error.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        while self.is_running() {
            assert!(Instant::now() < deadline, "it does not end\n{}", tail(&self.calls()));
            thread::sleep(Duration::from_millis(5));
        }
        let status = self.child.wait().expect("it can be waited for");
        let stderr = self.stderr.take().map(|thread| thread.join().expect("text"));
        (status, stderr.unwrap_or_default())
    }

    /// As [`wait`](Self::wait), after SIGTERM.
    pub(crate) fn end(&mut self) -> (ExitStatus, String) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        self.wait()
    }

    /// Fails if the server uses the processor although there is nothing to do.
    pub(crate) fn assert_idle(&self) {
        let before = self.processor_time();
        thread::sleep(WATCHED);
        let used = self.processor_time().saturating_sub(before);
        assert!(used < IDLE_MAX, "it spins: {used:?} of {WATCHED:?}\n{}", tail(&self.calls()));
    }

    /// What all threads have used, from the first field of schedstat, in nanoseconds (proc(5)).
    fn processor_time(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let nanoseconds = tasks.into_iter().flatten().flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let stderr = self.stderr.take().and_then(|thread| thread.join().ok());
            eprintln!("--- the server's stderr:\n{}---", stderr.unwrap_or_default());
        }
    }
}

/// The last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
