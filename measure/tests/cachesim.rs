//! The textbook policies that the store's miss ratios are held against, beside another implementation.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use testkit::{Numbers, Zipf};

/// Prints the miss ratios of LRU, FIFO, SIEVE, S3-FIFO and GDSF for a file of keys and numbers of
/// entries; the first third of the requests is not counted.
const LIBCACHESIM: &str = "
import sys
import libcachesim
numbers = {}
keys = [numbers.setdefault(line, len(numbers)) for line in open(sys.argv[1])]
warm_up = len(keys) // 3
names = ['LRU', 'FIFO', 'Sieve', 'S3FIFO', 'GDSF']
for entries in map(int, sys.argv[2:]):
    for name in names:
        cache = getattr(libcachesim, name)(entries)
        request = libcachesim.Request()
        request.obj_size = 1
        missed = 0
        for at, key in enumerate(keys):
            request.obj_id = key
            missed += (not cache.get(request)) and at >= warm_up
        print(missed / (len(keys) - warm_up))
";

/// How far the ratios may be apart. The first three leave nothing to choose; S3-FIFO's ghosts and
/// GDSF's order among equals are up to each implementation.
const APART_MAX: [(&str, f64); 5] =
    [("LRU", 1e-4), ("FIFO", 1e-4), ("SIEVE", 1e-4), ("S3-FIFO", 0.006), ("GDSF", 0.006)];

#[test]
#[ignore = "needs the Python package libcachesim, which .ci/install brings"]
fn the_textbook_policies_miss_as_libcachesim_says() {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../peers/python/bin/python3");
    let (zipf, mut random) = (Zipf::new(20_000, 0.9), Numbers::new(5));
    let mut keys = String::new();
    for _ in 0..100_000 {
        writeln!(keys, "key-{}", zipf.rank(&mut random)).unwrap();
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cachesim-keys");
    std::fs::write(&file, keys).unwrap();

    let output = Command::new(env!("CARGO_BIN_EXE_cachesim"))
        .arg("keys")
        .arg(&file)
        .args(["500", "2000", "6000"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> =
        table.lines().skip(2).map(|line| line.split_ascii_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3, "{table}");

    let entries = rows.iter().map(|row| row[0]);
    let output =
        Command::new(python).args(["-c", LIBCACHESIM]).arg(&file).args(entries).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let ratios = String::from_utf8(output.stdout).unwrap();
    let mut ratios = ratios.lines().map(|line| line.parse::<f64>().unwrap());
    for row in &rows {
        for ((name, apart_max), ours) in APART_MAX.iter().zip(&row[2..]) {
            let (ours, theirs) = (ours.parse::<f64>().unwrap(), ratios.next().unwrap());
            assert!((ours - theirs).abs() <= *apart_max, "{name}: {ours}, {theirs} in {table}");
        }
    }
    assert_eq!(ratios.next(), None);
}
