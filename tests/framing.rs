//! Where a request ends: every rule of RFC 9112 as one row of a table, each row sent whole, split
//! at every byte, byte by byte, and in the middle of a pipeline.

#[path = "framing/rows.rs"]
mod rows;

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use rows::{After, Answer, Kept, Row, hopeless, rows};
use testkit::{Client, Server, error_line, normalise, parse, show};

/// Stands in a row for a key that no other run uses.
const KEY: &[u8] = b"KKKKKKKK";
/// A request whose answer is known, with which a test proves that the connection is in step.
const PROBE: &[u8] = b"GET /hit HTTP/1.1\r\nHost: t\r\n\r\n";
const PROBE_ANSWER: &str = "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Length: 5\r\n\r\nvalue";
/// The same, after which the server closes, so that everything can be read to the end.
const LAST: &[u8] = b"GET /hit HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
const LAST_ANSWER: &str =
    "HTTP/1.1 200 OK\r\nDate: -\r\nConnection: close\r\nContent-Length: 5\r\n\r\nvalue";
/// Rows longer than this are split at some of their bytes only.
const SPLIT_BYTES_MAX: usize = 600;

static RUNS: AtomicU32 = AtomicU32::new(0);

/// A row with a key of its own, ready to be sent.
struct Run<'a> {
    row: &'a Row,
    how: String,
    key: String,
    bytes: Vec<u8>,
    before: bool,
}

impl<'a> Run<'a> {
    fn new(row: &'a Row, how: impl Into<String>) -> Self {
        let key = format!("k{:07x}", RUNS.fetch_add(1, Ordering::Relaxed));
        let mut bytes = row.bytes.clone();
        for at in 0..bytes.len().saturating_sub(KEY.len() - 1) {
            if bytes[at..].starts_with(KEY) {
                bytes[at..at + KEY.len()].copy_from_slice(key.as_bytes());
            }
        }
        Self { row, how: how.into(), key, bytes, before: false }
    }

    /// With a good request before the row and another one after it.
    fn in_a_pipeline(row: &'a Row) -> Self {
        let mut run = Self::new(row, "in a pipeline");
        run.bytes.splice(0..0, PROBE.iter().copied());
        run.before = true;
        run
    }

    /// What follows the row: a request that is answered exactly if the connection lives on.
    fn tail(&self) -> &'static [u8] {
        if self.row.after == After::Waits { b"" } else { LAST }
    }

    /// Sends the rest, and ends the stream where the row is not complete.
    fn finish(&self, client: &mut Client, rest: &[u8]) {
        client.send([rest, self.tail()].concat());
        if self.row.after == After::Waits {
            client.half_close();
        }
    }

    /// Reads everything that the server has to say, and checks it.
    fn check(&self, client: &mut Client) -> Result<(), String> {
        let received = normalise(&client.read_to_end());
        self.compare(&received).map_err(|why| {
            format!(
                "row {:?} ({}), {}: {why}\n  sent\n    {}\n  received\n    {}\n",
                self.row.name,
                self.row.section,
                self.how,
                show(&self.bytes),
                show(&received)
            )
        })
    }

    fn compare(&self, received: &[u8]) -> Result<(), String> {
        let mut rest = received;
        if self.before {
            rest = strip(rest, PROBE_ANSWER)?;
        }
        for (at, answer) in self.row.answers.iter().enumerate() {
            let closes = self.row.after == After::Closed && at + 1 == self.row.answers.len();
            rest = self.strip_answer(rest, answer, closes)?;
        }
        if self.row.after == After::Open {
            rest = strip(rest, LAST_ANSWER)
                .map_err(|_| "the connection did not take the next request".to_owned())?;
        }
        if rest.is_empty() { Ok(()) } else { Err(format!("too much: {}", show(rest))) }
    }

    fn strip_answer<'b>(
        &self,
        rest: &'b [u8],
        answer: &Answer,
        closes: bool,
    ) -> Result<&'b [u8], String> {
        match *answer {
            Answer::Hit => strip(rest, PROBE_ANSWER),
            Answer::Miss => {
                strip(rest, "HTTP/1.1 404 Not Found\r\nDate: -\r\nContent-Length: 0\r\n\r\n")
            }
            Answer::Created => {
                strip(rest, "HTTP/1.1 201 Created\r\nDate: -\r\nContent-Length: 0\r\n\r\n")
            }
            Answer::NoContent => strip(rest, "HTTP/1.1 204 No Content\r\nDate: -\r\n\r\n"),
            Answer::Continue => strip(rest, "HTTP/1.1 100 Continue\r\n\r\n"),
            Answer::Exact(text) => strip(rest, text),
            Answer::Error(status) => self.strip_error(rest, status, "", closes),
            Answer::ErrorWith(status, field) => self.strip_error(rest, status, field, closes),
        }
    }

    fn strip_error<'b>(
        &self,
        rest: &'b [u8],
        status: u16,
        field: &str,
        closes: bool,
    ) -> Result<&'b [u8], String> {
        let start = format!("HTTP/1.1 {status} ");
        if !rest.starts_with(start.as_bytes()) {
            return Err(format!("expected {status} next, not {}", show(rest)));
        }
        let Some((error, len)) = parse(rest, false) else {
            return Err(format!("the error is cut off: {}", show(rest)));
        };
        let length = error.body.len();
        let form = |connection: &str| {
            format!(
                "{start}{}\r\nDate: -\r\n{connection}Content-Type: text/plain\r\n{field}\
                 Content-Length: {length}\r\n\r\n",
                error.reason
            )
        };
        let head = String::from_utf8_lossy(&error.head);
        // HTTP/1.0 closes by default, so that the field may be there or not.
        let is_old = self.row.bytes.windows(10).any(|w| w == b"HTTP/1.0\r\n");
        let expected = form(if closes { "Connection: close\r\n" } else { "" });
        if head != expected && !(closes && is_old && head == form("")) {
            return Err(format!("expected the head\n    {}", show(expected.as_bytes())));
        }
        if !error_line(&error.body) {
            return Err(format!("not one line of text: {}", show(&error.body)));
        }
        Ok(&rest[len..])
    }

    /// Checks what became of the row's key.
    fn check_kept(&self, client: &mut Client) -> Result<(), String> {
        let expected = match self.row.kept {
            Kept::Unchecked => return Ok(()),
            Kept::Nothing => (404, &b""[..]),
            Kept::Value(value) => (200, value),
        };
        let response = client.get(&format!("/{}", self.key));
        if (response.status, &response.body[..]) == expected {
            return Ok(());
        }
        Err(format!(
            "row {:?} ({}), {}: afterwards the key holds {} {}\n",
            self.row.name,
            self.row.section,
            self.how,
            response.status,
            show(&response.body)
        ))
    }
}

fn strip<'a>(rest: &'a [u8], expected: &str) -> Result<&'a [u8], String> {
    rest.strip_prefix(expected.as_bytes())
        .ok_or_else(|| format!("expected next\n    {}", show(expected.as_bytes())))
}

/// A server that holds `/hit`, and one connection to each of its cores.
struct Setup {
    server: Server,
    cores: Vec<Client>,
}

impl Setup {
    fn new() -> Self {
        let server = Server::start(&["--value-bytes-max", "32MiB"]);
        // Consecutive connections are dealt to different cores.
        let mut cores: Vec<_> = (0..server.cores()).map(|_| server.connect()).collect();
        assert_eq!(cores[0].put("/hit", "value").status, 201);
        Self { server, cores }
    }

    /// Returns when every core has come round to reading what was sent before the call: its
    /// answer to a request that is sent now comes after that.
    fn let_the_server_read(&mut self) {
        for core in &mut self.cores {
            core.send(PROBE);
        }
        for core in &mut self.cores {
            assert_eq!(core.response().status, 200);
        }
    }

    fn kept(&mut self) -> &mut Client {
        &mut self.cores[0]
    }
}

fn report(failures: &[String], runs: usize) {
    const SHOWN_MAX: usize = 25;
    let mut text = String::new();
    for failure in failures.iter().take(SHOWN_MAX) {
        let _ = writeln!(text, "{failure}");
    }
    assert!(failures.is_empty(), "{} of {runs} runs failed:\n{text}", failures.len());
}

#[test]
fn the_table_is_as_large_as_it_says() {
    let rows = rows();
    assert!(rows.len() >= 170, "{} rows", rows.len());
    let names: HashSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len(), "two rows share a name");
    for row in &rows {
        let errors = row.answers.iter().any(|a| matches!(a, Answer::Error(400 | 431 | 505)));
        let key = row.bytes.windows(KEY.len()).any(|w| w == KEY);
        assert!(row.kept == Kept::Unchecked || key, "{:?} has no key to check", row.name);
        assert!(!errors || row.after != After::Waits, "{:?}", row.name);
    }
}

#[test]
fn every_row_whole() {
    let mut setup = Setup::new();
    let rows = rows();
    let mut failures = Vec::new();
    for row in &rows {
        let run = Run::new(row, "whole");
        let mut client = setup.server.connect();
        run.finish(&mut client, &run.bytes);
        failures.extend(run.check(&mut client).err());
        failures.extend(run.check_kept(setup.kept()).err());
    }
    report(&failures, rows.len());
}

#[test]
fn every_row_in_the_middle_of_a_pipeline() {
    let mut setup = Setup::new();
    let rows = rows();
    let mut failures = Vec::new();
    for row in &rows {
        let run = Run::in_a_pipeline(row);
        let mut client = setup.server.connect();
        run.finish(&mut client, &run.bytes);
        failures.extend(run.check(&mut client).err());
        failures.extend(run.check_kept(setup.kept()).err());
    }
    report(&failures, rows.len());
}

#[test]
fn every_row_split_at_every_byte() {
    let mut setup = Setup::new();
    let rows = rows();
    let mut failures = Vec::new();
    let mut runs = 0;
    for row in &rows {
        // A long row is long by repetition: its first and last bytes and a few between do.
        let splits: Vec<usize> = if row.bytes.len() <= SPLIT_BYTES_MAX {
            (1..row.bytes.len()).collect()
        } else {
            let len = row.bytes.len();
            (1..40).chain((1..10).map(|n| len * n / 10)).chain(len - 20..len).collect()
        };
        let mut open: Vec<_> = splits
            .iter()
            .map(|&at| {
                let run = Run::new(row, format!("split after {at} bytes"));
                let mut client = setup.server.connect();
                client.send(&run.bytes[..at]);
                (run, client, at)
            })
            .collect();
        setup.let_the_server_read();
        for (run, client, at) in &mut open {
            run.finish(client, &run.bytes[*at..]);
        }
        for (run, client, _) in &mut open {
            failures.extend(run.check(client).err());
            failures.extend(run.check_kept(setup.kept()).err());
        }
        runs += open.len();
    }
    report(&failures, runs);
}

#[test]
fn every_row_byte_by_byte() {
    // Of the rows, that many at once: the last byte must come before the server is tired of
    // reading what follows an error.
    const TOGETHER: usize = 24;
    let mut setup = Setup::new();
    let rows = rows();
    let short: Vec<_> = rows.iter().filter(|row| row.bytes.len() <= SPLIT_BYTES_MAX).collect();
    let mut failures = Vec::new();
    for rows in short.chunks(TOGETHER) {
        let mut open: Vec<_> = rows
            .iter()
            .map(|row| (Run::new(row, "byte by byte"), setup.server.connect()))
            .collect();
        let longest = open.iter().map(|(run, _)| run.bytes.len()).max().unwrap_or(0);
        for at in 0..longest {
            for (run, client) in &mut open {
                if let Some(byte) = run.bytes.get(at..=at) {
                    client.send(byte);
                }
            }
            setup.let_the_server_read();
        }
        for (run, client) in &mut open {
            run.finish(client, b"");
        }
        for (run, client) in &mut open {
            failures.extend(run.check(client).err());
            failures.extend(run.check_kept(setup.kept()).err());
        }
    }
    report(&failures, short.len());
}

#[test]
fn hopeless_bytes_are_refused_before_the_header_timeout() {
    let setup = Setup::new();
    let rows = hopeless();
    let mut failures = Vec::new();
    for row in &rows {
        let run = Run::new(row, "and nothing more");
        let mut client = setup.server.connect();
        // The stream stays open: what comes is the answer to these bytes alone.
        client.send(&run.bytes);
        failures.extend(run.check(&mut client).err());
    }
    report(&failures, rows.len());
}
