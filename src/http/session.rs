//! What is remembered of a connection between two pieces of its input.

use super::body::Body;
use crate::net::Class;

/// What is remembered of a connection between two pieces of its input.
#[derive(Debug)]
pub struct Session<P> {
    pub(super) class: Class,
    /// Whether requests must address the server by a name of its own.
    pub(super) checks_host: bool,
    /// Bytes of an incomplete head that were searched for its end already.
    pub(super) scanned: usize,
    /// The request whose body is on its way.
    pub(super) body: Option<Box<Body<P>>>,
    /// What the access log calls the other end, if there is a log.
    pub(super) client: Option<Box<str>>,
}
