//! YCSB's core workloads: Cooper et al., Benchmarking Cloud Serving Systems with YCSB, SoCC 2010, and the
//! files `workloads/workload[a-f]` of github.com/brianfrankcooper/YCSB: records of ten fields of 100 bytes,
//! Zipf's law with the constant 0.99, scans of 1 to 100 records. An update writes the whole record here,
//! since a value has no fields.

use super::distribution::Distribution;
use super::method::Method;
use super::mix::{Mix, Operation};
use super::preset::Preset;
use super::values::Values;

/// The constant of Zipf's law.
const THETA: f64 = 0.99;

/// The length of a record.
const VALUE_BYTES: u32 = 1000;

const GET: Operation = Operation::Send(Method::Get);
const PUT: Operation = Operation::Send(Method::Put);

/// The workload of a letter, a to f.
pub(super) fn workload(letter: &str) -> Option<Preset> {
    let zipf = Distribution::Zipf(THETA);
    let (mix, distribution): (&[(Operation, f64)], _) = match letter {
        "a" => (&[(GET, 0.5), (PUT, 0.5)], zipf),
        "b" => (&[(GET, 0.95), (PUT, 0.05)], zipf),
        "c" => (&[(GET, 1.0)], zipf),
        "d" => (&[(GET, 0.95), (Operation::Insert, 0.05)], Distribution::Latest(THETA)),
        "e" => (&[(Operation::Scan, 0.95), (Operation::Insert, 0.05)], zipf),
        "f" => (&[(GET, 0.5), (Operation::ReadModifyWrite, 0.5)], zipf),
        _ => return None,
    };
    let values = Values::Bytes { min: VALUE_BYTES, max: VALUE_BYTES };
    Some(Preset { mix: Some(Mix::of(mix)), distribution, values: Some(values), ..Preset::NEUTRAL })
}
