//! Whole networks, and the node tests whose models can be rewritten.

use std::collections::BTreeMap;
use std::fs;

use modelconverter::onnx::{Model, bind_shapes, restate_shapes};
use modelconverter::surgery::myriad_passes;

use crate::builder::{self, Dim, FLOAT, Graph, Node, Tensor, sizes};
use crate::corpus::{cases, folder};
use crate::pairs::{PASSES, Pair, assert_same, judged, rewritten};

/// What is random differs from run to run.
const RANDOM: [&str; 3] = ["bernoulli", "training", "random"];

/// Node tests with all inputs but the first as constants, and some of them with all inputs.
#[test]
fn node_tests_compute_the_same_after_rewriting() {
    let mut pairs = Vec::new();
    for (place, case) in cases().into_iter().enumerate() {
        if RANDOM.iter().any(|part| case.name.contains(part)) {
            continue;
        }
        // Those of all inputs are judged by their recorded outputs too, so a part of them is enough.
        for fed in if place % 4 == 0 { 0..2 } else { 1..2 } {
            let Some(before) = case.with_constants(fed) else { continue };
            let (after, operations) = rewritten(&before, &PASSES);
            if !operations.is_empty() {
                let name = format!("{}, {fed} fed", case.name);
                pairs.push(Pair { name, before, after, sizes: BTreeMap::new(), tolerance: 3e-6 });
            }
        }
    }
    let count = judged(&pairs);
    println!("{count} of {}", pairs.len());
    assert!(count > 300, "{count}");
}

/// Networks of the onnx package whose weights are a value and a shape: they must not be written out.
#[test]
fn generated_weights_stay_small() {
    let mut pairs = Vec::new();
    for name in ["squeezenet", "shufflenet"] {
        let bytes = fs::read(folder().join(format!("light/light_{name}.onnx"))).unwrap();
        let length = bytes.len();
        let before = Model::parse(bytes.into()).unwrap();
        let (after, _) = rewritten(&before, &PASSES);
        assert!(after.saved_len() < length + (4 << 20), "{name}: {length} bytes became {}", after.saved_len());
        assert!(after.outputs()[0].is_static(), "{name}");
        let convolutions = |model: &Model| model.graph().node.iter().filter(|node| node.op_type() == "Conv").count();
        let (lowered, _) = rewritten(&after, &myriad_passes());
        assert_eq!(convolutions(&lowered), convolutions(&before), "{name}: nobody feeds these kernels");
        pairs.push(Pair { name: name.to_owned(), before, after, sizes: BTreeMap::new(), tolerance: 1e-6 });
    }
    assert_same(&pairs);
}

/// What PyTorch writes for a network of dynamic sizes: targets of `Resize` and `Reshape` are calculated.
fn dynamic() -> Graph {
    let weights: Vec<f32> = (0..4 * 4 * 9).map(|index| (index % 7) as f32 - 3.0).collect();
    Graph::new()
        .input("x", FLOAT, &[Dim::Symbol("N"), Dim::Size(4), Dim::Symbol("H"), Dim::Symbol("W")])
        .initializer(Tensor::floats("w", &[4, 4, 3, 3], &weights))
        .initializer(Tensor::integers("i0", &[1], &[0]))
        .initializer(Tensor::integers("i2", &[1], &[2]))
        .initializer(Tensor::integers("end", &[1], &[i64::MAX]))
        .initializer(Tensor::integers("two", &[], &[2]))
        .initializer(Tensor::integers("zero", &[], &[0]))
        .initializer(Tensor::integers("four", &[1], &[4]))
        .initializer(Tensor::integers("minus", &[1], &[-1]))
        .node(Node::new("Conv", &["x", "w"], &["c"]).ints("pads", &[1, 1, 1, 1]))
        .node(Node::new("Shape", &["c"], &["s"]))
        .node(Node::new("Slice", &["s", "i2", "end"], &["hw"]))
        .node(Node::new("Mul", &["hw", "two"], &["hw2"]))
        .node(Node::new("Slice", &["s", "i0", "i2"], &["nc"]))
        .node(Node::new("Concat", &["nc", "hw2"], &["sizes"]).int("axis", 0))
        .node(Node::new("Resize", &["c", "", "", "sizes"], &["r"]).text("mode", "nearest"))
        .node(Node::new("Shape", &["r"], &["t"]))
        .node(Node::new("Gather", &["t", "zero"], &["n"]))
        .node(Node::new("Unsqueeze", &["n", "i0"], &["n1"]))
        .node(Node::new("Concat", &["n1", "four", "minus"], &["target"]).int("axis", 0))
        .node(Node::new("Reshape", &["r", "target"], &["f"]))
        .node(Node::new("Transpose", &["f"], &["p"]).ints("perm", &[0, 2, 1]))
        .node(Node::new("Transpose", &["p"], &["q"]).ints("perm", &[0, 2, 1]))
        .node(Node::new("Softmax", &["q"], &["m"]).int("axis", -1))
        .node(Node::new("Dropout", &["m"], &["d"]))
        .node(Node::new("Identity", &["d"], &["y"]))
        .output("y", FLOAT, &[Dim::Symbol("N"), Dim::Size(4), Dim::Symbol("L")])
}

#[test]
fn dynamic_networks_become_static_once_they_are_bound() {
    let free = Model::parse(builder::Model::new(dynamic()).bytes().into()).unwrap();
    let bound = bind_shapes(&free, &BTreeMap::from([("x".to_owned(), vec![2, 4, 5, 6])])).unwrap();
    let (after, _) = rewritten(&bound, &PASSES);
    let operators: Vec<&str> = after.graph().node.iter().map(|node| node.op_type()).collect();
    assert_eq!(operators, ["Conv", "Resize", "Reshape", "Softmax"]);
    let (after, changed) = restate_shapes(after);
    assert!(changed);
    assert_eq!(after.outputs()[0].shape().unwrap().known(), Some(vec![2, 4, 120]));
    let sizes = BTreeMap::from([("N".to_owned(), 2), ("H".to_owned(), 5), ("W".to_owned(), 6)]);
    // What does not depend on the sizes is simplified without them too.
    let (half, _) = rewritten(&free, &PASSES);
    assert!(half.graph().node.len() < free.graph().node.len());
    assert_same(&[
        Pair { name: "bound".to_owned(), before: free.clone(), after, sizes: sizes.clone(), tolerance: 0.0 },
        Pair { name: "free".to_owned(), before: free, after: half, sizes, tolerance: 0.0 },
    ]);
}

#[test]
fn nodes_that_change_nothing_go() {
    let chain = |end: &str| {
        let nodes = [
            Node::new("Identity", &["x"], &["a1"]),
            Node::new("Dropout", &["a1"], &["a2"]),
            Node::new("Cast", &["a2"], &["a3"]).int("to", 1),
            Node::new("Reshape", &["a3", "same"], &["a4"]),
            Node::new("Transpose", &["a4"], &["a5"]).ints("perm", &[0, 1]),
            Node::new("Mul", &["a5", "one"], &["a6"]),
            Node::new("Sub", &["a6", "nothing"], &["a7"]),
            Node::new("Slice", &["a7", "start", "end", "axis"], &["a8"]),
            Node::new("Pad", &["a8", "pads"], &["a9"]),
            Node::new("Expand", &["a9", "same"], &["a10"]),
            Node::new("Concat", &["a10"], &["a11"]).int("axis", 0),
            Node::new("Tile", &["a11", "once"], &["a12"]),
            Node::new("Relu", &["a12"], &["a13"]),
            Node::new("Unsqueeze", &["a13", "axis"], &["a14"]),
            Node::new("Squeeze", &["a14", "axis"], &["a15"]),
            Node::new("Flatten", &["a15"], &["a16"]),
            Node::new("Div", &["a16", "one"], &["a17"]),
            Node::new("Max", &["a17"], &[end]),
        ];
        nodes.into_iter().fold(Graph::new(), Graph::node)
    };
    let whole = |graph: Graph| {
        let graph = graph
            .input("x", FLOAT, &sizes(&[2, 3]))
            .initializer(Tensor::integers("same", &[2], &[2, 3]))
            .initializer(Tensor::floats("one", &[], &[1.0]))
            .initializer(Tensor::floats("nothing", &[1, 1], &[0.0]))
            .initializer(Tensor::integers("start", &[1], &[0]))
            .initializer(Tensor::integers("end", &[1], &[100]))
            .initializer(Tensor::integers("axis", &[1], &[0]))
            .initializer(Tensor::integers("pads", &[4], &[0; 4]))
            .initializer(Tensor::integers("once", &[2], &[1, 1]));
        Model::parse(builder::Model::new(graph).bytes().into()).unwrap()
    };
    let one = whole(chain("y").output("y", FLOAT, &sizes(&[2, 3])));
    // The value before the last no-op is an output too, and an input is an output.
    let two = whole(
        chain("y")
            .node(Node::new("Identity", &["x"], &["z"]))
            .output("y", FLOAT, &sizes(&[2, 3]))
            .output("a13", FLOAT, &sizes(&[2, 3]))
            .output("z", FLOAT, &sizes(&[2, 3])),
    );
    // Adding 0 is not nothing: it turns -0 into 0.
    let added = whole(
        Graph::new().node(Node::new("Neg", &["x"], &["n"])).node(Node::new("Add", &["n", "nothing"], &["y"])).output(
            "y",
            FLOAT,
            &sizes(&[2, 3]),
        ),
    );
    let mut pairs = Vec::new();
    for (before, expected) in [(one, &["Relu"][..]), (two, &["Relu", "Identity", "Identity"]), (added, &["Neg", "Add"])]
    {
        let (after, _) = rewritten(&before, &PASSES);
        let operators: Vec<&str> = after.graph().node.iter().map(|node| node.op_type()).collect();
        assert_eq!(operators, expected);
        pairs.push(Pair { name: operators.join(" "), before, after, sizes: BTreeMap::new(), tolerance: 0.0 });
    }
    assert_same(&pairs);
}
