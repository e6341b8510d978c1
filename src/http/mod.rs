//! Bytes to requests and responses to bytes; no sockets, no keys.
//!
//! ```text
//!   Protocol::parse      Batch::parse: HeadParser, Fields; Handler::look_up for each request
//!   Protocol::prefetch   Handler::prefetch
//!   Protocol::answer     Exchange: Handler::answer, and Handler::begin, append, finish for a body
//!                        in pieces; Responses append to the Output
//! ```
//!
//! [`Protocol`] is the [`Service`](crate::net::Service) that an event loop serves. RFC 9110 gives
//! the semantics, RFC 9112 the framing.
//!
//! - A request header field is read in `fields.rs` (`Collected::take`) and becomes a member of
//!   [`Fields`], which the head parser remembers.
//! - A response header field is written in `response.rs` (`Responses::field`), or in `heads.rs` if
//!   every response has it.
//! - A status is a line of `status.rs`, a method one of `method.rs`, an error of the framing one of
//!   `error.rs`.

mod accept;
pub mod access;
mod access_log;
mod batch;
mod body;
mod chunked;
mod conditions;
mod counters;
mod date;
mod details;
mod digest;
mod engine;
mod error;
mod etag;
mod exchange;
mod fields;
mod handler;
mod head;
mod heads;
mod hosts;
mod kept;
mod list;
mod memo;
mod method;
mod origin;
mod parsed_request;
mod protocol;
mod query;
mod range;
mod refusal;
mod rejection;
mod request;
mod request_line;
mod response;
mod session;
mod settings;
mod status;
mod target;
mod template;
mod token;
pub mod tokens;

pub use accept::Quality;
pub(crate) use access_log::AccessLog;
pub use batch::Batch;
pub use chunked::{Chunked, Decoded};
pub use conditions::{Conditions, Malformed, Outcome};
pub use counters::Counters;
pub use details::{Details, Extras};
pub use digest::Sha256Digest;
pub use error::Error;
pub use etag::{ENTITY_TAG_BYTES, EntityTag};
pub use fields::{FieldRules, Fields, Framing, Persistence, Unstorable};
pub use handler::Handler;
pub use head::HeadParser;
pub use hosts::{Host, HostError, Hosts};
pub use kept::{KEPT_BYTES_MAX, KeptFields, KeptName, KeptNameError, TooLong};
pub use method::{METHODS, Method};
pub use origin::{Origin, Sender};
pub use parsed_request::ParsedRequest;
pub use protocol::Protocol;
pub use query::KeyParameters;
pub use range::ByteRange;
pub use refusal::Refusal;
pub use rejection::rejection;
pub use request::{PlainWrite, REQUESTS_PER_BATCH_MAX, Request, RequestView, Requests};
pub use response::{Postponed, ResponseHead, Responses};
pub use session::Session;
pub use settings::Settings;
pub use status::Status;
pub use target::Target;
