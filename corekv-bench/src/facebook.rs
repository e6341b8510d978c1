//! Facebook's memcached pools ETC and USR (Atikoglu et al., Workload Analysis of a Large-Scale Key-Value
//! Store, SIGMETRICS 2012) and its key-value store ZippyDB (Cao et al., Characterizing, Modeling, and
//! Benchmarking RocksDB Key-Value Workloads at Facebook, FAST 2020, as `mixgraph` of RocksDB's `db_bench`
//! has it).
//!
//! Published of ETC are thirty reads per write, the shares of values of 0 to 14 bytes, and the generalized
//! Pareto distribution of the others; of USR that 99.8 % are reads and values have two bytes; of ZippyDB the
//! shares of operations, the same distribution of values, and the popularity of keys as a power of their
//! rank. What is missing is the popularity of keys in ETC and USR, which is YCSB's here, and how often ETC
//! deletes. Keys are decimal numbers, and scans as long as YCSB's.

use super::distribution::Distribution;
use super::method::Method;
use super::mix::{Mix, Operation};
use super::preset::Preset;
use super::values::Values;

const GET: Operation = Operation::Send(Method::Get);
const PUT: Operation = Operation::Send(Method::Put);

/// Lengths of values, both ends included, and how often they come.
type Class = (u32, u32, f64);

/// Values of ETC up to 14 bytes: the share of each length, from 0 on, as the load generator mutilate has them
/// from the paper.
const ETC_SHORT: [f64; 15] = [
    0.00536, 0.00047, 0.17820, 0.09239, 0.00018, 0.02740, 0.00065, 0.00606, 0.00023, 0.00837,
    0.00837, 0.08989, 0.00092, 0.00326, 0.01980,
];

/// The longest value that memcached takes.
const ETC_MAX: u32 = 1 << 20;

/// The longest value of `mixgraph`.
const ZIPPYDB_MAX: u32 = 1 << 20;

/// The exponent of Zipf's law where none is published: YCSB's.
const THETA: f64 = 0.99;

/// `mixgraph` takes the share of the requests that the most popular `x` keys get as `a * x^b`, with this
/// `b`. That is Zipf's law with `1 - b`.
const ZIPPYDB_KEY_DIST_B: f64 = 0.3467;

/// Each class of lengths ends this much further from the first length than it begins.
const CLASS_GROWTH: f64 = 1.2;

/// The workload of a name.
pub(super) fn workload(name: &str) -> Option<Preset> {
    let (mix, theta, values): (&[(Operation, f64)], _, _) = match name {
        "etc" => (&[(GET, 30.0), (PUT, 1.0)], THETA, Values::classes(&etc_values())),
        "usr" => (&[(GET, 99.8), (PUT, 0.2)], THETA, Values::of_length(2)),
        "zippydb" => (
            &[(GET, 0.83), (PUT, 0.14), (Operation::Scan, 0.03)],
            1.0 - ZIPPYDB_KEY_DIST_B,
            Values::classes(&pareto(0, ZIPPYDB_MAX, 25.45, 0.2615, 1.0)),
        ),
        _ => return None,
    };
    Some(Preset {
        mix: Some(Mix::of(mix)),
        distribution: Distribution::Zipf(theta),
        values: Some(values),
        ..Preset::NEUTRAL
    })
}

fn etc_values() -> Vec<Class> {
    let long = ETC_SHORT.len() as u32;
    let short = (0..).zip(ETC_SHORT).map(|(length, share)| (length, length, share));
    let rest = 1.0 - ETC_SHORT.iter().sum::<f64>();
    short.chain(pareto(long, ETC_MAX, 214.476, 0.348238, rest)).collect()
}

/// Classes of lengths from `first` to `last`, which the generalized Pareto distribution with the scale
/// `sigma` and the shape `k` gives their parts of `share`.
fn pareto(first: u32, last: u32, sigma: f64, k: f64, share: f64) -> Vec<Class> {
    let below = |length: u32| 1.0 - (1.0 + k * f64::from(length - first) / sigma).powf(-1.0 / k);
    let mut classes = Vec::new();
    let mut from = first;
    while from <= last {
        let grown = first + (f64::from(from - first) * CLASS_GROWTH) as u32;
        let to = grown.clamp(from, last);
        classes.push((from, to, share * (below(to + 1) - below(from))));
        from = to + 1;
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean length, if lengths of a class come equally often.
    fn mean(classes: &[Class]) -> f64 {
        let all: f64 = classes.iter().map(|(.., share)| share).sum();
        let part =
            |(from, to, share): &Class| f64::from(*from).midpoint(f64::from(*to)) * share / all;
        classes.iter().map(part).sum()
    }

    #[test]
    fn lengths_are_distributed_as_published() {
        let etc = etc_values();
        assert!((etc.iter().map(|(.., share)| share).sum::<f64>() - 1.0).abs() < 1e-4);
        // The classes have no gaps.
        assert!(etc.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{etc:?}");
        assert_eq!((etc[0].0, etc.last().unwrap().1), (0, ETC_MAX));
        // The mean of a generalized Pareto distribution is sigma / (1 - k), and 0.5 less if lengths are
        // rounded down.
        let (sigma, k) = (214.476, 0.348238);
        let long = mean(&etc[15..]);
        assert!((long / (15.0 + sigma / (1.0 - k) - 0.5) - 1.0).abs() < 0.01, "{long}");
        let zippydb = mean(&pareto(0, ZIPPYDB_MAX, 25.45, 0.2615, 1.0));
        assert!((zippydb / (25.45 / (1.0 - 0.2615) - 0.5) - 1.0).abs() < 0.01, "{zippydb}");
        // Half are below the median of the distribution, sigma / k * (2^k - 1).
        let half: f64 =
            etc[15..].iter().take_while(|class| class.1 < 15 + 168).map(|one| one.2).sum();
        assert!((half / 0.55845 - 0.5).abs() < 0.05, "{half}");
    }
}
