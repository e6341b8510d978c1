//! What a connection's step needs, and what follows from it.

use std::time::Instant;

use super::counters::Counters;
use super::drain::Drain;
use super::output::Output;
use super::send_budget::SendBudget;
use super::service::Service;
use super::wait_timer::WaitLimits;

/// What a step needs of its event loop.
pub(super) struct Context<'a, S: Service> {
    pub(super) service: &'a mut S,
    /// Shared by all connections of the loop: nothing stays in it between two steps.
    pub(super) output: &'a mut Output,
    pub(super) counters: &'a Counters,
    pub(super) limits: &'a WaitLimits,
    pub(super) now: Instant,
    pub(super) drain: Drain,
    pub(super) budget: &'a mut SendBudget,
    /// The loop's connections hold so much that each may hold only little.
    pub(super) pressed: bool,
}

/// What becomes of a connection after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing to do until an event comes.
    Wait,
    /// More to do, when the other connections have been served.
    Again,
    /// It needs memory that others use: to be tried again a little later.
    Later,
    /// Done with.
    Close,
}
