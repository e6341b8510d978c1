//! Many connections: what they cost, how they are dealt, and what happens when there are none
//! left to give.

use std::io::Write;
use std::process::Command;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use testkit::{Client, Server, command, eventually};

/// Raises this process's limit on descriptors, which the server inherits, as far as it goes.
/// How many connections can then be open at once.
fn descriptors_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it is refused the old limit holds, and fewer connections are tried.
    let _ = setrlimit(Resource::Nofile, raised);
    let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(current).unwrap_or(usize::MAX).saturating_sub(500)
}

/// Open connections per core, as the server counts them.
fn open_per_core(client: &mut Client) -> Vec<u64> {
    let text = client.get("/metrics").line();
    let mut cores: Vec<(usize, u64)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("corekv_connections_open{"))
        .map(|line| {
            let (labels, value) = line.split_once("} ").expect("labels and a value");
            let core = labels.split('"').nth(1).expect("a core").parse().expect("a number");
            (core, value.parse::<f64>().expect("a number") as u64)
        })
        .collect();
    cores.sort_unstable();
    cores.into_iter().map(|(_, open)| open).collect()
}

#[test]
fn ten_thousand_idle_connections_cost_under_two_kibibytes_each() {
    let count = descriptors_max().min(10_000);
    assert!(count >= 1_000, "the limit on descriptors is too low to test anything");
    let server = Server::start(&[]);
    let mut first = server.connect();
    first.put("/k", "v");
    // A few hundred to begin with, so that what the server sets up once is not counted.
    let mut clients: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/k").line(), "v");
    }
    let before = server.rss_bytes();
    let started_with = clients.len();
    while clients.len() < count {
        // In steps, since the backlog of a listener is finite, and each is used once, since a
        // connection that never carried a request is cheap by nature.
        for _ in 0..100 {
            clients.push(server.connect());
        }
        let len = clients.len();
        for client in &mut clients[len - 100..] {
            client.send("GET /k HTTP/1.1\r\nHost: t\r\n\r\n");
        }
        for client in &mut clients[len - 100..] {
            assert_eq!(client.response().line(), "v");
        }
    }
    let opened = (clients.len() - started_with) as u64;
    let allowed = opened * 2 * 1024;
    // The buffers of idle connections may be given back a moment later.
    eventually("under 2 KiB a connection", || server.rss_bytes().saturating_sub(before) < allowed);

    let open = open_per_core(&mut first);
    assert_eq!(open.iter().sum::<u64>(), clients.len() as u64 + 1);
    let (least, most) = (open.iter().min().unwrap(), open.iter().max().unwrap());
    assert!(most - least <= 1, "dealt unevenly: {open:?}");

    // All of them are alive.
    for client in clients.iter_mut().step_by(37) {
        assert_eq!(client.get("/k").line(), "v");
    }
    drop(clients);
    eventually("all are closed", || open_per_core(&mut first).iter().sum::<u64>() == 1);
}

#[test]
fn connections_are_dealt_evenly_and_again_after_some_left() {
    let server = Server::start(&[]);
    let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.get("/k");
    }
    let open = open_per_core(&mut clients[0]);
    assert_eq!(open.len(), server.cores());
    assert_eq!(open.iter().sum::<u64>(), 20);
    assert!(open.iter().max().unwrap() - open.iter().min().unwrap() <= 1, "{open:?}");

    // Every second one leaves: all of one core's, if there are two.
    let mut kept = Vec::new();
    for (n, client) in clients.into_iter().enumerate() {
        if n % 2 == 0 {
            kept.push(client);
        }
    }
    eventually("half of them are closed", || open_per_core(&mut kept[0]).iter().sum::<u64>() == 10);
    for _ in 0..10 {
        let mut client = server.connect();
        client.get("/k");
        kept.push(client);
    }
    let open = open_per_core(&mut kept[0]);
    assert!(
        open.iter().max().unwrap() - open.iter().min().unwrap() <= 1,
        "new connections go where the fewest are: {open:?}"
    );
}

#[test]
fn storms_of_connections_leave_nothing_behind() {
    let server = Server::start(&[]);
    let mut witness = server.connect();
    witness.put("/k", "v");
    let idle = server.descriptors();
    let address = server.address().to_owned();
    let threads: Vec<_> = (0..2)
        .map(|n| {
            let address = address.clone();
            thread::spawn(move || {
                for round in 0..2_000 {
                    let mut client = Client::connect(&address);
                    match (round + n) % 4 {
                        0 => {}
                        1 => assert_eq!(client.get("/k").line(), "v"),
                        2 => client.send("GET /k HTTP/1.1\r\nHost: t\r\n\r\n"),
                        _ => client.send("PUT /half HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n"),
                    }
                }
            })
        })
        .collect();
    while threads.iter().any(|thread| !thread.is_finished()) {
        assert_eq!(witness.get("/k").line(), "v");
    }
    for thread in threads {
        thread.join().expect("every connection was taken");
    }
    // Whoever waited to be accepted comes before a newcomer, so once that has been answered none
    // of the storm can still take a descriptor.
    assert_eq!(server.connect().get("/k").line(), "v");
    eventually("every descriptor is free again", || {
        server.descriptors() <= idle && open_per_core(&mut witness).iter().sum::<u64>() == 1
    });
}

/// A server that may have 128 descriptors.
fn start_short_of_descriptors() -> Server {
    let mut shell = Command::new("sh");
    let program = command(&[]);
    shell
        .args(["-c", "ulimit -n 128; exec \"$0\" --listen 127.0.0.1:0 --cores 0"])
        .arg(program.get_program());
    Server::spawn(shell)
}

#[test]
fn a_server_out_of_descriptors_serves_those_who_are_in_and_recovers() {
    let server = start_short_of_descriptors();
    let mut inside = server.connect();
    assert_eq!(inside.put("/k", "v").status, 201);
    // More than there are descriptors; the later ones wait in the backlog or are turned away.
    let crowd: Vec<_> =
        (0..300).filter_map(|_| std::net::TcpStream::connect(server.address()).ok()).collect();
    for _ in 0..50 {
        assert_eq!(inside.get("/k").line(), "v");
    }
    drop(crowd);
    eventually("a newcomer is served", || {
        let mut client = server.connect();
        client.send("GET /k HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        let answer = client.read_to_end();
        answer.starts_with(b"HTTP/1.1 200 ")
    });
    assert_eq!(inside.get("/k").line(), "v");
}

#[test]
fn a_server_out_of_descriptors_tells_all_others_to_come_back() {
    let server = start_short_of_descriptors();
    let mut inside = server.connect();
    assert_eq!(inside.put("/k", "v").status, 201);
    let mut waiting: Vec<Client> = (0..400).map(|_| server.connect()).collect();
    // Half of them ask before they hear anything, as clients do.
    for client in waiting.iter_mut().step_by(2) {
        let _ = client.stream.write_all(b"GET /k HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    // Nobody of the crowd leaves, so whoever is neither in nor told stays so.
    let mut answers = Vec::new();
    eventually("all but those whom 128 descriptors let in have an answer", || {
        assert_eq!(inside.get("/k").line(), "v");
        let (answered, rest) =
            std::mem::take(&mut waiting).into_iter().partition(Client::is_answered);
        waiting = rest;
        answers.extend(answered);
        waiting.len() < 64
    });
    // Who was not told is in, or is told now.
    for client in &mut waiting {
        let _ = client.stream.write_all(b"GET /k HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    answers.append(&mut waiting);
    let (mut served, mut told) = (Vec::new(), 0);
    for mut client in answers {
        let answer = client.response();
        if answer.status == 200 {
            assert_eq!(answer.line(), "v");
            served.push(client);
            continue;
        }
        answer.assert_error(
            503,
            "Connection: close\r\nContent-Type: text/plain\r\nRetry-After: 1\r\n",
        );
        client.assert_closed_or_reset();
        told += 1;
    }
    assert!(served.len() < 128, "{} were served", served.len());
    assert!(told > 400 - 128, "{told} were told");
    drop(served);
    eventually("a newcomer is served", || {
        let mut client = server.connect();
        let _ = client.stream.write_all(b"GET /k HTTP/1.1\r\nHost: t\r\n\r\n");
        client.response().status == 200
    });
    let text = inside.get("/metrics").line();
    let counted = ["connections_refused_total{core=\"0\"}", "connections_turned_away_total"];
    let counted = counted.map(|name| {
        let value = text.lines().find_map(|line| line.strip_prefix("corekv_")?.strip_prefix(name));
        value.and_then(|value| value.trim().parse::<usize>().ok()).expect("a count")
    });
    assert!(counted.iter().sum::<usize>() >= told && counted[1] > 0, "{counted:?}, {told} told");
}
