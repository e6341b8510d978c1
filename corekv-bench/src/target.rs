//! Where the load goes: the parsed `--uri` or `--unix`, and the address it resolves to.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Error;
use super::tls::{Tls, Trust};

/// A server to measure, as the user named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    place: Place,
    host_header: String,
    path_prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Host { name: String, port: u16, is_secure: bool },
    Socket(PathBuf),
}

/// What was found out about a server before the load.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// What connections to it are secured with.
    pub tls: Option<Tls>,
    /// The TLS version and the cipher suite.
    pub tls_text: Option<String>,
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
    /// Parses `http://host[:port][/prefix]`, or the same with `https`. Keys are appended to the prefix.
    pub fn parse(uri: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::usage(format!("--uri {uri}: {why}"));
        let Some((scheme, rest)) = uri.split_once("://") else {
            return Err(bad("no scheme, write http://HOST:PORT"));
        };
        let is_secure = scheme.eq_ignore_ascii_case("https");
        if !is_secure && !scheme.eq_ignore_ascii_case("http") {
            return Err(bad("only the schemes http and https are supported"));
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
        let default_port = if is_secure { 443 } else { 80 };
        let (name, port) = split_port(authority, default_port).map_err(|why| bad(&why))?;
        Ok(Self {
            place: Place::Host { name: name.to_owned(), port, is_secure },
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

    /// Whether connections have to be secured.
    pub fn is_secure(&self) -> bool {
        matches!(self.place, Place::Host { is_secure: true, .. })
    }

    fn tls(&self, trust: &Trust) -> Result<Option<Tls>, Error> {
        match &self.place {
            Place::Host { name, is_secure: true, .. } => Tls::new(bare(name), trust).map(Some),
            _ => Ok(None),
        }
    }

    /// All addresses of the server, in the order of the resolver.
    pub fn resolve(&self) -> Result<Vec<Endpoint>, Error> {
        match &self.place {
            Place::Socket(path) => Ok(vec![Endpoint::Unix(path.clone())]),
            Place::Host { name, port, .. } => {
                let found: Vec<_> = (bare(name), *port)
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
    pub fn find(&self, timeout: Duration, trust: &Trust) -> Result<Found, Error> {
        let tls = self.tls(trust)?;
        let mut failures = Vec::new();
        for endpoint in self.resolve()? {
            match endpoint.probe(timeout, tls.as_ref()) {
                Ok(tls_text) => return Ok(Found { endpoint, tls, tls_text }),
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
            Place::Host { is_secure, .. } => {
                let scheme = if *is_secure { "https" } else { "http" };
                write!(f, "{scheme}://{}{}", self.host_header, self.path_prefix)
            }
            Place::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Endpoint {
    /// Connects, and shakes hands if that is asked for. Says what came of the latter.
    fn probe(&self, timeout: Duration, tls: Option<&Tls>) -> io::Result<Option<String>> {
        match self {
            Self::Tcp(address) => {
                let mut socket = TcpStream::connect_timeout(address, timeout)?;
                socket.set_read_timeout(Some(timeout))?;
                tls.map(|tls| tls.probe(&mut socket)).transpose().map_err(|error| {
                    match error.kind() {
                        // That is how a socket that blocks says that its time is up.
                        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
                        _ => error,
                    }
                })
            }
            Self::Unix(path) => UnixStream::connect(path).map(|_| None),
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

/// An IPv6 address without its brackets.
fn bare(name: &str) -> &str {
    name.trim_start_matches('[').trim_end_matches(']')
}

/// Splits `host[:port]`; the port is `default_port` if it isn't given. An IPv6 address keeps its brackets.
fn split_port(authority: &str, default_port: u16) -> Result<(&str, u16), String> {
    let name_end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']').ok_or("'[' without ']'")? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (name, port) = authority.split_at(name_end);
    if name.is_empty() {
        return Err("no host".to_owned());
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default_port,
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
        let Place::Host { name, port, .. } = target.place else { panic!("not a host") };
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
        assert_eq!(parts("https://a/x"), expected("a", 443, "a", "/x"));
        assert!(Target::parse("https://a").unwrap().is_secure());
    }

    #[test]
    fn a_wrong_uri_is_refused_as_usage() {
        for uri in [
            "localhost:8080",
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
