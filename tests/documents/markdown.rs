//! Documents of this repository, and the few parts of Markdown that the tests look at.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository, by its path from the root.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files under a folder of the repository whose names end so, by their paths from the root.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(root()).expect("it is below").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The cells of each row of the tables of a text, without their heads.
pub(crate) fn rows(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_row = |at: usize| lines.get(at).is_some_and(|line| line.starts_with('|'));
    let is_rule = |at: usize| lines.get(at).is_some_and(|line| line.starts_with("|---"));
    (0..lines.len())
        .filter(|&at| is_row(at) && !is_rule(at) && !is_rule(at + 1))
        .map(|at| {
            let inner =
                lines[at].trim_end().strip_prefix('|').and_then(|row| row.strip_suffix('|'));
            let inner = inner.unwrap_or_else(|| panic!("a row without an end: {}", lines[at]));
            inner.split(" | ").map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// What stands between pairs of `mark` in a text.
pub(crate) fn quoted(text: &str, mark: char) -> Vec<&str> {
    text.split(mark).skip(1).step_by(2).collect()
}

/// Whether there is a test of that name: `file::test` of `tests/`, or `package/file::test` of a
/// package's tests.
pub(crate) fn is_test(name: &str) -> bool {
    let Some((file, test)) = name.split_once("::") else { return false };
    let packages = file.split_once('/').map(|(package, file)| format!("{package}/tests/{file}.rs"));
    let own = Some(format!("tests/{file}.rs"));
    [own, packages].into_iter().flatten().any(|path| {
        let path = root().join(path);
        path.is_file() && read(path).contains(&format!("fn {test}("))
    })
}

#[test]
fn a_name_that_is_not_there_is_noticed() {
    assert!(is_test("pipeline::a_pipeline_of_ten"));
    assert!(is_test("corekv-bench/rate::the_rate_is_kept"));
    assert!(!is_test("pipeline::a_pipeline_of_eleven") && !is_test("nowhere::a_pipeline_of_ten"));
}

#[test]
fn rows_are_those_of_tables() {
    let text =
        "A | line.\n\n| head | b |\n|---|---|\n| 1 `x` | y |\n| 2 | |\n\n| h | |\n|---|---|\n";
    assert_eq!(rows(text), [["1 `x`", "y"], ["2", ""]].map(|row| row.map(str::to_owned).to_vec()));
    assert_eq!(quoted("a `b` c `d`", '`'), ["b", "d"]);
}
