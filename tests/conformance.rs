//! Every requirement in `docs/conformance.md` names what keeps it, and what it names is there.

use std::fs;
use std::path::{Path, PathBuf};

/// Tables of the document have so many columns: section, requirement, kept by.
const COLUMNS: usize = 3;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The requirement and what keeps it, of every row whose section is a number.
fn requirements(document: &str) -> Vec<(String, String)> {
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(str::to_owned).collect();
    document
        .lines()
        .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
        .map(|line| {
            let cells: Vec<String> = cells(line);
            assert_eq!(cells.len(), COLUMNS, "{line}");
            (format!("{} {}", cells[0].trim(), cells[1].trim()), cells[2].trim().to_owned())
        })
        .collect()
}

/// What stands between pairs of `mark` in a text.
fn quoted(text: &str, mark: char) -> Vec<&str> {
    text.split(mark).skip(1).step_by(2).collect()
}

/// Whether `tests/` has a function of that name in that file.
fn is_test(name: &str) -> bool {
    let Some((file, test)) = name.split_once("::") else { return false };
    let path = root().join("tests").join(file).with_extension("rs");
    path.is_file() && read(&path).contains(&format!("fn {test}()"))
}

#[test]
fn every_requirement_names_what_keeps_it() {
    let rows = read(&root().join("tests/framing/rows.rs"));
    let requirements = requirements(&read(&root().join("docs/conformance.md")));
    assert!(requirements.len() > 60, "only {} requirements were read", requirements.len());
    for (requirement, kept_by) in requirements {
        let tests = quoted(&kept_by, '`');
        let names: Vec<&str> = kept_by
            .split("row ")
            .skip(1)
            .filter_map(|rest| quoted(rest, '"').first().copied())
            .collect();
        for test in &tests {
            assert!(is_test(test), "{requirement}: there is no test {test}");
        }
        for name in &names {
            assert!(
                rows.contains(&format!("\"{name}\"")),
                "{requirement}: there is no row {name:?}"
            );
        }
        let explained = ["*not applicable*", "*open*"]
            .iter()
            .any(|word| kept_by.split_once(word).is_some_and(|(_, reason)| reason.len() > 20));
        let is_kept = !tests.is_empty() || !names.is_empty() || explained;
        assert!(is_kept, "{requirement}: nothing keeps it");
    }
}

#[test]
fn a_name_that_is_not_there_is_noticed() {
    assert!(is_test("pipeline::a_pipeline_of_ten"));
    assert!(!is_test("pipeline::a_pipeline_of_eleven") && !is_test("nowhere::a_pipeline_of_ten"));
    let text =
        "| section | requirement | kept by |\n|---|---|---|\n| 1.2 | A rule. | row \"x\" |\n";
    assert_eq!(requirements(text), [("1.2 A rule.".to_owned(), "row \"x\"".to_owned())]);
}
