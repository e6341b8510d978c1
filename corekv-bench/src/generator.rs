//! Which request comes next: method, key, value. Seeded, so that the same seed asks the same
//! questions in the same order on every connection.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use super::distribution::{Growth, Sampler, below};
use super::method::Method;
use super::mix::{Mix, Operation};
use super::values::Values;
use super::workload::Workload;

/// The longest scan, in keys; the shortest is one (YCSB's `maxscanlength`).
const SCAN_KEYS_MAX: u64 = 100;

/// What an answer leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    Nothing,
    /// A write of the same key.
    Write,
    /// A write of the same key if it was not there.
    WriteIfMissed,
    /// The key becomes known to all connections.
    Announce,
}

/// A request that was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Draw {
    pub(super) method: Method,
    pub(super) key: u64,
    pub(super) then: Then,
}

/// One connection's stream of random decisions.
#[derive(Debug)]
pub(super) struct Generator {
    random: Xoshiro256PlusPlus,
    keys: u64,
    mix: Mix,
    sampler: Sampler,
    /// What follows a read.
    after_read: Then,
    /// The rest of a scan: its next key, and how many there are.
    scan: (u64, u64),
}

impl Generator {
    /// The stream of connection number `connection`.
    pub(super) fn new(workload: &Workload, connection: usize) -> Self {
        // The golden ratio spreads neighbouring connections over the space of seeds.
        let seed = workload.seed ^ (connection as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            keys: workload.keys,
            mix: workload.mix,
            sampler: Sampler::new(workload.distribution, workload.keys),
            after_read: if workload.read_through { Then::WriteIfMissed } else { Then::Nothing },
            scan: (0, 0),
        }
    }

    /// The next request.
    #[inline]
    pub(super) fn next_request(&mut self, growth: &Growth) -> Draw {
        if self.scan.1 > 0 {
            return self.scan_on();
        }
        let coin = self.random.next_u64() >> 32;
        let key = self.sampler.sample(&mut self.random, growth);
        match self.mix.pick(coin) {
            Operation::Send(Method::Get) => {
                Draw { method: Method::Get, key, then: self.after_read }
            }
            Operation::Send(method) => Draw { method, key, then: Then::Nothing },
            Operation::Insert => {
                Draw { method: Method::Put, key: growth.insert(), then: Then::Announce }
            }
            Operation::ReadModifyWrite => Draw { method: Method::Get, key, then: Then::Write },
            Operation::Scan => {
                self.scan = (key, 1 + self.below(SCAN_KEYS_MAX));
                self.scan_on()
            }
        }
    }

    fn scan_on(&mut self) -> Draw {
        let (key, left) = self.scan;
        self.scan = ((key + 1) % self.keys, left - 1);
        Draw { method: Method::Get, key, then: self.after_read }
    }

    /// The length of the next value.
    #[inline]
    pub(super) fn value_length(&mut self, values: Values) -> usize {
        let (min, max) = values.range(|| self.random.next_u64());
        min as usize + self.below(u64::from(max - min) + 1) as usize
    }

    /// A number from `[0, end)`.
    #[inline]
    pub(super) fn below(&mut self, end: u64) -> u64 {
        below(&mut self.random, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::Distribution;

    fn workload(distribution: Distribution, mix: Mix) -> Workload {
        let (values, read_through) = (Values::Counter, false);
        Workload { keys: 1000, distribution, mix, values, seed: 7, read_through }
    }

    #[test]
    fn the_same_seed_gives_the_same_requests() {
        let plan = workload(Distribution::Zipf(0.99), Mix::write_ratio(0.2));
        let growth = Growth::new(1000);
        let draw = |plan: &Workload, connection| {
            let mut generator = Generator::new(plan, connection);
            (0..1000).map(|_| generator.next_request(&growth)).collect::<Vec<_>>()
        };
        assert_eq!(draw(&plan, 3), draw(&plan, 3));
        assert_ne!(draw(&plan, 3), draw(&plan, 4));
        assert_ne!(draw(&plan, 3), draw(&Workload { seed: 8, ..plan }, 3));
    }

    #[test]
    fn methods_come_in_their_shares() {
        let mix = Mix::parse("get=6,POST=2,delete=2").unwrap();
        let mut generator = Generator::new(&workload(Distribution::Uniform, mix), 0);
        let mut counts = [0_u32; Method::COUNT];
        let growth = Growth::new(1000);
        for _ in 0..100_000 {
            counts[generator.next_request(&growth).method as usize] += 1;
        }
        for (method, expected) in
            [(Method::Get, 60_000), (Method::Post, 20_000), (Method::Delete, 20_000)]
        {
            assert!(counts[method as usize].abs_diff(expected) < 1000, "{method:?} {counts:?}");
        }
        assert_eq!(counts[Method::Head as usize] + counts[Method::Put as usize], 0);
    }

    #[test]
    fn uniform_keys_cover_the_range_evenly() {
        let plan = workload(Distribution::Uniform, Mix::write_ratio(0.2));
        let mut generator = Generator::new(&plan, 0);
        let mut counts = vec![0_u32; 1000];
        let growth = Growth::new(1000);
        for _ in 0..1_000_000 {
            counts[generator.next_request(&growth).key as usize] += 1;
        }
        // The standard deviation of a count is about 32.
        assert!(counts.iter().all(|&count| count.abs_diff(1000) < 250));
    }

    #[test]
    fn zipf_keys_have_their_weights() {
        for theta in [0.5, 0.99, 1.0, 1.5] {
            let plan = workload(Distribution::Zipf(theta), Mix::write_ratio(0.2));
            let mut generator = Generator::new(&plan, 0);
            let draws = 1_000_000;
            let mut counts = vec![0_f64; 1000];
            let growth = Growth::new(1000);
            for _ in 0..draws {
                counts[generator.next_request(&growth).key as usize] += 1.0;
            }
            let sum: f64 = (1..=1000).map(|rank| f64::from(rank).powf(-theta)).sum();
            for rank in [1, 2, 3, 10, 100, 1000_i32] {
                let expected = f64::from(draws) * f64::from(rank).powf(-theta) / sum;
                let got = counts[rank as usize - 1];
                // Six standard deviations.
                assert!(
                    (got - expected).abs() < 6.0 * expected.sqrt() + 1.0,
                    "{theta} {rank} {got}"
                );
            }
        }
    }

    #[test]
    fn operations_make_the_requests_they_say() {
        let growth = Growth::new(1000);
        let draws = |mix: &str| {
            let plan = workload(Distribution::Uniform, Mix::parse(mix).unwrap());
            let mut generator = Generator::new(&plan, 0);
            (0..1000).map(|_| generator.next_request(&growth)).collect::<Vec<_>>()
        };
        let inserts = draws("insert=1");
        assert!((1000..).zip(&inserts).all(|(key, draw)| draw.key == key));
        assert!(
            inserts.iter().all(|draw| draw.method == Method::Put && draw.then == Then::Announce)
        );
        let updates = draws("rmw=1");
        assert!(updates.iter().all(|draw| draw.method == Method::Get && draw.then == Then::Write));
        // A scan begins somewhere else, and goes on to the next key otherwise.
        let scans = draws("scan=1");
        let begins =
            scans.windows(2).filter(|pair| pair[1].key != (pair[0].key + 1) % 1000).count();
        assert!((10..50).contains(&begins), "{begins} scans of 50 keys on average");
    }
}
