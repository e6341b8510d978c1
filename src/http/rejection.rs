//! The 503 response to connections over the limit that no event loop takes.

use std::time::Instant;

use super::counters::Counters;
use super::error::Error;
use super::fields::Persistence;
use super::heads::ClientHeads;
use super::method::Method;
use super::response::Responses;
use crate::net::Output;

/// The response, for [`reject_with`](crate::net::Server::reject_with): the same as an event loop
/// sends to the connections over the limit that it takes. It is not counted here.
#[must_use]
pub fn rejection(dated: bool) -> Vec<u8> {
    let (mut output, heads) = (Output::default(), ClientHeads::at_once(dated));
    let counters = Counters::default();
    let mut responses = Responses::new(&mut output, &heads, &counters, Instant::now());
    responses.refuse(Method::Unknown, Persistence::Close, Error::TooManyConnections.into());
    std::mem::take(output.bytes())
}
