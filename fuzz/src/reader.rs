//! Reads a server's responses and compares them with the model's answers.

use crate::model::{Answer, Answers};

/// A response taken off the front of a stream.
struct Response<'a> {
    status: u16,
    connection: Option<&'a str>,
    browser: bool,
    body: &'a [u8],
    rest: &'a [u8],
}

fn next(bytes: &[u8], head: bool) -> Response<'_> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head in {}", bytes.escape_ascii()));
    let text = std::str::from_utf8(&bytes[..end]).expect("a head is ASCII");
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status: u16 = status_line[9..12].parse().expect("three digits");
    assert!(status_line.starts_with("HTTP/1.1 ") && status_line.as_bytes()[12] == b' ');
    let mut length = None;
    let mut connection = None;
    let mut challenged = false;
    let mut browser = 0;
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a field has a name");
        match name {
            "Content-Length" => {
                assert!(length.is_none());
                length = Some(value.parse::<usize>().expect("a length"));
            }
            "Connection" => connection = Some(value),
            "WWW-Authenticate" => challenged = true,
            "X-Content-Type-Options" if value == "nosniff" => browser += 1,
            "Content-Security-Policy" if value == "sandbox" => browser += 1,
            "Content-Type" | "Allow" => {}
            _ => panic!("unexpected field {line}"),
        }
    }
    assert_eq!(challenged, status == 401, "WWW-Authenticate in {status_line}");
    assert!(browser == 0 || browser == 2, "one field of two in {status_line}");
    let rest = &bytes[end + 4..];
    let bodiless = status == 204 || status < 200;
    assert_eq!(length.is_none(), bodiless, "Content-Length in {status_line}");
    let length = if bodiless || head { 0 } else { length.unwrap_or(0) };
    assert!(length <= rest.len(), "a body is cut short");
    let (body, rest) = rest.split_at(length);
    Response { status, connection, browser: browser == 2, body, rest }
}

/// Checks a connection's output against the answers. Returns the number of responses, interim
/// ones not counted.
pub fn check(mut bytes: &[u8], expected: &Answers, closed: bool) -> usize {
    let mut count = 0;
    for answer in &expected.answers {
        if answer.interim {
            let rest = bytes.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n");
            bytes = rest.unwrap_or_else(|| panic!("no 100 in {}", bytes.escape_ascii()));
        }
        if answer.statuses.is_empty() {
            break;
        }
        bytes = check_one(bytes, answer);
        count += 1;
    }
    if expected.open {
        return usize::MAX;
    }
    let mut close = expected.answers.last().is_some_and(|answer| answer.close);
    if !close && !bytes.is_empty() {
        let statuses = expected.may_follow.clone();
        assert!(!statuses.is_empty(), "unexpected {}", bytes.escape_ascii());
        let browser = expected.browser;
        bytes = check_one(bytes, &Answer { statuses, close: true, browser, ..Answer::default() });
        count += 1;
        close = true;
    }
    assert!(bytes.is_empty(), "unexpected {}", bytes.escape_ascii());
    assert_eq!(closed, close, "closed");
    count
}

fn check_one<'a>(bytes: &'a [u8], answer: &Answer) -> &'a [u8] {
    // The answer to a request that is not understood, or not heard out, may have a body even if
    // the request was a HEAD: the connection ends behind it.
    let response = next(bytes, answer.head);
    assert!(
        answer.statuses.contains(&response.status),
        "{} is not among {:?}",
        response.status,
        answer.statuses
    );
    let connection = match (answer.old, answer.close) {
        (false, true) => Some("close"),
        (true, false) => Some("keep-alive"),
        _ => None,
    };
    assert_eq!(response.connection, connection, "Connection");
    assert_eq!(response.browser, answer.browser, "fields for a browser");
    match &answer.body {
        Some(body) if !answer.head => assert!(response.body == body, "body"),
        _ => {}
    }
    if answer.head && answer.close && response.status >= 400 && !response.rest.is_empty() {
        return &[];
    }
    response.rest
}
