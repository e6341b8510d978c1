//! A relay between a proxy and the server that keeps what passes in both directions. Since the
//! proxy marks each request that it forwards with a secret, what the server answered can be
//! compared with what the proxy asked.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use testkit::{Response, read_response, show};

/// What the proxies add to every request that they forward; no client here sends it.
pub(crate) const MARK: &str = "X-Mark: 5f0c9e2b71d84a36";

/// Everything that one connection has carried.
#[derive(Debug, Default)]
struct Record {
    to_server: Vec<u8>,
    to_proxy: Vec<u8>,
    /// It has shown a surplus; what follows on it is out of step and says no more.
    is_out_of_step: bool,
}

/// The relay. Its threads end with the connections.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) address: String,
    records: Arc<Mutex<Vec<Arc<Mutex<Record>>>>>,
}

impl Tap {
    /// Relays to the server at `target`.
    pub(crate) fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let records: Arc<Mutex<Vec<Arc<Mutex<Record>>>>> = Arc::default();
        let kept = Arc::clone(&records);
        let target = target.to_owned();
        thread::spawn(move || {
            for proxy in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&target) else { break };
                let record = Arc::<Mutex<Record>>::default();
                kept.lock().unwrap().push(Arc::clone(&record));
                relay(&proxy, &server, Arc::clone(&record), |record| &mut record.to_server);
                relay(&server, &proxy, record, |record| &mut record.to_proxy);
            }
        });
        Self { address, records }
    }

    /// Connections that the proxy has opened.
    pub(crate) fn connections(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    /// Requests that the proxy has marked as its own.
    pub(crate) fn requests(&self) -> usize {
        let records = self.records.lock().unwrap();
        records.iter().map(|record| marks(&record.lock().unwrap().to_server).count()).sum()
    }

    /// What shows that the server saw a request where the proxy saw none. Said once of each
    /// connection.
    pub(crate) fn surplus(&self) -> Option<String> {
        let records = self.records.lock().unwrap();
        records.iter().find_map(|record| {
            let mut record = record.lock().unwrap();
            let (asked, answered) =
                (marks(&record.to_server).count(), responses(&record.to_proxy).len());
            let is_new = answered > asked && !record.is_out_of_step;
            record.is_out_of_step |= is_new;
            is_new.then(|| {
                format!(
                    "{answered} responses to {asked} requests; sent:\n    {}\n  got:\n    {}",
                    show(&record.to_server),
                    show(&record.to_proxy)
                )
            })
        })
    }

    /// Whether the proxy itself forwarded a request for `target`.
    pub(crate) fn forwarded(&self, target: &str) -> bool {
        let records = self.records.lock().unwrap();
        records.iter().any(|record| {
            let record = record.lock().unwrap();
            marks(&record.to_server).any(|mark| {
                let before = &record.to_server[..mark];
                // The head that the mark stands in begins after the blank line or body before it,
                // so the last target before the mark is its request's.
                let at = rfind(before, b" HTTP/1.");
                at.is_some_and(|at| before[..at].ends_with(format!(" {target}").as_bytes()))
            })
        })
    }
}

fn relay(
    from: &TcpStream,
    to: &TcpStream,
    record: Arc<Mutex<Record>>,
    side: fn(&mut Record) -> &mut Vec<u8>,
) {
    let mut from = from.try_clone().expect("the socket can be shared");
    let mut to = to.try_clone().expect("the socket can be shared");
    let _ = to.set_nodelay(true);
    thread::spawn(move || {
        let mut piece = vec![0; 64 * 1024];
        while let Ok(len @ 1..) = from.read(&mut piece) {
            // Kept before it is passed on: who sees its effect sees the record of it, too.
            side(&mut record.lock().unwrap()).extend_from_slice(&piece[..len]);
            if to.write_all(&piece[..len]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
        // A side that can no longer be written to is not read from either.
        let _ = from.shutdown(Shutdown::Read);
    });
}

fn marks(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let mark = MARK.to_ascii_lowercase().into_bytes();
    bytes
        .windows(mark.len())
        .enumerate()
        .filter(move |(_, window)| window.eq_ignore_ascii_case(&mark))
        .map(|(at, _)| at)
}

fn rfind(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).rposition(|window| window == what)
}

/// The final responses in a stream of them; no response to HEAD among them announces a body.
fn responses(mut bytes: &[u8]) -> Vec<Response> {
    let mut answers = Vec::new();
    while let Some((answer, len)) = read_response(bytes, false, false).expect("responses") {
        if answer.status >= 200 {
            answers.push(answer);
        }
        bytes = &bytes[len..];
    }
    answers
}
