//! On what something was measured: machine, kernel, versions, date and commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The circumstances of a measurement.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Model of the processor, as the kernel names it.
    pub cpu: String,
    /// Cores that the process may use.
    pub cores: usize,
    /// The hypervisor if there is one.
    pub hypervisor: Option<String>,
    /// Version of the kernel.
    pub kernel: String,
    /// Day of the measurement, UTC.
    pub date: String,
    /// Commit of the source, with `-dirty` if files were changed.
    pub commit: String,
}

impl Machine {
    /// What this is, and now.
    #[must_use]
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo
            .lines()
            .find_map(|line| {
                line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name)
            })
            .unwrap_or(std::env::consts::ARCH);
        let virtual_machine = cpuinfo.lines().any(|line| {
            line.starts_with("flags") && line.split(' ').any(|flag| flag == "hypervisor")
        });
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cpu: cpu.to_owned(),
            cores: corekv::net::allowed_cores().map_or(0, |cores| cores.len()),
            hypervisor: virtual_machine.then(|| "virtual machine".to_owned()),
            kernel: kernel.trim().to_owned(),
            date: first_line(Command::new("date").args(["-u", "+%F"])).unwrap_or_default(),
            commit: first_line(
                Command::new("git").current_dir(root()).args(["describe", "--always", "--dirty"]),
            )
            .unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

/// The first line that a program prints, on either output.
#[must_use]
pub fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().map(|line| line.trim().to_owned())
}

/// The folder of the workspace that this was built from.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Version of a dependency, from the lock file that this was built with.
#[must_use]
pub fn locked(package: &str) -> &'static str {
    const LOCK: &str = include_str!("../../Cargo.lock");
    let start = format!("name = \"{package}\"");
    let mut lines = LOCK.lines().skip_while(|line| **line != start).skip(1);
    lines.next().and_then(|line| line.split('"').nth(1)).unwrap_or("?")
}
