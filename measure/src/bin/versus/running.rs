//! A server process: started, known to serve, ended.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use corekv::net::Address;
use measure::load::{Replies, Socket};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::command::command;
use crate::grid::{Setup, Transport};
use crate::server::Server;

/// How long a server may take to start, and to end when it is asked to.
const START: Duration = Duration::from_secs(20);
const END: Duration = Duration::from_secs(5);

/// What a server is started with.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) setup: Setup,
    pub(crate) cores: &'a [usize],
    /// Where configurations, sockets and logs go.
    pub(crate) folder: &'a Path,
    /// Where the measuring programs lie.
    pub(crate) programs: &'a Path,
}

/// A server that runs. It ends with the value.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pub(crate) address: Address,
    pub(crate) replies: Replies,
}

/// A process that is not yet known to serve.
struct Starting(Option<Child>);

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

impl Running {
    /// Starts it and waits until it answers as it should.
    pub(crate) fn start(server: &Server, start: &Start<'_>) -> Result<Self, String> {
        let address = free_address(server, start)?;
        let log = start.folder.join(format!("{}.log", server.name));
        let output = File::create(&log).map_err(|error| error.to_string())?;
        let mut command =
            command(&server.program, start, &address).map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stderr(output.try_clone().map_err(|error| error.to_string())?);
        command.stdout(output);
        let child = spawn_on(start.cores, &mut command)?;
        // From here on the process ends with the value.
        let mut starting = Starting(Some(child));
        let deadline = Instant::now() + START;
        let socket = loop {
            match Socket::connect(&address) {
                Ok(socket) => break socket,
                Err(error) => {
                    let child = starting.0.as_mut().expect("it is kept until it runs");
                    let ended = child.try_wait().map_err(|error| error.to_string())?;
                    if ended.is_some() || Instant::now() > deadline {
                        let said = fs::read_to_string(&log).unwrap_or_default();
                        let last = said.lines().last().unwrap_or_default();
                        return Err(format!("it did not start: {error}; it said: {last}"));
                    }
                    thread::sleep(Duration::from_millis(10));
                }
            }
        };
        let (wire, bytes) = (server.wire(start.setup), start.setup.value_bytes);
        let replies = Replies::learn(&wire, &socket, bytes, server.stores())?;
        let child = starting.0.take().expect("it is kept until it runs");
        Ok(Self { child, address, replies })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Asks the process to end, so that its workers do, and makes it.
fn end(child: &mut Child) {
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
    let deadline = Instant::now() + END;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(None) => thread::sleep(Duration::from_millis(5)),
            _ => return,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Where the server is to listen.
fn free_address(server: &Server, start: &Start<'_>) -> Result<Address, String> {
    Ok(match start.setup.transport {
        Transport::Unix => {
            let path = start.folder.join(format!("{}.sock", server.name));
            let _ = fs::remove_file(&path);
            Address::Unix(path)
        }
        // Not every server can be asked for a free port; the one that the system has chosen and that
        // nobody else has taken since is as good.
        Transport::Tcp => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map(Address::Tcp)
            .map_err(|error| error.to_string())?,
    })
}

/// Starts a process that may use these cores alone.
fn spawn_on(cores: &[usize], command: &mut Command) -> Result<Child, String> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|&core| set.set(core));
    // A thread of its own, whose cores the child inherits.
    thread::scope(|scope| {
        let spawned = scope.spawn(|| {
            sched_setaffinity(None, &set)?;
            command.spawn()
        });
        spawned.join().expect("no panics").map_err(|error| format!("it can't be started: {error}"))
    })
}
