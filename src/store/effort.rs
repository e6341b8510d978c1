//! What a write has done to make room.

/// Entries that one write looks at at most before it finds the store full.
///
/// Those that readers have pinned come on top, see [`Effort::begin_behind_pinned`].
const EFFORT_MAX: u32 = 16_384;

/// Entries after which frequencies save nobody any more, so that a write need not wait until those of
/// a whole store have been worn down.
const EFFORT_WITH_FREQUENCY_MAX: u32 = 8_192;

/// What a write has done to make room, in all its tries together.
#[derive(Debug, Default)]
pub(super) struct Effort {
    /// Entries that were looked at.
    pub(super) entries: u32,
    /// Those of them that readers have pinned.
    pub(super) pinned: u32,
    /// Pinned ones before the write began anew behind them.
    passed: u64,
}

impl Effort {
    /// A write that has found the store full goes on, with the lock released in between, behind the
    /// values that readers have pinned and that it has met. Each is met once in either queue, so that
    /// it is over after twice as many as there can be. False if there is nothing to go on for.
    pub(super) fn begin_behind_pinned(&mut self, pinned_max: u64) -> bool {
        let goes_on = self.pinned > 0 && self.passed < 2 * pinned_max;
        if goes_on {
            self.passed += u64::from(std::mem::take(&mut self.pinned));
            self.entries = EFFORT_WITH_FREQUENCY_MAX;
        }
        goes_on
    }

    /// Whether the write has done what it may.
    pub(super) fn is_spent(&self) -> bool {
        self.entries >= EFFORT_MAX
    }

    /// Whether frequencies still save entries.
    pub(super) fn is_patient(&self) -> bool {
        self.entries < EFFORT_WITH_FREQUENCY_MAX
    }
}
