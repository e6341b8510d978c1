//! Each system call that the server makes fails with the errors that it may fail with, once and
//! again and again, while clients check every answer. Then the server goes on, or it ends with a
//! message and exit code 1; it never hangs, answers wrongly, or spins. docs/reliability.md shows the
//! table. Without strace the tests say so and pass.

mod injection {
    pub(crate) mod load;
    pub(crate) mod traced;
}
mod peers;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use injection::load;
use injection::traced::{Traced, tail};

/// What becomes of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// Every request is answered.
    Serves,
    /// Connections are closed, as many as fail at most; every answer that comes is right.
    Closes,
    /// Nobody is served as long as it lasts, and that costs nothing. Of listeners there is a message.
    Deaf,
    /// The process ends with a message and exit code 1.
    Ends,
}
use Fate::{Closes, Deaf, Ends, Serves};

/// A call that fails while the server is under load: its name, the errors, when, and what then.
type Row = (&'static str, &'static [&'static str], &'static [&'static str], Fate);

/// Once, and now and then; strace counts for each thread by itself.
const SOMETIMES: &[&str] = &["3", "2+5"];
/// The same, and from some time on for good.
const ALL: &[&str] = &["3", "2+5", "3+"];
const AT_ONCE: &[&str] = &["1+"];
/// The main thread makes up to seven such calls at its start.
const LATER: &[&str] = &["8", "8+2", "8+"];

const UNDER_LOAD: &[Row] = &[
    ("recvfrom", &["ENOMEM"], SOMETIMES, Serves),
    ("recvfrom", &["EINTR", "ENOBUFS"], SOMETIMES, Serves),
    ("recvfrom", &["ENOMEM"], AT_ONCE, Deaf),
    ("recvfrom", &["ECONNRESET"], ALL, Closes),
    ("recvfrom", &["ETIMEDOUT", "EHOSTUNREACH", "EIO", "EBADF"], ALL, Closes),
    ("recvmsg", &["EINTR", "ENOMEM", "ENOBUFS"], SOMETIMES, Serves),
    ("recvmsg", &["ENOBUFS"], AT_ONCE, Deaf),
    ("recvmsg", &["ECONNRESET", "EIO"], ALL, Closes),
    ("sendto", &["ENOBUFS"], SOMETIMES, Serves),
    ("sendto", &["EINTR", "ENOMEM"], SOMETIMES, Serves),
    ("sendto", &["ENOBUFS"], AT_ONCE, Deaf),
    ("sendto", &["EPIPE", "ECONNRESET", "ETIMEDOUT", "EPERM"], ALL, Closes),
    ("sendmsg", &["ENOMEM"], SOMETIMES, Serves),
    ("sendmsg", &["EINTR", "ENOBUFS"], SOMETIMES, Serves),
    ("sendmsg", &["EPIPE", "ECONNRESET", "ETIMEDOUT", "EPERM"], ALL, Closes),
    ("shutdown", &["ENOTCONN", "ENOBUFS"], &["2"], Serves),
    ("setsockopt", &["ENOPROTOOPT", "ENOBUFS", "EINVAL"], &["3+"], Serves),
    ("accept4", &["EPERM"], SOMETIMES, Serves),
    ("accept4", &["ECONNABORTED", "EINTR", "EPROTO", "ENETDOWN"], SOMETIMES, Serves),
    ("accept4", &["EHOSTUNREACH", "ENOBUFS", "ENOMEM", "EINVAL"], SOMETIMES, Serves),
    ("accept4", &["EMFILE", "ENFILE"], SOMETIMES, Closes),
    ("accept4", &["EPERM"], AT_ONCE, Deaf),
    ("accept4", &["ECONNABORTED", "ENETDOWN", "EMFILE", "ENFILE"], AT_ONCE, Deaf),
    ("accept4", &["ENOBUFS", "ENOMEM", "EINVAL", "EBADF"], AT_ONCE, Deaf),
    ("epoll_ctl", &["ENOMEM", "ENOSPC", "EPERM"], LATER, Closes),
    ("epoll_wait", &["EINTR"], SOMETIMES, Serves),
    ("epoll_wait", &["EBADF"], &["6"], Ends),
    ("epoll_wait", &["EINVAL", "EFAULT", "EPERM"], &["6"], Ends),
    ("write", &["EBADF"], &["2+"], Serves),
    ("write", &["EINTR", "EAGAIN", "EIO", "EPERM"], &["2", "2+2"], Serves),
    ("madvise", &["EINVAL"], AT_ONCE, Serves),
    ("madvise", &["ENOMEM", "EAGAIN", "EBADF", "EPERM"], AT_ONCE, Serves),
];

/// Calls that the server makes at its start, and how each of them may fail.
const AT_START: &[(&str, &[&str])] = &[
    ("bind", &["EADDRINUSE", "EACCES", "EPERM"]),
    ("clone3", &["EAGAIN", "ENOMEM", "EPERM"]),
    ("connect", &["EAGAIN", "EPERM"]),
    ("epoll_create1", &["EMFILE", "ENFILE", "ENOMEM"]),
    ("epoll_ctl", &["ENOMEM", "ENOSPC", "EPERM"]),
    ("eventfd2", &["EMFILE", "ENFILE", "ENOMEM"]),
    ("fcntl", &["EMFILE", "EPERM"]),
    ("flock", &["EINTR", "ENOLCK", "EPERM"]),
    ("getdents64", &["ENOENT"]),
    ("getsockname", &["ENOBUFS"]),
    ("ioctl", &["EPERM"]),
    ("listen", &["EADDRINUSE", "EPERM"]),
    ("madvise", &["EINVAL", "ENOMEM"]),
    ("mmap", &["ENOMEM", "EPERM"]),
    ("openat", &["EACCES", "EMFILE", "ENOMEM", "EPERM"]),
    ("read", &["EIO"]),
    ("rt_sigaction", &["EPERM"]),
    ("sched_getaffinity", &["EPERM"]),
    ("sched_setaffinity", &["EPERM", "EINVAL"]),
    ("setsockopt", &["ENOBUFS", "EPERM"]),
    ("socket", &["EMFILE", "ENOBUFS", "EPERM", "EAFNOSUPPORT"]),
    ("socketpair", &["EMFILE", "EPERM"]),
    ("statx", &["EACCES"]),
    ("write", &["EPIPE", "ENOSPC", "EIO"]),
];

/// Also on a machine of one core.
const TWO_LOOPS: &[&str] = &["--no-pin", "--cores", "0,1"];
const ONE_LOOP: &[&str] = &["--cores", "0"];

/// Cases that run at a time.
const WORKERS: usize = 4;

/// One server with one fault.
#[derive(Debug, Clone)]
struct Case {
    call: &'static str,
    error: &'static str,
    when: String,
    /// Rounds of the load.
    rounds: usize,
    flags: &'static [&'static str],
    may: Vec<Fate>,
}

impl Case {
    fn options(&self) -> Vec<String> {
        let Self { call, error, when, .. } = self;
        [format!("-etrace={call}"), format!("-einject={call}:error={error}:when={when}")].into()
    }

    /// Runs the server and says what became of it.
    #[track_caller]
    fn run(&self, strace: &Path) -> (Fate, String) {
        let mut server = Traced::start(strace, &self.options(), self.flags);
        if !server.wait_until_ready() {
            return (Ends, ended(server.wait()));
        }
        if self.may.contains(&Deaf) {
            return self.run_deaf(server);
        }
        let outcome = load::run(&server.address, &server.socket(), self.rounds);
        if self.may == [Ends] {
            return (Ends, ended(server.wait()));
        }
        server.assert_idle();
        let said = goodbye(&mut server);
        assert!(server.calls().contains("(INJECTED)"), "nothing failed: {}", tail(&server.calls()));
        let fate = if outcome.closed == 0 { Serves } else { Closes };
        (fate, format!("{outcome:?} {said}"))
    }

    fn run_deaf(&self, mut server: Traced) -> (Fate, String) {
        const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n";
        let mut tcp = TcpStream::connect(&server.address).expect("the kernel accepts");
        let mut unix = UnixStream::connect(server.socket()).expect("the kernel accepts");
        tcp.write_all(REQUEST).and_then(|()| unix.write_all(REQUEST)).expect("room");
        server.assert_idle();
        let said = goodbye(&mut server);
        if self.call == "accept4" {
            assert!(said.contains("can't accept connections"), "not a word: {said}");
        }
        assert!(said.lines().count() < 5, "too many words: {said}");
        assert!(server.calls().contains("(INJECTED)"), "nothing failed: {}", tail(&server.calls()));
        (Deaf, said)
    }
}

/// Ends a server in order. What it has said.
#[track_caller]
fn goodbye(server: &mut Traced) -> String {
    let (status, said) = server.end();
    assert_eq!(status.code(), Some(0), "{status}: {said}");
    said
}

/// Checks that a server ended by itself with exit code 1 and a message.
#[track_caller]
fn ended((status, said): (std::process::ExitStatus, String)) -> String {
    assert_eq!(status.code(), Some(1), "{status}: {said}");
    let last = said.trim_end().lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("error: ") && last.len() > "error: ".len() + 20, "{said}");
    last
}

/// Runs cases, a few at a time, and prints what became of each. Fails after all of them.
#[track_caller]
fn run_all(strace: &Path, cases: &[Case]) -> Vec<(Fate, String)> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(vec![None; cases.len()]);
    thread::scope(|scope| {
        for _ in 0..WORKERS.min(cases.len()) {
            scope.spawn(|| {
                while let Some((number, case)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|n| Some((n, cases.get(n)?)))
                {
                    let result = std::panic::catch_unwind(|| case.run(strace)).ok();
                    results.lock().unwrap()[number] = result;
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    let mut wrong = Vec::new();
    for (case, result) in cases.iter().zip(&results) {
        let Case { call, error, when, .. } = case;
        println!("{call} {error} {when}: {result:?}");
        if !result.as_ref().is_some_and(|(fate, _)| case.may.contains(fate)) {
            wrong.push(format!("{case:?}: {result:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    results.into_iter().flatten().collect()
}

fn under_load(rows: &[Row]) -> Vec<Case> {
    let mut cases = Vec::new();
    for &(call, errors, whens, fate) in rows {
        for error in errors {
            for when in whens {
                // With luck nothing was under way that had to be closed.
                let may = if fate == Closes { vec![Serves, Closes] } else { vec![fate] };
                let (when, flags) = ((*when).to_owned(), TWO_LOOPS);
                cases.push(Case { call, error, when, rounds: 12, flags, may });
            }
        }
    }
    cases
}

/// How often each call is made by the server's first thread before the program itself begins, and
/// then until it is ready.
fn calls_at_start(strace: &Path) -> BTreeMap<&'static str, (usize, usize)> {
    // The last call that the standard library makes before `main`.
    const MARK: &str = "sigaltstack({ss_sp";
    let mark = MARK.split('(').next();
    let names: Vec<_> = AT_START.iter().map(|(call, _)| *call).chain(mark).collect();
    let options = [format!("-etrace={}", names.join(","))];
    let mut server = Traced::start(strace, &options, ONE_LOOP);
    assert!(server.wait_until_ready());
    goodbye(&mut server);
    let calls = server.calls();
    let first_thread = calls.split(' ').next().expect("a thread");
    let mut found = BTreeMap::new();
    let mut begun = false;
    for line in calls.lines().filter_map(|line| line.strip_prefix(first_thread)) {
        let line = line.trim_start();
        begun |= line.starts_with(MARK);
        let name = line.split('(').next().unwrap_or_default();
        if let Some((call, _)) = AT_START.iter().find(|(call, _)| *call == name) {
            let (before, within) = found.entry(*call).or_insert((0, 0));
            *(if begun { within } else { before }) += 1;
        }
        if line.starts_with("write") && line.contains("ready") {
            break;
        }
    }
    found
}

fn at_start(strace: &Path, calls: &[&str]) -> Vec<Case> {
    let counts = calls_at_start(strace);
    let mut cases = Vec::new();
    for &(call, errors) in AT_START.iter().filter(|(call, _)| calls.contains(call)) {
        let (before, within) = counts.get(call).copied().unwrap_or_default();
        for error in errors {
            for number in before + 1..=before + within {
                let may = vec![Serves, Ends];
                let (when, flags) = (number.to_string(), ONE_LOOP);
                cases.push(Case { call, error, when, rounds: 1, flags, may });
            }
        }
    }
    cases
}

#[test]
fn a_thread_that_cannot_start_ends_the_server_unless_it_only_prepares_pages() {
    let Some(strace) = peers::find("strace") else { return };
    let cases: Vec<_> = (1..=4)
        .map(|number| {
            let may = vec![if number == 1 { Serves } else { Ends }];
            let (when, flags) = (number.to_string(), TWO_LOOPS);
            Case { call: "clone3", error: "EAGAIN", when, rounds: 1, flags, may }
        })
        .collect();
    let results = run_all(&strace, &cases);
    let named = ["takes samples", "corekv-0", "corekv-1"];
    for ((_, said), name) in results.iter().skip(1).zip(named) {
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn a_call_that_fails_under_load_costs_no_more_than_its_connection() {
    let Some(strace) = peers::find("strace") else { return };
    // The first error of each row, once and then for good or now and then.
    let rows: Vec<_> =
        UNDER_LOAD.iter().filter(|(_, errors, ..)| errors.len() == 1).copied().collect();
    run_all(&strace, &under_load(&rows));
}

#[test]
fn a_forbidden_call_at_the_start_is_named() {
    let Some(strace) = peers::find("strace") else { return };
    for call in ["sched_getaffinity", "sched_setaffinity"] {
        let options = [format!("-etrace={call}"), format!("-einject={call}:error=EPERM")];
        let mut server = Traced::start(&strace, &options, &[]);
        assert!(!server.wait_until_ready());
        let said = ended(server.wait());
        assert!(said.contains(call) && said.contains("--no-pin"), "{said}");
        let mut server = Traced::start(&strace, &options, &["--no-pin", "--cores", "0"]);
        assert!(server.wait_until_ready(), "{:?}", server.wait());
        goodbye(&mut server);
    }
}

#[test]
#[ignore = "takes half a minute; .ci/run runs it"]
fn every_call_under_load_with_every_error() {
    let Some(strace) = peers::find("strace") else { return };
    run_all(&strace, &under_load(UNDER_LOAD));
}

#[test]
#[ignore = "takes half a minute; .ci/run runs it"]
fn every_call_at_the_start_with_every_error() {
    let Some(strace) = peers::find("strace") else { return };
    let calls: Vec<_> = AT_START.iter().map(|(call, _)| *call).collect();
    run_all(&strace, &at_start(&strace, &calls));
}
