//! One client socket, of either family, or with TLS on it.

use std::io::{self, Read, Write};

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::target::Endpoint;
use super::tls::{Tls, TlsStream};

/// A non-blocking stream.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Begins to connect; the stream becomes writable when it has.
    pub(super) fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp(address) => TcpStream::connect(*address).map(Self::Tcp),
            Endpoint::Unix(path) => UnixStream::connect(path).map(Self::Unix),
        }
    }

    /// Whether connecting has come to an end, and how.
    pub(super) fn connected(&self) -> io::Result<bool> {
        match self {
            Self::Tcp(stream) => {
                if let Some(error) = stream.take_error()? {
                    return Err(error);
                }
                match stream.peer_addr() {
                    Ok(_) => stream.set_nodelay(true).map(|()| true),
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
                    Err(error) => Err(error),
                }
            }
            Self::Unix(stream) => match stream.take_error()? {
                Some(error) => Err(error),
                None => Ok(true),
            },
            // It was connected before it was secured.
            Self::Tls(_) => Ok(true),
        }
    }

    /// Puts TLS on a socket that has connected; [`Stream::handshake`] is next.
    pub(super) fn secure(self, tls: &Tls) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => TlsStream::new(tls, socket).map(Box::new).map(Self::Tls),
            other => Ok(other),
        }
    }

    /// Goes on with the TLS handshake. Returns whether it is over.
    pub(super) fn handshake(&mut self) -> io::Result<bool> {
        match self {
            Self::Tls(stream) => stream.handshake(),
            Self::Tcp(_) | Self::Unix(_) => Ok(true),
        }
    }

    /// Whether bytes that [`Stream::write`] took wait for the socket.
    pub(super) fn has_pending(&self) -> bool {
        match self {
            Self::Tls(stream) => stream.has_pending(),
            Self::Tcp(_) | Self::Unix(_) => false,
        }
    }

    /// Has the stream watched for everything.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Tcp(stream) => registry.register(stream, token, interest),
            Self::Unix(stream) => registry.register(stream, token, interest),
            // It was registered before it was secured.
            Self::Tls(_) => Ok(()),
        }
    }

    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
            Self::Tls(stream) => stream.read(bytes),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }
}
