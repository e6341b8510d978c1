//! Another web site: it has one page, whose scripts tell the test what they came to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use testkit::PATIENCE;

/// The site; its threads end with the connections.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) port: u16,
    reports: Receiver<String>,
}

/// What the page's scripts have at hand.
const PRELUDE: &str = "<!doctype html><script>
const report = (text) => fetch('/report', {method: 'POST', body: text});
</script>
";

impl Site {
    /// A site that shows `page` at `/`. Requests for anything else are handed on to the server at
    /// `behind`: so the site's name leads there as well, as after DNS rebinding.
    pub(crate) fn start(page: &str, behind: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (page, behind) = (format!("{PRELUDE}{page}"), behind.to_owned());
        let (sender, reports) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (page, behind, sender) = (page.clone(), behind.clone(), sender.clone());
                thread::spawn(move || serve(stream, &page, &behind, &sender));
            }
        });
        Self { port, reports }
    }

    /// What the page reported next.
    #[track_caller]
    pub(crate) fn report(&self) -> String {
        self.reports.recv_timeout(PATIENCE).expect("the page reports")
    }
}

/// Answers one request and closes.
fn serve(mut stream: TcpStream, page: &str, behind: &str, reports: &Sender<String>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? <= 2 {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = if head.starts_with("GET / ") {
        format!("Content-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}", page.len())
    } else if head.starts_with("POST /report ") {
        reports.send(String::from_utf8_lossy(&body).into_owned()).ok()?;
        "Content-Length: 0\r\n\r\n".to_owned()
    } else {
        let mut server = TcpStream::connect(behind).ok()?;
        server.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).ok()?;
        server.write_all(&body).ok()?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).ok()?;
        return stream.write_all(&answer).ok();
    };
    stream.write_all(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{answer}").as_bytes()).ok()
}
