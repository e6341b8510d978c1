//! Workload files of CacheBench, CacheLib's benchmark (Berg et al., The CacheLib Caching Engine, OSDI
//! 2020): `cachelib/cachebench/test_configs` of github.com/facebook/CacheLib.
//!
//! Of `test_config` (where there are pools, of the first one in `poolDistributions`) these members
//! count: `numKeys`, `getRatio`, `setRatio`, `delRatio`, `loneGetRatio`, `loneSetRatio`,
//! `enableLookaside`, `valSizeRange` with `valSizeRangeProbability`, `popularityBuckets` with
//! `popularityWeights`, and the files that `valSizeDistFile` and `popDistFile` name, which lie beside
//! this one. A lone get or set is one of a key that comes once: the first is a plain GET here, the
//! second an insert. Chained items, the lengths of keys and CacheBench's own delays are left out.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::distribution::{Distribution, Group};
use super::mix::{Mix, Operation};
use super::preset::Preset;
use super::values::{VALUE_BYTES_MAX, Values};
use super::workload::Method;

/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Reads a workload.
pub(super) fn read(path: &Path) -> Result<Preset, String> {
    let document = parse(path)?;
    let config = &document["test_config"];
    let pool = &config["poolDistributions"][0];
    let member = |name: &str| if pool[name].is_null() { &config[name] } else { &pool[name] };
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
    let weights = [
        (Operation::Send(Method::Get), ratio("getRatio") + ratio("loneGetRatio")),
        (Operation::Send(Method::Put), ratio("setRatio")),
        (Operation::Send(Method::Delete), ratio("delRatio")),
        (Operation::Insert, ratio("loneSetRatio")),
    ];
    if weights.iter().all(|(_, weight)| *weight == 0.0) {
        return Err(format!("{}: no ratio of operations in a test_config", path.display()));
    }
    let has_popularity = popularity.is_some() || !member("popularityBuckets").is_null();
    Ok(Preset {
        keys: config["numKeys"].as_u64(),
        mix: Some(Mix::of(&weights)),
        distribution: if has_popularity {
            let buckets = list(&popularity, "popularityBuckets")?;
            groups(&buckets, &list(&popularity, "popularityWeights")?)?
        } else {
            Distribution::Uniform
        },
        values: Some(lengths(
            &list(&sizes, "valSizeRange")?,
            &list(&sizes, "valSizeRangeProbability")?,
        )?),
        read_through: config["enableLookaside"] == true,
    })
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
fn groups(buckets: &[f64], weights: &[f64]) -> Result<Distribution, String> {
    if buckets.len() != weights.len() || weights.iter().sum::<f64>() <= 0.0 {
        return Err("popularityBuckets and popularityWeights don't belong together".to_owned());
    }
    let groups = buckets.iter().zip(weights).filter(|(keys, draws)| **keys > 0.0 && **draws > 0.0);
    let groups: Vec<_> = groups.map(|(&keys, &draws)| Group { keys, draws }).collect();
    if groups.is_empty() {
        return Err("no bucket has keys and a weight".to_owned());
    }
    Ok(Distribution::Groups(groups.leak()))
}

/// Either each length has a weight, or each range between two neighbours.
fn lengths(range: &[f64], weights: &[f64]) -> Result<Values, String> {
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
        Some(_) => Ok(Values::classes(&classes)),
    }
}
