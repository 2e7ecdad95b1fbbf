//! Parts of values, values of parts, and several readers of one, before and after a network is rewritten.

use modelconverter::onnx::Model;
use modelconverter::surgery::myriad_passes;

use crate::builder::{self, FLOAT, Node, Tensor};
use crate::lowering::{case, check};
use crate::network::{Network, numbers};
use crate::pairs::rewritten;

#[test]
fn pieces_that_are_reduced() {
    let whole = [1, 8, 6, 5];
    let cut = |network: Network| {
        network
            .integers("halves", &[4, 4])
            .node(Node::new("Split", &["x", "halves"], &["a", "b"]).int("axis", 1))
            .apply("Add", &["a", "r"], &["c"])
            .apply("Mul", &["c", "b"], &["y"])
            .bytes(&[1, 4, 6, 5])
    };
    let reduced = |operator: &str, axes: &[i64]| {
        cut(Network::new(13, &whole).node(Node::new(operator, &["a"], &["r"]).ints("axes", axes)))
    };
    let sum =
        cut(Network::new(13, &whole).integers("axes", &[1, -1]).node(Node::new("ReduceSum", &["a", "axes"], &["r"])));
    let sliced = Network::new(13, &[1, 6])
        .integers("begin", &[3])
        .integers("end", &[6])
        .integers("axes", &[-1])
        .apply("Slice", &["x", "begin", "end", "axes"], &["a"])
        .node(Node::new("ReduceMin", &["a"], &["r"]).ints("axes", &[-1]))
        .apply("Div", &["a", "r"], &["y"])
        .bytes(&[1, 3]);
    let of = |name, bytes| case(name, "reduction-of-a-copied-piece", &[], bytes);
    check(&[
        of("least", reduced("ReduceMin", &[2, 3])),
        of("greatest", reduced("ReduceMax", &[1, 3])),
        of("sum", sum),
        of("sliced", sliced),
    ]);
    // What becomes a pooling is right as it is, and so is what is not a piece.
    let mean = reduced("ReduceMean", &[2, 3]);
    let all = Network::new(13, &whole)
        .apply("Relu", &["x"], &["a"])
        .node(Node::new("ReduceMin", &["a"], &["y"]).ints("axes", &[1]))
        .bytes(&[1, 1, 6, 5]);
    for bytes in [mean, all] {
        let (_, operations) = rewritten(&Model::parse(bytes.into()).unwrap(), &myriad_passes());
        assert!(operations.is_empty(), "{operations:?}");
    }
}

#[test]
fn channels_that_are_reduced() {
    let shape = [1, 3, 6, 5];
    let network = |operator: &str, axes: &[i64], rest: fn(Network) -> Network| {
        rest(Network::new(11, &shape).weights("w", &[8, 3, 1, 1]).apply("Conv", &["x", "w"], &["a"]))
            .node(Node::new(operator, &["b"], &["r"]).ints("axes", axes))
            .apply("Sub", &["b", "r"], &["y"])
            .bytes(&[1, 8, 6, 5])
    };
    let merged = |network: Network| {
        let network = network.weights("s", &[1, 8, 1, 1]).apply("Mul", &["s", "a"], &["c"]);
        network.apply("Relu", &["c"], &["b"])
    };
    let plain = |network: Network| network.apply("Identity", &["a"], &["b"]);
    let pooled = |network: Network| {
        let pool = Node::new("MaxPool", &["a"], &["b"]).ints("kernel_shape", &[3, 3]).ints("pads", &[1, 1, 1, 1]);
        network.node(pool)
    };
    let of = |name, bytes| case(name, "reduction-of-a-copied-convolution", &[], bytes);
    check(&[
        of("mean", network("ReduceMean", &[1], merged)),
        of("sum", network("ReduceSum", &[-3], pooled)),
        of("greatest", network("ReduceMax", &[1, 2], merged)),
    ]);
    // The compiler takes reductions of places, of all, and of what it computes otherwise.
    let otherwise = |network: Network| network.apply("Sigmoid", &["a"], &["b"]);
    let others = [
        network("ReduceMean", &[2, 3], merged),
        network("ReduceMean", &[1, 2, 3], plain),
        network("ReduceMean", &[1], otherwise),
    ];
    for bytes in others {
        let (_, operations) = rewritten(&Model::parse(bytes.into()).unwrap(), &myriad_passes());
        assert!(!operations.iter().any(|operation| operation.pass.contains("copied")), "{operations:?}");
    }
}

#[test]
fn what_a_convolution_yields_in_several_shapes() {
    // Two nodes read `a`, each in a shape of its own if it is `flat`.
    let network = |first: &str, second: &str, between: fn(Network) -> Network| {
        let network = Network::new(13, &[1, 4, 6, 6])
            .weights("w", &[8, 4, 1, 1])
            .weights("k", &[1, 5, 8])
            .integers("flat", &[1, 8, 36])
            .apply("Conv", &["x", "w"], &["c"]);
        let read = |network: Network, how: &str, [shaped, result]: [&str; 2]| match how {
            "product" => network.apply("Reshape", &["a", "flat"], &[shaped]).apply("MatMul", &["k", shaped], &[result]),
            "turned" => {
                let turned = Node::new("Transpose", &[shaped], &[result]).ints("perm", &[0, 2, 1]);
                network.apply("Reshape", &["a", "flat"], &[shaped]).node(turned)
            }
            "softmax" => network.node(Node::new("Softmax", &["a"], &[result]).int("axis", 1)),
            other => network.apply(other, &["a"], &[result]),
        };
        let network = read(between(network), first, ["d", "e"]);
        let sums = |network: Network, value: &str, result: &str| {
            network.node(Node::new("ReduceSum", &[value], &[result]).int("keepdims", 0))
        };
        let network = sums(read(network, second, ["f", "g"]), "e", "h");
        sums(network, "g", "i").apply("Add", &["h", "i"], &["y"]).bytes(&[])
    };
    let merged = |network: Network| network.apply("Relu", &["c"], &["a"]);
    let leaky = |network: Network| network.apply("LeakyRelu", &["c"], &["a"]);
    let otherwise = |network: Network| network.apply("Sigmoid", &["c"], &["a"]);
    let of = |name, bytes| case(name, "shapes-of-a-copied-convolution", &[], bytes);
    let pieces = Network::new(13, &[1, 3, 8, 8])
        .weights("w", &[4, 3, 5, 5])
        .integers("flat", &[1, -1])
        .integers("rows", &[1, 32, 8])
        .integers("from", &[1])
        .integers("to", &[99])
        .node(Node::new("Conv", &["x", "w"], &["c"]).ints("pads", &[2; 4]))
        .apply("Reshape", &["c", "flat"], &["a"])
        .apply("Slice", &["a", "from", "to", "from"], &["b"])
        .apply("Reshape", &["a", "rows"], &["d"])
        .node(Node::new("ReduceSum", &["b"], &["e"]).int("keepdims", 0))
        .node(Node::new("ReduceMax", &["d"], &["f"]).int("keepdims", 0))
        .apply("Add", &["e", "f"], &["y"])
        .bytes(&[]);
    let shape_given_out = {
        let weights = Tensor::floats("w", &[4, 3, 1, 1], &numbers(12));
        let graph = builder::Graph::new()
            .input("x", FLOAT, &builder::sizes(&[1, 3, 8, 8]))
            .initializer(weights)
            .initializer(Tensor::integers("flat", &[2], &[1, -1]))
            .node(Node::new("Conv", &["x", "w"], &["c"]))
            .node(Node::new("Reshape", &["c", "flat"], &["y"]))
            .node(Node::new("Sigmoid", &["c"], &["z"]))
            .output("y", FLOAT, &builder::sizes(&[1, 256]))
            .output("z", FLOAT, &builder::sizes(&[1, 4, 8, 8]));
        builder::Model::new(graph).opset(13).bytes()
    };
    // A product with a constant reads rows.
    let rows = |first: Node| {
        let network =
            Network::new(13, &[1, 3, 8, 8]).weights("k", &[8, 4]).node(first).apply("MatMul", &["a", "k"], &["b"]);
        let normal = Node::new("LRN", &["a"], &["c"]).int("size", 3);
        let sum = |value: &str, result: &str| Node::new("ReduceSum", &[value], &[result]).int("keepdims", 0);
        network.node(normal).node(sum("b", "d")).node(sum("c", "e")).apply("Add", &["d", "e"], &["y"]).bytes(&[])
    };
    // A transposition of dimensions of one is a shape, and others are not.
    let turned = |order: &[i64]| {
        let sum = |value: &str, result: &str| Node::new("ReduceSum", &[value], &[result]).int("keepdims", 0);
        Network::new(13, &[1, 4, 8, 8])
            .weights("w", &[4, 4, 1, 1])
            .apply("Conv", &["x", "w"], &["a"])
            .node(Node::new("Transpose", &["a"], &["b"]).ints("perm", order))
            .apply("MatMul", &["b", "b"], &["c"])
            .node(Node::new("LRN", &["a"], &["d"]).int("size", 3))
            .node(sum("c", "e"))
            .node(sum("d", "f"))
            .apply("Add", &["e", "f"], &["y"])
            .bytes(&[])
    };
    let mean = Node::new("ReduceMean", &["x"], &["a"]).ints("axes", &[1]);
    let greatest = Node::new("ReduceMax", &["x"], &["a"]).ints("axes", &[1]);
    let pooled = Node::new("MaxPool", &["x"], &["a"]).ints("kernel_shape", &[3, 3]).ints("pads", &[1; 4]);
    check(&[
        of("rows of a mean", rows(mean)),
        of("rows of what is greatest", rows(greatest)),
        of("rows of a pooling", rows(pooled)),
        of("a dimension of one that moves", turned(&[1, 0, 2, 3])),
        of("two products", network("product", "product", leaky)),
        of("a product and a transposition", network("turned", "product", merged)),
        of("a softmax", network("softmax", "turned", merged)),
        of("a product and others", network("product", "Sigmoid", leaky)),
        of("a transposition and others", network("turned", "Relu", leaky)),
        of("two pieces of a shape", pieces),
        of("a shape that is given out", shape_given_out),
    ]);
    let others = [
        network("product", "product", otherwise),
        network("turned", "softmax", otherwise),
        turned(&[0, 2, 1, 3]),
        rows(Node::new("ReduceMin", &["x"], &["a"]).ints("axes", &[1])),
        network("softmax", "Relu", merged),
    ];
    for bytes in others {
        let (_, operations) = rewritten(&Model::parse(bytes.into()).unwrap(), &myriad_passes());
        assert!(!operations.iter().any(|operation| operation.pass.contains("shapes-of")), "{operations:?}");
    }
}

#[test]
fn poolings_of_borders_and_pieces() {
    let pooled = |before: &str, pads: [i64; 8]| {
        Network::new(13, &[1, 2, 6, 8])
            .floats("limit", &[], &[-1.0])
            .integers("pads", &pads)
            .apply(before, &if before == "Add" { vec!["x", "limit"] } else { vec!["x"] }, &["a"])
            .apply("Pad", &["a", "pads"], &["b"])
            .node(Node::new("MaxPool", &["b"], &["y"]).ints("kernel_shape", &[2, 2]))
            .bytes(&[])
    };
    let piece = |counted: i64| {
        let pool = Node::new("AveragePool", &["b"], &["c"]).ints("kernel_shape", &[3, 3]).ints("pads", &[1; 4]);
        Network::new(13, &[1, 3, 6, 8])
            .integers("lengths", &[2, 1])
            .node(Node::new("Split", &["x", "lengths"], &["a", "b"]).int("axis", 1))
            .node(pool.int("count_include_pad", counted))
            .apply("Mul", &["a", "c"], &["y"])
            .bytes(&[])
    };
    let pool = Node::new("AveragePool", &["x"], &["a"]).ints("kernel_shape", &[3, 3]).ints("pads", &[1; 4]);
    let joined = Network::new(13, &[1, 1, 6, 8])
        .node(pool)
        .node(Node::new("Concat", &["a", "x"], &["y"]).int("axis", 1))
        .bytes(&[]);
    let rows = Network::new(13, &[1, 1, 7, 8])
        .integers("lengths", &[1, 6])
        .node(Node::new("Split", &["x", "lengths"], &["a", "b"]).int("axis", 2))
        .node(Node::new("AveragePool", &["b"], &["c"]).ints("kernel_shape", &[3, 3]).ints("pads", &[1; 4]))
        .apply("Mul", &["a", "c"], &["y"])
        .bytes(&[]);
    let normalized = Network::new(13, &[1, 3, 6, 8])
        .integers("lengths", &[6, 2])
        .node(Node::new("Split", &["x", "lengths"], &["a", "b"]).int("axis", 3))
        .node(Node::new("LRN", &["a"], &["c"]).int("size", 3))
        .node(Node::new("Concat", &["c", "b"], &["y"]).int("axis", 3))
        .bytes(&[]);
    let length = |axes: &[i64], keep: i64| {
        let length = Node::new("ReduceL2", &["x"], &["y"]).ints("axes", axes).int("keepdims", keep);
        Network::new(13, &[1, 3, 6, 8]).node(length).bytes(&[])
    };
    let (narrow, wide) = ([0, 0, 1, 1, 0, 0, 1, 1], [0, 0, 2, 0, 0, 0, 0, 1]);
    let border = "max-pool-of-a-copied-border";
    check(&[
        case("below zero", border, &[], pooled("Add", narrow)),
        case("whole windows", border, &[], pooled("Relu", wide)),
        case("a piece", "pooling-of-a-copied-piece", &[], piece(0)),
        case("rows of one channel", "pooling-of-a-copied-piece", &[], rows),
        case("a pooling that is joined", "pooling-of-a-copied-piece", &[], joined),
        case("a normalization", "normalization-of-a-copied-piece", &[], normalized),
        case("a length", "length-to-root-of-squares", &["ReduceL2"], length(&[1], 1)),
        case("a length alone", "length-to-root-of-squares", &["ReduceL2"], length(&[-1, 2], 0)),
    ]);
    // Zeros make no difference where nothing is below them, what is divided by is the same everywhere, or nothing is cut.
    let normal = Network::new(13, &[1, 3, 6, 8]).node(Node::new("LRN", &["x"], &["y"]).int("size", 3)).bytes(&[]);
    for bytes in [pooled("Relu", narrow), piece(1), normal] {
        let (_, operations) = rewritten(&Model::parse(bytes.into()).unwrap(), &myriad_passes());
        assert!(!operations.iter().any(|operation| operation.pass.contains("copied")), "{operations:?}");
    }
}

#[test]
fn parts_without_elements() {
    let joined = |inputs: &[&str], length: i64| {
        Network::new(13, &[6, 1, 4])
            .integers("end", &[6])
            .integers("first", &[0])
            .apply("Slice", &["x", "end", "end", "first"], &["a"])
            .apply("Tanh", &["a"], &["b"])
            .node(Node::new("Concat", inputs, &["c"]).int("axis", 0))
            .apply("Relu", &["c"], &["y"])
            .bytes(&[length, 1, 4])
    };
    check(&[
        case("one", "joined-with-nothing", &["Concat"], joined(&["b", "x"], 6)),
        case("two", "joined-with-nothing", &[], joined(&["x", "b", "x"], 12)),
    ]);
}

#[test]
fn what_is_joined_twice() {
    let joined = |whole: &[i64], first: i64, second: i64| {
        Network::new(13, whole)
            .apply("Tanh", &["x"], &["a"])
            .node(Node::new("Concat", &["x", "a"], &["b"]).int("axis", first))
            .node(Node::new("Concat", &["b", "b"], &["c"]).int("axis", second))
            .apply("Relu", &["c"], &["y"])
    };
    let of = |name, bytes| case(name, "joined-again-as-one-dimension", &[], bytes);
    check(&[
        of("boxes", joined(&[1, 5, 2], 2, 1).bytes(&[1, 10, 4])),
        of("rows", joined(&[2, 3, 4, 5], -1, -2).bytes(&[2, 3, 8, 10])),
        of("volumes", joined(&[1, 2, 3, 4, 5], 4, 3).bytes(&[1, 2, 3, 8, 10])),
    ]);
    check(&[case("channels", "joined-copy-of-an-input", &[], joined(&[1, 3, 4, 5], -1, 1).bytes(&[1, 6, 4, 10]))]);
    // Along any other two dimensions it is right as it is.
    for (whole, [first, second], result) in [
        (&[1, 5, 2][..], [1, 2], &[1, 10, 4][..]),
        (&[5, 2], [1, 0], &[10, 4]),
        (&[1, 3, 4, 5], [2, 1], &[1, 6, 8, 5]),
        (&[1, 3, 4, 5], [3, 0], &[2, 3, 4, 10]),
        (&[1, 2, 3, 4, 5], [4, 1], &[1, 4, 3, 4, 10]),
    ] {
        let bytes = joined(whole, first, second).bytes(result);
        let (_, operations) = rewritten(&Model::parse(bytes.into()).unwrap(), &myriad_passes());
        assert!(operations.is_empty(), "{first} {second}: {operations:?}");
    }
}

#[test]
fn transposed_convolutions_of_pieces() {
    let network = |groups: i64, result: &str, [cut, joined]: [i64; 2]| {
        let convolution = Node::new("ConvTranspose", &["a", "w"], &["c"]).int("group", groups).ints("strides", &[2, 2]);
        let split = Node::new("Split", &["x"], &["a", "b"]);
        Network::new(13, &[1, 16, 6, 6])
            .weights("w", &[16 / cut, 4, 2, 2])
            .node(if cut == 1 { Node::new("Tanh", &["x"], &["a"]) } else { split.int("axis", 1) })
            .node(convolution)
            .apply("Relu", &["c"], &["d"])
            .node(Node::new("Concat", &[result, "d"][..joined as usize], &["y"]).int("axis", 1))
            .bytes(&[])
    };
    let of = |name, bytes| case(name, "transposed-convolution-of-a-copied-piece", &[], bytes);
    check(&[
        of("cut", network(2, "d", [2, 1])),
        of("joined", network(4, "c", [1, 2])),
        of("both", network(2, "c", [2, 2])),
        of("joined after a function", network(4, "d", [1, 2])),
    ]);
    for bytes in [network(8, "c", [2, 2]), network(1, "c", [2, 2])] {
        let (_, operations) = rewritten(&Model::parse(bytes.into()).unwrap(), &myriad_passes());
        assert!(!operations.iter().any(|operation| operation.pass.contains("copied")), "{operations:?}");
    }
}

#[test]
fn expanded_values_that_arithmetic_reads_too() {
    let network = |sizes: &[i64]| {
        Network::new(13, sizes).integers("whole", &[1, 4, 6, 6]).apply("Tanh", &["x"], &["a"]).apply(
            "Expand",
            &["a", "whole"],
            &["b"],
        )
    };
    let of = |name, network: Network| case(name, "expanded-to-repeated", &[], network.bytes(&[1, 4, 6, 6]));
    let twice = |sizes: &[i64]| network(sizes).apply("Mul", &["b", "b"], &["y"]);
    check(&[
        of("twice by one node", twice(&[1, 1, 6, 6])),
        of("more dimensions", twice(&[6, 1])),
        of("one of two", network(&[1, 4, 1, 1]).apply("Relu", &["b"], &["c"]).apply("Max", &["c", "b"], &["y"])),
    ]);
    let others = [
        network(&[1, 1, 6, 6]).apply("Add", &["x", "b"], &["y"]),
        network(&[1, 1, 6, 6])
            .apply("Relu", &["b"], &["c"])
            .apply("Sigmoid", &["b"], &["d"])
            .node(Node::new("Concat", &["c", "d"], &["y"]).int("axis", 1)),
    ];
    for network in others {
        let bytes = network.bytes(&[]);
        let (_, operations) = rewritten(&Model::parse(bytes.into()).unwrap(), &myriad_passes());
        assert!(operations.is_empty(), "{operations:?}");
    }
}

#[test]
fn borders_that_do_not_count() {
    let pooled = |value: f32, pads: &[i64], own: [i64; 4]| {
        let pool = Node::new("MaxPool", &["a"], &["y"]).ints("kernel_shape", &[3, 3]).ints("strides", &[2, 2]);
        Network::new(13, &[1, 2, 6, 7])
            .integers("pads", pads)
            .floats("value", &[], &[value])
            .apply("Pad", &["x", "pads", "value"], &["a"])
            .node(pool.ints("pads", &own))
    };
    let around = [0, 0, 1, 1, 0, 0, 1, 1];
    let of = |name, bytes| case(name, "border-of-a-max-pool", &[], bytes);
    check(&[
        of("infinity", pooled(f32::NEG_INFINITY, &around, [0; 4]).bytes(&[1, 2, 3, 4])),
        of("least", pooled(f32::MIN, &around, [0; 4]).bytes(&[1, 2, 3, 4])),
        of("both", pooled(f32::NEG_INFINITY, &[0, 0, 0, 2, 0, 0, 1, 0], [1, 0, 0, 1]).bytes(&[1, 2, 3, 4])),
    ]);
    // Zeros count; nothing but a border would be seen; and pictures before and behind stay what they are.
    for (value, pads, result) in [
        (0.0, around, [1, 2, 3, 4]),
        (f32::NEG_INFINITY, [0, 0, 3, 0, 0, 0, 0, 0], [1, 2, 4, 3]),
        (f32::NEG_INFINITY, [0, 1, 0, 0, 0, 0, 1, 0], [1, 3, 3, 3]),
        (f32::NEG_INFINITY, [0, 0, -1, 0, 0, 0, 0, 0], [1, 2, 2, 3]),
    ] {
        let bytes = pooled(value, &pads, [0; 4]).bytes(&result);
        let (_, operations) = rewritten(&Model::parse(bytes.into()).unwrap(), &myriad_passes());
        let is_named = |operation: &_| format!("{operation:?}").contains("border-of-a-max-pool");
        assert!(!operations.iter().any(is_named), "{value} {pads:?}: {operations:?}");
    }
}

#[test]
fn constants_that_are_joined_with_values() {
    let joined = |inputs: &[&str], length: i64| {
        Network::new(13, &[1, 4, 6, 8])
            .weights("a", &[1, 1, 6, 8])
            .weights("b", &[1, 2, 6, 8])
            .apply("Relu", &["x"], &["v"])
            .node(Node::new("Concat", inputs, &["y"]).int("axis", -3))
            .bytes(&[1, length, 6, 8])
    };
    let token = Network::new(11, &[1, 5, 8])
        .weights("a", &[1, 1, 8])
        .node(Node::new("Concat", &["a", "x"], &["y"]).int("axis", 1))
        .bytes(&[1, 6, 8]);
    let tokens = Network::new(11, &[3, 5, 8])
        .weights("a", &[3, 2, 8])
        .node(Node::new("Concat", &["a", "x"], &["y"]).int("axis", 1))
        .bytes(&[3, 7, 8]);
    let of = |name, gone, bytes| case(name, "joined-constants-to-sum", gone, bytes);
    check(&[
        of("token", &["Concat"], token),
        of("tokens", &["Concat"], tokens),
        of("around", &["Concat"], joined(&["a", "b", "x", "a"], 8)),
        of("between", &[], joined(&["x", "b", "v", "a"], 11)),
    ]);
}
