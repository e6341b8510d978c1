//! corekv: an in-memory key-value cache that speaks HTTP/1.1.
//!
//! ```text
//!              acceptor: listeners, signals; deals sockets to the cores evenly
//!                  |            |            |
//!               core 0       core 1  ...  core N-1   one pinned thread each
//!                  |            |            |
//!              epoll -> recv -> parse a batch -> prefetch -> execute -> one send
//!                  |            |            |
//!            partition 0  partition 1  partition N-1  one table per core, which every core
//!                                                     reads and writes directly
//! ```
//!
//! A request walks through the rooms in this order and turns back nowhere:
//!
//! | module | knows | does not know |
//! |---|---|---|
//! | [`net`] | sockets, readiness, backpressure, timeouts | HTTP, keys |
//! | [`http`] | bytes to requests, responses to bytes | sockets, keys |
//! | [`cache`] | all of the contract that joins the two | |
//! | [`store`] | keys, values, expiry, eviction | HTTP, sockets |
//!
//! [`Server`] puts them together from a [`Config`]. The rooms can be used without the cache: an
//! event loop is generic over a [`net::Service`], HTTP over an [`http::Handler`].
//!
//! Linux is the platform.

pub mod cache;
mod cgroup;
#[cfg(feature = "cli")]
pub mod cli;
mod config;
mod explain;
pub mod http;
mod invalid;
pub mod logging;
pub mod net;
mod process;
mod server;
pub mod store;
pub mod systemd;

pub use config::{Config, memory_bytes_default, value_bytes_default};
pub use invalid::Invalid;
pub use net::Cores;
pub use server::{Server, check};
