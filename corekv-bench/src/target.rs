//! Where the load goes: the parsed `--uri` or `--unix`, and the address it resolves to.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Error;

/// A server to measure, as the user named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    place: Place,
    host_header: String,
    path_prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Host { name: String, port: u16 },
    Socket(PathBuf),
}

/// One address of the server that accepted a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// An Internet address.
    Tcp(SocketAddr),
    /// A Unix-domain socket.
    Unix(PathBuf),
}

impl Target {
    /// Parses `http://host[:port][/prefix]`. Keys are appended to the prefix.
    pub fn parse(uri: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::usage(format!("--uri {uri}: {why}"));
        let Some((scheme, rest)) = uri.split_once("://") else {
            return Err(bad("no scheme, write http://HOST:PORT"));
        };
        if scheme.eq_ignore_ascii_case("https") {
            return Err(bad("https is not supported, only http"));
        }
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(bad("only the scheme http is supported"));
        }
        if rest.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(bad("spaces, control and non-ASCII characters must be percent-encoded"));
        }
        if rest.contains(['?', '#']) {
            return Err(bad("keys are appended to the path, so there can be no query or fragment"));
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(bad("user names and passwords are not supported, use --header"));
        }
        let (name, port) = split_port(authority).map_err(|why| bad(&why))?;
        Ok(Self {
            place: Place::Host { name: name.to_owned(), port },
            host_header: authority.to_owned(),
            path_prefix: path.trim_end_matches('/').to_owned(),
        })
    }

    /// A server that listens on a Unix-domain socket.
    pub fn unix(path: &Path) -> Self {
        Self {
            place: Place::Socket(path.to_owned()),
            host_header: "localhost".to_owned(),
            path_prefix: String::new(),
        }
    }

    /// The value of the Host field.
    pub fn host_header(&self) -> &str {
        &self.host_header
    }

    /// What every request target begins with; the slash before the key is not part of it.
    pub fn path_prefix(&self) -> &str {
        &self.path_prefix
    }

    /// All addresses of the server, in the order of the resolver.
    pub fn resolve(&self) -> Result<Vec<Endpoint>, Error> {
        match &self.place {
            Place::Socket(path) => Ok(vec![Endpoint::Unix(path.clone())]),
            Place::Host { name, port } => {
                let bare = name.trim_start_matches('[').trim_end_matches(']');
                let found: Vec<_> = (bare, *port)
                    .to_socket_addrs()
                    .map_err(|error| Error::usage(format!("unknown host {name}: {error}")))?
                    .map(Endpoint::Tcp)
                    .collect();
                if found.is_empty() {
                    return Err(Error::usage(format!("unknown host {name}: no address")));
                }
                Ok(found)
            }
        }
    }

    /// The first of the server's addresses that accepts a connection (`localhost` often has two,
    /// and the server listens on one of them).
    pub fn find(&self, timeout: Duration) -> Result<Endpoint, Error> {
        let mut failures = Vec::new();
        for endpoint in self.resolve()? {
            match endpoint.probe(timeout) {
                Ok(()) => return Ok(endpoint),
                Err(error) => {
                    let kind = super::error::Failure::of(&error);
                    failures.push(format!("{}: {endpoint} ({error})", kind.label()));
                }
            }
        }
        Err(Error::failed(failures.join("; ")))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Host { .. } => write!(f, "http://{}{}", self.host_header, self.path_prefix),
            Place::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Endpoint {
    fn probe(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(address) => TcpStream::connect_timeout(address, timeout).map(drop),
            Self::Unix(path) => UnixStream::connect(path).map(drop),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Splits `host[:port]`; the port is 80 if it isn't given. An IPv6 address keeps its brackets.
fn split_port(authority: &str) -> Result<(&str, u16), String> {
    let name_end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']').ok_or("'[' without ']'")? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (name, port) = authority.split_at(name_end);
    if name.is_empty() {
        return Err("no host".to_owned());
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => 80,
        None => return Err(format!("'{port}' after the host is not a port")),
        Some(digits) => match digits.parse::<u16>() {
            Ok(port) if port > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()) => port,
            _ => return Err(format!("'{digits}' is not a port (1 to 65535)")),
        },
    };
    Ok((name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str) -> (String, u16, String, String) {
        let target = Target::parse(uri).unwrap();
        let Place::Host { name, port } = target.place else { panic!("not a host") };
        (name, port, target.host_header, target.path_prefix)
    }

    #[test]
    fn a_uri_names_host_port_and_prefix() {
        let expected = |name: &str, port, host: &str, prefix: &str| {
            (name.to_owned(), port, host.to_owned(), prefix.to_owned())
        };
        assert_eq!(parts("http://a"), expected("a", 80, "a", ""));
        assert_eq!(parts("HTTP://a:81/"), expected("a", 81, "a:81", ""));
        assert_eq!(parts("http://a:81/x/y/"), expected("a", 81, "a:81", "/x/y"));
        assert_eq!(parts("http://[::1]:9/x"), expected("[::1]", 9, "[::1]:9", "/x"));
        assert_eq!(parts("http://[::1]"), expected("[::1]", 80, "[::1]", ""));
    }

    #[test]
    fn a_wrong_uri_is_refused_as_usage() {
        for uri in [
            "localhost:8080",
            "https://a",
            "ftp://a",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:65536",
            "http://a:+1",
            "http://a:",
            "http://[::1",
            "http://[::1]8",
            "http://u@a",
            "http://a/?q",
            "http://a/#f",
            "http://a/x y",
            "http://a/ü",
        ] {
            assert!(matches!(Target::parse(uri), Err(Error::Usage(_))), "{uri}");
        }
    }

    #[test]
    fn an_ipv6_literal_resolves_without_its_brackets() {
        let found = Target::parse("http://[::1]:8080").unwrap().resolve().unwrap();
        assert_eq!(found, [Endpoint::Tcp("[::1]:8080".parse().unwrap())]);
    }
}
