//! A load that costs the same whatever it is sent to: prepared bytes go out, and replies are counted.
//!
//! ```text
//! Workload --Wire--> Requests, rendered once
//!                       |            Replies, learned from one reply of each kind
//!                       v            v
//!                    Connection: sends requests, checks where each reply begins, counts
//!                       |
//!          closed loop (so many in flight) or open loop (so many per second)
//! ```
//!
//! A reply is not parsed: that each has the length and the beginning of the one that was learned is
//! checked, which costs a few nanoseconds in any protocol. The same client measures HTTP servers, Redis
//! and memcached.

mod client;
mod connection;
mod replies;
mod requests;
mod wire;

pub use client::{Client, Measured, Pace};
pub use connection::Socket;
pub use replies::{Replies, Reply};
pub use requests::{Distribution, Kind, Requests, Workload, value};
pub use wire::Wire;
