//! What sockets do besides carrying bytes: urgent bytes, descriptors that travel with bytes, and the
//! files of Unix-domain sockets.

use std::fs;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};
use rustix::process::Signal;
use socket2::{Domain, SockAddr, Socket, Type};
use testkit::{Killed, PATIENCE, Server, command, eventually};

const REQUEST: &[u8] = b"GET /k HTTP/1.1\r\nHost: t\r\n\r\n";

/// Shorter than the time after which the server gives an incomplete request up.
const ANSWER_MAX: Duration = Duration::from_secs(8);

/// A server on a Unix-domain socket.
fn on_socket(path: &Path) -> Server {
    Server::spawn(command(&["--cores", "0", "--listen", &format!("unix:{}", path.display())]))
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("somebody listens");
    stream.set_read_timeout(Some(ANSWER_MAX)).expect("SO_RCVTIMEO");
    stream
}

/// Reads one answer to [`REQUEST`], which says that there is no such key.
#[track_caller]
fn expect_miss(stream: &mut impl Read) {
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    while testkit::parse(&received, false).is_none() {
        let n = stream.read(&mut piece).expect("an answer in time");
        assert!(n > 0, "the connection ended without an answer");
        received.extend_from_slice(&piece[..n]);
    }
    let (answer, len) = testkit::parse(&received, false).expect("checked");
    assert_eq!((answer.status, len), (404, received.len()));
}

/// Has the server find all at once that is sent meanwhile, in one event.
fn while_stopped(server: &mut Server, send: impl FnOnce()) {
    server.signal(Signal::STOP);
    let stat = format!("/proc/{}/stat", server.pid());
    eventually("the server is stopped", || fs::read_to_string(&stat).unwrap().contains(") T "));
    send();
    server.signal(Signal::CONT);
}

#[test]
fn what_follows_an_urgent_byte_is_answered() {
    let mut server = Server::start(&["--cores", "0"]);
    let mut client = server.connect();
    client.stream.set_read_timeout(Some(ANSWER_MAX)).expect("SO_RCVTIMEO");
    for cut in [1, 10, REQUEST.len() - 1] {
        client.send(REQUEST);
        expect_miss(&mut client.stream);
        while_stopped(&mut server, || {
            client.send(&REQUEST[..cut]);
            send(&client.stream, b"!", SendFlags::OOB).expect("an urgent byte");
            client.send(&REQUEST[cut..]);
        });
        expect_miss(&mut client.stream);
    }
}

#[test]
fn what_follows_an_out_of_band_byte_on_a_unix_socket_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let mut server = on_socket(&path);
    let mut client = connect(&path);
    for cut in [1, 10, REQUEST.len() - 1] {
        client.write_all(REQUEST).expect("room");
        expect_miss(&mut client);
        let mut supported = true;
        while_stopped(&mut server, || {
            client.write_all(&REQUEST[..cut]).expect("room");
            supported = send(&client, b"!", SendFlags::OOB).is_ok();
            client.write_all(&REQUEST[cut..]).expect("room");
        });
        if !supported {
            eprintln!("skipped: this kernel has no out-of-band bytes on Unix-domain sockets");
            return;
        }
        expect_miss(&mut client);
    }
}

#[test]
fn what_follows_descriptors_on_a_unix_socket_is_answered_and_they_are_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let server = on_socket(&path);
    let mut client = connect(&path);
    client.write_all(REQUEST).expect("room");
    expect_miss(&mut client);
    let before = server.descriptors();
    for _ in 0..20 {
        // As one piece of several, each of which ends a read.
        for piece in REQUEST.chunks(9) {
            let file = fs::File::open("/dev/null").expect("/dev/null");
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let files = [file.as_fd()];
            assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
            let sent = sendmsg(&client, &[IoSlice::new(piece)], &mut control, SendFlags::empty());
            assert_eq!(sent, Ok(piece.len()));
        }
        expect_miss(&mut client);
    }
    // The server opens files of its own for a moment, to sample what the process uses.
    eventually("all are closed", || server.descriptors() <= before);
}

#[test]
fn a_socket_file_that_became_another_servers_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let mut first = on_socket(&path);
    // Somebody else takes the path over, which the first server does not notice.
    fs::remove_file(&path).expect("it is there");
    let _second = on_socket(&path);
    first.signal(Signal::TERM);
    assert_eq!(first.wait().code(), Some(0));
    let mut client = connect(&path);
    client.write_all(REQUEST).expect("room");
    expect_miss(&mut client);
}

#[test]
fn a_socket_file_goes_with_its_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let mut server = on_socket(&path);
    assert!(path.exists());
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!path.exists());
}

/// Starts a server on a socket that need not become one.
fn start(path: &Path) -> Killed {
    let mut command = command(&["--cores", "0", "--listen", &format!("unix:{}", path.display())]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Killed(command.spawn().expect("the program starts"))
}

#[test]
fn the_socket_of_a_stopped_server_with_a_full_backlog_does_not_block_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let address = SockAddr::unix(&path).expect("a short path");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    listener.bind(&address).and_then(|()| listener.listen(0)).expect("a listener");
    let mut waiting = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        client.set_nonblocking(true).expect("O_NONBLOCK");
        if client.connect(&address).is_err() {
            break;
        }
        waiting.push(client);
    }
    let mut server = start(&path);
    eventually("the server says that the path is taken", || {
        server
            .0
            .try_wait()
            .expect("it can be waited for")
            .is_some_and(|status| status.code() == Some(1))
    });
    assert!(path.exists());
}

#[test]
fn of_servers_that_start_at_once_over_a_stale_socket_one_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    for _ in 0..10 {
        drop(UnixListener::bind(&path).expect("a listener"));
        let mut servers: Vec<_> = (0..4).map(|_| start(&path)).collect();
        let ended = |servers: &mut [Killed]| {
            let codes =
                servers.iter_mut().filter_map(|server| server.0.try_wait().expect("a child"));
            codes.filter(|status| status.code() == Some(1)).count()
        };
        let deadline = Instant::now() + PATIENCE;
        while ended(&mut servers) < 3 {
            assert!(Instant::now() < deadline, "{} of 4 ended", ended(&mut servers));
            thread::sleep(Duration::from_millis(5));
        }
        let mut client = connect(&path);
        client.write_all(REQUEST).expect("room");
        expect_miss(&mut client);
        drop(servers);
        fs::remove_file(&path).expect("its server was killed");
    }
}

#[test]
fn a_directory_whose_lock_is_held_does_not_block_the_start_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let directory = fs::File::open(folder.path()).expect("a directory");
    directory.lock().expect("nobody else has it");
    let output = Command::new(env!("CARGO_BIN_EXE_corekv"))
        .args(["--listen", &format!("unix:{}", path.display())])
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("lock"), "{said}");
}
