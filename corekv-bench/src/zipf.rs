//! Keys by Zipf's law.

use rand::Rng;
use rand::rngs::Xoshiro256PlusPlus;

/// Zipf samples in constant time and memory: rejection-inversion (Hörmann and Derflinger, 1996).
/// A sample is drawn from the continuous density that lies over the discrete one, rounded, and
/// rejected where the two differ, which is rare.
#[derive(Debug, Clone, Copy)]
pub(super) struct Zipf {
    keys: f64,
    theta: f64,
    integral_start: f64,
    integral_end: f64,
    accept: f64,
}

impl Zipf {
    pub(super) fn new(keys: u64, theta: f64) -> Self {
        let mut zipf =
            Self { keys: keys as f64, theta, integral_start: 0.0, integral_end: 0.0, accept: 0.0 };
        zipf.integral_start = zipf.integral(1.5) - 1.0;
        zipf.integral_end = zipf.integral(zipf.keys + 0.5);
        zipf.accept = 2.0 - zipf.integral_inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    fn density(&self, x: f64) -> f64 {
        (-self.theta * x.ln()).exp()
    }

    /// The integral of the density from 1 to `x`, written so that it is right at theta = 1 too.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        exp_minus_one_over((1.0 - self.theta) * log) * log
    }

    fn integral_inverse(&self, x: f64) -> f64 {
        let scaled = (x * (1.0 - self.theta)).max(-1.0);
        (log_one_plus_over(scaled) * x).exp()
    }

    pub(super) fn sample(&self, random: &mut Xoshiro256PlusPlus) -> u64 {
        loop {
            let unit = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
            let u = self.integral_end + unit * (self.integral_start - self.integral_end);
            let x = self.integral_inverse(u);
            let rank = (x + 0.5).floor().clamp(1.0, self.keys);
            if rank - x <= self.accept || u >= self.integral(rank + 0.5) - self.density(rank) {
                return rank as u64 - 1;
            }
        }
    }
}

/// `(e^x - 1) / x`, continued at 0.
fn exp_minus_one_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.exp_m1() / x } else { 1.0 + x / 2.0 }
}

/// `ln(1 + x) / x`, continued at 0.
fn log_one_plus_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { x.ln_1p() / x } else { 1.0 - x / 2.0 }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn zipf_over_one_key_is_that_key() {
        let zipf = Zipf::new(1, 0.99);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        assert!((0..1000).all(|_| zipf.sample(&mut random) == 0));
    }
}
