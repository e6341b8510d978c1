//! Which request comes next: method, key, value. Seeded, so that the same seed asks the same
//! questions in the same order on every connection.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use super::error::Error;
use super::units;
use super::zipf::Zipf;

/// The request methods that the load generator sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads a value.
    Get,
    /// Writes a value.
    Post,
    /// Reads a value's header fields.
    Head,
    /// Writes a value.
    Put,
    /// Removes a value.
    Delete,
}

impl Method {
    /// Every method, in the order of the report; `self as usize` is the index.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Head, Self::Put, Self::Delete];

    /// The number of methods.
    pub const COUNT: usize = Self::ALL.len();

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    /// The name in the JSON and CSV files.
    pub fn key(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Head => "head",
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }

    /// Whether the request carries a value.
    pub fn is_store(self) -> bool {
        matches!(self, Self::Post | Self::Put)
    }

    /// Whether the request asks for a value that is there or isn't.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// How often each method is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    shares: [f64; Method::COUNT],
    /// Method `i` is sent for coins below `limits[i]` that no earlier method took.
    limits: [u64; Method::COUNT],
}

/// Coins are drawn from `[0, COIN_END)`.
const COIN_END: u64 = 1 << 32;

impl Mix {
    /// A share of POSTs, GETs for the rest.
    pub fn write_ratio(ratio: f64) -> Self {
        let mut weights = [0.0; Method::COUNT];
        weights[Method::Get as usize] = 1.0 - ratio;
        weights[Method::Post as usize] = ratio;
        Self::from_weights(weights)
    }

    /// Parses `get=70,post=20,delete=10`; the weights need not add up to anything in particular.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut weights = [0.0; Method::COUNT];
        for part in text.split(',') {
            let (name, weight) =
                part.split_once('=').ok_or_else(|| format!("'{part}' is not METHOD=WEIGHT"))?;
            let method = Method::ALL
                .into_iter()
                .find(|method| method.name().eq_ignore_ascii_case(name.trim()))
                .ok_or_else(|| format!("'{name}' is none of get, head, post, put, delete"))?;
            let weight: f64 = weight.trim().parse().unwrap_or(-1.0);
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(format!("the weight of {} is not a number from 0 up", method.key()));
            }
            weights[method as usize] = weight;
        }
        if weights.iter().sum::<f64>() <= 0.0 {
            return Err("all weights are 0".to_owned());
        }
        Ok(Self::from_weights(weights))
    }

    fn from_weights(weights: [f64; Method::COUNT]) -> Self {
        let sum: f64 = weights.iter().sum();
        let shares = weights.map(|weight| weight / sum);
        let mut reached = 0.0;
        let mut limits = shares.map(|share| {
            reached += share;
            (reached * COIN_END as f64).round() as u64
        });
        // Rounding must not leave coins that no method takes, nor give them to one of weight 0.
        let last = weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0);
        limits[last..].fill(COIN_END);
        Self { shares, limits }
    }

    /// The share of requests that have this method, from 0 to 1.
    pub fn share(&self, method: Method) -> f64 {
        self.shares[method as usize]
    }

    fn pick(&self, coin: u64) -> Method {
        let index = self.limits.iter().position(|&limit| coin < limit).unwrap_or(0);
        Method::ALL[index]
    }
}

/// How keys are drawn from `[0, keys)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Every key is as likely as any other.
    Uniform,
    /// Key `k` has a weight of `1 / (k + 1)^theta`.
    Zipf(f64),
}

impl Distribution {
    /// Parses `uniform` or `zipf:THETA`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "uniform" {
            return Ok(Self::Uniform);
        }
        let theta = text.strip_prefix("zipf:").ok_or("write uniform or zipf:THETA")?;
        match theta.parse::<f64>() {
            Ok(theta) if theta > 0.0 && theta <= 10.0 => Ok(Self::Zipf(theta)),
            _ => Err(format!("zipf's '{theta}' is not a number above 0 and up to 10")),
        }
    }
}

impl std::fmt::Display for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(theta) => write!(f, "zipf:{theta}"),
        }
    }
}

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

    /// Whether a stored value may have no bytes. If not, an empty 200 is a miss.
    pub fn may_be_empty(self) -> bool {
        matches!(self, Self::Bytes { min: 0, .. })
    }
}

impl std::fmt::Display for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Counter => f.write_str("counter"),
            Self::Bytes { min, max } if min == max => min.fmt(f),
            Self::Bytes { min, max } => write!(f, "{min}-{max}"),
        }
    }
}

/// The whole workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workload {
    /// Keys are decimal numbers below this one.
    pub keys: u64,
    /// How keys are drawn.
    pub distribution: Distribution,
    /// How methods are drawn.
    pub mix: Mix,
    /// What is written.
    pub values: Values,
    /// What the random numbers of all connections derive from.
    pub seed: u64,
}

impl Workload {
    /// Checks what the parts alone cannot know.
    pub fn check(&self) -> Result<(), Error> {
        if self.keys == 0 {
            return Err(Error::usage("--keys 0: there must be at least one key"));
        }
        Ok(())
    }
}

/// One connection's stream of random decisions.
#[derive(Debug)]
pub struct Generator {
    random: Xoshiro256PlusPlus,
    keys: u64,
    mix: Mix,
    zipf: Option<Zipf>,
}

impl Generator {
    /// The stream of connection number `connection`.
    pub fn new(workload: &Workload, connection: usize) -> Self {
        // The golden ratio spreads neighbouring connections over the space of seeds.
        let seed = workload.seed ^ (connection as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            keys: workload.keys,
            mix: workload.mix,
            zipf: match workload.distribution {
                Distribution::Uniform => None,
                Distribution::Zipf(theta) => Some(Zipf::new(workload.keys, theta)),
            },
        }
    }

    /// The next request's method and key.
    pub fn next_request(&mut self) -> (Method, u64) {
        let coin = self.random.next_u64() >> 32;
        let key = match &self.zipf {
            None => self.below(self.keys),
            Some(zipf) => zipf.sample(&mut self.random),
        };
        (self.mix.pick(coin), key)
    }

    /// A number from `[0, end)`: the high half of a product, biased by less than one in 2^43 for
    /// a million keys, and without a division.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.random.next_u64()) * u128::from(end)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(distribution: Distribution, mix: Mix) -> Workload {
        Workload { keys: 1000, distribution, mix, values: Values::Counter, seed: 7 }
    }

    #[test]
    fn the_same_seed_gives_the_same_requests() {
        let plan = workload(Distribution::Zipf(0.99), Mix::write_ratio(0.2));
        let draw = |plan: &Workload, connection| {
            let mut generator = Generator::new(plan, connection);
            (0..1000).map(|_| generator.next_request()).collect::<Vec<_>>()
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
        for _ in 0..100_000 {
            counts[generator.next_request().0 as usize] += 1;
        }
        for (method, expected) in
            [(Method::Get, 60_000), (Method::Post, 20_000), (Method::Delete, 20_000)]
        {
            assert!(counts[method as usize].abs_diff(expected) < 1000, "{method:?} {counts:?}");
        }
        assert_eq!(counts[Method::Head as usize] + counts[Method::Put as usize], 0);
    }

    #[test]
    fn the_ends_of_the_write_ratio_leave_no_other_method() {
        for (ratio, only) in [(0.0, Method::Get), (1.0, Method::Post)] {
            let mix = Mix::write_ratio(ratio);
            for coin in [0, 1, COIN_END / 2, COIN_END - 1] {
                assert_eq!(mix.pick(coin), only);
            }
        }
    }

    #[test]
    fn a_wrong_mix_is_refused() {
        for text in ["", "get", "get=x", "get=-1", "get=0", "patch=1", "get=inf", "get=NaN"] {
            assert!(Mix::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn uniform_keys_cover_the_range_evenly() {
        let plan = workload(Distribution::Uniform, Mix::write_ratio(0.2));
        let mut generator = Generator::new(&plan, 0);
        let mut counts = vec![0_u32; 1000];
        for _ in 0..1_000_000 {
            counts[generator.next_request().1 as usize] += 1;
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
            for _ in 0..draws {
                counts[generator.next_request().1 as usize] += 1.0;
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
    fn value_lengths_are_a_number_or_a_range() {
        assert_eq!(Values::parse("5"), Ok(Values::Bytes { min: 5, max: 5 }));
        assert_eq!(Values::parse("0-9"), Ok(Values::Bytes { min: 0, max: 9 }));
        for text in ["", "-", "9-5", "x", "1-", "4294967296"] {
            assert!(Values::parse(text).is_err(), "{text}");
        }
    }
}
