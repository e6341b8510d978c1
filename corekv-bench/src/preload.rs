//! Storing every key before the measurement, so that every read must hit.

/// Requests in flight per connection during the preload.
pub const PRELOAD_DEPTH: usize = 64;

/// The keys that one connection stores: every `step`th, so that the connections share them out
/// without talking, and so that each key is stored by the connection that may write it later.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    next: u64,
    step: u64,
    end: u64,
}

impl Keys {
    /// The share of connection `index` of `connections` in `[0, keys)`.
    pub fn new(keys: u64, connections: usize, index: usize) -> Self {
        Self { next: index as u64, step: connections as u64, end: keys }
    }
}

impl Iterator for Keys {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        (self.next < self.end).then(|| {
            let key = self.next;
            self.next = key.saturating_add(self.step);
            key
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next).div_ceil(self.step) as usize;
        (left, Some(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_cover_every_key_once() {
        for (keys, connections) in [(10, 3), (2, 5), (0, 1), (7, 7)] {
            let mut all: Vec<u64> =
                (0..connections).flat_map(|index| Keys::new(keys, connections, index)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..keys).collect::<Vec<_>>());
        }
    }
}
