//! What corekv's tests, fuzz targets, benches and measuring programs share: a strict reader of
//! responses, a client, a guard for a server process, and seeded random numbers.
//!
//! Nothing here shares code with the server, so that a mistake of the server is not made twice.
//! What a test finds wrong ends it with a panic that shows the bytes.

mod cgroup;
mod client;
mod numbers;
mod process;
mod response;
mod server;

use std::thread;
use std::time::{Duration, Instant};

pub use cgroup::Cgroup;
pub use client::{Client, put_request};
pub use numbers::{Numbers, Zipf};
pub use process::{Killed, program};
pub use response::{
    Framing, Malformed, Response, error_line, is_imf_fixdate, normalise, parse, read_response,
};
pub use server::{Server, command};

/// How long anything may take before a test calls it a hang. Never a statement on speed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
///
/// # Panics
/// If it does not hold within [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "this never came true: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes as a person can read them in a failure message.
#[must_use]
pub fn show(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 1_500;
    let shown = bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii().to_string();
    let shown = shown.replace("\\r\\n", "\\r\\n\n    ");
    if bytes.len() > SHOWN_MAX { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}
