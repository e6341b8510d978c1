//! `https://`: what connections are secured with, and one secured connection.
//!
//! ```text
//!  write: bytes -> session (encrypts) -> pending -> socket
//!  read:  socket -> received -> session (decrypts) -> bytes
//! ```

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::error::Error;

/// Encrypted bytes that one receive takes at most: those of the longest record.
const RECEIVE_BYTES: usize = 17 * 1024;

/// Whose certificates are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those that the authorities vouch for that the system trusts.
    #[default]
    System,
    /// Those that the authorities in a PEM file vouch for.
    File(PathBuf),
    /// All.
    Anyone,
}

/// How connections are secured: the same for all of a run.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// Connections to the server of this name or address.
    pub fn new(host: &str, trust: &Trust) -> Result<Self, Error> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Error::usage(format!("'{host}' is not a name that TLS can check")))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            // The provider has cipher suites for both versions.
            .expect("a provider for TLS 1.2 and 1.3");
        let builder = match trust {
            Trust::Anyone => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(TrustAnyone(provider))),
            Trust::File(path) => builder.with_root_certificates(roots(path)?),
            Trust::System => {
                let path = openssl_probe::probe().cert_file.ok_or_else(|| {
                    Error::usage("no file of trusted authorities was found, name one by --cacert")
                })?;
                builder.with_root_certificates(roots(&path)?)
            }
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Each connection stands for a client of its own.
        config.resumption = Resumption::disabled();
        Ok(Self { config: Arc::new(config), name })
    }

    fn session(&self) -> io::Result<ClientConnection> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Shakes hands over a blocking socket, and says what came of it.
    pub fn probe(&self, socket: &mut (impl Read + Write)) -> io::Result<String> {
        let mut session = self.session()?;
        while session.is_handshaking() || session.wants_write() {
            session.complete_io(socket)?;
        }
        let version = session.protocol_version().and_then(|version| version.as_str());
        let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        Ok(format!("{} {}", version.unwrap_or("TLS"), suite.unwrap_or("")))
    }
}

fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let bad = |why: String| Error::usage(format!("certificates in {}: {why}", path.display()));
    let file = File::open(path).map_err(|error| bad(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_reader_iter(BufReader::new(file)) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        // A file of a system may hold some that this library does not take.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() { Err(bad("none that can be used".to_owned())) } else { Ok(roots) }
}

/// `--insecure`: signatures are checked, as they must be for keys to be agreed on, and the
/// certificate is not.
#[derive(Debug)]
struct TrustAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A non-blocking connection with TLS on it.
#[derive(Debug)]
pub(super) struct TlsStream {
    socket: TcpStream,
    session: ClientConnection,
    received: Box<[u8]>,
    /// The part of `received` that the session has not taken yet.
    start: usize,
    end: usize,
}

impl TlsStream {
    /// Secures a connection that has been established; [`TlsStream::handshake`] is next.
    pub(super) fn new(tls: &Tls, socket: TcpStream) -> io::Result<Self> {
        let received = vec![0; RECEIVE_BYTES].into_boxed_slice();
        Ok(Self { socket, session: tls.session()?, received, start: 0, end: 0 })
    }

    /// Goes on with the handshake as far as the socket lets it. Returns whether it is over.
    pub(super) fn handshake(&mut self) -> io::Result<bool> {
        loop {
            match self.send_pending() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                sent => sent?,
            }
            if !self.session.is_handshaking() {
                return Ok(true);
            }
            if self.start == self.end {
                match self.receive() {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            self.decrypt()?;
        }
    }

    /// As of a socket: a read that does not fill `bytes` has emptied the socket.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut length = 0;
        let mut is_drained = false;
        loop {
            match self.session.reader().read(&mut bytes[length..]) {
                // The server has said that it will send no more.
                Ok(0) => return Ok(length),
                Ok(more) => length += more,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if self.start < self.end => self.decrypt()?,
                Err(_) if is_drained && length > 0 => return Ok(length),
                Err(_) => match self.receive() {
                    // Not all servers say so, and a body that is cut shows by its length.
                    Ok(0) => return Ok(length),
                    Ok(more) => is_drained = more < self.received.len(),
                    Err(_) if length > 0 => return Ok(length),
                    Err(error) => return Err(error),
                },
            }
            if length == bytes.len() {
                return Ok(length);
            }
        }
    }

    /// Takes what has to be sent, as far as there is room for it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send_pending()?;
        let length = self.session.writer().write(bytes)?;
        match self.send_pending() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(length),
            sent => sent.map(|()| length),
        }
    }

    /// Whether encrypted bytes wait for the socket to become writable.
    pub(super) fn has_pending(&self) -> bool {
        self.session.wants_write()
    }

    fn send_pending(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Called when the session has taken everything that was received before.
    fn receive(&mut self) -> io::Result<usize> {
        loop {
            match self.socket.read(&mut self.received) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(length) => {
                    (self.start, self.end) = (0, length);
                    return Ok(length);
                }
            }
        }
    }

    /// Hands a piece of what was received to the session.
    fn decrypt(&mut self) -> io::Result<()> {
        let mut rest = &self.received[self.start..self.end];
        match self.session.read_tls(&mut rest)? {
            // It takes nothing after the server has said that it will send no more.
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            taken => self.start += taken,
        }
        if let Err(error) = self.session.process_new_packets() {
            // The alert says to the server why, if it still listens.
            let _ = self.session.write_tls(&mut self.socket);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(())
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        // Without this the server could not tell the end from an attacker's. Nobody waits for it.
        self.session.send_close_notify();
        let _ = self.session.write_tls(&mut self.socket);
    }
}
