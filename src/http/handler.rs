//! What answers requests.

use super::fields::Persistence;
use super::refusal::Refusal;
use super::request::{Request, Requests};
use super::response::Responses;
use super::status::Status;

/// Answers requests; one per event loop, so nothing in it needs to be shared or locked.
///
/// Requests that are complete go through [`look_up`](Self::look_up) and
/// [`prefetch`](Self::prefetch) to [`answer`](Self::answer). One whose body is long, chunked or still
/// on its way goes through [`begin`](Self::begin), [`append`](Self::append) and
/// [`finish`](Self::finish) instead.
pub trait Handler {
    /// What is known of a request ahead of its answer; `()` if nothing.
    type Lookup;

    /// A request whose body is arriving. Dropped if the body breaks off.
    type Pending;

    /// Looks at a request and starts loading what its answer needs. Nothing is to be decided here
    /// that another connection's requests could change: they may be answered in between.
    fn look_up(&mut self, request: &Request<'_>) -> Self::Lookup;

    /// Goes on loading for the requests of a batch, when what [`look_up`](Self::look_up) asked for
    /// has arrived.
    fn prefetch(&mut self, _lookups: &mut [Self::Lookup]) {}

    /// Appends exactly one response per request, in order. The last requests may be
    /// [postponed](Responses::postpone).
    fn answer(&mut self, requests: Requests<'_, Self::Lookup>, responses: &mut Responses<'_>);

    /// Starts a request whose body is not there as a whole.
    ///
    /// # Errors
    /// The answer, if the request is refused whatever its body is. The body is then read and
    /// dropped.
    fn begin(&mut self, _request: Request<'_>) -> Result<Self::Pending, Refusal> {
        const REASON: &str = "this server takes no bodies in pieces";
        Err(Refusal::new(Status::ContentTooLarge, REASON))
    }

    /// Asks for room for so many more bytes of a body. False if others use it now: the bytes are
    /// then kept, and the handler is asked again later.
    fn admit(&mut self, _pending: &mut Self::Pending, _bytes: usize) -> bool {
        true
    }

    /// Takes the next bytes of a body.
    ///
    /// # Errors
    /// The answer, if the rest of the body is of no use. It is then read and dropped.
    fn append(&mut self, _pending: &mut Self::Pending, _bytes: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }

    /// Appends the response to a request whose body is complete. `persistence` is to be told to
    /// the client: a server that shuts down may have changed its mind. What it returns has no response
    /// yet, since it needs what others use now, and comes again a little later.
    fn finish(
        &mut self,
        _pending: Self::Pending,
        _persistence: Persistence,
        _responses: &mut Responses<'_>,
    ) -> Option<Self::Pending> {
        None
    }

    /// Bytes on the heap that a pending request holds.
    fn held_bytes(&self, _pending: &Self::Pending) -> usize {
        0
    }

    /// Bytes of the memory that all share which a pending request has claimed, so that others may have
    /// to wait.
    fn claimed_bytes(&self, _pending: &Self::Pending) -> u64 {
        0
    }

    /// Whether a request had to wait for others' memory since the last time that this was asked.
    fn was_busy(&mut self) -> bool {
        false
    }

    /// Housekeeping between iterations of the loop, in a bounded step. Whether more is due at once.
    fn maintain(&mut self, _now: std::time::Instant) -> bool {
        false
    }
}
