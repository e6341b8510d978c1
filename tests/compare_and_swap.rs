//! Conditional writes are atomic, from any connection and any core.

use std::thread;

use testkit::{Client, Server};

const CONNECTIONS: usize = 8;

/// Increments that all connections make together.
const INCREMENTS: usize = 100_000;

fn tag(client: &mut Client, target: &str) -> String {
    client.call("HEAD", target).field("ETag").expect("a tag").to_owned()
}

/// Adds one by reading the number and replacing just that one, until nobody was in between.
fn increment(client: &mut Client, number: &mut (u64, String)) {
    loop {
        let next = number.0 + 1;
        let lines = format!("If-Match: {}\r\n", number.1);
        let response = client.put_with("/number", &lines, next.to_string());
        match response.status {
            204 => {
                *number = (next, response.field("ETag").expect("of what is stored").to_owned());
                return;
            }
            412 => *number = read(client),
            other => panic!("status {other}"),
        }
    }
}

/// The number and its tag, of one and the same moment.
fn read(client: &mut Client) -> (u64, String) {
    let response = client.get("/number");
    let tag = response.field("ETag").expect("--etag").to_owned();
    (response.line().parse().expect("a number"), tag)
}

#[test]
fn no_increment_of_many_writers_is_lost() {
    let server = Server::start(&["--etag"]);
    let mut client = server.connect();
    client.put("/number", "0");
    let share = INCREMENTS / CONNECTIONS;
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut client = server.connect();
            thread::spawn(move || {
                let mut number = read(&mut client);
                (0..share).for_each(|_| increment(&mut client, &mut number));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("all increments"));
    assert_eq!(client.get("/number").line(), (share * CONNECTIONS).to_string());
}

#[test]
fn of_many_who_add_a_key_one_wins() {
    const KEYS: usize = 2_000;
    let server = Server::start(&[]);
    for value_bytes in [8, 9_000] {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|n| {
                let mut client = server.connect();
                thread::spawn(move || {
                    let value = vec![b'a' + n as u8; value_bytes];
                    let add = |key| {
                        let target = format!("/add-{value_bytes}-{key}");
                        let response = client.put_with(&target, "If-None-Match: *\r\n", &value);
                        assert!([201, 412].contains(&response.status), "{}", response.status);
                        response.status == 201
                    };
                    (0..KEYS).map(add).collect::<Vec<_>>()
                })
            })
            .collect();
        let wins: Vec<Vec<bool>> =
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        let mut client = server.connect();
        for key in 0..KEYS {
            let won = wins.iter().map(|wins| wins[key]);
            let winners: Vec<_> = (b'a'..).zip(won).filter(|&(_, won)| won).collect();
            let [(winner, _)] = winners[..] else {
                panic!("key {key} of {value_bytes} bytes has the winners {winners:?}")
            };
            let value = client.get(&format!("/add-{value_bytes}-{key}")).body;
            assert_eq!(value[0], winner, "the winner's value stays");
        }
    }
}

#[test]
fn a_value_is_deleted_only_as_the_client_knows_it() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.put("/k", "one");
    let one = tag(&mut client, "/k");
    client.put("/k", "two");
    let delete = |tag: &str| format!("DELETE /k HTTP/1.1\r\nHost: t\r\nIf-Match: {tag}\r\n\r\n");
    assert_eq!(client.exchange(delete(&one)).status, 412);
    assert_eq!(client.get("/k").line(), "two");
    let two = tag(&mut client, "/k");
    assert_eq!(client.exchange(delete(&two)).status, 204);
    assert_eq!(client.get("/k").status, 404);
}
