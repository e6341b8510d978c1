//! Bugs that were found once. Each test says what it guards.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use corekv::http::{
    Batch, Error, FieldRules, Handler, HeadParser, Protocol, Request, Requests, Responses,
    Settings, Status,
};
use corekv::net::{
    Class, Flow, Iteration, Output, Payload, Reach, Received, Rejection, Room, Service, Sink,
    Transfer,
};

/// What a parser makes of bytes that arrive in pieces that end at these places.
fn parse(bytes: &[u8], ends: impl IntoIterator<Item = usize>) -> Result<bool, Error> {
    let mut parser = HeadParser::new(16 << 10, FieldRules::default());
    let mut scanned = 0;
    for end in ends {
        if parser.parse(&bytes[..end], 0, &mut scanned, &mut Vec::new())?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn same_in_any_split(bytes: &[u8], error: Error) {
    assert_eq!(parse(bytes, [bytes.len()]), Err(error), "at once: {}", bytes.escape_ascii());
    assert_eq!(parse(bytes, 1..=bytes.len()), Err(error), "by bytes: {}", bytes.escape_ascii());
}

#[test]
fn the_first_faulty_line_decides_however_a_head_is_split() {
    let long = [b"\x03GET / HTTP/1.1\r\na: ".to_vec(), vec![b'x'; 20_000]].concat();
    same_in_any_split(&long, Error::RequestLine);
    same_in_any_split(b"GET / HTTP/3.0\r\na: b\n", Error::Version);
    same_in_any_split(b"GET / HTTP/1.1\r\na: b\r\n/c\n", Error::BareLineFeed);
    same_in_any_split(b"\r ", Error::RequestLine);
    same_in_any_split(b"GET / HTTP/1.1\r\na: b\r\n\x8d:\n", Error::BareLineFeed);
    same_in_any_split(b"GET / HTTP/1.1\r\na: b\r\n\x8d:\0\n", Error::HeaderField);
    same_in_any_split(b"GET / HTTP/1.1\r\na: b\r\na: b\rc\n", Error::HeaderField);
    same_in_any_split(b"PROPFIND /x HTTP/1.1P/1.1\r\nHost: h\r\n\r\n", Error::RequestLine);
}

#[test]
fn a_bare_cr_behind_an_unsupported_version_is_malformed_and_not_unsupported() {
    same_in_any_split(b"GET / HTTP/2.0\rx\r\n\r\n", Error::RequestLine);
}

#[test]
fn a_cr_in_front_of_a_request_line_is_malformed_however_it_is_split() {
    same_in_any_split(b"\rGET / HTTP/2.0\r\n\r\n", Error::RequestLine);
}

#[test]
fn a_bracket_within_a_hosts_brackets_is_malformed() {
    same_in_any_split(b"GET / HTTP/1.1\r\nHost: [a:[b]\r\n\r\n", Error::Host);
    same_in_any_split(b"GET / HTTP/1.1\r\nHost: []:80\r\n\r\n", Error::Host);
}

struct NoContent;

impl Handler for NoContent {
    type Lookup = ();
    type Pending = ();

    fn look_up(&mut self, _request: &Request<'_>) {}

    fn answer(&mut self, requests: Requests<'_, ()>, responses: &mut Responses<'_>) {
        for (request, ()) in requests.iter() {
            responses.empty(request.method, request.fields.persistence, Status::NoContent);
        }
    }
}

#[test]
fn a_drain_announces_the_close_whether_or_not_the_last_batch_is_full() {
    for requests in [1, 31, 32, 33, 64] {
        let mut protocol = Protocol::new(NoContent, Settings::default(), Arc::default());
        let mut session = protocol.open(Class::Data(Reach::File));
        let mut output = Output::default();
        let input = b"GET /k HTTP/1.1\r\nHost: h\r\n\r\n".repeat(requests);
        let iteration = Iteration { now: Instant::now(), last: true, pressed: false };
        let mut batch = Batch::default();
        let received = Received::new(&input, &mut batch);
        let parsed = protocol.parse(&mut session, received, &iteration);
        let prefetched = protocol.prefetch(parsed);
        let progress = protocol.answer(&mut session, prefetched, &mut output, &iteration);
        assert_eq!((progress.flow, progress.answered), (Flow::Close, requests));
        let text = String::from_utf8_lossy(output.bytes()).into_owned();
        assert_eq!(text.matches("Connection: close").count(), 1);
        assert!(text[text.rfind("HTTP/1.1").unwrap()..].contains("Connection: close"));
    }
}

#[test]
fn the_date_of_a_timeout_is_not_that_of_the_last_request() {
    let mut protocol = Protocol::new(NoContent, Settings::default(), Arc::default());
    let mut rejection = || {
        let mut output = Output::default();
        let mut session = protocol.open(Class::Data(Reach::File));
        protocol.reject(&mut session, Rejection::HeadTimeout, &mut output);
        output.bytes().clone()
    };
    let (first, start) = (rejection(), Instant::now());
    while rejection() == first {
        assert!(start.elapsed() < Duration::from_secs(30), "it is the same second for ever");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Takes whatever comes.
#[derive(Default)]
struct Everything(std::cell::RefCell<Vec<u8>>);

impl Sink for Everything {
    fn send(&self, bytes: &[u8]) -> io::Result<Transfer> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(Transfer::Done(bytes.len()))
    }

    fn send_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<Transfer> {
        let bytes = pieces.iter().flat_map(|piece| piece.to_vec()).collect::<Vec<_>>();
        self.send(&bytes)
    }
}

/// A payload of these pieces, whatever length is said.
#[derive(Debug)]
struct Pieces(&'static [&'static [u8]]);

impl Payload for Pieces {
    fn pieces<'a>(&'a self, from: usize, each: &mut dyn FnMut(&'a [u8]) -> bool) {
        let mut skip = from;
        for piece in self.0 {
            let part = &piece[skip.min(piece.len())..];
            skip -= piece.len() - part.len();
            if !each(part) {
                return;
            }
        }
    }
}

/// What a sink gets of a payload of this length between two texts.
fn sent(pieces: &'static [&'static [u8]], len: usize) -> (io::Result<(usize, Room)>, Vec<u8>) {
    let (sink, mut output) = (Everything::default(), Output::default());
    output.bytes().extend_from_slice(b"before ");
    output.insert(Box::new(Pieces(pieces)), len);
    output.bytes().extend_from_slice(b" behind");
    let result = output.send(&sink, usize::MAX);
    (result, sink.0.into_inner())
}

#[test]
fn a_payload_that_is_shorter_than_announced_is_an_error_and_not_an_endless_loop() {
    let too_short: [&'static [&'static [u8]]; 3] = [&[], &[b""], &[b"", b"four", b""]];
    for pieces in too_short {
        let (result, bytes) = sent(pieces, 5);
        assert!(result.is_err(), "{pieces:?}");
        assert!(!bytes.ends_with(b"behind"), "{pieces:?}: {}", bytes.escape_ascii());
    }
}

#[test]
fn a_payload_that_is_longer_than_announced_is_cut() {
    let long_enough: [&'static [&'static [u8]]; 3] =
        [&[b"12345"], &[b"123456"], &[b"", b"123", b"", b"4567", b"8"]];
    for pieces in long_enough {
        let (result, bytes) = sent(pieces, 5);
        assert_eq!(result.expect("it is sent"), (19, Room::Left));
        assert_eq!(bytes, b"before 12345 behind");
    }
}
