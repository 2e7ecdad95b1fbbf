//! NN Archives in and out: made and read by the library that defines them, by DepthAI and by Python's tarfile.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod support;

#[path = "support/onnx_builder.rs"]
mod onnx_builder;
#[path = "support/tflite_builder.rs"]
mod tflite_builder;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use modelconverter::nn_archive::{self, Frames};
use modelconverter::units::ByteSize;
use onnx_builder::{FLOAT, Graph, Model, Node, Tensor, sizes};
use serde_json::{Value, json};
use support::{fail, folder, peer, program, read_with_depthai, root, shared_store, succeed};

/// A network with one convolution of 3x3: `img` [1, 3, 16, 16] to `out` [1, 4, 16, 16].
fn graph(weights: Tensor) -> Graph {
    let convolution = Node::new("Conv", &["img", "w"], &["out"]).ints("kernel_shape", &[3, 3]).ints("pads", &[1; 4]);
    Graph::new()
        .node(convolution.named("convolution"))
        .initializer(weights)
        .input("img", FLOAT, &sizes(&[1, 3, 16, 16]))
        .output("out", FLOAT, &sizes(&[1, 4, 16, 16]))
}

fn weights() -> Vec<f32> {
    (0_u8..108).map(|index| (f32::from(index) * 37.0 % 101.0 - 50.0) / 64.0).collect()
}

fn network() -> Vec<u8> {
    Model::new(graph(Tensor::floats("w", &[4, 3, 3, 3], &weights()))).opset(12).bytes()
}

/// A network that takes what [`network`] makes: `out` [1, 4, 16, 16] to `score`.
fn second_network() -> Vec<u8> {
    let graph = Graph::new()
        .node(Node::new("Relu", &["out"], &["score"]).named("relu"))
        .input("out", FLOAT, &sizes(&[1, 4, 16, 16]))
        .output("score", FLOAT, &sizes(&[1, 4, 16, 16]));
    Model::new(graph).opset(12).bytes()
}

/// The description of [`network`] in the file `path`.
fn config(path: &str, preprocessing: &Value, heads: &Value) -> Value {
    json!({ "config_version": "1.0", "model": {
        "metadata": { "name": "my net", "path": path, "precision": "float32" },
        "inputs": [{ "name": "img", "dtype": "float32", "input_type": "image", "shape": [1, 3, 16, 16],
                     "layout": "NCHW", "preprocessing": preprocessing }],
        "outputs": [{ "name": "out", "dtype": "float32" }],
        "heads": heads,
    }})
}

const CONFIG: &str = "config.json";

/// A folder with `config.json`, the network as `net.onnx` and a second one as `post.onnx`.
fn bench(preprocessing: &Value, heads: &Value) -> tempfile::TempDir {
    let folder = folder();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write(CONFIG, config("net.onnx", preprocessing, heads).to_string().as_bytes());
    write("net.onnx", &network());
    write("post.onnx", &second_network());
    folder
}

fn ask(words: &[&str]) -> Value {
    let mut command = Command::new(peer("MODELCONVERTER_TEST_PYTHON"));
    let text = succeed(command.arg(root().join("tests/readers/archive_peer.py")).args(words));
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Packs files of `folder` with the library that defines NN Archives.
fn made(folder: &Path, name: &str, compression: &str, files: &[&str]) -> String {
    let words = ["make", folder.to_str().unwrap(), name, compression];
    ask(&[&words[..], files].concat()).as_str().unwrap().to_owned()
}

fn read(archive: &Path) -> Value {
    ask(&["read", archive.to_str().unwrap()])
}

fn members(read: &Value) -> Vec<&str> {
    read["members"].as_array().unwrap().iter().map(|member| member["name"].as_str().unwrap()).collect()
}

const SINGLE: [&str; 4] = ["rvc2.superblob", "False", "rvc2.number_of_shaves", "4"];

/// Converts in `folder` and returns the output folder.
fn convert(folder: &Path, name: &str, words: &[&str]) -> PathBuf {
    let convert = ["convert", "rvc2", "--output-dir", name];
    succeed(program(folder, &shared_store()).args(convert).args(words).args(SINGLE));
    folder.join("output").join(name)
}

/// What a conversion would do, without doing it.
fn plan(folder: &Path, words: &[&str]) -> Value {
    let convert = ["--json", "convert", "rvc2", "--dry-run"];
    serde_json::from_str(&succeed(program(folder, &shared_store()).args(convert).args(words))).unwrap()
}

#[test]
fn an_archive_of_others_is_converted_and_its_heads_go_on_unchanged() {
    let head = json!({
        "parser": "YOLO", "name": "first", "outputs": ["out"], "metadata": {
            "yolo_outputs": ["out"], "subtype": "yolov8", "classes": ["cat", "dog"], "n_classes": 2,
            "conf_threshold": 0.123_456_789, "iou_threshold": 0.5, "max_det": 300, "zoo": { "b": [1, 2.5], "a": null },
        },
    });
    let folder = bench(&json!({ "dai_type": "RGB888p", "mean": [1.5, 2, 3], "scale": [2, 4, 8] }), &json!([head]));
    let archive = made(folder.path(), "my.net.v2", "gz", &["net.onnx"]);
    let output = convert(folder.path(), "r", &["--path", &archive]);
    let result = output.join("my.net.v2.rvc2.tar.xz");

    let facts = read_with_depthai("nn_archive", &result);
    assert_eq!((&facts["kind"], &facts["blob"]["shaves"]), (&json!("BLOB"), &json!(4)), "{facts}");
    let input = &facts["inputs"][0];
    assert_eq!((&input["type"], &input["dai_type"]), (&json!("IMAGE"), &json!("BGR888p")), "{facts}");
    assert_eq!((&input["shape"], &input["dtype"]), (&json!([1, 3, 16, 16]), &json!("UINT8")));
    // Mean and scale are in the model now.
    assert_eq!((&input["mean"], &input["scale"]), (&json!([0.0, 0.0, 0.0]), &json!([1.0, 1.0, 1.0])));
    let decoder = &facts["heads"][0];
    assert_eq!((&decoder["parser"], &decoder["classes"]), (&json!("YOLO"), &json!(["cat", "dog"])), "{facts}");
    assert_eq!(decoder["extra"]["zoo"], json!({ "b": [1, 2.5], "a": null }));

    let record = fs::read_to_string(output.join("config.yaml")).unwrap();
    assert!(record.starts_with("# Without the heads of the NN Archive"), "{record}");
    let read = read(&result);
    assert_eq!(members(&read), ["net.blob", "buildinfo.json", CONFIG]);
    let original = self::read(Path::new(&archive));
    assert_eq!(read["config"]["model"]["heads"], original["config"]["model"]["heads"]);
    // Keys keep their order and numbers their digits.
    let heads = |read: &Value| {
        let text = read["text"].as_str().unwrap();
        text[text.find("\"heads\"").unwrap()..].trim_end().to_owned()
    };
    assert_eq!(heads(&read), heads(&original));
    for member in read["members"].as_array().unwrap() {
        let expected = (json!(0o644), json!([0, 0, "", ""]), json!(true));
        assert_eq!((member["mode"].clone(), member["owner"].clone(), member["file"].clone()), expected, "{member}");
    }
    assert_eq!(
        read["checked"]["model"]["metadata"],
        json!({ "name": "net", "path": "net.blob", "precision": "float16" })
    );
}

#[test]
fn every_form_of_archive_is_taken_from_a_fresh_place() {
    let folder = bench(&json!({}), &json!(null));
    let temporary = folder.path().join("temporary");
    fs::create_dir(&temporary).unwrap();
    let mut archives = Vec::new();
    for compression in ["xz", "gz", "bz2"] {
        archives.push(made(folder.path(), "net", compression, &["net.onnx"]));
    }
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let tar = |words: &[&str]| succeed(Command::new("tar").arg("-C").arg(folder.path()).args(words));
    // GNU tar, with the archive's own root and owners of this machine.
    tar(&["-cf", &at("net.tar"), "./config.json", "./net.onnx"]);
    tar(&["--zstd", "-cf", &at("net.tar.zst"), "config.json", "net.onnx"]);
    archives.extend([at("net.tar"), at("net.tar.zst")]);
    fs::copy(&archives[0], at("named like nothing")).unwrap();
    fs::create_dir(at("unpacked")).unwrap();
    for name in [CONFIG, "net.onnx"] {
        fs::copy(at(name), at(&format!("unpacked/{name}"))).unwrap();
    }
    archives.extend([at("named like nothing"), at("unpacked")]);
    for archive in &archives {
        let convert = ["--json", "convert", "rvc2", "--dry-run", "--path", archive, "inputs.0.mean_values", "[1,2,3]"];
        let mut command = program(folder.path(), &shared_store());
        let text = succeed(command.env("TMPDIR", &temporary).args(convert));
        let plan: Value = serde_json::from_str(&text).unwrap();
        let stage = &plan["order"]["configuration"]["document"];
        let mean: Vec<f64> = serde_json::from_value(stage["inputs"][0]["mean_values"].clone()).unwrap();
        assert_eq!(mean, [1.0, 2.0, 3.0], "overrides win: {stage}");
        let source = plan["mounts"][0]["source"].as_str().unwrap();
        assert!(source.ends_with("/net.onnx"), "{plan}");
        assert_eq!(source.starts_with(temporary.to_str().unwrap()), !archive.ends_with("unpacked"), "{source}");
        assert_eq!(plan["order"]["main-stage"], "my net");
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "nothing of {archive} is left");
    }
}

#[test]
fn preprocessing_goes_into_the_model_or_into_the_archive() {
    let folder = bench(&json!({}), &json!(null));
    let words = |more: &[&'static str]| {
        let values = ["mean_values", "[1.5,2,3]", "scale_values", "[2,4,8]", "encoding.from", "RGB"];
        [&["--path", "net.onnx"][..], &values, &["encoding.to", "BGR"], more].concat()
    };
    let baked = convert(folder.path(), "baked", &words(&[]));
    let left = convert(folder.path(), "left", &words(&["--archive-preprocess"]));
    let bare = convert(folder.path(), "bare", &["--path", "net.onnx", "encoding", "RGB"]);
    let blob = |output: &Path| fs::read(output.join("net.blob")).unwrap();
    assert!(blob(&left) == blob(&bare) && blob(&left) != blob(&baked), "the model is as it was");

    let input = |output: &Path| read_with_depthai("nn_archive", &output.join("net.rvc2.tar.xz"))["inputs"][0].clone();
    let left_output = left.clone();
    let (baked, left) = (input(&baked), input(&left));
    let facts = |input: &Value| ["type", "dai_type", "reverse_channels", "mean", "scale"].map(|key| input[key].clone());
    let zeros = [json!([0.0, 0.0, 0.0]), json!([1.0, 1.0, 1.0])];
    let values = [json!([1.5, 2.0, 3.0]), json!([2.0, 4.0, 8.0])];
    let [mean, scale] = zeros;
    assert_eq!(facts(&baked), [json!("IMAGE"), json!("BGR888p"), json!(false), mean, scale]);
    let [mean, scale] = values;
    assert_eq!(facts(&left), [json!("IMAGE"), json!("RGB888p"), json!(true), mean, scale]);

    let record = fs::read_to_string(left_output.join("config.yaml")).unwrap();
    assert!(record.starts_with("# Converted with --archive-preprocess: give that again"), "{record}");

    let text = fail(
        program(folder.path(), &folder.path().join("store")).args([
            "convert",
            "rvc2",
            "--to",
            "native",
            "--archive-preprocess",
            "--path",
            "net.onnx",
        ]),
        2,
    );
    assert!(text.contains("--to nn_archive"), "{text}");
}

#[test]
fn a_compiled_layout_is_described_as_it_is() {
    let folder = bench(&json!({}), &json!(null));
    let words = ["--path", "net.onnx", "rvc2.compile_tool_args", r#"["-il","NHWC","-ip","FP16"]"#];
    let output = convert(folder.path(), "r", &words);
    let facts = read_with_depthai("nn_archive", &output.join("net.rvc2.tar.xz"));
    let input = &facts["inputs"][0];
    assert_eq!((&input["layout"], &input["shape"]), (&json!("NHWC"), &json!([1, 16, 16, 3])), "{facts}");
    assert_eq!((&input["dai_type"], &input["dtype"]), (&json!("BGRF16F16F16i"), &json!("FLOAT16")), "{facts}");
}

#[test]
fn two_models_of_an_archive_go_on_together() {
    let head = json!({ "parser": "P", "metadata": { "postprocessor_path": "post.onnx", "k": 0.10 } });
    let folder = bench(&json!({ "dai_type": "BGR888p" }), &json!([head]));
    let archive = made(folder.path(), "pair", "xz", &["net.onnx", "post.onnx"]);
    let output = convert(folder.path(), "r", &["--path", &archive, "--archive-preprocess", "--main-stage", "my net"]);
    let result = output.join("pair.rvc2.tar.xz");
    let read = read(&result);
    assert_eq!(members(&read), ["my net.blob", "post.blob", "buildinfo.json", CONFIG]);
    let records = read["build_info"].as_object().unwrap();
    assert_eq!(records.keys().collect::<Vec<_>>(), ["my net", "post"]);
    let facts = read_with_depthai("nn_archive", &result);
    assert_eq!((&facts["name"], &facts["path"]), (&json!("my net"), &json!("my net.blob")));
    assert_eq!(facts["heads"][0]["postprocessor_path"], "post.blob", "{facts}");
    for name in [
        "my net/net.blob",
        "my net/buildinfo.json",
        "my net/config.yaml",
        "my net/intermediate_outputs",
        "post/post.blob",
        "post/buildinfo.json",
        "config.yaml",
        "buildinfo.json",
        "modelconverter.log",
    ] {
        assert!(output.join(name).exists(), "{name}");
    }
    // Overrides reach each stage by its name.
    let plan = plan(folder.path(), &["--path", &archive, "stages.post.inputs.0.name", "out", "shape", "[1,4,16,16]"]);
    let stages = &plan["order"]["configuration"]["document"]["stages"];
    assert_eq!(stages["post"]["inputs"][0]["name"], "out", "{stages}");

    let other = ["convert", "rvc2", "--path", &archive, "--main-stage", "post"];
    let text = fail(program(folder.path(), &folder.path().join("store")).args(other), 2);
    assert!(text.contains("the main stage of the NN Archive is `my net`"), "{text}");
}

#[test]
fn stages_of_a_configuration_get_an_archive_each() {
    let folder = bench(&json!({}), &json!(null));
    let text = "name: pair\nstages:\n  post: { input_model: post.onnx }\n  yolov5n-seg: { input_model: net.onnx }\n";
    fs::write(folder.path().join("two.yaml"), text).unwrap();
    let words = ["--json", "convert", "rvc2", "--output-dir", "r", "--path", "two.yaml"];
    let text = succeed(program(folder.path(), &shared_store()).args(words).args(SINGLE));
    let report: Value = serde_json::from_str(&text).unwrap();
    let paths: Vec<&str> =
        report["artifacts"].as_array().unwrap().iter().map(|artifact| artifact["path"].as_str().unwrap()).collect();
    let archives = ["yolov5n-seg/yolov5n-seg.rvc2.tar.xz", "post/post.rvc2.tar.xz"];
    assert_eq!(paths[..2], archives, "the main one first");
    let output = folder.path().join("output/r");
    for (archive, shaves) in std::iter::zip(archives, [4, 4]) {
        let facts = read_with_depthai("nn_archive", &output.join(archive));
        assert_eq!(facts["blob"]["shaves"], shaves, "{facts}");
    }
    let record: Value = serde_json::from_slice(&fs::read(output.join("buildinfo.json")).unwrap()).unwrap();
    let own: Value = serde_json::from_slice(&fs::read(output.join("post/buildinfo.json")).unwrap()).unwrap();
    assert_eq!(record["post"], own);
    // Both kinds of record can be converted again.
    let whole = plan(folder.path(), &["--path", output.join("config.yaml").to_str().unwrap()]);
    assert_eq!(whole["order"]["configuration"]["document"]["stages"].as_object().unwrap().len(), 2);
    let alone = plan(folder.path(), &["--path", output.join("post/config.yaml").to_str().unwrap()]);
    assert_eq!(alone["order"]["main-stage"], "post");
}

#[test]
fn what_cannot_become_an_archive_is_refused_before_anything_is_done() {
    let feeding = |path: &str| json!({ "parser": "P", "metadata": { "postprocessor_path": path } });
    let folder = bench(&json!({}), &json!([feeding("post.onnx"), feeding("third.onnx")]));
    fs::write(folder.path().join("third.onnx"), second_network()).unwrap();
    let archive = made(folder.path(), "three", "xz", &["net.onnx", "post.onnx", "third.onnx"]);
    let yaml = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(
            &path,
            format!("stages:\n  a: {{ input_model: net.onnx }}\n  b: {{ input_model: post.onnx, {text} }}\n"),
        )
        .unwrap();
        path.to_str().unwrap().to_owned()
    };
    let link = |name: &str, link: &str| yaml(name, &format!("calibration: {link}"));
    let cases = [
        (archive, "", 1, "an NN Archive of more than two stages cannot be converted"),
        (yaml("1.yaml", ""), "--main-stage=c", 2, "there is no stage `c`"),
        (link("2.yaml", "{stage: c, output: x}"), "", 1, "`c`, which is no stage"),
        (link("3.yaml", "{stage: a, output: ouf}"), "", 1, "the nearest is `out`"),
        (link("4.yaml", "{stage: b, output: score}"), "", 1, "calibrated on its own results"),
    ];
    let unpacked = folder.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    fs::write(unpacked.join("config.json"), r#"{"config_version": "1.0", "model": {}}"#).unwrap();
    let cases = cases.into_iter().chain([
        (unpacked.join("config.json").to_str().unwrap().to_owned(), "", 1, "give the folder in which it is"),
        ("net.zip".to_owned(), "", 1, "NN Archives in the form `.zip` cannot be read"),
    ]);
    for (path, more, code, part) in &cases.collect::<Vec<_>>() {
        let words = ["--path", path, more].into_iter().filter(|word| !word.is_empty());
        let convert = ["--offline", "convert", "rvc2"];
        // Nothing is there to convert with: whoever gets further fails otherwise.
        let text = fail(program(folder.path(), &folder.path().join("store")).args(convert).args(words), *code);
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!folder.path().join("output").exists());
}

/// Wraps `model` in `folder`, and returns what the program says.
fn wrap(folder: &Path, words: &[&str]) -> Value {
    let text = succeed(program(folder, &folder.join("store")).args(["--json", "archive"]).args(words));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn models_are_wrapped_with_all_their_files() {
    let folder = bench(&json!({}), &json!(null));
    let here = folder.path();
    let outside = Tensor::external("w", FLOAT, &[4, 3, 3, 3], &[("location", "data/w.bin")]);
    fs::write(here.join("far.v2.onnx"), Model::new(graph(outside)).opset(12).bytes()).unwrap();
    fs::create_dir(here.join("data")).unwrap();
    let bytes: Vec<u8> = weights().iter().flat_map(|weight| weight.to_le_bytes()).collect();
    fs::write(here.join("data/w.bin"), &bytes).unwrap();

    let far = wrap(here, &["far.v2.onnx"]);
    let archive = here.join("far.v2.tar.xz");
    assert_eq!(far["archive"], archive.to_str().unwrap());
    assert_eq!(far["size"], fs::metadata(&archive).unwrap().len());
    let read = self::read(&archive);
    assert_eq!(members(&read), ["far.v2.onnx", "data/w.bin", CONFIG]);
    assert_eq!(read["config"], far["config"]);
    let model = &read["checked"]["model"];
    assert_eq!(model["metadata"], json!({ "name": "far.v2", "path": "far.v2.onnx", "precision": "float32" }));
    assert_eq!((&model["inputs"][0]["input_type"], &model["inputs"][0]["layout"]), (&json!("image"), &json!("NCHW")));
    assert_eq!(read_with_depthai("nn_archive", &archive)["kind"], "OTHER");

    fs::write(here.join("small.tflite"), tflite_builder::network().bytes()).unwrap();
    wrap(here, &["small.tflite", "--save-path", "small.tar"]);
    let model = self::read(&here.join("small.tar"))["checked"]["model"].clone();
    assert_eq!((&model["metadata"]["path"], &model["inputs"][0]["layout"]), (&json!("small.tflite"), &json!("NHWC")));

    // What was wrapped is converted: the same blob as without the archive, and an IR on the way.
    let words = ["rvc2.front_end", "mo"];
    let from_archive = convert(here, "a", &[&["--path", "far.v2.tar.xz"][..], &words].concat());
    let from_model = convert(here, "b", &[&["--path", "net.onnx"][..], &words].concat());
    let blob = from_archive.join("far_v2.blob");
    assert!(fs::read(&blob).unwrap() == fs::read(from_model.join("net.blob")).unwrap());

    let ir = from_model.join("intermediate_outputs/net.xml");
    let made = wrap(here, &[ir.to_str().unwrap(), "--save-path", "ir.tar.gz"]);
    let read = self::read(&here.join("ir.tar.gz"));
    assert_eq!((members(&read), &made["config"]), (vec!["net.xml", "net.bin", CONFIG], &read["config"]));
    assert_eq!(read["checked"]["model"]["inputs"][0]["shape"], json!([1, 3, 16, 16]));

    let from_ir = convert(here, "c", &["--path", "ir.tar.gz", "name", "chosen"]);
    let made = ["net.blob", "net.xml", "net.bin", "chosen.rvc2.tar.xz"].map(|name| from_ir.join(name));
    assert!(made.iter().all(|path| path.exists()) && fs::read(&made[0]).unwrap() == fs::read(&blob).unwrap());

    fs::create_dir(here.join("folder")).unwrap();
    wrap(here, &[blob.to_str().unwrap(), "--save-path", "folder"]);
    let facts = read_with_depthai("nn_archive", &here.join("folder/far_v2.tar.xz"));
    assert_eq!(
        (&facts["kind"], &facts["blob"]["shaves"], &facts["precision"]),
        (&json!("BLOB"), &json!(4), &json!("FLOAT16"))
    );
    let input = &facts["inputs"][0];
    assert_eq!(
        (&input["dtype"], &input["layout"], &input["dai_type"]),
        (&json!("UINT8"), &json!("NCHW"), &json!(null))
    );
}

#[test]
fn what_cannot_be_wrapped_is_refused_with_the_reason() {
    let folder = bench(&json!({}), &json!(null));
    let here = folder.path();
    let outside = Tensor::external("w", FLOAT, &[4, 3, 3, 3], &[("location", "../w.bin")]);
    fs::write(here.join("outside.onnx"), Model::new(graph(outside)).bytes()).unwrap();
    let beside = Tensor::external("w", FLOAT, &[4, 3, 3, 3], &[("location", "gone.bin")]);
    fs::write(here.join("gone.onnx"), Model::new(graph(beside)).bytes()).unwrap();
    fs::write(here.join("broken.blob"), b"\x7felf").unwrap();
    fs::write(here.join("broken.superblob"), [0; 200]).unwrap();
    fs::write(here.join("net.dlc"), "").unwrap();
    for (words, code, part) in [
        (&["net.onnx", "--put-file-plugin", "mine"][..], 2, "runs no Python code"),
        (&["net.onnx", "--save-path", "https://b/x.tar.xz"], 1, "only buckets and folders take them"),
        (&["net.onnx", "--save-path", "nowhere/x.tar.xz"], 2, "there is no folder"),
        (&["net.dlc"], 1, "Qualcomm's tools alone"),
        (&["outside.onnx"], 1, "outside the model's folder"),
        (&["gone.onnx"], 1, "gone.bin"),
        (&["broken.blob"], 1, "broken.blob"),
        (&["broken.superblob"], 1, "broken.superblob"),
        (&["missing.onnx"], 1, "it does not exist"),
    ] {
        let text = fail(program(here, &here.join("store")).arg("archive").args(words), code);
        assert!(text.contains(part), "{part}: {text}");
    }
    let left: Vec<_> = fs::read_dir(here).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().contains(".tar")), "{left:?}");
}

#[test]
fn the_same_model_makes_the_same_archive_anywhere() {
    let folder = bench(&json!({}), &json!(null));
    let here = folder.path();
    for form in ["tar.xz", "tar.gz", "tar.bz2", "tar.zst", "tar"] {
        let mut digests = BTreeMap::new();
        for (name, variables, umask) in [
            ("plain", &[][..], 0o022),
            ("other", &[("LC_ALL", "tr_TR.UTF-8"), ("TZ", "Pacific/Kiritimati"), ("TMPDIR", "/")], 0o077),
        ] {
            let model = here.join(name).join("net.onnx");
            fs::create_dir_all(model.parent().unwrap()).unwrap();
            fs::write(&model, network()).unwrap();
            // One processor is one thread.
            let mut command = Command::new("taskset");
            let inner = program(here, &here.join("store"));
            command.args(["--cpu-list", if umask == 0o077 { "0" } else { "0-1" }]).arg(inner.get_program());
            command.current_dir(here).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
            command.envs(variables.iter().copied());
            let save = here.join(name).join(format!("made.{form}"));
            command.arg("archive").arg(&model).arg("--save-path").arg(&save);
            // SAFETY: umask is safe to call between fork and exec.
            unsafe {
                command.pre_exec(move || {
                    rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
                    Ok(())
                });
            }
            succeed(&mut command);
            digests.insert(name, fs::read(&save).unwrap());
        }
        assert!(digests["plain"] == digests["other"], "{form}");
    }
}

#[test]
fn heads_that_take_what_the_network_has_not_are_told() {
    let head = |output: &str, metadata: Value| json!({ "parser": "YOLO", "name": "first", "outputs": [output], "metadata": metadata });
    for (output, metadata, is_told) in [
        ("out", json!({ "yolo_outputs": ["out"], "mask_outputs": null, "n_outputs": 3 }), false),
        ("oyt", json!({}), true),
        ("out", json!({ "yolo_outputs": ["out", "oyt"] }), true),
        ("out", json!({ "protos_outputs": "oyt" }), true),
    ] {
        let folder = bench(&json!({}), &json!([head(output, metadata)]));
        let archive = made(folder.path(), "net", "gz", &["net.onnx"]);
        let mut command = program(folder.path(), &shared_store());
        let said = support::said(&command.args(["convert", "rvc2", "--dry-run", "--path", &archive]).output().unwrap());
        let warning = "the head `YOLO` takes output `oyt`, which the network does not have, the nearest is `out`";
        assert_eq!(said.contains(warning), is_told, "{said}");
    }
}

#[test]
fn xz_and_tar_read_archives_with_and_without_what_can_be_compressed() {
    let folder = folder();
    let here = folder.path();
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    // Blocks of all kinds, mixed where one ends: repetitions, numbers whose high bytes are few, and noise.
    let model = (0..5 << 20).map(|at| match at >> 20 {
        1 => 7,
        3 if at % 2 == 1 => noise() & 0x0f,
        _ => noise(),
    });
    let model: Vec<u8> = model.collect();
    let json = br#"{"config_version": "1.0", "model": {"metadata": {"name": "net", "path": "net.bin"}, "inputs": [], "outputs": [], "heads": null}}"#;
    let document = nn_archive::Document::parse(json).unwrap();
    let size = ByteSize::new(model.len() as u64);
    let mut members = [nn_archive::Member { path: "net.bin".parse().unwrap(), size, content: &mut model.as_slice() }];
    let contents = nn_archive::Contents { document: &document, build_info: None, members: &mut members };
    let haste = nn_archive::Haste { threads: std::num::NonZeroU32::new(2).unwrap(), early: Default::default() };
    let archive = nn_archive::write(contents, nn_archive::ArchiveForm::Xz, &haste, Vec::new()).unwrap();
    fs::write(here.join("net.tar.xz"), &archive).unwrap();
    let listed = succeed(Command::new("xz").current_dir(here).args(["--robot", "--list", "--verbose", "net.tar.xz"]));
    let totals: Vec<&str> = listed.lines().find(|line| line.starts_with("totals")).unwrap().split('\t').collect();
    assert_eq!(totals[1..3], ["1", "6"], "one stream of six blocks: {listed}");
    assert!(archive.len() < (3 << 20) + (3 << 18) + 150_000, "{listed}");
    succeed(Command::new("xz").current_dir(here).args(["--test", "net.tar.xz"]));
    succeed(Command::new("tar").current_dir(here).args(["-xJf", "net.tar.xz"]));
    assert!(fs::read(here.join("net.bin")).unwrap() == model);
    let python =
        "import sys, tarfile; sys.stdout.write(str(sum(tarfile.open('net.tar.xz').extractfile('net.bin').read())))";
    let sum = succeed(Command::new(peer("MODELCONVERTER_TEST_PYTHON")).current_dir(here).args(["-c", python]));
    assert_eq!(sum, model.iter().map(|byte| u64::from(*byte)).sum::<u64>().to_string());
}

#[test]
fn letters_of_all_scripts_stay_in_names_that_every_reader_finds() {
    let folder = folder();
    let long = "模型".repeat(40);
    for name in ["模型 é.v2", &long] {
        fs::write(folder.path().join(format!("{name}.onnx")), network()).unwrap();
        let words = ["convert", "rvc2", "--output-dir", "r", "--path"];
        let path = format!("{name}.onnx");
        succeed(program(folder.path(), &shared_store()).args(words).arg(path).args(SINGLE));
        let result = folder.path().join("output/r");
        let mut names = fs::read_dir(&result).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let archive = names.find(|name| name.ends_with(".rvc2.tar.xz")).unwrap();
        let stem = archive.trim_end_matches(".rvc2.tar.xz");
        assert!(stem == "模型_é_v2" || (long.starts_with(stem) && stem.len() > 80), "{stem}");
        // A process without a locale takes no such names out of pax headers.
        let mut reader = Command::new(peer("MODELCONVERTER_TEST_PYTHON"));
        reader.env("LC_ALL", "C").env("PYTHONCOERCECLOCALE", "0").env("PYTHONUTF8", "0");
        reader.arg(root().join("tests/readers/depthai_reader.py")).arg("nn_archive").arg(result.join(&archive));
        let said = succeed(&mut reader);
        let facts: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        assert_eq!((&facts["path"], &facts["kind"]), (&json!(format!("{stem}.blob")), &json!("BLOB")));
    }
}

#[test]
fn hostile_archives_are_refused_and_leave_nothing() {
    let folder = bench(&json!({}), &json!(null));
    let script = r#"
import io, sys, tarfile, zlib
folder, kind = sys.argv[1:]
def member(name, data=b"x", **keys):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in keys.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data) if info.isfile() else None)
with tarfile.open(f"{folder}/{kind}.tar.gz", "w:gz", format=tarfile.GNU_FORMAT) as tar:
    tar.add(f"{folder}/config.json", "config.json")
    tar.add(f"{folder}/net.onnx", "net.onnx")
    if kind == "climbs": member("../climbed")
    if kind == "absolute": member("/tmp/absolute-of-an-archive")
    if kind == "symlink": member("link", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")
    if kind == "hardlink": member("link", b"", type=tarfile.LNKTYPE, linkname="net.onnx")
    if kind == "device": member("null", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
    if kind == "pipe": member("pipe", b"", type=tarfile.FIFOTYPE)
    if kind == "double": member("net.onnx")
    if kind == "config-twice": tar.add(f"{folder}/config.json", "./config.json")
    if kind == "below-a-file": member("net.onnx/below")
    if kind == "many": [member(str(number), b"") for number in range(10_001)]
    if kind == "bomb":
        info = tarfile.TarInfo("zeros")
        info.size = (1 << 30) + 1
        tar.fileobj.write(info.tobuf(tarfile.GNU_FORMAT))
"#;
    let temporary = folder.path().join("temporary");
    fs::create_dir(&temporary).unwrap();
    for (kind, part) in [
        ("climbs", "cannot be used"),
        ("absolute", "absolute path"),
        ("symlink", "no links"),
        ("hardlink", "no links"),
        ("device", "device"),
        ("pipe", "named pipe"),
        ("double", "stands twice"),
        ("config-twice", "stands twice"),
        ("below-a-file", "no folder"),
        ("many", "more than 10000 members"),
        ("bomb", "unpacks to more than"),
    ] {
        let mut python = Command::new(peer("MODELCONVERTER_TEST_PYTHON"));
        succeed(python.args(["-c", script]).arg(folder.path()).arg(kind));
        let archive = folder.path().join(format!("{kind}.tar.gz"));
        let mut command = program(folder.path(), &folder.path().join("store"));
        let convert = ["--offline", "convert", "rvc2", "--path", archive.to_str().unwrap()];
        let text = fail(command.env("TMPDIR", &temporary).args(convert), 1);
        assert!(text.contains(part), "{kind}: {text}");
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "{kind}");
    }
    assert!(!Path::new("/tmp/absolute-of-an-archive").exists() && !folder.path().join("climbed").exists());
}

#[test]
fn all_frame_types_of_depthai_are_known() {
    let names = ask(&["frames"]);
    let names: Vec<&str> = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(names.len() > 30, "{names:?}");
    // Four channels of colour, or of depth: nothing that a picture of three is made into.
    let unknown: Vec<_> = names.iter().filter(|name| Frames::of(name) == Frames::Unknown).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    for name in ["RGB888p", "RGB888i", "BGR888p", "BGR888i", "RGBF16F16F16p", "BGRF16F16F16i", "GRAY8", "GRAYF16"] {
        assert!(names.contains(&name) && Frames::of(name) != Frames::Foreign, "{name}");
    }
}
