//! Workloads by name: what others have published, as this load generator's settings. `ycsb`, `facebook`,
//! `twitter` and `cachebench` have their sources; `hotspot` is YCSB's distribution of that name with its defaults
//! (`hotspotdatafraction` 0.2, `hotspotopnfraction` 0.8).

use std::path::Path;

use super::cachebench;
use super::distribution::Distribution;
use super::facebook;
use super::preset::Preset;
use super::twitter;
use super::ycsb;

/// Parses a name.
pub(super) fn parse(name: &str) -> Result<Preset, String> {
    if let Some(path) = name.strip_prefix("cachebench:") {
        return cachebench::read(Path::new(path));
    }
    if let Some(letter) = name.strip_prefix("ycsb-") {
        return ycsb::workload(letter).ok_or_else(|| format!("'{letter}' is none of a to f"));
    }
    if let Some(pool) = name.strip_prefix("facebook-") {
        return facebook::workload(pool)
            .ok_or_else(|| format!("'{pool}' is none of etc, usr and zippydb"));
    }
    if let Some(number) = name.strip_prefix("twitter-") {
        return twitter::workload(number);
    }
    match name {
        "hotspot" => Ok(Preset {
            distribution: Distribution::Hotspot { keys: 0.2, draws: 0.8 },
            ..Preset::NEUTRAL
        }),
        "cachebench-ram" => Ok(cachebench::ram()),
        _ => {
            Err("write ycsb-a to ycsb-f, facebook-etc, facebook-usr, facebook-zippydb, twitter-N, \
                  hotspot, cachebench-ram or cachebench:FILE"
                .to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Method;
    use crate::mix::Operation;

    const GET: Operation = Operation::Send(Method::Get);
    const PUT: Operation = Operation::Send(Method::Put);

    #[test]
    fn names_are_known() {
        let b = parse("ycsb-b").unwrap();
        assert_eq!(b.mix.unwrap().share(PUT), 0.05);
        assert_eq!(
            (b.distribution, b.values.unwrap().bounds()),
            (Distribution::Zipf(0.99), Some((1000, 1000)))
        );
        assert_eq!(parse("ycsb-d").unwrap().distribution, Distribution::Latest(0.99));
        assert_eq!(parse("ycsb-e").unwrap().mix.unwrap().share(Operation::Scan), 0.95);
        let twelve = parse("twitter-12").unwrap();
        assert_eq!(
            (twelve.mix.unwrap().share(GET), twelve.distribution),
            (0.2, Distribution::Zipf(0.3048))
        );
        assert_eq!(parse("twitter-10").unwrap().distribution, Distribution::Uniform);
        for name in [
            "",
            "ycsb-g",
            "ycsb",
            "facebook-var",
            "twitter-5",
            "twitter-99",
            "twitter-x",
            "cachebench:/nonexistent",
        ] {
            assert!(parse(name).is_err(), "{name}");
        }
    }
}
