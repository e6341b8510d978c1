//! Programs and servers of others that the load generator is measured with.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub fn wait_until(condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(30), "waited in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Where a program is. With `PEERS_REQUIRED` set a missing one fails the test, which otherwise
/// skips itself.
pub fn program(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(Path::new);
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("PEERS_REQUIRED").is_none(), "{name} is not installed");
        println!("{name} is not installed");
    }
    found
}

/// A certificate that nobody vouches for but itself, and its key, as PEM files.
#[derive(Debug)]
pub struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// Made by openssl; nothing if that isn't installed.
    pub fn make() -> Option<Self> {
        Self::make_for("DNS:localhost,IP:127.0.0.1")
    }

    /// The same for other names.
    pub fn make_for(names: &str) -> Option<Self> {
        let openssl = program("openssl")?;
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new(openssl)
            .current_dir(folder.path())
            .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-addext", &format!("subjectAltName={names}")])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        Some(Self { folder })
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Peer {
    pub uri: String,
    child: Child,
    _folder: TempDir,
}

impl Peer {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// nginx, which serves `index.html` and `big` and whatever `location` says. Nothing if it isn't
    /// installed.
    pub fn nginx(location: &str, certificate: Option<&Certificate>) -> Option<Self> {
        let path = program("nginx")?;
        let folder = folder();
        let address = free_address();
        let root = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {root}/{name};"))
            .concat();
        let (scheme, listen) = match certificate {
            None => ("http", format!("listen {address};")),
            Some(certificate) => (
                "https",
                format!(
                    "listen {address} ssl; ssl_certificate {}; ssl_certificate_key {};",
                    certificate.path().display(),
                    certificate.key().display()
                ),
            ),
        };
        let config = format!(
            "worker_processes 1; daemon off; pid {root}/pid; error_log {root}/errors;
             events {{ worker_connections 100; }}
             http {{ access_log off; {temporary}
             server {{ {listen} root {root}; keepalive_requests 500; {location} }} }}"
        );
        std::fs::write(folder.path().join("config"), config).unwrap();
        let child = Command::new(path)
            .arg("-c")
            .arg(folder.path().join("config"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until(|| TcpStream::connect(address).is_ok());
        Some(Self { uri: format!("{scheme}://{address}"), child, _folder: folder })
    }

    /// Python's http.server. Nothing if Python isn't installed.
    pub fn python() -> Option<Self> {
        let path = program("python3")?;
        let folder = folder();
        let mut child = Command::new(path)
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.split_ascii_whitespace().nth(5).expect(&line);
        Some(Self { uri: format!("http://127.0.0.1:{port}"), child, _folder: folder })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // nginx takes its worker with it when it is asked to end, not when it is killed.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Bytes of the long file.
pub const BIG: usize = 200_000;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index.html"), "<p>hello</p>").unwrap();
    std::fs::write(folder.path().join("big"), "b".repeat(BIG)).unwrap();
    folder
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
