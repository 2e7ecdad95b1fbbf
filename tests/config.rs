//! Configurations in `tests/data/config`: what they resolve to, or everything that is wrong with them.
//!
//! A case is `NAME.yaml`, with `NAME.overrides` (one word a line) and `NAME.model` (one tensor a line: role, name, type,
//! dimensions) where it needs them. Beside a valid one stands `NAME.resolved`, beside an invalid one `NAME.error`.
//! `MODELCONVERTER_BLESS=1 cargo test --test config` writes these two anew; look at the difference before committing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "config/fuzz.rs"]
mod fuzz;
#[path = "config/keys.rs"]
mod keys;
#[path = "support/onnx_builder.rs"]
mod onnx_builder;
#[path = "config/overrides.rs"]
mod overrides;
#[path = "config/random.rs"]
mod random;
#[path = "config/resolve.rs"]
mod resolving;
#[path = "config/schema.rs"]
mod schema;
mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use modelconverter::config::{
    ConversionConfig, DataType, Dimension, ModelFacts, Note, Override, Problems, TensorFacts, merge, read, resolve,
    yaml,
};
use modelconverter::hint::Hint;
use proptest::prelude::*;

/// Resolves a configuration of the plain model.
fn try_resolved(yaml: &str, words: &[String]) -> Result<Outcome, Problems> {
    let case = Case {
        name: "f".to_owned(),
        yaml: yaml.to_owned(),
        overrides: words.to_vec(),
        facts: facts(PLAIN),
        expected: PathBuf::new(),
    };
    case.run(yaml, words)
}

/// The same, as JSON.
fn resolved_json(yaml: &str, words: &[String]) -> Result<serde_json::Value, Problems> {
    try_resolved(yaml, words).map(|outcome| outcome.json())
}

/// Returns the value at an address such as `inputs.0.shape`.
fn at<'j>(json: &'j serde_json::Value, address: &str) -> &'j serde_json::Value {
    let pointer = format!("/{}", address.replace('.', "/"));
    json.pointer(&pointer).unwrap_or(&serde_json::Value::Null)
}

/// The model of cases that bring none.
const PLAIN: &str = "input images float32 1,3,224,224\noutput output float32 1,10\n";

struct Case {
    name: String,
    yaml: String,
    overrides: Vec<String>,
    facts: ModelFacts,
    expected: PathBuf,
}

#[derive(Debug)]
struct Outcome {
    config: ConversionConfig,
    resolved: String,
    notes: Vec<Note>,
}

impl Outcome {
    fn json(&self) -> serde_json::Value {
        yaml::parse(&self.resolved, "resolved.yaml").unwrap().to_json()
    }
}

impl Case {
    fn run(&self, yaml: &str, overrides: &[String]) -> Result<Outcome, Problems> {
        let tree = yaml::parse(yaml, &format!("{}.yaml", self.name))?;
        let tree = merge::merge(tree, &Override::pairs(overrides)?)?;
        let reading = read::read(&tree)?;
        let resolution = resolve::resolve(&reading.config, &|_| Some(self.facts.clone()))?;
        let notes = reading.notes.into_iter().chain(resolution.notes).collect();
        Ok(Outcome { config: reading.config, resolved: resolution.config.to_yaml(), notes })
    }

    fn check(&self, found: &str) {
        if std::env::var_os("MODELCONVERTER_BLESS").is_some() {
            fs::write(&self.expected, found).unwrap();
        }
        let expected = fs::read_to_string(&self.expected).unwrap_or_default();
        assert_eq!(found, expected, "{}", self.name);
    }
}

fn cases(folder: &str, suffix: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let cases: Vec<Case> = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| Case {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            yaml: fs::read_to_string(path).unwrap(),
            overrides: fs::read_to_string(path.with_extension("overrides"))
                .map(|text| text.lines().map(str::to_owned).collect())
                .unwrap_or_default(),
            facts: facts(&fs::read_to_string(path.with_extension("model")).unwrap_or_else(|_| PLAIN.to_owned())),
            expected: path.with_extension(suffix),
        })
        .collect();
    assert!(!cases.is_empty(), "{}", folder.display());
    cases
}

fn facts(text: &str) -> ModelFacts {
    let mut facts = ModelFacts::default();
    for line in text.lines() {
        let [role, name, data_type, shape] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let dimension = |text: &str| match text.parse() {
            Ok(size) => Dimension::Fixed(size),
            Err(_) => Dimension::Dynamic(Some(text.to_owned()).filter(|name| name != "?")),
        };
        let shape = match shape {
            "-" => None,
            "scalar" => Some(Vec::new()),
            text => Some(text.split(',').map(dimension).collect()),
        };
        if role == "node" {
            facts.nodes.insert(name.to_owned(), data_type.to_owned());
            continue;
        }
        facts.has_fixed_sizes |= name == "fixed";
        let known = data_type.parse::<DataType>().ok();
        let foreign_type = Some(data_type.to_owned()).filter(|name| known.is_none() && name != "-");
        let tensor = TensorFacts { name: name.to_owned(), shape, data_type: known, foreign_type };
        match role {
            "input" => facts.inputs.push(tensor),
            "output" => facts.outputs.push(tensor),
            "inner" => facts.intermediates.push(tensor),
            other => panic!("{other}"),
        }
    }
    facts
}

#[test]
fn valid_configurations_resolve_to_what_stands_beside_them() {
    for case in cases("valid", "resolved") {
        let outcome =
            case.run(&case.yaml, &case.overrides).unwrap_or_else(|problems| panic!("{}: {problems}", case.name));
        let mut found = String::new();
        for note in &outcome.notes {
            writeln!(found, "# {note}").unwrap();
        }
        found.push_str(&outcome.resolved);
        case.check(&found);
    }
}

#[test]
fn a_resolved_configuration_resolves_to_itself() {
    for case in cases("valid", "resolved") {
        let first = case.run(&case.yaml, &case.overrides).unwrap();
        let again = case.run(&first.resolved, &[]).unwrap_or_else(|problems| panic!("{}: {problems}", case.name));
        assert_eq!(again.resolved, first.resolved, "{}", case.name);
        let is_of_the_model =
            |note: &Note| ["dynamic batch", "in the model, and gets"].iter().any(|text| note.text.contains(text));
        assert!(again.notes.iter().all(is_of_the_model), "{}: {:?}", case.name, again.notes);
    }
}

#[test]
fn a_configuration_survives_the_way_into_the_container() {
    for case in cases("valid", "resolved") {
        let first = case.run(&case.yaml, &case.overrides).unwrap();
        let text = serde_json::to_string(&first.config).unwrap();
        let back: ConversionConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text, "{}", case.name);
        let resolution = resolve::resolve(&back, &|_| Some(case.facts.clone())).unwrap();
        assert_eq!(resolution.config.to_yaml(), first.resolved, "{}", case.name);
    }
}

#[test]
fn invalid_configurations_are_refused_with_everything_that_is_wrong() {
    for case in cases("invalid", "error") {
        let problems = match case.run(&case.yaml, &case.overrides) {
            Ok(outcome) => panic!("{} is taken:\n{}", case.name, outcome.resolved),
            Err(problems) => problems,
        };
        let mut found = format!("{problems}\n");
        for hint in problems.hints() {
            writeln!(found, "hint: {hint}").unwrap();
        }
        case.check(&found);
    }
}

/// Texts that look like configurations, so that mistakes are found behind the reader of YAML.
fn configuration() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(vec![
        "input_model",
        "inputs",
        "outputs",
        "stages",
        "shape",
        "layout",
        "encoding",
        "mean_values",
        "scale_values",
        "calibration",
        "rvc2",
        "rvc4",
        "name",
        "superblob",
        "number_of_shaves",
        "from",
        "onnx_optimizations",
        "std",
        "frozen_value",
        "path",
        "stage",
        "mo_args",
        "encodings",
        "disable_calibration",
        "input_bin",
    ]);
    let scalar = prop::sample::select(vec![
        "a.onnx",
        "a.xml",
        "[1, 3, 8, 8]",
        "[0, -1]",
        "NCHW",
        "RGB",
        "imagenet",
        "0",
        "-1",
        "1e400",
        ".nan",
        "null",
        "true",
        "random",
        "''",
        "images",
        "[[1]]",
        "{}",
        "[]",
        "9999999999999999999999",
        "{from: GRAY}",
        "&a [*a]",
    ]);
    let leaf = (keys.clone(), scalar).prop_map(|(key, value)| format!("{key}: {value}"));
    let entry = prop_oneof![
        3 => leaf.clone(),
        1 => (keys.clone(), prop::collection::vec(leaf.clone(), 1..4))
            .prop_map(|(key, inner)| format!("{key}: {{{}}}", inner.join(", "))),
        1 => (keys, prop::collection::vec(leaf, 1..4))
            .prop_map(|(key, inner)| format!("{key}: [{{{}}}]", inner.join(", "))),
    ];
    prop::collection::vec(entry, 0..6).prop_map(|entries| entries.join("\n"))
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in "\\PC{0,80}") {
        let _ = yaml::parse(&text, "f.yaml").and_then(|tree| read::read(&tree));
    }

    #[test]
    fn any_configuration_is_taken_or_refused(text in configuration()) {
        let text = format!("input_model: m.onnx\n{text}");
        let facts = facts(PLAIN);
        let _ = yaml::parse(&text, "f.yaml")
            .and_then(|tree| read::read(&tree))
            .and_then(|reading| resolve::resolve(&reading.config, &|_| Some(facts.clone())));
    }

    #[test]
    fn any_text_survives_being_written(name in "\\PC{1,20}", argument in "\\PC{0,20}") {
        let json = serde_json::json!({"input_model": "m.onnx", "name": name, "rvc2": {"mo_args": [argument]}});
        let facts = facts(PLAIN);
        let resolved = |text: &str| {
            let tree = yaml::parse(text, "f.yaml")?;
            resolve::resolve(&read::read(&tree)?.config, &|_| Some(facts.clone()))
        };
        if let Ok(first) = resolved(&json.to_string()) {
            let again = resolved(&first.config.to_yaml()).unwrap();
            prop_assert_eq!(first.config.to_yaml(), again.config.to_yaml());
            prop_assert_eq!(&again.config.stages[0].settings.rvc2.mo_args, &vec![argument]);
        }
    }
}
