//! A server process: started, measured, ended.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::process::Command;

/// A server of the scenarios, which may die of them.
#[derive(Debug)]
pub(crate) struct Server {
    process: testkit::Server,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(path: &str, args: &[&str]) -> Result<Self, String> {
        Self::spawn(Command::new(path).args(args))
    }

    /// With a limit on open files that the server can't raise.
    pub(crate) fn with_descriptors(path: &str, limit: u32) -> Result<Self, String> {
        let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        Self::spawn(Command::new("bash").args(["-c", &script, path]))
    }

    pub(crate) fn spawn(command: &mut Command) -> Result<Self, String> {
        let process = testkit::Server::try_spawn(command.args(["--listen", "127.0.0.1:0"]))?;
        let address = process.address().parse().map_err(|_| "the server has no address")?;
        Ok(Self { process, address })
    }

    /// Whether the process is still there.
    pub(crate) fn alive(&mut self) -> Result<(), String> {
        if self.process.is_running() { Ok(()) } else { Err("the server ended".to_owned()) }
    }
}

impl Deref for Server {
    type Target = testkit::Server;

    fn deref(&self) -> &testkit::Server {
        &self.process
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut testkit::Server {
        &mut self.process
    }
}

pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
