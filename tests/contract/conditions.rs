//! Preconditions (RFC 9110 §13) and entity tags.

use testkit::{Client, Numbers, Server};

const ELSE: &str = "\"0123456789abcdef0123456789abcdef\"";

/// The tag of what is stored, as HEAD tells it.
#[track_caller]
fn tag(client: &mut Client, target: &str) -> String {
    let response = client.call("HEAD", target);
    assert_eq!(response.status, 200);
    response.field("ETag").expect("HEAD tells the tag").to_owned()
}

fn request(method: &str, lines: &str, body: &[u8]) -> Vec<u8> {
    let length = match method {
        "PUT" | "POST" => format!("Content-Length: {}\r\n", body.len()),
        _ => String::new(),
    };
    let head = format!("{method} /k HTTP/1.1\r\nHost: t\r\n{lines}{length}\r\n");
    [head.as_bytes(), if length.is_empty() { &[] } else { body }].concat()
}

/// A value that fits into the log, and one that has pages of its own and comes in pieces.
fn values() -> [Vec<u8>; 2] {
    [b"old".to_vec(), Numbers::new(15).bytes(300_000)]
}

#[test]
fn every_method_heeds_its_preconditions() {
    // Fields (OURS stands for the stored tag); then with a value stored, and without one, the
    // status of GET, HEAD, PUT, DELETE.
    const TABLE: [(&str, [u16; 4], [u16; 4]); 15] = [
        ("", [200, 200, 204, 204], [404, 404, 201, 404]),
        ("If-Match: *", [200, 200, 204, 204], [404, 404, 412, 404]),
        ("If-Match: OURS", [200, 200, 204, 204], [404, 404, 412, 404]),
        ("If-Match: \"x\", OURS", [200, 200, 204, 204], [404, 404, 412, 404]),
        ("If-Match: \"x\"\r\nIf-Match: OURS", [200, 200, 204, 204], [404, 404, 412, 404]),
        ("If-Match: ELSE", [412, 412, 412, 412], [404, 404, 412, 404]),
        ("If-Match: W/OURS", [412, 412, 412, 412], [404, 404, 412, 404]),
        ("If-None-Match: *", [304, 304, 412, 412], [404, 404, 201, 404]),
        ("If-None-Match: OURS", [304, 304, 412, 412], [404, 404, 201, 404]),
        ("If-None-Match: W/OURS", [304, 304, 412, 412], [404, 404, 201, 404]),
        ("If-None-Match: ELSE , OURS", [304, 304, 412, 412], [404, 404, 201, 404]),
        ("If-None-Match: ELSE", [200, 200, 204, 204], [404, 404, 201, 404]),
        ("If-Match: OURS\r\nIf-None-Match: OURS", [304, 304, 412, 412], [404, 404, 412, 404]),
        ("If-Match: ELSE\r\nIf-None-Match: OURS", [412, 412, 412, 412], [404, 404, 412, 404]),
        ("If-Match: *\r\nIf-None-Match: ELSE", [200, 200, 204, 204], [404, 404, 412, 404]),
    ];
    let server = Server::start(&["--cores", "0"]);
    let mut client = server.connect();
    for old in values() {
        for new in values() {
            for (fields, stored, absent) in TABLE {
                for (is_stored, expected) in [(true, stored), (false, absent)] {
                    for (method, status) in ["GET", "HEAD", "PUT", "DELETE"].iter().zip(expected) {
                        client.put("/k", &old);
                        let ours = tag(&mut client, "/k");
                        if !is_stored {
                            assert_eq!(client.call("DELETE", "/k").status, 204);
                        }
                        let mut lines = fields.replace("OURS", &ours).replace("ELSE", ELSE);
                        if !lines.is_empty() {
                            lines += "\r\n";
                        }
                        let row = format!("{method} {fields:?}, stored: {is_stored}");
                        client.send(request(method, &lines, &new));
                        let response = if *method == "HEAD" {
                            client.response_to_head()
                        } else {
                            client.response()
                        };
                        assert_eq!(response.status, status, "{row}");
                        let is_done = status < 300;
                        let left = match (*method, is_done, is_stored) {
                            ("PUT", true, _) => Some(&new),
                            ("DELETE", true, _) | (_, _, false) => None,
                            _ => Some(&old),
                        };
                        let now = client.get("/k");
                        match left {
                            Some(value) => assert!(now.body == *value, "{row}"),
                            None => assert_eq!(now.status, 404, "{row}"),
                        }
                        if [304, 412].contains(&status) && is_stored {
                            assert_eq!(response.field("ETag"), Some(ours.as_str()), "{row}");
                        }
                        if status == 304 {
                            assert_eq!(response.field("Content-Length"), None, "{row}");
                        }
                        let told = response.field("ETag").map(str::to_owned);
                        if *method == "PUT" && is_done && !fields.is_empty() {
                            assert_eq!(
                                told,
                                Some(tag(&mut client, "/k")),
                                "{row}: of what is stored"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_precondition_means_the_same_in_any_split_and_pipeline() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let create = request("PUT", "If-None-Match: *\r\n", b"first");
    let again = request("POST", "If-None-Match: *\r\n", b"second");
    let all = [create, again, request("GET", "If-None-Match: *\r\n", b""), request("GET", "", b"")];
    let stream = all.concat();
    for piece in [1, 7, 40, stream.len()] {
        client.call("DELETE", "/k");
        for part in stream.chunks(piece) {
            client.send(part);
        }
        let statuses: Vec<_> = (0..4).map(|_| client.response()).collect();
        let codes: Vec<_> = statuses.iter().map(|response| response.status).collect();
        assert_eq!(codes, [201, 412, 304, 200], "in pieces of {piece}");
        assert_eq!(statuses[3].line(), "first");
    }
}

#[test]
fn a_tag_tells_the_value_and_nothing_else() {
    let servers = [Server::start(&["--cores", "0"]), Server::start(&[])];
    for value in values() {
        let mut tags = Vec::new();
        for server in &servers {
            let mut client = server.connect();
            for target in ["/a", "/b"] {
                client.put_with(target, "Cache-Control: max-age=9\r\n", &value);
                tags.push(tag(&mut client, target));
            }
            let mut other = value.clone();
            *other.last_mut().unwrap() ^= 1;
            client.put("/a", &other);
            assert_ne!(tag(&mut client, "/a"), tags[0]);
        }
        assert!(tags.iter().all(|tag| *tag == tags[0]), "of every key, server and life: {tags:?}");
        assert!(tags[0].len() == 34 && tags[0].starts_with('"'), "{}", tags[0]);
    }
}

#[test]
fn the_way_a_value_came_in_does_not_change_its_tag() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for len in [0, 1, 4_000, 5_000, 200_000] {
        let value = Numbers::new(len as u64).bytes(len);
        client.put("/whole", &value);
        let expected = tag(&mut client, "/whole");
        let mut chunked =
            b"PUT /k HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for piece in value.chunks(977) {
            chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            chunked.extend_from_slice(piece);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        client.exchange(chunked);
        assert_eq!(tag(&mut client, "/k"), expected, "{len} bytes in chunks");
    }
}

#[test]
fn tags_are_told_where_they_cost_nobody_else() {
    for (flags, is_always) in [(&[][..], false), (&["--etag"], true)] {
        let server = Server::start(flags);
        let mut client = server.connect();
        for value in values() {
            client.call("DELETE", "/k");
            for method in ["PUT", "POST", "GET"] {
                let response = client.exchange(request(method, "", &value));
                assert_eq!(response.field("ETag").is_some(), is_always, "{method} {flags:?}");
            }
            let expected = tag(&mut client, "/k");
            let response = client.exchange(request("GET", "", b""));
            assert!(response.body == value);
            assert_eq!(response.field("ETag"), is_always.then_some(expected.as_str()));
        }
    }
}

#[test]
fn dates_are_no_preconditions_here() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.put("/k", "old");
    for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 2099 23:59:59 GMT", "nonsense"] {
        for field in ["If-Modified-Since", "If-Unmodified-Since"] {
            let lines = format!("{field}: {date}\r\n");
            assert_eq!(client.exchange(request("GET", &lines, b"")).line(), "old", "{lines}");
            assert_eq!(client.exchange(request("PUT", &lines, b"old")).status, 204, "{lines}");
        }
    }
}

#[test]
fn a_malformed_precondition_does_nothing() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.put("/k", "old");
    for value in ["", "x", "*, \"x\"", "\"x", "\"x\" \"y\""] {
        for field in ["If-Match", "If-None-Match"] {
            let lines = format!("{field}: {value}\r\n");
            for method in ["GET", "PUT", "DELETE"] {
                client.exchange(request(method, &lines, b"new")).assert_soft_error(400);
            }
            let large = vec![b'n'; 100_000];
            client.exchange(request("PUT", &lines, &large)).assert_soft_error(400);
            assert_eq!(client.get("/k").line(), "old", "{lines}");
        }
    }
}

#[test]
fn pages_and_other_methods_heed_no_preconditions() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for target in ["/size", "/healthz", "/metrics", "/"] {
        for lines in ["If-Match: \"x\"\r\n", "If-None-Match: *\r\n", "Range: bytes=0-0\r\n"] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: t\r\n{lines}\r\n");
            assert_eq!(client.exchange(request).status, 200, "{target} {lines}");
        }
    }
    let options = "OPTIONS /k HTTP/1.1\r\nHost: t\r\nIf-Match: \"x\"\r\n\r\n";
    assert_eq!(client.exchange(options).status, 204);
}

#[test]
fn an_absent_key_is_a_miss_whatever_the_miss_status_is() {
    for status in ["404", "204", "200"] {
        let server = Server::start(&["--miss-status", status]);
        let mut client = server.connect();
        for lines in ["If-Match: *\r\n", "If-None-Match: *\r\n", "Range: bytes=0-0\r\n"] {
            let response = client.exchange(request("GET", lines, b""));
            assert_eq!(response.status.to_string(), status, "{lines}");
        }
    }
}
