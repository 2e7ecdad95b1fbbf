//! Windows of poolings, determinants, diagonals and tables, before and after they are rewritten.

use std::collections::BTreeMap;

use modelconverter::onnx::Model;

use crate::builder::{FLOAT, Graph, Node, Tensor, sizes};
use crate::lowering::{Case, case, check};
use crate::network::Network;
use crate::pairs::{PASSES, Pair, assert_same, rewritten};

const IMAGE: [i64; 4] = [1, 3, 8, 12];

fn one(opset: i64, shape: &[i64], node: Node, result: &[i64]) -> Vec<u8> {
    Network::new(opset, shape).node(node).bytes(result)
}

#[test]
fn maxima_of_elements_that_lie_apart() {
    let pool = || Node::new("MaxPool", &["x"], &["y"]);
    let of = |name, bytes| case(name, "dilated-max-pool", &["MaxPool"], bytes);
    let line = pool().ints("kernel_shape", &[7]).ints("dilations", &[3]).ints("strides", &[2]).ints("pads", &[4, 5]);
    let wide = pool().ints("kernel_shape", &[2, 3]).ints("dilations", &[3, 2]);
    let incomplete = || {
        let node = pool().ints("kernel_shape", &[3, 2]).ints("dilations", &[2, 1]).ints("strides", &[3, 2]);
        node.ints("pads", &[1, 0, 1, 1]).int("ceil_mode", 1)
    };
    let volume = pool().ints("kernel_shape", &[5, 5, 5]).ints("dilations", &[2, 2, 2]).ints("strides", &[2, 1, 3]);
    check(&[
        of("line", one(12, &[1, 3, 40], line, &[1, 3, 16])),
        of("wide", one(11, &IMAGE, wide, &[1, 3, 5, 8])),
        of("incomplete", one(13, &IMAGE, incomplete(), &[1, 3, 3, 7])),
        of("volume", one(13, &[1, 2, 12, 10, 15], volume, &[1, 2, 2, 2, 3])),
    ]);
}

/// Pools and puts back what a function made of the maxima. The input is rounded, so that windows have equal elements.
fn unpooled(shape: &[i64], kernel: &[i64], output: Option<&[i64]>, result: &[i64]) -> Vec<u8> {
    let windows = |node: Node| node.ints("kernel_shape", kernel).ints("strides", kernel);
    let network = Network::new(13, shape)
        .apply("Floor", &["x"], &["f"])
        .node(windows(Node::new("MaxPool", &["f"], &["p", "i"])))
        .apply("Exp", &["p"], &["e"]);
    let (network, inputs) = match output {
        Some(output) => (network.integers("whole", output), vec!["e", "i", "whole"]),
        None => (network, vec!["e", "i"]),
    };
    network.node(windows(Node::new("MaxUnpool", &inputs, &["y"]))).bytes(result)
}

#[test]
fn maxima_go_back_in_place() {
    let of = |name, bytes| case(name, "maxima-back-in-place", &["MaxUnpool"], bytes);
    check(&[
        of("pairs", unpooled(&IMAGE, &[2, 2], None, &IMAGE)),
        of("wide", unpooled(&[2, 3, 8, 12], &[4, 3], None, &[2, 3, 8, 12])),
        of("stated", unpooled(&IMAGE, &[2, 3], Some(&IMAGE), &IMAGE)),
        of("line", unpooled(&[1, 3, 12], &[3], None, &[1, 3, 12])),
        of("odd", unpooled(&[1, 3, 9, 11], &[2, 2], Some(&[1, 3, 9, 11]), &[1, 3, 9, 11])),
    ]);
}

#[test]
fn maxima_whose_windows_overlap_stay() {
    let node = |operator: &str, inputs: &[&str], outputs: &[&str]| {
        Node::new(operator, inputs, outputs).ints("kernel_shape", &[3, 3]).ints("strides", &[2, 2])
    };
    let bytes = Network::new(13, &[1, 1, 9, 9])
        .node(node("MaxPool", &["x"], &["p", "i"]))
        .node(node("MaxUnpool", &["p", "i"], &["y"]))
        .bytes(&[1, 1, 9, 9]);
    let model = Model::parse(bytes.into()).unwrap();
    let (after, _) = rewritten(&model, &modelconverter::surgery::myriad_passes());
    assert!(after.graph().node.iter().any(|node| node.op_type() == "MaxUnpool"));
}

#[test]
fn sums_and_means_of_windows() {
    let norm = || Node::new("LpPool", &["x"], &["y"]).ints("kernel_shape", &[3, 2]);
    let norms = |name, bytes| Case { tolerance: 1e-5, ..case(name, "lower-lp-pool", &["LpPool"], bytes) };
    let mean = || Node::new("AveragePool", &["x"], &["y"]).ints("strides", &[2, 3]);
    let means = |name, bytes| case(name, "explicit-average-pool", &["AveragePool"], bytes);
    let volume = |counts: i64| {
        Node::new("AveragePool", &["x"], &["y"])
            .ints("kernel_shape", &[3, 2, 2])
            .ints("dilations", &[2, 2, 1])
            .ints("strides", &[2, 1, 2])
            .ints("pads", &[1, 0, 1, 0, 1, 0])
            .int("ceil_mode", 1)
            .int("count_include_pad", counts)
    };
    let padded = |node: Node| node.ints("pads", &[1, 1, 0, 1]).int("ceil_mode", 1).int("count_include_pad", 1);
    check(&[
        norms("upper", one(13, &IMAGE, norm().text("auto_pad", "SAME_UPPER").ints("strides", &[2, 2]), &[1, 3, 4, 6])),
        norms("lower", one(13, &IMAGE, norm().text("auto_pad", "SAME_LOWER").int("p", 1), &IMAGE)),
        norms("apart", one(18, &IMAGE, norm().ints("dilations", &[2, 3]).int("p", 3), &[1, 3, 4, 9])),
        norms("incomplete", one(18, &IMAGE, norm().ints("strides", &[3, 3]).int("ceil_mode", 1), &[1, 3, 3, 4])),
        means("padded", one(13, &IMAGE, padded(mean().ints("kernel_shape", &[3, 4])), &[1, 3, 4, 5])),
        means("volume", one(19, &[1, 1, 9, 6, 7], volume(0), &[1, 1, 4, 5, 4])),
        means("counted_volume", one(19, &[1, 1, 9, 6, 7], volume(1), &[1, 1, 4, 5, 4])),
    ]);
}

#[test]
fn determinants_and_diagonals() {
    let determinant = |shape: &[i64], result: &[i64]| one(13, shape, Node::new("Det", &["x"], &["y"]), result);
    let of = |name, bytes| Case { tolerance: 1e-5, ..case(name, "determinant-to-products", &["Det"], bytes) };
    let sum = |equation: &str, shape: &[i64], weights: &[i64], result: &[i64]| {
        let inputs: &[&str] = if weights.is_empty() { &["x"] } else { &["x", "w"] };
        Network::new(13, shape)
            .weights("w", if weights.is_empty() { &[1] } else { weights })
            .node(Node::new("Einsum", inputs, &["y"]).text("equation", equation))
            .bytes(result)
    };
    let sums = |name, bytes| Case { tolerance: 1e-5, ..case(name, "einsum-to-matmul", &["Einsum"], bytes) };
    check(&[
        of("two", determinant(&[2, 2], &[])),
        of("three", determinant(&[5, 3, 3], &[5])),
        of("four", determinant(&[2, 3, 4, 4], &[2, 3])),
        sums("batch_diagonal", sum("...ii->...i", &[3, 5, 5], &[], &[3, 5])),
        sums("trace", sum("ii", &[4, 4], &[], &[])),
        sums("between", sum("iji,jk->ik", &[3, 4, 3], &[4, 2], &[3, 2])),
        sums("of_three", sum("iii->i", &[3, 3, 3], &[], &[3])),
    ]);
}

#[test]
fn peepholes_are_written_out() {
    let lstm = |direction: &str, directions: i64, initial: bool| {
        let inputs: &[&str] =
            if initial { &["x", "w", "r", "b", "", "h", "c", "p"] } else { &["x", "w", "r", "b", "", "", "", "p"] };
        Network::new(13, &[5, 2, 3])
            .weights("w", &[directions, 16, 3])
            .weights("r", &[directions, 16, 4])
            .weights("b", &[directions, 32])
            .weights("h", &[directions, 2, 4])
            .weights("c", &[directions, 2, 4])
            .weights("p", &[directions, 12])
            .node(Node::new("LSTM", inputs, &["y", "last", "cell"]).int("hidden_size", 4).text("direction", direction))
            .bytes(&[5, directions, 2, 4])
    };
    let of = |name, bytes| Case { tolerance: 1e-5, ..case(name, "recurrence-step-by-step", &["LSTM"], bytes) };
    check(&[
        of("forward", lstm("forward", 1, false)),
        of("reverse", lstm("reverse", 1, true)),
        of("both", lstm("bidirectional", 2, true)),
    ]);
}

#[test]
fn curves_of_old_operator_sets() {
    const GONE: &[&str] = &["Acos", "Asin", "Atan", "Cos", "Sin", "Tan", "Where"];
    let curve = |operator: &'static str, factor: f32, limited: bool| {
        let network = Network::new(7, &[4, 6]).floats("k", &[], &[factor]);
        let network =
            if limited { network.apply("Tanh", &["x"], &["t"]) } else { network.apply("Identity", &["x"], &["t"]) };
        let bytes = network.apply("Mul", &["t", "k"], &["a"]).apply(operator, &["a"], &["y"]).bytes(&[4, 6]);
        Case { tolerance: 2e-6, ..case(operator, "curves-to-series", GONE, bytes) }
    };
    check(&[
        curve("Sin", 20.0, false),
        curve("Cos", 20.0, false),
        curve("Tan", 1.0, true),
        curve("Asin", 1.0, true),
        curve("Acos", 1.0, true),
        curve("Atan", 5.0, false),
    ]);
}

#[test]
fn tables_of_windows_are_computed_once() {
    let network = |name: &str, node: Node, inputs: Vec<Tensor>, table: &[i64]| {
        let graph = Graph::new().input("x", FLOAT, &sizes(table));
        let graph = inputs.into_iter().fold(graph, Graph::initializer);
        let graph = graph.node(node).node(Node::new("Mul", &["x", "t"], &["y"])).output("y", FLOAT, &sizes(table));
        let before = Model::parse(crate::builder::Model::new(graph).opset(17).bytes().into()).unwrap();
        let (after, _) = rewritten(&before, &PASSES);
        let operators: Vec<&str> = after.graph().node.iter().map(|node| node.op_type()).collect();
        assert_eq!(operators, ["Mul"], "{name}");
        Pair { name: name.to_owned(), before, after, sizes: BTreeMap::new(), tolerance: 1e-6 }
    };
    let window = |operator: &'static str, periodic: i64| {
        let node = Node::new(operator, &["n"], &["t"]).int("periodic", periodic);
        network(operator, node, vec![Tensor::integers("n", &[], &[25])], &[25])
    };
    let mel = |bands: i64, length: i64, rate: i64, edges: [f32; 2]| {
        let inputs = vec![
            Tensor::integers("bands", &[], &[bands]),
            Tensor::integers("length", &[], &[length]),
            Tensor::integers("rate", &[], &[rate]),
            Tensor::floats("low", &[], &edges[..1]),
            Tensor::floats("high", &[], &edges[1..]),
        ];
        let node = Node::new("MelWeightMatrix", &["bands", "length", "rate", "low", "high"], &["t"]);
        network("mel", node, inputs, &[length / 2 + 1, bands])
    };
    let windows = ["HannWindow", "HammingWindow", "BlackmanWindow"];
    let mut pairs: Vec<Pair> = windows.iter().flat_map(|operator| [window(operator, 0), window(operator, 1)]).collect();
    pairs.extend([mel(8, 16, 8192, [0.0, 4096.0]), mel(40, 512, 16000, [20.0, 7600.0])]);
    assert_same(&pairs);
}
