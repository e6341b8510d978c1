//! A stream of responses, as the load generator is to understand it.

use testkit::{Framing, Response, read_response};

/// How a stream ends behind its last complete response.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// No response has begun.
    Between,
    Within,
    /// What there is of this response is its body, which lasts until the connection closes.
    UntilClose(Response),
    Garbage,
}

/// All final responses of a stream. `has_body` is false for answers to HEAD.
pub fn read(mut input: &[u8], has_body: bool) -> (Vec<Response>, End) {
    let mut responses = Vec::new();
    loop {
        // Behind an interim response the final one is still due, but has not begun.
        if input.is_empty() {
            return (responses, End::Between);
        }
        let (response, len) = match read_response(input, !has_body, true) {
            Ok(Some(found)) => found,
            Ok(None) => return (responses, End::Within),
            Err(_) => return (responses, End::Garbage),
        };
        if response.status == 101 {
            return (responses, End::Garbage);
        }
        if response.framing == Framing::UntilClose {
            return (responses, End::UntilClose(response));
        }
        if response.status >= 200 {
            responses.push(response);
        }
        input = &input[len..];
    }
}
