//! Every requirement in `docs/conformance.md` names what keeps it, and what it names is there.

use super::markdown::{is_test, quoted, read, rows};

/// Requirements that the document had when this was written; fewer are a fault of the reader.
const REQUIREMENTS_MIN: usize = 60;

#[test]
fn every_requirement_names_what_keeps_it() {
    let framing = read("tests/framing/rows.rs");
    let document = read("docs/conformance.md");
    let requirements = rows(&document);
    assert!(requirements.len() >= REQUIREMENTS_MIN, "only {} were read", requirements.len());
    for row in requirements {
        let [section, requirement, kept_by] = &row[..] else { panic!("not three cells: {row:?}") };
        let requirement = format!("{section} {requirement}");
        assert!(section.starts_with(|c: char| c.is_ascii_digit()), "{requirement}: no section");
        let tests = quoted(kept_by, '`');
        for test in &tests {
            assert!(is_test(test), "{requirement}: there is no test {test}");
        }
        let names: Vec<&str> = kept_by
            .split("row ")
            .skip(1)
            .filter_map(|rest| quoted(rest, '"').first().copied())
            .collect();
        for name in &names {
            let is_there = framing.contains(&format!("\"{name}\""));
            assert!(is_there, "{requirement}: there is no row {name:?}");
        }
        let explained = ["*not applicable*", "*open*"]
            .iter()
            .any(|word| kept_by.split_once(word).is_some_and(|(_, reason)| reason.len() > 20));
        let is_kept = !tests.is_empty() || !names.is_empty() || explained;
        assert!(is_kept, "{requirement}: nothing keeps it");
    }
}
