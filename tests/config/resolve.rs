//! `config resolve` and `config schema`: the program on files, and where it says that values come from.

use std::fs;

use modelconverter::config::explain::explain;
use modelconverter::config::{Note, Override, merge, read, resolve, yaml};
use serde_json::{Value, json};

use crate::onnx_builder::{Dim, FLOAT, Graph, Model, Node, Tensor, sizes};
use crate::support::{fail, folder, program, read_with_depthai, root, shared_store, succeed};
use crate::{Case, at, cases};

/// The explanation of a case, as the program prints it.
fn explained(case: &Case) -> Value {
    let tree = yaml::parse(&case.yaml, &format!("{}.yaml", case.name)).unwrap();
    let tree = merge::merge(tree, &Override::pairs(&case.overrides).unwrap()).unwrap();
    let reading = read::read(&tree).unwrap();
    let resolution = resolve::resolve(&reading.config, &|_| Some(case.facts.clone())).unwrap();
    let notes: Vec<Note> = reading.notes.iter().chain(&resolution.notes).cloned().collect();
    let explanation = explain(&resolution, &reading.config, &reading.said, &case.overrides, &notes);
    serde_json::to_value(&explanation).unwrap()
}

fn in_words(origin: &Value) -> String {
    let text = |key: &str| origin[key].as_str().unwrap_or_default().to_owned();
    match text("kind").as_str() {
        "file" => format!("{}:{}:{}", text("file"), origin["line"], origin["column"]),
        "override" => format!("pair {} {}", origin["number"], text("key")),
        "path" => format!("--path {}", text("path")),
        kind => kind.to_owned(),
    }
}

/// Beside every valid configuration stands where its values come from, those of nobody left out.
#[test]
fn every_value_has_an_origin() {
    for mut case in cases("valid", "origins") {
        let explanation = explained(&case);
        let origins = explanation["origins"].as_object().unwrap();
        let mut lines = String::new();
        for (key, origin) in origins {
            if origin["kind"] != "default" {
                lines.push_str(&format!("{key}: {}\n", in_words(origin)));
            }
        }
        // Whatever the configuration says has an origin, and nothing else has.
        let mut leaves = Vec::new();
        collect(&explanation["config"], String::new(), &mut leaves);
        for leaf in &leaves {
            assert!(origins.contains_key(leaf), "{}: no origin of {leaf}", case.name);
        }
        for key in origins.keys() {
            let parent = key.rsplit_once('.').map_or("", |(parent, _)| parent);
            assert!(leaves.iter().any(|leaf| leaf == key || leaf == parent), "{}: {key} is nothing", case.name);
        }
        case.expected.set_extension("origins");
        case.check(&lines);
    }
}

/// Lists the addresses of values, lists of plain values as one.
fn collect(value: &Value, address: String, leaves: &mut Vec<String>) {
    let below = |name: &str| if address.is_empty() { name.to_owned() } else { format!("{address}.{name}") };
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            entries.iter().for_each(|(key, value)| collect(value, below(key), leaves));
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().enumerate().for_each(|(index, item)| collect(item, below(&index.to_string()), leaves));
        }
        _ => leaves.push(address),
    }
}

/// Values that stand in a file stand where the origin says.
#[test]
fn what_comes_from_a_file_stands_there() {
    let mut seen = 0;
    for case in cases("valid", "origins") {
        let explanation = explained(&case);
        for (key, origin) in explanation["origins"].as_object().unwrap() {
            let (Some(line), Some(column)) = (origin["line"].as_u64(), origin["column"].as_u64()) else { continue };
            let line = case.yaml.lines().nth(usize::try_from(line).unwrap() - 1).unwrap();
            let rest: String = line.chars().skip(usize::try_from(column).unwrap() - 1).collect();
            assert!(!rest.trim().is_empty(), "{}: {key} at {origin}", case.name);
            if let Value::String(text) = at(&explanation["config"], key)
                && text.len() > 5
                && !text.contains('\n')
                && rest.starts_with(char::is_alphabetic)
                && !["random", "imagenet"].iter().any(|word| rest.starts_with(word))
            {
                seen += 1;
                assert!(rest.starts_with(text.as_str()), "{}: {key} is {text}, at {origin} stands {rest}", case.name);
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

/// A network `x` [1, 3, 8, 8] to `y` of the same shape.
fn network() -> Vec<u8> {
    let graph = Graph::new().node(Node::new("Relu", &["x"], &["y"])).input("x", FLOAT, &sizes(&[1, 3, 8, 8]));
    Model::new(graph.output("y", FLOAT, &sizes(&[1, 3, 8, 8]))).opset(12).bytes()
}

#[test]
fn the_program_prints_what_a_conversion_would_use() {
    let folder = folder();
    fs::create_dir(folder.path().join("models")).unwrap();
    fs::write(folder.path().join("models/net.onnx"), network()).unwrap();
    fs::write(folder.path().join("models/c.yaml"), "input_model: net.onnx\nscale_values: 255\nfreeze: 1\n").unwrap();
    let run = |words: &[&str]| {
        let mut command = program(folder.path(), folder.path());
        command.args(["config", "resolve", "rvc2", "--path", "models/c.yaml"]).args(words);
        command
    };
    let text = fail(&mut run(&["rvc2.superblobs", "1"]), 1);
    for part in ["models/c.yaml:3:1: unknown key `freeze`", "override `rvc2.superblobs`: unknown key", "2 problems"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    fs::write(folder.path().join("models/c.yaml"), "input_model: net.onnx\nscale_values: 255\n").unwrap();
    let words = ["inputs.0.name", "x", "inputs.0.encoding", "RGB", "rvc2.superblob", "false"];
    let text = succeed(&mut run(&words));
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text, succeed(run(&words).arg("--json")), "the result is a document either way");
    let model = folder.path().canonicalize().unwrap().join("models/net.onnx");
    assert_eq!(at(&found, "config.input_model"), model.to_str().unwrap());
    assert_eq!(at(&found, "config.inputs.0.encoding"), &json!({"from": "RGB", "to": "RGB"}));
    let origin = |key: &str| found["origins"][key].clone();
    let file = json!({"kind": "file", "file": "models/c.yaml", "line": 2, "column": 15});
    assert_eq!(origin("inputs.0.scale_values"), file);
    assert_eq!(origin("inputs.0.encoding.to"), json!({"kind": "override", "key": "inputs.0.encoding", "number": 2}));
    assert_eq!(origin("rvc2.superblob"), json!({"kind": "override", "key": "rvc2.superblob", "number": 3}));
    assert_eq!(origin("inputs.0.shape"), json!({"kind": "model"}));
    assert_eq!(origin("rvc4.htp_socs"), json!({"kind": "default"}));
    // What is printed can be given again, and comes to the same.
    fs::write(folder.path().join("again.json"), found["config"].to_string()).unwrap();
    let mut command = program(folder.path(), folder.path());
    let again = succeed(command.args(["config", "resolve", "rvc2", "--path", "again.json"]));
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap()["config"], found["config"]);
    // A bare model.
    let mut command = program(folder.path(), folder.path());
    let bare = succeed(command.args(["config", "resolve", "rvc4", "--path", "models/net.onnx"]));
    let bare: Value = serde_json::from_str(&bare).unwrap();
    assert_eq!(bare["origins"]["input_model"], json!({"kind": "path", "path": "models/net.onnx"}));
}

/// A network `input` of this shape to `output` [1, classes]: the mean of each channel, weighted.
fn classifier(input: &str, shape: &[Dim<'_>], output: &str, channels: i64, classes: i64) -> Vec<u8> {
    let weights: Vec<f32> = (0..channels * classes).map(|index| ((index * 37 % 101) as f32 - 50.0) / 64.0).collect();
    let graph = Graph::new()
        .node(Node::new("GlobalAveragePool", &[input], &["pooled"]))
        .node(Node::new("Flatten", &["pooled"], &["flat"]))
        .node(Node::new("MatMul", &["flat", "w"], &[output]))
        .initializer(Tensor::floats("w", &[channels, classes], &weights))
        .input(input, FLOAT, shape)
        .output(output, FLOAT, &sizes(&[1, classes]));
    Model::new(graph).opset(12).bytes()
}

/// Two of the examples, over small networks with the tensors they name.
#[test]
fn examples_convert() {
    let folder = folder();
    let gray = [Dim::Symbol("batch"), Dim::Size(1), Dim::Size(28), Dim::Size(28)];
    fs::write(folder.path().join("mnist.onnx"), classifier("image", &gray, "logits", 1, 10)).unwrap();
    let color = sizes(&[1, 3, 224, 224]);
    fs::write(folder.path().join("resnet18.onnx"), classifier("input", &color, "output", 3, 1000)).unwrap();
    fs::create_dir_all(folder.path().join("calibration/imagenet")).unwrap();
    for (name, input, channels) in [("mnist", "image", 1), ("resnet18", "input", 3)] {
        let example = root().join(format!("tests/data/config/valid/{name}.yaml"));
        fs::copy(example, folder.path().join(format!("{name}.yaml"))).unwrap();
        let path = format!("{name}.yaml");
        let words =
            ["convert", "rvc2", "--path", &path, "--output-dir", name, "--to", "native", "rvc2.superblob", "false"];
        succeed(program(folder.path(), &shared_store()).args(words));
        let output = folder.path().join("output").join(name);
        let blob = read_with_depthai("blob", &output.join(format!("{name}.blob")));
        let dims: Vec<i64> = serde_json::from_value(blob["inputs"][input]["dims"].clone()).unwrap();
        assert!(dims.contains(&channels), "{name}: {blob}");
        // The record of the conversion comes to the same.
        let resolved = |path: &str| {
            let mut command = program(folder.path(), &shared_store());
            let text = succeed(command.args(["config", "resolve", "rvc2", "--path", path, "rvc2.superblob", "false"]));
            let mut config = serde_json::from_str::<Value>(&text).unwrap()["config"].clone();
            config["input_model"] = Value::Null;
            config
        };
        assert_eq!(resolved(&format!("output/{name}/config.yaml")), resolved(&path));
    }
}

#[test]
fn places_that_take_no_results_are_refused() {
    let folder = folder();
    fs::write(folder.path().join("net.onnx"), network()).unwrap();
    for key in ["output_remote_url", "intermediate_outputs_remote_url"] {
        for (place, fits) in [("ftp://host/r", false), ("http://host/r", false), ("s3://b/r", true), ("../r", true)] {
            let words = ["config", "resolve", "rvc2", "--path", "net.onnx", key, place];
            if fits {
                succeed(program(folder.path(), folder.path()).args(words));
                continue;
            }
            let text = fail(program(folder.path(), folder.path()).args(words), 1);
            assert!(text.contains(key) && text.contains("a folder of this machine"), "{text}");
            assert!(text.contains(&format!("`{place}`: only buckets and folders take them")), "{text}");
        }
    }
}

#[test]
fn encodings_of_a_file_are_looked_at_before_anything_is_made() {
    let folder = folder();
    fs::write(folder.path().join("net.onnx"), network()).unwrap();
    let words = ["config", "resolve", "rvc4", "--path", "net.onnx", "rvc4.encodings", "e.json"];
    fs::write(folder.path().join("e.json"), r#"{"activation_encodings": {"x": [{"bitwidth": 7}]}}"#).unwrap();
    let text = fail(program(folder.path(), folder.path()).args(words), 1);
    assert!(text.contains("e.json:1:46: `encodings.activation_encodings.x.bitwidth` must be 4, 8, 16 or 32"), "{text}");
    fs::write(folder.path().join("e.json"), r#"{"activation_encodings": {"x": [{"bitwidth": 8}]}}"#).unwrap();
    succeed(program(folder.path(), folder.path()).args(words));
}

#[test]
fn the_schema_is_a_document_and_the_commands_are_known_to_shells() {
    let folder = folder();
    let text = succeed(program(folder.path(), folder.path()).args(["config", "schema"]));
    let schema: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(schema, modelconverter::config::schema::schema());
    for shell in ["bash", "zsh", "fish"] {
        let text = succeed(program(folder.path(), folder.path()).args(["completions", shell]));
        assert!(text.contains("resolve") && text.contains("schema") && text.contains("offline"), "{shell}");
        assert!(!text.contains("inside"), "{shell} offers what nobody types");
    }
    let help = succeed(program(folder.path(), folder.path()).args(["config", "resolve", "--help"]));
    for part in ["KEY VALUE", "--path <PATH>", "`origins` tells for each key who said it"] {
        assert!(help.contains(part), "{part} in {help}");
    }
}
