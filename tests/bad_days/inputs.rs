//! Models and configurations that are wrong: told before anything is downloaded, assembled or run.

use std::fs;

use crate::check::{convert, fails, names, nothing_made};
use crate::onnx_builder::{Dim, FLOAT, Graph, Model, Node, Tensor, sizes};
use crate::support::program;
use crate::toolchain::{QUICK, folder, made_up, network};

/// Checks conversions that must be refused on the host alone: the store is empty and there is no network.
fn refused(files: &[(&str, &[u8])], cases: &[(&[&str], i32, &[&str])]) {
    let folder = folder();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let store = folder.path().join("store");
    let mut command = convert(folder.path(), &store, &made_up().project, "x.onnx");
    drop(command.arg("--dry-run").output().unwrap());
    let before = names(folder.path());
    for (words, code, parts) in cases {
        let mut command = program(folder.path(), &store);
        let told = fails(command.args(["--offline", "convert", "rvc2"]).args(*words), *code);
        told.says(parts);
        nothing_made(folder.path(), &before);
    }
}

#[test]
fn what_is_no_onnx_is_refused() {
    let good = network().bytes();
    let files: &[(&str, &[u8])] = &[
        ("empty.onnx", b""),
        ("picture.onnx", b"\x89PNG\r\n\x1a\n and so on"),
        ("page.onnx", b"<!DOCTYPE html><html>404</html>"),
        ("pointer.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
        ("cut.onnx", &good[..good.len() / 2]),
        ("text.yaml", b"\xff\xfe\x00"),
        ("model.tflite", b"TFL3"),
        ("model.bin", b""),
    ];
    refused(
        files,
        &[
            (&["--path", "empty.onnx"], 1, &["empty.onnx"]),
            (&["--path", "picture.onnx"], 1, &["picture.onnx"]),
            (&["--path", "page.onnx"], 1, &["page.onnx"]),
            (&["--path", "pointer.onnx"], 1, &["pointer.onnx"]),
            (&["--path", "cut.onnx"], 1, &["cut.onnx"]),
            (&["--path", "text.yaml"], 1, &["text.yaml", "no UTF-8"]),
            (&["--path", "model.tflite"], 1, &["not a TFLite model"]),
            (&["--path", "pictrue.onnx"], 1, &["`pictrue.onnx` does not exist", "did you mean `picture.onnx`?"]),
        ],
    );
}

#[test]
fn inputs_outputs_and_shapes_that_do_not_fit_are_named() {
    let dynamic = Model::new(
        Graph::new()
            .input("image", FLOAT, &[Dim::Symbol("batch"), Dim::Size(3), Dim::Unknown, Dim::Size(5)])
            .node(Node::new("Relu", &["image"], &["out"]).named("relu"))
            .output("out", FLOAT, &[Dim::Symbol("batch"), Dim::Size(3), Dim::Unknown, Dim::Size(5)]),
    );
    let external = Model::new(
        Graph::new()
            .input("image", FLOAT, &sizes(&[1, 3]))
            .node(Node::new("MatMul", &["image", "weights"], &["out"]))
            .initializer(Tensor::external("weights", FLOAT, &[3, 2], &[("location", "gone.data")]))
            .output("out", FLOAT, &sizes(&[1, 2])),
    );
    let outside = Model::new(
        Graph::new()
            .input("image", FLOAT, &sizes(&[1, 3]))
            .node(Node::new("MatMul", &["image", "weights"], &["out"]))
            .initializer(Tensor::external("weights", FLOAT, &[3, 2], &[("location", "../../etc/passwd")]))
            .output("out", FLOAT, &sizes(&[1, 2])),
    );
    refused(
        &[
            ("good.onnx", &network().bytes()),
            ("dynamic.onnx", &dynamic.bytes()),
            ("external.onnx", &external.bytes()),
            ("outside.onnx", &outside.bytes()),
        ],
        &[
            (
                &["--path", "good.onnx", "inputs.0.name", "imgae", "inputs.0.shape", "[1,3,4,5]"],
                1,
                &["`imgae`", "`image`"],
            ),
            (&["--path", "good.onnx", "outputs.0.name", "scores"], 1, &["`scores`", "`score`"]),
            (&["--path", "dynamic.onnx"], 1, &["`image`", "shape"]),
            (&["--path", "good.onnx", "shape", "[1,3,4]"], 1, &["`image`"]),
            (&["--path", "external.onnx"], 1, &["gone.data"]),
            (&["--path", "outside.onnx"], 1, &["`weights`", "../../etc/passwd"]),
        ],
    );
}

#[test]
fn a_network_that_nothing_is_fed_to_is_told_as_that() {
    let model = Model::new(
        Graph::new()
            .input("image", FLOAT, &sizes(&[1, 3, 5, 5]))
            .initializer(Tensor::floats("weights", &[1, 3], &[0.5; 3]))
            .node(Node::new("Relu", &["weights"], &["out"]))
            .output("out", FLOAT, &sizes(&[1, 3])),
    );
    let (folder, made_up) = (folder(), made_up());
    fs::write(folder.path().join("constant.onnx"), model.bytes()).unwrap();
    let command = || convert(folder.path(), &made_up.store, &made_up.project, "constant.onnx");
    let frozen = ["inputs.0.name", "image", "inputs.0.frozen_value", "0"];
    for (words, hint) in [(&[][..], "must reach its outputs"), (&frozen, "`frozen_value`")] {
        let told = fails(command().args(words), 1);
        told.says(&["the same whatever it is fed"]);
        assert!(told.hints().contains(hint), "{}", told.text);
    }
}

#[test]
fn operators_that_no_tool_has_are_named_with_their_nodes() {
    let model = Model::new(
        Graph::new()
            .input("image", FLOAT, &sizes(&[1, 3, 5, 5]))
            .node(Node::new("Relu", &["image"], &["active"]).named("relu_1"))
            .node(Node::new("Det", &["active"], &["out"]).named("determinant_7"))
            .output("out", FLOAT, &sizes(&[1, 3])),
    );
    refused(
        &[("odd.onnx", &model.bytes())],
        &[
            (&["--path", "odd.onnx"], 1, &["odd.onnx", "Det", "determinant_7", QUICK, "`active`"]),
            (&["--path", "odd.onnx", "rvc2.front_end", "mo"], 1, &["Det", "determinant_7"]),
        ],
    );
}

#[test]
fn a_network_that_is_cut_before_such_an_operator_is_taken() {
    let folder = folder();
    let model = Model::new(
        Graph::new()
            .input("image", FLOAT, &sizes(&[1, 3, 5, 5]))
            .node(Node::new("Relu", &["image"], &["active"]).named("relu_1"))
            .node(Node::new("Det", &["active"], &["out"]).named("determinant_7"))
            .output("out", FLOAT, &sizes(&[1, 3])),
    );
    fs::write(folder.path().join("odd.onnx"), model.bytes()).unwrap();
    let mut command = convert(folder.path(), &folder.path().join("store"), &made_up().project, "odd.onnx");
    crate::support::succeed(command.args(["--offline", "--dry-run", "outputs.0.name", "active"]));
}

#[test]
fn everything_wrong_with_a_configuration_is_told_at_once_with_its_place() {
    let yaml = b"input_model: missing.onnx\nmean_value: 1\nrvc2:\n  superblob: perhaps\n  number_of_shaves: 40\n";
    refused(
        &[
            ("all wrong.yaml", yaml),
            ("missing.yaml", b"name: x\ninput_model: missing.onnx\n"),
            ("broken.yaml", b"input_model: [\n"),
            ("number.yaml", b"7\n"),
        ],
        &[
            (
                &["--path", "all wrong.yaml"],
                1,
                &[
                    "all wrong.yaml:1:14: `missing.onnx` does not exist",
                    "all wrong.yaml:2:1",
                    "the nearest valid key is `mean_values`",
                    "all wrong.yaml:4:14",
                    "all wrong.yaml:5:21",
                ],
            ),
            (&["--path", "missing.yaml"], 1, &["missing.yaml:2:14: `missing.onnx` does not exist"]),
            (&["--path", "broken.yaml"], 1, &["broken.yaml:"]),
            (&["--path", "number.yaml"], 1, &["number.yaml:1:1", "mapping"]),
        ],
    );
}

#[test]
fn words_that_are_no_command_line_are_usage_errors() {
    refused(
        &[("good.onnx", &network().bytes())],
        &[
            (&["--path", "good.onnx", "rvc2.superblob"], 2, &["`rvc2.superblob` has no value"]),
            (&["--path", "good.onnx", "--memory", "much"], 2, &["--memory"]),
            (&["--path", "good.onnx", "--memory", "0"], 2, &["--memory", "must be a positive size"]),
            (&["--path", "good.onnx", "--cpus", "-1"], 2, &["--cpus"]),
            (&["--path", "good.onnx", "--engine", "podman"], 2, &["podman", "embedded"]),
        ],
    );
    let folder = folder();
    fs::write(folder.path().join("good.onnx"), network().bytes()).unwrap();
    for time in ["0", "-3", "soon"] {
        let mut command = convert(folder.path(), &folder.path().join("store"), &made_up().project, "good.onnx");
        fails(command.env("MODELCONVERTER_TOOL_TIMEOUT", time), 2).says(&["MODELCONVERTER_TOOL_TIMEOUT", time]);
    }
    assert!(!folder.path().join("output").exists());
}
