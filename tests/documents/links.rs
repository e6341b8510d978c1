//! Links between documents lead somewhere, anchors included, and files that they name exist.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::markdown::{files, quoted, read, root};

/// Folders whose files documents name in code, from the root.
const FOLDERS: [&str; 11] = [
    ".ci/",
    "benches/",
    "corekv-bench/",
    "docs/",
    "examples/",
    "fuzz/",
    "measure/",
    "packaging/",
    "src/",
    "testkit/",
    "tests/",
];

fn documents() -> Vec<PathBuf> {
    let mut documents = files("docs", "md");
    let own = std::fs::read_dir(root()).expect("the root").flatten().map(|entry| entry.file_name());
    documents.extend(own.map(PathBuf::from).filter(|path| path.extension() == Some("md".as_ref())));
    documents
}

/// A text without its blocks of code.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// A text without its code.
fn without_code(text: &str) -> String {
    prose(text).split('`').step_by(2).collect()
}

/// The targets of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let text = without_code(text);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The anchors that GitHub makes of a document's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let headings = prose(text);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            let times = seen.entry(anchor.clone()).or_default();
            *times += 1;
            if *times > 1 { format!("{anchor}-{}", *times - 1) } else { anchor }
        })
        .collect()
}

/// What is wrong with a link of a document, if anything.
fn fault(document: &Path, link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with("http://") {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, a)| (path, Some(a)));
    let target = match path {
        "" => document.to_owned(),
        _ => document.parent().expect("a folder").join(path),
    };
    if !root().join(&target).exists() {
        return Some(format!("{}: {link} leads nowhere", document.display()));
    }
    let anchor = anchor?;
    let is_there = anchors(&read(target)).contains(anchor);
    (!is_there).then(|| format!("{}: {link} names no heading", document.display()))
}

#[test]
fn links_between_documents_lead_somewhere() {
    let documents = documents();
    assert!(documents.len() > 15, "only {documents:?}");
    let found = documents.iter().flat_map(|document| {
        let links = links(&read(document));
        links.into_iter().filter_map(|link| fault(document, &link)).collect::<Vec<_>>()
    });
    let faults: Vec<String> = found.collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_that_documents_name_exist() {
    // Experiments are as they were when they were made.
    let documents = documents().into_iter().filter(|path| !path.starts_with("docs/experiments"));
    let mut faults = Vec::new();
    for document in documents {
        let text = prose(&read(&document));
        for code in quoted(&text, '`') {
            let path = code.split([' ', ':', ',']).next().expect("one part");
            let is_path = FOLDERS.iter().any(|folder| path.starts_with(folder));
            if is_path && !path.contains('*') && !root().join(path).exists() {
                faults.push(format!("{}: there is no {path}", document.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_experiment_is_in_the_index() {
    let index = links(&read("docs/experiments/README.md"));
    for page in files("docs/experiments", "md") {
        let name = page.file_name().expect("a name").to_str().expect("text");
        let is_listed = name == "README.md" || index.iter().any(|link| link == name);
        assert!(is_listed, "{name} is not in the index");
    }
}

#[test]
fn dead_links_are_noticed() {
    let document = Path::new("docs/design.md");
    let dead = |link: &str| fault(document, link).is_some();
    assert!(dead("nowhere.md") && dead("../nowhere.md") && dead("storage.md#nothing-of-that-name"));
    assert!(!dead("storage.md#invariants") && !dead("../README.md") && !dead("https://a.example"));
    let text = "# A `b`, c\n\n[one](x.md) `[two](y.md)`\n```\n# no [three](z.md)\n```\n## A b, c\n";
    assert_eq!(links(text), ["x.md"]);
    assert_eq!(anchors(text), BTreeSet::from(["a-b-c".to_owned(), "a-b-c-1".to_owned()]));
}
