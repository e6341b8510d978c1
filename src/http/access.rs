//! What a request's credentials allow.

use std::hint::black_box;

/// What a request's credentials allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Access {
    /// Everything; what every request may do when no tokens are set.
    WriteAll,
    /// Reading and writing what the path names.
    Write,
    /// Reading everything.
    ReadAll,
    /// Reading what the path names.
    Read,
    /// Nothing here: they are limited to other paths.
    Elsewhere,
    /// Nothing: there are none, or they are wrong.
    Denied,
}

impl Access {
    /// Whether what the path names may be changed.
    #[must_use]
    #[inline]
    pub fn may_write(self) -> bool {
        matches!(self, Self::Write | Self::WriteAll)
    }

    /// Whether it is limited to no paths.
    #[must_use]
    pub fn is_unlimited(self) -> bool {
        matches!(self, Self::ReadAll | Self::WriteAll)
    }
}

/// Whether two byte strings are equal, in a time that depends on their lengths alone. By words,
/// since every request with credentials is compared so.
pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut differences = 0;
    // Opaque to the compiler, which could leave a loop early otherwise.
    let mut compare = |a, b| differences = black_box(differences | (a ^ b));
    match (a.last_chunk(), b.last_chunk()) {
        (Some(a_last), Some(b_last)) => {
            for (a, b) in a.as_chunks().0.iter().zip(b.as_chunks().0) {
                compare(u64::from_ne_bytes(*a), u64::from_ne_bytes(*b));
            }
            // Some of its bytes for the second time, which is quicker than each by itself.
            compare(u64::from_ne_bytes(*a_last), u64::from_ne_bytes(*b_last));
        }
        _ => a.iter().zip(b).for_each(|(&a, &b)| compare(u64::from(a), u64::from(b))),
    }
    differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_equal_if_all_their_bytes_are() {
        let bytes: Vec<u8> = (0..40).collect();
        for len in 0..bytes.len() {
            assert!(equal(&bytes[..len], &bytes[..len]));
            assert!(!equal(&bytes[..len], &bytes[..len + 1]));
            for at in 0..len {
                let mut other = bytes[..len].to_vec();
                other[at] ^= 0x80;
                assert!(!equal(&bytes[..len], &other), "byte {at} of {len}");
            }
        }
    }
}
