//! How the cache answers.

use super::route::Routes;
use crate::invalid::{Invalid, check_number};
use crate::store::{KEY_BYTES_MAX, TTL_SECONDS_MAX};

/// What GET and HEAD answer when the key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissStatus {
    /// What every HTTP cache client takes for a miss.
    #[default]
    NotFound,
    /// For clients that expect a 2xx.
    NoContent,
    /// Likewise, with an empty body.
    Ok,
}

/// How the cache answers.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Longest key, in bytes after percent-decoding.
    pub key_bytes_max: usize,
    /// Life of a key that does not come with its own, in seconds.
    pub ttl_seconds: Option<u32>,
    /// The answer to a miss.
    pub miss_status: MissStatus,
    /// Where the reserved names are.
    pub routes: Routes,
}

impl Settings {
    /// Checks them against what the store can hold.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_number("key_bytes_max", self.key_bytes_max, 1..=KEY_BYTES_MAX)?;
        let ttl = self.ttl_seconds.map(|ttl| check_number("ttl_seconds", ttl, 1..=TTL_SECONDS_MAX));
        ttl.unwrap_or(Ok(()))
    }
}
