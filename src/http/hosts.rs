//! The names by which a server may be addressed.
//!
//! The owner of a name can have it lead to any address, at one time to a web site and then to a
//! server on the machine of the site's visitor ("DNS rebinding"). For the browser both are one
//! origin, so that the site's page may read what the server answers and write what it likes. Only
//! the Host field of its requests still tells whom the page meant.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::origin::split_port;
use super::refusal::Refusal;
use super::status::Status;
use super::target::is_authority;
use crate::net::{Class, Reach};

/// The answer to a request for a host that is none of the server's.
pub(super) const MISDIRECTED: Refusal = Refusal::new(
    Status::MisdirectedRequest,
    "the Host is no name of this server's; --host NAME makes it one, --host any takes every Host",
);

/// A name that a server is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Whatever it is addressed as.
    Any,
    /// A host name or an address, without a port.
    Name(String),
}

/// The text is no host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostError;

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a host name without a port, or 'any'")
    }
}

impl std::error::Error for HostError {}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if text == "any" {
            return Ok(Self::Any);
        }
        let bytes = text.as_bytes();
        // Stricter than an authority: a pattern, which would never match, is no name.
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.[:]".contains(byte);
        let has_no_port = is_authority(bytes) && split_port(bytes).0.len() == bytes.len();
        let is_host = has_no_port && bytes.iter().all(is_plain);
        if is_host { Ok(Self::Name(text.to_owned())) } else { Err(HostError) }
    }
}

/// Which names a server accepts. By default those that only its own machine's programs use.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    any: bool,
    names: Vec<Vec<u8>>,
}

impl Hosts {
    /// The default names and these.
    #[must_use]
    pub fn new(hosts: &[Host]) -> Self {
        let mut all = Self::default();
        for host in hosts {
            match host {
                Host::Any => all.any = true,
                Host::Name(name) => all.names.push(without_dot(name.as_bytes()).to_vec()),
            }
        }
        all
    }

    /// Whether the Host of requests matters on a connection of this class. What names a server has
    /// on a network, it can't know unless it is told some.
    pub(super) fn matter_to(&self, class: Class) -> bool {
        let (Class::Data(reach) | Class::Admin(reach)) = class else { return false };
        !self.any
            && match reach {
                Reach::Loopback => true,
                Reach::File => false,
                Reach::Network => !self.names.is_empty(),
            }
    }

    /// Whether a request that addresses the server as this authority may mean another one. No
    /// browser leaves the authority empty.
    pub(super) fn are_foreign(&self, authority: &[u8]) -> bool {
        let host = without_dot(split_port(authority).0);
        let is_local = host.is_empty()
            // One label is a name of the own network, at most.
            || memchr::memchr2(b'.', b'[', host).is_none()
            || ends_with_localhost(host)
            || is_address(host);
        !is_local && !self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// A name that ends with the root's dot means the same without it.
fn without_dot(host: &[u8]) -> &[u8] {
    host.strip_suffix(b".").unwrap_or(host)
}

/// Names below `localhost` lead to the own machine (RFC 6761 §6.3).
fn ends_with_localhost(host: &[u8]) -> bool {
    let split = host.split_last_chunk::<10>();
    split.is_some_and(|(_, end)| end.eq_ignore_ascii_case(b".localhost"))
}

/// Whether it is an address, which nobody can have lead elsewhere. Left out are those that stand for
/// the own machine without browsers taking them for it, since they say nothing there of the page
/// that asks: the unspecified address, and IPv4 written as IPv6.
fn is_address(host: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(host) else { return false };
    let address = match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => text.parse::<Ipv4Addr>().map(IpAddr::V4),
    };
    address.is_ok_and(|address| !address.is_unspecified() && address == address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_machines_are_foreign() {
        let hosts = Hosts::new(&[Host::Name("Cache.Example.".to_owned())]);
        for own in [
            "",
            ":80",
            "localhost",
            "LOCALHOST:80",
            "localhost.",
            "a.localhost",
            "a.b.LocalHost.:1",
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.0.0.1.",
            "10.1.2.3",
            "[::1]",
            "[::1]:8080",
            "[2001:DB8::1]:1",
            "corekv",
            "corekv:8080",
            "corekv.",
            "a_b",
            "cache.example",
            "CACHE.example.:443",
        ] {
            assert!(!hosts.are_foreign(own.as_bytes()), "{own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:8080",
            "EVIL.example.",
            "a.cache.example",
            "cache.example.evil",
            "xlocalhost.a",
            "localhost.evil.example",
            "a.notlocalhost",
            "127.0.0.1.evil.example",
            "127.1",
            "1.2.3.4.5",
            "0.0.0.0",
            "0.0.0.0:80",
            "[::]:80",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]:80",
            "[v1.a]",
            "[::1%25lo]",
            "a..",
            ".localhost.a",
        ] {
            assert!(hosts.are_foreign(foreign.as_bytes()), "{foreign}");
        }
    }

    #[test]
    fn they_matter_where_a_browser_comes_in() {
        let (none, any) = (Hosts::default(), Hosts::new(&[Host::Name("a".into()), Host::Any]));
        let named = Hosts::new(&[Host::Name("a".to_owned())]);
        for (reach, expected) in [
            (Reach::Loopback, [true, true, false]),
            (Reach::Network, [false, true, false]),
            (Reach::File, [false, false, false]),
        ] {
            for class in [Class::Data(reach), Class::Admin(reach)] {
                assert_eq!([&none, &named, &any].map(|hosts| hosts.matter_to(class)), expected);
            }
        }
    }

    #[test]
    fn hosts_are_read() {
        assert_eq!("any".parse(), Ok(Host::Any));
        for right in ["a", "a.b", "a.b.", "10.0.0.1", "[::1]"] {
            assert_eq!(right.parse(), Ok(Host::Name(right.to_owned())));
        }
        for wrong in ["", "a:80", "a:", "[::1]:80", "a b", "a,b", "http://a", "a/b", "::1", "*.a"] {
            assert!(wrong.parse::<Host>().is_err(), "{wrong}");
        }
    }
}
