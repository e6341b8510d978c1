//! Twitter's clusters: Yang, Yue and Rashmi, A Large Scale Analysis of Hundreds of In-memory Cache Clusters
//! at Twitter, OSDI 2020, and `stat/2020Mar.md` of github.com/twitter/cache-trace: operations, mean length
//! of values and Zipf's alpha of a cluster over a week. Lengths are published as means alone.

use super::distribution::Distribution;
use super::method::Method;
use super::mix::{Mix, Operation};
use super::preset::Preset;
use super::values::Values;

/// The workload of a cluster.
pub(super) fn workload(number: &str) -> Result<Preset, String> {
    let cluster = number
        .parse()
        .ok()
        .and_then(|number: u32| CLUSTERS.iter().find(|cluster| cluster.number == number));
    let cluster = cluster.ok_or_else(|| {
        format!(
            "nothing is published of Twitter's cluster '{number}'; there are 1 to 54 but 5, 43, 46"
        )
    })?;
    let Cluster { get, put, delete, value_bytes, alpha, .. } = *cluster;
    Ok(Preset {
        mix: Some(Mix::of(&[
            (Operation::Send(Method::Get), get),
            (Operation::Send(Method::Put), put),
            (Operation::Send(Method::Delete), delete),
        ])),
        distribution: if alpha > 0.0 { Distribution::Zipf(alpha) } else { Distribution::Uniform },
        values: Some(Values::Bytes { min: value_bytes, max: value_bytes }),
        ..Preset::NEUTRAL
    })
}

/// What is published of a cluster.
struct Cluster {
    number: u32,
    /// Percent of the operations: get and gets.
    get: f64,
    /// All that write: set, add, cas, replace, prepend, incr. Where less than all operations are
    /// published, the rest, at most 1 %.
    put: f64,
    delete: f64,
    /// The mean.
    value_bytes: u32,
    alpha: f64,
}

const fn cluster(number: u32, get: f64, put: f64, value_bytes: u32, alpha: f64) -> Cluster {
    Cluster { number, get, put, delete: 0.0, value_bytes, alpha }
}

/// `stat/2020Mar.md`. Of clusters 5, 43 and 46 a figure is missing.
#[rustfmt::skip]
const CLUSTERS: [Cluster; 51] = [
    cluster(1, 99.0, 1.0, 267, 2.6774),
    cluster(2, 100.0, 0.0, 68, 1.4908),
    cluster(3, 99.0, 1.0, 120, 1.6414),
    cluster(4, 93.0, 7.0, 2439, 1.1004),
    cluster(6, 98.0, 2.0, 252, 1.882),
    cluster(7, 82.0, 18.0, 1936, 1.0666),
    cluster(8, 50.0, 50.0, 9497, 1.7366),
    cluster(9, 99.0, 1.0, 39, 1.6796),
    cluster(10, 50.0, 50.0, 2333, 0.0),
    cluster(11, 97.0, 3.0, 170, 1.4891),
    cluster(12, 20.0, 80.0, 1030, 0.3048),
    cluster(13, 38.0, 62.0, 4266, 0.4565),
    Cluster { number: 14, get: 65.0, put: 13.0, delete: 22.0, value_bytes: 414, alpha: 1.2959 },
    cluster(15, 0.0, 100.0, 102, 0.0242),
    cluster(16, 93.0, 5.0, 115, 1.7862),
    cluster(17, 99.0, 1.0, 212, 2.1106),
    cluster(18, 97.0, 2.0, 37, 2.0994),
    cluster(19, 75.0, 25.0, 101, 0.735),
    cluster(20, 96.0, 3.0, 55, 1.3699),
    cluster(21, 0.0, 100.0, 1, 0.0521),
    cluster(22, 72.0, 28.0, 4, 0.7624),
    Cluster { number: 23, get: 36.0, put: 61.0, delete: 2.0, value_bytes: 224, alpha: 0.274 },
    cluster(24, 99.0, 1.0, 699, 1.3726),
    cluster(25, 97.0, 4.0, 28, 0.9929),
    cluster(26, 71.0, 29.0, 1745, 0.6299),
    cluster(27, 85.0, 15.0, 8, 1.065),
    cluster(28, 91.0, 6.0, 85, 1.503),
    cluster(29, 86.0, 13.0, 799, 1.2323),
    cluster(30, 99.0, 1.0, 689, 1.4259),
    cluster(31, 6.0, 94.0, 15, 0.0),
    cluster(32, 2.0, 98.0, 138, 0.0),
    cluster(33, 99.0, 1.0, 1118, 1.354),
    cluster(34, 94.0, 6.0, 322, 1.1401),
    cluster(35, 96.0, 4.0, 1796, 0.0),
    cluster(36, 94.0, 5.0, 78, 1.2169),
    cluster(37, 63.0, 37.0, 20_134, 0.4251),
    cluster(38, 6.0, 94.0, 185, 0.0),
    cluster(39, 6.0, 94.0, 80, 0.0),
    cluster(40, 50.0, 50.0, 155, 0.8551),
    cluster(41, 50.0, 50.0, 171, 0.8542),
    cluster(42, 96.0, 4.0, 4703, 1.5974),
    cluster(44, 98.0, 1.0, 22, 1.4084),
    cluster(45, 85.0, 15.0, 120, 0.6372),
    cluster(47, 100.0, 0.0, 267, 2.0637),
    cluster(48, 65.0, 35.0, 70, 0.8191),
    cluster(49, 57.0, 43.0, 10_658, 1.5095),
    cluster(50, 52.0, 48.0, 67_485, 1.2816),
    cluster(51, 90.0, 10.0, 221, 1.9745),
    cluster(52, 93.0, 6.0, 273, 1.2117),
    cluster(53, 89.0, 12.0, 9213, 1.2061),
    cluster(54, 97.0, 3.0, 246, 1.611),
];
