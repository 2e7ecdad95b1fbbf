//! Calibration data that stages make for later ones: real toolchain, small networks, ONNX Runtime as the judge.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod support;

#[path = "support/onnx_builder.rs"]
mod onnx_builder;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use modelconverter::calibration::{Element, Tensor as Sample, npy};
use onnx_builder::{FLOAT, Graph, Model, Node, Tensor, sizes};
use serde_json::{Value, json};
use support::{fail, folder, peer, program, root, shared_store, succeed};

const MEAN: f64 = 120.0;
const SCALE: f64 = 60.0;
/// The first stage, fed pictures that are given as arrays.
const DETECT: &str = "  detect:\n    input_model: detect.onnx\n    encoding: RGB\n    mean_values: 120\n    \
                      scale_values: 60\n    calibration: { path: samples }\n";

/// `img` [1, 3, size, size] through a convolution of 1x1 to `features` [1, 4, size, size].
fn detect(size: i64) -> Vec<u8> {
    let weights: Vec<f32> = (0..12).map(|index| ((index * 37 % 101) as f32 - 50.0) / 64.0).collect();
    let graph = Graph::new()
        .node(Node::new("Conv", &["img", "w"], &["features"]).ints("kernel_shape", &[1, 1]).named("convolution"))
        .initializer(Tensor::floats("w", &[4, 3, 1, 1], &weights))
        .input("img", FLOAT, &sizes(&[1, 3, size, size]))
        .output("features", FLOAT, &sizes(&[1, 4, size, size]));
    Model::new(graph).opset(12).bytes()
}

/// `x` of this shape and its half, `y`.
fn half(shape: &[i64]) -> Vec<u8> {
    let graph = Graph::new()
        .node(Node::new("Mul", &["x", "half"], &["y"]).named("product"))
        .initializer(Tensor::floats("half", &[1], &[0.5]))
        .input("x", FLOAT, &sizes(shape))
        .output("y", FLOAT, &sizes(shape));
    Model::new(graph).opset(12).bytes()
}

/// A folder with `detect.onnx`, `map.onnx` for its output, `vector.onnx` for one number of each channel, and `samples`.
fn bench(size: i64, samples: usize) -> tempfile::TempDir {
    let folder = folder();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("detect.onnx", &detect(size));
    write("map.onnx", &half(&[1, 4, size, size]));
    write("vector.onnx", &half(&[1, 4]));
    fs::create_dir(folder.path().join("samples")).unwrap();
    let side = u64::try_from(size).unwrap();
    for number in 0..samples {
        let count = usize::try_from(3 * side * side).unwrap();
        let bytes = (0..count).map(|index| u8::try_from((index * 97 + number * 31) % 251).unwrap()).collect();
        let sample = Sample { shape: vec![1, 3, side, side], element: Element::Uint8, bytes };
        write(&format!("samples/{number}.npy"), &npy::write(&sample));
    }
    folder
}

/// Writes `stages` into a configuration.
fn configure(folder: &Path, stages: &str) {
    let text = format!("rvc2: {{ superblob: false, number_of_shaves: 4 }}\nstages:\n{stages}");
    fs::write(folder.join("stages.yaml"), text).unwrap();
}

fn convert(folder: &Path) -> PathBuf {
    let words = ["convert", "rvc2", "--to", "native", "--output-dir", "r", "--path", "stages.yaml"];
    succeed(program(folder, &shared_store()).args(words));
    folder.join("output/r")
}

/// Checks what was made for an input against ONNX Runtime, and how many samples there are.
fn check(folder: &Path, made: &Path, mode: &str, count: usize) {
    let task = json!({ "input": "img", "mean": MEAN, "scale": SCALE, "mode": mode });
    let mut reader = Command::new(peer("MODELCONVERTER_TEST_PYTHON"));
    reader.arg(root().join("tests/readers/links_reader.py"));
    reader.arg(folder.join("detect.onnx")).arg(folder.join("samples")).arg(made).arg(task.to_string());
    let facts: Value = serde_json::from_str(&succeed(&mut reader)).unwrap();
    let names: Vec<String> = (0..count).map(|number| format!("{number:06}.npy")).collect();
    assert_eq!(facts["files"], json!(names));
    let number = |key: &str| facts[key].as_f64().unwrap();
    assert!(number("error") <= 1e-5 * number("size") && number("size") > 0.01, "{facts}");
}

fn calibration_samples(output: &Path, stage: &str) -> Value {
    let record = fs::read(output.join(stage).join("buildinfo.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    record["proof"]["calibration-samples"].clone()
}

#[test]
fn outputs_and_what_scripts_make_of_them_calibrate_later_stages() {
    let folder = bench(16, 3);
    let script = "import numpy\n\ndef run_script(outputs):\n    return outputs['features'].mean(axis=(2, 3))\n";
    fs::write(folder.path().join("pool.py"), script).unwrap();
    configure(
        folder.path(),
        &format!(
            "{DETECT}\
             \x20 map:\n    input_model: map.onnx\n    calibration: {{ stage: detect, output: features }}\n\
             \x20 vector:\n    input_model: vector.onnx\n    calibration: {{ stage: detect, script: pool.py }}\n\
             \x20 inline:\n    input_model: vector.onnx\n    calibration:\n      stage: map\n      script: |\n\
             \x20       def run_script(outputs):\n\
             \x20           outputs['y'] *= 2\n\
             \x20           return outputs['y'].mean(axis=(2, 3))\n"
        ),
    );
    let output = convert(folder.path());
    let made = |stage: &str, path: &str| output.join(stage).join("intermediate_outputs/inference_output").join(path);
    check(folder.path(), &made("map", "detect/x"), "output", 2);
    check(folder.path(), &made("vector", "detect/x/script"), "mean", 2);
    check(folder.path(), &made("inline", "map/x/script"), "mean", 2);
    assert_eq!(fs::read_to_string(made("vector", "detect/x/script.py")).unwrap(), script);
    for stage in ["detect", "map", "vector", "inline"] {
        assert_eq!(calibration_samples(&output, stage), 2, "{stage}");
        let model = if stage == "inline" { "vector" } else { stage };
        assert!(output.join(stage).join(format!("{model}.blob")).exists());
    }
    let log = fs::read_to_string(output.join("modelconverter.log")).unwrap();
    assert!(log.contains("input `x` of stage `inline` is calibrated with 2 samples of stage `map`"), "{log}");
    assert_eq!(log.matches("step inference took").count(), 2, "each stage runs once: {log}");
    let record = fs::read_to_string(output.join("buildinfo.json")).unwrap();
    assert!(record.contains("inference_input") && !record.contains(".modelconverter-"), "no name by chance: {record}");
    assert!(!output.join("detect/intermediate_outputs/inference_input").exists());
}

#[test]
fn random_samples_of_a_stage_have_a_recorded_seed() {
    let folder = bench(16, 0);
    let detect = "  detect:\n    input_model: detect.onnx\n    calibration: random\n";
    let map = "  map:\n    input_model: map.onnx\n    calibration: { stage: detect, output: features }\n";
    configure(folder.path(), &format!("{detect}{map}"));
    let run = || {
        let output = convert(folder.path());
        let log = fs::read_to_string(output.join("modelconverter.log")).unwrap();
        assert!(log.contains("input `img` of stage `detect` is fed random numbers of seed 0"), "{log}");
        let record = fs::read(output.join("detect/buildinfo.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        assert_eq!(record["calibration_seeds"], serde_json::json!({ "detect.img": 0 }));
        let made = output.join("map/intermediate_outputs/inference_output/detect/x");
        [0, 1].map(|number| fs::read(made.join(format!("{number:06}.npy"))).unwrap())
    };
    let [first, second] = run();
    assert_ne!(first, second);
    assert_eq!(run(), [first, second]);
}

#[test]
fn samples_come_in_parts_and_irs_run_on_the_device() {
    // Two parts: a sample takes 12 MiB.
    let folder = bench(1024, 8);
    let more = "    verification: { enabled: false }\n";
    let map = "  map:\n    input_model: map.onnx\n    calibration: { stage: detect, output: features }\n";
    let vector = "  vector:\n    input_model: vector.onnx\n    verification: { samples: 8 }\n    calibration:\n\
                  \x20     stage: detect\n      script: |\n\
                  \x20       def run_script(outputs):\n\
                  \x20           return outputs['features'].mean(axis=(2, 3))\n";
    configure(folder.path(), &format!("{DETECT}{more}{map}{more}{vector}"));
    let output = convert(folder.path());
    check(folder.path(), &output.join("vector/intermediate_outputs/inference_output/detect/x/script"), "mean", 8);
    let nobody = output.join("map/intermediate_outputs/inference_output");
    assert!(!nobody.exists(), "a stage without proof needs no samples");

    // The network as the vendor's library wrote it, with mean and scale in itself.
    let small = bench(16, 2);
    configure(small.path(), &format!("{DETECT}{map}"));
    let output = convert(small.path());
    for suffix in ["xml", "bin"] {
        let written = output.join(format!("detect/intermediate_outputs/detect.{suffix}"));
        fs::copy(written, small.path().join(format!("detect.{suffix}"))).unwrap();
    }
    fs::remove_dir_all(&output).unwrap();
    let detect = "  detect:\n    input_model: detect.xml\n    calibration: { path: samples }\n";
    configure(small.path(), &format!("{detect}{map}"));
    let output = convert(small.path());
    check(small.path(), &output.join("map/intermediate_outputs/inference_output/detect/x"), "output", 2);
}

#[test]
fn wrong_scripts_are_refused_before_anything_is_converted() {
    let folder = bench(16, 2);
    let refused = |script: &str| {
        fs::write(folder.path().join("wrong.py"), script).unwrap();
        let link = "  vector:\n    input_model: vector.onnx\n    calibration: { stage: detect, script: wrong.py }\n";
        configure(folder.path(), &format!("{DETECT}{link}"));
        let words = ["convert", "rvc2", "--to", "native", "--output-dir", "r", "--path", "stages.yaml"];
        fail(program(folder.path(), &shared_store()).args(words), 1)
    };
    for (script, reason) in [
        ("def run_script(outputs)\n", "SyntaxError: invalid syntax (line 1)"),
        ("import numpy\nimport nothing_like_it\n", "No module named 'nothing_like_it' (line 2)"),
        ("def run(outputs):\n    return 1\n", "it defines no function `run_script`"),
        ("raise SystemExit(0)\n", "SystemExit: 0 (line 1)"),
    ] {
        let text = refused(script);
        for part in ["the script for input `x` of stage `vector` fails", reason] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let log = fs::read_dir(folder.path().join("output")).unwrap().next().unwrap().unwrap().path();
        let log = fs::read_to_string(log).unwrap();
        assert!(!log.contains("step rewrite"), "nothing was converted: {log}");
        fs::remove_dir_all(folder.path().join("output")).unwrap();
    }
    for (script, reason) in [
        ("def run_script(outputs):\n    return outputs['feature']\n", "KeyError: 'feature' (line 2)"),
        ("def run_script(outputs):\n    pass\n", "`run_script` returns nothing"),
        ("def run_script(outputs):\n    return ['a']\n", "`run_script` returns <U1, which is no array of numbers"),
    ] {
        let text = refused(script);
        assert!(text.contains("the script for input `x` of stage `vector` fails") && text.contains(reason), "{text}");
    }
    let text = refused("def run_script(outputs):\n    return outputs['features']\n");
    for part in ["000000.npy does not fit the input", "[1, 4, 16, 16]"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_is_wrong_with_later_stages_is_told_before_anything_is_converted() {
    let folder = bench(16, 2);
    fs::create_dir(folder.path().join("wrong")).unwrap();
    let sample = Sample { shape: vec![1, 4, 9, 9], element: Element::Float32, bytes: vec![0; 4 * 4 * 81] };
    fs::write(folder.path().join("wrong/0.npy"), npy::write(&sample)).unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    let map = |calibration: &str| format!("  map:\n    input_model: map.onnx\n    calibration: {calibration}\n");
    let empty = DETECT.replace("samples", "empty");
    let arguments = "rvc2: { superblob: false, number_of_shaves: 4, compile_tool_args: [-ip, X8] }";
    for (stages, part) in [
        (format!("{DETECT}{}", map("{ path: wrong }")), "wrong/0.npy does not fit the input"),
        (format!("{empty}{}", map("{ stage: detect, output: features }")), "empty has no calibration data"),
        (format!("{DETECT}  map:\n    input_model: map.onnx\n    {arguments}\n"), "`X8` after `-ip`"),
    ] {
        configure(folder.path(), &stages);
        let words = ["convert", "rvc2", "--to", "native", "--output-dir", "r", "--path", "stages.yaml"];
        let text = fail(program(folder.path(), &shared_store()).args(words), 1);
        assert!(text.contains(part), "{part}: {text}");
        let log = fs::read_to_string(folder.path().join("output/r.log")).unwrap();
        assert!(!log.contains("step rewrite"), "nothing was converted: {log}");
        fs::remove_dir_all(folder.path().join("output")).unwrap();
    }
}

#[test]
fn scripts_have_no_network_and_see_no_files_of_the_host() {
    let folder = bench(16, 2);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let secret = folder.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let script = format!(
        "import os\nimport socket\n\ndef run_script(outputs):\n    assert not os.path.exists({:?})\n    try:\n        \
         socket.create_connection(('127.0.0.1', {port}), 5)\n    except ConnectionRefusedError:\n        \
         return outputs['features'].mean(axis=(2, 3))\n",
        secret.to_str().unwrap()
    );
    fs::write(folder.path().join("curious.py"), script).unwrap();
    let link = "  vector:\n    input_model: vector.onnx\n    calibration: { stage: detect, script: curious.py }\n";
    configure(folder.path(), &format!("{DETECT}{link}"));
    let output = convert(folder.path());
    check(folder.path(), &output.join("vector/intermediate_outputs/inference_output/detect/x/script"), "mean", 2);
}
