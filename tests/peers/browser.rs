//! Chromium without a window, each time with a profile of its own.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::{Daemon, command, find, folder, stdout_of};

/// Names that lead to this machine, as if their owner had set them up so.
const RESOLVER: &str = "--host-resolver-rules=MAP *.example 127.0.0.1";

/// A browser that shows one page until the value goes.
#[derive(Debug)]
pub(crate) struct Browser {
    // The process ends before its folder goes.
    _daemon: Daemon,
    _home: TempDir,
}

impl Browser {
    /// Opens a page; `None` if no browser is installed.
    #[track_caller]
    pub(crate) fn open(url: &str) -> Option<Self> {
        let (program, home) = (find("chromium")?, folder());
        let mut command = chromium(program, &home);
        // Without something to be asked for it would end once the page is loaded.
        command.args(["--remote-debugging-port=0", url]);
        let daemon = Daemon::start(&mut command, home.path());
        Some(Self { _daemon: daemon, _home: home })
    }
}

/// The document that the browser shows for an address that its user typed, once the page and all
/// that it runs at its start are done; `None` if no browser is installed.
#[track_caller]
pub(crate) fn document(url: &str) -> Option<String> {
    let (program, home) = (find("chromium")?, folder());
    let mut command = chromium(program, &home);
    // The browser's own clock: it stands still while something is loading.
    command.args(["--virtual-time-budget=2000", "--dump-dom", url]);
    Some(stdout_of(&mut command))
}

/// What a page and its scripts had to complain about, as the browser's console has it, while the
/// document of [`document`] came about.
#[track_caller]
pub(crate) fn document_and_console(url: &str) -> Option<(String, Vec<String>)> {
    let (program, home) = (find("chromium")?, folder());
    let mut command = chromium(program, &home);
    command.args(["--virtual-time-budget=4000", "--dump-dom", "--enable-logging=stderr", url]);
    // The last one counts.
    command.arg("--log-level=0");
    let output = command.output().expect("the browser runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let errors = text(&output.stderr);
    let console = errors.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned);
    Some((text(&output.stdout), console.collect()))
}

fn chromium(program: PathBuf, home: &TempDir) -> Command {
    let mut command = command(program, home.path());
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]);
    command.args(["--disable-background-networking", "--disable-component-update"]);
    command.args(["--disable-sync", "--disable-dev-shm-usage", "--no-first-run", RESOLVER]);
    command.arg("--log-level=3");
    command.arg(format!("--user-data-dir={}", home.path().join("profile").display()));
    command
}
