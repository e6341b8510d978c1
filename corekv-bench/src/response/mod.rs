//! The client's side of HTTP/1.1 framing: bytes in, responses out.
//!
//! Contract: feed the bytes that a connection received in any pieces; each call takes what it can
//! and either completes one response or takes everything. A response whose head equals a recent
//! one byte for byte costs one comparison, because equal bytes parse alike; every other head is
//! parsed in full. What is not a response is refused, never guessed at.

mod chunk;
mod garbage;
mod head;
mod memos;
mod parser;

pub use garbage::Garbage;
pub use head::HEAD_BYTES_MAX;
pub use parser::{Parser, Response, Step};
