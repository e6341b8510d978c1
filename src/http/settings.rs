//! How HTTP is spoken.

use super::fields::FieldRules;
use super::query::KeyParameters;
use crate::invalid::{Invalid, check_number};

/// Longest request head that can be allowed, in bytes: each event loop has a few buffers of that
/// size.
const HEADER_BYTES_MAX: usize = 1 << 20;

/// How HTTP is spoken.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Longest request head, in bytes, the request line included.
    pub header_bytes_max: usize,
    /// Longest body, in bytes.
    pub body_bytes_max: u64,
    /// Whether responses have a Date field.
    pub date: bool,
    /// What header fields are read by.
    pub rules: FieldRules,
    /// What of a query is a part of the key.
    pub key_parameters: KeyParameters,
}

impl Settings {
    /// Checks the limits.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_number("header_bytes_max", self.header_bytes_max, 1..=HEADER_BYTES_MAX)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            header_bytes_max: 16 << 10,
            body_bytes_max: 32 << 20,
            date: true,
            rules: FieldRules::default(),
            key_parameters: KeyParameters::default(),
        }
    }
}
