//! What answers requests.

use super::fields::Persistence;
use super::request::{Request, Requests};
use super::response::Responses;
use super::status::Status;

/// A request that gets an error for an answer, while the connection goes on.
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

/// Answers requests; one per event loop, so nothing in it needs to be shared or locked.
pub trait Handler {
    /// A request whose body arrives in pieces. Dropped if the body breaks off.
    type Upload;

    /// What the handler works out about a batch before it answers it; `()` if nothing.
    type Batch: Default;

    /// Looks at the next request of a batch ahead of [`handle`](Self::handle), to have what it
    /// needs loaded from memory meanwhile. Nothing is to be decided here that another
    /// connection's requests could change: they may be answered in between.
    fn prepare(&mut self, _request: &Request<'_>, _batch: &mut Self::Batch) {}

    /// Looks at the whole batch, when what [`prepare`](Self::prepare) asked for has arrived.
    fn prefetch(&mut self, _batch: &mut Self::Batch) {}

    /// Appends exactly one response per request, in order, and empties `batch`. The last requests
    /// may be [postponed](Responses::postpone).
    fn handle(
        &mut self,
        requests: Requests<'_>,
        batch: &mut Self::Batch,
        responses: &mut Responses<'_>,
    );

    /// Starts a request whose body is not there as a whole: long, chunked, or still on its way.
    ///
    /// # Errors
    /// The answer, if the request is refused whatever its body is. The body is then read and
    /// dropped.
    fn begin(&mut self, _request: Request<'_>) -> Result<Self::Upload, Refusal> {
        const REASON: &str = "this server takes no bodies in pieces";
        Err(Refusal::new(Status::ContentTooLarge, REASON))
    }

    /// Asks for room for so many more bytes of a body. False if others use it now: the bytes are
    /// then kept, and the handler is asked again later.
    fn admit(&mut self, _upload: &mut Self::Upload, _bytes: usize) -> bool {
        true
    }

    /// Bytes on the heap that an upload holds.
    fn held_bytes(&self, _upload: &Self::Upload) -> usize {
        0
    }

    /// Whether a request had to wait for others' since the last time that this was asked.
    fn is_busy(&mut self) -> bool {
        false
    }

    /// Takes the next bytes of a body.
    ///
    /// # Errors
    /// The answer, if the rest of the body is of no use. It is then read and dropped.
    fn append(&mut self, _upload: &mut Self::Upload, _bytes: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    /// Appends the response to a request whose body is complete. `persistence` is to be told to
    /// the client: a server that shuts down may have changed its mind.
    fn finish(
        &mut self,
        _upload: Self::Upload,
        _persistence: Persistence,
        _responses: &mut Responses<'_>,
    ) {
    }

    /// Housekeeping between turns of the loop, in a bounded step. Whether more is due at once.
    fn turn(&mut self, _now: std::time::Instant) -> bool {
        false
    }
}
