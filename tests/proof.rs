//! Whether the proof of a conversion proves anything: the prover of the real image against an independent judge, and
//! conversions whose networks are right, or wrong on purpose.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod support;

#[path = "support/onnx_builder.rs"]
mod onnx_builder;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use modelconverter::calibration::{Element, Tensor as Sample, npy};
use modelconverter::config::Tolerance;
use modelconverter::exchange::Distance;
use modelconverter::invocation::proof::{Event, Network, Refusal, Transcript};
use onnx_builder::{Dim, FLOAT, Graph, INT8, INT64, Model, Node, Tensor, sizes};
use serde_json::{Value, json};
use support::{fail, folder, peer, program, read_with_depthai, root, shared_store, succeed};

/// `img` [1, 3, 20, 20] through a convolution of 3x3 to `out`, and the strongest of its channels to `class`.
fn network(shift: usize) -> Graph {
    let weights: Vec<f32> = (0..108).map(|index| (((index + shift) * 37 % 101) as f32 - 50.0) / 64.0).collect();
    Graph::new()
        .node(
            Node::new("Conv", &["img", "w", "b"], &["inner"]).ints("kernel_shape", &[3, 3]).ints("pads", &[1, 1, 1, 1]),
        )
        .node(Node::new("Relu", &["inner"], &["out"]))
        .node(Node::new("ArgMax", &["inner"], &["class"]).int("axis", 1).int("keepdims", 0))
        .initializer(Tensor::floats("w", &[4, 3, 3, 3], &weights))
        .initializer(Tensor::floats("b", &[4], &[0.5, -1.0, 0.0, 2.0]))
        .input("img", FLOAT, &sizes(&[1, 3, 20, 20]))
        .output("out", FLOAT, &sizes(&[1, 4, 20, 20]))
        .output("class", INT64, &sizes(&[1, 20, 20]))
}

fn model(graph: Graph) -> Vec<u8> {
    Model::new(graph).opset(12).bytes()
}

/// Bytes in this shape, no two neighbours alike.
fn bytes(shape: &[u64]) -> Sample {
    let count = shape.iter().product::<u64>();
    let bytes = (0..count).map(|index| u8::try_from(index * 97 % 251).unwrap()).collect();
    Sample { shape: shape.to_vec(), element: Element::Uint8, bytes }
}

/// Lets the prover of the image carry out a request about models in `folder`, which it sees as `/work`.
fn prove(folder: &Path, request: &Value) -> Transcript {
    fs::write(folder.join("request"), format!("{request}\n")).unwrap();
    let command = "python3.9 -s /usr/share/modelconverter/prove.py < request 2>/dev/null";
    let said = succeed(program(folder, &shared_store()).args(["--quiet", "shell", "rvc2", "--command", command]));
    let mut transcript = Transcript::default();
    said.lines().for_each(|line| transcript.heed(serde_json::from_str::<Event>(line).unwrap()));
    transcript
}

fn distances(transcript: &Transcript, network: Network) -> Vec<Distance> {
    let account = transcript.of(network);
    assert!(account.refusal.is_none(), "{account:?}");
    account.worst(&Tolerance::SINGLE)
}

fn request(original: &str, rewritten: &str, outputs: &[&str], steps: &Value) -> Value {
    json!({
        "seed": 5, "samples": 2, "outputs": outputs, "original": original, "rewritten": rewritten,
        "inputs": [{
            "name": "img", "shape": [1, 3, 20, 20], "preprocessing": steps,
            "values": { "kind": "integers", "low": 0, "high": 255, "patches": [2, 3] },
        }],
    })
}

fn steps() -> Value {
    let (mean, scale) = (json!([123.7, 116.3, 103.5]), json!([58.4, 57.1, 57.4]));
    json!({ "channels": 1, "reverse": true, "mean": mean, "scale": scale, "outside": false })
}

#[test]
fn the_prover_says_what_an_independent_judge_says() {
    let folder = folder();
    fs::write(folder.path().join("a.onnx"), model(network(0))).unwrap();
    fs::write(folder.path().join("b.onnx"), model(network(1))).unwrap();
    let mut request = request("/work/a.onnx", "/work/b.onnx", &["out", "class"], &steps());
    // The vendor's device runs the same wrong network, and must come to the same figures.
    request["imported"] = json!("/work/b.onnx");
    // A calibration sample whose channels are the last axis follows the sets that are drawn.
    fs::write(folder.path().join("0.npy"), npy::write(&bytes(&[1, 20, 20, 3]))).unwrap();
    request["recorded"] = json!([{ "img": "/work/0.npy" }]);
    request["inputs"][0]["axes"] = json!([0, 3, 1, 2]);
    let transcript = prove(folder.path(), &request);

    let mut reader = Command::new(peer("MODELCONVERTER_TEST_PYTHON"));
    reader.arg(root().join("tests/readers/proof_reader.py")).arg(folder.path());
    reader.stdin(Stdio::from(fs::File::open(folder.path().join("request")).unwrap()));
    let judge: Value = serde_json::from_str(&succeed(&mut reader)).unwrap();
    for network in [Network::Rewritten, Network::Imported] {
        let found = distances(&transcript, network);
        let names: Vec<&str> = found.iter().map(|distance| distance.output.as_str()).collect();
        assert_eq!(names, ["out", "class"]);
        for distance in found {
            let expected = &judge[&distance.output];
            let near = |key: &str, found: f64| {
                let expected = expected[key].as_f64().unwrap();
                assert!((found - expected).abs() <= 1e-4 * expected.abs(), "{key}: {distance:?} and {expected}");
            };
            near("absolute", distance.absolute);
            near("largest", distance.largest);
            if distance.output == "out" {
                near("cosine", distance.cosine.unwrap());
                near("relative", distance.relative.unwrap());
                assert_eq!((distance.elements, distance.differing), (4800, 0));
            } else {
                assert_eq!((distance.cosine, distance.elements), (None, 1200));
                assert_eq!(json!(distance.differing), expected["differing"]);
            }
        }
    }
}

#[test]
fn the_original_is_told_how_far_rounding_moves_it() {
    let folder = folder();
    // Neighbours are whole turns apart before the sine, and next to each other behind the clipping.
    let graph = Graph::new()
        .node(Node::new("Mul", &["img", "million"], &["far"]))
        .node(Node::new("Sin", &["far"], &["wild"]))
        .node(Node::new("Relu", &["img"], &["calm"]))
        .node(Node::new("Add", &["of", "of"], &["whole"]))
        .initializer(Tensor::floats("million", &[], &[1e6]))
        .input("img", FLOAT, &sizes(&[1, 3, 20, 20]))
        .input("of", INT64, &sizes(&[4]));
    let graph = graph.output("wild", FLOAT, &sizes(&[1, 3, 20, 20])).output("calm", FLOAT, &sizes(&[1, 3, 20, 20]));
    fs::write(folder.path().join("m.onnx"), model(graph.output("whole", INT64, &sizes(&[4])))).unwrap();
    let mut request = request("/work/m.onnx", "/work/m.onnx", &["wild", "calm", "whole"], &json!(null));
    let whole =
        json!({ "name": "of", "shape": [4], "values": { "kind": "integers", "low": 1, "high": 9, "patches": [] }});
    request["inputs"].as_array_mut().unwrap().push(whole);
    request["shaken"] = json!(2);
    let transcript = prove(folder.path(), &request);
    let account = transcript.of(Network::Original);
    let told: Vec<_> = account.distances.iter().map(|it| (it.output.as_str(), it.set.unwrap())).collect();
    assert_eq!(told, [("wild", 0), ("calm", 0), ("whole", 0), ("wild", 1), ("calm", 1), ("whole", 1)]);
    for distance in &account.distances {
        match distance.output.as_str() {
            "wild" => assert!(distance.relative.unwrap() > 1.0, "{distance:?}"),
            "calm" => assert!((1e-9..1e-6).contains(&distance.relative.unwrap()), "{distance:?}"),
            // Whole numbers have no last bit that could be left to chance.
            _ => assert_eq!(distance.differing, 0, "{distance:?}"),
        }
    }
    assert_eq!(transcript.of(Network::Rewritten), Default::default());
}

#[test]
fn what_is_no_number_is_compared_by_its_place() {
    let folder = folder();
    let of = |operator: &str| {
        let node = Node::new(operator, &["img"], &["out"]);
        let shape = sizes(&[1, 3, 20, 20]);
        model(Graph::new().node(node).input("img", FLOAT, &shape).output("out", FLOAT, &shape))
    };
    for (name, operator) in [("log", "Log"), ("exp", "Exp"), ("root", "Sqrt")] {
        fs::write(folder.path().join(format!("{name}.onnx")), of(operator)).unwrap();
    }
    let of_two = |first: &str, second: &str| {
        let mut request =
            request(&format!("/work/{first}.onnx"), &format!("/work/{second}.onnx"), &["out"], &json!(null));
        request["inputs"][0]["values"] = json!({ "kind": "normal" });
        distances(&prove(folder.path(), &request), Network::Rewritten).remove(0)
    };
    // Half of the logarithms are of negative numbers.
    let same = of_two("log", "log");
    assert_eq!((same.differing, same.absolute, same.cosine), (0, 0.0, Some(1.0)));
    let missing = of_two("log", "exp");
    assert!((1000..1400).contains(&missing.differing), "{missing:?}");
    let both = of_two("log", "root");
    assert!(both.differing == 0 && both.absolute > 1.0, "{both:?}");
}

#[test]
fn what_the_judge_does_not_know_is_told_from_what_is_wrong() {
    let folder = folder();
    let shape = sizes(&[1, 3, 20, 20]);
    let with = |node: Node| Graph::new().node(node).input("img", FLOAT, &shape).output("out", FLOAT, &shape);
    let relu = || with(Node::new("Relu", &["img"], &["out"]));
    let cases = [
        ("custom", Model::new(with(Node::new("Foo", &["img"], &["out"]).domain("my"))).domain("my", 1)),
        ("operator", Model::new(with(Node::new("Foo", &["img"], &["out"])))),
        ("opset", Model::new(relu()).opset(99)),
        ("format", Model::new(relu()).ir(99)),
    ];
    for (name, model) in cases {
        fs::write(folder.path().join("m.onnx"), model.bytes()).unwrap();
        let account = prove(folder.path(), &request("/work/m.onnx", "/work/m.onnx", &["out"], &json!(null)))
            .of(Network::Original);
        assert!(matches!(account.refusal, Some(Refusal::Unknown(_))), "{name}: {account:?}");
    }
    let wrong = with(Node::new("Concat", &["img", "img"], &["out"]).int("axis", 7));
    fs::write(folder.path().join("m.onnx"), model(wrong)).unwrap();
    let account =
        prove(folder.path(), &request("/work/m.onnx", "/work/m.onnx", &["out"], &json!(null))).of(Network::Original);
    assert!(matches!(account.refusal, Some(Refusal::Failed(_))), "{account:?}");
}

/// Converts in `folder` and returns the output folder.
fn convert(folder: &Path, words: &[&str]) -> PathBuf {
    let convert = ["convert", "rvc2", "--to", "native", "--output-dir", "r", "rvc2.superblob", "False"];
    succeed(program(folder, &shared_store()).args(convert).args(words));
    folder.join("output/r")
}

fn build_info(output: &Path) -> Value {
    serde_json::from_slice(&fs::read(output.join("buildinfo.json")).unwrap()).unwrap()
}

/// Checks that these outputs of both networks were compared and found alike.
fn check(proof: &Value, outputs: &[&str], least: f64) {
    for network in ["rewritten", "imported"] {
        let found = proof[network]["compared"]["outputs"].as_array().unwrap_or_else(|| panic!("{network}: {proof}"));
        let names: Vec<&str> = found.iter().map(|distance| distance["output"].as_str().unwrap()).collect();
        assert_eq!(names, outputs, "{network}: {proof}");
        for distance in found.iter().filter(|distance| !distance["cosine"].is_null()) {
            assert!(distance["cosine"].as_f64().unwrap() > least, "{network}: {proof}");
        }
    }
}

#[test]
fn preprocessing_is_proven_and_its_absence_noticed() {
    let folder = folder();
    fs::write(folder.path().join("a.onnx"), model(network(0))).unwrap();
    let words = ["--path", "a.onnx", "mean_values", "[123.7,116.3,103.5]", "scale_values", "[58.4,57.1,57.4]"];
    let output = convert(folder.path(), &words);
    let record = build_info(&output);
    check(&record["proof"], &["out", "class"], 0.9999);
    let made = output.join("intermediate_outputs/a-modified.onnx");
    fs::copy(made, folder.path().join("made.onnx")).unwrap();
    let mut request: Value = serde_json::from_str(record["cmd_info"]["proof_input"][0].as_str().unwrap()).unwrap();
    for (key, name) in [("original", "a"), ("rewritten", "made"), ("imported", "made")] {
        request[key] = json!(format!("/work/{name}.onnx"));
    }
    // As if the network that was made had been meant to be another one.
    for (key, value) in [("reverse", json!(false)), ("mean", json!([])), ("scale", json!([58.4]))] {
        let mut meant = request.clone();
        meant["inputs"][0]["preprocessing"][key] = value;
        let transcript = prove(folder.path(), &meant);
        for network in [Network::Rewritten, Network::Imported] {
            let distance = &distances(&transcript, network)[0];
            assert!(distance.relative.unwrap() > 0.05, "{key}: {distance:?}");
        }
    }
    let output = convert(folder.path(), &["--path", "a.onnx", "verification.enabled", "False"]);
    let record = build_info(&output);
    assert_eq!(record["proof"]["imported"]["unproven"]["reason"], "`verification.enabled` is false", "{record}");
    assert_eq!(record["cmd_info"]["proof"], Value::Null);
}

#[test]
fn an_original_whose_sizes_have_names_is_proven_with_those_that_are_bound() {
    let folder = folder();
    // With a name for the first size, ONNX Runtime 1.19 takes what is squeezed for a number and refuses to join it.
    let graph = Graph::new()
        .node(Node::new("MatMul", &["x", "w"], &["a"]))
        .node(Node::new("Squeeze", &["a"], &["b"]))
        .node(Node::new("Slice", &["b"], &["c"]).ints("axes", &[0]).ints("starts", &[0]).ints("ends", &[2]))
        .node(Node::new("Slice", &["b"], &["d"]).ints("axes", &[0]).ints("starts", &[2]).ints("ends", &[4]))
        .node(Node::new("Concat", &["d", "c"], &["y"]).int("axis", 0))
        .initializer(Tensor::floats("w", &[2, 4], &[0.5, -1.0, 0.25, 2.0, 1.5, -0.5, 3.0, 1.0]))
        .input("x", FLOAT, &[Dim::Symbol("batch"), Dim::Size(1), Dim::Size(2)])
        .output("y", FLOAT, &[Dim::Symbol("batch")]);
    fs::write(folder.path().join("a.onnx"), Model::new(graph).opset(9).bytes()).unwrap();
    let output = convert(folder.path(), &["--path", "a.onnx", "shape", "[1,1,2]"]);
    check(&build_info(&output)["proof"], &["y"], 0.9999);
}

#[test]
fn an_original_with_operators_that_only_single_precision_has_is_proven_in_that() {
    let folder = folder();
    // ONNX Runtime 1.19 has no cosine of double precision.
    let graph = Graph::new()
        .node(Node::new("Cast", &["x"], &["double"]).int("to", 11))
        .node(Node::new("Cos", &["double"], &["cosine"]))
        .node(Node::new("Cast", &["cosine"], &["y"]).int("to", 1))
        .input("x", FLOAT, &sizes(&[1, 4, 6, 6]))
        .output("y", FLOAT, &sizes(&[1, 4, 6, 6]));
    fs::write(folder.path().join("a.onnx"), Model::new(graph).opset(13).bytes()).unwrap();
    let output = convert(folder.path(), &["--path", "a.onnx"]);
    let proof = &build_info(&output)["proof"];
    assert_eq!(proof["in-single-precision"], true, "{proof}");
    check(proof, &["y"], 0.9999);
}

#[test]
fn averages_that_onnx_runtime_divides_otherwise_are_proven_by_the_standard() {
    let folder = folder();
    // The last windows have one row or column. ONNX Runtime 1.19 divides by two there, the standard and 1.32 do not.
    for (sides, windows, is_odd) in [([5, 7], [3, 4], true), ([4, 6], [2, 3], false)] {
        let pool = Node::new("AveragePool", &["x"], &["y"]).ints("kernel_shape", &[2, 2]).ints("strides", &[2, 2]);
        let graph = Graph::new()
            .node(pool.int("ceil_mode", 1).int("count_include_pad", 1))
            .input("x", FLOAT, &sizes(&[1, 4, sides[0], sides[1]]))
            .output("y", FLOAT, &sizes(&[1, 4, windows[0], windows[1]]));
        fs::write(folder.path().join("a.onnx"), Model::new(graph).opset(13).bytes()).unwrap();
        let output = convert(folder.path(), &["--path", "a.onnx"]);
        let proof = &build_info(&output)["proof"];
        assert_eq!(proof["averages-by-the-standard"] == true, is_odd, "{proof}");
        check(proof, &["y"], 0.9999);
    }
}

#[test]
fn products_of_integers_are_measured_alike_on_every_processor() {
    let folder = folder();
    // Products of these and of bytes do not fit the 16 bits in which processors without VNNI add them up.
    let weights: Vec<u8> = (0..64 * 16).map(|at| (at * 89 % 256) as u8).collect();
    let graph = Graph::new()
        .initializer(Tensor::raw("w", INT8, &[64, 16], &weights))
        .initializer(Tensor::floats("ws", &[], &[0.01]))
        .node(Node::new("DynamicQuantizeLinear", &["x"], &["q", "s", "z"]))
        .node(Node::new("MatMulInteger", &["q", "w", "z"], &["sums"]))
        .node(Node::new("Cast", &["sums"], &["numbers"]).int("to", FLOAT.into()))
        .node(Node::new("Mul", &["s", "ws"], &["scale"]))
        .node(Node::new("Mul", &["numbers", "scale"], &["y"]))
        .input("x", FLOAT, &sizes(&[1, 64]))
        .output("y", FLOAT, &sizes(&[1, 16]));
    fs::write(folder.path().join("a.onnx"), Model::new(graph).opset(13).bytes()).unwrap();
    let output = convert(folder.path(), &["--path", "a.onnx"]);
    check(&build_info(&output)["proof"], &["y"], 0.9999);
}

#[test]
fn a_network_that_is_fed_inside_is_proven_from_there() {
    let folder = folder();
    fs::write(folder.path().join("a.onnx"), model(network(0))).unwrap();
    let words = [
        "inputs.0.name",
        "inner",
        "inputs.0.shape",
        "[1,4,20,20]",
        "inputs.0.data_type",
        "float32",
        "outputs.0.name",
        "out",
    ];
    let output = convert(folder.path(), &[&["--path", "a.onnx"][..], &words].concat());
    let record = build_info(&output);
    check(&record["proof"], &["out"], 0.9999);
    let blob = read_with_depthai("blob", &output.join("a.blob"));
    assert_eq!(blob["inputs"].as_object().unwrap().keys().collect::<Vec<_>>(), ["inner"], "{blob}");
}

#[test]
fn cut_outputs_frozen_inputs_and_weights_elsewhere_are_proven_through_the_model_optimizer_too() {
    let folder = folder();
    let weights: Vec<u8> = (0..108u16).flat_map(|index| (f32::from(index * 37 % 101) / 64.0).to_le_bytes()).collect();
    fs::write(folder.path().join("weights.bin"), &weights).unwrap();
    let graph = Graph::new()
        .node(Node::new("Conv", &["img", "w"], &["inner"]).ints("kernel_shape", &[3, 3]).ints("pads", &[1, 1, 1, 1]))
        .node(Node::new("Mul", &["inner", "factor"], &["scaled"]))
        .node(Node::new("Relu", &["scaled"], &["out"]))
        .initializer(Tensor::external("w", FLOAT, &[4, 3, 3, 3], &[("location", "weights.bin")]))
        .input("img", FLOAT, &sizes(&[1, 3, 20, 20]))
        .input("factor", FLOAT, &sizes(&[1]))
        .value("scaled", FLOAT, &sizes(&[1, 4, 20, 20]))
        .output("out", FLOAT, &sizes(&[1, 4, 20, 20]));
    fs::write(folder.path().join("m.onnx"), model(graph)).unwrap();
    let config = "input_model: m.onnx\ninputs:\n  - { name: img, mean_values: 10 }\n  - { name: factor, frozen_value: 0.5 }\n\
                  outputs: [{ name: scaled }]\nrvc2: { front_end: mo }\n";
    fs::write(folder.path().join("m.yaml"), config).unwrap();
    let output = convert(folder.path(), &["--path", "m.yaml"]);
    let record = build_info(&output);
    assert_eq!(record["front_end"]["front-end"], "mo", "{record}");
    check(&record["proof"], &["scaled"], 0.9999);
    let tolerance = &record["proof"]["imported"]["compared"]["tolerance"];
    assert_eq!((&tolerance["cosine"], &tolerance["relative"]), (&json!(0.99), &json!(0.5)));
}

#[test]
fn a_frozen_input_decides_branches_before_the_network_is_imported() {
    let folder = folder();
    // The importer knows no `If`; with the rate frozen there is none.
    let branch = |factor: f32| {
        Graph::new()
            .node(Node::new("Mul", &["x", "factor"], &["z"]))
            .initializer(Tensor::floats("factor", &[1], &[factor]))
            .output("z", FLOAT, &sizes(&[1, 4]))
    };
    let graph = Graph::new()
        .node(Node::new("Equal", &["rate", "wanted"], &["is"]))
        .node(Node::new("If", &["is"], &["y"]).graph("then_branch", &branch(2.0)).graph("else_branch", &branch(-1.0)))
        .initializer(Tensor::integers("wanted", &[], &[16000]))
        .input("x", FLOAT, &sizes(&[1, 4]))
        .input("rate", INT64, &[])
        .output("y", FLOAT, &sizes(&[1, 4]));
    fs::write(folder.path().join("m.onnx"), model(graph)).unwrap();
    let words = ["inputs.0.name", "x", "inputs.1.name", "rate", "inputs.1.frozen_value", "16000"];
    let output = convert(folder.path(), &[&["--path", "m.onnx"][..], &words].concat());
    let record = build_info(&output);
    assert_eq!(record["front_end"]["front-end"], "importer", "{record}");
    check(&record["proof"], &["y"], 0.9999);
    let blob = read_with_depthai("blob", &output.join("m.blob"));
    assert_eq!(blob["inputs"].as_object().unwrap().keys().collect::<Vec<_>>(), ["x"], "{blob}");
    let words = ["inputs.0.name", "rate", "inputs.0.frozen_value", "1.5"];
    let text =
        fail(program(folder.path(), &shared_store()).args(["convert", "rvc2", "--path", "m.onnx"]).args(words), 1);
    assert!(text.contains("input `rate` is of type int64, which has no value 1.5"), "{text}");
}

#[test]
fn a_network_that_its_quantization_is_everything_to_is_the_user_s() {
    let folder = folder();
    let graph = Graph::new()
        .node(Node::new("QuantizeLinear", &["img", "scale", "zero"], &["steps"]))
        .node(Node::new("DequantizeLinear", &["steps", "scale", "zero"], &["out"]))
        .initializer(Tensor::floats("scale", &[], &[400.0]))
        .initializer(Tensor::raw("zero", onnx_builder::UINT8, &[], &[0]))
        .input("img", FLOAT, &sizes(&[1, 3, 20, 20]))
        .output("out", FLOAT, &sizes(&[1, 3, 20, 20]));
    fs::write(folder.path().join("m.onnx"), Model::new(graph).opset(13).bytes()).unwrap();
    let words = ["convert", "rvc2", "--to", "native", "rvc2.superblob", "False", "--path", "m.onnx"];
    let error = fail(program(folder.path(), &shared_store()).args(words), 1);
    for part in ["without the rounding of its quantization", "from before its quantization", "`verification.cosine`"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn integers_of_a_quantized_network_are_compared_as_the_numbers_for_which_they_stand() {
    const INT8: i32 = 3;
    let folder = folder();
    let graph = Graph::new()
        .node(Node::new("QuantizeLinear", &["img", "two", "none"], &["steps"]))
        .node(Node::new("DequantizeLinear", &["steps", "two", "none"], &["numbers"]))
        .node(Node::new("Mul", &["numbers", "part"], &["smaller"]))
        .node(Node::new("QuantizeLinear", &["smaller", "scale", "zero"], &["out"]))
        .initializer(Tensor::floats("two", &[], &[2.0]))
        .initializer(Tensor::floats("part", &[], &[0.7]))
        .initializer(Tensor::floats("scale", &[], &[0.75]))
        .initializer(Tensor::raw("none", onnx_builder::UINT8, &[], &[0]))
        .initializer(Tensor::raw("zero", INT8, &[], &[0x92]))
        .input("img", FLOAT, &sizes(&[1, 3, 20, 20]))
        .output("out", INT8, &sizes(&[1, 3, 20, 20]));
    fs::write(folder.path().join("m.onnx"), Model::new(graph).opset(13).bytes()).unwrap();
    let output = convert(folder.path(), &["--path", "m.onnx"]);
    let record = build_info(&output);
    check(&record["proof"], &["out"], 0.999);
    for network in ["rewritten", "imported"] {
        let found = &record["proof"][network]["compared"]["outputs"][0];
        assert_eq!((&found["differing"], &found["largest"]), (&json!(0), &json!(177.75)), "numbers: {found}");
        let off = found["absolute"].as_f64().unwrap();
        assert!(off > 0.0 && off < 2.0, "at most a step of each quantization: {found}");
    }
    let log = fs::read_to_string(output.join("modelconverter.log")).unwrap();
    assert!(log.contains("output `out` gives integers as they are: they stand for (integer + 110) * 0.75"), "{log}");
    let blob = read_with_depthai("blob", &output.join("m.blob"));
    assert_eq!(blob["outputs"]["out"]["type"], "FP16", "{blob}");
}

#[test]
fn calibration_samples_are_proven_beside_what_is_drawn() {
    let folder = folder();
    let graph = network(0).node(Node::new("Add", &["out", "more"], &["sum"]));
    let graph = graph.input("more", FLOAT, &sizes(&[1, 4, 20, 20])).output("sum", FLOAT, &sizes(&[1, 4, 20, 20]));
    fs::write(folder.path().join("m.onnx"), model(graph)).unwrap();
    let photos = folder.path().join("photos é");
    fs::create_dir(&photos).unwrap();
    image::RgbImage::from_pixel(40, 40, image::Rgb([200, 100, 7])).save(photos.join("1.png")).unwrap();
    fs::write(photos.join("2.npy"), npy::write(&bytes(&[3, 20, 20]))).unwrap();
    fs::write(photos.join("3.raw"), 9_f32.to_le_bytes().repeat(1200)).unwrap();
    // One more than is asked for.
    fs::write(photos.join("4.png"), "no picture").unwrap();
    let config = "input_model: m.onnx\nverification: { samples: 3 }\ninputs:\n\
                  \x20 - { name: img, mean_values: [123.7, 116.3, 103.5], scale_values: 58, calibration: { path: photos é } }\n\
                  \x20 - { name: more, encoding: NONE }\n";
    fs::write(folder.path().join("m.yaml"), config).unwrap();
    let output = convert(folder.path(), &["--path", "m.yaml"]);
    let record = build_info(&output);
    let proof = &record["proof"];
    check(proof, &["out", "class", "sum"], 0.9999);
    assert_eq!((&proof["samples"], &proof["calibration-samples"]), (&json!(3), &json!(3)));
    // Six sets of 4 x 20 x 20.
    assert_eq!(proof["imported"]["compared"]["outputs"][0]["elements"], 9600, "{proof}");

    // The network is fed blue first, and only it: nothing is known of what else it takes.
    let request = record["cmd_info"]["proof_input"][0].as_str().unwrap();
    let request = request.replace("intermediate_outputs/", "/work/output/r/intermediate_outputs/");
    let mut request: Value = serde_json::from_str(&request).unwrap();
    assert_eq!(request["recorded"][2].as_object().unwrap().keys().collect::<Vec<_>>(), ["img"]);
    let picture = npy::read(&fs::read(output.join("intermediate_outputs/samples/0-0.npy")).unwrap()).unwrap();
    let values: Vec<f64> = picture.element.values(&picture.bytes).step_by(400).collect();
    assert_eq!((picture.shape.as_slice(), values.as_slice()), (&[1, 3, 20, 20][..], &[7.0, 100.0, 200.0][..]));
    // They alone notice what is wrong.
    request["samples"] = json!(0);
    let worst = |request: &Value| {
        let transcript = prove(folder.path(), request);
        [Network::Rewritten, Network::Imported].map(|network| distances(&transcript, network)[0].relative.unwrap())
    };
    assert!(worst(&request).iter().all(|relative| *relative < 0.01));
    request["inputs"][0]["preprocessing"]["reverse"] = json!(false);
    assert!(worst(&request).iter().all(|relative| *relative > 0.05));

    // What cannot be read is told by its name, before anything is compiled.
    let error = fail(
        program(folder.path(), &shared_store()).args([
            "convert",
            "rvc2",
            "--to",
            "native",
            "--path",
            "m.yaml",
            "verification.samples",
            "4",
        ]),
        1,
    );
    for part in ["cannot read the picture", "photos é/4.png"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}
