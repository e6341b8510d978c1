//! Sockets and event loops; nothing of HTTP or keys.
//!
//! ```text
//!   acceptor (the thread that called Server::run): listeners, signals, connection limit
//!       |  hands each socket to the loop with the fewest connections
//!       v
//!   event loop 0 … N-1: one thread each, pinned to its core
//!       epoll -> recv and Service::prepare, for a few connections
//!             -> Service::receive and one send, for the same -> Service::turn
//! ```
//!
//! What the bytes mean is the business of the [`Service`] that a loop is generic over.

mod acceptor;
mod address;
mod affinity;
mod connection;
mod counters;
mod event_loop;
mod lane;
mod listener;
mod mailbox;
mod output;
mod pace;
mod server;
mod service;
mod signals;
mod socket;

pub use address::{Address, AddressError};
pub use affinity::{Cores, CoresError, allowed_cores, pin};
pub use counters::{Counter, Counters, Histogram, LATENCY_BUCKETS};
pub use output::{Outlet, Output, Payload, Room};
pub use server::{Server, Settings, Stopper};
pub use service::{Class, Dismissal, Flow, Progress, Reach, Service, Wait, Wake};
pub use socket::Transfer;
