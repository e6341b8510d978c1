//! The corekv server.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use corekv::cli::{self, Chosen, Failure, Task};
use corekv::handover::{Handover, Order, Predecessor};
use corekv::systemd::{self, Manager};
use corekv::{Config, Server, logging};

fn main() -> ExitCode {
    let result = match cli::parse(std::env::args_os()) {
        Ok(Task::Serve(chosen)) => run(&chosen, serve),
        Ok(Task::Check(chosen)) => run(&chosen, |config| {
            corekv::check(config)?;
            print(chosen.show().as_bytes())
        }),
        Ok(Task::Print(text)) => print(&text).map_err(|error| failed(&error)),
        Err(Failure::Help(help)) => help.exit(),
        Err(Failure::Wrong(line)) => {
            logging::say(&line);
            Err(ExitCode::from(2))
        }
    };
    result.err().unwrap_or(ExitCode::SUCCESS)
}

/// Does something with the settings if they are in their ranges.
fn run(chosen: &Chosen, what: impl FnOnce(&Config) -> io::Result<()>) -> Result<(), ExitCode> {
    logging::report_panics();
    logging::start(chosen.cli().log_level());
    let config = chosen.config();
    if let Err(invalid) = config.validate() {
        logging::say(&format!("error: {}", chosen.explain(&invalid)));
        return Err(ExitCode::from(2));
    }
    what(&config).map_err(|error| failed(&error))
}

fn failed(error: &io::Error) -> ExitCode {
    logging::say(&format!("error: {error}"));
    ExitCode::FAILURE
}

fn serve(config: &Config) -> io::Result<()> {
    // Before anything is opened, which could have the number of a descriptor that was passed.
    let predecessor = Predecessor::from_env()?;
    let sockets = systemd::sockets()?;
    let manager = Manager::from_env()?;
    let (server, predecessor) = match (predecessor, &manager) {
        (Some(mut predecessor), _) => {
            (Server::succeed(config, &mut predecessor)?, Some(predecessor))
        }
        // It may take a while to load a snapshot.
        (None, Some(manager)) if config.snapshot.is_some() => {
            (manager.busy("loading the snapshot", || Server::bind_with(config, sockets))?, None)
        }
        (None, _) => (Server::bind_with(config, sockets)?, None),
    };
    let server = server.succeeded_by(Handover::new(Order::own()));
    let announcement = announcement(&server);
    let status = announcement.lines().next().unwrap_or_default().to_owned();
    let manager = manager.map(Arc::new);
    let told = manager.clone();
    let ready = move || {
        // Before that the manager does not listen to this process.
        predecessor.into_iter().for_each(Predecessor::succeed);
        print(announcement.as_bytes())?;
        // A supervisor that could not be told would wait for ever, so that the server ends if it fails.
        told.map_or(Ok(()), |told| told.ready(&status))
    };
    let server = match manager {
        Some(manager) => server.watched_by(manager),
        None => server,
    };
    server.when_ready(ready).run()
}

/// Where the server can be reached, and that it is ready, for people and scripts.
fn announcement(server: &Server) -> String {
    let mut lines = String::new();
    for address in server.local_addrs() {
        lines += &format!("listening on {address}\n");
    }
    if let Some(address) = server.admin_addr() {
        lines += &format!("admin on {address}\n");
    }
    lines + "ready\n"
}

fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let explain = |error: io::Error| {
        io::Error::new(error.kind(), format!("can't write to standard output: {error}"))
    };
    out.write_all(text).and_then(|()| out.flush()).map_err(explain)
}
