//! Sequences and values that may be there or not, before and after their members are taken for what they are.

use std::collections::BTreeMap;

use modelconverter::onnx::Model;
use modelconverter::surgery::support::{FrontEnd, unsupported};
use modelconverter::surgery::{DeadCode, Pass, UnusedDomains, myriad_passes, plain_passes};

use crate::builder::{self, BOOL, Dim, FLOAT, Graph, INT64, Node, Tensor, sizes};
use crate::pairs::{Pair, assert_same, rewritten};

const SHAPE: [i64; 2] = [2, 6];

fn network(graph: Graph, opset: i64) -> Model {
    Model::parse(builder::Model::new(graph).opset(opset).bytes().into()).unwrap()
}

fn graph() -> Graph {
    Graph::new().input("x", FLOAT, &sizes(&SHAPE))
}

fn result(graph: Graph, shape: &[i64]) -> Graph {
    graph.output("y", FLOAT, &sizes(shape))
}

fn converted(before: &Model) -> Model {
    let passes: Vec<&dyn Pass> = [&plain_passes()[..], &myriad_passes(), &[&DeadCode, &UnusedDomains]].concat();
    rewritten(before, &passes).0
}

fn check(cases: Vec<(&str, Model)>) {
    let pair = |(name, before): (&str, Model)| {
        let after = converted(&before);
        assert_eq!(unsupported(&after, FrontEnd::Importer), [], "{name}");
        Pair { name: name.to_owned(), before, after, sizes: BTreeMap::new(), tolerance: 0.0 }
    };
    assert_same(&cases.into_iter().map(pair).collect::<Vec<_>>());
}

/// Three parts of `x`: the sequence `s`.
fn parts() -> Graph {
    graph()
        .initializer(Tensor::integers("two", &[], &[2]))
        .node(Node::new("SplitToSequence", &["x", "two"], &["s"]).int("axis", 1))
}

/// A loop over a sequence that collects what it makes of the members, as scripted exports do.
fn collecting() -> Model {
    let body = Graph::new()
        .input("i", INT64, &[])
        .input("go", BOOL, &[])
        .sequence_input("state", FLOAT)
        .node(Node::new("SequenceAt", &["s", "i"], &["member"]))
        .node(Node::new("Neg", &["member"], &["turned"]))
        .node(Node::new("SequenceInsert", &["state", "turned"], &["next"]))
        .node(Node::new("Identity", &["go"], &["on"]))
        .output("on", BOOL, &[])
        .sequence_output("next", FLOAT);
    let whole = parts()
        .node(Node::new("SequenceLength", &["s"], &["count"]))
        .node(Node::new("SequenceEmpty", &[], &["none"]))
        .node(Node::new("Loop", &["count", "", "none"], &["all"]).graph("body", &body))
        .node(Node::new("ConcatFromSequence", &["all"], &["y"]).int("axis", 0));
    network(result(whole, &[6, 2]), 13)
}

/// The body of a `SequenceMap` that adds what does not change to each member, and tells the shape too.
fn mapped() -> Model {
    let body = Graph::new()
        .input("member", FLOAT, &[Dim::Unknown, Dim::Unknown])
        .input("other", FLOAT, &[Dim::Unknown, Dim::Unknown])
        .input("number", FLOAT, &[Dim::Unknown])
        .node(Node::new("Mul", &["member", "other"], &["product"]))
        .node(Node::new("Add", &["product", "number"], &["sum"]))
        .output("sum", FLOAT, &[Dim::Unknown, Dim::Unknown])
        .output("product", FLOAT, &[Dim::Unknown, Dim::Unknown]);
    let whole = parts()
        .initializer(Tensor::floats("half", &[1], &[0.5]))
        .node(Node::new("Relu", &["x"], &["r"]))
        .node(Node::new("SplitToSequence", &["r", "two"], &["t"]).int("axis", 1))
        .node(Node::new("SequenceMap", &["s", "t", "half"], &["sums", "products"]).graph("body", &body))
        .node(Node::new("ConcatFromSequence", &["sums"], &["a"]).int("axis", 1))
        .node(Node::new("ConcatFromSequence", &["products"], &["b"]).int("axis", 1))
        .node(Node::new("Sub", &["a", "b"], &["y"]));
    network(result(whole, &SHAPE), 17)
}

#[test]
fn members_are_found_through_loops_and_maps() {
    let chosen = |opset| {
        let whole = parts()
            .input("place", INT64, &[])
            .initializer(Tensor::integers("shift", &[], &[2]))
            // It is fed 0 to 3: from -2 on, below zero is from the end.
            .node(Node::new("Min", &["place", "two"], &["few"]))
            .node(Node::new("Sub", &["few", "shift"], &["at"]))
            .node(Node::new("SequenceAt", &["s", "at"], &["y"]));
        network(result(whole, &[2, 2]), opset)
    };
    check(vec![("collecting", collecting()), ("mapped", mapped()), ("chosen", chosen(13))]);
}

#[test]
fn what_is_there_is_known() {
    let whole = |node: fn(Graph) -> Graph| {
        let taken = Graph::new().node(Node::new("Relu", &["x"], &["r"])).output("r", FLOAT, &[]);
        let other = Graph::new().node(Node::new("Neg", &["x"], &["n"])).output("n", FLOAT, &[]);
        let decided = node(graph())
            .node(Node::new("If", &["there"], &["y"]).graph("then_branch", &taken).graph("else_branch", &other));
        network(result(decided, &SHAPE), 18)
    };
    let unwrapped = graph()
        .node(Node::new("Optional", &["x"], &["o"]))
        .node(Node::new("OptionalGetElement", &["o"], &["e"]))
        .node(Node::new("Exp", &["e"], &["y"]));
    check(vec![
        ("a tensor", whole(|graph| graph.node(Node::new("OptionalHasElement", &["x"], &["there"])))),
        ("nothing", whole(|graph| graph.node(Node::new("OptionalHasElement", &[], &["there"])))),
        ("unwrapped", network(result(unwrapped, &SHAPE), 18)),
    ]);
}

#[test]
fn sequences_that_a_network_takes_or_gives_are_refused() {
    let reason = |graph: Graph| {
        let after = converted(&network(graph, 13));
        unsupported(&after, FrontEnd::Importer).remove(0).reason
    };
    assert_eq!(
        reason(parts().sequence_output("s", FLOAT)),
        "the output `s` of the network is no tensor (it is of the kind `sequence`), and blobs give only tensors"
    );
    let fed = graph()
        .sequence_input("q", FLOAT)
        .node(Node::new("ConcatFromSequence", &["q"], &["y"]).int("axis", 0))
        .output("y", FLOAT, &[Dim::Unknown, Dim::Unknown]);
    assert_eq!(
        reason(fed),
        "the input `q` of the network is no tensor (it is of the kind `sequence`), and blobs take only tensors"
    );
}
