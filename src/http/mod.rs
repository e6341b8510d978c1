//! Bytes to requests and responses to bytes; no sockets, no keys.
//!
//! [`Protocol`] is the [`Service`](crate::net::Service) that an event loop drives. It takes the
//! requests of a batch apart and hands them together to a [`Handler`], which appends one response
//! each. RFC 9110 gives the semantics, RFC 9112 the framing.

pub mod access;
mod batch;
mod chunked;
mod counters;
mod date;
mod doorman;
mod error;
mod fields;
mod handler;
mod head;
mod hosts;
mod method;
mod origin;
mod protocol;
mod request;
mod request_line;
mod response;
mod status;
mod target;
mod token;

pub use batch::Batch;
pub use chunked::{Chunked, Decoded};
pub use counters::Counters;
pub use doorman::refusal;
pub use error::Error;
pub use fields::{Fields, Framing, Persistence, Unstorable};
pub use handler::{Handler, Refusal};
pub use head::{HeadParser, Parsed};
pub use hosts::{Host, HostError, Hosts};
pub use method::{METHODS, Method};
pub use origin::{Origin, Sender};
pub use protocol::{Protocol, Session, Settings};
pub use request::{REQUESTS_PER_BATCH_MAX, Request, Requests};
pub use response::{Postponed, Responses};
pub use status::Status;
pub use target::{Target, percent_decode};
