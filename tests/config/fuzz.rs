//! Hostile texts and overrides: each is taken or refused, without a panic and without taking all memory.
//!
//! `MODELCONVERTER_FUZZ=1000000 cargo test --test config fuzz` runs that many executions of each; what was ever found
//! stands in `tests/data/config/corpus`.

use std::fs;
use std::path::Path;

use modelconverter::config::schema::schema;
use modelconverter::config::{Override, literal, merge, read, resolve, yaml};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::{PLAIN, cases, facts};

/// How many executions of each property.
fn executions() -> ProptestConfig {
    let cases = std::env::var("MODELCONVERTER_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Every text that is known to be interesting.
fn corpus() -> Vec<String> {
    let mut texts: Vec<String> =
        ["valid", "invalid"].into_iter().flat_map(|folder| cases(folder, "error")).map(|case| case.yaml).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config/corpus");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    texts.extend(paths.iter().map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()));
    texts
}

/// Everything that is done with a text that people give.
fn run(text: &str, words: &[String]) {
    let facts = facts(PLAIN);
    let Ok(overrides) = Override::pairs(words) else { return };
    let Ok(tree) = yaml::parse(text, "f.yaml").and_then(|tree| merge::merge(tree, &overrides)) else { return };
    let _ = read::encodings(&tree);
    let Ok(reading) = read::read(&tree) else { return };
    let Ok(resolution) = resolve::resolve(&reading.config, &|_| Some(facts.clone())) else { return };
    let written = resolution.config.to_yaml();
    let again = yaml::parse(&written, "written.yaml").and_then(|tree| read::read(&tree));
    let again = again.unwrap_or_else(|problems| panic!("{problems}\n{text}\n{words:?}\n{written}"));
    let again = resolve::resolve(&again.config, &|_| Some(facts.clone()));
    let again = again.unwrap_or_else(|problems| panic!("{problems}\n{text}\n{words:?}\n{written}"));
    assert_eq!(again.config.to_yaml(), written, "{text}\n{words:?}");
}

/// Words of the schema and of YAML.
fn token() -> BoxedStrategy<String> {
    let mut words: Vec<String> = vec![
        ": ",
        "- ",
        "\n",
        "  ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "'",
        "\"",
        "|",
        ">",
        "&a ",
        "*a",
        "!!str ",
        "? ",
        "#",
        "%",
        "---\n",
        "...\n",
        "<<: *a",
        "null",
        "~",
        "true",
        "0",
        "-1",
        "1e400",
        ".nan",
        "99999999999999999999",
        "0x1f",
        "random",
        "imagenet",
        "RGB",
        "GRAY",
        "NONE",
        "NCHW",
        "m.xml",
        "m.onnx",
        "a.b",
        "..",
        "/",
        "\t",
        "\r",
        "\u{0}",
        "\u{feff}",
        "🦀",
        "é",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    fn names(schema: &serde_json::Value, words: &mut Vec<String>) {
        match schema {
            serde_json::Value::Object(entries) => {
                if let Some(serde_json::Value::Object(keys)) = entries.get("properties") {
                    words.extend(keys.keys().cloned());
                }
                entries.values().for_each(|value| names(value, words));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| names(item, words)),
            serde_json::Value::String(word) if word.len() < 40 => words.push(word.clone()),
            _ => {}
        }
    }
    names(&schema(), &mut words);
    words.sort();
    words.dedup();
    prop_oneof![8 => select(words), 1 => "\\PC{0,4}", 1 => "[ -~]{0,8}"].boxed()
}

/// A text of the corpus with some places changed.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (any::<Index>(), 0..12_usize, prop_oneof![3 => token().prop_map(Some), 1 => Just(None)], any::<Index>());
    (select(corpus()), prop::collection::vec(edit, 0..6)).prop_map(|(text, edits)| {
        let mut letters: Vec<char> = text.chars().collect();
        for (place, removed, inserted, other) in edits {
            let start = place.index(letters.len() + 1);
            let end = (start + removed).min(letters.len());
            // A token, or a piece of the text itself once more.
            let inserted: Vec<char> = match inserted {
                Some(token) => token.chars().collect(),
                None => letters.iter().skip(other.index(letters.len() + 1)).take(removed * 4).copied().collect(),
            };
            letters.splice(start..end, inserted);
        }
        letters.into_iter().collect()
    })
}

/// A key as people address it, or nearly.
fn key() -> impl Strategy<Value = String> {
    let segment = prop_oneof![6 => token(), 1 => "[0-9]{1,3}", 1 => Just("+".to_owned()), 1 => Just(String::new())];
    prop::collection::vec(segment, 1..5).prop_map(|segments| segments.join("."))
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![token(), prop::collection::vec(token(), 0..8).prop_map(|tokens| tokens.concat()), "\\PC{0,20}"]
}

proptest! {
    #![proptest_config(executions())]

    #[test]
    fn texts_are_taken_or_refused(text in mutated()) {
        run(&text, &[]);
    }

    #[test]
    fn overrides_are_taken_or_refused(
        text in prop_oneof![Just("input_model: m.onnx\n".to_owned()), select(corpus())],
        pairs in prop::collection::vec((key(), value()), 0..4),
    ) {
        let words: Vec<String> = pairs.into_iter().flat_map(|(key, value)| [key, value]).collect();
        run(&text, &words);
    }

    #[test]
    fn values_are_read(text in value()) {
        let _ = literal::value(&text, "key").to_json();
    }
}

#[test]
fn what_was_found_once_stays_right() {
    for text in corpus() {
        run(&text, &[]);
    }
}
