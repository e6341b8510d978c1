//! What a load thread is told to do, and what it says it did.

use super::cpu::Usage;
use super::rate::Pace;
use super::recorder::Recorder;

/// What a load thread is to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Task {
    /// Open every connection that is not open.
    Connect,
    /// Store every key.
    Preload,
    /// Send the workload.
    Load {
        /// When it begins, on the common clock.
        begin: u64,
        /// When no further request is sent.
        until: u64,
        /// How many requests all connections of the run send together.
        requests: Option<u64>,
        /// Requests per second of all connections of the run.
        pace: Option<Pace>,
        /// Requests in flight per connection.
        depth: usize,
        /// Whether what was recorded so far, and went wrong, has been reported.
        is_reported: bool,
    },
}

/// What a load thread did.
#[derive(Debug, Clone)]
pub struct Done {
    /// The number of the thread.
    pub thread: usize,
    /// What it recorded in this task.
    pub recorder: Recorder,
    /// What it cost.
    pub usage: Usage,
    /// Connections that are open.
    pub open: usize,
    /// When its last answer came, on the common clock.
    pub last_answer: u64,
    /// When it ended, on the common clock.
    pub ended: u64,
    /// Requests of the schedule that were never sent.
    pub behind: u64,
    /// Whether it stopped because the server had stopped to answer.
    pub gave_up: bool,
}

/// One load thread's share of the run.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// The number of the thread.
    pub thread: usize,
    /// The number of threads.
    pub threads: usize,
    /// The connections of the whole run.
    pub connections: usize,
    /// Whether it is not one of those that load the server.
    pub is_probe: bool,
}

impl Share {
    /// The one connection beside so many others.
    pub fn probe(connections: usize) -> Self {
        Self { thread: connections, threads: 1, connections: connections + 1, is_probe: true }
    }
}
