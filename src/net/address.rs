//! Where a server listens.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

use super::class::Reach;

/// A TCP address or the path of a Unix-domain socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IP address and port; port 0 lets the operating system choose.
    Tcp(SocketAddr),
    /// The path of a stream socket in the file system, written `unix:/path`.
    Unix(PathBuf),
}

/// The text is no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is neither HOST:PORT nor unix:PATH", self.0)
    }
}

impl std::error::Error for AddressError {}

impl Address {
    /// Who can reach a listener at the address.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match self {
            Self::Tcp(address) if address.ip().to_canonical().is_loopback() => Reach::Loopback,
            Self::Tcp(_) => Reach::Network,
            Self::Unix(_) => Reach::File,
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(error()) } else { Ok(Self::Unix(path.into())) };
        }
        // A host name such as `localhost` stands for the first address that it resolves to.
        let mut addresses = text.to_socket_addrs().map_err(|_| error())?;
        addresses.next().map(Self::Tcp).ok_or_else(error)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        let tcp: Address = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(tcp.to_string(), "http://127.0.0.1:8080");
        let unix: Address = "unix:/run/x".parse().unwrap();
        assert_eq!(unix, Address::Unix("/run/x".into()));
        assert_eq!(unix.reach(), Reach::File);
        for (text, reach) in [
            ("127.0.0.1:1", Reach::Loopback),
            ("127.9.9.9:1", Reach::Loopback),
            ("[::1]:1", Reach::Loopback),
            ("[::ffff:127.0.0.1]:1", Reach::Loopback),
            ("0.0.0.0:1", Reach::Network),
            ("[::]:1", Reach::Network),
            ("192.0.2.1:1", Reach::Network),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().reach(), reach, "{text}");
        }
        for wrong in ["", "8080", "127.0.0.1", "unix:", "1.2.3.4:70000"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
