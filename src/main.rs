//! The corekv server.

use std::io::Write;
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
            eprintln!("{}", text.lines().next().unwrap_or("error: wrong arguments"));
            return ExitCode::from(2);
        }
    };
    logging::start(cli.log_level());
    let config = cli.into_config();
    if let Err(invalid) = config.validate() {
        eprintln!("error: {}", cli::explain(&invalid));
        return ExitCode::from(2);
    }
    match serve(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: &Config) -> std::io::Result<()> {
    let server = Server::bind(config)?;
    announce(&server)?;
    server.run()
}

/// Says on standard output where the server can be reached, for people and scripts.
fn announce(server: &Server) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for address in server.local_addrs() {
        writeln!(out, "listening on {address}")?;
    }
    if let Some(address) = server.admin_addr() {
        writeln!(out, "admin on {address}")?;
    }
    writeln!(out, "ready")?;
    out.flush()
}
