//! Keys: the target's path, percent-decoded to bytes.

use testkit::{Numbers, Server};

#[test]
fn encoded_and_plain_spellings_name_the_same_key() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let spellings = [
        "/a/b",
        "/a%2Fb",
        "/a%2fb",
        "/%61/b",
        "/%61%2F%62",
        "/a/b?query",
        "/a/b?",
        "/a/b?x=%zz",
        "http://test/a/b",
        "HTTP://elsewhere:81/a%2Fb?x",
        "https://test/a/b",
    ];
    for writer in spellings {
        client.call("DELETE", "/a/b");
        assert_eq!(client.put(writer, writer).status, 201, "{writer}");
        for reader in spellings {
            let response = client.get(reader);
            assert_eq!(response.status, 200, "{writer} read as {reader}");
            assert_eq!(response.line(), writer);
        }
        assert_eq!(client.size(), 1);
    }
}

#[test]
fn keys_that_look_alike_are_different() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let keys = [
        "/a", "//a", "/a/", "/A", "/./a", "/x/../a", "/a%20", "/a+", "/a%3F", "/a%00", "/%2561",
        "/a;b",
    ];
    for key in keys {
        assert_eq!(client.put(key, key).status, 201, "{key}");
    }
    for key in keys {
        assert_eq!(client.get(key).line(), key);
    }
    assert_eq!(client.size(), keys.len() as u64);
}

#[test]
fn every_byte_is_a_legal_key_byte() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for byte in 0..=255_u8 {
        let target = format!("/{}%{byte:02x}", "long enough to have company".replace(' ', "_"));
        assert_eq!(client.put(&target, [byte]).status, 201, "{byte}");
    }
    for byte in 0..=255_u8 {
        let target = format!("/%6c{}%{byte:02X}", "ong_enough_to_have_company");
        assert_eq!(client.get(&target).body, [byte]);
    }
    // A single byte is a key, too, whatever it is.
    for byte in 0..=255_u8 {
        assert_eq!(client.put(&format!("/%{byte:02X}"), [byte]).status, 201, "{byte}");
    }
    for byte in 0..=255_u8 {
        assert_eq!(client.get(&format!("/%{byte:02x}")).body, [byte]);
    }
    assert_eq!(client.size(), 512);
}

#[test]
fn a_broken_encoding_is_refused_and_the_connection_lives() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for target in ["/%", "/%4", "/%4g", "/%g4", "/a%", "/%%41", "/%-1"] {
        for method in ["GET", "PUT", "POST", "DELETE", "OPTIONS"] {
            let response = client.call(method, target);
            assert_eq!(response.status, 400, "{method} {target}");
            response.assert_soft_error(400);
        }
        client.call("HEAD", target).assert_head_of_error(400);
    }
    assert_eq!(client.get("/x").status, 404);
}

#[test]
fn a_key_may_be_as_long_as_the_limit_and_no_longer() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let longest = format!("/{}", "k".repeat(1024));
    assert_eq!(client.put(&longest, "v").status, 201);
    assert_eq!(client.get(&longest).line(), "v");
    // The limit counts bytes after decoding.
    let encoded = format!("/{}", "%6b".repeat(1024));
    assert_eq!(client.get(&encoded).line(), "v");

    for target in [format!("{longest}k"), format!("{encoded}%6b"), format!("/{}", "k".repeat(9000))]
    {
        for method in ["GET", "PUT", "POST", "DELETE"] {
            client.call(method, &target).assert_soft_error(414);
        }
        // The body of the refused request is no request.
        client.put(&target, "GET /x HTTP/1.1\r\nHost: t\r\n\r\n").assert_soft_error(414);
    }
    assert_eq!(client.size(), 1);
}

#[test]
fn the_limit_on_keys_can_be_set() {
    let server = Server::start(&["--key-bytes-max", "4"]);
    let mut client = server.connect();
    assert_eq!(client.put("/1234", "v").status, 201);
    let error = client.put("/12345", "v");
    error.assert_soft_error(414);
    assert!(error.line().contains("key-bytes-max"), "the error names the limit: {}", error.line());
    assert_eq!(client.get("/1234").line(), "v");
    assert_eq!(client.size(), 1, "a reserved name is not a key");

    let server = Server::start(&["--key-bytes-max", "2KiB"]);
    let mut client = server.connect();
    let target = format!("/{}", "k".repeat(2048));
    assert_eq!(client.put(&target, "v").status, 201);
    assert_eq!(client.get(&target).line(), "v");
}

#[test]
fn a_key_may_have_eight_thousand_bytes() {
    let server = Server::start(&["--key-bytes-max", "8000", "--header-bytes-max", "32KiB"]);
    let mut client = server.connect();
    let target = format!("/{}", "k".repeat(8000));
    let encoded = format!("/{}", "%6B".repeat(8000));
    let values = ["", "v", "as long as a handle is...", &"x".repeat(5_000), &"y".repeat(100_000)];
    for (round, value) in values.iter().enumerate() {
        let stored = client.put(&target, value).status;
        assert_eq!(stored, if round == 0 { 201 } else { 204 });
        assert!(client.get(&target).body == value.as_bytes());
        assert!(client.get(&encoded).body == value.as_bytes());
    }
    client.put(&format!("{target}k"), "v").assert_soft_error(414);
    assert_eq!(client.size(), 1);
    assert_eq!(client.call("DELETE", &encoded).status, 204);
    assert_eq!(client.get(&target).status, 404);
}

#[test]
fn ten_thousand_random_keys_stay_apart() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut numbers = Numbers::new(1);
    let keys: Vec<String> = (0..10_000)
        .map(|n| {
            let len = 1 + numbers.below(40) as usize;
            let random: String = numbers.bytes(len).iter().map(|b| format!("%{b:02x}")).collect();
            format!("/{n}-{random}")
        })
        .collect();
    let requests: Vec<u8> = keys
        .iter()
        .flat_map(|key| {
            format!("PUT {key} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{key}", key.len())
                .into_bytes()
        })
        .collect();
    let mut writer = client.stream.try_clone().expect("a second handle");
    let thread = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &requests));
    for key in &keys {
        assert_eq!(client.response().status, 201, "{key}");
    }
    thread.join().expect("no panic").expect("sent");
    assert_eq!(client.size(), 10_000);
    let requests: String =
        keys.iter().map(|key| format!("GET {key} HTTP/1.1\r\nHost: t\r\n\r\n")).collect();
    let mut writer = client.stream.try_clone().expect("a second handle");
    let thread =
        std::thread::spawn(move || std::io::Write::write_all(&mut writer, requests.as_bytes()));
    for key in &keys {
        assert_eq!(client.response().line(), *key);
    }
    thread.join().expect("no panic").expect("sent");
}
