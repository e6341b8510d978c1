//! The configuration file: options by their names, in TOML.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::values::problem;

/// Longest file, in bytes: more is some other file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Options that a file can't have: they would name another one, or are no settings.
const NOT_IN_FILES: [&str; 3] = ["config", "help", "version"];

/// What a file says of options, each value checked.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) path: PathBuf,
    entries: Vec<Entry>,
}

/// One option.
#[derive(Debug)]
struct Entry {
    name: String,
    values: Vec<String>,
    line: usize,
}

/// What is wrong with a file, and where.
#[derive(Debug)]
pub(super) struct Wrong {
    path: PathBuf,
    line: Option<usize>,
    problem: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, problem } = self;
        let path = path.display();
        match line {
            Some(line) => write!(f, "{path}:{line}: {problem}"),
            None => write!(f, "{path}: {problem}"),
        }
    }
}

impl Settings {
    /// Reads a file with options of `command`.
    ///
    /// # Errors
    /// When the file can't be read or is too long, is not TOML, or has a name that is no option or
    /// a value that its option would not take.
    pub(super) fn load(path: &Path, command: &Command) -> Result<Self, Wrong> {
        let wrong = |line, problem| Wrong { path: path.to_owned(), line, problem };
        let text = read(path).map_err(|error| wrong(None, error.to_string()))?;
        let line = |span: Range<usize>| Some(line_at(&text, span.start));
        let table = DeTable::parse(&text).map_err(|error| {
            // A message may go on in lines of its own.
            let problem = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            wrong(error.span().and_then(line), problem)
        })?;
        let mut entries = Vec::new();
        for (name, value) in table.get_ref() {
            let at = line(name.span());
            let values = check(name.get_ref(), value, command);
            let values = values.map_err(|problem| wrong(at, problem))?;
            let line = line_at(&text, name.span().start);
            entries.push(Entry { name: name.get_ref().to_string(), values, line });
        }
        Ok(Self { path: path.to_owned(), entries })
    }

    /// The command with the file's values in place of its defaults.
    pub(super) fn apply(&self, command: Command) -> Command {
        self.entries.iter().fold(command, |command, entry| {
            let id = entry.name.replace('-', "_");
            command.mut_arg(id, |arg| arg.default_values(&entry.values))
        })
    }

    /// The line that has an option.
    pub(super) fn line(&self, name: &str) -> Option<usize> {
        self.entries.iter().find(|entry| entry.name == name).map(|entry| entry.line)
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Counted from 1.
fn line_at(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// The values of an option as the command line would have them.
fn check(
    name: &str,
    value: &Spanned<DeValue<'_>>,
    command: &Command,
) -> Result<Vec<String>, String> {
    let known = |arg: &&clap::Arg| arg.get_long() == Some(name);
    let arg = command.get_arguments().filter(|_| !NOT_IN_FILES.contains(&name)).find(known);
    let arg = arg.ok_or_else(|| format!("'{name}' is no option that a file can have"))?;
    let value = value.get_ref();
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        let switch = value.as_bool().ok_or_else(|| format!("{name} must be true or false"))?;
        return Ok(vec![switch.to_string()]);
    }
    let values = match value {
        DeValue::Array(values) if !matches!(arg.get_action(), ArgAction::Append) => {
            return Err(format!("{name} has one value, but this is a list of {}", values.len()));
        }
        DeValue::Array(values) if values.is_empty() => {
            return Err(format!("{name} is an empty list"));
        }
        DeValue::Array(values) => values.iter().map(|value| scalar(value.get_ref())).collect(),
        value => scalar(value).map(|value| vec![value]),
    };
    let values: Vec<String> = values.map_err(|problem| format!("{name} {problem}"))?;
    for value in &values {
        // As a flag, which says what is wrong with it in the same words.
        let flag = ["corekv".to_owned(), format!("--{name}={value}")];
        command.clone().try_get_matches_from(flag).map_err(|error| problem(&error))?;
    }
    Ok(values)
}

/// A string, or a number as it is written.
fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Integer(_) => Err("must be in decimal digits, or a string".to_owned()),
        _ => Err(format!("must be a string or a whole number, not a {}", value.type_str())),
    }
}
