//! Workload files of CacheBench, CacheLib's benchmark (Berg et al., The CacheLib Caching Engine, OSDI
//! 2020): `cachelib/cachebench/test_configs` of github.com/facebook/CacheLib.
//!
//! Of `test_config` these members count, and of each pool in `poolDistributions` as well: `getRatio`,
//! `setRatio`, `delRatio`, `loneGetRatio`, `loneSetRatio`, `valSizeRange` with `valSizeRangeProbability`,
//! `popularityBuckets` with `popularityWeights`, and the files that `valSizeDistFile` and `popDistFile` name,
//! which lie beside this one. `numKeys` and `enableLookaside` are those of the whole. `keyPoolDistribution`
//! and `opPoolDistribution` share the keys and the operations out to the pools: each pool has keys of its own,
//! with its popularity. Operations and lengths are drawn from all pools together, in these shares.
//!
//! A lone get or set is one of a key that comes once: the first is a plain GET here, the second an insert.
//! Chained items, the lengths of keys and CacheBench's own delays are left out.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::distribution::{Distribution, Group};
use super::method::Method;
use super::mix::{Mix, Operation};
use super::preset::Preset;
use super::values::{VALUE_BYTES_MAX, Values};

/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// `consistency/ram-with-deletes.json`, without its chained items.
pub(super) fn ram() -> Preset {
    Preset {
        keys: Some(200_000),
        mix: Some(Mix::of(&[
            (Operation::Send(Method::Get), 0.8),
            (Operation::Send(Method::Put), 0.1),
            (Operation::Send(Method::Delete), 0.01),
        ])),
        values: Some(Values::classes(&[(256, 1024, 0.2), (1024, 4096, 0.7), (4096, 8192, 0.1)])),
        ..Preset::NEUTRAL
    }
}

/// Lengths of values, both ends included, and how often they come.
type Class = (u32, u32, f64);

/// What one pool says.
struct Pool {
    operations: Vec<(Operation, f64)>,
    groups: Vec<Group>,
    classes: Vec<Class>,
}

/// Reads a workload.
pub(super) fn read(path: &Path) -> Result<Preset, String> {
    let wrong = |why: &str| format!("{}: {why}", path.display());
    let document = parse(path)?;
    let config = &document["test_config"];
    let shares = |name: &str| match &config[name] {
        Value::Null => Ok(vec![1.0]),
        shares => numbers(shares).ok_or_else(|| wrong(&format!("{name} is no list of numbers"))),
    };
    let (of_keys, of_operations) = (shares("keyPoolDistribution")?, shares("opPoolDistribution")?);
    if of_keys.len() != of_operations.len() {
        return Err(wrong("keyPoolDistribution and opPoolDistribution differ in their pools"));
    }
    let (mut operations, mut groups, mut classes) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (keys, draws)) in of_keys.into_iter().zip(of_operations).enumerate() {
        // One description is that of all pools.
        let pools = &config["poolDistributions"];
        let own = if pools[index].is_null() { &pools[0] } else { &pools[index] };
        let pool = Pool::read(path, config, own)?;
        operations.extend(scaled(pool.operations.iter().copied(), draws));
        let weights = scaled(pool.groups.iter().map(|group| (group.keys, group.draws)), draws);
        let all_keys: f64 = pool.groups.iter().map(|group| group.keys).sum();
        groups.extend(
            weights.map(|(of_group, draws)| Group { keys: of_group / all_keys * keys, draws }),
        );
        let pairs = pool.classes.iter().map(|&(min, max, weight)| ((min, max), weight));
        classes.extend(scaled(pairs, draws).map(|((min, max), weight)| (min, max, weight)));
    }
    if operations.iter().all(|(_, weight)| *weight <= 0.0) {
        return Err(wrong("no ratio of operations in a test_config"));
    }
    let is_even = groups.len() == 1;
    Ok(Preset {
        keys: config["numKeys"].as_u64(),
        mix: Some(Mix::of(&operations)),
        distribution: if is_even {
            Distribution::Uniform
        } else {
            Distribution::Groups(groups.leak())
        },
        values: Some(Values::classes(&classes)),
        read_through: config["enableLookaside"] == true,
    })
}

/// Weights that add up to `sum`, in their proportions.
fn scaled<T: Copy>(
    weights: impl Iterator<Item = (T, f64)> + Clone,
    sum: f64,
) -> impl Iterator<Item = (T, f64)> {
    let all: f64 = weights.clone().map(|(_, weight)| weight).sum();
    let scale = if all > 0.0 { sum / all } else { 0.0 };
    weights.map(move |(what, weight)| (what, weight * scale))
}

impl Pool {
    /// What a pool says, or else the whole.
    fn read(path: &Path, config: &Value, own: &Value) -> Result<Self, String> {
        let member = |name: &str| if own[name].is_null() { &config[name] } else { &own[name] };
        let beside = |name: &str| match member(name).as_str() {
            Some(file) => parse(&path.with_file_name(file)).map(Some),
            None => Ok(None),
        };
        let (sizes, popularity) = (beside("valSizeDistFile")?, beside("popDistFile")?);
        let list = |file: &Option<Value>, name: &str| {
            let value = file.as_ref().map_or_else(|| member(name), |file| &file[name]);
            numbers(value).ok_or_else(|| format!("{}: no {name}", path.display()))
        };
        let ratio = |name: &str| member(name).as_f64().unwrap_or(0.0).max(0.0);
        let operations = vec![
            (Operation::Send(Method::Get), ratio("getRatio") + ratio("loneGetRatio")),
            (Operation::Send(Method::Put), ratio("setRatio")),
            (Operation::Send(Method::Delete), ratio("delRatio")),
            (Operation::Insert, ratio("loneSetRatio")),
        ];
        if operations.iter().all(|(_, weight)| *weight <= 0.0) {
            return Err(format!("{}: no ratio of operations in a test_config", path.display()));
        }
        let has_popularity = popularity.is_some() || !member("popularityBuckets").is_null();
        let groups = if has_popularity {
            let buckets = list(&popularity, "popularityBuckets")?;
            groups(&buckets, &list(&popularity, "popularityWeights")?)?
        } else {
            vec![Group { keys: 1.0, draws: 1.0 }]
        };
        let classes =
            lengths(&list(&sizes, "valSizeRange")?, &list(&sizes, "valSizeRangeProbability")?)?;
        Ok(Self { operations, groups, classes })
    }
}

fn parse(path: &Path) -> Result<Value, String> {
    let wrong = |why: String| format!("{}: {why}", path.display());
    let length = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(wrong(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    let text = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    let is_right = |number: &f64| number.is_finite() && *number >= 0.0;
    value.as_array()?.iter().map(|one| one.as_f64().filter(is_right)).collect()
}

/// Bucket by bucket, so many keys get so many of the operations.
fn groups(buckets: &[f64], weights: &[f64]) -> Result<Vec<Group>, String> {
    if buckets.len() != weights.len() || weights.iter().sum::<f64>() <= 0.0 {
        return Err("popularityBuckets and popularityWeights don't belong together".to_owned());
    }
    let groups = buckets.iter().zip(weights).filter(|(keys, draws)| **keys > 0.0 && **draws > 0.0);
    let groups: Vec<_> = groups.map(|(&keys, &draws)| Group { keys, draws }).collect();
    if groups.is_empty() {
        return Err("no bucket has keys and a weight".to_owned());
    }
    Ok(groups)
}

/// Either each length has a weight, or each range between two neighbours.
fn lengths(range: &[f64], weights: &[f64]) -> Result<Vec<Class>, String> {
    let classes: Vec<_> = if range.len() == weights.len() + 1 {
        range.windows(2).map(|ends| (ends[0], ends[1])).zip(weights).collect()
    } else if range.len() == weights.len() {
        range.iter().map(|&length| (length, length)).zip(weights).collect()
    } else {
        return Err("valSizeRange and valSizeRangeProbability don't belong together".to_owned());
    };
    let classes: Vec<_> = classes
        .into_iter()
        .filter(|(_, weight)| **weight > 0.0)
        .map(|((min, max), weight)| (min as u32, max as u32, *weight))
        .collect();
    match classes.iter().map(|(_, max, _)| *max).max() {
        None => Err("no length of values has a weight".to_owned()),
        Some(longest) if longest > VALUE_BYTES_MAX => {
            Err(format!("values of {longest} bytes, more than {VALUE_BYTES_MAX}"))
        }
        Some(_) => Ok(classes),
    }
}
