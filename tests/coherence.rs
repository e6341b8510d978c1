//! A write that was acknowledged on one connection is seen by the next read on any other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use testkit::{Client, Numbers, Server};

/// A server with at least two event loops, and connections on different ones.
fn on_different_cores(count: usize) -> (Server, Vec<Client>) {
    let server = Server::start(&[]);
    // Consecutive connections are dealt to different cores. On a machine of one core there is
    // one loop, and the tests still hold.
    let clients = (0..count).map(|_| server.connect()).collect();
    (server, clients)
}

fn get(key: &str) -> String {
    format!("GET /{key} HTTP/1.1\r\nHost: t\r\n\r\n")
}

fn put(key: &str, value: &[u8]) -> Vec<u8> {
    let mut request =
        format!("PUT /{key} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", value.len())
            .into_bytes();
    request.extend_from_slice(value);
    request
}

#[test]
fn what_one_core_wrote_the_other_reads() {
    const ROUNDS: u64 = 20_000;
    let (_server, mut clients) = on_different_cores(2);
    let (writer, reader) = clients.split_at_mut(1);
    let (mut writer, mut reader) = (&mut writer[0], &mut reader[0]);
    let mut numbers = Numbers::new(1);
    for round in 0..ROUNDS {
        let key = format!("k{}", numbers.below(50));
        let value = format!("{round}-{}", "x".repeat(numbers.below(60) as usize));
        let written = writer.exchange(put(&key, value.as_bytes()));
        assert!(matches!(written.status, 201 | 204), "{}", written.text());
        let read = reader.exchange(get(&key));
        assert_eq!((read.status, read.line()), (200, value), "round {round}");
        // Both directions.
        std::mem::swap(&mut writer, &mut reader);
    }
}

#[test]
fn what_one_core_deleted_the_other_misses() {
    const ROUNDS: u64 = 5_000;
    let (_server, mut clients) = on_different_cores(2);
    let (one, two) = clients.split_at_mut(1);
    let (mut one, mut two) = (&mut one[0], &mut two[0]);
    for round in 0..ROUNDS {
        let target = format!("/k{}", round % 20);
        assert_eq!(one.put(&target, "v").status, 201, "round {round}");
        assert_eq!(two.call("DELETE", &target).status, 204, "round {round}");
        assert_eq!(one.get(&target).status, 404, "round {round}");
        std::mem::swap(&mut one, &mut two);
    }
}

#[test]
fn a_pipeline_sees_what_another_connection_wrote_before_it_was_sent() {
    const ROUNDS: u64 = 300;
    const KEYS: usize = 50;
    let (_server, mut clients) = on_different_cores(2);
    for round in 0..ROUNDS {
        let (one, two) = clients.split_at_mut(1);
        let (writer, reader) =
            if round % 2 == 0 { (&mut one[0], &mut two[0]) } else { (&mut two[0], &mut one[0]) };
        let value = |n: usize| format!("{round}-{n}");
        let requests: Vec<_> =
            (0..KEYS).flat_map(|n| put(&format!("k{n}"), value(n).as_bytes())).collect();
        writer.send(requests);
        for _ in 0..KEYS {
            assert_eq!(writer.response().status, if round == 0 { 201 } else { 204 });
        }
        reader.send((0..KEYS).map(|n| get(&format!("k{n}"))).collect::<String>());
        for n in 0..KEYS {
            assert_eq!(reader.response().line(), value(n), "round {round}, key {n}");
        }
    }
}

/// A value that tells a torn one from a whole one: which key, which version, and a pattern of
/// the version over its whole length, which differs from version to version.
fn versioned(key: usize, version: u64, long: bool) -> Vec<u8> {
    let len = if long { 1_000 + (version % 7) * 9_000 } else { version % 90 };
    let mut value = format!("{key} {version} {len} ").into_bytes();
    value.resize(value.len() + len as usize, b'a' + (version % 26) as u8);
    value
}

/// The version in a value, after checking that it is whole.
fn version_of(key: usize, value: &[u8], long: bool) -> u64 {
    let text = String::from_utf8_lossy(value);
    let mut words = text.splitn(4, ' ');
    let mut number = || words.next().and_then(|w| w.parse::<u64>().ok());
    let (found, version) = (number(), number());
    assert_eq!(found, Some(key as u64), "the value of another key: {text}");
    let version = version.unwrap_or_else(|| panic!("a torn value: {text}"));
    assert!(value == versioned(key, version, long), "a torn value of key {key}: {text}");
    version
}

fn contend(long: bool, writes: u64) {
    const KEYS: usize = 4;
    const DEPTH: u64 = 8;
    let (_server, clients) = on_different_cores(4);
    let mut clients = clients.into_iter();
    // Each writer owns half the keys, so that its versions are the order of writes; readers
    // mix with both writers on both cores.
    let acknowledged: Arc<Vec<AtomicU64>> =
        Arc::new((0..KEYS).map(|_| AtomicU64::new(0)).collect());
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|half| {
            let mut client = clients.next().expect("four");
            let acknowledged = Arc::clone(&acknowledged);
            thread::spawn(move || {
                let mut version = 0;
                while version < writes {
                    let mut batch = Vec::new();
                    for step in 1..=DEPTH {
                        for key in [half, half + 2] {
                            let value = versioned(key, version + step, long);
                            batch.extend(put(&format!("hot{key}"), &value));
                        }
                    }
                    client.send(batch);
                    for step in 1..=DEPTH {
                        for key in [half, half + 2] {
                            let status = client.response().status;
                            assert!(matches!(status, 201 | 204), "{status}");
                            acknowledged[key].store(version + step, Ordering::SeqCst);
                        }
                    }
                    version += DEPTH;
                }
            })
        })
        .collect();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let mut client = clients.next().expect("four");
            let acknowledged = Arc::clone(&acknowledged);
            let done = Arc::clone(&done);
            thread::spawn(move || {
                let mut last = [0; KEYS];
                let mut reads = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    let floor: Vec<u64> =
                        acknowledged.iter().map(|v| v.load(Ordering::SeqCst)).collect();
                    let batch: String = (0..DEPTH)
                        .flat_map(|_| (0..KEYS).map(|k| get(&format!("hot{k}"))))
                        .collect();
                    client.send(batch);
                    for _ in 0..DEPTH {
                        for key in 0..KEYS {
                            let response = client.response();
                            let version = if response.status == 404 {
                                0
                            } else {
                                version_of(key, &response.body, long)
                            };
                            assert!(
                                version >= floor[key],
                                "key {key}: read {version} after {} was acknowledged",
                                floor[key]
                            );
                            assert!(
                                version >= last[key],
                                "key {key} went back from {} to {version}",
                                last[key]
                            );
                            last[key] = version;
                            reads += 1;
                        }
                    }
                }
                reads
            })
        })
        .collect();
    let written: Vec<_> = writers.into_iter().map(thread::JoinHandle::join).collect();
    done.store(true, Ordering::Relaxed);
    let read: Vec<_> = readers.into_iter().map(thread::JoinHandle::join).collect();
    for result in written {
        result.expect("the writer found nothing wrong");
    }
    for result in read {
        assert!(result.expect("the reader found nothing wrong") > 0);
    }
    let mut client = _server.connect();
    for key in 0..KEYS {
        let value = client.get(&format!("/hot{key}")).body;
        assert_eq!(
            version_of(key, &value, long),
            acknowledged[key].load(Ordering::SeqCst),
            "the last acknowledged write is what remains"
        );
    }
}

#[test]
fn two_writers_and_two_readers_on_hot_keys() {
    contend(false, 20_000);
}

#[test]
fn two_writers_and_two_readers_on_hot_keys_with_large_values() {
    contend(true, 1_200);
}

#[test]
fn two_writers_of_the_same_key_leave_one_of_the_two_values() {
    let (server, mut clients) = on_different_cores(3);
    let mut checker = clients.pop().expect("three");
    for round in 0..300_u64 {
        let threads: Vec<_> = clients
            .drain(..)
            .enumerate()
            .map(|(n, mut client)| {
                thread::spawn(move || {
                    let value = versioned(n, round, true);
                    let status = client.exchange(put("contested", &value)).status;
                    assert!(matches!(status, 201 | 204));
                    (client, status)
                })
            })
            .collect();
        let mut created = 0;
        for thread in threads {
            let (client, status) = thread.join().expect("written");
            created += usize::from(status == 201);
            clients.push(client);
        }
        assert_eq!(created, usize::from(round == 0), "who created the key, in round {round}");
        let value = checker.get("/contested").body;
        assert!(
            value == versioned(0, round, true) || value == versioned(1, round, true),
            "round {round} left neither value"
        );
    }
    drop(server);
}

/// Each writer owns some keys in two namespaces, of which one is purged over and over.
#[test]
fn no_read_sees_what_was_purged_before_it_was_sent() {
    const ROUNDS: u64 = 400;
    const KEYS: usize = 6;
    const DEPTH: usize = 4;
    let (_server, clients) = on_different_cores(5);
    let mut clients = clients.into_iter();
    let mut next = || clients.next().expect("five");
    let numbers = || (0..KEYS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
    // Versions that were acknowledged, and of those the ones that have been purged since.
    let (acknowledged, purged) = (&numbers(), &numbers());
    let (begun, ended) = (&AtomicU64::new(0), &AtomicU64::new(0));
    // When a version was acknowledged, by the purges that had ended before it was sent.
    let sent_after = &numbers();
    let done = &AtomicBool::new(false);
    let name = |key: usize| {
        if key.is_multiple_of(3) { format!("kept/{key}") } else { format!("ci/{key}") }
    };
    thread::scope(|scope| {
        for half in 0..2 {
            let mut client = next();
            scope.spawn(move || {
                let mut version = 0;
                while !done.load(Ordering::Relaxed) {
                    version += 1;
                    let keys = (half..KEYS).step_by(2);
                    let after = ended.load(Ordering::SeqCst);
                    let value = |key: usize| versioned(key, version, key == 4);
                    client.send(
                        keys.clone()
                            .flat_map(|key| put(&name(key), &value(key)))
                            .collect::<Vec<_>>(),
                    );
                    for key in keys {
                        assert!(matches!(client.response().status, 201 | 204));
                        sent_after[key].store(after, Ordering::SeqCst);
                        acknowledged[key].store(version, Ordering::SeqCst);
                    }
                }
            });
        }
        for _ in 0..2 {
            let mut client = next();
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let load = |numbers: &[AtomicU64]| {
                        numbers.iter().map(|n| n.load(Ordering::SeqCst)).collect::<Vec<_>>()
                    };
                    let after = load(sent_after);
                    let (floor, gone) = (load(acknowledged), load(purged));
                    let batch: String =
                        (0..DEPTH).flat_map(|_| (0..KEYS).map(|key| get(&name(key)))).collect();
                    client.send(batch);
                    for _ in 0..DEPTH {
                        for key in 0..KEYS {
                            let response = client.response();
                            if response.status == 200 {
                                let version = version_of(key, &response.body, key == 4);
                                assert!(
                                    version > gone[key],
                                    "key {key}: {version} is back after a purge"
                                );
                                assert!(
                                    version >= floor[key],
                                    "key {key}: {version} after {}",
                                    floor[key]
                                );
                                continue;
                            }
                            let may_be_gone = floor[key] == 0
                                || !key.is_multiple_of(3)
                                    && begun.load(Ordering::SeqCst) > after[key];
                            assert!(response.status == 404 && may_be_gone, "key {key} is lost");
                        }
                    }
                }
            });
        }
        let mut client = next();
        let are_written = || purged[1].load(Ordering::SeqCst) > 20;
        for _ in (0..).take_while(|&round| round < ROUNDS || !are_written()) {
            let before: Vec<u64> = acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).collect();
            begun.fetch_add(1, Ordering::SeqCst);
            let status = client.call("PURGE", "/ci/").status;
            ended.fetch_add(1, Ordering::SeqCst);
            for (key, &version) in
                before.iter().enumerate().filter(|(key, _)| !key.is_multiple_of(3))
            {
                purged[key].store(version, Ordering::SeqCst);
            }
            if status != 204 {
                done.store(true, Ordering::Relaxed);
            }
            assert_eq!(status, 204);
        }
        done.store(true, Ordering::Relaxed);
    });
}
