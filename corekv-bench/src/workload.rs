//! What is sent: keys, how they are drawn, operations, values.

use super::distribution::Distribution;
use super::error::Error;
use super::method::Method;
use super::mix::Mix;
use super::values::Values;

/// The most keys: a double counts them exactly, and inserts have room beyond them.
const KEYS_MAX: u64 = 1 << 53;

/// The whole workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workload {
    /// Keys are decimal numbers below this one.
    pub keys: u64,
    /// How keys are drawn.
    pub distribution: Distribution,
    /// How methods are drawn.
    pub mix: Mix,
    /// What is written.
    pub values: Values,
    /// What the random numbers of all connections derive from.
    pub seed: u64,
    /// Whether a GET that misses is followed by a PUT of its key.
    pub read_through: bool,
}

impl Workload {
    /// Whether any request has this method.
    pub fn sends(&self, method: Method) -> bool {
        self.mix.sends(method) || (self.read_through && method == Method::Put)
    }

    /// Checks what the parts alone cannot know.
    pub fn check(&self) -> Result<(), Error> {
        if self.keys == 0 {
            return Err(Error::usage("--keys 0: there must be at least one key"));
        }
        if self.keys > KEYS_MAX {
            return Err(Error::usage(format!("--keys {}: more than {KEYS_MAX}", self.keys)));
        }
        Ok(())
    }
}
