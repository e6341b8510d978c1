//! Sockets and event loops; nothing of HTTP or keys.
//!
//! ```text
//!   acceptor (the thread that called Server::run): listeners, signals, connection limit
//!       |  hands each socket to the loop with the fewest connections
//!       v
//!   event loop 0 … N-1: one thread each, pinned to its core
//!       epoll -> recv and Service::parse      for each of a group of connections
//!             -> Service::prefetch            for each of the group
//!             -> Service::answer and one send for each of the group
//!             -> the next group …             -> Service::maintain
//! ```
//!
//! What the bytes mean is the business of the [`Service`] that a loop is generic over.

mod acceptor;
mod address;
mod affinity;
mod class;
mod connection;
mod connection_table;
mod counters;
mod drain;
mod event_loop;
mod held_memory;
mod hooks;
mod kept_input;
mod listener;
mod mailbox;
mod output;
mod overdue_check;
mod pace;
mod queues;
mod readiness;
mod receive_slot;
mod send_budget;
mod server;
mod service;
mod signals;
mod sink;
mod socket;
mod stage;
mod step;
mod stopper;
mod wait_timer;

pub use address::{Address, AddressError};
pub use affinity::{Cores, CoresError, allowed_cores, pin};
pub use class::{Class, Reach};
pub use counters::{Counter, Counters, Histogram, LATENCY_BUCKETS};
pub use hooks::{Inheritable, Phase, Succession};
pub use listener::Source;
pub use output::{Output, Payload, Room};
pub use server::{Server, Settings};
pub use service::{Flow, Iteration, Progress, Rejection, Service, Wait};
pub use sink::{Sink, Transfer};
pub use stage::{Parsed, Prefetched, Received};
pub use stopper::Stopper;
