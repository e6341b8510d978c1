//! The server that is right, or wrong in one chosen way.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, SockRef, Socket, Type};

use super::peer::Certificate;

/// What the server does wrong. Counts are of GETs over all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Once, two neighbouring values of a batch are exchanged.
    Swap,
    /// Once, a GET gets no answer.
    Drop,
    /// Once, a GET gets the value that the last write replaced.
    Stale,
    /// Once, a value is one byte short.
    ShortValue,
    /// Once, a GET of a stored key gets 404.
    Lose,
    /// Once, bytes are sent that are no response.
    Garbage,
    /// Every connection is closed after so many answers, without a word.
    CloseEarly(u64),
    /// Every connection is closed after so many answers, as the last one says.
    CloseAnnounced(u64),
    /// Every connection is reset after so many answers.
    Reset(u64),
    /// Each connection takes so many milliseconds for each GET.
    Slow(u64),
    /// GETs are never answered.
    Mute,
    /// Connections are accepted, and nothing is ever answered.
    MuteFromTheStart,
    /// Once, the whole server sleeps for so many milliseconds.
    Stall(u64),
    /// GETs fail.
    Status(u16),
    /// Bodies are chunked.
    Chunked,
    /// HTTP/1.0: the end of the body is the end of the connection.
    UntilClose,
    /// The first GET of a connection is answered with these bytes, the second of them without end.
    Flood(&'static [u8], &'static [u8]),
}

/// The GET that a fault of "once" happens at.
const FAULT_AT: u64 = 200;

#[derive(Debug)]
struct State {
    fault: Fault,
    values: Mutex<HashMap<Vec<u8>, Stored>>,
    gets: AtomicU64,
    connections: AtomicU64,
    is_done: AtomicBool,
    requests: Mutex<Vec<String>>,
}

#[derive(Debug, Default, Clone)]
struct Stored {
    new: Option<Vec<u8>>,
    old: Option<Vec<u8>>,
    /// The request that wrote last.
    written_by: Option<Place>,
}

/// Where a request came: the connection's number, and the request's on it.
#[derive(Debug, Clone, Copy)]
struct Place {
    connection: u64,
    request: u64,
}

/// More than the requests that one connection has on their way at a time.
const ON_THEIR_WAY: u64 = 16;

/// The server. Its threads end with the test process.
#[derive(Debug)]
pub struct Double {
    pub uri: String,
    state: Arc<State>,
}

impl Double {
    pub fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let state = State::new(fault);
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_nodelay(true).unwrap();
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { uri, state }
    }

    /// After its first connection the server accepts none for a while, and few fit into the
    /// queue. A client that finds the queue full waits for a second before it asks again.
    pub fn start_slow_to_accept() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(1).unwrap();
        let mut pause = Duration::from_millis(500);
        let listener = TcpListener::from(socket);
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let state = State::new(Fault::None);
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_nodelay(true).unwrap();
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &state));
                std::thread::sleep(std::mem::take(&mut pause));
            }
        });
        Self { uri, state }
    }

    /// The same with TLS.
    pub fn start_tls(fault: Fault, certificate: &Certificate) -> Self {
        Self::start_tls_for(fault, certificate, u64::MAX)
    }

    /// The first connection is secured; all others are accepted, and nothing is said on them.
    pub fn start_tls_once(certificate: &Certificate) -> Self {
        Self::start_tls_for(Fault::None, certificate, 1)
    }

    fn start_tls_for(fault: Fault, certificate: &Certificate, connections: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("https://{}", listener.local_addr().unwrap());
        let state = State::new(fault);
        let shared = Arc::clone(&state);
        let config = server_config(certificate);
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for (number, stream) in (0..).zip(listener.incoming().flatten()) {
                if number >= connections {
                    silent.push(stream);
                    continue;
                }
                stream.set_nodelay(true).unwrap();
                let state = Arc::clone(&shared);
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                std::thread::spawn(move || serve(StreamOwned::new(session, stream), &state));
            }
        });
        Self { uri, state }
    }

    pub fn start_unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let state = State::new(Fault::None);
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { uri: String::new(), state }
    }

    /// Every request so far, `METHOD target bytes-of-body`, in the order of arrival.
    pub fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }
}

impl State {
    fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            fault,
            values: Mutex::default(),
            gets: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            is_done: AtomicBool::new(false),
            requests: Mutex::default(),
        })
    }

    /// True once, at the right GET or later.
    fn strikes(&self, fault: Fault, get: u64) -> bool {
        self.fault == fault && get >= FAULT_AT && !self.is_done.swap(true, Ordering::Relaxed)
    }
}

fn server_config(certificate: &Certificate) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_file_iter(certificate.path()).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificate.key()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    Arc::new(config)
}

/// A socket of either family, or one with TLS.
pub trait Stream: Read + Write {
    /// Says that nothing more will be sent.
    fn finish(&mut self);
    /// Has the connection reset when it is dropped.
    fn reset_on_drop(&self);
}

impl Stream for TcpStream {
    fn reset_on_drop(&self) {
        SockRef::from(self).set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn finish(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Stream for StreamOwned<ServerConnection, TcpStream> {
    fn reset_on_drop(&self) {
        self.sock.reset_on_drop();
    }

    fn finish(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
        let _ = self.sock.shutdown(Shutdown::Write);
    }
}

impl Stream for UnixStream {
    fn reset_on_drop(&self) {}

    fn finish(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

struct Request {
    method: String,
    target: String,
    body: Vec<u8>,
    length: usize,
}

fn parse(bytes: &[u8]) -> Option<Request> {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut fields);
    let head = match request.parse(bytes).expect("the load generator sends HTTP") {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return None,
    };
    let body = request
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |field| std::str::from_utf8(field.value).unwrap().parse().unwrap());
    (bytes.len() >= head + body).then(|| Request {
        method: request.method.unwrap().to_owned(),
        target: request.path.unwrap().to_owned(),
        body: bytes[head..head + body].to_vec(),
        length: head + body,
    })
}

fn serve(mut stream: impl Stream, state: &State) {
    let mut input = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let connection = state.connections.fetch_add(1, Ordering::Relaxed);
    let mut answered = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => input.extend_from_slice(&buffer[..length]),
            _ => return,
        }
        match state.fault {
            Fault::MuteFromTheStart => continue,
            Fault::Flood(head, more) if input.windows(4).any(|bytes| bytes == b"GET ") => {
                return flood(&mut stream, head, more);
            }
            _ => {}
        }
        let mut answers: Vec<Vec<u8>> = Vec::new();
        let mut is_closing = false;
        while let Some(request) = parse(&input) {
            input.drain(..request.length);
            let place = Place { connection, request: answered };
            let Some(mut answer) = answer(state, &request, place) else { continue };
            answered += 1;
            match state.fault {
                Fault::Slow(ms) if request.method == "GET" => {
                    std::thread::sleep(Duration::from_millis(ms));
                    if stream.write_all(&answer).is_err() {
                        return;
                    }
                    continue;
                }
                Fault::Reset(after) | Fault::CloseEarly(after) => is_closing = answered == after,
                Fault::CloseAnnounced(after) if answered == after => {
                    is_closing = true;
                    let status_end = answer.windows(2).position(|pair| pair == b"\r\n").unwrap();
                    answer.splice(status_end..status_end, *b"\r\nConnection: close");
                }
                Fault::UntilClose => is_closing = request.method == "GET",
                _ => {}
            }
            answers.push(answer);
            if is_closing {
                break;
            }
        }
        if state.fault == Fault::Swap {
            swap(state, &mut answers);
        }
        let sent = stream.write_all(&answers.concat());
        if is_closing && matches!(state.fault, Fault::Reset(_)) {
            return stream.reset_on_drop();
        }
        if sent.is_err() || is_closing {
            return close(&mut stream);
        }
    }
}

/// Sends without end what begins as an answer.
fn flood(stream: &mut impl Stream, head: &[u8], more: &[u8]) {
    let more = more.repeat((64 << 10) / more.len());
    let mut sent = stream.write_all(head);
    while sent.is_ok() {
        sent = stream.write_all(&more);
    }
}

/// Exchanges two different values that follow each other.
fn swap(state: &State, answers: &mut [Vec<u8>]) {
    let is_value = |answer: &[u8]| answer.starts_with(b"HTTP/1.1 200");
    let pair = answers
        .windows(2)
        .position(|pair| pair[0] != pair[1] && pair.iter().all(|answer| is_value(answer)));
    if let Some(index) = pair
        && state.strikes(Fault::Swap, state.gets.load(Ordering::Relaxed))
    {
        answers.swap(index, index + 1);
    }
}

/// Closing a socket with unread input resets the connection, and the answers may be lost.
fn close(stream: &mut impl Stream) {
    stream.finish();
    let mut buffer = [0; 16 * 1024];
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

fn answer(state: &State, request: &Request, place: Place) -> Option<Vec<u8>> {
    let Request { method, target, body, .. } = request;
    let log = format!("{method} {target} {}", String::from_utf8_lossy(body));
    state.requests.lock().unwrap().push(log);
    let mut values = state.values.lock().unwrap();
    let key = target.as_bytes().to_vec();
    let is_read = method == "GET" || method == "HEAD";
    if !is_read {
        let slot = values.entry(key).or_default();
        slot.old = slot.new.take();
        slot.new = (method != "DELETE").then(|| body.clone());
        slot.written_by = Some(place);
        return Some(match (slot.old.is_some(), method.as_str()) {
            (false, "DELETE") => response(404, b"", false),
            (true, _) => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            (false, _) => response(201, b"", false),
        });
    }
    let get = state.gets.fetch_add(1, Ordering::Relaxed);
    let Stored { new, old, written_by } = values.get(&key).cloned().unwrap_or_default();
    if let Fault::Stall(ms) = state.fault
        && state.strikes(state.fault, get)
    {
        // The lock is held, so that every connection stalls.
        std::thread::sleep(Duration::from_millis(ms));
    }
    if state.strikes(Fault::Drop, get) || state.fault == Fault::Mute {
        return None;
    }
    if state.strikes(Fault::Garbage, get) {
        return Some(b"ICY 200 OK\r\n\r\n".to_vec());
    }
    if let Fault::Status(status) = state.fault {
        return Some(response(status, b"no", false));
    }
    let mut value = new;
    // The same connection wrote it, and this read can't have been sent before it was told so.
    let is_known = written_by.is_some_and(|by| {
        by.connection == place.connection && place.request > by.request + ON_THEIR_WAY
    });
    if old.is_some() && is_known && state.strikes(Fault::Stale, get) {
        value = old;
    }
    if state.strikes(Fault::Lose, get) {
        value = None;
    }
    let Some(mut value) = value else { return Some(response(404, b"", false)) };
    if state.strikes(Fault::ShortValue, get) {
        value.pop();
    }
    Some(match (method.as_str(), state.fault) {
        ("HEAD", _) => {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", value.len()).into_bytes()
        }
        (_, Fault::UntilClose) => [b"HTTP/1.0 200 OK\r\n\r\n", value.as_slice()].concat(),
        (_, fault) => response(200, &value, fault == Fault::Chunked),
    })
}

fn response(status: u16, body: &[u8], is_chunked: bool) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} Status\r\n").into_bytes();
    if is_chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        for piece in body.chunks(3) {
            out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n\r\n");
    } else {
        out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        out.extend_from_slice(body);
    }
    out
}
