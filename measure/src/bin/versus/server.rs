//! The servers that are compared.

use std::path::{Path, PathBuf};
use std::process::Command;

use measure::load::Wire;
use measure::machine::{first_line, locked};

use crate::command::path;
use crate::grid::{Group, Heads, Keys, Setup};

/// Which program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    Floor,
    /// A build of corekv, and what it is started with besides.
    Corekv(PathBuf, Vec<String>),
    Reference,
    Redis,
    Memcached,
    Nginx,
    Haproxy,
    Haterm,
}

/// A server that can be compared.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// Its name on the command line and in tables.
    pub(crate) name: String,
    pub(crate) program: Program,
    pub(crate) version: String,
}

impl Server {
    /// The named server, if it is installed.
    pub(crate) fn find(name: &str, programs: &Path) -> Result<Self, String> {
        let ours = || Some("this commit".to_owned());
        let (program, version) = match name {
            "floor" => (Program::Floor, ours()),
            "corekv" => (Program::Corekv(programs.join("corekv"), Vec::new()), ours()),
            "reference" => {
                let parts = ["hyper", "tokio", "dashmap", "mimalloc"];
                let parts = parts.map(|part| format!("{part} {}", locked(part)));
                (Program::Reference, Some(parts.join(", ")))
            }
            "redis" => (Program::Redis, version("redis-server", "--version")),
            "memcached" => (Program::Memcached, version("memcached", "--version")),
            "nginx" => (Program::Nginx, version("nginx", "-v")),
            "haproxy" => (Program::Haproxy, version("haproxy", "-v")),
            "haterm" => (Program::Haterm, version("haterm", "-v")),
            _ => return Err(format!("there is no server '{name}'")),
        };
        let version = version.ok_or_else(|| format!("{name} is not installed"))?;
        Ok(Self { name: name.to_owned(), program, version })
    }

    /// Another build of corekv, or other flags, by `NAME=PATH FLAGS`.
    pub(crate) fn build(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or("a build is NAME=PATH, then flags")?;
        let mut words = command.split_whitespace();
        let path = words.next().ok_or("a build has a path")?;
        version(path, "--version").ok_or_else(|| format!("{path} does not run"))?;
        let flags: Vec<String> = words.map(str::to_owned).collect();
        let program = Program::Corekv(path.into(), flags);
        Ok(Self { name: name.to_owned(), program, version: command.to_owned() })
    }

    /// Its name with its version.
    pub(crate) fn label(&self) -> String {
        match self.program {
            Program::Floor => "receive, count heads, send".to_owned(),
            Program::Corekv(..) => self.name.clone(),
            Program::Reference => "hyper + tokio + dashmap".to_owned(),
            _ => format!("{} {}", self.name, self.version),
        }
    }

    /// What it is, for the table of servers.
    pub(crate) fn about(&self) -> &'static str {
        match self.program {
            Program::Floor => "corekv's event loop without HTTP and store",
            Program::Corekv(..) => "HTTP",
            Program::Reference => "HTTP on a common stack",
            Program::Redis => "RESP2",
            Program::Memcached => "meta commands",
            Program::Nginx | Program::Haproxy | Program::Haterm => "HTTP, stores nothing",
        }
    }

    pub(crate) fn wire(&self, setup: Setup) -> Wire {
        match self.program {
            Program::Redis => Wire::Resp,
            Program::Memcached => Wire::Meta,
            // The size of the answer stands in the query; what is behind it is not looked at.
            Program::Haterm => Wire::Http {
                read: format!("/?s={}&", setup.value_bytes),
                write: "/?s=0&".to_owned(),
            },
            _ => Wire::http(),
        }
    }

    /// Whether it stores what it is given. The others give the same answer to every read.
    pub(crate) fn stores(&self) -> bool {
        matches!(
            self.program,
            Program::Corekv(..) | Program::Reference | Program::Redis | Program::Memcached
        )
    }

    /// Whether the workload means anything to it: a server that stores nothing does not care which key is
    /// asked for, and only HTTP has heads.
    pub(crate) fn takes_part(&self, group: Group) -> bool {
        let keys = group.keys == Keys::Uniform || self.stores() || self.program == Program::Floor;
        let heads = group.heads == Heads::Plain || self.wire(group.setup).has_heads();
        keys && heads
    }
}

fn version(program: &str, flag: &str) -> Option<String> {
    let line = first_line(Command::new(program).arg(flag).env("PATH", path()))?;
    // The word that is a number, as in `Redis server v=7.0.15 sha=…` and `nginx version: nginx/1.22.1`.
    let words = line.split([' ', '=', '/', 'v']);
    let number = words
        .map(|word| word.trim_end_matches(','))
        .find(|word| word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit()));
    Some(number.unwrap_or(&line).to_owned())
}
