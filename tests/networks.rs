//! Real networks, as they are in Python packages, and networks as exporters write them, all to blobs.
//!
//! What is compiled is computed by ONNX Runtime beside the original, and DepthAI reads the blob.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod support;

#[path = "networks/exports.rs"]
mod exports;
#[path = "support/onnx_builder.rs"]
mod builder;
#[path = "surgery/network.rs"]
mod network;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use network::Network;
use serde_json::{Value, json};
use support::{folder, peer, program, read_with_depthai, root, said, shared_store, succeed};

/// The networks of the onnx package, each with its input, and the PP-OCR networks, each with a shape.
const NETWORKS: [(&str, Option<&str>); 12] = [
    ("light_bvlc_alexnet", None),
    ("light_densenet121", None),
    ("light_inception_v1", None),
    ("light_inception_v2", None),
    ("light_resnet50", None),
    ("light_shufflenet", None),
    ("light_squeezenet", None),
    ("light_vgg19", None),
    ("light_zfnet512", None),
    ("ch_PP-OCRv4_det_infer", Some("[1,3,320,320]")),
    ("ch_PP-OCRv4_rec_infer", Some("[1,3,48,320]")),
    ("ch_ppocr_mobile_v2.0_cls_infer", Some("[1,3,48,192]")),
];

/// Where a network of a package is.
fn network_of(name: &str) -> PathBuf {
    if !name.starts_with("light_") {
        return PathBuf::from(peer("MODELCONVERTER_TEST_NETWORKS")).join(format!("{name}.onnx"));
    }
    let script = "import onnx, os; print(os.path.join(os.path.dirname(onnx.__file__), 'backend/test/data/light'))";
    let text = succeed(Command::new(peer("MODELCONVERTER_TEST_PYTHON")).args(["-c", script]));
    Path::new(text.trim()).join(format!("{name}.onnx"))
}

/// Converts a network and returns the output folder.
fn convert(folder: &Path, model: &Path, words: &[&str]) -> PathBuf {
    let path = model.display().to_string();
    let convert = ["convert", "rvc2", "--to", "native", "--output-dir", "r", "--path", &path];
    succeed(program(folder, &shared_store()).args(convert).args(words));
    folder.join("output/r")
}

fn single(shape: Option<&str>) -> Vec<String> {
    let mut words = ["rvc2.superblob", "False", "rvc2.number_of_shaves", "4"].map(str::to_owned).to_vec();
    words.extend(shape.into_iter().flat_map(|shape| ["shape".to_owned(), shape.to_owned()]));
    words
}

/// The channels stay in their order, so that what is compiled computes what the original does.
const AS_IT_IS: [&str; 2] = ["encoding", "BGR"];

/// Complains unless ONNX Runtime computes the same with the original and with what was compiled of it.
fn assert_same(original: &Path, output: &Path, tolerance: f64) {
    let name = original.file_stem().unwrap().to_str().unwrap();
    let record: Value = serde_json::from_slice(&fs::read(output.join("buildinfo.json")).unwrap()).unwrap();
    assert_eq!(record["front_end"]["front-end"], "importer", "{name}: {}", record["front_end"]);
    let made = output.join("intermediate_outputs");
    let mut made = fs::read_dir(made).unwrap().map(|entry| entry.unwrap().path());
    let Some(made) = made.find(|path| path.to_str().unwrap().ends_with("-modified.onnx")) else {
        return;
    };
    let list = folder();
    let list = list.path().join("pairs.json");
    // The original takes what the other one states.
    let pairs = json!([{ "before": made, "after": original, "sizes": {} }]);
    fs::write(&list, pairs.to_string()).unwrap();
    let reader = root().join("tests/readers/pairs_reader.py");
    let text = succeed(Command::new(peer("MODELCONVERTER_TEST_PYTHON")).arg(reader).arg(&list));
    let found: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let number = |key: &str| found[0][key].as_f64().unwrap_or_else(|| panic!("{name}: {found}"));
    assert!(number("error") <= tolerance * number("size").max(1e-3), "{name}: {found}");
}

fn converts(names: &[&str]) {
    for (name, shape) in NETWORKS.iter().filter(|(name, _)| names.contains(name)) {
        let (folder, model) = (folder(), network_of(name));
        let words = single(*shape);
        let words: Vec<&str> = words.iter().map(String::as_str).chain(AS_IT_IS).collect();
        let output = convert(folder.path(), &model, &words);
        assert_same(&model, &output, 1e-3);
        let blob = fs::read_dir(&output).unwrap().map(|entry| entry.unwrap().path());
        let blob = blob.into_iter().find(|path| path.extension().is_some_and(|it| it == "blob")).unwrap();
        assert_eq!(read_with_depthai("blob", &blob)["shaves"], 4, "{name}");
    }
}

#[test]
fn classifiers_of_the_onnx_package_become_blobs() {
    converts(&["light_bvlc_alexnet", "light_inception_v1", "light_shufflenet", "light_squeezenet", "light_zfnet512"]);
}

#[test]
fn large_classifiers_of_the_onnx_package_become_blobs() {
    converts(&["light_densenet121", "light_inception_v2", "light_resnet50", "light_vgg19"]);
}

#[test]
fn networks_for_text_become_blobs() {
    converts(&["ch_PP-OCRv4_det_infer", "ch_PP-OCRv4_rec_infer", "ch_ppocr_mobile_v2.0_cls_infer"]);
}

#[test]
fn a_real_network_becomes_a_superblob() {
    let folder = folder();
    let model = network_of("ch_ppocr_mobile_v2.0_cls_infer");
    let output = convert(folder.path(), &model, &["shape", "[1,3,48,192]"]);
    let superblob = output.join("ch_ppocr_mobile_v2_0_cls_infer.superblob");
    let facts = read_with_depthai("superblob", &superblob);
    assert_eq!(facts["16"]["shaves"], 16, "{facts}");
}

#[test]
fn networks_as_exporters_write_them_become_blobs() {
    for (name, bytes) in exports::all() {
        let folder = folder();
        let model = folder.path().join(format!("{name}.onnx"));
        fs::write(&model, bytes).unwrap();
        let words = single(None);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // What is not rounded to integers differs by some steps of the quantization.
        let tolerance = if name == "quantized" { 0.05 } else { 1e-4 };
        let output = convert(folder.path(), &model, &words);
        assert_same(&model, &output, tolerance);
        assert_eq!(read_with_depthai("blob", &output.join(format!("{name}.blob")))["shaves"], 4, "{name}");
    }
}

/// What is first in a shape is no batch that the compiler may cut to one: it says so itself, and DepthAI does.
#[test]
fn blobs_take_all_that_networks_take() {
    let table = Network::new(13, &[20, 64]).weights("w", &[64, 8]).apply("MatMul", &["x", "w"], &["y"]).bytes(&[20, 8]);
    let batch = Network::new(13, &[2, 3, 8, 8])
        .weights("w", &[4, 3, 1, 1])
        .integers("flat", &[2, 256])
        .apply("Conv", &["x", "w"], &["a"])
        .apply("Reshape", &["a", "flat"], &["y"])
        .bytes(&[2, 256]);
    let pictures = Network::new(13, &[2, 3, 8, 8]).weights("w", &[4, 3, 1, 1]).apply("Conv", &["x", "w"], &["y"]);
    for (name, bytes, input, output) in [
        ("table", table, json!([64, 20]), json!([8, 20])),
        ("batch", batch, json!([8, 8, 3, 2]), json!([256, 2])),
        ("pictures", pictures.bytes(&[2, 4, 8, 8]), json!([8, 8, 3, 2]), json!([8, 8, 4, 2])),
    ] {
        let folder = folder();
        let model = folder.path().join(format!("{name}.onnx"));
        fs::write(&model, bytes).unwrap();
        let words = single(None);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let made = convert(folder.path(), &model, &words);
        assert_same(&model, &made, 1e-4);
        let facts = read_with_depthai("blob", &made.join(format!("{name}.blob")));
        assert_eq!((&facts["inputs"]["x"]["dims"], &facts["outputs"]["y"]["dims"]), (&input, &output), "{facts}");
        // Pictures are bytes, as cameras make them, and other numbers have signs and fractions.
        let element = if name == "table" { "FP16" } else { "U8F" };
        assert_eq!(facts["inputs"]["x"]["type"], element, "{facts}");
        // Who wants the compiler to take it for a batch is told what comes of it.
        fs::write(folder.path().join("batch.conf"), "MYRIAD_DETECT_NETWORK_BATCH YES\n").unwrap();
        if name == "pictures" {
            let path = model.display().to_string();
            let mut command = program(folder.path(), &shared_store());
            command.args(["convert", "rvc2", "--path", &path, "rvc2.compile_tool_args", "[-c, batch.conf]"]);
            let said = said(&command.args(&words).output().unwrap());
            assert!(said.contains("takes [1, 3, 8, 8] for input `x`, and not [2, 3, 8, 8]"), "{said}");
        }
    }
}

/// The importer names the outputs of a node with several of them after its last one, and gives a value one name only.
#[test]
fn outputs_keep_their_names() {
    let halves = builder::sizes(&[1, 2, 6, 6]);
    let three = builder::sizes(&[1, 2, 6, 3]);
    let split = builder::Graph::new()
        .input("x", builder::FLOAT, &builder::sizes(&[1, 4, 6, 6]))
        .initializer(builder::Tensor::integers("k", &[1], &[3]))
        .node(builder::Node::new("Split", &["x"], &["first", "second"]).int("axis", 1))
        .node(builder::Node::new("TopK", &["first", "k"], &["most", "places"]).int("axis", 3))
        .node(builder::Node::new("Relu", &["second"], &["r"]))
        .node(builder::Node::new("Dropout", &["r"], &["same"]))
        .output("second", builder::FLOAT, &halves)
        .output("same", builder::FLOAT, &halves)
        .output("first", builder::FLOAT, &halves)
        .output("most", builder::FLOAT, &three)
        .output("places", builder::INT64, &three);
    let copied = split
        .clone()
        .node(builder::Node::new("Identity", &["r"], &["again"]))
        .node(builder::Node::new("Identity", &["first"], &["one"]))
        .output("again", builder::FLOAT, &halves)
        .output("one", builder::FLOAT, &halves);
    let names = ["again", "first", "most", "one", "places", "same", "second"];
    for (graph, front_end) in [(copied, "importer"), (split, "mo")] {
        let folder = folder();
        let model = folder.path().join("named.onnx");
        fs::write(&model, builder::Model::new(graph).opset(13).bytes()).unwrap();
        let words = single(None);
        let words: Vec<&str> = words.iter().map(String::as_str).chain(["rvc2.front_end", front_end]).collect();
        let made = convert(folder.path(), &model, &words);
        let facts = read_with_depthai("blob", &made.join("named.blob"));
        let found: Vec<&str> = facts["outputs"].as_object().unwrap().keys().map(String::as_str).collect();
        let is_here = |name: &&str| front_end == "importer" || !["again", "one"].contains(name);
        assert_eq!(found, names.into_iter().filter(is_here).collect::<Vec<_>>(), "{front_end}");
    }
}
