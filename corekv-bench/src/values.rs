//! What the bodies of writes are.

use super::units;

/// What the bodies of writes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// The last value read plus one, as a decimal number.
    Counter,
    /// As many bytes as a draw from this range says, both ends included.
    Bytes {
        /// The shortest value.
        min: u32,
        /// The longest value.
        max: u32,
    },
    /// One of these ranges is drawn, and then a length from it.
    Classes(&'static [SizeClass]),
}

/// A range of lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeClass {
    /// Coins below this one that no earlier class took are this class's.
    limit: u64,
    min: u32,
    max: u32,
}

/// The longest value that can be asked for. A connection holds one whole request in memory.
pub const VALUE_BYTES_MAX: u32 = 32 << 20;

impl Values {
    /// Parses `N` or `MIN-MAX`, with units if need be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        let number = |digits: &str| match units::bytes(digits)?.try_into() {
            Ok(bytes) if bytes <= VALUE_BYTES_MAX => Ok(bytes),
            _ => Err(format!("{digits} is more than {VALUE_BYTES_MAX} bytes")),
        };
        let (min, max) = (number(min)?, number(max)?);
        if min > max {
            return Err(format!("{min} is more than {max}"));
        }
        Ok(Self::Bytes { min, max })
    }

    /// Ranges of lengths, both ends included, and how often each is drawn relative to the others.
    /// They are kept until the process ends. At least one weight is above 0, and none below.
    pub fn classes(classes: &[(u32, u32, f64)]) -> Self {
        let all: f64 = classes.iter().map(|(.., weight)| weight).sum();
        let mut reached = 0.0;
        let classes = classes.iter().map(|&(min, max, weight)| {
            reached += weight;
            SizeClass { limit: (reached / all * 2_f64.powi(64)) as u64, min, max: max.max(min) }
        });
        Self::Classes(classes.collect::<Vec<_>>().leak())
    }

    /// The shortest and the longest value, unless they are numbers.
    pub fn bounds(self) -> Option<(u32, u32)> {
        match self {
            Self::Counter => None,
            Self::Bytes { min, max } => Some((min, max)),
            Self::Classes(classes) => {
                let shortest = classes.iter().map(|class| class.min).min()?;
                Some((shortest, classes.iter().map(|class| class.max).max()?))
            }
        }
    }

    /// The range that the next length comes from, when `coin` is any 64-bit number.
    #[inline]
    pub(super) fn range(self, coin: impl FnOnce() -> u64) -> (u32, u32) {
        match self {
            Self::Counter => (0, 0),
            Self::Bytes { min, max } => (min, max),
            Self::Classes(classes) => {
                let coin = coin();
                let index = classes.partition_point(|class| class.limit <= coin);
                let class = classes[index.min(classes.len() - 1)];
                (class.min, class.max)
            }
        }
    }

    /// Values of one length, which is at most [`VALUE_BYTES_MAX`].
    pub fn of_length(bytes: usize) -> Self {
        Self::Bytes { min: bytes as u32, max: bytes as u32 }
    }

    /// Whether a stored value may have no bytes. If not, an empty 200 is a miss.
    pub fn may_be_empty(self) -> bool {
        matches!(self.bounds(), Some((0, _)))
    }
}

impl std::fmt::Display for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Counter => f.write_str("counter"),
            Self::Bytes { min, max } if min == max => min.fmt(f),
            Self::Bytes { min, max } => write!(f, "{min}-{max}"),
            Self::Classes(classes) => {
                let (min, max) = self.bounds().unwrap_or_default();
                write!(f, "{min}-{max} in {} classes", classes.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_lengths_are_a_number_or_a_range() {
        assert_eq!(Values::parse("5"), Ok(Values::Bytes { min: 5, max: 5 }));
        assert_eq!(Values::parse("0-9"), Ok(Values::Bytes { min: 0, max: 9 }));
        for text in ["", "-", "9-5", "x", "1-", "4294967296"] {
            assert!(Values::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn classes_come_by_their_weights() {
        let values = Values::classes(&[(1, 9, 1.0), (10, 99, 3.0)]);
        assert_eq!(values.bounds(), Some((1, 99)));
        let quarter = u64::MAX / 4;
        assert_eq!(values.range(|| quarter - 9), (1, 9));
        assert_eq!(values.range(|| quarter + 9), (10, 99));
        assert_eq!(values.range(|| u64::MAX), (10, 99));
        assert_eq!(values.to_string(), "1-99 in 2 classes");
    }
}
