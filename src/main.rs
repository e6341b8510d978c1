//! The corekv server.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use corekv::cli::{self, Cli};
use corekv::{Config, Server, logging};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error)
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
        {
            error.exit()
        }
        Err(error) => {
            // The first line says what is wrong; the usage behind it is in --help.
            let text = error.to_string();
            logging::say(text.lines().next().unwrap_or("error: wrong arguments"));
            return ExitCode::from(2);
        }
    };
    logging::report_panics();
    logging::start(cli.log_level());
    let config = cli.into_config();
    if let Err(invalid) = config.validate() {
        logging::say(&format!("error: {}", cli::explain(&invalid)));
        return ExitCode::from(2);
    }
    match serve(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(config: &Config) -> io::Result<()> {
    let server = Server::bind(config)?;
    let announcement = announcement(&server);
    server.when_ready(move || announce(&announcement)).run()
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

/// Writes to standard output. A supervisor that could not be told would wait for ever, so that the
/// server ends if it fails.
fn announce(lines: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let explain = |error: io::Error| {
        io::Error::new(error.kind(), format!("can't write to standard output: {error}"))
    };
    out.write_all(lines.as_bytes()).and_then(|()| out.flush()).map_err(explain)
}
