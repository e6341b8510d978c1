//! The load: threads with connections of their own, paced by replies or by a clock.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use corekv::net::{Address, pin};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use testkit::Numbers;

use super::connection::{Connection, Socket};
use super::replies::Replies;
use super::requests::Requests;
use super::wire::Wire;
use crate::cpu::{ProcessCpu, thread_cpu_ns};

/// How requests are paced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// So many in flight per connection, always: the next ones are sent when all replies are there.
    Closed {
        /// Requests in flight per connection.
        depth: usize,
    },
    /// So many per second on all connections together, at random times (a Poisson process), whatever
    /// the server does. Latency counts from when a request was due.
    Open {
        /// Requests per second.
        rate: f64,
    },
}

/// Most requests in flight per connection in an open loop; what is due beyond that waits.
const IN_FLIGHT_MAX: usize = 64;

/// Requests in flight while keys are stored, and keys that are rendered at a time.
const PRELOAD_DEPTH: usize = 256;
const PRELOAD_BYTES: u64 = 4 << 20;

const RECEIVE_BYTES: usize = 256 << 10;
const EVENTS_MAX: usize = 64;

/// How long the replies that are still missing are waited for at the end.
const DRAIN: Duration = Duration::from_secs(2);

/// Longest latency that is told apart, in nanoseconds.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const STOP: u8 = 2;

/// Who sends.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where to.
    pub address: Address,
    /// The cores of the load, a thread each.
    pub cores: Vec<usize>,
    /// Connections of all threads together.
    pub connections: usize,
    /// Time before it is measured.
    pub warm_up: Duration,
    /// Time that is measured.
    pub duration: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Measured {
    /// Replies.
    pub requests: u64,
    /// How long it was measured, in seconds.
    pub seconds: f64,
    /// What the server's processes used meanwhile.
    pub server: ProcessCpu,
    /// Share of the time in which the busiest thread of the load was on its core.
    pub load_busy: f64,
    /// Latency of each request, in nanoseconds.
    pub latency: Histogram<u64>,
    /// Requests that were due and never sent.
    pub never_sent: u64,
}

/// What one thread has seen.
struct Seen {
    requests: u64,
    busy_ns: u64,
    latency: Histogram<u64>,
    never_sent: u64,
}

impl Client {
    /// Stores the keys, each once.
    ///
    /// # Errors
    /// If a reply is missing or another than expected.
    pub fn preload(
        &self,
        wire: &Wire,
        keys: Range<u64>,
        value: &[u8],
        replies: &Replies,
    ) -> io::Result<()> {
        let mut buffer = vec![0; RECEIVE_BYTES];
        let mut socket = Some(Socket::connect(&self.address)?);
        let step = (PRELOAD_BYTES / (value.len() as u64 + 64)).max(1);
        for from in keys.clone().step_by(step as usize) {
            let requests = Requests::create(wire, from..keys.end.min(from + step), value);
            let reused = socket.take().expect("it was put back");
            let mut connection = Connection::new(reused, &requests, replies, 0);
            let mut left = requests.count();
            while left > 0 {
                let depth = left.min(PRELOAD_DEPTH);
                connection.release(depth);
                connection.send()?;
                while connection.in_flight() > 0 {
                    let _ = connection.receive(&mut buffer)?;
                }
                left -= depth;
            }
            socket = Some(connection.socket);
        }
        Ok(())
    }

    /// Loads the server and measures what it does.
    ///
    /// # Errors
    /// If connecting fails, a connection breaks, or a reply is another than expected.
    ///
    /// # Panics
    /// If a thread of the load does.
    pub fn run(
        &self,
        requests: &Requests,
        replies: &Replies,
        pace: Pace,
        server_pid: u32,
    ) -> io::Result<Measured> {
        let phase = AtomicU8::new(WARM_UP);
        let threads = self.cores.len().min(self.connections);
        let connect = |number: usize| {
            let socket = Socket::connect(&self.address)?;
            socket.set_nonblocking()?;
            let first = number * (requests.count() / self.connections);
            Ok(Connection::new(socket, requests, replies, first))
        };
        let all = (0..self.connections).map(connect).collect::<io::Result<Vec<_>>>()?;
        let mut shares: Vec<Vec<Connection<'_>>> = (0..threads).map(|_| Vec::new()).collect();
        for (number, connection) in all.into_iter().enumerate() {
            shares[number % threads].push(connection);
        }
        thread::scope(|scope| {
            let running: Vec<_> = shares
                .into_iter()
                .zip(&self.cores)
                .map(|(connections, &core)| {
                    let phase = &phase;
                    scope.spawn(move || {
                        pin(core)?;
                        let mut worker = Worker::new(connections, phase)?;
                        match pace {
                            Pace::Closed { depth } => worker.closed(depth)?,
                            Pace::Open { rate } => worker.open(rate / threads as f64)?,
                        }
                        Ok(worker.seen)
                    })
                })
                .collect();
            thread::sleep(self.warm_up);
            let before = ProcessCpu::of(server_pid);
            let start = Instant::now();
            phase.store(MEASURE, Ordering::Relaxed);
            thread::sleep(self.duration);
            phase.store(STOP, Ordering::Relaxed);
            let (elapsed, after) = (start.elapsed(), ProcessCpu::of(server_pid));
            let seen: io::Result<Vec<Seen>> =
                running.into_iter().map(|thread| thread.join().expect("no panics")).collect();
            Ok(Measured::sum(seen?, elapsed, after.since(before)))
        })
    }
}

impl Measured {
    fn sum(seen: Vec<Seen>, elapsed: Duration, server: ProcessCpu) -> Self {
        let busiest = seen.iter().map(|seen| seen.busy_ns).max().unwrap_or(0);
        let mut sum = Self {
            requests: 0,
            seconds: elapsed.as_secs_f64(),
            server,
            load_busy: busiest as f64 / elapsed.as_nanos() as f64,
            latency: histogram(),
            never_sent: 0,
        };
        for seen in seen {
            sum.requests += seen.requests;
            sum.latency += seen.latency;
            sum.never_sent += seen.never_sent;
        }
        sum
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_NS_MAX, 3).expect("a range")
}

struct Worker<'a> {
    epoll: OwnedFd,
    connections: Vec<Connection<'a>>,
    phase: &'a AtomicU8,
    buffer: Vec<u8>,
    events: Vec<epoll::Event>,
    seen: Seen,
    /// CPU time at the start of the measurement, once it has begun.
    busy_since: Option<u64>,
}

impl<'a> Worker<'a> {
    fn new(connections: Vec<Connection<'a>>, phase: &'a AtomicU8) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (number, connection) in connections.iter().enumerate() {
            // Edges: writability comes up only after it was gone, and need not be switched on and off.
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            epoll::add(&epoll, &connection.socket, EventData::new_u64(number as u64), flags)?;
        }
        Ok(Self {
            epoll,
            connections,
            phase,
            buffer: vec![0; RECEIVE_BYTES],
            events: Vec::with_capacity(EVENTS_MAX),
            seen: Seen { requests: 0, busy_ns: 0, latency: histogram(), never_sent: 0 },
            busy_since: None,
        })
    }

    /// What is to be done now. The first look that finds the measurement begun, and the first that
    /// finds it ended, note the CPU time.
    fn phase(&mut self) -> u8 {
        let phase = self.phase.load(Ordering::Relaxed);
        if phase != WARM_UP && self.busy_since.is_none() {
            self.busy_since = Some(thread_cpu_ns());
        }
        if phase == STOP {
            self.seen.busy_ns = thread_cpu_ns() - self.busy_since.unwrap_or(0);
        }
        phase
    }

    /// Waits for readiness, at most so long.
    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(timeout.subsec_nanos()) };
        self.events.clear();
        let spare = spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, spare, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what has arrived on a connection, all of it.
    fn receive(&mut self, number: usize) -> io::Result<usize> {
        let connection = &mut self.connections[number];
        let mut complete = 0;
        // An edge tells once: what has arrived until now has to be taken before the next wait. While
        // nothing is in flight, nothing can arrive.
        loop {
            let (taken, drained) = connection.receive(&mut self.buffer)?;
            complete += taken;
            if drained || connection.in_flight() == 0 {
                return Ok(complete);
            }
        }
    }

    fn closed(&mut self, depth: usize) -> io::Result<()> {
        let mut sent_at = vec![Instant::now(); self.connections.len()];
        for connection in &mut self.connections {
            connection.release(depth);
            connection.send()?;
        }
        let mut deadline = None;
        loop {
            let phase = self.phase();
            if phase == STOP {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + DRAIN);
                let idle = self.connections.iter().all(|connection| connection.in_flight() == 0);
                if idle || Instant::now() > deadline {
                    return Ok(());
                }
            }
            self.wait(Duration::from_millis(10))?;
            for at in 0..self.events.len() {
                let number = self.events[at].data.u64() as usize;
                // What there was no room for. Replies are taken in any case: they may be what the server
                // waits for.
                self.connections[number].send()?;
                let complete = self.receive(number)?;
                if complete == 0 {
                    continue;
                }
                let now = Instant::now();
                if phase == MEASURE {
                    let latency = (now - sent_at[number]).as_nanos() as u64;
                    self.seen.latency.saturating_record_n(latency, complete as u64);
                    self.seen.requests += complete as u64;
                }
                let connection = &mut self.connections[number];
                if connection.in_flight() == 0 && phase != STOP {
                    connection.release(depth);
                    sent_at[number] = now;
                    connection.send()?;
                }
            }
        }
    }

    /// Sends at random times. It never sleeps: a thread that sleeps is late when it wakes.
    fn open(&mut self, rate: f64) -> io::Result<()> {
        let mut numbers = Numbers::new(rate.to_bits());
        let mut gap = || Duration::from_secs_f64(-(1.0 - numbers.fraction()).ln() / rate);
        let mut due: Vec<VecDeque<Instant>> = vec![VecDeque::new(); self.connections.len()];
        let mut turn = 0;
        let mut next = Instant::now();
        let mut deadline = None;
        loop {
            let phase = self.phase();
            let now = Instant::now();
            if phase == STOP {
                let deadline = *deadline.get_or_insert_with(|| {
                    self.seen.never_sent =
                        (now.saturating_duration_since(next).as_secs_f64() * rate) as u64;
                    now + DRAIN
                });
                let idle = self.connections.iter().all(|connection| connection.in_flight() == 0);
                if idle || now > deadline {
                    return Ok(());
                }
            } else {
                let mut refused = 0;
                let first = turn;
                while next <= now && refused < self.connections.len() {
                    let number = turn % self.connections.len();
                    turn += 1;
                    if self.connections[number].in_flight() < IN_FLIGHT_MAX {
                        self.connections[number].release(1);
                        due[number].push_back(next);
                        next += gap();
                        refused = 0;
                    } else {
                        refused += 1;
                    }
                }
                for number in (first..turn).take(self.connections.len()) {
                    let connections = self.connections.len();
                    self.connections[number % connections].send()?;
                }
            }
            self.wait(Duration::ZERO)?;
            for at in 0..self.events.len() {
                let number = self.events[at].data.u64() as usize;
                self.connections[number].send()?;
                let complete = self.receive(number)?;
                let now = Instant::now();
                for due in due[number].drain(..complete) {
                    if phase == MEASURE {
                        self.seen.latency.saturating_record((now - due).as_nanos() as u64);
                        self.seen.requests += 1;
                    }
                }
            }
        }
    }
}
