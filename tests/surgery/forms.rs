//! Forms of operators that networks seldom have, or have only of late: before and after they are rewritten.

use std::collections::BTreeMap;

use modelconverter::onnx::Model;
use modelconverter::surgery::myriad_passes;
use modelconverter::surgery::support::{FrontEnd, unsupported};

use crate::builder::{self, FLOAT, Node, Tensor, UINT8};
use crate::lowering::{Case, case, check};
use crate::network::{Network, numbers};
use crate::pairs::{Pair, assert_same, rewritten};

const INT8: i32 = 3;
const INT32: i32 = 6;
const IMAGE: [i64; 4] = [1, 4, 6, 8];

#[test]
fn slopes_and_gates() {
    let slope = |alpha: f32| {
        let node = Node::new("LeakyRelu", &["x"], &["y"]).float("alpha", alpha);
        Network::new(11, &IMAGE).node(node).bytes(&IMAGE)
    };
    let of = |name, bytes| case(name, "steep-slope", &["LeakyRelu"], bytes);
    check(&[of("steep", slope(2.0)), of("falling", slope(-0.5))]);
}

/// ONNX Runtime does not know the operator, and computes what the standard says of it.
#[test]
fn gated_values() {
    let fed = |opset: i64| Network::new(opset, &IMAGE).weights("b", &IMAGE);
    let stated = fed(13)
        .floats("alpha", &[], &[1.5])
        .apply("Mul", &["x", "alpha"], &["a"])
        .apply("Sigmoid", &["a"], &["g"])
        .apply("Mul", &["x", "g"], &["s"])
        .apply("Mul", &["s", "b"], &["y"]);
    let gated = fed(28).node(Node::new("SwiGLU", &["x", "b"], &["y"]).float("alpha", 1.5));
    let parse = |network: Network| Model::parse(network.bytes(&IMAGE).into()).unwrap();
    let (after, _) = rewritten(&parse(gated), &myriad_passes());
    let pair =
        Pair { name: "SwiGLU".to_owned(), before: parse(stated), after, sizes: BTreeMap::new(), tolerance: 1e-6 };
    assert_same(&[pair]);
}

#[test]
fn slices_that_name_no_axes() {
    let slice = |opset: i64, node: Node| {
        Network::new(opset, &IMAGE)
            .integers("starts", &[0, 1])
            .integers("ends", &[1, 3])
            .integers("steps", &[1, 2])
            .node(node)
    };
    let places = slice(13, Node::new("Slice", &["x", "starts", "ends"], &["y"])).bytes(&[1, 2, 6, 8]);
    let steps = slice(13, Node::new("Slice", &["x", "starts", "ends", "", "steps"], &["y"])).bytes(&[1, 1, 6, 8]);
    let older = Node::new("Slice", &["x"], &["y"]).ints("starts", &[0, 1]).ints("ends", &[1, 3]);
    let of = |name, bytes| case(name, "slices-with-axes", &[], bytes);
    check(&[of("places", places), of("steps", steps), of("older", slice(9, older).bytes(&[1, 2, 6, 8]))]);
}

#[test]
fn shares_of_sums() {
    let share = |axis: i64, opset: i64| {
        let node = Node::new("LpNormalization", &["a"], &["y"]).int("p", 1).int("axis", axis);
        // A sum of nothing too.
        Network::new(opset, &IMAGE)
            .floats("k", &[4, 1, 1], &[0.0, 1.0, 0.0, 2.0])
            .apply("Mul", &["x", "k"], &["a"])
            .node(node)
    };
    let of =
        |name, network: Network| case(name, "share-of-sum-of-magnitudes", &["LpNormalization"], network.bytes(&IMAGE));
    check(&[of("channels", share(1, 9)), of("last", share(-1, 13))]);
}

#[test]
fn reductions_of_nothing() {
    let reduced = |operator: &str, inputs: &[&str]| {
        let node = Node::new(operator, inputs, &["y"]).int("noop_with_empty_axes", 1);
        Network::new(18, &IMAGE).integers("none", &[]).node(node).bytes(&IMAGE)
    };
    let of = |name, bytes| case(name, "reduction-of-no-axes", &["ReduceMax", "ReduceSum"], bytes);
    check(&[of("maximum", reduced("ReduceMax", &["x"])), of("sum", reduced("ReduceSum", &["x", "none"]))]);
}

fn to_floats(network: Network) -> Network {
    network.node(Node::new("Cast", &["a"], &["y"]).int("to", FLOAT.into()))
}

#[test]
fn bits_of_whole_numbers() {
    let bytes: Vec<u8> = (0..12).map(|at| (at * 23 + 5) as u8).collect();
    let masked = |operator: &str, element: i32, mask: Tensor, turned: bool| {
        let inputs = if turned { ["m", "x"] } else { ["x", "m"] };
        let network = Network::fed(18, element, &[3, 4]).constant(mask).apply(operator, &inputs, &["a"]);
        to_floats(network).bytes(&[3, 4])
    };
    let each = |element: i32| Tensor::raw("m", element, &[3, 4], &bytes);
    let whole = |value: i32| Tensor::raw("m", INT32, &[], &value.to_le_bytes());
    let both = |operator: &str, element: i32| {
        // Numbers of either sign.
        let network = Network::fed(18, FLOAT, &[3, 4])
            .floats("k", &[], &[90.0])
            .floats("l", &[3, 1], &[31.0, -17.0, 64.0])
            .apply("Mul", &["x", "k"], &["b"])
            .apply("Mul", &["x", "l"], &["c"]);
        let cast = |from: &str, to: &str| Node::new("Cast", &[from], &[to]).int("to", element.into());
        let positive = |network: Network| {
            if element == UINT8 {
                network.apply("Abs", &["b"], &["d"]).apply("Abs", &["c"], &["e"])
            } else {
                network.apply("Identity", &["b"], &["d"]).apply("Identity", &["c"], &["e"])
            }
        };
        let network = positive(network).node(cast("d", "f")).node(cast("e", "g"));
        to_floats(network.apply(operator, &["f", "g"], &["a"])).bytes(&[3, 4])
    };
    let not =
        |element: i32| to_floats(Network::fed(18, element, &[3, 4]).apply("BitwiseNot", &["x"], &["a"])).bytes(&[3, 4]);
    let moved = |direction: &str| {
        let network = Network::fed(11, UINT8, &[3, 4]).constant(Tensor::raw("m", UINT8, &[4], &[0, 1, 5, 7]));
        let node = Node::new("BitShift", &["x", "m"], &["a"]).text("direction", direction);
        to_floats(network.node(node)).bytes(&[3, 4])
    };
    const GONE: &[&str] = &["BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"];
    let of = |name, bytes| Case { tolerance: 0.0, ..case(name, "bits-to-arithmetic", GONE, bytes) };
    check(&[
        of("and", masked("BitwiseAnd", UINT8, each(UINT8), false)),
        of("or", masked("BitwiseOr", UINT8, each(UINT8), true)),
        of("xor", masked("BitwiseXor", UINT8, each(UINT8), false)),
        of("parity", masked("BitwiseAnd", INT32, whole(1), false)),
        of("all_but", masked("BitwiseAnd", INT32, whole(-4), false)),
        of("or_below", masked("BitwiseOr", INT32, whole(-3), true)),
        of("xor_below", masked("BitwiseXor", INT32, whole(-3), false)),
        of("both_and", both("BitwiseAnd", INT8)),
        of("both_or", both("BitwiseOr", INT8)),
        of("both_xor", both("BitwiseXor", UINT8)),
        of("not", not(INT32)),
        of("not_of_bytes", not(UINT8)),
        of("right", moved("RIGHT")),
        of("left", moved("LEFT")),
    ]);
}

#[test]
fn sums_of_small_integers() {
    let sum = |operator: &str, element: i32| {
        let network = Network::fed(14, element, &[3, 4])
            .constant(Tensor::raw("m", element, &[4], &[3, 200, 255, 100]))
            .apply(operator, &["x", "m"], &["a"]);
        to_floats(network).bytes(&[3, 4])
    };
    let of = |name, bytes| Case { tolerance: 0.0, ..case(name, "sums-that-wrap-around", &[], bytes) };
    check(&[
        of("sum", sum("Add", UINT8)),
        of("difference", sum("Sub", UINT8)),
        of("signed", sum("Add", INT8)),
        of("signed_difference", sum("Sub", INT8)),
    ]);
}

#[test]
fn texts_that_are_turned_round() {
    let turned = |lengths: &[i64], time: i64, shape: &[i64]| {
        let node = Node::new("ReverseSequence", &["x", "n"], &["y"]).int("time_axis", time).int("batch_axis", 1 - time);
        Network::new(10, shape).integers("n", lengths).node(node).bytes(shape)
    };
    let of = |name, bytes| Case { tolerance: 0.0, ..case(name, "turned-text-to-lookup", &["ReverseSequence"], bytes) };
    check(&[
        of("one", turned(&[5], 0, &[7, 1, 4])),
        of("whole", turned(&[7, 7], 1, &[2, 7, 3])),
        of("many", turned(&[3, 0, 7], 0, &[7, 3, 4])),
    ]);
}

#[test]
fn maxima_and_means_of_incomplete_volumes() {
    let pooled = |operator: &str| {
        let node = Node::new(operator, &["x"], &["y"]).ints("kernel_shape", &[2, 3, 3]).ints("strides", &[2, 2, 2]);
        Network::new(12, &[1, 3, 5, 8, 9]).node(node.int("ceil_mode", 1)).bytes(&[1, 3, 3, 4, 4])
    };
    check(&[
        case("maxima", "max-pool-of-whole-windows", &[], pooled("MaxPool")),
        case("means", "explicit-average-pool", &[], pooled("AveragePool")),
    ]);
}

/// Regions that are constants: of any size, and partly outside.
#[test]
fn known_regions() {
    let places = [[0.0, 0.0, 8.0, 8.0], [2.0, 3.0, 11.0, 14.0], [4.0, 4.0, 4.5, 15.0], [-3.0, 10.0, 5.0, 19.0]];
    let aligned = |node: fn(Node) -> Node| {
        let node = node(Node::new("RoiAlign", &["x", "r", "b"], &["y"]).int("output_height", 3).int("output_width", 2));
        Network::new(16, &[1, 4, 16, 12])
            .floats("r", &[4, 4], &places.concat())
            .integers("b", &[0; 4])
            .node(node)
            .bytes(&[4, 4, 3, 2])
    };
    let with_batch: Vec<f32> = places.iter().take(2).flat_map(|place| [&[0.0], &place[..]].concat()).collect();
    let maxima = Network::new(9, &[1, 4, 16, 16])
        .floats("r", &[2, 5], &with_batch)
        .node(Node::new("MaxRoiPool", &["x", "r"], &["y"]).ints("pooled_shape", &[3, 2]).float("spatial_scale", 0.7))
        .bytes(&[2, 4, 3, 2]);
    let of = |name, bytes| case(name, "regions-to-products", &["RoiAlign"], bytes);
    check(&[
        of("by_size", aligned(|node| node.int("sampling_ratio", 0).float("spatial_scale", 0.9))),
        of("counted", aligned(|node| node.int("sampling_ratio", 2))),
        case("maxima", "regions-to-maxima", &["MaxRoiPool"], maxima),
    ]);
}

#[test]
fn attention_after_what_came_before() {
    const PASS: &str = "attention-to-products";
    const GONE: &[&str] = &["Attention"];
    let network = |opset: i64| {
        Network::new(opset, &[1, 4, 3, 6])
            .weights("k", &[1, 2, 3, 6])
            .weights("v", &[1, 2, 3, 5])
            .weights("pk", &[1, 2, 4, 6])
            .weights("pv", &[1, 2, 4, 5])
            .integers("n", &[6])
            .weights("fk", &[1, 4, 8, 6])
            .weights("fv", &[1, 4, 8, 5])
    };
    let attention = |inputs: &[&str], outputs: &[&str]| Node::new("Attention", inputs, outputs);
    let past = ["x", "k", "v", "", "pk", "pv"];
    let result = [1, 4, 3, 5];
    let given = |place: usize, shape: &[i64]| {
        let outputs: Vec<&str> = (0..4).map(|at| if at == place { "y" } else { ["r", "s", "t", "u"][at] }).collect();
        network(23).node(attention(&past, &outputs).int("is_causal", 1).int("qk_matmul_output_mode", 3)).bytes(shape)
    };
    let filled = ["x", "fk", "fv", "", "", "", "n"];
    let windowed = attention(&["x", "fk", "fv"], &["y"]).int("left_window_size", 2).int("right_window_size", 1);
    check(&[
        case("past", PASS, GONE, given(0, &result)),
        case("present_key", PASS, GONE, given(1, &[1, 2, 7, 6])),
        case("present_value", PASS, GONE, given(2, &[1, 2, 7, 5])),
        case("weights", PASS, GONE, given(3, &[1, 4, 3, 7])),
        case("filled", PASS, GONE, network(24).node(attention(&filled, &["y"])).bytes(&result)),
        case(
            "filled_causal",
            PASS,
            GONE,
            network(24).node(attention(&filled, &["y"]).int("is_causal", 1)).bytes(&result),
        ),
        case("windowed", PASS, GONE, network(25).node(windowed).bytes(&result)),
    ]);
}

#[test]
fn caches_that_are_written_into() {
    const PASS: &str = "written-rows-to-product";
    let written = |inputs: &[&str], mode: &str| {
        Network::new(24, &[2, 3, 5, 4])
            .weights("u", &[2, 3, 2, 4])
            .integers("n", &[1, 4])
            .integers("m", &[3, 0])
            .node(Node::new("TensorScatter", inputs, &["y"]).text("mode", mode))
            .bytes(&[2, 3, 5, 4])
    };
    let of = |name, bytes| Case { tolerance: 0.0, ..case(name, PASS, &["TensorScatter"], bytes) };
    check(&[
        of("first", written(&["x", "u"], "linear")),
        of("placed", written(&["x", "u", "m"], "linear")),
        of("around", written(&["x", "u", "n"], "circular")),
    ]);
}

/// Weights of 8 bits that are no integers.
#[test]
fn small_floating_numbers() {
    const FLOAT8: i32 = 17;
    let bytes: Vec<u8> =
        numbers(32).iter().map(|number| (number * 100.0) as i8 as u8).filter(|byte| byte & 0x7f != 0x7f).collect();
    assert_eq!(bytes.len(), 32);
    let graph = builder::Graph::new()
        .input("x", FLOAT, &builder::sizes(&[3, 8]))
        .initializer(Tensor::raw("w", FLOAT8, &[8, 4], &bytes))
        .initializer(Tensor::floats("s", &[], &[0.5]))
        .node(Node::new("DequantizeLinear", &["w", "s"], &["d"]))
        .node(Node::new("MatMul", &["x", "d"], &["y"]))
        .output("y", FLOAT, &builder::sizes(&[3, 4]));
    let before = modelconverter::onnx::Model::parse(builder::Model::new(graph).opset(19).bytes().into()).unwrap();
    let (after, _) = crate::pairs::rewritten(&before, &crate::pairs::PASSES);
    let operators: Vec<&str> = after.graph().node.iter().map(|node| node.op_type()).collect();
    assert_eq!(operators, ["MatMul"]);
    let pair = crate::pairs::Pair { name: "float8".into(), before, after, sizes: [].into(), tolerance: 1e-6 };
    crate::pairs::assert_same(&[pair]);
}

#[test]
fn layers_with_functions_of_their_own() {
    let layer = |operator: &str, gates: i64, node: fn(Node) -> Node| {
        let inputs = ["x", "w", "r", "b"];
        Network::new(14, &[5, 2, 4])
            .weights("w", &[1, gates * 6, 4])
            .weights("r", &[1, gates * 6, 6])
            .weights("b", &[1, 2 * gates * 6])
            .node(node(Node::new(operator, &inputs, &["y"]).int("hidden_size", 6)))
            .bytes(&[5, 1, 2, 6])
    };
    let hard = |node: Node| {
        let node = node.texts("activations", &["HardSigmoid", "Softsign", "ScaledTanh"]);
        node.floats("activation_alpha", &[0.3, 1.5]).floats("activation_beta", &[0.4, 0.7])
    };
    let of = |name, gone, bytes| Case { tolerance: 1e-5, ..case(name, "recurrence-step-by-step", gone, bytes) };
    check(&[
        of("hard", &["LSTM"], layer("LSTM", 4, hard)),
        of("limited", &["LSTM"], layer("LSTM", 4, |node| node.float("clip", 0.2))),
        of("coupled", &["LSTM"], layer("LSTM", 4, |node| node.int("input_forget", 1))),
        of("gated", &["GRU"], layer("GRU", 3, |node| node.texts("activations", &["HardSigmoid", "Relu"]))),
        of("limited_gates", &["GRU"], layer("GRU", 3, |node| node.float("clip", 0.3))),
        of("plain", &["RNN"], layer("RNN", 1, |node| node.texts("activations", &["LeakyRelu"]))),
    ]);
}

/// The compiler would take it for a layer of the usual functions.
#[test]
fn long_layers_with_functions_of_their_own_are_refused() {
    let layer = |node: fn(Node) -> Node| {
        let network = Network::new(14, &[400, 1, 4]).weights("w", &[1, 24, 4]).weights("r", &[1, 24, 6]);
        let node = node(Node::new("LSTM", &["x", "w", "r"], &["y"]).int("hidden_size", 6));
        let before = Model::parse(network.node(node).bytes(&[400, 1, 1, 6]).into()).unwrap();
        unsupported(&rewritten(&before, &myriad_passes()).0, FrontEnd::Importer)
    };
    assert_eq!(layer(|node| node), []);
    let odd: [fn(Node) -> Node; 3] = [
        |node| node.float("clip", 0.2),
        |node| node.int("input_forget", 1),
        |node| node.texts("activations", &["HardSigmoid", "Tanh", "Tanh"]),
    ];
    for node in odd {
        let refusals = layer(node);
        assert!(refusals[0].reason.contains("the activations and limits of this layer"), "{refusals:?}");
    }
}

#[test]
fn sequences_of_different_lengths() {
    let layer = |operator: &str, gates: i64, direction: &str, place: usize| {
        let outputs: Vec<&str> = (0..=place).map(|at| if at == place { "y" } else { ["s", "t"][at] }).collect();
        let network = Network::new(14, &[5, 2, 4])
            .weights("w", &[1, gates * 6, 4])
            .weights("r", &[1, gates * 6, 6])
            .weights("b", &[1, 2 * gates * 6])
            .floats("k", &[2], &[2.9, 4.8])
            // 2 and 4, from what the network is fed.
            .node(Node::new("ReduceMean", &["x"], &["a"]).ints("axes", &[0, 2]).int("keepdims", 0))
            .apply("Tanh", &["a"], &["c"])
            .apply("Mul", &["c", "c"], &["d"])
            .floats("tenth", &[], &[0.1])
            .apply("Mul", &["d", "tenth"], &["e"])
            .apply("Sub", &["k", "e"], &["f"])
            .node(Node::new("Cast", &["f"], &["n"]).int("to", INT32.into()));
        let inputs = ["x", "w", "r", "b", "n"];
        let node = Node::new(operator, &inputs, &outputs).int("hidden_size", 6).text("direction", direction);
        network.node(node).bytes(if place == 0 { &[5, 1, 2, 6] } else { &[1, 2, 6] })
    };
    let of = |name, gone, bytes| Case { tolerance: 1e-5, ..case(name, "recurrence-step-by-step", gone, bytes) };
    check(&[
        of("lstm", &["LSTM"], layer("LSTM", 4, "forward", 0)),
        of("lstm_cell", &["LSTM"], layer("LSTM", 4, "forward", 2)),
        of("lstm_back", &["LSTM"], layer("LSTM", 4, "reverse", 1)),
        of("gru_back", &["GRU"], layer("GRU", 3, "reverse", 0)),
        of("rnn", &["RNN"], layer("RNN", 1, "forward", 1)),
    ]);
}

#[test]
fn chosen_boxes_that_are_given_out() {
    let boxes: Vec<f32> = (0..8).flat_map(|at| [at as f32, 0.0, at as f32 + 1.5, 2.0]).collect();
    let bytes = Network::new(11, &[1, 2, 8])
        .floats("b", &[1, 8, 4], &boxes)
        .integers("most", &[3])
        .floats("overlap", &[1], &[0.3])
        .apply("NonMaxSuppression", &["b", "x", "most", "overlap"], &["y"])
        .bytes_of(builder::INT64, &[6, 3]);
    check(&[Case { tolerance: 0.0, ..case("chosen", "outputs-with-names", &[], bytes) }]);
}
