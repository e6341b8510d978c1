//! Reads a server's responses and compares them with the model's answers.

use testkit::{Response, parse};

use crate::model::{Answer, Answers};

/// Takes a response off the front of a stream.
fn next(bytes: &[u8], head: bool) -> (Response, &[u8]) {
    let parsed = parse(bytes, head);
    let (response, len) =
        parsed.unwrap_or_else(|| panic!("no response in {}", bytes.escape_ascii()));
    for (name, _) in &response.fields {
        match name.as_str() {
            "Content-Length" | "Connection" | "WWW-Authenticate" | "X-Content-Type-Options"
            | "Content-Security-Policy" | "Content-Type" | "Allow" => {}
            "ETag" if matches!(response.status, 200 | 201 | 204 | 206 | 304 | 412 | 416) => {}
            "Content-Range" if matches!(response.status, 206 | 416) => {}
            "Cache-Control" if head => {}
            "Vary" if is_metrics(&response) => {}
            _ => panic!("unexpected field {name}"),
        }
    }
    let challenged = response.field("WWW-Authenticate").is_some();
    assert_eq!(challenged, response.status == 401, "WWW-Authenticate in {}", response.status);
    (response, &bytes[len..])
}

/// Whether a response is the page of the metrics, in either format.
fn is_metrics(response: &Response) -> bool {
    let kind = response.field("Content-Type").unwrap_or_default();
    kind.contains("version=0.0.4") || kind.starts_with("application/openmetrics-text")
}

/// Whether a response has the two fields for a browser.
fn is_for_browser(response: &Response) -> bool {
    let options = response.field("X-Content-Type-Options");
    let policy = response.field("Content-Security-Policy");
    match (options, policy) {
        (Some("nosniff"), Some("sandbox")) => true,
        (None, None) => false,
        fields => panic!("{fields:?}"),
    }
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
    let (response, rest) = next(bytes, answer.head);
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
    assert_eq!(response.field("Connection"), connection, "Connection");
    assert_eq!(is_for_browser(&response), answer.browser, "fields for a browser");
    match &answer.body {
        Some(body) if !answer.head => assert!(response.body == *body, "body"),
        _ => {}
    }
    if answer.head && answer.close && response.status >= 400 && !rest.is_empty() {
        return &[];
    }
    rest
}
