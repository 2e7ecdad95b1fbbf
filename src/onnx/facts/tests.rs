//! The node tests of the onnx package judge what is inferred (`tests/surgery`); here are chains of nodes as exporters
//! write them, statements that are wrong, and nonsense.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::onnx::tests::builder::{self, BOOL, Dim, FLOAT, Graph, INT64, Node, Tensor, sizes};
use crate::onnx::{bind_shapes, restate_shapes};

fn model(graph: Graph) -> Model {
    Model::parse(builder::Model::new(graph).bytes().into()).unwrap()
}

fn shape(model: &Model, name: &str) -> String {
    Facts::of(model).shape(name).map_or_else(|| "nothing".to_owned(), Shape::to_string)
}

/// `x` of [N, 3, H, 4], flattened to [N, 3 * H, 4] as PyTorch writes `x.flatten(1, 2)` of dynamic sizes.
fn flattening() -> Graph {
    Graph::new()
        .input("x", FLOAT, &[Dim::Symbol("N"), Dim::Size(3), Dim::Symbol("H"), Dim::Size(4)])
        .initializer(Tensor::integers("zero", &[], &[0]))
        .initializer(Tensor::integers("axes", &[1], &[0]))
        .initializer(Tensor::integers("minus", &[1], &[-1]))
        .initializer(Tensor::integers("four", &[1], &[4]))
        .node(Node::new("Shape", &["x"], &["s"]))
        .node(Node::new("Gather", &["s", "zero"], &["n"]))
        .node(Node::new("Unsqueeze", &["n", "axes"], &["n1"]))
        .node(Node::new("Concat", &["n1", "minus", "four"], &["target"]).int("axis", 0))
        .node(Node::new("Reshape", &["x", "target"], &["y"]))
        .output("y", FLOAT, &[Dim::Symbol("a"), Dim::Symbol("b"), Dim::Symbol("c")])
}

#[test]
fn computed_targets_are_followed_element_by_element() {
    let before = model(flattening());
    assert_eq!(shape(&before, "s"), "[4]");
    assert_eq!(shape(&before, "y"), "[N, b, 4]", "what inference does not know, the model may state");
    assert_eq!(Facts::of(&before).array("target"), None);
    let bound = bind_shapes(&before, &BTreeMap::from([("x".to_owned(), vec![2, 3, 5, 4])])).unwrap();
    let facts = Facts::of(&bound);
    assert_eq!(facts.integers("target"), Some(vec![2, -1, 4]));
    assert_eq!(facts.sizes("y"), Some(vec![2, 15, 4]));
    let (stated, changed) = restate_shapes(bound);
    assert!(changed);
    assert_eq!(stated.outputs()[0].shape().unwrap().to_string(), "[2, 15, 4]");
    assert!(!restate_shapes(stated).1);
}

#[test]
fn what_is_stated_wrongly_gives_way() {
    let graph = Graph::new()
        .input("x", FLOAT, &sizes(&[2, 3]))
        .node(Node::new("Transpose", &["x"], &["t"]))
        .node(Node::new("Odd", &["t"], &["o"]).domain("odd"))
        .node(Node::new("Relu", &["o"], &["y"]))
        .value("t", FLOAT, &sizes(&[9, 9]))
        .value("o", FLOAT, &sizes(&[7]))
        .output("y", FLOAT, &sizes(&[7]));
    let bytes = builder::Model::new(graph).domain("odd", 1).bytes();
    let model = Model::parse(bytes.into()).unwrap();
    let facts = Facts::of(&model);
    assert_eq!(facts.sizes("t"), Some(vec![3, 2]));
    assert_eq!(facts.sizes("y"), Some(vec![7]), "of what nobody knows, the model may speak");
    assert_eq!(restate_shapes(model.clone()).0.value("t").unwrap().shape().unwrap().to_string(), "[3, 2]");
}

#[test]
fn branches_are_known_as_far_as_they_agree() {
    let branch = |columns: i64| {
        Graph::new()
            .initializer(Tensor::integers("k", &[2], &[2, columns]))
            .node(Node::new("Reshape", &["x", "k"], &["r"]))
            .output("r", FLOAT, &[])
    };
    let graph = |condition: Graph| {
        model(
            condition
                .input("x", FLOAT, &[Dim::Size(2), Dim::Unknown])
                .node(Node::new("If", &["c"], &["y"]).graph("then_branch", &branch(3)).graph("else_branch", &branch(4)))
                .output("y", FLOAT, &[Dim::Unknown, Dim::Unknown]),
        )
    };
    assert_eq!(shape(&graph(Graph::new().input("c", BOOL, &[])), "y"), "[2, ?]");
    assert_eq!(shape(&graph(Graph::new().initializer(Tensor::raw("c", BOOL, &[], &[0]))), "y"), "[2, 4]");
}

#[test]
fn loops_keep_the_shapes_that_their_body_keeps() {
    let once = |operator: &str| {
        let single = Graph::new()
            .input("i", INT64, &[])
            .input("c", BOOL, &[])
            .input("s", FLOAT, &[Dim::Unknown])
            .node(Node::new("Identity", &["c"], &["d"]))
            .node(Node::new(operator, &["s", "s"], &["t"]).int("axis", 0))
            .node(Node::new("Neg", &["t"], &["u"]))
            .output("d", BOOL, &[])
            .output("t", FLOAT, &[Dim::Unknown])
            .output("u", FLOAT, &[Dim::Unknown]);
        model(
            Graph::new()
                .input("x", FLOAT, &sizes(&[5]))
                .initializer(Tensor::integers("m", &[], &[3]))
                .node(Node::new("Loop", &["m", "", "x"], &["y", "all"]).graph("body", &single))
                .output("y", FLOAT, &[Dim::Unknown])
                .output("all", FLOAT, &[Dim::Unknown, Dim::Unknown]),
        )
    };
    let added = once("Add");
    assert_eq!((shape(&added, "y"), shape(&added, "all")), ("[5]".to_owned(), "[3, 5]".to_owned()));
    let grown = once("Concat");
    assert_eq!((shape(&grown, "y"), shape(&grown, "all")), ("[?]".to_owned(), "[?, ?]".to_owned()));
}

#[test]
fn one_unknown_size_follows_from_the_others() {
    let reshaped = |target: &[i64]| {
        model(
            Graph::new()
                .input("x", FLOAT, &[Dim::Symbol("N"), Dim::Size(6), Dim::Size(4)])
                .initializer(Tensor::integers("k", &[target.len() as i64], target))
                .node(Node::new("Reshape", &["x", "k"], &["y"]))
                .output("y", FLOAT, &[]),
        )
    };
    assert_eq!(shape(&reshaped(&[0, -1]), "y"), "[N, 24]");
    assert_eq!(shape(&reshaped(&[0, 3, -1, 4]), "y"), "[N, 3, 2, 4]");
    assert_eq!(shape(&reshaped(&[-1, 24]), "y"), "[?, 24]");
    assert_eq!(shape(&reshaped(&[-1, 6, 4]), "y"), "[?, 6, 4]");
}

const OPERATORS: [&str; 64] = [
    "Add",
    "Relu",
    "Shape",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Concat",
    "Split",
    "Slice",
    "Gather",
    "GatherND",
    "GatherElements",
    "Expand",
    "Tile",
    "Pad",
    "DepthToSpace",
    "SpaceToDepth",
    "Compress",
    "OneHot",
    "NonZero",
    "Unique",
    "CenterCropPad",
    "TopK",
    "Range",
    "ConstantOfShape",
    "MatMul",
    "Gemm",
    "Einsum",
    "Det",
    "ArgMax",
    "ReduceSum",
    "Conv",
    "ConvTranspose",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "MaxUnpool",
    "MaxRoiPool",
    "RoiAlign",
    "BatchNormalization",
    "LayerNormalization",
    "Dropout",
    "DynamicQuantizeLinear",
    "LSTM",
    "Resize",
    "Upsample",
    "GridSample",
    "AffineGrid",
    "Col2Im",
    "NonMaxSuppression",
    "Multinomial",
    "STFT",
    "DFT",
    "HannWindow",
    "MelWeightMatrix",
    "NegativeLogLikelihoodLoss",
    "TfIdfVectorizer",
    "Size",
    "Where",
    "Mul",
    "Cast",
    "Sub",
];

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![6 => -3_i64..6, 1 => select(vec![i64::MIN, i64::MAX, i64::from(i32::MAX), 1 << 40])]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nonsense_is_inferred_or_not_but_never_panics(
        steps in vec((select(OPERATORS.to_vec()), vec(0_usize..9, 0..5), vec(number(), 0..7), number()), 1..5),
        dims in vec(vec(prop_oneof![0_i64..9, Just(i64::MAX), Just(-1)], 0..6), 4),
        shapes in vec(vec(number(), 0..6), 4),
        opset in select(vec![6_i64, 9, 11, 13, 18, 21]),
    ) {
        let mut graph = Graph::new();
        for (place, dims) in dims.iter().enumerate() {
            let dims: Vec<Dim> = dims.iter().map(|size| if *size < 0 { Dim::Symbol("N") } else { Dim::Size(*size) }).collect();
            graph = graph.input(&format!("v{place}"), if place == 0 { INT64 } else { FLOAT }, &dims);
        }
        for (place, values) in shapes.iter().enumerate() {
            graph = graph.initializer(Tensor::integers(&format!("v{}", place + 4), &[values.len() as i64], values));
        }
        graph = graph.initializer(Tensor::floats("v8", &[4], &[1.0, 1.0, 2.5, f32::MAX]));
        let names = ["axis", "k", "blocksize", "group", "keepdims", "ceil_mode", "batch_dims", "start", "onesided", "layout"];
        let lists = ["axes", "perm", "pads", "strides", "kernel_shape", "dilations", "split", "pooled_shape", "output_shape"];
        for (place, (operator, inputs, list, value)) in steps.iter().enumerate() {
            let inputs: Vec<String> = inputs.iter().map(|input| format!("v{input}")).collect();
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            let outputs = [format!("a{place}"), format!("b{place}")];
            let mut node = Node::new(operator, &inputs, &[&outputs[0], &outputs[1]]);
            for (index, name) in names.iter().enumerate().filter(|(index, _)| index % 3 == list.len() % 3) {
                node = node.int(name, value.wrapping_add(index as i64 % 2));
            }
            for name in lists.iter().take(list.len()) {
                node = node.ints(name, list);
            }
            graph = graph.node(node.text("equation", "ij,...jk->...ik").text("auto_pad", ["NOTSET", "SAME_UPPER"][list.len() % 2]));
        }
        let bytes = builder::Model::new(graph.output("a0", FLOAT, &[])).opset(opset).bytes();
        if let Ok(model) = Model::parse(bytes.into()) {
            let facts = Facts::of(&model);
            for (place, _) in steps.iter().enumerate() {
                for known in facts.sizes(&format!("a{place}")).into_iter().flatten() {
                    prop_assert!(known >= 0);
                }
            }
        }
    }
}
