//! What the rewritings for MyriadX do to networks: ONNX Runtime computes them before and after.

use std::collections::BTreeMap;

use modelconverter::onnx::Model;
use modelconverter::surgery::myriad_passes;

use crate::builder::{self, FLOAT, Node, Tensor};
use crate::network::{Network, numbers};
use crate::pairs::{Pair, assert_same, rewritten};

/// A network and what is expected of its rewriting.
pub struct Case {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// The pass that rewrites it.
    pub pass: &'static str,
    /// Operators that are gone.
    pub gone: &'static [&'static str],
    /// The greatest difference, relative to the greatest magnitude.
    pub tolerance: f64,
}

pub fn case(name: &'static str, pass: &'static str, gone: &'static [&'static str], bytes: Vec<u8>) -> Case {
    Case { name, bytes, pass, gone, tolerance: 1e-6 }
}

fn parse(bytes: &[u8]) -> Model {
    Model::parse(bytes.to_vec().into()).unwrap()
}

pub fn check(cases: &[Case]) {
    let pair = |case: &Case| {
        let before = parse(&case.bytes);
        let (after, operations) = rewritten(&before, &myriad_passes());
        let did: Vec<&str> = operations.iter().map(|operation| operation.pass.as_str()).collect();
        assert!(did.contains(&case.pass), "{}: {did:?}", case.name);
        let operators: Vec<&str> = after.graph().node.iter().map(|node| node.op_type()).collect();
        assert!(!case.gone.iter().any(|gone| operators.contains(gone)), "{}: {operators:?}", case.name);
        Pair { name: case.name.to_owned(), before, after, sizes: BTreeMap::new(), tolerance: case.tolerance }
    };
    assert_same(&cases.iter().map(pair).collect::<Vec<_>>());
}

const IMAGE: [i64; 4] = [1, 4, 6, 8];

/// One operator without attributes on an image.
fn unary(operator: &'static str, opset: i64) -> Vec<u8> {
    one(opset, Node::new(operator, &["x"], &["y"]), &IMAGE)
}

/// One node on an image.
fn one(opset: i64, node: Node, result: &[i64]) -> Vec<u8> {
    Network::new(opset, &IMAGE).node(node).bytes(result)
}

#[test]
fn blocks_behind_their_channels() {
    let blocks = Node::new("SpaceToDepth", &["x"], &["y"]).int("blocksize", 2).text("mode", "CRD");
    check(&[case("crd", "old-forms", &[], one(28, blocks, &[1, 16, 3, 4]))]);
}

#[test]
fn activations_and_signs() {
    let gelu = || Node::new("Gelu", &["x"], &["y"]);
    // The network is fed 0 to 3, from which 2 is taken.
    let whole = |operator: &str, opset: i64| {
        Network::fed(opset, builder::INT64, &[4, 6])
            .constant(Tensor::integers("two", &[], &[2]))
            .apply("Sub", &["x", "two"], &["a"])
            .apply(operator, &["a"], &["b"])
            .node(Node::new("Cast", &["b"], &["y"]).int("to", FLOAT.into()))
            .bytes(&[4, 6])
    };
    check(&[
        case("hard_swish", "lower-activations", &["HardSwish"], unary("HardSwish", 14)),
        case("mish", "lower-activations", &["Mish"], unary("Mish", 18)),
        case("gelu", "lower-activations", &["Gelu"], one(20, gelu(), &IMAGE)),
        case("gelu_tanh", "lower-activations", &["Gelu"], one(20, gelu().text("approximate", "tanh"), &IMAGE)),
        case("selu", "lower-elu-kin", &["Selu"], unary("Selu", 13)),
        case(
            "celu",
            "lower-elu-kin",
            &["Celu"],
            one(12, Node::new("Celu", &["x"], &["y"]).float("alpha", 2.0), &IMAGE),
        ),
        case("hard_sigmoid", "hard-sigmoid-to-clip", &["HardSigmoid"], unary("HardSigmoid", 13)),
        case("sign", "lower-signs", &["Sign"], unary("Sign", 13)),
        case("softsign", "lower-signs", &["Softsign", "Abs"], unary("Softsign", 13)),
        case("abs", "absolute-value-to-maximum", &["Abs"], unary("Abs", 13)),
        case("abs_of_whole", "absolute-value-to-maximum", &["Abs"], whole("Abs", 11)),
        case("sign_of_whole", "lower-signs", &["Sign"], whole("Sign", 13)),
    ]);
}

#[test]
fn comparisons_and_logic() {
    let choice = |operator: &str| {
        Network::new(13, &IMAGE)
            .floats("low", &[], &[-0.5])
            .floats("high", &[], &[0.5])
            .apply("Less", &["x", "high"], &["a"])
            .apply("Greater", &["x", "low"], &["b"])
            .apply(operator, &["a", "b"], &["c"])
            .apply("Where", &["c", "x", "high"], &["y"])
            .bytes(&IMAGE)
    };
    let compare = |operator: &str| {
        Network::new(13, &IMAGE)
            .floats("low", &[], &[-0.5])
            .apply(operator, &["x", "low"], &["a"])
            .apply("Where", &["a", "x", "low"], &["y"])
            .bytes(&IMAGE)
    };
    check(&[
        case("or", "lower-comparisons", &["Or"], choice("Or")),
        case("xor", "lower-comparisons", &["Xor"], choice("Xor")),
        case("greater_or_equal", "lower-comparisons", &["GreaterOrEqual"], compare("GreaterOrEqual")),
        case("less_or_equal", "lower-comparisons", &["LessOrEqual"], compare("LessOrEqual")),
    ]);
}

#[test]
fn normalizations() {
    let layer = |axis: i64, dims: &[i64]| {
        Network::new(17, &IMAGE)
            .weights("s", dims)
            .weights("b", dims)
            .node(Node::new("LayerNormalization", &["x", "s", "b"], &["y"]).int("axis", axis).float("epsilon", 1e-3))
            .bytes(&IMAGE)
    };
    let group = |opset: i64, count: i64| {
        Network::new(opset, &IMAGE)
            .weights("s", &[count])
            .weights("b", &[count])
            .node(Node::new("GroupNormalization", &["x", "s", "b"], &["y"]).int("num_groups", 2))
            .bytes(&IMAGE)
    };
    let root_mean_square =
        Network::new(23, &IMAGE).weights("s", &[8]).apply("RMSNormalization", &["x", "s"], &["y"]).bytes(&IMAGE);
    let mean_variance = one(13, Node::new("MeanVarianceNormalization", &["x"], &["y"]), &IMAGE);
    // Weights that are standardized by a batch normalization in training, as in NFNet.
    let trained = Node::new("BatchNormalization", &["t", "s", "b", "m", "v"], &["n", "mean", "variance"]);
    let standardized = Network::new(17, &IMAGE)
        .weights("w", &[5, 4, 3, 3])
        .integers("flat", &[1, 5, 36])
        .integers("apart", &[5, 4, 3, 3])
        .weights("s", &[5])
        .floats("b", &[5], &[0.0; 5])
        .floats("m", &[5], &[0.0; 5])
        .floats("v", &[5], &[1.0; 5])
        .apply("Reshape", &["w", "flat"], &["t"])
        .node(trained.int("training_mode", 1).float("epsilon", 1e-6))
        .apply("Reshape", &["n", "apart"], &["k"])
        .apply("Conv", &["x", "k"], &["y"])
        .bytes(&[1, 5, 4, 6]);
    check(&[
        case("trained", "batch-normalization-in-training", &["BatchNormalization"], standardized),
        case("layer_last", "lower-normalizations", &["LayerNormalization"], layer(-1, &[8])),
        case("layer_all", "lower-normalizations", &["LayerNormalization"], layer(1, &[4, 6, 8])),
        case("group_18", "lower-normalizations", &["GroupNormalization"], group(18, 2)),
        case("group_21", "lower-normalizations", &["GroupNormalization"], group(21, 4)),
        case("rms", "lower-normalizations", &["RMSNormalization"], root_mean_square),
        case("mean_variance", "lower-mean-variance", &["MeanVarianceNormalization"], mean_variance),
    ]);
}

#[test]
fn einsum_in_all_kinds() {
    type Operand = (&'static str, &'static [i64]);
    let einsum = |equation: &str, shape: &[i64], others: &[Operand], result: &[i64]| {
        let network = others.iter().fold(Network::new(12, shape), |network, (name, dims)| network.weights(name, dims));
        let inputs: Vec<&str> = std::iter::once("x").chain(others.iter().map(|(name, _)| *name)).collect();
        network.node(Node::new("Einsum", &inputs, &["y"]).text("equation", equation)).bytes(result)
    };
    let of = |name, bytes| case(name, "einsum-to-matmul", &["Einsum"], bytes);
    check(&[
        of("scores", einsum("bhqd,bhkd->bhqk", &IMAGE, &[("k", &[1, 4, 5, 8])], &[1, 4, 6, 5])),
        of("values", einsum("b h q k, b h k d -> b h q d", &[1, 4, 6, 5], &[("k", &[1, 4, 5, 8])], &IMAGE)),
        of("channels", einsum("nchw,c->nhw", &IMAGE, &[("k", &[4])], &[1, 6, 8])),
        of("mixed", einsum("bchw,bkc->bkhw", &IMAGE, &[("k", &[1, 3, 4])], &[1, 3, 6, 8])),
        of("transposed", einsum("ijk->kij", &[2, 3, 4], &[], &[4, 2, 3])),
        of("summed", einsum("ij->i", &[3, 4], &[], &[3])),
        of("dots", einsum("...ij,...jk->...ik", &IMAGE, &[("k", &[1, 4, 8, 5])], &[1, 4, 6, 5])),
        of("dots_of_one", einsum("...ij,jk->...ik", &IMAGE, &[("k", &[8, 5])], &[1, 4, 6, 5])),
        of("outer", einsum("bi,bj->bij", &[2, 4], &[("k", &[2, 5])], &[2, 4, 5])),
        of("elements", einsum("bchw,bchw->bchw", &IMAGE, &[("k", &IMAGE)], &IMAGE)),
        of("implied", einsum("ij,jk", &[3, 4], &[("k", &[4, 5])], &[3, 5])),
        of("implied_order", einsum("ba", &[3, 4], &[], &[4, 3])),
        of("three", einsum("bi,ij,jk->bk", &[2, 4], &[("k", &[4, 5]), ("l", &[5, 6])], &[2, 6])),
    ]);
}

#[test]
fn contractions_and_reductions() {
    let deep = [1, 2, 3, 4, 5];
    let shared = Network::new(13, &deep).weights("w", &[5, 6]).apply("MatMul", &["x", "w"], &["y"]);
    let each = Network::new(13, &deep).weights("w", &[1, 2, 3, 5, 6]).apply("MatMul", &["x", "w"], &["y"]);
    let apart = |shape: &[i64], other: &[i64], result: &[i64]| {
        Network::new(11, shape).weights("w", other).apply("MatMul", &["x", "w"], &["y"]).bytes(result)
    };
    let rows = |shape: &[i64], result: &[i64]| {
        Network::new(11, shape).weights("w", &[7, 5]).apply("MatMul", &["x", "w"], &["y"]).bytes(result)
    };
    let vectors = "batch-of-vectors-as-matrices";
    let many = "product-of-many-rows-to-convolution";
    let gemm = |shape: &[i64], weights: &[i64], shift: &[i64], node: fn(Node) -> Node| {
        let network = Network::new(13, shape).weights("w", weights).weights("b", shift);
        network.node(node(Node::new("Gemm", &["x", "w", "b"], &["y"]))).bytes(&[300, 5])
    };
    let scaled = |node: Node| node.int("transA", 1).float("alpha", 0.5).float("beta", 3.0);
    let sum = "product-of-many-rows-and-sum";
    let running = |axis: i64, reverse: i64, exclusive: i64| {
        Network::new(14, &IMAGE)
            .constant(Tensor::integers("a", &[], &[axis]))
            .node(Node::new("CumSum", &["x", "a"], &["y"]).int("reverse", reverse).int("exclusive", exclusive))
            .bytes(&IMAGE)
    };
    let reduce = |operator: &str, keep: i64, result: &[i64]| {
        one(13, Node::new(operator, &["x"], &["y"]).ints("axes", &[-3]).int("keepdims", keep), result)
    };
    check(&[
        case("shared", "high-rank-matmul", &[], shared.bytes(&[1, 2, 3, 4, 6])),
        case("each", "high-rank-matmul", &[], each.bytes(&[1, 2, 3, 4, 6])),
        case("further_rows", "high-rank-matmul", &[], apart(&[1, 4, 6, 1, 5], &[1, 1, 6, 5, 3], &[1, 4, 6, 1, 3])),
        case("further_columns", "high-rank-matmul", &[], apart(&[1, 1, 6, 2, 5], &[3, 4, 1, 5, 7], &[3, 4, 6, 2, 7])),
        case("batch_of_columns", vectors, &[], apart(&[1, 3, 6, 7], &[2, 3, 7, 1], &[2, 3, 6, 1])),
        case("batch_of_rows", vectors, &["MatMul"], apart(&[3, 6, 1], &[3, 1, 7], &[3, 6, 7])),
        case("rows", many, &["MatMul"], rows(&[300, 7], &[300, 5])),
        case("rows_of_batch", many, &["MatMul"], rows(&[2, 300, 7], &[2, 300, 5])),
        case("rows_of_heads", many, &["MatMul"], rows(&[20, 3, 5, 7], &[20, 3, 5, 5])),
        case("rows_of_picture", many, &["MatMul"], rows(&[1, 9, 5, 7], &[1, 9, 5, 5])),
        case(
            "rows_and_sum",
            sum,
            &["Gemm", "MatMul"],
            gemm(&[300, 7], &[5, 7], &[300, 1], |node| node.int("transB", 1)),
        ),
        case("columns_and_sum", sum, &["Gemm", "MatMul"], gemm(&[7, 300], &[7, 5], &[5], scaled)),
        case("running", "cumulative-sum-to-matmul", &["CumSum"], running(3, 0, 0)),
        case("running_back", "cumulative-sum-to-matmul", &["CumSum"], running(1, 1, 1)),
        case("product", "lower-reductions", &["ReduceProd"], reduce("ReduceProd", 1, &[1, 1, 6, 8])),
        case("product_flat", "lower-reductions", &["ReduceProd"], reduce("ReduceProd", 0, &[1, 6, 8])),
        case("absolute", "lower-reductions", &["ReduceL1", "Abs"], reduce("ReduceL1", 0, &[1, 6, 8])),
    ]);
}

#[test]
fn pooling_and_transposed_convolution() {
    let pool = |operator: &str, kernel: &[i64]| Node::new(operator, &["x"], &["y"]).ints("kernel_shape", kernel);
    let dilated =
        pool("MaxPool", &[2, 3]).ints("dilations", &[2, 2]).ints("strides", &[1, 2]).ints("pads", &[1, 0, 0, 1]);
    let average = pool("AveragePool", &[2, 2]).ints("dilations", &[2, 2]);
    let complete = pool("MaxPool", &[2, 2]).ints("strides", &[2, 2]).int("ceil_mode", 1);
    let norm = |p: i64| pool("LpPool", &[3, 3]).int("p", p).ints("pads", &[1, 1, 1, 1]);
    let back = |shape: &[i64], kernel: &[i64], node: fn(Node) -> Node, result: &[i64]| {
        let network = Network::new(11, shape).weights("w", kernel).weights("b", &[6]);
        network.node(node(Node::new("ConvTranspose", &["x", "w", "b"], &["y"]))).bytes(result)
    };
    let kernel = [4, 6, 3, 3];
    check(&[
        case("dilated", "dilated-max-pool", &["MaxPool"], one(12, dilated, &[1, 4, 5, 3])),
        case("dilated_mean", "explicit-average-pool", &["AveragePool"], one(19, average, &[1, 4, 4, 6])),
        case("complete", "max-pool-of-whole-windows", &[], one(12, complete, &[1, 4, 3, 4])),
        case("norm_1", "lower-lp-pool", &["LpPool"], one(11, norm(1), &IMAGE)),
        case("norm_2", "lower-lp-pool", &["LpPool"], one(11, norm(2), &IMAGE)),
        case(
            "wanted_shape",
            "explicit-transposed-convolution",
            &[],
            back(
                &IMAGE,
                &kernel,
                |node| node.ints("strides", &[2, 2]).ints("output_shape", &[12, 16]),
                &[1, 6, 12, 16],
            ),
        ),
        case(
            "wider_shape",
            "explicit-transposed-convolution",
            &[],
            back(
                &IMAGE,
                &kernel,
                |node| node.ints("strides", &[3, 2]).ints("output_shape", &[20, 18]),
                &[1, 6, 20, 18],
            ),
        ),
        case(
            "same_upper",
            "explicit-transposed-convolution",
            &[],
            back(&IMAGE, &kernel, |node| node.ints("strides", &[2, 2]).text("auto_pad", "SAME_UPPER"), &[1, 6, 12, 16]),
        ),
        case(
            "one_axis",
            "flat-transposed-convolution",
            &[],
            back(&[1, 4, 20], &[4, 6, 3], |node| node.ints("strides", &[2]).ints("pads", &[1, 0]), &[1, 6, 40]),
        ),
    ]);
}

#[test]
fn shapes_and_selections() {
    let triangle = |upper: i64, diagonal: i64| {
        Network::new(14, &IMAGE)
            .constant(Tensor::integers("k", &[], &[diagonal]))
            .node(Node::new("Trilu", &["x", "k"], &["y"]).int("upper", upper))
            .bytes(&IMAGE)
    };
    let whole_triangle = Network::fed(14, builder::INT64, &[4, 6])
        .apply("Trilu", &["x"], &["a"])
        .node(Node::new("Cast", &["a"], &["y"]).int("to", FLOAT.into()));
    let any = Network::fed(20, builder::BOOL, &[4, 6])
        .integers("axes", &[1])
        .apply("ReduceMax", &["x", "axes"], &["a"])
        .node(Node::new("Cast", &["a"], &["y"]).int("to", FLOAT.into()));
    let like = Network::new(15, &IMAGE)
        .constant(Tensor::integers("i", &[], &[1]))
        .floats("f", &[], &[1.0])
        .apply("CastLike", &["x", "i"], &["z"])
        .apply("CastLike", &["z", "f"], &["y"]);
    let pads = Network::new(13, &IMAGE).integers("p", &[0, 0, -1, 2, 0, 0, 1, -3]).apply("Pad", &["x", "p"], &["y"]);
    let flat = Network::new(13, &[6, 8])
        .integers("p", &[0, 1, 0, 2])
        .node(Node::new("Pad", &["x", "p"], &["y"]).text("mode", "reflect"));
    let deep = Network::new(13, &[1, 2, 3, 4, 5]).integers("p", &[0, 0, 0, 1, 0, 0, 0, 0, 1, 0]).apply(
        "Pad",
        &["x", "p"],
        &["y"],
    );
    let gather = Network::new(13, &IMAGE)
        .integers("i", &[-1, 0, -4])
        .node(Node::new("Gather", &["x", "i"], &["y"]).int("axis", 1));
    let scatter = Network::new(13, &IMAGE)
        .constant(Tensor::integers("i", &[2, 2], &[0, 1, 0, -1]))
        .weights("u", &[2, 6, 8])
        .apply("ScatterND", &["x", "i", "u"], &["y"]);
    let softmax = |operator: &str| one(11, Node::new(operator, &["x"], &["y"]).int("axis", 1), &IMAGE);
    let reflected = |shape: &[i64], pads: &[i64]| {
        let sizes = shape.iter().enumerate().map(|(axis, size)| size + pads[axis] + pads[axis + shape.len()]);
        Network::new(13, shape)
            .integers("p", pads)
            .node(Node::new("Pad", &["x", "p"], &["y"]).text("mode", "reflect"))
            .bytes(&sizes.collect::<Vec<_>>())
    };
    let squeezed = |opset: i64, shape: &[i64], result: &[i64]| {
        Network::new(opset, shape).apply("Squeeze", &["x"], &["a"]).apply("Relu", &["a"], &["y"]).bytes(result)
    };
    check(&[
        case("flat_pads", "padding-of-few-axes", &[], flat.bytes(&[6, 11])),
        case("deep_pads", "padding-of-few-axes", &[], deep.bytes(&[1, 2, 3, 6, 5])),
        case("reflected", "reflection-of-long-axes", &[], reflected(&[1, 9, 1], &[0, 3, 0, 0, 2, 0])),
        case("deep_reflected", "reflection-of-long-axes", &[], reflected(&[2, 9, 1, 1], &[0, 8, 0, 0, 0, 0, 0, 0])),
        case("wide_reflected", "reflection-of-long-axes", &[], reflected(&[3, 2, 4, 1], &[0, 1, 0, 0, 0, 0, 3, 0])),
        case("squeezed", "squeeze-of-named-axes", &[], squeezed(11, &[1, 3, 1, 2], &[3, 2])),
        case("squeezed_to_one", "squeeze-of-named-axes", &[], squeezed(13, &[1, 1], &[])),
        case("squeezed_by_nothing", "squeeze-of-named-axes", &["Squeeze"], squeezed(13, &[3, 2], &[3, 2])),
        case("upper", "triangle-to-mask", &["Trilu"], triangle(1, 1)),
        case("lower", "triangle-to-mask", &["Trilu"], triangle(0, -2)),
        case("whole_triangle", "triangle-to-mask", &["Trilu"], whole_triangle.bytes(&[4, 6])),
        case("any", "whole-numbers-through-floats", &[], any.bytes(&[4, 1])),
        case("like", "cast-like-to-cast", &["CastLike"], like.bytes(&IMAGE)),
        case("pads", "negative-padding-to-slice", &[], pads.bytes(&[1, 4, 6, 7])),
        case("gather", "positive-indices", &[], gather.bytes(&[1, 3, 6, 8])),
        case("scatter", "scatter-to-concatenation", &["ScatterND"], scatter.bytes(&IMAGE)),
        case("softmax", "softmax-along-one-axis", &[], softmax("Softmax")),
        case("log_softmax", "softmax-along-one-axis", &[], softmax("LogSoftmax")),
        case("sum", "sum-of-one", &["Sum"], unary("Sum", 13)),
    ]);
}

#[test]
fn recurrent_layers() {
    let layer =
        |operator: &str, gates: i64, [length, batch, directions]: [i64; 3], place: usize, node: fn(Node) -> Node| {
            let outputs: Vec<&str> = (0..=place).map(|at| if at == place { "y" } else { "" }).collect();
            let network = Network::new(14, &[length, batch, 5])
                .weights("w", &[directions, gates * 6, 5])
                .weights("r", &[directions, gates * 6, 6])
                .weights("b", &[directions, gates * 12])
                .weights("h", &[directions, batch, 6])
                .node(node(Node::new(operator, &["x", "w", "r", "b", "", "h"], &outputs).int("hidden_size", 6)));
            let result = [length, directions, batch, 6];
            network.bytes(if place == 0 { &result } else { &result[1..] })
        };
    let both = |node: Node| node.text("direction", "bidirectional");
    let reverse = |node: Node| node.text("direction", "reverse");
    let late = |node: Node| node.int("linear_before_reset", 1);
    let bent = |node: Node| node.text("direction", "bidirectional").texts("activations", &["Relu", "Sigmoid"]);
    let step = "recurrence-step-by-step";
    check(&[
        case("gru", step, &["GRU"], layer("GRU", 3, [5, 2, 1], 0, |node| node)),
        case("gru_late", step, &["GRU"], layer("GRU", 3, [5, 1, 1], 1, late)),
        case("gru_both", step, &["GRU"], layer("GRU", 3, [4, 2, 2], 0, both)),
        case("rnn", step, &["RNN"], layer("RNN", 1, [5, 2, 1], 0, reverse)),
        case("rnn_both", step, &["RNN"], layer("RNN", 1, [3, 2, 2], 1, both)),
        case("rnn_bent", step, &["RNN"], layer("RNN", 1, [3, 2, 2], 0, bent)),
        case("lstm_step", step, &["LSTM"], layer("LSTM", 4, [1, 2, 1], 2, |node| node)),
        case("lstm", "lstm-with-all-results", &[], layer("LSTM", 4, [5, 2, 1], 0, |node| node)),
        case("lstm_last", "lstm-with-all-results", &[], layer("LSTM", 4, [5, 2, 1], 1, reverse)),
        case("lstm_both", "recurrence-of-one-direction", &[], layer("LSTM", 4, [5, 2, 2], 0, both)),
    ]);
}

#[test]
fn resizing_without_a_layer() {
    let scaled = |opset: i64, scales: &[f32], node: fn(Node) -> Node, result: &[i64]| {
        Network::new(opset, &IMAGE)
            .floats("s", &[4], scales)
            .node(node(Node::new("Resize", &["x", "", "s"], &["y"]).text("mode", "cubic")))
            .bytes(result)
    };
    let sized = |mode: &str, antialias: i64, result: [i64; 4]| {
        Network::new(18, &IMAGE)
            .integers("n", &result[2..])
            .node(
                Node::new("Resize", &["x", "", "", "n"], &["y"])
                    .text("mode", mode)
                    .int("antialias", antialias)
                    .ints("axes", &[2, 3]),
            )
            .bytes(&result)
    };
    let crop = Network::new(13, &IMAGE)
        .floats("r", &[8], &[0.0, 0.0, 0.2, 0.3, 1.0, 1.0, 0.7, 0.9])
        .integers("n", &[1, 4, 5, 5])
        .node(
            Node::new("Resize", &["x", "r", "", "n"], &["y"])
                .text("mode", "linear")
                .text("coordinate_transformation_mode", "tf_crop_and_resize"),
        )
        .bytes(&[1, 4, 5, 5]);
    let outside = |node: Node| node.int("exclude_outside", 1).float("cubic_coeff_a", -0.5);
    let corners = |node: Node| node.text("coordinate_transformation_mode", "align_corners");
    let of = |name, bytes| Case { tolerance: 1e-5, ..case(name, "resize-to-matmul", &["Resize"], bytes) };
    check(&[
        of("cubic", scaled(13, &[1.0, 1.0, 2.0, 1.5], |node| node, &[1, 4, 12, 12])),
        of("cubic_outside", scaled(13, &[1.0, 1.0, 2.0, 0.5], outside, &[1, 4, 12, 4])),
        of("cubic_corners", scaled(13, &[1.0, 1.0, 2.0, 1.5], corners, &[1, 4, 12, 12])),
        of("cubic_channels", scaled(13, &[1.0, 1.0, 1.0, 2.0], |node| node, &[1, 4, 6, 16])),
        of("linear_antialias", sized("linear", 1, [1, 4, 3, 5])),
        of("cubic_antialias", sized("cubic", 1, [1, 4, 3, 5])),
        of("crop", crop),
    ]);
}

#[test]
fn newer_forms_become_those_of_opset_13() {
    let reduce = Network::new(18, &IMAGE).integers("a", &[2, -1]).apply("ReduceMean", &["x", "a"], &["y"]);
    let reduce_all = Network::new(18, &IMAGE).integers("a", &[]).apply("ReduceMean", &["x", "a"], &["y"]);
    let split = Network::new(18, &IMAGE)
        .node(Node::new("Split", &["x"], &["a", "b", "y"]).int("axis", 3).int("num_outputs", 3));
    let pad = Network::new(18, &IMAGE).integers("p", &[1, 1, 2, 0]).integers("a", &[-1, 2]).apply(
        "Pad",
        &["x", "p", "", "a"],
        &["y"],
    );
    let scale = Network::new(18, &IMAGE).floats("s", &[2], &[2.0, 2.0]).node(
        Node::new("Resize", &["x", "", "s"], &["y"])
            .ints("axes", &[2, 3])
            .text("coordinate_transformation_mode", "asymmetric")
            .text("nearest_mode", "floor"),
    );
    let keep = Network::new(18, &IMAGE).integers("n", &[12, 12]).node(
        Node::new("Resize", &["x", "", "", "n"], &["y"])
            .ints("axes", &[2, 3])
            .text("mode", "linear")
            .text("keep_aspect_ratio_policy", "not_larger"),
    );
    let shape = Network::new(15, &IMAGE)
        .node(Node::new("Shape", &["x"], &["s"]).int("start", 2))
        .node(Node::new("Cast", &["s"], &["f"]).int("to", 1))
        .integers("a", &[0])
        .apply("ReduceSum", &["f", "a"], &["t"])
        .apply("Mul", &["x", "t"], &["y"]);
    let of = |name, bytes| case(name, "old-forms", &[], bytes);
    let cases = [
        of("reduce", reduce.bytes(&[1, 4, 1, 1])),
        of("reduce_all", reduce_all.bytes(&[1, 1, 1, 1])),
        of("split", split.bytes(&[1, 4, 6, 2])),
        of("pad", pad.bytes(&[1, 4, 7, 11])),
        of("scale", scale.bytes(&[1, 4, 12, 16])),
        of("keep", keep.bytes(&[1, 4, 9, 12])),
        of("shape", shape.bytes(&IMAGE)),
        of("plain", unary("Relu", 21)),
    ];
    for case in &cases {
        let (after, _) = rewritten(&parse(&case.bytes), &myriad_passes());
        assert_eq!(after.opset(), 13, "{}", case.name);
    }
    check(&cases);
    // What has no older form stays, so that nothing is misread in silence.
    let chance = parse(&one(18, Node::new("Bernoulli", &["x"], &["y"]), &IMAGE));
    assert_eq!(rewritten(&chance, &myriad_passes()).0.opset(), 18);
}

/// Whole numbers come as they would from tokens, masks and classes; the networks end in floating numbers.
#[test]
fn whole_numbers_take_the_way_through_floats() {
    const INT32: i32 = 6;
    let of = |element: i32, network: fn(Network) -> Network, result: &[i64]| {
        let made = network(Network::fed(14, element, &[2, 6]).integers("three", &[3]).floats("half", &[], &[0.5]));
        made.node(Node::new("Cast", &["m"], &["f"]).int("to", FLOAT.into()))
            .apply("Mul", &["f", "half"], &["y"])
            .bytes(result)
    };
    // What Magika does with the bytes of a file.
    let one_hot = |network: Network| {
        let columns: Vec<u8> = (0..5_i32).flat_map(i32::to_le_bytes).collect();
        network
            .integers("apart", &[-1, 6, 1])
            .integers("repeated", &[2, 6, 5])
            .constant(Tensor::raw("columns", 6, &[1, 1, 5], &columns))
            .apply("Reshape", &["x", "apart"], &["a"])
            .apply("Expand", &["a", "repeated"], &["b"])
            .apply("Equal", &["b", "columns"], &["m"])
    };
    let mask = |network: Network| {
        network
            .integers("axes", &[1, 2])
            .integers("sizes", &[2, 3, 4, 6])
            .integers("none", &[0])
            .apply("Unsqueeze", &["x", "axes"], &["a"])
            .apply("Expand", &["a", "sizes"], &["b"])
            .apply("Greater", &["b", "none"], &["m"])
    };
    let arithmetic = |network: Network| {
        network
            .integers("sizes", &[1, 2])
            .apply("Less", &["x", "three"], &["small"])
            .apply("Mul", &["x", "three"], &["a"])
            .apply("Where", &["small", "a", "x"], &["b"])
            .apply("Tile", &["b", "sizes"], &["c"])
            .node(Node::new("ReduceMax", &["c"], &["d"]).ints("axes", &[1]))
            .apply("Sub", &["c", "d"], &["m"])
    };
    let limited = |network: Network| {
        network
            .constant(Tensor::integers("one", &[], &[1]))
            .constant(Tensor::integers("two", &[], &[2]))
            .integers("pads", &[0, 1, 0, 2])
            .integers("many", &[4])
            .apply("Clip", &["x", "one", "two"], &["a"])
            .apply("Pad", &["a", "pads", "two"], &["b"])
            .apply("TopK", &["b", "many"], &["c", "d"])
            .apply("Add", &["c", "d"], &["e"])
            .apply("Neg", &["e"], &["g"])
            .apply("Abs", &["g"], &["m"])
    };
    let truth = |network: Network| {
        network.integers("sizes", &[3, 2, 6]).apply("Not", &["x"], &["a"]).apply("Expand", &["a", "sizes"], &["m"])
    };
    let chosen = |network: Network| network.node(Node::new("ArgMax", &["x"], &["m"]).int("axis", 1));
    let inputs = "whole-number-inputs-through-floats";
    let cases = [
        case("one_hot", inputs, &[], of(INT32, one_hot, &[2, 6, 5])),
        case("mask", "whole-numbers-through-floats", &[], of(builder::INT64, mask, &[2, 3, 4, 6])),
        case("arithmetic", inputs, &[], of(builder::INT64, arithmetic, &[2, 12])),
        case("limited", "whole-numbers-through-floats", &["Abs"], of(builder::INT64, limited, &[2, 4])),
        case("chosen", "whole-numbers-through-floats", &[], of(INT32, chosen, &[2, 1])),
        case("truth", inputs, &[], of(builder::BOOL, truth, &[3, 2, 6])),
    ];
    for case in &cases {
        let (after, _) = rewritten(&parse(&case.bytes), &myriad_passes());
        let readers = after.graph().node.iter().filter(|node| node.input.iter().any(|input| input == "x"));
        assert!(
            readers.clone().count() > 0 && readers.into_iter().all(|node| node.op_type() == "Cast"),
            "{}",
            case.name
        );
    }
    check(&cases);
}

#[test]
fn remainders_and_indices_from_the_end() {
    const INT32: i32 = 6;
    let fmod =
        Network::new(13, &IMAGE).floats("d", &[], &[-0.37]).node(Node::new("Mod", &["x", "d"], &["y"]).int("fmod", 1));
    // The network is fed 0 to 3, from which 2 is taken.
    let rest = |element: i32, fmod: i64| {
        let two = |value: i64| match element {
            INT32 => (value as i32).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        };
        Network::fed(13, element, &[4, 6])
            .constant(Tensor::raw("two", element, &[], &two(2)))
            .constant(Tensor::raw("seven", element, &[], &two(7)))
            .constant(Tensor::raw("divisor", element, &[], &two(-5)))
            .apply("Sub", &["x", "two"], &["a"])
            .apply("Mul", &["a", "seven"], &["b"])
            .node(Node::new("Mod", &["b", "divisor"], &["c"]).int("fmod", fmod))
            .node(Node::new("Cast", &["c"], &["y"]).int("to", FLOAT.into()))
            .bytes(&[4, 6])
    };
    let last = |operator: &str, axis: i64, keep: i64, result: &[i64]| {
        // Many are equal.
        Network::new(13, &[1, 4, 6])
            .apply("Round", &["x"], &["a"])
            .node(
                Node::new(operator, &["a"], &["b"]).int("axis", axis).int("keepdims", keep).int("select_last_index", 1),
            )
            .node(Node::new("Cast", &["b"], &["y"]).int("to", FLOAT.into()))
            .bytes(result)
    };
    let one_hot = |axis: i64, result: &[i64]| {
        Network::fed(13, builder::INT64, &[4, 6])
            .constant(Tensor::integers("two", &[], &[2]))
            .constant(Tensor::integers("depth", &[], &[3]))
            .floats("values", &[2], &[-1.0, 4.0])
            .apply("Sub", &["x", "two"], &["a"])
            .node(Node::new("OneHot", &["a", "depth", "values"], &["y"]).int("axis", axis))
            .bytes(result)
    };
    check(&[
        // Numbers near a multiple of the divisor may fall to either side of it.
        case("fmod", "remainder-to-quotient", &["Mod"], fmod.bytes(&IMAGE)),
        case("rest", "remainder-to-quotient", &["Mod"], rest(builder::INT64, 0)),
        case("rest_fmod", "remainder-to-quotient", &["Mod"], rest(INT32, 1)),
        case("last_max", "last-extreme-from-the-end", &[], last("ArgMax", 1, 1, &[1, 1, 6])),
        case("last_min", "last-extreme-from-the-end", &[], last("ArgMin", -1, 0, &[1, 4])),
        case("one_hot", "one-hot-of-positive-indices", &[], one_hot(-1, &[4, 6, 3])),
        case("one_hot_before", "one-hot-of-positive-indices", &[], one_hot(1, &[4, 3, 6])),
    ]);
}

/// Numbers that are none or have no end come from dividing by 0.
#[test]
fn special_numbers() {
    // x by its positive part, its magnitude and 0 by its negative part.
    let special = |node: Node| {
        Network::new(13, &IMAGE)
            .floats("none", &[1, 4, 6, 8], &[0.0; 192])
            .apply("Relu", &["x"], &["r"])
            .apply("Neg", &["x"], &["n"])
            .apply("Relu", &["n"], &["s"])
            .apply("Add", &["r", "s"], &["t"])
            .node(Node::new("Concat", &["x", "t", "none"], &["u"]).int("axis", 1))
            .node(Node::new("Concat", &["r", "s", "s"], &["v"]).int("axis", 1))
            .apply("Div", &["u", "v"], &["q"])
            .node(node)
            .node(Node::new("Cast", &["b"], &["y"]).int("to", FLOAT.into()))
            .bytes(&[1, 12, 6, 8])
    };
    let endless = || Node::new("IsInf", &["q"], &["b"]);
    let pass = "lower-special-numbers";
    check(&[
        case("nan", pass, &["IsNaN"], special(Node::new("IsNaN", &["q"], &["b"]))),
        case("inf", pass, &["IsInf"], special(endless())),
        case("positive", pass, &["IsInf"], special(endless().int("detect_negative", 0))),
        case("negative", pass, &["IsInf"], special(endless().int("detect_positive", 0))),
    ]);
}

/// Indices that a network is fed stay what they are: halves would not tell them apart.
#[test]
fn indices_are_looked_up_as_they_are_fed() {
    let table = |rows: i64| {
        Network::fed(13, builder::INT64, &[2, 6])
            .weights("w", &[rows, 3])
            .integers("flat", &[12])
            .integers("axes", &[0])
            .apply("Reshape", &["x", "flat"], &["a"])
            .apply("Unsqueeze", &["a", "axes"], &["b"])
    };
    let look_up = |network: Network| network.apply("Gather", &["w", "b"], &["y"]).bytes(&[1, 12, 3]);
    let after = |bytes: &[u8]| {
        let (after, operations) = rewritten(&parse(bytes), &myriad_passes());
        let gather = after.graph().node.iter().find(|node| node.op_type() == "Gather").unwrap().clone();
        (gather, operations)
    };
    let (gather, operations) = after(&look_up(table(30_000)));
    assert_eq!(gather.input, ["w", "x"]);
    assert_eq!(operations[0].pass, "form-of-indices-after-lookup");
    // Other nodes between: a short table is looked up with what went through floating numbers, a long one is not.
    let between = |rows: i64| {
        Network::fed(13, builder::INT64, &[12])
            .weights("w", &[rows, 3])
            .integers("one", &[1])
            .apply("Add", &["x", "one"], &["b"])
            .apply("Gather", &["w", "b"], &["y"])
            .bytes(&[12, 3])
    };
    assert!(after(&between(30_000)).1.is_empty());
    let inputs = "whole-number-inputs-through-floats";
    check(&[
        case("formed", "form-of-indices-after-lookup", &[], look_up(table(30_000))),
        case("short", inputs, &[], between(2048)),
    ]);
}

/// Bytes of small integers.
fn bytes(count: i64, scale: f32) -> Vec<u8> {
    numbers(count).into_iter().map(|number| (number * scale) as i8 as u8).collect()
}

#[test]
fn quantized_networks() {
    const INT8: i32 = 3;
    const INT32: i32 = 6;
    let weights = |network: Network, dims: &[i64]| {
        let count = dims.iter().product();
        network.constant(Tensor::raw("w", INT8, dims, &bytes(count, 127.0)))
    };
    let input = |opset: i64| {
        Network::new(opset, &IMAGE)
            .floats("xs", &[], &[0.05])
            .constant(Tensor::raw("xz", builder::UINT8, &[], &[128]))
            .floats("ys", &[], &[0.25])
            .constant(Tensor::raw("yz", builder::UINT8, &[], &[0]))
            .floats("ws", &[6], &scales(6))
            .constant(Tensor::raw("wz", INT8, &[6], &[0; 6]))
            .floats("ms", &[], &[0.01])
            .constant(Tensor::raw("mz", INT8, &[], &[1]))
            .apply("QuantizeLinear", &["x", "xs", "xz"], &["q"])
    };
    let bias = |network: Network| {
        let sums: Vec<u8> = (0..6_i32).flat_map(|sum| (sum * 90).to_le_bytes()).collect();
        network.constant(Tensor::raw("b", INT32, &[6], &sums))
    };
    let pads = [1, 1, 1, 1];
    let pairs = weights(input(13), &[6, 4, 3, 3])
        .apply("DequantizeLinear", &["q", "xs", "xz"], &["d"])
        .node(Node::new("DequantizeLinear", &["w", "ws", "wz"], &["k"]).int("axis", 0))
        .node(Node::new("Conv", &["d", "k"], &["c"]).ints("pads", &pads))
        .apply("QuantizeLinear", &["c", "ys", "yz"], &["e"])
        .apply("DequantizeLinear", &["e", "ys", "yz"], &["y"]);
    let convolution = bias(weights(input(12), &[6, 4, 3, 3]))
        .node(
            Node::new("QLinearConv", &["q", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], &["c"]).ints("pads", &pads),
        )
        .node(Node::new("MaxPool", &["c"], &["m"]).ints("kernel_shape", &[2, 2]))
        .apply("DequantizeLinear", &["m", "ys", "yz"], &["y"]);
    let product = weights(input(10), &[8, 5])
        .apply("QLinearMatMul", &["q", "xs", "xz", "w", "ms", "mz", "ys", "yz"], &["c"])
        .apply("DequantizeLinear", &["c", "ys", "yz"], &["y"]);
    let dynamic = weights(Network::new(11, &IMAGE), &[8, 5])
        .floats("ms", &[], &[0.01])
        .constant(Tensor::raw("mz", INT8, &[], &[1]))
        .apply("DynamicQuantizeLinear", &["x"], &["q", "s", "z"])
        .apply("MatMulInteger", &["q", "w", "z", "mz"], &["i"])
        .node(Node::new("Cast", &["i"], &["f"]).int("to", FLOAT.into()))
        .apply("Mul", &["s", "ms"], &["t"])
        .apply("Mul", &["f", "t"], &["y"]);
    // A bias as older releases of ONNX Runtime wrote it.
    let biased = weights(Network::new(11, &IMAGE), &[6, 4, 3, 3])
        .floats("ms", &[], &[0.01])
        .constant(Tensor::raw("mz", INT8, &[], &[1]))
        .floats("b", &[6], &numbers(6))
        .integers("column", &[1, -1, 1, 1])
        .apply("DynamicQuantizeLinear", &["x"], &["q", "s", "z"])
        .node(Node::new("ConvInteger", &["q", "w", "z", "mz"], &["i"]).ints("pads", &pads))
        .apply("Mul", &["s", "ms"], &["t"])
        .apply("Div", &["b", "t"], &["steps"])
        .apply("Floor", &["steps"], &["rounded"])
        .node(Node::new("Cast", &["rounded"], &["whole"]).int("to", INT32.into()))
        .apply("Reshape", &["whole", "column"], &["bias"])
        .apply("Add", &["i", "bias"], &["sum"])
        .node(Node::new("Cast", &["sum"], &["f"]).int("to", FLOAT.into()))
        .apply("Mul", &["f", "t"], &["y"]);
    let rows = Network::fed(13, INT32, &[2, 3])
        .constant(Tensor::raw("table", INT8, &[4, 5], &(0..20).collect::<Vec<u8>>()))
        .floats("ms", &[], &[0.1])
        .constant(Tensor::raw("mz", INT8, &[], &[7]))
        .apply("Gather", &["table", "x"], &["rows"])
        .apply("DequantizeLinear", &["rows", "ms", "mz"], &["y"]);
    // Rounding to integers is what stays undone, so the difference is that of a step.
    let of = |name, pass, gone, bytes| Case { tolerance: 0.06, ..case(name, pass, gone, bytes) };
    let gone: &[&str] = &["QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"];
    check(&[
        of("pairs", "quantization-to-clip", gone, pairs.bytes(&[1, 6, 6, 8])),
        of("convolution", "quantized-operators-to-numbers", gone, convolution.bytes(&[1, 6, 5, 7])),
        of("product", "quantized-operators-to-numbers", gone, product.bytes(&[1, 4, 6, 5])),
        of(
            "dynamic",
            "dynamic-quantization-to-numbers",
            &["DynamicQuantizeLinear", "MatMulInteger"],
            dynamic.bytes(&[1, 4, 6, 5]),
        ),
        of("rows", "dequantized-tables", &["DequantizeLinear"], rows.bytes(&[2, 3, 5])),
        of(
            "biased",
            "dynamic-quantization-to-numbers",
            &["DynamicQuantizeLinear", "ConvInteger", "Floor"],
            biased.bytes(&[1, 6, 6, 8]),
        ),
    ]);
}

/// Positive numbers of the size of scales.
fn scales(count: i64) -> Vec<f32> {
    numbers(count).into_iter().map(|number| 0.005 + number.abs() / 100.0).collect()
}

#[test]
fn the_model_optimizer_gets_forms_of_opset_12() {
    let network = Network::new(13, &IMAGE)
        .integers("axes", &[0])
        .integers("last", &[-1])
        .integers("parts", &[1, 3])
        .apply("Squeeze", &["x", "axes"], &["a"])
        .node(Node::new("Softmax", &["a"], &["b"]).int("axis", 0))
        .node(Node::new("Softmax", &["b"], &["c"]))
        .node(Node::new("ReduceSum", &["c", "last"], &["d"]).int("keepdims", 0))
        .apply("Unsqueeze", &["d", "axes"], &["e"])
        .node(Node::new("Split", &["e", "parts"], &["h", "y"]).int("axis", 1));
    let before = parse(&network.bytes(&[1, 3, 6]));
    let (after, operations) = modelconverter::surgery::for_optimizer(before.clone()).unwrap();
    assert_eq!(operations.len(), 1);
    assert_eq!(after.opset(), 12);
    for node in &after.graph().node {
        assert_eq!(node.input.len(), 1, "{} has attributes", node.op_type());
    }
    let name = "optimizer".to_owned();
    assert_same(&[Pair { name, before, after, sizes: BTreeMap::new(), tolerance: 1e-6 }]);
}

/// Every node test of the onnx package with all inputs but the first as constants.
#[test]
fn node_tests_compute_the_same_after_lowering() {
    const RANDOM: [&str; 3] = ["bernoulli", "training", "random"];
    // Values that are not rounded to integers any more, and values that divide by nearly nothing.
    const INEXACT: [&str; 2] = ["quantize", "qlinear"];
    let mut pairs = Vec::new();
    for case in crate::corpus::cases() {
        if RANDOM.iter().chain(&INEXACT).any(|part| case.name.contains(part)) {
            continue;
        }
        let Some(before) = case.with_constants(1) else { continue };
        // ONNX Runtime does not compute what is older.
        if before.opset() < 7 {
            continue;
        }
        let (after, operations) = rewritten(&before, &myriad_passes());
        if !operations.is_empty() {
            pairs.push(Pair { name: case.name, before, after, sizes: BTreeMap::new(), tolerance: 1e-5 });
        }
    }
    let count = crate::pairs::judged(&pairs);
    println!("{count} of {}", pairs.len());
    assert!(count > 100, "{count}");
}
