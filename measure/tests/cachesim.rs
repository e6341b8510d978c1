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

/// What cachesim prints about a trace with this content.
fn cachesim(name: &str, content: &str, mode: &str, sizes: &[&str]) -> std::process::Output {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, content).unwrap();
    let program = env!("CARGO_BIN_EXE_cachesim");
    Command::new(program).arg(mode).arg(&file).args(sizes).output().unwrap()
}

fn printed(name: &str, content: &str, mode: &str, sizes: &[&str]) -> String {
    let output = cachesim(name, content, mode, sizes);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn traces_of_lirs_and_arc_are_requests_for_blocks() {
    // Twelve requests for the blocks 5 to 8. The last eight are counted, two of which are for new blocks: with
    // room for all, everybody misses these two.
    let blocks = [5, 6, 5, 5, 6, 7, 8, 5, 5, 6, 7, 8];
    let lines = blocks.map(|block| format!("{block}\n")).concat();
    let arc = "5 2 0 1\n5 1 0 2\n5 4 0 3\n5 1 9 4\n5 3 7 5\n8 1 0 6\n".to_owned();
    for (mode, content) in
        [("keys", lines.clone()), ("lirs", format!("{lines}*\n99\n")), ("arc", arc)]
    {
        let text = printed(&format!("cachesim-as-{mode}"), &content, mode, &["1000"]);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("12 requests, 4 keys; miss ratios"), "{mode}");
        let row: Vec<_> = lines.nth(1).unwrap().split_ascii_whitespace().collect();
        assert_eq!(row[0], "4", "{mode}: {text}");
        assert_eq!(row[1..], ["0.2500"; 6], "{mode}: {text}");
    }
}

#[test]
fn requests_of_arc_can_be_values_of_their_blocks() {
    let text = printed("cachesim-extents", "5 2 0 1\n5 1 0 2\n5 2 0 3\n", "extents", &["8"]);
    // Two blocks are another value than the first of them.
    assert_eq!(text.lines().next(), Some("3 requests, 2 keys, 1536 bytes"));
    let rows: Vec<_> = text.lines().skip(2).collect();
    assert!(rows.len() == 2 && rows[0].contains("objects") && rows[1].contains("bytes"), "{text}");
}

#[test]
fn what_is_no_trace_is_refused_by_its_line() {
    for (name, mode, content, line) in [
        ("lirs", "lirs", "1\ntwo\n", "line 2"),
        ("arc", "arc", "1 2 0 1\n1\n", "line 2"),
        ("none", "arc", "1 0 0 1\n", "line 1"),
        ("long", "extents", "1 1000000 0 1\n", "line 1"),
        ("end", "arc", "18446744073709551615 2 0 1\n", "line 1"),
    ] {
        let output = cachesim(&format!("cachesim-wrong-{name}"), content, mode, &["100"]);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && complaint.contains(line), "{name}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
    }
}
