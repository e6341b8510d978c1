//! The numbers in `docs/SPECIFICATION.md` are those of the program, and the tests that it names are
//! there.

use std::collections::BTreeMap;
use std::process::Command;

use super::markdown::{files, is_test, quoted, read, rows};

/// Options that have no limit, and so no row.
const WITHOUT_LIMIT: [&str; 22] = [
    "--config",
    "--listen",
    "--admin",
    "--unix-mode",
    "--auth-file",
    "--host",
    "--cores",
    "--no-pin",
    "--busy-poll",
    "--miss-status",
    "--store-status",
    "--keep-fields",
    "--turborepo",
    "--access-log",
    "--etag",
    "--cache-headers",
    "--cas-prefix",
    "--namespace",
    "--no-date",
    "--snapshot",
    "--snapshot-required",
    "--log-level",
];

/// The rows of the table below a heading.
fn table(heading: &str) -> Vec<Vec<String>> {
    let document = read("docs/SPECIFICATION.md");
    let section = document.split("\n## ").find(|section| section.starts_with(heading));
    rows(section.unwrap_or_else(|| panic!("no section {heading}")))
}

/// What `corekv --help` says of each option, on one line.
fn help() -> BTreeMap<String, String> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_corekv")).arg("--help").output().expect("it runs");
    let help = String::from_utf8(output.stdout).expect("text");
    let options = help.split("\n      --").skip(1).map(|text| {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (name, said) = words.split_once(' ').expect("a name and a text");
        (format!("--{name}"), said.to_owned())
    });
    options.collect()
}

/// The default that a help text names last, but for what the environment has.
fn default_of(said: &str) -> Option<&str> {
    Some(said.split_once("[default: ")?.1.split_once(']')?.0)
}

/// A number with its unit, in bytes, milliseconds, or as it is.
fn number(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_once(' ').unwrap_or((text, ""));
    let factor = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "ms" => 1,
        "s" => 1000,
        _ => return None,
    };
    Some(digits.parse::<u64>().ok()? * factor)
}

/// The value of a constant's expression, as far as limits use any, in the same units.
fn evaluate(expression: &str) -> Option<u64> {
    let plain = |text: &str| text.trim().replace('_', "").parse::<u64>().ok();
    if let Some(time) = expression.strip_prefix("Duration::from_") {
        let (unit, rest) = time.split_once('(')?;
        let factor = match unit {
            "secs" => 1000,
            "millis" => 1,
            _ => return None,
        };
        return Some(plain(rest.strip_suffix(')')?)? * factor);
    }
    match expression.split_once("<<") {
        Some((left, right)) => Some(plain(left)? << plain(right)?),
        None => plain(expression),
    }
}

/// The values of all constants of that name in `src`.
fn constants(name: &str) -> Vec<u64> {
    let sources: Vec<String> = files("src", "rs").iter().map(read).collect();
    let start = format!("const {name}: ");
    let definitions = sources.iter().flat_map(|source| source.split(&start).skip(1));
    let expressions =
        definitions.filter_map(|rest| Some(rest.split_once(';')?.0.split_once("= ")?.1));
    expressions.filter_map(evaluate).collect()
}

#[test]
fn every_promise_names_the_test_that_holds_it() {
    for row in rows(&read("docs/SPECIFICATION.md")) {
        let (promise, held_by) = (&row[0], row.last().expect("a cell"));
        let tests = if held_by.starts_with("*no test*") { vec![] } else { quoted(held_by, '`') };
        for test in &tests {
            assert!(is_test(test), "{promise}: there is no test {test}");
        }
        let is_marked = held_by.starts_with("*no test*") || held_by == "the same";
        assert!(
            is_marked || !tests.is_empty(),
            "{promise}: nothing holds it, and it does not say so"
        );
    }
}

#[test]
fn options_have_the_defaults_and_ranges_that_are_specified() {
    let help = help();
    let rows = table("Options with a limit");
    for row in &rows {
        let [option, default, range, _] = &row[..] else { panic!("not four cells: {row:?}") };
        let option = option.trim_matches('`');
        let said = help.get(option).unwrap_or_else(|| panic!("{option} is not an option"));
        let shown = default_of(said).unwrap_or_else(|| panic!("{option} has no default: {said}"));
        let defaults = quoted(default, '`');
        assert!(shown.starts_with(defaults[0]), "{option}: {shown} is not {default}");
        for part in defaults {
            assert!(shown.contains(part), "{option}: {shown} is not {default}");
        }
        for part in quoted(range, '`') {
            assert!(said.contains(part), "{option}: the help does not name {part}: {said}");
        }
    }
    let specified = |option: &str| rows.iter().any(|row| row[0].trim_matches('`') == option);
    for option in help.keys() {
        let is_known = specified(option) || WITHOUT_LIMIT.contains(&option.as_str());
        assert!(is_known, "{option} is not specified");
    }
}

#[test]
fn fixed_limits_are_those_of_the_code() {
    let rows = table("Fixed limits");
    assert!(rows.len() > 15, "only {} limits were read", rows.len());
    for row in rows {
        let [limit, value, constant, _] = &row[..] else { panic!("not four cells: {row:?}") };
        let specified = number(value).unwrap_or_else(|| panic!("{limit}: {value} is no number"));
        let names = quoted(constant, '`');
        assert!(!names.is_empty(), "{limit}: no constant");
        for name in names {
            let found = constants(name);
            assert!(found.contains(&specified), "{limit}: {value}, but {name} is {found:?}");
        }
    }
}

#[test]
fn numbers_are_read_as_they_are_meant() {
    assert_eq!(
        ["64 KiB", "10 s", "100", "5 m"].map(number),
        [Some(65_536), Some(10_000), Some(100), None]
    );
    let expressions = ["64 << 20", "65_536", "Duration::from_secs(5)", "Duration::from_millis(1)"];
    assert_eq!(expressions.map(evaluate), [Some(64 << 20), Some(65_536), Some(5000), Some(1)]);
    assert_eq!(default_of("Life [default: none, they stay] [env: X=]"), Some("none, they stay"));
    assert!(constants("NO_SUCH_CONSTANT").is_empty() && constants("HEADERS_MAX") == [100]);
}
