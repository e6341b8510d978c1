//! The hash that places keys, with a seed of this process's own, so that nobody outside can make
//! up keys that collide.

use std::hash::{BuildHasher, Hasher as _};

use ahash::RandomState;

use super::entry::Entry;
use super::header::KEY_BYTES_MAX;

/// Keys up to so many bytes are copied to buffers that are cheap to clear.
const SHORT_BYTES_MAX: usize = 64;
const USUAL_BYTES_MAX: usize = 512;

#[derive(Debug, Clone)]
pub(super) struct Hasher {
    state: RandomState,
    /// What keys of four to eight bytes are mixed with.
    seeds: [u64; 3],
}

impl Hasher {
    pub(super) fn with_random_seed() -> Self {
        let state = RandomState::new();
        let seeds = [0, 1, 2].map(|number: u64| state.hash_one(number));
        Self { state, seeds }
    }

    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        if let (Some(first), Some(last), 4..=8) = (key.first_chunk(), key.last_chunk(), key.len()) {
            // What `ahash` does without a processor's instructions for AES, but for a multiplication and two
            // rotations: both halves, which overlap, are multiplied, and then mixed with the length.
            let [one, other, length] = self.seeds;
            let first = u64::from(u32::from_le_bytes(*first)) ^ one;
            let last = u64::from(u32::from_le_bytes(*last)) ^ other;
            return folded_product(folded_product(first, last) ^ key.len() as u64, length);
        }
        self.hash_any(key)
    }

    /// Not inlined: short keys are the ones that every other instruction counts for.
    #[inline(never)]
    fn hash_any(&self, key: &[u8]) -> u64 {
        // Not `hash_one`, which hashes the length as well: `write` does that already.
        let mut hasher = self.state.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    /// The hash of an entry's key.
    #[inline]
    pub(super) fn hash_entry(&self, entry: &Entry<'_>) -> u64 {
        let len = entry.header.key_len();
        if len <= SHORT_BYTES_MAX {
            self.hash(entry.key_to(&mut [0; SHORT_BYTES_MAX]))
        } else if len <= USUAL_BYTES_MAX {
            self.hash(entry.key_to(&mut [0; USUAL_BYTES_MAX]))
        } else {
            self.hash(entry.key_to(&mut [0; KEY_BYTES_MAX + 8]))
        }
    }
}

/// The halves of a product, so that every bit of both numbers counts for every bit.
#[inline]
fn folded_product(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const KEYS: usize = 4096;

    /// One of two blocks at each of twelve places, by the bits of a number, and the other one so many
    /// blocks later.
    fn blocks(number: usize, distance: Option<usize>) -> Vec<u8> {
        let mut key = vec![b'-'; 16 * (12 + distance.map_or(0, |distance| distance + 12))];
        for bit in 0..12 {
            let (a, b) = if number >> bit & 1 == 0 { (b'a', b'b') } else { (b'b', b'a') };
            key[16 * bit..][..16].fill(a);
            if let Some(distance) = distance {
                key[16 * (bit + distance)..][..16].fill(b);
            }
        }
        key
    }

    /// Keys that differ as little, or as regularly, as somebody might hope to make them collide.
    fn families() -> Vec<(&'static str, Vec<Vec<u8>>)> {
        let family = |name, key: &dyn Fn(usize) -> Vec<u8>| (name, (0..KEYS).map(key).collect());
        let word = |number: u64| number.to_le_bytes();
        vec![
            family("counted", &|n| word(n as u64).to_vec()),
            family("counted in the highest bits", &|n| word((n as u64) << 52).to_vec()),
            family("decimal", &|n| n.to_string().into_bytes()),
            family("decimal, in five digits", &|n| format!("{n:05}").into_bytes()),
            family("decimal, in eight digits", &|n| format!("{n:08}").into_bytes()),
            family("halves that are the other way around", &|n| {
                let n = n as u32 / 2 + if n.is_multiple_of(2) { 0 } else { 1 << 16 };
                [n.to_le_bytes(), n.rotate_left(16).to_le_bytes()].concat()
            }),
            family("lengths", &|n| vec![0; n]),
            family("two bits of 64 bytes", &|n| {
                let mut key = vec![0; 64];
                let (one, two) = (n % 512, n % 512 + 1 + n / 512);
                key[one / 8] |= 1 << (one % 8);
                key[two % 512 / 8] ^= 1 << (two % 8);
                key
            }),
            family("both halves alike", &|n| [word(n as u64), word(n as u64)].concat()),
            family("both halves by turns", &|n| {
                let (a, b) = (word(n as u64 / 2), word(!(n as u64 / 2)));
                if n.is_multiple_of(2) { [a, b].concat() } else { [b, a].concat() }
            }),
            family("blocks by turns", &|n| blocks(n, None)),
            // A block's bits come back to the same place after 64 rotations by 23.
            family("blocks swapped at a distance of 64", &|n| blocks(n, Some(64))),
        ]
    }

    /// Nobody knows the seed; what remains is keys that collide whatever it is.
    #[test]
    fn regular_keys_spread_as_random_ones_do_whatever_the_seed() {
        // Of 4,096 keys in as many places, 14 are in the same one once in 10^10 times.
        const LOAD_MAX: usize = 13;
        for (name, keys) in families() {
            for _ in 0..5 {
                let hasher = Hasher::with_random_seed();
                let hashes: Vec<u64> = keys.iter().map(|key| hasher.hash(key)).collect();
                let different: HashSet<u64> = hashes.iter().copied().collect();
                assert_eq!(different.len(), KEYS, "{name}: some are equal");
                // What chooses the bucket, what the tag is made of, and what chooses the partition.
                for shift in [0, 32, 52] {
                    let mut loads = [0; KEYS];
                    hashes.iter().for_each(|hash| loads[(hash >> shift) as usize % KEYS] += 1);
                    let most = loads.into_iter().max().unwrap_or(0);
                    assert!(most <= LOAD_MAX, "{name}: {most} in one place by the bits at {shift}");
                }
            }
        }
    }

    #[test]
    fn each_store_has_a_seed_of_its_own() {
        let hashes: HashSet<u64> =
            (0..1000).map(|_| Hasher::with_random_seed().hash(b"key")).collect();
        assert_eq!(hashes.len(), 1000);
    }
}
