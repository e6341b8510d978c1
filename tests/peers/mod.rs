//! Programs that were not written here, run beside the server: where they are found, how they are
//! started and surely ended, and what a test needs to watch them.
#![allow(dead_code, unused_imports, reason = "every test binary uses its own part of this")]

pub(crate) mod browser;
pub(crate) mod proxy;
pub(crate) mod site;
pub(crate) mod tap;
pub(crate) mod vectors;
pub(crate) mod wire;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a program gets to end by itself after it was asked to.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a program that ends by itself may run.
const RUN_MAX: Duration = Duration::from_secs(100);

/// Where `.ci/install` puts what no package of the system holds.
pub(crate) fn installed_folder() -> PathBuf {
    // Cargo gives tests the folder `tmp` within its target folder.
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers")
}

/// A program of the search path or of [`installed_folder`], or `None` after a line that says what
/// is skipped. With `PEERS_REQUIRED` set a missing program fails the test instead.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        // Servers live in folders that a user's search path may leave out.
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .chain([installed_folder().join("python/bin")])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file());
    found.or_else(|| skip(program))
}

/// The load generator, which is built with the workspace.
pub(crate) fn load_generator() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_corekv")).parent().expect("a folder");
    let program = folder.join("corekv-bench");
    if !program.is_file() {
        let mut cargo = Command::new(env!("CARGO"));
        let output = output_of(cargo.args(["build", "--locked", "-p", "corekv-bench"]));
        assert!(output.status.success(), "{}", both(&output));
    }
    program
}

/// The Python that has the packages of PyPI; `None` as in [`find`].
pub(crate) fn find_python() -> Option<PathBuf> {
    let python = installed_folder().join("python/bin/python3");
    if python.is_file() { Some(python) } else { skip("python/bin/python3") }
}

/// The folder of Node.js packages if it holds `package`; the line and `None` as in [`find`].
pub(crate) fn find_package(package: &str) -> Option<PathBuf> {
    let modules = installed_folder().join("npm/node_modules");
    if modules.join(package).is_dir() { Some(modules) } else { skip(package) }
}

fn skip<T>(what: &str) -> Option<T> {
    assert!(env::var_os("PEERS_REQUIRED").is_none(), "{what} is not installed");
    eprintln!("skipped: {what} is not installed");
    None
}

/// A file beside this one.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

/// A command with a home of its own and without the settings that could send it to a proxy or make
/// it read the user's configuration.
pub(crate) fn command(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let of_a_peer = [
            "CCACHE_",
            "SCCACHE_",
            "GRADLE_",
            "BAZEL_",
            "CURL_",
            "NODE_",
            "JAVA_TOOL",
            "NX_",
            "TURBO_",
            "RUSH_",
            "MOON_",
            "npm_",
        ];
        if name.to_ascii_lowercase().ends_with("_proxy")
            || of_a_peer.iter().any(|prefix| name.starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).env("XDG_CONFIG_HOME", home).env("XDG_CACHE_HOME", home);
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// Runs a command to its end, which must be a success, and gives its standard output.
#[track_caller]
pub(crate) fn stdout_of(command: &mut Command) -> String {
    let output = output_of(command);
    assert!(output.status.success(), "{command:?}: {}", both(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a command to its end; one that does not end is killed and fails the test.
#[track_caller]
pub(crate) fn output_of(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let pipes = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let stdout = thread::spawn(move || read_all(pipes.0));
    let stderr = thread::spawn(move || read_all(pipes.1));
    let deadline = Instant::now() + RUN_MAX;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} does not end");
        }
        thread::sleep(Duration::from_millis(5));
    };
    let [stdout, stderr] = [stdout, stderr].map(|reader| reader.join().expect("the reader ends"));
    Output { status, stdout, stderr }
}

fn read_all(mut pipe: impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = pipe.read_to_end(&mut bytes);
    bytes
}

/// What a command printed, for a failure message.
pub(crate) fn both(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A program that runs until the value goes; what it prints is shown if the test fails.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a command; its output goes to a file in `folder`.
    #[track_caller]
    pub(crate) fn start(command: &mut Command, folder: &Path) -> Self {
        let log = folder.join("output");
        let file = fs::File::create(&log).expect("the log can be created");
        let stdout = file.try_clone().expect("the log can be shared");
        let child = command.stdin(Stdio::null()).stdout(stdout).stderr(file).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log }
    }

    /// Waits until `ready` holds; a program that ends before fails the test.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, mut ready: impl FnMut() -> bool) {
        let deadline = Instant::now() + RUN_MAX;
        while !ready() {
            let ended = self.child.try_wait().expect("the child can be waited for");
            assert!(ended.is_none(), "it ended at its start: {ended:?}\n{}", self.output());
            assert!(Instant::now() < deadline, "it never became ready\n{}", self.output());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it has printed so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- output of process {}:\n{}---", self.child.id(), self.output());
        }
        // Asked first: a master that is killed at once would leave its workers behind.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder that goes with the value.
pub(crate) fn folder() -> TempDir {
    // Not within the target folder: a socket's path must be short.
    tempfile::Builder::new().prefix("peer").tempdir().expect("a folder")
}
