//! Pseudo-random numbers that are the same in every run.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

/// A generator of numbers and bytes (xoshiro256++), seeded.
#[derive(Debug, Clone)]
pub struct Numbers(Xoshiro256PlusPlus);

impl Numbers {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// The next number, of all that there are.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so there is no Option")]
    #[inline]
    pub fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from 0 up to `bound`, which is not among them and not 0.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.random_range(0..bound)
    }

    /// A number from 0 up to 1, which is not among them.
    #[inline]
    pub fn fraction(&mut self) -> f64 {
        self.0.random()
    }

    /// A number from the standard normal distribution.
    #[inline]
    pub fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    /// So many bytes of any value.
    #[must_use]
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

/// Ranks by Zipf's law: rank `k`, from 0, has a weight of `(k + 1)^-exponent`.
#[derive(Debug, Clone, Copy)]
pub struct Zipf(rand_distr::Zipf<f64>);

impl Zipf {
    /// So many ranks.
    ///
    /// # Panics
    /// If there is no rank, or the exponent is negative.
    #[must_use]
    pub fn new(ranks: u64, exponent: f64) -> Self {
        Self(rand_distr::Zipf::new(ranks as f64, exponent).expect("a distribution"))
    }

    /// The next rank, in constant time.
    #[inline]
    pub fn rank(&self, numbers: &mut Numbers) -> u64 {
        self.0.sample(&mut numbers.0) as u64 - 1
    }
}
