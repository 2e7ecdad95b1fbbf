//! What conversions do with the words of people: real toolchain, small networks, independent readers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod support;

#[path = "support/onnx_builder.rs"]
mod onnx_builder;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use onnx_builder::{BOOL, FLOAT, Graph, INT8, Model, Node, Tensor, sizes};
use serde_json::{Value, json};
use support::{fail, folder, peer, program, read_with_depthai, root, shared_store, succeed};

/// A network with one convolution of 3x3: `img` [1, channels, 16, 16] to `out` [1, 4, 16, 16].
fn network(channels: i64) -> Vec<u8> {
    let count = usize::try_from(4 * channels * 9).unwrap();
    // No two channels have alike weights, so that exchanging them shows.
    let weights: Vec<f32> = (0..count).map(|index| ((index * 37 % 101) as f32 - 50.0) / 64.0).collect();
    let convolution =
        Node::new("Conv", &["img", "w", "b"], &["out"]).ints("kernel_shape", &[3, 3]).ints("pads", &[1, 1, 1, 1]);
    let graph = Graph::new()
        .node(convolution.named("convolution"))
        .initializer(Tensor::floats("w", &[4, channels, 3, 3], &weights))
        .initializer(Tensor::floats("b", &[4], &[0.5, -1.0, 0.0, 2.0]))
        .input("img", FLOAT, &sizes(&[1, channels, 16, 16]))
        .output("out", FLOAT, &sizes(&[1, 4, 16, 16]));
    Model::new(graph).opset(12).bytes()
}

/// A folder with `color.onnx` and `gray.onnx`.
fn bench() -> tempfile::TempDir {
    let folder = folder();
    fs::write(folder.path().join("color.onnx"), network(3)).unwrap();
    fs::write(folder.path().join("gray.onnx"), network(1)).unwrap();
    folder
}

/// Converts in `folder` and returns the output folder.
fn convert(folder: &Path, name: &str, words: &[&str]) -> PathBuf {
    let convert = ["convert", "rvc2", "--to", "native", "--output-dir", name];
    succeed(program(folder, &shared_store()).args(convert).args(words));
    folder.join("output").join(name)
}

fn build_info(output: &Path) -> Value {
    serde_json::from_slice(&fs::read(output.join("buildinfo.json")).unwrap()).unwrap()
}

const SINGLE: [&str; 4] = ["rvc2.superblob", "False", "rvc2.number_of_shaves", "4"];

/// The model optimizer's way, which takes some seconds: once, with arguments of the user.
fn optimized() -> &'static Path {
    static OUTPUT: OnceLock<PathBuf> = OnceLock::new();
    OUTPUT.get_or_init(|| {
        let folder = bench().keep();
        let words = ["--path", "color.onnx", "rvc2.mo_args", r#"["--log_level","DEBUG"]"#];
        convert(&folder, "r", &[&words[..], &SINGLE].concat())
    })
}

#[test]
fn weights_in_a_file_that_is_called_as_an_ir_is_stay_what_they_are() {
    let folder = folder();
    let weights: Vec<u8> = (0..4 * 3 * 9).flat_map(|index| ((index * 37 % 101) as f32 / 64.0).to_le_bytes()).collect();
    let graph = Graph::new()
        .node(Node::new("Conv", &["img", "w"], &["out"]).ints("kernel_shape", &[3, 3]))
        .initializer(Tensor::external("w", FLOAT, &[4, 3, 3, 3], &[("location", "net.bin")]))
        .input("img", FLOAT, &sizes(&[1, 3, 16, 16]))
        .output("out", FLOAT, &sizes(&[1, 4, 14, 14]));
    fs::write(folder.path().join("net.onnx"), Model::new(graph).opset(12).bytes()).unwrap();
    fs::write(folder.path().join("net.bin"), &weights).unwrap();
    let words = ["--path", "net.onnx", "rvc2.front_end", "mo"];
    let output = convert(folder.path(), "r", &[&words[..], &SINGLE].concat());
    for kept in [output.join("net.bin"), output.join("intermediate_outputs/net.bin")] {
        assert_eq!(fs::read(kept).unwrap(), weights);
    }
    assert!(output.join("net.blob").exists() && output.join("intermediate_outputs/net_.xml").exists());
}

#[test]
fn arguments_for_the_model_optimizer_choose_it_and_reach_it() {
    let record = build_info(optimized());
    assert_eq!(record["front_end"]["front-end"], "mo", "{record}");
    let arguments: Vec<&str> =
        record["cmd_info"]["model_optimizer"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(arguments[..6], ["/usr/bin/python3.9", "-s", "-m", "mo", "--log_level", "DEBUG"]);
    assert!(arguments.windows(2).any(|pair| pair == ["--data_type", "FP16"]), "{arguments:?}");
    let log = fs::read_to_string(optimized().join("modelconverter.log")).unwrap();
    assert!(log.contains("DEBUG"), "the tool did what the argument says");
    let blob = read_with_depthai("blob", &optimized().join("color.blob"));
    assert_eq!((&blob["shaves"], &blob["inputs"]["img"]["type"]), (&json!(4), &json!("U8F")), "{blob}");
}

#[test]
fn an_ir_is_compiled_to_the_blob_of_the_network_it_was_made_of() {
    let folder = folder();
    let ir = optimized().join("intermediate_outputs/color.xml").display().to_string();
    let output = convert(folder.path(), "r", &[&["--path", ir.as_str()][..], &SINGLE].concat());
    let bytes = |output: &Path| fs::read(output.join("color.blob")).unwrap();
    assert!(bytes(&output) == bytes(optimized()));
    let record = build_info(&output);
    assert_eq!(record["cmd_info"]["model_optimizer"], Value::Null, "{record}");
    assert!(record["input_sha256"].as_object().unwrap().len() == 2, "both files of the IR: {record}");
}

#[test]
fn every_blob_of_a_superblob_is_the_single_blob() {
    let folder = bench();
    let superblob = convert(folder.path(), "all", &["--path", "color.onnx"]).join("color.superblob");
    let facts = read_with_depthai("superblob", &superblob);
    let parts = folder.path().join("parts");
    fs::create_dir(&parts).unwrap();
    let reader = root().join("tests/readers/superblob_reader.py");
    succeed(Command::new(peer("MODELCONVERTER_TEST_PYTHON")).arg(reader).args([&superblob, &parts]));
    for shaves in 1..=16 {
        assert_eq!(facts[shaves.to_string()]["shaves"], shaves);
        let (name, count) = (format!("one{shaves}"), shaves.to_string());
        let words = ["--path", "color.onnx", "rvc2.superblob", "False", "rvc2.number_of_shaves", &count];
        let single = fs::read(convert(folder.path(), &name, &words).join("color.blob")).unwrap();
        assert!(single == fs::read(parts.join(format!("{shaves}.blob"))).unwrap(), "{shaves} shaves");
    }
}

#[test]
fn arguments_for_the_compile_step_are_obeyed() {
    let folder = bench();
    for (index, (arguments, input, output)) in
        [(r#"["-ip","FP16"]"#, "FP16", "FP16"), (r#"["--ip=FP16","-op","FP32"]"#, "FP16", "FP32")].iter().enumerate()
    {
        let words = ["--path", "color.onnx", "rvc2.compile_tool_args", arguments];
        let made = convert(folder.path(), &format!("r{index}"), &[&words[..], &SINGLE].concat());
        let blob = read_with_depthai("blob", &made.join("color.blob"));
        assert_eq!(blob["inputs"]["img"]["type"], *input, "{arguments}: {blob}");
        assert_eq!(blob["outputs"]["out"]["type"], *output, "{arguments}: {blob}");
    }
    let refused = ["--path", "color.onnx", "rvc2.compile_tool_args", r#"["-o","mine.blob"]"#];
    let text = fail(program(folder.path(), &shared_store()).args(["convert", "rvc2"]).args(refused).args(SINGLE), 1);
    assert!(text.contains("`-o` in `rvc2.compile_tool_args` is set by the converter"), "{text}");
}

#[test]
fn no_module_is_compiled_again_under_the_clock_of_the_driver() {
    let folder = folder();
    let tools = fs::read_to_string(root().join("images/rvc2/files/2021.4.2/toolchain.toml")).unwrap();
    let value = |key: &str| {
        let (_, rest) = tools.split_once(&format!("{key} = \"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let (library, clock) = (value("LD_PRELOAD"), value("FAKETIME"));
    let script = format!("LD_PRELOAD={library} FAKETIME='{clock}' python3.9 -v -s -c 'import json' 2>&1");
    let said =
        succeed(program(folder.path(), &shared_store()).args(["--quiet", "shell", "rvc2", "--command", &script]));
    // The interpreter names sources as they are, and bytecode in quotes.
    let from = |start: &str| -> Vec<&str> { said.lines().filter(|line| line.starts_with(start)).collect() };
    assert_eq!(from("# code object from /"), <[&str; 0]>::default());
    assert!(from("# code object from '/var/cache/python/").len() > 20, "bytecode is used at all: {said}");
}

#[test]
fn what_tools_lack_is_told_alike_before_and_in_the_container() {
    let folder = bench();
    let graph = Graph::new()
        .node(Node::new("Relu", &["img"], &["active"]).named("relu_1"))
        .node(Node::new("Det", &["active"], &["out"]).named("determinant_7"))
        .input("img", FLOAT, &sizes(&[1, 3, 5, 5]))
        .output("out", FLOAT, &sizes(&[1, 3]));
    fs::write(folder.path().join("odd.onnx"), Model::new(graph).opset(12).bytes()).unwrap();
    // The image is at hand.
    convert(folder.path(), "first", &[&["--path", "color.onnx"][..], &SINGLE].concat());
    let refused = |store: &Path, words: &[&str]| {
        let words = [&["--quiet", "convert", "rvc2", "--path", "odd.onnx", "--output-dir", "odd"], words].concat();
        fail(program(folder.path(), store).args(words), 1)
    };
    let text = refused(&shared_store(), &[]);
    for part in ["rvc2 2021.4.2 cannot convert `odd.onnx`: Det `determinant_7`", "`active`"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text, refused(&shared_store(), &["--dry-run"]), "the plan refuses it in the same words");
    assert_eq!(text, refused(&folder.path().join("none"), &["--offline"]), "so does a machine without the image");
    assert!(!folder.path().join("none").exists());
    let left: Vec<_> =
        fs::read_dir(folder.path().join("output")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["first"], "not even a log");
}

#[test]
fn conversions_that_nobody_names_keep_all_results() {
    let folder = bench();
    let words = ["convert", "rvc2", "--to", "native", "--path", "color.onnx", "verification.enabled", "False"];
    // Several of them begin in the same second.
    for _ in 0..4 {
        succeed(program(folder.path(), &shared_store()).args(words).args(SINGLE));
    }
    let results: Vec<PathBuf> =
        fs::read_dir(folder.path().join("output")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(results.len() == 4 && results.iter().all(|path| path.join("color.blob").exists()), "{results:?}");
    // `--version` is the tools', as it was with the earlier converter, and not this program's.
    let version = ["--version", "2021.4.2", "--dry-run"];
    assert!(succeed(program(folder.path(), &shared_store()).args(words).args(version)).contains("2021.4.2"));
    for nameless in ["", ".", "..", "/", "a/.."] {
        let named = ["--output-dir", nameless];
        let text = fail(program(folder.path(), &shared_store()).args(words).args(named), 2);
        assert!(text.contains("names no folder for the result"), "{nameless}: {text}");
    }
}

#[test]
fn an_input_without_a_part_is_left_out_and_said() {
    let folder = folder();
    let graph = Graph::new()
        .node(Node::new("Relu", &["x"], &["y"]))
        .input("x", FLOAT, &sizes(&[1, 4]))
        .input("idle", FLOAT, &sizes(&[1, 4]))
        .output("y", FLOAT, &sizes(&[1, 4]));
    fs::write(folder.path().join("m.onnx"), Model::new(graph).opset(12).bytes()).unwrap();
    let words = ["convert", "rvc2", "--path", "m.onnx", "--output-dir", "r"];
    let output = program(folder.path(), &shared_store()).args(words).args(SINGLE).output().unwrap();
    let said = support::said(&output);
    assert!(
        output.status.success() && said.contains("input `idle` has no part in what the network computes"),
        "{said}"
    );
    let inputs =
        |kind: &str, file: &str| read_with_depthai(kind, &folder.path().join("output/r").join(file))["inputs"].clone();
    assert_eq!(inputs("blob", "m.blob").as_object().unwrap().keys().collect::<Vec<_>>(), ["x"]);
    let frozen = ["inputs.0.name", "x", "inputs.0.frozen_value", "0"];
    let text = fail(program(folder.path(), &shared_store()).args(words).args(frozen), 1);
    assert!(text.contains("computes the same whatever it is fed"), "{text}");
}

#[test]
fn outputs_that_are_chosen_may_leave_inputs_without_a_part() {
    let folder = folder();
    let graph = Graph::new()
        .node(Node::new("Relu", &["x"], &["y"]))
        .node(Node::new("Add", &["y", "late"], &["z"]))
        .input("x", FLOAT, &sizes(&[1, 4]))
        .input("late", FLOAT, &sizes(&[1, 4]))
        .output("z", FLOAT, &sizes(&[1, 4]))
        .output("x", FLOAT, &sizes(&[1, 4]));
    fs::write(folder.path().join("m.onnx"), Model::new(graph).opset(12).bytes()).unwrap();
    let words = ["convert", "rvc2", "--path", "m.onnx", "--output-dir", "r"];
    let chosen = ["outputs", "[{'name': 'y'}]", "mean_values", "2"];
    let output = program(folder.path(), &shared_store()).args(words).args(SINGLE).args(chosen).output().unwrap();
    let said = support::said(&output);
    assert!(output.status.success() && said.contains("input `late` has no part"), "{said}");
    assert!(said.contains("output `y` is as in the original"), "{said}");
    let text = fail(program(folder.path(), &shared_store()).args(words), 1);
    assert!(text.contains("output `x` is an input of the network too"), "{text}");
}

#[test]
fn integers_truth_values_and_parts_reach_the_compiler_in_forms_that_it_takes() {
    let folder = folder();
    let picture = sizes(&[1, 3, 8, 8]);
    let integers = Graph::new()
        .node(Node::new("Cast", &["x"], &["a"]).int("to", FLOAT.into()))
        .node(Node::new("Relu", &["a"], &["y"]))
        .input("x", INT8, &picture)
        .output("y", FLOAT, &picture);
    let truth = Graph::new()
        .initializer(Tensor::floats("half", &[], &[0.5]))
        .node(Node::new("Greater", &["x", "half"], &["y"]))
        .node(Node::new("Not", &["y"], &["n"]))
        .node(Node::new("Cast", &["n"], &["z"]).int("to", FLOAT.into()))
        .input("x", FLOAT, &picture)
        .output("y", BOOL, &picture)
        .output("z", FLOAT, &picture);
    let parts = Graph::new()
        .initializer(Tensor::integers("starts", &[2], &[0, 1]))
        .initializer(Tensor::integers("ends", &[2], &[1, 3]))
        .node(Node::new("Slice", &["x", "starts", "ends"], &["y"]))
        .input("x", FLOAT, &picture)
        .output("y", FLOAT, &sizes(&[1, 2, 8, 8]));
    for (name, graph) in [("integers", integers), ("truth", truth), ("parts", parts)] {
        fs::write(folder.path().join("m.onnx"), Model::new(graph).opset(13).bytes()).unwrap();
        let words = ["convert", "rvc2", "--path", "m.onnx", "--output-dir", "r"];
        let output = program(folder.path(), &shared_store()).args(words).args(SINGLE).output().unwrap();
        let said = support::said(&output);
        assert!(output.status.success() && said.contains("output `y` is as in the original"), "{name}: {said}");
        // Integers are neither centred nor scaled, by whomever.
        let centred = ["mean_values", "7", "--archive-preprocess"];
        let output = program(folder.path(), &shared_store()).args(words).args(SINGLE).args(centred).output().unwrap();
        let is_refused = support::said(&output).contains("mean and scale need an input of floating numbers");
        assert_eq!(is_refused, name == "integers", "{name}: {}", support::said(&output));
    }
}

#[test]
fn preprocessing_is_not_done_twice() {
    let folder = bench();
    for (words, part) in [
        (["mean_values", "[10,20,30]", "rvc2.mo_args", r#"["--mean_values=[10,20,30]"]"#], "`mean_values`"),
        (["scale_values", "255", "rvc2.mo_args", r#"["-s","255"]"#], "`scale_values`"),
        (["encoding", "RGB", "rvc2.mo_args", r#"["--mean_values","[1,2,3]","--reverse_input_channels"]"#], ""),
        (
            ["layout", "NCHW", "rvc2.mo_args", r#"["--reverse_input_channels"]"#],
            "another `encoding.to` than `encoding.from`",
        ),
    ] {
        let mut command = program(folder.path(), &shared_store());
        command.args(["convert", "rvc2", "--dry-run", "--path", "color.onnx"]).args(words);
        if part.is_empty() {
            succeed(&mut command);
            continue;
        }
        let text = fail(&mut command, 1);
        assert!(text.contains(&format!("and input `img` has {part}: both would be done")), "{words:?}: {text}");
    }
}

/// Fully convolutional networks work on any size, and the copies of the original that are run do too.
#[test]
fn sizes_that_a_model_states_can_be_others() {
    let folder = bench();
    let words = ["--path", "color.onnx", "shape", "[1, 3, 24, 32]", "outputs.+.name", "convolution"];
    let output = convert(folder.path(), "r", &[&words[..], &SINGLE].concat());
    let blob = read_with_depthai("blob", &output.join("color.blob"));
    assert_eq!(blob["inputs"]["img"]["dims"], serde_json::json!([32, 24, 3, 1]), "{blob}");
    assert_eq!(blob["outputs"]["out"]["dims"], serde_json::json!([32, 24, 4, 1]), "{blob}");
    let proof = build_info(&output)["proof"].clone();
    for network in ["rewritten", "imported"] {
        assert!(proof[network]["compared"]["outputs"][0]["cosine"].as_f64().unwrap() > 0.999, "{proof}");
    }
    // What was written repeats it.
    let config = output.join("config.yaml");
    let again = convert(folder.path(), "again", &["--path", config.to_str().unwrap()]);
    assert_eq!(fs::read(output.join("color.blob")).unwrap(), fs::read(again.join("color.blob")).unwrap());

    let text = "stages:\n  a: { input_model: gray.onnx }\n  b: { input_model: color.onnx, shape: [1, 5, 16, 16] }\n";
    fs::write(folder.path().join("two.yaml"), text).unwrap();
    let text = fail(program(folder.path(), &shared_store()).args(["convert", "rvc2", "--path", "two.yaml"]), 1);
    assert!(text.contains("the model `color.onnx` of stage `b` cannot be converted"), "{text}");
    assert!(text.contains("Conv `convolution` gets [1, 5, 16, 16], [4, 3, 3, 3] and [4]"), "{text}");
}

/// ONNX Runtime of the image reads opset 21 and files of version 10; what is younger and the same is proven too.
#[test]
fn models_of_newer_versions_are_proven() {
    let folder = folder();
    let graph = Graph::new()
        .node(Node::new("Conv", &["img", "w"], &["a"]).ints("pads", &[1, 1, 1, 1]))
        .node(Node::new("Relu", &["a"], &["out"]))
        .initializer(Tensor::floats("w", &[1, 1, 3, 3], &[0.5, -1.0, 0.25, 1.0, 0.75, -0.5, 0.125, 1.5, -0.25]))
        .input("img", FLOAT, &sizes(&[1, 1, 8, 8]))
        .output("out", FLOAT, &sizes(&[1, 1, 8, 8]));
    for (name, opset, version, outputs) in [("new.onnx", 25, 13, "out"), ("newer.onnx", 28, 14, "a")] {
        fs::write(folder.path().join(name), Model::new(graph.clone()).opset(opset).ir(version).bytes()).unwrap();
        let words = ["--path", name, "outputs.+.name", outputs];
        let output = convert(folder.path(), "r", &[&words[..], &SINGLE].concat());
        let proof = build_info(&output)["proof"].clone();
        for network in ["rewritten", "imported"] {
            assert!(proof[network]["compared"]["outputs"][0]["cosine"].as_f64().unwrap() > 0.999, "{name}: {proof}");
        }
    }
}

/// The proof computes in single precision, which says nothing of what half floats cannot be.
#[test]
fn values_beyond_half_floats_are_told() {
    let folder = folder();
    let network = |weight: f32| {
        let graph = Graph::new()
            .node(Node::new("Conv", &["img", "w"], &["a"]))
            .node(Node::new("Mul", &["a", "small"], &["out"]))
            .initializer(Tensor::floats("w", &[1, 1, 1, 1], &[weight]))
            .initializer(Tensor::floats("small", &[1], &[0.001]))
            .input("img", FLOAT, &sizes(&[1, 1, 8, 8]))
            .output("out", FLOAT, &sizes(&[1, 1, 8, 8]));
        Model::new(graph).opset(12).bytes()
    };
    for (weight, is_told) in [(200.0, false), (-1000.0, true)] {
        fs::write(folder.path().join("m.onnx"), network(weight)).unwrap();
        let words = ["convert", "rvc2", "--to", "native", "--output-dir", "r", "--path", "m.onnx", "scale_values", "1"];
        let said = support::said(&program(folder.path(), &shared_store()).args(words).args(SINGLE).output().unwrap());
        assert_eq!(said.contains("the value `a` (Conv) reaches 3e5 with the inputs of the proof"), is_told, "{said}");
        assert!(!folder.path().join("output/r/intermediate_outputs/watched.onnx").exists());
    }
}

#[test]
fn stages_are_converted_each_for_itself() {
    let folder = bench();
    let text = "stages:\n  detect: { input_model: color.onnx }\n  classify: { input_model: gray.onnx }\n\
                rvc2: { superblob: false, number_of_shaves: 5 }\n";
    fs::write(folder.path().join("two.yaml"), text).unwrap();
    let output = convert(folder.path(), "r", &["--path", "two.yaml"]);
    let mut blobs = Vec::new();
    find(&output, ".blob", &mut blobs);
    let results: Vec<&PathBuf> = blobs.iter().filter(|path| !path.to_str().unwrap().contains("intermediate")).collect();
    assert_eq!(results.len(), 2, "{blobs:?}");
    for (stage, model, channels) in [("detect", "color", 3), ("classify", "gray", 1)] {
        let found = results.iter().find(|path| path.to_str().unwrap().contains(stage));
        let blob = read_with_depthai("blob", found.unwrap_or_else(|| panic!("{stage} in {results:?}")));
        assert_eq!(blob["shaves"], 5);
        let dims: Vec<i64> = serde_json::from_value(blob["inputs"]["img"]["dims"].clone()).unwrap();
        assert!(dims.contains(&channels), "{model}: {dims:?}");
    }
}

fn find(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, ending, found);
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
}

/// Converts with these words and compares what was compiled with the original network, computed by ONNX Runtime.
fn check_preprocessing(folder: &Path, model: &str, words: &[&str], steps: &Value) {
    let file = format!("{model}.onnx");
    let output = convert(folder, "r", &[&["--path", file.as_str()][..], words, &SINGLE].concat());
    let made = output.join(format!("intermediate_outputs/{model}-modified.onnx"));
    let request = &build_info(&output)["cmd_info"]["compile_tool_input"];
    assert!(request.to_string().contains(&format!("{model}-modified.onnx")), "this network was compiled: {request}");
    let mut command = Command::new(peer("MODELCONVERTER_TEST_PYTHON"));
    let reader = root().join("tests/readers/preprocessing_reader.py");
    let text = succeed(command.arg(reader).arg(folder.join(&file)).arg(made).arg(steps.to_string()));
    let facts: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let number = |key: &str| facts[key].as_f64().unwrap();
    assert!(number("error") <= 1e-4 * number("size").max(1.0), "{words:?}: {facts}");
    assert!(number("effect") > 1.0, "the steps make a difference: {facts}");
    assert_eq!(read_with_depthai("blob", &output.join(format!("{model}.blob")))["inputs"]["img"]["type"], "U8F");
}

#[test]
fn channels_mean_and_scale_are_those_of_the_original_network() {
    let folder = bench();
    let (mean, scale) = ("[123.675,116.28,103.53]", "[58.395,57.12,57.375]");
    let values = ["mean_values", mean, "scale_values", scale];
    let steps = |reverse: bool| {
        let numbers = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        json!({ "input": "img", "shape": [1, 3, 16, 16], "reverse": reverse,
                "mean": numbers(mean), "scale": numbers(scale) })
    };
    let from_rgb = ["encoding.from", "RGB", "encoding.to", "BGR"];
    check_preprocessing(folder.path(), "color", &[&values[..], &from_rgb].concat(), &steps(true));
    let from_bgr = ["encoding.from", "BGR", "encoding.to", "BGR"];
    check_preprocessing(folder.path(), "color", &[&values[..], &from_bgr].concat(), &steps(false));
}

#[test]
fn gray_inputs_keep_their_mean_and_scale() {
    let folder = bench();
    let words = ["encoding.from", "GRAY", "encoding.to", "GRAY", "mean_values", "[127.5]", "scale_values", "[63.75]"];
    let steps = json!({ "input": "img", "shape": [1, 1, 16, 16], "reverse": false, "mean": [127.5], "scale": [63.75] });
    check_preprocessing(folder.path(), "gray", &words, &steps);
}
