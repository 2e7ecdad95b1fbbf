//! The six optimizations that a configuration switches, one at a time and together.

use std::collections::BTreeMap;

use modelconverter::onnx::Model;
use modelconverter::surgery::optimize::{
    DivisionToMultiplication, FuseAfterConvolution, FuseBeforeConvolution, FuseChannelOrder, SubtractionToAddition,
};
use modelconverter::surgery::{DeadCode, Pass};

use crate::builder::Node;
use crate::network::Network;
use crate::pairs::{Pair, assert_same, rewritten};

const IMAGE: [i64; 4] = [1, 4, 6, 8];
const RESULT: [i64; 4] = [1, 6, 4, 6];

/// A network with a convolution of `x`, or of what `before` makes of it, and its rewriting.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    passes: &'static [&'static dyn Pass],
    /// The operators that are left.
    left: &'static [&'static str],
}

/// A network with the constants that the cases use.
fn network() -> Network {
    Network::new(13, &IMAGE)
        .weights("w", &[6, 4, 3, 3])
        .weights("b", &[6])
        .weights("one", &[])
        .weights("each", &[4, 1, 1])
        .weights("other", &[1, 4, 1, 1])
        .weights("result", &[6, 1, 1])
        .weights("more", &[1, 6, 1, 1])
        .weights("pixels", &[6, 8])
        .floats("divisor", &[4, 1, 1], &[0.5, 2.0, -4.0, 3.0])
}

/// The channels of `x` in another order, as `z`.
fn reordered(network: Network) -> Network {
    network
        .integers("lengths", &[1, 1, 1, 1])
        .node(Node::new("Split", &["x", "lengths"], &["c0", "c1", "c2", "c3"]).int("axis", 1))
        .node(Node::new("Concat", &["c2", "c0", "c3", "c1"], &["z"]).int("axis", 1))
}

fn convolution(input: &str, output: &str) -> Node {
    Node::new("Conv", &[input, "w", "b"], &[output])
}

fn cases() -> Vec<Case> {
    let case = |name, passes, left, bytes| Case { name, bytes, passes, left };
    let padded = |input: &str| convolution(input, "y").ints("pads", &[1, 1, 1, 1]);
    let wide = [1, 6, 6, 8];
    let grouped = Node::new("Conv", &["a", "g"], &["y"]).int("group", 2);
    vec![
        case(
            "division",
            &[&DivisionToMultiplication],
            &["Mul"],
            network().apply("Div", &["x", "divisor"], &["y"]).bytes(&IMAGE),
        ),
        case(
            "division_for_erf",
            &[&DivisionToMultiplication],
            &["Div", "Erf"],
            network().apply("Div", &["x", "divisor"], &["a"]).apply("Erf", &["a"], &["y"]).bytes(&IMAGE),
        ),
        case(
            "subtraction",
            &[&SubtractionToAddition],
            &["Add"],
            network().apply("Sub", &["x", "each"], &["y"]).bytes(&IMAGE),
        ),
        case(
            "subtraction_from",
            &[&SubtractionToAddition],
            &["Sub"],
            network().apply("Sub", &["each", "x"], &["y"]).bytes(&IMAGE),
        ),
        case(
            "add_mul_after",
            &[&FuseAfterConvolution],
            &["Conv", "BatchNormalization"],
            network()
                .node(convolution("x", "a"))
                .apply("Add", &["a", "result"], &["c"])
                .apply("Mul", &["c", "more"], &["y"])
                .bytes(&RESULT),
        ),
        case(
            "mul_add_after",
            &[&FuseAfterConvolution],
            &["Conv", "BatchNormalization"],
            network()
                .node(convolution("x", "a"))
                .apply("Mul", &["one", "a"], &["c"])
                .apply("Add", &["c", "more"], &["y"])
                .bytes(&RESULT),
        ),
        case(
            "mul_before_padded",
            &[&FuseBeforeConvolution::Singles],
            &["Conv"],
            network().apply("Mul", &["x", "each"], &["a"]).node(padded("a")).bytes(&wide),
        ),
        case(
            "add_before_padded",
            &[&FuseBeforeConvolution::Singles],
            &["Add", "Conv"],
            network().apply("Add", &["x", "each"], &["a"]).node(padded("a")).bytes(&wide),
        ),
        case(
            "add_before",
            &[&FuseBeforeConvolution::Singles],
            &["Conv"],
            network().apply("Add", &["other", "x"], &["a"]).node(convolution("a", "y")).bytes(&RESULT),
        ),
        case(
            "add_before_without_bias",
            &[&FuseBeforeConvolution::Singles],
            &["Conv"],
            network().apply("Add", &["x", "one"], &["a"]).node(Node::new("Conv", &["a", "w"], &["y"])).bytes(&RESULT),
        ),
        case(
            "add_before_groups",
            &[&FuseBeforeConvolution::Pairs],
            &["Conv"],
            network()
                .weights("g", &[6, 2, 3, 3])
                .apply("Add", &["x", "each"], &["c"])
                .apply("Mul", &["c", "other"], &["a"])
                .node(grouped)
                .bytes(&RESULT),
        ),
        case(
            "mul_add_before",
            &[&FuseBeforeConvolution::Pairs],
            &["Conv"],
            network()
                .apply("Mul", &["x", "each"], &["c"])
                .apply("Add", &["c", "other"], &["a"])
                .node(convolution("a", "y"))
                .bytes(&RESULT),
        ),
        case(
            "pixels_stay",
            &[&FuseBeforeConvolution::Singles],
            &["Mul", "Conv"],
            network().apply("Mul", &["x", "pixels"], &["a"]).node(convolution("a", "y")).bytes(&RESULT),
        ),
        case("order", &[&FuseChannelOrder], &["Conv"], reordered(network()).node(padded("z")).bytes(&wide)),
        case(
            "order_and_steps",
            &[&FuseChannelOrder],
            &["Add", "Mul", "Conv"],
            reordered(network())
                .apply("Add", &["z", "each"], &["c"])
                .apply("Mul", &["other", "c"], &["a"])
                .node(padded("a"))
                .bytes(&wide),
        ),
        case(
            "everything",
            &[
                &DivisionToMultiplication,
                &SubtractionToAddition,
                &FuseAfterConvolution,
                &FuseBeforeConvolution::Pairs,
                &FuseBeforeConvolution::Singles,
                &FuseChannelOrder,
            ],
            &["Conv"],
            reordered(network())
                .apply("Sub", &["z", "each"], &["c"])
                .apply("Div", &["c", "divisor"], &["a"])
                .node(convolution("a", "y"))
                .bytes(&RESULT),
        ),
    ]
}

#[test]
fn each_computes_the_same_with_fewer_nodes() {
    let pair = |case: &Case| {
        let before = Model::parse(case.bytes.clone().into()).unwrap();
        let (after, _) = rewritten(&before, &[case.passes, &[&DeadCode]].concat());
        let left: Vec<&str> = after.graph().node.iter().map(|node| node.op_type()).collect();
        assert_eq!(left, case.left, "{}", case.name);
        Pair { name: case.name.to_owned(), before, after, sizes: BTreeMap::new(), tolerance: 3e-6 }
    };
    assert_same(&cases().iter().map(pair).collect::<Vec<_>>());
}

/// A value that something else reads, too, stays.
#[test]
fn shared_values_stay() {
    let bytes = network()
        .apply("Mul", &["x", "each"], &["a"])
        .node(convolution("a", "c"))
        .node(Node::new("ReduceMean", &["a"], &["m"]))
        .apply("Add", &["c", "m"], &["y"])
        .bytes(&RESULT);
    let before = Model::parse(bytes.into()).unwrap();
    let (_, operations) = rewritten(&before, &[&FuseBeforeConvolution::Singles, &FuseAfterConvolution]);
    assert!(operations.is_empty(), "{operations:?}");
}
