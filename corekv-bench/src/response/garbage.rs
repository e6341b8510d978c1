//! What is wrong with bytes that are no response.

/// The bytes are not the response to a request. Says what is wrong with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Garbage(pub &'static str);
