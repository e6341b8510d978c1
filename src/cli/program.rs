//! The program as a whole: options, subcommands, and which of flag, environment and file decides.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, value_parser};
use clap_complete::Shell;
use clap_mangen::Man;

use super::file::Settings;
use super::values::problem;
use super::{Cli, option};
use crate::config::Config;
use crate::invalid::Invalid;

const MORE: &str = "\
Every option can be in the file of --config, and in the environment: --min-rate is \
COREKV_MIN_RATE. A flag goes before the environment, which goes before the file; `corekv check` \
shows what is used, and from where.

SIGTERM and SIGINT end the server when it has answered what it received, a second one ends it at \
once. SIGUSR2 has a new process take over. Exit code: 0 after that, 1 if the server could not start or go on, 2 if an option is wrong.";

/// What the program is asked to do.
#[derive(Debug)]
pub enum Task {
    /// To serve.
    Serve(Box<Chosen>),
    /// To show the settings that it would serve with.
    Check(Box<Chosen>),
    /// To write this to standard output.
    Print(Vec<u8>),
}

/// Why the program can't be told what to do.
#[derive(Debug)]
pub enum Failure {
    /// Nothing is wrong: help or the version is asked for.
    Help(clap::Error),
    /// One line that says what is wrong.
    Wrong(String),
}

/// Options, and where each comes from.
#[derive(Debug)]
pub struct Chosen {
    cli: Cli,
    matches: ArgMatches,
    file: Option<Settings>,
}

/// Where an option's value comes from.
enum Origin {
    Default,
    Flag,
    /// The name of the environment variable.
    Variable(String),
    /// The file, with the number of the line.
    Line(String),
}

/// Reads a command line, with the environment, and the file if one is named.
///
/// # Errors
/// When help is asked for, or something is wrong.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Task, Failure> {
    let words: Vec<OsString> = words.into_iter().collect();
    let matches = program().try_get_matches_from(&words).map_err(failure)?;
    match matches.subcommand() {
        Some(("completions", shell)) => {
            let shell = *shell.get_one::<Shell>("SHELL").expect("it is required");
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut program(), "corekv", &mut text);
            Ok(Task::Print(text))
        }
        Some(("man", _)) => {
            let mut text = Vec::new();
            let written = Man::new(program()).render(&mut text);
            written.map_err(|error| Failure::Wrong(format!("error: {error}")))?;
            Ok(Task::Print(text))
        }
        Some((check, matches)) => {
            let again = |file: &Settings| {
                let program = program().mut_subcommand(check, |check| file.apply(check));
                let mut matches = program.try_get_matches_from(&words)?;
                Ok(matches.remove_subcommand().expect("as before").1)
            };
            Chosen::new(matches.clone(), again).map(|chosen| Task::Check(Box::new(chosen)))
        }
        None => {
            let again = |file: &Settings| file.apply(program()).try_get_matches_from(&words);
            Chosen::new(matches, again).map(|chosen| Task::Serve(Box::new(chosen)))
        }
    }
}

/// The same for options alone.
///
/// # Errors
/// As those of [`parse`].
pub fn parse_options(words: impl IntoIterator<Item = OsString>) -> Result<Chosen, Failure> {
    let words: Vec<OsString> = words.into_iter().collect();
    let matches = Cli::command().try_get_matches_from(&words).map_err(failure)?;
    Chosen::new(matches, |file| file.apply(Cli::command()).try_get_matches_from(&words))
}

fn program() -> Command {
    let options = Cli::command();
    let check = options.clone().name("check").about("Show the settings that these options make");
    let shell = Arg::new("SHELL").required(true).value_parser(value_parser!(Shell));
    options
        .after_long_help(MORE)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommand(check.long_about(
            "Checks options, environment and file as the server would, and shows the settings \
             that they make as a file for --config, each with where it comes from.",
        ))
        .subcommand(
            Command::new("completions").about("Write a shell's completions of commands").arg(shell),
        )
        .subcommand(Command::new("man").about("Write the manual page, for man(1)"))
}

fn failure(error: clap::Error) -> Failure {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Failure::Help(error),
        _ => Failure::Wrong(format!("error: {}", problem(&error))),
    }
}

impl Chosen {
    /// `again` reads the same words once more with a file's values for defaults.
    fn new(
        matches: ArgMatches,
        again: impl FnOnce(&Settings) -> Result<ArgMatches, clap::Error>,
    ) -> Result<Self, Failure> {
        let path = matches.get_one::<PathBuf>("config");
        let file = path.map(|path| Settings::load(path, &Cli::command())).transpose();
        let file = file.map_err(|wrong| Failure::Wrong(format!("error: {wrong}")))?;
        let matches = match &file {
            Some(file) => again(file).map_err(failure)?,
            None => matches,
        };
        let cli = Cli::from_arg_matches(&matches).map_err(failure)?;
        Ok(Self { cli, matches, file })
    }

    /// The options.
    #[must_use]
    pub fn cli(&self) -> &Cli {
        &self.cli
    }

    /// The settings that they ask for.
    #[must_use]
    pub fn config(&self) -> Config {
        self.cli.clone().into_config()
    }

    /// Says of a setting what is wrong with it, under the name that its user knows.
    #[must_use]
    pub fn explain(&self, invalid: &Invalid) -> String {
        let (name, problem) = (option(invalid.setting()), invalid.problem());
        match self.origin(&name) {
            Origin::Line(place) => format!("{place}: {name} {problem}"),
            Origin::Variable(variable) => format!("{variable} {problem}"),
            Origin::Default | Origin::Flag => format!("--{name} {problem}"),
        }
    }

    fn origin(&self, name: &str) -> Origin {
        let line =
            self.file.as_ref().and_then(|file| Some((file.path.display(), file.line(name)?)));
        match (self.matches.value_source(&name.replace('-', "_")), line) {
            (Some(ValueSource::CommandLine), _) => Origin::Flag,
            (Some(ValueSource::EnvVariable), _) => {
                Origin::Variable(format!("COREKV_{}", name.to_uppercase().replace('-', "_")))
            }
            (_, Some((path, line))) => Origin::Line(format!("{path}:{line}")),
            (_, None) => Origin::Default,
        }
    }

    /// The settings as a configuration file, with comments that say where each comes from.
    #[must_use]
    pub fn show(&self) -> String {
        let mut text = String::new();
        let config = self.config();
        for arg in Cli::command().get_arguments() {
            let (id, Some(name)) = (arg.get_id().as_str(), arg.get_long()) else { continue };
            if ["config", "help", "version"].contains(&name) {
                continue;
            }
            let raw = self.matches.get_raw(id);
            let raw = raw.map(|raw| raw.map(|v| v.to_string_lossy().into_owned()).collect());
            let raw: Vec<String> = raw.unwrap_or_default();
            let value = match (name, arg.get_action()) {
                (_, ArgAction::SetTrue) => self.matches.get_flag(id).to_string(),
                ("memory", _) if raw.is_empty() => quoted(&size(config.memory_bytes_max)),
                ("value-bytes-max", _) if raw.is_empty() => quoted(&size(config.value_bytes_max)),
                _ if raw.is_empty() => {
                    let _ = writeln!(text, "# {name} is not set");
                    continue;
                }
                (_, ArgAction::Append) => {
                    let values = raw.iter().map(|value| quoted(value));
                    format!("[{}]", values.collect::<Vec<_>>().join(", "))
                }
                _ => quoted(&raw[0]),
            };
            let origin = match self.origin(name) {
                Origin::Default => "default".to_owned(),
                Origin::Flag => format!("--{name}"),
                Origin::Variable(origin) | Origin::Line(origin) => origin,
            };
            let _ = writeln!(text, "{name} = {value}  # {origin}");
        }
        text
    }
}

/// In the largest unit that divides it.
fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.iter().find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    unit.map_or(bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// A string of TOML, or a number if it is one.
fn quoted(text: &str) -> String {
    if text.parse::<u64>().is_ok_and(|number| number.to_string() == text) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
