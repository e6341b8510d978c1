//! An error response of one line.

use super::error::Error;
use super::status::Status;

/// A request that gets an error for an answer. Unless its persistence says otherwise the connection
/// goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: Status,
    /// One line for the client.
    pub reason: &'static str,
    /// A header field that goes with it: name and value.
    pub field: Option<(&'static str, &'static str)>,
}

impl Refusal {
    /// A refusal without a field of its own.
    #[must_use]
    pub const fn new(status: Status, reason: &'static str) -> Self {
        Self { status, reason, field: None }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = error.status();
        let is_temporary = status == Status::ServiceUnavailable;
        Self { status, reason: error.reason(), field: is_temporary.then_some(("Retry-After", "1")) }
    }
}
