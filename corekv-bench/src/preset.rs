//! What a workload with a name says.

use super::distribution::Distribution;
use super::mix::Mix;
use super::values::Values;

/// What a name stands for. What the command line says on its own goes before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// The number of keys, where the source has one.
    pub keys: Option<u64>,
    /// The operations, unless it is about something else.
    pub mix: Option<Mix>,
    /// The popularity of keys.
    pub distribution: Distribution,
    /// The values, unless it is about something else.
    pub values: Option<Values>,
    /// Whether a miss is followed by a write of its key.
    pub read_through: bool,
}

impl Preset {
    /// A workload that says nothing.
    pub(super) const NEUTRAL: Self = Self {
        keys: None,
        mix: None,
        distribution: Distribution::Uniform,
        values: None,
        read_through: false,
    };
}
