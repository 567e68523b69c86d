//! What keeps the references honest: they are compared with the code, and the descriptions in the code with what the sources use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::config::DOCUMENTS;
use super::metrics::{Described, Kind, SOURCES};
use super::{Fault, check, write};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn described() -> BTreeMap<String, Described> {
    SOURCES.iter().flat_map(|source| source.metrics()).collect()
}

/// Every file in `docs/` that is made from the code is what the code makes of it now.
#[test]
fn the_files_are_what_the_code_says() {
    check(&root()).unwrap_or_else(|fault| panic!("{fault}"));
}

/// A file that differs by a letter, or is missing, is found; writing mends it.
#[test]
fn a_stale_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(check(folder.path()), Err(Fault::Stale(path)) if path.ends_with("docs/metrics.md")));
    write(folder.path()).unwrap();
    check(folder.path()).unwrap();
    let schema = folder.path().join("docs/schema/agent.json");
    let text = std::fs::read_to_string(&schema).unwrap();
    std::fs::write(&schema, text.replacen("probes", "probe", 1)).unwrap();
    assert!(matches!(check(folder.path()), Err(Fault::Stale(path)) if path == schema));
}

/// What a process may count is described, and what is described is counted somewhere.
#[test]
fn the_sources_and_the_descriptions_name_the_same_metrics() {
    let used: BTreeSet<String> = sources().iter().flat_map(|text| names(text)).collect();
    let described: BTreeSet<String> = described().into_keys().filter(|name| name.starts_with("tributary_")).collect();
    let undescribed: Vec<_> = used.difference(&described).collect();
    let unused: Vec<_> = described.difference(&used).collect();
    assert!(used.len() > 40, "the search finds what there is: {}", used.len());
    assert!(undescribed.is_empty(), "used without a describe_counter!, describe_gauge! or describe_histogram!: {undescribed:?}");
    assert!(unused.is_empty(), "described and never counted: {unused:?}");
}

/// A reader learns every label from the meaning.
#[test]
fn meanings_name_the_labels() {
    let described = described();
    let mut labelled = 0;
    for text in sources() {
        for (name, labels) in uses(&text) {
            let meaning = &described[&name].meaning;
            for label in labels {
                labelled += 1;
                assert!(meaning.contains(&label), "{name}: the meaning does not name the label `{label}`: {meaning:?}");
            }
        }
    }
    assert!(labelled > 20, "the search finds what there is: {labelled}");
}

/// `tributary_<part>_<what>_<unit>`, counters and only they with `_total` at the end.
#[test]
fn names_follow_the_rule() {
    for (name, described) in described() {
        let part = name.split('_').nth(1).unwrap_or_default();
        let ours = name.starts_with("tributary_") && ["agent", "edge", "router", "service"].contains(&part);
        assert!(ours || name.starts_with("process_"), "{name}: expected tributary_<part>_<what>_<unit>");
        assert_eq!(name.ends_with("_total"), described.kind == Kind::Counter, "{name}: counters end in _total");
        let unit = described.unit.map_or("", |unit| unit.as_str());
        if matches!(unit, "bytes" | "seconds") {
            assert!(name.trim_end_matches("_total").ends_with(unit), "{name}: the unit comes last");
        }
        assert!(!described.meaning.is_empty(), "{name} is described by nothing");
    }
}

/// No key of a configuration is without a comment, and none is listed twice.
#[test]
fn every_key_says_what_it_means() {
    for document in DOCUMENTS {
        let keys = document.keys();
        assert!(keys.len() > 1, "{}", document.path);
        let mut seen = BTreeSet::new();
        for key in &keys {
            assert!(!key.meaning.trim().is_empty(), "{}: {} has no doc comment", document.path, key.path);
            assert!(seen.insert(&key.path), "{}: {} stands twice", document.path, key.path);
        }
    }
}

/// What the processes are made of, without tests.
fn sources() -> Vec<String> {
    let crates = ["agent", "central-router", "edge-gateway", "federation-proto", "query", "segment-log", "service"];
    let mut texts = Vec::new();
    let mut folders: Vec<PathBuf> = crates.iter().map(|name| root().join(name).join("src")).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
                texts.push(without_descriptions(&text[..end]));
            }
        }
    }
    texts
}

/// The text without the `describe_…!(…)` in it.
fn without_descriptions(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("describe_") {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let call = after.find("!(").filter(|open| after[..*open].bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()));
        let len = call.map_or("describe_".len(), |open| open + 1 + within_parentheses(&after[open + 1..]).len());
        rest = &after[len..];
    }
    out + rest
}

/// From the parenthesis at the start to the one that closes it. Parentheses within strings count too; they are balanced in ours.
fn within_parentheses(text: &str) -> &str {
    let mut depth = 0;
    let end = text.char_indices().find(|(_, letter)| {
        depth += i32::from(*letter == '(') - i32::from(*letter == ')');
        depth == 0
    });
    end.map_or(text, |(end, _)| &text[..=end])
}

/// String literals that are names of metrics.
fn names(text: &str) -> BTreeSet<String> {
    let literals = text.split("\"tributary_").skip(1).filter_map(|rest| rest.split_once('"'));
    let names = literals.map(|(name, _)| name).filter(|name| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()));
    names.map(|name| format!("tributary_{name}")).collect()
}

/// Metrics and labels of each use whose name is a literal, or a constant of the same file.
fn uses(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for call in ["counter!(", "gauge!(", "histogram!("] {
        for (at, _) in text.match_indices(call) {
            let arguments = within_parentheses(&text[at + call.len() - 1..]);
            let first = arguments[1..].split([',', ')']).next().unwrap_or_default().trim();
            let name = first.strip_prefix('"').map(|name| name.trim_end_matches('"')).or_else(|| constant(text, first));
            let labels = arguments.split("=>").filter_map(|before| before.trim_end().strip_suffix('"')?.rsplit_once('"'));
            let labels = labels.map(|(_, label)| label.to_owned()).collect();
            found.extend(name.map(|name| (name.to_owned(), labels)));
        }
    }
    found
}

fn constant<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split_once(&format!("const {name}: &str = \""))?.1.split('"').next()
}
