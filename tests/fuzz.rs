//! Bytes of strangers, changed at random: no reader panics, and none takes memory out of proportion to what it reads.
//!
//! A run of the tests makes a few thousand executions of each target. A million:
//!
//! ```sh
//! MODELCONVERTER_FUZZ_EXECUTIONS=1000000 cargo test --release --test fuzz -- --nocapture
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "long runs say how many executions there were")]

#[path = "fuzz/archives.rs"]
mod archives;
#[path = "fuzz/harness.rs"]
mod harness;
#[path = "support/onnx_builder.rs"]
mod onnx_builder;
#[path = "support/tflite_builder.rs"]
mod tflite_builder;
#[path = "support/tiny_blob.rs"]
mod tiny_blob;

use std::collections::BTreeMap;

use harness::{Allowance, fuzz};
use modelconverter::config::merge::{self, Override};
use modelconverter::config::{read, yaml};
use modelconverter::onnx::{self, Facts, Model};
use modelconverter::surgery::{self, DeadCode, Pass, RemoveNoOps, SurgeryError, support};
use modelconverter::tflite;
use modelconverter::translation::{Order, Wanted, WantedInput, translate};
use onnx_builder::{BOOL, Dim, FLOAT, Graph, INT64, Node, Tensor, UINT8, sizes};

/// Models with everything that a reader may trip over: nested graphs, all kinds of attributes and of data.
fn models() -> Vec<Vec<u8>> {
    let nested = Graph::new().node(Node::new("Relu", &["x"], &["inner"])).output("inner", FLOAT, &[]);
    let control = Graph::new()
        .input("x", FLOAT, &sizes(&[1, 3]))
        .initializer(Tensor::raw("c", BOOL, &[], &[1]))
        .node(Node::new("HardSigmoid", &["x"], &["h"]).float("alpha", 0.1))
        .node(Node::new("If", &["c"], &["i"]).graph("then_branch", &nested).graph("else_branch", &nested))
        .node(Node::new("Add", &["h", "i"], &["y"]).domain("ai.onnx"))
        .output("y", FLOAT, &sizes(&[1, 3]));
    let convolution = Graph::new()
        .input("img", FLOAT, &[Dim::Symbol("batch"), Dim::Size(3), Dim::Unknown, Dim::Size(8)])
        .initializer(Tensor::floats("w", &[2, 3, 1, 1], &[0.5, 1.0, -1.0, 2.0, 0.25, 0.0]))
        .initializer(Tensor::raw(
            "shape",
            INT64,
            &[2],
            &[1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255],
        ))
        .node(Node::new("Conv", &["img", "w"], &["c"]).ints("kernel_shape", &[1, 1]).ints("pads", &[0, 0, 0, 0]))
        .node(Node::new("Shape", &["c"], &["s"]))
        .node(Node::new("Reshape", &["c", "shape"], &["r"]))
        .node(Node::new("Transpose", &["r"], &["t"]).ints("perm", &[1, 0]))
        .output("t", FLOAT, &[Dim::Unknown, Dim::Size(1)])
        .output("s", INT64, &sizes(&[4]));
    let models = [
        onnx_builder::Model::new(control),
        onnx_builder::Model::new(convolution).opset(13),
        onnx_builder::Model::new(tokens()).opset(12),
        onnx_builder::Model::new(quantized()).opset(13).domain("com.microsoft", 1),
    ];
    models.iter().map(onnx_builder::Model::bytes).collect()
}

/// Whole numbers that are looked up, compared and counted, and what is lowered around them.
fn tokens() -> Graph {
    Graph::new()
        .input("ids", INT64, &[Dim::Symbol("batch"), Dim::Size(4)])
        .initializer(Tensor::floats("table", &[5, 2], &[0.5, 1.0, -1.0, 2.0, 0.25, 0.0, 3.0, -0.5, 1.5, 0.125]))
        .initializer(Tensor::integers("three", &[], &[3]))
        .initializer(Tensor::integers("shape", &[3], &[1, 4, 1]))
        .initializer(Tensor::integers("wide", &[3], &[1, 4, 3]))
        .initializer(Tensor::floats("ends", &[2], &[0.0, 1.0]))
        .initializer(Tensor::floats("square", &[2, 2], &[1.0, 0.5, -0.5, 2.0]))
        .node(Node::new("Mod", &["ids", "three"], &["rest"]).int("fmod", 1))
        .node(Node::new("Gather", &["table", "rest"], &["found"]).int("axis", 0))
        .node(Node::new("MatMul", &["found", "square"], &["product"]))
        .node(Node::new("IsInf", &["product"], &["endless"]).int("detect_negative", 0))
        .node(Node::new("ArgMax", &["product"], &["last"]).int("axis", -1).int("select_last_index", 1))
        .node(Node::new("OneHot", &["last", "three", "ends"], &["hot"]).int("axis", -1))
        .node(Node::new("Reshape", &["ids", "shape"], &["column"]))
        .node(Node::new("Expand", &["column", "wide"], &["spread"]))
        .node(Node::new("Less", &["spread", "three"], &["below"]))
        .node(Node::new("CumSum", &["product", "three"], &["sums"]).int("reverse", 1))
        .output("hot", FLOAT, &[Dim::Unknown])
        .output("endless", BOOL, &[Dim::Unknown])
        .output("below", BOOL, &[Dim::Unknown])
        .output("sums", FLOAT, &[Dim::Unknown])
}

/// What ONNX Runtime's quantizer and optimizer write.
fn quantized() -> Graph {
    let scale = |name: &str| Tensor::floats(name, &[], &[0.5]);
    let runtime =
        |operator: &str, inputs: &[&str], output: &str| Node::new(operator, inputs, &[output]).domain("com.microsoft");
    Graph::new()
        .input("x", FLOAT, &sizes(&[1, 2, 3, 3]))
        .initializer(scale("s"))
        .initializer(Tensor::raw("z", UINT8, &[], &[128]))
        .initializer(Tensor::raw("w", UINT8, &[2, 2, 1, 1], &[1, 2, 255, 4]))
        .initializer(Tensor::raw("wz", UINT8, &[], &[3]))
        .initializer(Tensor::floats("kernel", &[2, 2, 1, 1], &[1.0, 0.5, -0.5, 2.0]))
        .node(Node::new("QuantizeLinear", &["x", "s", "z"], &["q"]))
        .node(Node::new("QLinearConv", &["q", "s", "z", "w", "s", "wz", "s", "z"], &["c"]))
        .node(runtime("QLinearAdd", &["c", "s", "z", "q", "s", "z", "s", "z"], "sum"))
        .node(runtime("QLinearConcat", &["s", "z", "sum", "s", "z", "c", "s", "z"], "joined").int("axis", 1))
        .node(runtime("QLinearGlobalAveragePool", &["joined", "s", "z", "s", "z"], "mean").int("channels_last", 0))
        .node(Node::new("DequantizeLinear", &["mean", "s", "z"], &["y"]))
        .node(
            runtime("FusedConv", &["x", "kernel"], "fused")
                .ints("kernel_shape", &[1, 1])
                .text("activation", "LeakyRelu")
                .floats("activation_params", &[0.1]),
        )
        .node(runtime("FastGelu", &["fused"], "smooth"))
        .output("y", FLOAT, &[Dim::Unknown])
        .output("smooth", FLOAT, &sizes(&[1, 2, 3, 3]))
}

#[test]
fn onnx_models() {
    let passes: Vec<&dyn Pass> =
        [&surgery::plain_passes()[..], &[&RemoveNoOps], &surgery::myriad_passes(), &[&DeadCode]].concat();
    let shapes = BTreeMap::from([("img".to_owned(), vec![1, 3, 8, 8])]);
    let frozen = BTreeMap::from([("ids".to_owned(), vec![2.0])]);
    // Computed constants may take what `FoldConstants` allows itself.
    let allowance = Allowance { base: 64 << 20, factor: 2_000 };
    fuzz("onnx", &models(), &["Conv", "If", "Reshape", "ai.onnx", "batch", "axis", "Gather"], allowance, |bytes| {
        let Ok(model) = Model::parse(bytes.to_vec().into()) else { return false };
        let _ = Facts::of(&model);
        let names: Vec<String> = model.outputs().into_iter().map(|output| output.name).rev().collect();
        let _ = onnx::select_outputs(&model, &names);
        let _ = onnx::freeze_inputs(&model, &frozen);
        let bound = onnx::bind_shapes(&model, &shapes).unwrap_or(model);
        let rewritten = match surgery::operate(bound, &passes) {
            Ok((rewritten, _)) => rewritten,
            // A model may be refused, but a change that does not fit is a mistake of ours.
            Err(error @ (SurgeryError::Patch { .. } | SurgeryError::NoFixedPoint { .. })) => panic!("{error:?}"),
            Err(_) => return true,
        };
        support::unsupported(&rewritten, support::FrontEnd::Importer);
        let saved = rewritten.save();
        // Bytes are compared, because a number that is none differs from itself.
        let again = Model::parse(saved.clone().into()).expect("what was written is read").save();
        assert!(again == saved, "a model read back is another");
        true
    });
}

#[test]
fn tflite_models() {
    let mut quantized = tflite_builder::Model::new();
    let kinds = [("x", -128), ("y", 0)].map(|(name, zero)| {
        let tensor = quantized.tensor(name, tflite_builder::INT8, &[1, 4, 4, 2]);
        quantized.with(4, tflite_builder::quantization(&[0.5], &[zero], 0));
        tensor
    });
    quantized.operator(
        tflite_builder::ADD,
        &[kinds[0], kinds[0]],
        &[kinds[1]],
        vec![(0, tflite_builder::Field::Byte(1))],
    );
    (quantized.inputs, quantized.outputs) = (vec![kinds[0]], vec![kinds[1]]);
    let corpus = [
        tflite_builder::network().bytes(),
        quantized.bytes(),
        tflite_builder::blocks().bytes(),
        // More steps than the limit of the cells, which is therefore written out.
        tflite_builder::recurrent(3, 2.0, 4).bytes(),
        tflite_builder::repeated(Some(3)).bytes(),
        tflite_builder::pieces().bytes(),
    ];
    // A sparse weight may stand for many that are zero.
    fuzz("tflite", &corpus, &["TFL3"], Allowance { base: 4 << 20, factor: 8_000 }, |bytes| {
        let Ok(model) = tflite::Model::parse(&bytes.to_vec().into()) else { return false };
        for order in [Order::AsStored, Order::ChannelsFirst] {
            let input = |id: &usize| {
                let tensor = model.tensor(*id).unwrap();
                let shape = tensor.shape.iter().map(|size| u64::try_from(*size).unwrap()).collect();
                WantedInput { name: tensor.name.clone(), shape, order }
            };
            let outputs = model.outputs().iter().map(|id| model.tensor(*id).unwrap().name.clone()).collect();
            let wanted = Wanted { inputs: model.inputs().iter().map(input).collect(), outputs };
            if let Ok(translation) = translate(&model, &wanted) {
                assert!(Model::parse(translation.model.save().into()).is_ok());
            }
        }
        true
    });
}

/// Configurations of every shape.
fn configurations() -> Vec<Vec<u8>> {
    let texts = [
        "input_model: m.onnx\nshape: [1, 3, 8, 8]\nmean_values: imagenet\nencoding: {from: RGB, to: BGR}\n",
        "stages:\n  a:\n    input_model: m.onnx\n    inputs:\n      - {name: x, layout: NCHW, calibration: random}\n  b:\n    input_model: n.xml\n    outputs: [{name: y}]\nrvc2: {superblob: false, number_of_shaves: 6, mo_args: [\"--a\", '5']}\n",
        "input_model: m.onnx\nrvc4: {encodings: {activation_encodings: {x: [{bitwidth: 8}]}, param_encodings: {}}}\nhailo: {alls: [a, b]}\nonnx_optimizations: all\n",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

const YAML: [&str; 14] =
    ["&a ", "*a", "!!binary ", "- ", ": ", "null", "[", "{", "\"", "\n  ", "? ", "1e999", "0x", "\u{feff}"];

#[test]
fn configurations_in_yaml() {
    fuzz("config", &configurations(), &YAML, Allowance { base: 4 << 20, factor: 4_000 }, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        yaml::parse(text, "f.yaml").and_then(|tree| read::read(&tree)).is_ok()
    });
}

#[test]
fn overrides() {
    let corpus = [
        "inputs.0.shape\0[1,3,8,8]\0rvc2.superblob\0False",
        "inputs.+.name\0y\0mean_values\0(127.5, -.5, 1e-3)",
        "encoding\0{'from': 'RGB', \"to\": \"BGR\"}\0onnx_optimizations\0none",
    ];
    let corpus: Vec<Vec<u8>> = corpus.iter().map(|text| text.as_bytes().to_vec()).collect();
    let words = ["\0", ".", "+", "[", "(", "{", "'", "\\x", "\\u{0}", "None", "99999999999999999999", "1_0", "0b"];
    fuzz("overrides", &corpus, &words, Allowance { base: 4 << 20, factor: 4_000 }, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let words: Vec<String> = text.split('\0').map(str::to_owned).collect();
        let document = yaml::parse("input_model: m.onnx\ninputs: [{name: x}]\n", "f.yaml").unwrap();
        Override::pairs(&words)
            .and_then(|pairs| merge::merge(document, &pairs))
            .and_then(|tree| read::read(&tree))
            .is_ok()
    });
}
