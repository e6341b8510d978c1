//! Which paths are keys by their length alone.

use super::route::has_length_of_page;
use super::settings::Settings;
use crate::http::{Request, Target};
use crate::net::Class;

/// Lengths of paths that on all addresses but the admin's are keys, whatever their bytes: all below 64, a
/// bit each, but for those of the pages' names, and those beyond the limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyLengths(u64);

impl KeyLengths {
    /// Those that these settings leave to keys.
    pub(super) fn of(settings: &Settings) -> Self {
        if settings.turborepo {
            return Self(0);
        }
        let is_key =
            |&length: &usize| length <= settings.key_bytes_max && !has_length_of_page(length);
        let lengths = (0..u64::BITS as usize).filter(is_key);
        Self(lengths.fold(0, |all, length| all | 1 << length))
    }

    /// Whether they tell that a request is about a key.
    #[inline(always)] // Into the loop over a connection's input.
    pub(super) fn tell(self, request: &Request<'_>) -> bool {
        let length = request.path.len();
        request.target == (Target::Path { escaped: false })
            && length < u64::BITS as usize
            && self.0 >> length & 1 == 1
            && !matches!(request.class, Class::Admin(_))
    }
}
