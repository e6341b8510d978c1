//! A full server of large values, as its clients see it.

use testkit::{Client, Numbers, Server};

/// A gauge or a counter without labels.
#[track_caller]
fn metric(client: &mut Client, name: &str) -> u64 {
    let page = client.get("/metrics").line();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect("a sample").parse().expect("a number")
}

#[test]
fn a_full_server_of_large_values_never_has_less_than_95_percent_in_use() {
    const MEMORY: u64 = 64 << 20;
    for flags in [&["--cores", "0"][..], &[]] {
        let server = Server::start(&[flags, &["--memory", "64MiB"]].concat());
        let (mut client, mut admin) = (server.connect(), server.connect());
        let value = Numbers::new(1).bytes(2 << 20);
        for key in 0..100 {
            // Also while the value is only half there.
            let target = format!("/distinct-{key}");
            let head =
                format!("PUT {target} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", 2 << 20);
            client.send(head);
            for half in value.chunks(1 << 20) {
                client.send(half);
                if metric(&mut admin, "corekv_evicted_total") > 0 {
                    let used = metric(&mut admin, "corekv_stored_bytes");
                    assert!(used * 20 >= MEMORY * 19, "{used} bytes in use at value {key}");
                }
            }
            assert_eq!(client.response().status, 201);
            assert!(client.get(&target).body == value, "what was stored is there");
        }
        assert!(client.size() >= 29, "all but a few values are there");
    }
}

#[test]
fn one_large_value_takes_the_room_of_one() {
    let server = Server::start(&["--memory", "64MiB"]);
    let mut client = server.connect();
    let value = vec![7; 8 << 20];
    let mut before = 0;
    for key in 0..40 {
        assert_eq!(client.put(&format!("/{key}"), &value).status, 201);
        let evicted = metric(&mut client, "corekv_evicted_total");
        assert!(evicted - before <= 2, "{} values had to go for one", evicted - before);
        before = evicted;
    }
    assert!(client.size() >= 6);
}
