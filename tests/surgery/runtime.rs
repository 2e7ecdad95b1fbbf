//! Operators of ONNX Runtime: it computes them before, and ONNX's own operators after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use modelconverter::onnx::Model;
use modelconverter::surgery::myriad_passes;

use crate::builder::{self, Node, Tensor};
use crate::lowering::{Case, case, check};
use crate::network::{Network, numbers};
use crate::pairs::{Pair, assert_same, rewritten};

const INT8: i32 = 3;
const INT32: i32 = 6;
const IMAGE: [i64; 4] = [1, 4, 6, 8];

/// A node of ONNX Runtime's own domain.
fn own(operator: &str, inputs: &[&str], outputs: &[&str]) -> Node {
    Node::new(operator, inputs, outputs).domain("com.microsoft")
}

fn network(opset: i64, shape: &[i64]) -> Network {
    Network::new(opset, shape).domain("com.microsoft")
}

#[test]
fn fused_operators() {
    let one = |node: Node| network(13, &IMAGE).weights("b", &[8]).node(node).bytes(&IMAGE);
    let convolution = |node: fn(Node) -> Node| {
        let fused = own("FusedConv", &["x", "w", "b", "z"], &["y"]).ints("pads", &[1, 1, 1, 1]);
        network(13, &IMAGE)
            .weights("w", &[6, 4, 3, 3])
            .weights("b", &[6])
            .weights("z", &[1, 6, 6, 8])
            .node(node(fused))
            .bytes(&[1, 6, 6, 8])
    };
    let gemm = network(13, &[3, 4]).weights("w", &[5, 4]).weights("b", &[5]).node(
        own("FusedGemm", &["x", "w", "b"], &["y"])
            .int("transB", 1)
            .float("alpha", 0.5)
            .float("beta", 2.0)
            .text("activation", "LeakyRelu")
            .float("activation_alpha", 0.3),
    );
    let product = network(13, &IMAGE)
        .weights("w", &[1, 4, 6, 5])
        .node(own("FusedMatMul", &["x", "w"], &["y"]).int("transA", 1).float("alpha", 0.25));
    let scores =
        network(13, &IMAGE).weights("w", &[1, 4, 5, 8]).node(own("FusedMatMul", &["x", "w"], &["y"]).int("transB", 1));
    // The rows of the left matrices stand before the axes of the batch.
    let rows_first = |shape: &[i64], weights: &[i64], turned: i64, result: &[i64]| {
        let node = own("FusedMatMul", &["x", "w"], &["y"]).int("transBatchA", 1).int("transA", turned);
        network(13, shape).weights("w", weights).node(node.int("transB", turned)).bytes(result)
    };
    let fused = "runtime-operators-to-onnx";
    check(&[
        case("gelu", fused, &["Gelu"], one(own("Gelu", &["x"], &["y"]))),
        case("bias_gelu", fused, &["BiasGelu", "Gelu"], one(own("BiasGelu", &["x", "b"], &["y"]))),
        case("fast_gelu", fused, &["FastGelu", "Gelu"], one(own("FastGelu", &["x"], &["y"]))),
        case("fast_gelu_of_sum", fused, &["FastGelu", "Gelu"], one(own("FastGelu", &["x", "b"], &["y"]))),
        case("quick_gelu", fused, &["QuickGelu"], one(own("QuickGelu", &["x"], &["y"]).float("alpha", 1.5))),
        case("plain", fused, &["FusedConv"], convolution(|node| node.text("activation", "Relu"))),
        case(
            "clipped",
            fused,
            &["FusedConv"],
            convolution(|node| node.text("activation", "Clip").floats("activation_params", &[-0.5, 0.75])),
        ),
        case(
            "leaky",
            fused,
            &["FusedConv"],
            convolution(|node| node.text("activation", "LeakyRelu").floats("activation_params", &[0.2])),
        ),
        case(
            "hard",
            fused,
            &["FusedConv", "HardSigmoid"],
            convolution(|node| node.text("activation", "HardSigmoid").floats("activation_params", &[0.3, 0.4])),
        ),
        case("gemm", fused, &["FusedGemm"], gemm.bytes(&[3, 5])),
        case("product", fused, &["FusedMatMul"], product.bytes(&[1, 4, 8, 5])),
        case("scores", fused, &["FusedMatMul"], scores.bytes(&[1, 4, 6, 5])),
        case("rows_first", fused, &["FusedMatMul"], rows_first(&IMAGE, &[4, 6, 8, 5], 0, &[4, 6, 1, 5])),
        case("columns_first", fused, &["FusedMatMul"], rows_first(&IMAGE, &[4, 6, 5, 1], 1, &[4, 6, 8, 5])),
    ]);
}

#[test]
fn normalizations_from_before_onnx_had_them() {
    let text = [2, 5, 8];
    let skipped = |operator: &str, inputs: &[&str]| {
        network(13, &text)
            .weights("skip", &text)
            .weights("scale", &[8])
            .weights("shift", &[8])
            .weights("bias", &[8])
            .node(own(operator, inputs, &["a", "", "", "sum"]).float("epsilon", 1e-5))
            .apply("Mul", &["a", "sum"], &["y"])
            .bytes(&text)
    };
    let simple = Network::new(13, &text)
        .weights("scale", &[8])
        .node(Node::new("SimplifiedLayerNormalization", &["x", "scale"], &["a", "b"]).int("axis", -1))
        .apply("Mul", &["a", "b"], &["y"]);
    let layer = Network::new(13, &text).weights("scale", &[8]).weights("shift", &[8]).apply(
        "LayerNormalization",
        &["x", "scale", "shift"],
        &["y"],
    );
    let fused = "runtime-operators-to-onnx";
    let gone = &["SkipLayerNormalization", "LayerNormalization", "RMSNormalization"];
    check(&[
        case("skip", fused, gone, skipped("SkipLayerNormalization", &["x", "skip", "scale", "shift", "bias"])),
        case("skip_alone", fused, gone, skipped("SkipLayerNormalization", &["x", "skip", "scale"])),
        case("skip_simple", fused, gone, skipped("SkipSimplifiedLayerNormalization", &["x", "skip", "scale", "bias"])),
        case("simple", "lower-normalizations", &["SimplifiedLayerNormalization"], simple.bytes(&text)),
        case("layer", "lower-normalizations", &["LayerNormalization"], layer.bytes(&text)),
    ]);
}

#[test]
fn attention() {
    let text = [2, 5, 8];
    let fused = |node: Node, mask: Option<Tensor>| {
        let network = network(13, &text).weights("w", &[8, 24]).weights("b", &[24]).weights("more", &[1, 2, 5, 5]);
        let network = mask.into_iter().fold(network, Network::constant);
        network.node(node.int("num_heads", 2)).bytes(&text)
    };
    let whole = |name: &str, dims: &[i64], values: &[i32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Some(Tensor::raw(name, INT32, dims, &bytes))
    };
    let places = whole("m", &[2, 5], &[1, 1, 1, 0, 0, 1, 1, 1, 1, 1]);
    let counts = whole("m", &[2], &[3, 5]);
    let attention = |inputs: &[&str]| own("Attention", inputs, &["y"]);
    let heads = |inputs: &[&str], causal: i64| {
        let node = own("MultiHeadAttention", inputs, &["y"]).int("num_heads", 2).int("unidirectional", causal);
        let network = network(13, &text).weights("k", &[2, 7, 8]).weights("v", &[2, 7, 6]).weights("b", &[22]);
        let mask = whole("m", &[2, 7], &[1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0]);
        mask.into_iter().fold(network, Network::constant).node(node)
    };
    let past = |inputs: &[&str], outputs: &[&str], mask: Option<Tensor>, result: &[i64]| {
        let network = network(13, &text).weights("w", &[8, 24]).weights("b", &[24]).weights("p", &[2, 2, 2, 3, 4]);
        let node = own("Attention", inputs, outputs).int("num_heads", 2).int("unidirectional", 1);
        mask.into_iter().fold(network, Network::constant).node(node).bytes(result)
    };
    let longer = whole("m", &[2, 8], &[1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1]);
    let embedding = |inputs: &[&str], read: &str| {
        let network = Network::fed(13, INT32, &[2, 5])
            .domain("com.microsoft")
            .weights("words", &[50, 8])
            .weights("places", &[9, 8])
            .weights("kinds", &[2, 8])
            .weights("scale", &[8])
            .weights("shift", &[8]);
        let kinds = whole("k", &[2, 5], &[0, 0, 1, 1, 1, 1, 0, 0, 1, 0]);
        let mask = whole("m", &[2, 5], &[1, 1, 1, 1, 0, 1, 1, 0, 0, 0]);
        let network = kinds.into_iter().chain(mask).fold(network, Network::constant);
        let node = own("EmbedLayerNormalization", inputs, &["e", "count", "sum"]).float("epsilon", 1e-5);
        network.node(node).apply("Identity", &[read], &["y"])
    };
    let tables = ["words", "places", "kinds", "scale", "shift", "m"];
    let with = |first: &[&'static str]| [first, &tables[..]].concat();
    let pass = "runtime-attention-to-products";
    let gone = &["Attention", "MultiHeadAttention", "EmbedLayerNormalization", "LayerNormalization"];
    check(&[
        case("plain", pass, gone, fused(attention(&["x", "w", "b"]), None)),
        case("places", pass, gone, fused(attention(&["x", "w", "b", "m"]), places)),
        case("counts", pass, gone, fused(attention(&["x", "w", "b", "m"]), counts)),
        case("causal", pass, gone, fused(attention(&["x", "w", "b"]).int("unidirectional", 1), None)),
        case("scaled", pass, gone, fused(attention(&["x", "w", "b", "", "", "more"]).float("scale", 0.3), None)),
        case("past", pass, gone, past(&["x", "w", "b", "", "p"], &["y", "z"], None, &text)),
        case("past_with_mask", pass, gone, past(&["x", "w", "b", "m", "p"], &["y", "z"], longer, &text)),
        case("present", pass, gone, past(&["x", "w", "b", "", "p"], &["z", "y"], None, &[2, 2, 2, 8, 4])),
        case("heads", pass, gone, heads(&["x", "k", "v", "b"], 0).bytes(&[2, 5, 6])),
        case("heads_with_mask", pass, gone, heads(&["x", "k", "v", "", "m"], 0).bytes(&[2, 5, 6])),
        case("embedding", pass, gone, embedding(&with(&["x", "k"]), "e").bytes(&text)),
        case("sum", pass, gone, embedding(&with(&["x", "k"]), "sum").bytes(&text)),
    ]);
}

#[test]
fn attention_as_onnx_has_it() {
    let text = [2, 5, 8];
    let mask = Tensor::raw("m", builder::BOOL, &[5, 7], &(0..35).map(|at| u8::from(at % 3 != 1)).collect::<Vec<_>>());
    let flat = |inputs: &[&str], node: fn(Node) -> Node| {
        let attention = Node::new("Attention", inputs, &["y"]).int("q_num_heads", 2).int("kv_num_heads", 2);
        let network = Network::new(23, &text).weights("k", &[2, 7, 8]).weights("v", &[2, 7, 6]).weights("a", &[5, 7]);
        network.constant(mask.clone()).node(node(attention)).bytes(&[2, 5, 6])
    };
    // Four heads share two of key and value.
    let shared = Network::new(23, &[1, 4, 5, 6])
        .weights("k", &[1, 2, 5, 6])
        .weights("v", &[1, 2, 5, 3])
        .node(Node::new("Attention", &["x", "k", "v"], &["y"]).int("is_causal", 1).float("softcap", 0.7))
        .bytes(&[1, 4, 5, 3]);
    let (pass, gone) = ("attention-to-products", &["Attention"]);
    check(&[
        case("plain", pass, gone, flat(&["x", "k", "v"], |node| node)),
        case("scaled", pass, gone, flat(&["x", "k", "v", "a"], |node| node.float("scale", 0.4))),
        case("masked", pass, gone, flat(&["x", "k", "v", "m"], |node| node)),
        case("shared", pass, gone, shared),
    ]);
}

#[test]
fn weights_of_a_few_bits() {
    // 20 rows in blocks of 16, the last of which is longer than what is left.
    let product = |bits: i64, zeros: Option<Tensor>, shift: &str| {
        let width = 2 * bits;
        let inputs = ["x", "w", "s", if zeros.is_some() { "z" } else { "" }, "", shift];
        let network = network(13, &[2, 5, 20])
            .constant(Tensor::raw("w", builder::UINT8, &[6, 2, width], &bytes(12 * width)))
            .weights("s", &[12])
            .weights("b", &[6]);
        let node = own("MatMulNBits", &inputs, &["y"]).int("K", 20).int("N", 6).int("bits", bits).int("block_size", 16);
        zeros.into_iter().fold(network, Network::constant).node(node).bytes(&[2, 5, 6])
    };
    let packed = |bits: i64| {
        let width = (2 * bits + 7) / 8;
        Some(Tensor::raw("z", builder::UINT8, &[6, width], &bytes(6 * width)))
    };
    let floating = Some(Tensor::floats("z", &[6, 2], &numbers(12)));
    let of = |name, bytes| Case {
        // ONNX Runtime computes with numbers of its own accuracy.
        tolerance: 1e-5,
        ..case(name, "packed-weights-to-numbers", &["MatMulNBits"], bytes)
    };
    check(&[
        of("four", product(4, None, "")),
        of("four_from_zero", product(4, packed(4), "b")),
        of("four_from_numbers", product(4, floating, "")),
        of("eight", product(8, None, "b")),
        of("eight_from_zero", product(8, packed(8), "")),
    ]);
}

#[test]
fn pairs_that_are_turned() {
    let places = |dims: &[i64], values: &[i64]| Tensor::integers("p", dims, values);
    let tables = |network: Network, half: i64| network.weights("c", &[9, half]).weights("s", &[9, half]);
    let runtime = |shape: &[i64], half: i64, places: Tensor, node: fn(Node) -> Node| {
        let rotated = own("RotaryEmbedding", &["x", "p", "c", "s"], &["y"]);
        tables(network(13, shape), half).constant(places).node(node(rotated)).bytes(shape)
    };
    let (text, heads) = ([2, 5, 24], [2, 3, 5, 8]);
    let each = || places(&[2, 5], &[0, 1, 2, 3, 4, 8, 7, 6, 5, 4]);
    let neighbours = |node: Node| node.int("interleaved", 1);
    let part = |node: Node| node.int("rotary_embedding_dim", 4).int("num_heads", 3);
    let standard = |shape: &[i64], half: i64, node: fn(Node) -> Node| {
        let rotated = Node::new("RotaryEmbedding", &["x", "c", "s", "p"], &["y"]).int("num_heads", 3);
        tables(Network::new(23, shape), half).constant(each()).node(node(rotated)).bytes(shape)
    };
    let own_tables = Network::new(23, &heads)
        .weights("c", &[2, 5, 4])
        .weights("s", &[2, 5, 4])
        .node(neighbours(Node::new("RotaryEmbedding", &["x", "c", "s"], &["y"])))
        .bytes(&heads);
    let gone = &["RotaryEmbedding"];
    let of = |name, bytes| case(name, "runtime-attention-to-products", gone, bytes);
    let as_onnx = |name, bytes| case(name, "rotation-to-products", gone, bytes);
    check(&[
        of("from", runtime(&text, 4, places(&[1], &[3]), |node| node)),
        of("each", runtime(&text, 4, each(), neighbours)),
        of("heads", runtime(&heads, 4, each(), |node| node)),
        of("part", runtime(&text, 2, each(), part)),
        as_onnx("onnx", standard(&text, 4, |node| node)),
        as_onnx("onnx_part", standard(&heads, 2, |node| node.int("rotary_embedding_dim", 4))),
        as_onnx("onnx_tables", own_tables),
    ]);
}

#[test]
fn attention_of_groups() {
    let text = [2, 5, 32];
    let grouped = |inputs: &[&str], node: fn(Node) -> Node, shape: &[i64], result: &[i64]| {
        let ends: Vec<u8> = [4_i32, 4].iter().flat_map(|last| last.to_le_bytes()).collect();
        let attention =
            own("GroupQueryAttention", inputs, &["y", "pk", "pv"]).int("num_heads", 4).int("kv_num_heads", 2);
        network(13, shape)
            .weights("k", &[2, 5, 16])
            .weights("v", &[2, 5, 16])
            .constant(Tensor::raw("last", INT32, &[2, 1], &ends))
            .constant(Tensor::raw("all", INT32, &[], &5_i32.to_le_bytes()))
            .weights("c", &[9, 8])
            .weights("s", &[9, 8])
            .node(node(attention))
            .bytes(result)
    };
    let apart = ["x", "k", "v", "", "", "last", "all"];
    let packed = ["x", "", "", "", "", "last", "all", "c", "s"];
    let of = |name, bytes| Case {
        tolerance: 1e-5,
        ..case(name, "runtime-attention-to-products", &["GroupQueryAttention", "Attention", "RotaryEmbedding"], bytes)
    };
    check(&[
        of("apart", grouped(&apart, |node| node, &text, &text)),
        of("scaled", grouped(&apart, |node| node.float("scale", 0.5).float("softcap", 2.0), &text, &text)),
        of("packed", grouped(&packed, |node| node.int("do_rotary", 1), &[2, 5, 128], &[2, 5, 64])),
    ]);
}

/// Bytes of small integers.
fn bytes(count: i64) -> Vec<u8> {
    numbers(count).into_iter().map(|number| (number * 127.0) as i8 as u8).collect()
}

/// With scales and zero points of the input, of another value and of the result, and with the quantized input `q`.
fn quantized(shape: &[i64]) -> Network {
    network(13, shape)
        .floats("xs", &[], &[0.03])
        .constant(Tensor::raw("xz", builder::UINT8, &[], &[120]))
        .floats("ys", &[], &[0.05])
        .constant(Tensor::raw("yz", builder::UINT8, &[], &[100]))
        .floats("ps", &[], &[1.0 / 256.0])
        .constant(Tensor::raw("pz", builder::UINT8, &[], &[0]))
        .node(own("QuantizeLinear", &["x", "xs", "xz"], &["q"]))
}

#[test]
fn quantized_operators() {
    let back = |network: Network, [scale, zero]: [&str; 2], result: &[i64]| {
        network.node(own("DequantizeLinear", &["r", scale, zero], &["y"])).bytes(result)
    };
    let binary = |operator: &str| {
        let network = quantized(&IMAGE).constant(Tensor::raw("o", builder::UINT8, &[8], &bytes(8))).node(own(
            operator,
            &["q", "xs", "xz", "o", "ps", "pz", "ys", "yz"],
            &["r"],
        ));
        back(network, ["ys", "yz"], &IMAGE)
    };
    let unary = |node: fn(Node) -> Node, operator: &str, result: &[i64]| {
        let network = quantized(&IMAGE).node(node(own(operator, &["q", "xs", "xz", "ys", "yz"], &["r"])));
        back(network, ["ys", "yz"], result)
    };
    let softmax = |axis: i64, opset: i64| {
        let node = own("QLinearSoftmax", &["q", "xs", "xz", "ps", "pz"], &["r"]).int("axis", axis).int("opset", opset);
        back(quantized(&IMAGE).node(node), ["ps", "pz"], &IMAGE)
    };
    let concat = quantized(&IMAGE)
        .node(Node::new("Transpose", &["q"], &["t"]).ints("perm", &[0, 1, 2, 3]))
        .node(own("QLinearConcat", &["ys", "yz", "q", "xs", "xz", "t", "xs", "xz"], &["r"]).int("axis", 1));
    let gemm = |result_is_quantized: bool| {
        let sums: Vec<u8> = (0..5_i32).flat_map(|sum| (sum * 70 - 100).to_le_bytes()).collect();
        let network = quantized(&[3, 4])
            .constant(Tensor::raw("w", INT8, &[5, 4], &bytes(20)))
            .floats("ws", &[5], &[0.01, 0.02, 0.015, 0.01, 0.005])
            .constant(Tensor::raw("wz", INT8, &[5], &[0; 5]))
            .constant(Tensor::raw("c", INT32, &[5], &sums));
        let inputs = ["q", "xs", "xz", "w", "ws", "wz", "c", "ys", "yz"];
        if result_is_quantized {
            back(network.node(own("QGemm", &inputs, &["r"]).int("transB", 1)), ["ys", "yz"], &[3, 5])
        } else {
            network.node(own("QGemm", &inputs[..7], &["y"]).int("transB", 1)).bytes(&[3, 5])
        }
    };
    let pool = |node: Node| node.ints("kernel_shape", &[2, 3]).ints("strides", &[2, 1]).int("count_include_pad", 1);
    let last = quantized(&IMAGE)
        .node(own("QLinearGlobalAveragePool", &["q", "xs", "xz", "ys", "yz"], &["r"]).int("channels_last", 1));
    // Rounding to integers stays undone: some steps of the quantization.
    let of =
        |name, gone, bytes| Case { tolerance: 0.06, ..case(name, "quantized-runtime-operators-to-onnx", gone, bytes) };
    check(&[
        of("add", &["QLinearAdd", "QuantizeLinear"], binary("QLinearAdd")),
        of("multiply", &["QLinearMul", "QuantizeLinear"], binary("QLinearMul")),
        of("sigmoid", &["QLinearSigmoid", "QuantizeLinear"], unary(|node| node, "QLinearSigmoid", &IMAGE)),
        of(
            "leaky",
            &["QLinearLeakyRelu", "QuantizeLinear"],
            unary(|node| node.float("alpha", 0.3), "QLinearLeakyRelu", &IMAGE),
        ),
        of("pool", &["QLinearAveragePool"], unary(pool, "QLinearAveragePool", &[1, 4, 3, 6])),
        of(
            "pool_all",
            &["QLinearGlobalAveragePool"],
            unary(|node| node.int("channels_last", 0), "QLinearGlobalAveragePool", &[1, 4, 1, 1]),
        ),
        of("pool_all_last", &["QLinearGlobalAveragePool"], back(last, ["ys", "yz"], &[1, 1, 1, 8])),
        of("softmax", &["QLinearSoftmax"], softmax(-1, 13)),
        of("softmax_of_channels", &["QLinearSoftmax"], softmax(1, 13)),
        of("softmax_of_all_behind", &["QLinearSoftmax"], softmax(2, 12)),
        of("concat", &["QLinearConcat"], back(concat, ["ys", "yz"], &[1, 8, 6, 8])),
        of("gemm", &["QGemm"], gemm(true)),
        of("gemm_to_numbers", &["QGemm"], gemm(false)),
    ]);
}

#[test]
fn operators_that_quantize_by_themselves() {
    let weights =
        |network: Network, dims: &[i64]| network.constant(Tensor::raw("w", INT8, dims, &bytes(dims.iter().product())));
    let product = weights(network(13, &[2, 3, 8]), &[8, 5])
        .floats("ws", &[5], &[0.01, 0.02, 0.015, 0.01, 0.005])
        .constant(Tensor::raw("wz", INT8, &[5], &[1, 0, 2, 255, 0]))
        .weights("b", &[5])
        .node(own("DynamicQuantizeMatMul", &["x", "w", "ws", "wz", "b"], &["y"]));
    let to_float = weights(network(13, &[2, 3, 8]), &[8, 5])
        .floats("ws", &[], &[0.01])
        .constant(Tensor::raw("wz", INT8, &[], &[3]))
        .weights("b", &[5])
        .apply("DynamicQuantizeLinear", &["x"], &["q", "s", "z"])
        .node(own("MatMulIntegerToFloat", &["q", "w", "s", "ws", "z", "wz", "b"], &["y"]));
    let lstm = |direction: &'static str, directions: i64| {
        let count = directions as usize;
        network(13, &[4, 1, 5])
            .constant(Tensor::raw("w", INT8, &[directions, 5, 24], &bytes(directions * 5 * 24)))
            .constant(Tensor::raw("r", INT8, &[directions, 6, 24], &bytes(directions * 6 * 24)))
            .weights("b", &[directions, 48])
            .floats("ws", &[directions], &vec![0.01; count])
            .constant(Tensor::raw("wz", INT8, &[directions], &vec![2; count]))
            .floats("rs", &[directions], &vec![0.005; count])
            .constant(Tensor::raw("rz", INT8, &[directions], &vec![0; count]))
            .node(
                own("DynamicQuantizeLSTM", &["x", "w", "r", "b", "", "", "", "", "ws", "wz", "rs", "rz"], &["y"])
                    .int("hidden_size", 6)
                    .text("direction", direction),
            )
            .bytes(&[4, directions, 1, 6])
    };
    let attention = |per: i64, mask: &str| {
        weights(network(13, &[1, 5, 8]), &[8, 24])
            .floats("ws", &[per], &vec![0.01; per as usize])
            .constant(Tensor::raw("wz", INT8, &[per], &vec![3; per as usize]))
            .weights("b", &[24])
            .constant(Tensor::raw("m", INT32, &[1, 5], &[1_i32, 1, 1, 0, 1].map(i32::to_le_bytes).concat()))
            .apply("DynamicQuantizeLinear", &["x"], &["q", "s", "z"])
            .node(own("QAttention", &["q", "w", "b", "s", "ws", mask, "z", "wz"], &["y"]).int("num_heads", 2))
            .bytes(&[1, 5, 8])
    };
    let continued = weights(network(13, &[1, 5, 8]), &[8, 24])
        .floats("ws", &[1], &[0.01])
        .constant(Tensor::raw("wz", INT8, &[1], &[3]))
        .weights("b", &[24])
        .weights("p", &[2, 1, 2, 3, 4])
        .apply("DynamicQuantizeLinear", &["x"], &["q", "s", "z"])
        .node(
            own("QAttention", &["q", "w", "b", "s", "ws", "", "z", "wz", "p"], &["y", "present"])
                .int("num_heads", 2)
                .int("unidirectional", 1),
        )
        .bytes(&[1, 5, 8]);
    let table = |network: Network, name: &str, rows: i64| {
        let (scale, zero) = (format!("{name}_scale"), format!("{name}_zero"));
        let dims: &[i64] = if rows == 0 { &[6] } else { &[rows, 6] };
        let count = dims.iter().product();
        network
            .constant(Tensor::raw(name, INT8, dims, &bytes(count)))
            .floats(&scale, &[], &[0.02])
            .constant(Tensor::raw(&zero, INT8, &[], &[4]))
    };
    let text = Network::fed(13, INT32, &[1, 5]).domain("com.microsoft");
    let tables = [("words", 10), ("places", 5), ("kinds", 2), ("factor", 0), ("shift", 0)];
    let text = tables.into_iter().fold(text, |network, (name, rows)| table(network, name, rows));
    let names = |end: &str| tables.map(|(name, _)| format!("{name}{end}")).to_vec();
    let inputs =
        [vec!["x".to_owned(), "x_kinds".to_owned()], names(""), vec![String::new()], names("_scale"), names("_zero")];
    let inputs = inputs.concat();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let embedding = text
        .constant(Tensor::raw("x_kinds", INT32, &[1, 5], &[0_i32, 0, 1, 1, 0].map(i32::to_le_bytes).concat()))
        .node(own("QEmbedLayerNormalization", &inputs, &["y", "count"]).float("epsilon", 1e-5));
    let of =
        |name, gone, bytes| Case { tolerance: 0.03, ..case(name, "dynamic-runtime-operators-to-numbers", gone, bytes) };
    check(&[
        of("attention", &["QAttention", "Attention"], attention(1, "m")),
        of("attention_of_columns", &["QAttention", "Attention"], attention(24, "")),
        of("attention_continued", &["QAttention", "Attention"], continued),
        of("embedding", &["QEmbedLayerNormalization", "EmbedLayerNormalization"], embedding.bytes(&[1, 5, 6])),
        of("product", &["DynamicQuantizeMatMul"], product.bytes(&[2, 3, 5])),
        of("to_float", &["MatMulIntegerToFloat", "DynamicQuantizeLinear"], to_float.bytes(&[2, 3, 5])),
        of("lstm", &["DynamicQuantizeLSTM"], lstm("forward", 1)),
        of("lstm_both", &["DynamicQuantizeLSTM"], lstm("bidirectional", 2)),
    ]);
}

/// What the quantizer of ONNX Runtime makes of a network with branches.
#[test]
fn networks_that_onnx_runtime_quantizes() {
    let network = Network::new(13, &IMAGE)
        .weights("w", &[4, 4, 3, 3])
        .weights("v", &[4, 4, 1, 1])
        .weights("m", &[8, 5])
        .weights("g", &[5, 3])
        .weights("b", &[3])
        .node(Node::new("Conv", &["x", "w"], &["a"]).ints("pads", &[1, 1, 1, 1]))
        .apply("Relu", &["a"], &["c"])
        .apply("Conv", &["c", "v"], &["d"])
        .apply("Sigmoid", &["d"], &["e"])
        .apply("Mul", &["d", "e"], &["f"])
        .apply("Add", &["f", "c"], &["h"])
        .node(Node::new("Concat", &["h", "f"], &["i"]).int("axis", 1))
        .node(Node::new("LeakyRelu", &["i"], &["j"]).float("alpha", 0.1))
        .node(Node::new("AveragePool", &["j"], &["k"]).ints("kernel_shape", &[2, 1]).ints("strides", &[2, 1]))
        .apply("GlobalAveragePool", &["k"], &["l"])
        .apply("Add", &["k", "l"], &["n"])
        .apply("MatMul", &["n", "m"], &["o"])
        .node(Node::new("Reshape", &["o", "rows"], &["p"]))
        .integers("rows", &[24, 5])
        .apply("Gemm", &["p", "g", "b"], &["q"])
        .node(Node::new("Softmax", &["q"], &["y"]).int("axis", -1))
        .bytes(&[24, 3]);
    let folder = tempfile::TempDir::new().unwrap();
    let [source, result] = ["source.onnx", "result.onnx"].map(|name| folder.path().join(name));
    fs::write(&source, &network).unwrap();
    // `tests/run` sets it.
    let python = std::env::var_os("MODELCONVERTER_TEST_PYTHON").unwrap();
    let quantizer = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers/quantizer.py");
    let output = Command::new(python).arg(quantizer).args([&source, &result]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = fs::read(&result).unwrap();
    let before = Model::parse(bytes.into()).unwrap();
    let own = |model: &Model| {
        let nodes = model.graph().node.iter().filter(|node| node.domain() == "com.microsoft");
        nodes.map(|node| node.op_type().to_owned()).collect::<BTreeSet<_>>()
    };
    let wanted =
        ["QGemm", "QLinearAdd", "QLinearConcat", "QLinearLeakyRelu", "QLinearMul", "QLinearSigmoid", "QLinearSoftmax"];
    for operator in wanted {
        assert!(own(&before).contains(operator), "{:?}", own(&before));
    }
    let (after, _) = rewritten(&before, &myriad_passes());
    assert!(own(&after).is_empty(), "{:?}", own(&after));
    let left = after.graph().node.iter().find(|node| node.op_type().contains("Quantize"));
    assert!(left.is_none(), "{left:?}");
    // What is rounded in every layer is further from the network than what is not.
    let pair = |name: &str, before: Model, after: &Model, tolerance: f64| Pair {
        name: name.to_owned(),
        before,
        after: after.clone(),
        sizes: BTreeMap::new(),
        tolerance,
    };
    assert_same(&[
        pair("network", Model::parse(network.into()).unwrap(), &after, 0.05),
        pair("quantized network", before, &after, 0.15),
    ]);
}
