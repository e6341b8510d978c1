//! Which keys are popular.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::Rng;
use rand::rngs::Xoshiro256PlusPlus;

use super::zipf::Zipf;

/// How keys are drawn from `[0, keys)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Every key is as likely as any other.
    Uniform,
    /// Key `k` has a weight of `1 / (k + 1)^theta`.
    Zipf(f64),
    /// By Zipf's law the newest key is the most popular one, the one before it the second.
    Latest(f64),
    /// A share of the keys gets a share of the draws, the other keys the others; each evenly.
    Hotspot {
        /// The share of the keys, from 0 to 1.
        keys: f64,
        /// Their share of the draws, from 0 to 1.
        draws: f64,
    },
    /// Groups of keys, one behind the other, each of which is drawn from evenly.
    Groups(&'static [Group]),
}

/// Keys that are equally popular.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// How many keys, relative to the other groups.
    pub keys: f64,
    /// How many draws, relative to the other groups.
    pub draws: f64,
}

impl Distribution {
    /// Parses `uniform`, `zipf:THETA`, `latest:THETA` or `hotspot:KEYS%:DRAWS%`.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORMS: &str = "write uniform, zipf:THETA, latest:THETA or hotspot:KEYS%:DRAWS%";
        if text == "uniform" {
            return Ok(Self::Uniform);
        }
        let (name, rest) = text.split_once(':').ok_or(FORMS)?;
        match name {
            "zipf" => Ok(Self::Zipf(theta(name, rest)?)),
            "latest" => Ok(Self::Latest(theta(name, rest)?)),
            "hotspot" => {
                let (keys, draws) = rest.split_once(':').ok_or(FORMS)?;
                Ok(Self::Hotspot { keys: percent(keys)?, draws: percent(draws)? })
            }
            _ => Err(FORMS.to_owned()),
        }
    }
}

fn theta(name: &str, text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(theta) if theta > 0.0 && theta <= 10.0 => Ok(theta),
        _ => Err(format!("{name}'s '{text}' is not a number above 0 and up to 10")),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok()) {
        Some(percent) if percent > 0.0 && percent < 100.0 => Ok(percent / 100.0),
        _ => Err(format!("hotspot's '{text}' is not a share between 0% and 100%")),
    }
}

impl std::fmt::Display for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(theta) => write!(f, "zipf:{theta}"),
            Self::Latest(theta) => write!(f, "latest:{theta}"),
            Self::Hotspot { keys, draws } => {
                write!(f, "hotspot:{}%:{}%", keys * 100.0, draws * 100.0)
            }
            Self::Groups(groups) => write!(f, "{} groups", groups.len()),
        }
    }
}

/// The keys that inserts have made, which all connections of a run share.
#[derive(Debug)]
pub(super) struct Growth {
    /// The key of the next insert.
    next: AtomicU64,
    /// One beyond the newest key whose insert was answered.
    stored: AtomicU64,
}

impl Growth {
    /// So many keys are there.
    pub(super) fn new(keys: u64) -> Self {
        Self { next: AtomicU64::new(keys), stored: AtomicU64::new(keys) }
    }

    /// A key that nobody has inserted.
    pub(super) fn insert(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The insert of a key was answered. Older ones may be on their way.
    pub(super) fn stored(&self, key: u64) {
        self.stored.fetch_max(key + 1, Ordering::Relaxed);
    }

    fn newest(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }
}

/// Draws keys.
#[derive(Debug)]
pub(super) enum Sampler {
    Uniform { keys: u64 },
    Zipf(Zipf),
    Latest(Zipf),
    Groups(Vec<Part>),
}

/// A group of keys in a sampler.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Coins below this one that no earlier part took are this part's.
    limit: u64,
    first: u64,
    keys: u64,
}

impl Sampler {
    pub(super) fn new(distribution: Distribution, keys: u64) -> Self {
        match distribution {
            Distribution::Uniform => Self::Uniform { keys },
            Distribution::Zipf(theta) => Self::Zipf(Zipf::new(keys, theta)),
            Distribution::Latest(theta) => Self::Latest(Zipf::new(keys, theta)),
            Distribution::Hotspot { keys: share, draws } => {
                let hot = Group { keys: share, draws };
                let cold = Group { keys: 1.0 - share, draws: 1.0 - draws };
                Self::Groups(parts(&[hot, cold], keys))
            }
            Distribution::Groups(groups) => Self::Groups(parts(groups, keys)),
        }
    }

    /// The next key.
    #[inline]
    pub(super) fn sample(&self, random: &mut Xoshiro256PlusPlus, growth: &Growth) -> u64 {
        match self {
            Self::Uniform { keys } => below(random, *keys),
            _ => self.sample_unevenly(random, growth),
        }
    }

    #[inline(never)]
    fn sample_unevenly(&self, random: &mut Xoshiro256PlusPlus, growth: &Growth) -> u64 {
        match self {
            Self::Uniform { keys } => below(random, *keys),
            Self::Zipf(zipf) => zipf.sample(random),
            Self::Latest(zipf) => (growth.newest() - 1).saturating_sub(zipf.sample(random)),
            Self::Groups(parts) => {
                let coin = random.next_u64();
                let index = parts.partition_point(|part| part.limit <= coin);
                let part = parts[index.min(parts.len() - 1)];
                part.first + below(random, part.keys)
            }
        }
    }
}

/// A number from `[0, end)`: the high half of a product, biased by less than one in 2^43 for
/// a million keys, and without a division.
#[inline]
pub(super) fn below(random: &mut Xoshiro256PlusPlus, end: u64) -> u64 {
    ((u128::from(random.next_u64()) * u128::from(end)) >> 64) as u64
}

/// Shares the keys out to the groups, at least one to each that is drawn from.
fn parts(groups: &[Group], keys: u64) -> Vec<Part> {
    let sum = |of: fn(&Group) -> f64| groups.iter().map(of).sum::<f64>();
    let (all_keys, all_draws) = (sum(|group| group.keys), sum(|group| group.draws));
    let (mut reached_keys, mut reached_draws) = (0.0, 0.0);
    let parts = groups.iter().map(|group| {
        let first = (reached_keys / all_keys * keys as f64).round() as u64;
        reached_keys += group.keys;
        reached_draws += group.draws;
        let end = (reached_keys / all_keys * keys as f64).round() as u64;
        let first = first.min(keys - 1);
        let limit = (reached_draws / all_draws * 2_f64.powi(64)) as u64;
        Part { limit, first, keys: end.saturating_sub(first).max(1) }
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn counts(distribution: Distribution, keys: u64, growth: &Growth) -> Vec<u32> {
        let sampler = Sampler::new(distribution, keys);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut counts = vec![0; growth.newest() as usize];
        for _ in 0..100_000 {
            counts[sampler.sample(&mut random, growth) as usize] += 1;
        }
        counts
    }

    #[test]
    fn a_hotspot_is_as_hot_as_it_says() {
        let distribution = Distribution::parse("hotspot:20%:80%").unwrap();
        assert_eq!(distribution.to_string(), "hotspot:20%:80%");
        let counts = counts(distribution, 1000, &Growth::new(1000));
        let hot: u32 = counts[..200].iter().sum();
        assert!(hot.abs_diff(80_000) < 800, "{hot}");
        // The standard deviations of these counts are 20 and 5.
        assert!(counts[..200].iter().all(|&count| count.abs_diff(400) < 130), "{counts:?}");
        assert!(counts[200..].iter().all(|&count| count.abs_diff(25) < 40), "{counts:?}");
    }

    #[test]
    fn groups_get_their_shares_however_few_the_keys_are() {
        let group = |keys, draws| Group { keys, draws };
        let groups = vec![group(1.0, 60.0), group(9.0, 30.0), group(990.0, 10.0)].leak();
        let of = |keys| counts(Distribution::Groups(groups), keys, &Growth::new(keys));
        let thousand = of(1000);
        assert!(thousand[0].abs_diff(60_000) < 800, "{}", thousand[0]);
        assert!(thousand[1..10].iter().sum::<u32>().abs_diff(30_000) < 800);
        assert_eq!(of(1), [100_000]);
        assert_eq!(of(2).iter().sum::<u32>(), 100_000);
    }

    #[test]
    fn the_newest_key_is_the_most_popular_and_moves() {
        let growth = Growth::new(100);
        let latest = Distribution::Latest(0.99);
        let before = counts(latest, 100, &growth);
        assert!(before[99] > before[98] && before[98] > before[0], "{before:?}");
        for _ in 0..5 {
            growth.stored(growth.insert());
        }
        let after = counts(latest, 100, &growth);
        assert!(after[104] > after[103] && after[103] > after[99], "{after:?}");
    }

    #[test]
    fn wrong_distributions_are_refused() {
        for text in [
            "",
            "zipf",
            "zipf:",
            "zipf:0",
            "zipf:x",
            "latest:99",
            "hotspot",
            "hotspot:1",
            "hotspot:0%:1%",
            "hotspot:20%:100%",
            "hotspot:0.2:0.8",
            "normal:1",
        ] {
            assert!(Distribution::parse(text).is_err(), "{text}");
        }
    }
}
