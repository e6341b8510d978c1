//! Values: any bytes, exactly as they came, by length or chunked.

use testkit::{Numbers, Server};

const VALUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A chunked PUT of `value` in chunks of at most `chunk` bytes.
fn chunked(target: &str, value: &[u8], chunk: usize) -> Vec<u8> {
    let mut request =
        format!("PUT {target} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
            .into_bytes();
    for piece in value.chunks(chunk) {
        request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        request.extend_from_slice(piece);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

#[test]
fn values_of_every_size_class_come_back_exactly() {
    let server = Server::start(&[]);
    let mut writer = server.connect();
    let mut reader = server.connect();
    let mut numbers = Numbers::new(2);
    let mut sizes: Vec<usize> = (0..70).collect();
    for power in 7..=20 {
        sizes.extend([(1 << power) - 1, 1 << power, (1 << power) + 1]);
    }
    for size in sizes {
        let value = numbers.bytes(size);
        let target = format!("/size-{size}");
        assert_eq!(writer.put(&target, &value).status, 201);
        let response = reader.get(&target);
        assert_eq!(response.field("Content-Length"), Some(size.to_string().as_str()));
        assert!(response.body == value, "{size} bytes came back differently");
        assert_eq!(
            reader.call("HEAD", &target).field("Content-Length"),
            Some(size.to_string().as_str())
        );
    }
}

#[test]
fn a_chunked_value_is_the_same_value() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut numbers = Numbers::new(3);
    for (size, chunk) in
        [(0, 1), (1, 1), (100, 1), (100, 7), (5_000, 4_999), (70_000, 16), (3_000_000, 65_536)]
    {
        let value = numbers.bytes(size);
        let target = format!("/chunked-{size}-{chunk}");
        assert_eq!(client.exchange(chunked(&target, &value, chunk)).status, 201);
        assert!(client.get(&target).body == value, "{size} bytes in chunks of {chunk}");
        // The other way of sending it replaces it.
        assert_eq!(client.put(&target, &value).status, 204);
        assert!(client.get(&target).body == value);
    }
}

#[test]
fn values_are_bytes_not_text() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let all: Vec<u8> = (0..=255).collect();
    for value in [&all[..], b"", b"\0", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"0\r\n\r\n"] {
        client.put("/bytes", value);
        assert_eq!(client.get("/bytes").body, value);
        client.exchange(chunked("/bytes", value, 3));
        assert_eq!(client.get("/bytes").body, value);
    }
}

#[test]
fn a_shorter_value_leaves_nothing_of_the_longer_one() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for (long, short) in [(100, 3), (5_000, 4), (1 << 20, 5), (1 << 20, 0), (20, 19)] {
        client.put("/shrinks", vec![b'l'; long]);
        assert_eq!(client.put("/shrinks", vec![b's'; short]).status, 204);
        assert_eq!(client.get("/shrinks").body, vec![b's'; short]);
        assert_eq!(client.put("/shrinks", vec![b'l'; long]).status, 204);
        assert_eq!(client.get("/shrinks").body, vec![b'l'; long]);
    }
}

#[test]
fn the_largest_value_fits() {
    let server = Server::start(&["--value-bytes-max", "32MiB"]);
    let mut client = server.connect();
    let value = Numbers::new(4).bytes(VALUE_BYTES_MAX);
    assert_eq!(client.put("/largest", &value).status, 201);
    assert!(client.get("/largest").body == value);
    assert_eq!(client.exchange(chunked("/largest", &value, 1 << 20)).status, 204);
    assert!(client.get("/largest").body == value);
    assert_eq!(client.call("HEAD", "/largest").field("Content-Length"), Some("33554432"));
}

#[test]
fn a_value_over_the_limit_is_refused_before_it_is_read() {
    let server = Server::start(&["--value-bytes-max", "32MiB"]);
    let mut other = server.connect();
    assert_eq!(other.put("/kept", "old").status, 201);
    for head in [
        "PUT /kept HTTP/1.1\r\nHost: t\r\nContent-Length: 33554433\r\n\r\n",
        "POST /kept HTTP/1.1\r\nHost: t\r\nContent-Length: 9999999999\r\n\r\n",
        "PUT /kept HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2000001\r\n",
    ] {
        let mut client = server.connect();
        let error = client.exchange(head);
        error.assert_closing_error(413);
        client.assert_closed();
        assert_eq!(other.get("/kept").line(), "old", "a refused write changes nothing");
    }
}

#[test]
fn a_client_that_sends_on_after_413_can_read_the_error() {
    let server = Server::start(&["--value-bytes-max", "32MiB"]);
    for (head, piece) in [
        ("PUT /big HTTP/1.1\r\nHost: t\r\nContent-Length: 40000000\r\n\r\n", vec![0; 65_536]),
        (
            "PUT /big HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n",
            [&b"10000\r\n"[..], &vec![0; 65_536], b"\r\n"].concat(),
        ),
    ] {
        let mut client = server.connect();
        client.send(head);
        // Far more than the socket buffers hold, in a thread: it may be cut off at any point.
        let mut writer = client.stream.try_clone().expect("a second handle");
        let thread = std::thread::spawn(move || {
            for _ in 0..600 {
                if std::io::Write::write_all(&mut writer, &piece).is_err() {
                    break;
                }
            }
        });
        client.response().assert_closing_error(413);
        client.stream.shutdown(std::net::Shutdown::Both).expect("shutdown");
        thread.join().expect("no panic");
    }
    let mut client = server.connect();
    assert_eq!(client.get("/big").status, 404);
}

#[test]
fn the_limit_on_values_can_be_set() {
    let server = Server::start(&["--value-bytes-max", "1KiB"]);
    let mut client = server.connect();
    assert_eq!(client.put("/k", vec![1; 1024]).status, 201);
    assert_eq!(client.exchange(chunked("/k", &[2; 1024], 100)).status, 204);
    assert_eq!(client.get("/k").body, vec![2; 1024]);
    let error = client.put("/k", vec![3; 1025]);
    error.assert_closing_error(413);
    assert!(
        error.line().contains("value-bytes-max"),
        "the error names the limit: {}",
        error.line()
    );
    let mut client = server.connect();
    client.exchange(chunked("/k", &[4; 1025], 100)).assert_closing_error(413);
    let mut client = server.connect();
    assert_eq!(client.get("/k").body, vec![2; 1024]);
}

#[test]
fn an_upload_is_invisible_until_it_is_complete() {
    let server = Server::start(&[]);
    let mut uploader = server.connect();
    let mut other = server.connect();
    assert_eq!(other.put("/k", "old").status, 201);
    let value = Numbers::new(5).bytes(200_000);
    uploader.send("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 200000\r\n\r\n");
    for piece in value[..199_999].chunks(50_000) {
        uploader.send(piece);
        assert_eq!(other.get("/k").line(), "old");
    }
    uploader.send(&value[199_999..]);
    assert_eq!(uploader.response().status, 204);
    assert!(other.get("/k").body == value);

    // One that never completes leaves what was there.
    let mut uploader = server.connect();
    uploader.send("PUT /k HTTP/1.1\r\nHost: t\r\nContent-Length: 200000\r\n\r\nbegun");
    drop(uploader);
    assert!(other.get("/k").body == value);
}
