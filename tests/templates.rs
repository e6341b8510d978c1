//! Heads that fit what was remembered, and heads that nearly do: a parser that has seen others of the same
//! shape says of each what one that has seen nothing says.

use corekv::http::{Error, FieldRules, Fields, HeadParser, Method, Target};

/// Bytes that mean something to the framing, or nearly.
const BYTES: &[u8] = b"\0\x01\t\n\r\x0b\x1f !\"#%()*+,-./019:;<=>?@A[\\]aex{|}~\x7f\x80\xff";

/// Heads with `@` where values differ that mean nothing but a length.
const HEADS: &[&str] = &[
    "GET /k HTTP/1.1\r\nHost: a\r\nX-Request-Id: @\r\n\r\n",
    "GET /k HTTP/1.1\r\nX-Request-Id:@\r\nHost: a\r\n\r\n",
    "PUT /a/longer/key HTTP/1.1\r\nHost: a\r\nContent-Length: @\r\nConnection: keep-alive\r\n\r\n",
    "POST /k?query HTTP/1.1\r\nhost: a:80\r\naccept: */*\r\ncontent-length:  @ \r\n\r\n",
    "PUT /k HTTP/1.0\r\nContent-Range: @\r\nCache-Control: max-age=5\r\nContent-Length: @\r\n\r\n",
    "GET /k HTTP/1.1\r\nHost: a\r\nIf-None-Match: @\r\nRange: @\r\n\r\n",
    "PUT /k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTraceparent: @\r\n\r\n",
    "PUT /k HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: @\r\nX: @\r\n\r\n",
    "DELETE /k HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\nSec-Fetch-Site: none\r\nX: @\r\n\r\n",
    "GET /k HTTP/1.1\r\nHost: a\r\nX: @\r\nAuthorization: Bearer token\r\nY: @\r\n\r\n",
];

/// Values that take the place of `@`, and are digits as a length has to be.
const VALUES: [&str; 5] = ["0", "7", "18", "000123", "12345678901234567"];

type Said = Result<Option<(usize, Method, Target, Fields)>, Error>;

fn say(parser: &mut HeadParser, head: &[u8]) -> Said {
    let mut parsed = Vec::new();
    let end = parser.parse(head, 0, &mut 0, &mut parsed)?;
    Ok(end.map(|end| (end, parsed[0].method, parsed[0].target, parsed[0].fields)))
}

fn fresh() -> HeadParser {
    HeadParser::new(16 << 10, FieldRules::default())
}

/// A parser that has seen heads of one shape, and takes any value for its `@`.
fn that_knows(head: &str) -> HeadParser {
    let mut parser = fresh();
    for value in VALUES.iter().cycle().take(2 * VALUES.len()) {
        let said = say(&mut parser, head.replace('@', value).as_bytes());
        assert!(matches!(said, Ok(Some(_))), "{said:?}: {head}");
    }
    parser
}

fn check(parser: &mut HeadParser, head: &[u8]) {
    let (said, expected) = (say(parser, head), say(&mut fresh(), head));
    assert_eq!(said, expected, "{}", head.escape_ascii());
}

#[test]
fn a_head_with_one_byte_changed_added_or_left_out_is_read_as_if_nothing_was_remembered() {
    for head in HEADS {
        let mut parser = that_knows(head);
        let head = head.replace('@', "1234567").into_bytes();
        for at in 0..head.len() {
            for &byte in BYTES {
                let mut other = head.clone();
                other[at] = byte;
                check(&mut parser, &other);
                other[at] = head[at];
                other.insert(at, byte);
                check(&mut parser, &other);
            }
            let mut other = head.clone();
            other.remove(at);
            check(&mut parser, &other);
            check(&mut parser, &head[..at]);
            // What follows a head, if only a few bytes, is none of its business.
            check(&mut parser, &[&head[..], &head[..at]].concat());
        }
    }
}

#[test]
fn lines_that_are_left_out_repeated_or_swapped_are_read_as_if_nothing_was_remembered() {
    for head in HEADS {
        let mut parser = that_knows(head);
        let head = head.replace('@', "12");
        let lines: Vec<&str> = head.split_inclusive("\r\n").collect();
        for one in 1..lines.len() {
            for other in 1..lines.len() {
                let mut swapped = lines.clone();
                swapped.swap(one, other);
                check(&mut parser, swapped.concat().as_bytes());
                let mut repeated = lines.clone();
                repeated.insert(one, lines[other]);
                check(&mut parser, repeated.concat().as_bytes());
            }
            let mut fewer = lines.clone();
            fewer.remove(one);
            check(&mut parser, fewer.concat().as_bytes());
        }
    }
}

#[test]
fn values_of_any_length_are_read_as_if_nothing_was_remembered() {
    for head in HEADS {
        let mut parser = that_knows(head);
        for value in
            ["", " ", "\t", "x", "18446744073709551615", "18446744073709551616", "+1", "1 1"]
        {
            check(&mut parser, head.replace('@', value).as_bytes());
        }
        for length in 0..80 {
            for byte in ["0", "9", "v", ",", "\u{e9}"] {
                check(&mut parser, head.replace('@', &byte.repeat(length)).as_bytes());
                let value = format!("{}\r{}", byte.repeat(length), byte.repeat(80 - length));
                check(&mut parser, head.replace('@', &value).as_bytes());
            }
        }
    }
}

/// Clients that differ take the place of those that do not come any more, and of no others.
#[test]
fn more_shapes_than_are_remembered_are_read_as_if_nothing_was() {
    let mut parser = fresh();
    for round in 0..4 {
        for shape in 0..100 {
            let name = "X".repeat(1 + shape % 50);
            for method in ["GET", "PUT"] {
                let head = format!(
                    "{method} /k HTTP/1.1\r\nHost: {shape}\r\n{name}: {round}\r\n\
                     Content-Length: {shape}{round}\r\n\r\n"
                );
                check(&mut parser, head.as_bytes());
            }
        }
    }
}

#[test]
fn a_head_over_the_limit_is_refused_whatever_was_remembered() {
    const LIMIT: usize = 100;
    let head = |value: &str| format!("GET /k HTTP/1.1\r\nHost: a\r\nX: {value}\r\n\r\n");
    let mut parser = HeadParser::new(LIMIT, FieldRules::default());
    for value in VALUES.iter().cycle().take(2 * VALUES.len()) {
        assert!(say(&mut parser, head(value).as_bytes()).is_ok());
    }
    for length in 0..2 * LIMIT {
        let head = head(&"v".repeat(length));
        let said = say(&mut parser, head.as_bytes());
        match said {
            Ok(Some((end, ..))) => assert!(end == head.len() && end <= LIMIT, "{length}"),
            _ => assert!(said == Err(Error::HeadersTooLarge) && head.len() > LIMIT, "{length}"),
        }
    }
}
