//! The floor by io_uring: counts heads and answers with canned responses, as `floor` does, with multishot
//! accept and receive, a ring of provided buffers, registered descriptors and completions that are handled
//! by the waiting thread. What a request costs here is what it would cost a server that is built on it.
//!
//! ```sh
//! cargo run --release -p measure --bin floor-uring -- 127.0.0.1:8084 0 8
//! ```
//! TCP, one core. Needs Linux 6.1.
#![expect(unsafe_code, reason = "the kernel shares memory with the ring")]

use std::alloc::{Layout, alloc_zeroed};
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};

use corekv::net::pin;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use measure::canned::{Asked, Canned};

/// Provided buffers, and their length in bytes.
const BUFFERS: u16 = 512;
const BUFFER_BYTES: usize = 16 << 10;
const GROUP: u16 = 1;

const CONNECTIONS_MAX: u32 = 4096;
const SUBMISSIONS: u32 = 1024;

const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;

#[derive(Default)]
struct Connection {
    /// What is left of a body, and the start of a head whose end lies in the next buffer.
    body: usize,
    head: Vec<u8>,
    /// Under way, how much of it has gone, and what comes behind it.
    sending: Vec<u8>,
    sent: usize,
    output: Vec<u8>,
}

/// Buffers that the kernel fills, and the ring by which they are given to it.
struct Buffers {
    ring: *mut types::BufRingEntry,
    memory: Vec<u8>,
    tail: u16,
}

impl Buffers {
    fn register(uring: &IoUring) -> io::Result<Self> {
        let size = usize::from(BUFFERS) * size_of::<types::BufRingEntry>();
        let layout = Layout::from_size_align(size, 4096).map_err(io::Error::other)?;
        // SAFETY: the size is not zero.
        let ring = unsafe { alloc_zeroed(layout) }.cast::<types::BufRingEntry>();
        // SAFETY: the memory is that long, and is never freed.
        unsafe { uring.submitter().register_buf_ring_with_flags(ring as u64, BUFFERS, GROUP, 0)? };
        let memory = vec![0; usize::from(BUFFERS) * BUFFER_BYTES];
        let mut buffers = Self { ring, memory, tail: 0 };
        (0..BUFFERS).for_each(|number| buffers.give(number));
        buffers.publish();
        Ok(buffers)
    }

    /// Puts a buffer at the ring's end.
    fn give(&mut self, number: u16) {
        let start = usize::from(number) * BUFFER_BYTES;
        let address = self.memory[start..].as_ptr() as u64;
        // SAFETY: the index is below the ring's length, and the kernel reads entries below the tail
        // alone.
        let entry = unsafe { &mut *self.ring.add(usize::from(self.tail & (BUFFERS - 1))) };
        entry.set_addr(address);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(number);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: the ring is valid; its tail is read by the kernel while it is written here.
        let tail = unsafe { AtomicU16::from_ptr(types::BufRingEntry::tail(self.ring).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn bytes(&self, number: u16, length: usize) -> &[u8] {
        &self.memory[usize::from(number) * BUFFER_BYTES..][..length]
    }
}

struct Floor {
    uring: IoUring,
    buffers: Buffers,
    canned: Canned,
    connections: Vec<Connection>,
    /// Connections with output and no send under way.
    ready: Vec<u32>,
    listener: TcpListener,
}

impl Floor {
    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: what the entry points to lives until its completion: output is not touched while it is
        // sent.
        while unsafe { self.uring.submission().push(entry) }.is_err() {
            self.uring.submit()?;
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        let listener = types::Fd(self.listener.as_raw_fd());
        let entry = opcode::AcceptMulti::new(listener).allocate_file_index(true).build();
        self.push(&entry.user_data(ACCEPT << 32))
    }

    fn receive(&mut self, slot: u32) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(types::Fixed(slot), GROUP).build();
        self.push(&entry.user_data(RECEIVE << 32 | u64::from(slot)))
    }

    fn send(&mut self, slot: u32) -> io::Result<()> {
        let connection = &mut self.connections[slot as usize];
        if connection.sent == connection.sending.len() {
            connection.sending.clear();
            connection.sent = 0;
            std::mem::swap(&mut connection.sending, &mut connection.output);
        }
        let rest = &connection.sending[connection.sent..];
        if rest.is_empty() {
            return Ok(());
        }
        let entry = opcode::Send::new(types::Fixed(slot), rest.as_ptr(), rest.len() as u32).build();
        self.push(&entry.user_data(SEND << 32 | u64::from(slot)))
    }

    fn complete(&mut self, kind: u64, slot: u32, result: i32, flags: u32) -> io::Result<()> {
        match kind {
            ACCEPT => {
                if result >= 0 {
                    self.connections[result as usize] = Connection::default();
                    self.receive(result as u32)?;
                }
                if !cqueue::more(flags) {
                    self.accept()?;
                }
            }
            RECEIVE => {
                if let (Some(number), 1..) = (cqueue::buffer_select(flags), result) {
                    let connection = &mut self.connections[slot as usize];
                    let (canned, output) = (&self.canned, &mut connection.output);
                    let idle = connection.sending.is_empty() && output.is_empty();
                    let mut input = self.buffers.bytes(number, result as usize);
                    let mut head = std::mem::take(&mut connection.head);
                    if !head.is_empty() {
                        head.extend_from_slice(input);
                        input = &head;
                    }
                    let consumed =
                        canned.answer(&mut connection.body, input, |asked| match asked {
                            Asked::Write => output.extend_from_slice(&canned.replaced),
                            Asked::Read => {
                                output.extend_from_slice(&canned.hit);
                                output.extend_from_slice(&canned.value);
                            }
                        });
                    connection.head = input[consumed..].to_vec();
                    if idle && !output.is_empty() {
                        self.ready.push(slot);
                    }
                    self.buffers.give(number);
                }
                // No buffer was free: that is no end.
                let starved = result == -rustix::io::Errno::NOBUFS.raw_os_error();
                if result <= 0 && !starved {
                    let entry = opcode::Close::new(types::Fixed(slot)).build();
                    self.push(&entry.user_data(u64::MAX))?;
                } else if !cqueue::more(flags) {
                    self.receive(slot)?;
                }
            }
            SEND => {
                self.connections[slot as usize].sent += result.max(0) as usize;
                if result > 0 {
                    self.send(slot)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn run(&mut self) -> io::Result<()> {
        self.accept()?;
        let mut completions = Vec::new();
        loop {
            self.uring.submit_and_wait(1)?;
            let queue = self.uring.completion();
            completions.extend(queue.map(|it| (it.user_data(), it.result(), it.flags())));
            for (data, result, flags) in completions.drain(..) {
                self.complete(data >> 32, data as u32, result, flags)?;
            }
            self.buffers.publish();
            for slot in std::mem::take(&mut self.ready) {
                self.send(slot)?;
            }
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8084".to_owned());
    let core = arguments.next().unwrap_or_else(|| "0".to_owned()).parse()?;
    let value_bytes = arguments.next().unwrap_or_else(|| "8".to_owned()).parse()?;
    pin(core)?;
    let listener = TcpListener::bind(address)?;
    rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
    println!("listening on http://{}", listener.local_addr()?);
    let uring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(8 * SUBMISSIONS)
        .build(SUBMISSIONS)?;
    uring.submitter().register_files_sparse(CONNECTIONS_MAX)?;
    let buffers = Buffers::register(&uring)?;
    let connections = (0..CONNECTIONS_MAX).map(|_| Connection::default()).collect();
    let canned = Canned::new(value_bytes);
    Floor { uring, buffers, canned, connections, ready: Vec::new(), listener }.run()?;
    Ok(())
}
