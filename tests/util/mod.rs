//! What the black-box tests share: a real server process, a raw client whose response parser is
//! simple enough to be seen correct, and ways to wait for a condition.
#![allow(dead_code, unused_imports, reason = "every test binary uses its own part of this")]

mod client;
mod response;
mod server;

use std::thread;
use std::time::{Duration, Instant};

pub(crate) use client::Client;
pub(crate) use response::{Response, error_line, is_imf_fixdate, normalise, parse};
pub(crate) use server::{Killed, Server, command};

/// How long anything may take before a test calls it a hang. Never a statement on speed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds, and fails the test if it never does.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "this never came true: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes as a person can read them in a failure message.
pub(crate) fn show(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 1_500;
    let shown = bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii().to_string();
    let shown = shown.replace("\\r\\n", "\\r\\n\n    ");
    if bytes.len() > SHOWN_MAX { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}

/// A generator of bytes and numbers that gives the same ones on every run.
#[derive(Debug, Clone)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        // SplitMix64: short, and good enough to spread sizes and choices.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}
