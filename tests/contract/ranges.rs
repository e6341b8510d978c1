//! Ranges of bytes (RFC 9110 §14).

use testkit::{Client, Numbers, Response, Server};

fn ask(client: &mut Client, lines: &str) -> Response {
    client.exchange(format!("GET /k HTTP/1.1\r\nHost: t\r\n{lines}\r\n"))
}

fn values() -> impl Iterator<Item = Vec<u8>> {
    [1, 10, 4_000, 5_000, 8_192, 20_000, 300_000].into_iter().map(|len| Numbers::new(9).bytes(len))
}

#[test]
fn a_range_is_that_part_of_the_value() {
    let server = Server::start(&["--cores", "0"]);
    let mut client = server.connect();
    for value in values() {
        client.put("/k", &value);
        let len = value.len();
        let mut numbers = Numbers::new(len as u64);
        let mut specs = vec![
            (format!("0-{}", len - 1), 0..len),
            ("0-0".to_owned(), 0..1),
            (format!("{}-", len - 1), len - 1..len),
            ("-1".to_owned(), len - 1..len),
            (format!("-{}", len + 5), 0..len),
            (format!("0-{}", len + 5), 0..len),
        ];
        for _ in 0..40 {
            let from = numbers.below(len as u64) as usize;
            let to = from + numbers.below((len - from) as u64) as usize;
            specs.push((format!("{from}-{to}"), from..to + 1));
        }
        for (spec, range) in specs {
            let response = ask(&mut client, &format!("Range: bytes={spec}\r\n"));
            assert_eq!(response.status, 206, "{spec} of {len}");
            let expected = format!("bytes {}-{}/{len}", range.start, range.end - 1);
            assert_eq!(response.field("Content-Range"), Some(expected.as_str()));
            assert!(response.body == value[range], "{spec} of {len}");
            assert!(response.field("ETag").is_some());
        }
    }
}

#[test]
fn what_is_not_in_the_value_can_not_be_had() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for value in values().chain([Vec::new()]) {
        client.put("/k", &value);
        let len = value.len();
        for spec in [
            format!("{len}-"),
            format!("{len}-{len}"),
            "-0".to_owned(),
            "99999999999999999999-".to_owned(),
        ] {
            let response = ask(&mut client, &format!("Range: bytes={spec}\r\n"));
            assert_eq!(response.status, 416, "{spec} of {len}");
            let expected = format!("bytes */{len}");
            assert_eq!(response.field("Content-Range"), Some(expected.as_str()));
        }
    }
}

#[test]
fn anything_but_one_range_of_bytes_is_answered_with_the_whole() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.put("/k", "0123456789");
    for range in [
        "bytes=0-1,3-4",
        "bytes=5-2",
        "bytes=x",
        "lines=1-2",
        "bytes",
        "bytes=1-2\r\nRange: bytes=1-2",
    ] {
        let response = ask(&mut client, &format!("Range: {range}\r\n"));
        assert_eq!((response.status, response.line()), (200, "0123456789".to_owned()), "{range}");
    }
    // Only GET has ranges (RFC 9110 §14.2).
    client.send("HEAD /k HTTP/1.1\r\nHost: t\r\nRange: bytes=1-2\r\n\r\n");
    let head = client.response_to_head();
    assert_eq!((head.status, head.field("Content-Length")), (200, Some("10")));
}

#[test]
fn if_range_asks_for_a_part_of_this_very_value() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for value in values().skip(1) {
        client.put("/k", &value);
        let tag = client.call("HEAD", "/k").field("ETag").expect("a tag").to_owned();
        for (if_range, status) in [
            (tag.clone(), 206),
            (format!("W/{tag}"), 200),
            ("\"x\"".to_owned(), 200),
            ("Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), 200),
        ] {
            let lines = format!("Range: bytes=1-2\r\nIf-Range: {if_range}\r\n");
            let response = ask(&mut client, &lines);
            assert_eq!(response.status, status, "{if_range}");
            let expected = if status == 206 { &value[1..3] } else { &value[..] };
            assert!(response.body == expected, "{if_range}");
        }
        // Without a range it means nothing.
        assert_eq!(ask(&mut client, "If-Range: \"x\"\r\n").status, 200);
        // Preconditions come first.
        let lines = format!("Range: bytes=1-2\r\nIf-None-Match: {tag}\r\n");
        assert_eq!(ask(&mut client, &lines).status, 304);
        let lines = "Range: bytes=1-2\r\nIf-Match: \"x\"\r\n";
        assert_eq!(ask(&mut client, lines).status, 412);
    }
}

#[test]
fn parts_that_are_pipelined_come_in_order() {
    let server = Server::start(&["--cores", "0"]);
    let mut client = server.connect();
    let value = Numbers::new(3).bytes(1 << 20);
    client.put("/k", &value);
    let mut numbers = Numbers::new(4);
    let ranges: Vec<_> = (0..200)
        .map(|_| {
            let from = numbers.below(1 << 20);
            from..from + 1 + numbers.below((1 << 20) - from).min(40_000)
        })
        .collect();
    let mut writer = client.stream.try_clone().expect("a second handle");
    let asked = ranges.clone();
    let thread = std::thread::spawn(move || {
        for range in asked {
            let request = format!(
                "GET /k HTTP/1.1\r\nHost: t\r\nRange: bytes={}-{}\r\n\r\n",
                range.start,
                range.end - 1
            );
            std::io::Write::write_all(&mut writer, request.as_bytes()).expect("sent");
        }
    });
    for range in ranges {
        let end = range.end.min(1 << 20) as usize;
        let response = client.response();
        assert!(response.body == value[range.start as usize..end], "{range:?}");
    }
    thread.join().expect("all sent");
}
