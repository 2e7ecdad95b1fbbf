//! What networks look up at computed places, angles, windows and sequences, before and after it is rewritten.

use std::collections::BTreeMap;

use modelconverter::onnx::Model;
use modelconverter::surgery::{DeadCode, Pass, myriad_passes};

use crate::builder::{self, BOOL, FLOAT, Graph, INT64, Node, Tensor, sizes};
use crate::lowering::{Case, case, check};
use crate::network::Network;
use crate::pairs::{Pair, assert_same, rewritten};

const IMAGE: [i64; 4] = [1, 4, 6, 8];

#[test]
fn angles_and_hyperbolas() {
    // Widened, so that some numbers are several turns or far outside, and limited where the function is.
    let of = |operator: &str, factor: f32, limited: bool| {
        let network = Network::new(13, &IMAGE).floats("factor", &[], &[factor]).floats("one", &[], &[1.0]);
        let network = network.apply("Mul", &["x", "factor"], &["a"]);
        let network =
            if limited { network.apply("Tanh", &["a"], &["b"]) } else { network.apply("Identity", &["a"], &["b"]) };
        network.apply(operator, &["b"], &["y"]).bytes(&IMAGE)
    };
    let distant = Network::new(13, &IMAGE)
        .floats("one", &[], &[1.0])
        .apply("Mul", &["x", "x"], &["a"])
        .apply("Add", &["a", "one"], &["b"])
        .apply("Acosh", &["b"], &["y"])
        .bytes(&IMAGE);
    let curve = |name, operator, factor, limited| Case {
        tolerance: 2e-6,
        ..case(name, "curves-to-series", &["Sin", "Cos", "Atan"], of(operator, factor, limited))
    };
    check(&[
        curve("sine", "Sin", 1.0, false),
        curve("sine_of_turns", "Sin", 20.0, false),
        curve("cosine", "Cos", 1.0, false),
        curve("cosine_of_turns", "Cos", 20.0, false),
        curve("tangent", "Tan", 1.0, true),
        curve("arc_sine", "Asin", 1.0, true),
        curve("arc_cosine", "Acos", 1.0, true),
        curve("arc_tangent", "Atan", 5.0, false),
        curve("arc_tangent_near_zero", "Atan", 0.01, false),
        curve("hyperbolic_sine", "Sinh", 1.0, false),
        curve("hyperbolic_sine_near_zero", "Sinh", 0.01, false),
        curve("hyperbolic_cosine", "Cosh", 1.0, false),
        curve("area_sine", "Asinh", 5.0, false),
        curve("area_tangent", "Atanh", 0.9, true),
        Case { tolerance: 2e-6, ..case("area_cosine", "curves-to-series", &["Acosh"], distant) },
    ]);
}

#[test]
fn samples_at_computed_places() {
    let sample = |opset: i64, mode: &str, outside: &str, aligned: i64, batch: i64| {
        let places = [batch, 24 / batch, 4, 2];
        let data = [batch, 4 / batch, 6, 8];
        let result = [batch, 4 / batch, 24 / batch, 4];
        let node = Node::new("GridSample", &["data", "places"], &["y"]);
        Network::new(opset, &IMAGE)
            .floats("factor", &[], &[0.8])
            .integers("form", &places)
            .integers("data_form", &data)
            .apply("Reshape", &["x", "form"], &["p"])
            .apply("Mul", &["p", "factor"], &["places"])
            .apply("Reshape", &["x", "data_form"], &["data"])
            .node(node.text("mode", mode).text("padding_mode", outside).int("align_corners", aligned))
            .bytes(&result)
    };
    let of = |name, bytes| Case { tolerance: 1e-5, ..case(name, "samples-to-lookups", &["GridSample"], bytes) };
    let spatial = Network::new(20, &[1, 2, 3, 4, 5])
        .integers("form", &[1, 2, 2, 10, 3])
        .apply("Reshape", &["x", "form"], &["places"])
        .apply("GridSample", &["x", "places"], &["y"])
        .bytes(&[1, 2, 2, 2, 10]);
    let fixed = Network::new(16, &IMAGE)
        .weights("places", &[1, 5, 7, 2])
        .apply("GridSample", &["x", "places"], &["y"])
        .bytes(&[1, 4, 5, 7]);
    check(&[
        of("linear", sample(16, "bilinear", "zeros", 0, 1)),
        of("linear_border", sample(16, "bilinear", "border", 1, 1)),
        of("linear_reflection", sample(20, "linear", "reflection", 0, 1)),
        of("linear_reflection_aligned", sample(16, "bilinear", "reflection", 1, 1)),
        of("linear_batch", sample(16, "bilinear", "zeros", 1, 2)),
        of("nearest", sample(16, "nearest", "zeros", 0, 1)),
        of("nearest_border", sample(16, "nearest", "border", 1, 4)),
        of("nearest_reflection", sample(16, "nearest", "reflection", 0, 1)),
        of("cubic", sample(16, "bicubic", "zeros", 0, 1)),
        of("cubic_border", sample(20, "cubic", "border", 1, 1)),
        of("cubic_reflection", sample(20, "cubic", "reflection", 0, 2)),
        of("spatial", spatial),
        of("fixed", fixed),
    ]);
}

#[test]
fn places_of_a_linear_transformation() {
    let places = |aligned: i64, form: &[i64], sizes: &[i64], result: &[i64]| {
        let count: i64 = form.iter().product();
        Network::new(20, &[count])
            .integers("form", form)
            .integers("sizes", sizes)
            .apply("Reshape", &["x", "form"], &["t"])
            .node(Node::new("AffineGrid", &["t", "sizes"], &["y"]).int("align_corners", aligned))
            .bytes(result)
    };
    let of = |name, bytes| case(name, "places-to-product", &["AffineGrid"], bytes);
    check(&[
        of("flat", places(0, &[2, 2, 3], &[2, 3, 4, 5], &[2, 4, 5, 2])),
        of("aligned", places(1, &[1, 2, 3], &[1, 3, 4, 5], &[1, 4, 5, 2])),
        of("spatial", places(1, &[1, 3, 4], &[1, 3, 4, 5, 2], &[1, 4, 5, 2, 3])),
    ]);
}

#[test]
fn windows_as_columns_and_back() {
    let fold = |form: &[i64], lengths: &[i64], kernel: &[i64], node: fn(Node) -> Node, result: &[i64]| {
        Network::new(18, form)
            .integers("lengths", lengths)
            .integers("kernel", kernel)
            .node(node(Node::new("Col2Im", &["x", "lengths", "kernel"], &["y"])))
            .bytes(result)
    };
    let strided = |node: Node| node.ints("strides", &[2, 2]).ints("pads", &[1, 1, 1, 1]);
    let dilated = |node: Node| node.ints("dilations", &[2, 1]);
    let back = |name, bytes| case(name, "columns-to-transposed-convolution", &["Col2Im"], bytes);
    let kernel = |form: &[i64], count: i64, node: fn(Node) -> Node, result: &[i64]| {
        // The kernel is what is left of a mean, as in a network that makes its own kernels.
        let length: i64 = form.iter().product();
        Network::new(13, &IMAGE)
            .weights("w", &[4, length])
            .integers("form", form)
            .integers("data", &[1, 4, 6, 8])
            .weights("shift", &[count])
            .node(Node::new("ReduceMean", &["x"], &["m"]).ints("axes", &[2, 3]).int("keepdims", 0))
            .apply("MatMul", &["m", "w"], &["k"])
            .apply("Reshape", &["k", "form"], &["kernel"])
            .node(node(Node::new("Conv", &["x", "kernel", "shift"], &["y"])))
            .bytes(result)
    };
    let padded = |node: Node| node.ints("pads", &[1, 1, 1, 1]).ints("strides", &[1, 2]);
    let each = |node: Node| node.int("group", 4);
    let grouped = |node: Node| node.int("group", 2).ints("dilations", &[2, 1]);
    let of = |name, bytes| case(name, "computed-kernel-to-product", &[], bytes);
    check(&[
        back("fold", fold(&[1, 18, 16], &[6, 6], &[3, 3], |node| node, &[1, 2, 6, 6])),
        back("fold_strided", fold(&[2, 18, 12], &[7, 6], &[3, 3], strided, &[2, 2, 7, 6])),
        back("fold_dilated", fold(&[1, 12, 20], &[6, 6], &[2, 2], dilated, &[1, 3, 6, 6])),
        of("kernel", kernel(&[5, 4, 3, 3], 5, padded, &[1, 5, 6, 4])),
        of("kernel_of_each", kernel(&[4, 1, 2, 3], 4, each, &[1, 4, 5, 6])),
        of("kernel_of_groups", kernel(&[6, 2, 3, 2], 6, grouped, &[1, 6, 2, 7])),
        of("kernel_of_one", kernel(&[3, 4, 1, 1], 3, |node| node, &[1, 3, 6, 8])),
    ]);
}

#[test]
fn members_of_sequences() {
    let part = |node: Node, lengths: Option<Tensor>, place: i64, result: &[i64]| {
        let network = Network::new(18, &IMAGE).constant(Tensor::integers("place", &[], &[place]));
        let network = lengths.into_iter().fold(network, Network::constant);
        network.node(node).apply("SequenceAt", &["s", "place"], &["y"]).bytes(result)
    };
    let split = |inputs: &[&str], axis: i64| Node::new("SplitToSequence", inputs, &["s"]).int("axis", axis);
    let even = Tensor::integers("lengths", &[], &[5]);
    let given = Tensor::integers("lengths", &[2], &[1, 3]);
    let grown = Network::new(13, &IMAGE)
        .constant(Tensor::integers("first", &[], &[0]))
        .apply("Relu", &["x"], &["a"])
        .apply("SequenceConstruct", &["x", "a"], &["s"])
        .apply("Neg", &["x"], &["b"])
        .apply("SequenceInsert", &["s", "b", "first"], &["t"])
        .apply("SequenceErase", &["t"], &["u"])
        .node(Node::new("ConcatFromSequence", &["u"], &["y"]).int("axis", 1).int("new_axis", 1))
        .bytes(&[1, 2, 4, 6, 8]);
    let gone = &["SequenceAt", "ConcatFromSequence"];
    let of = |name, bytes| case(name, "members-of-sequences", gone, bytes);
    check(&[
        of("single", part(split(&["x"], 1), None, 2, &[1, 1, 6, 8])),
        of("single_flat", part(split(&["x"], -2).int("keepdims", 0), None, -1, &[1, 4, 8])),
        of("even", part(split(&["x", "lengths"], 3), Some(even), 1, &[1, 4, 6, 3])),
        of("given", part(split(&["x", "lengths"], 1), Some(given), 1, &[1, 3, 6, 8])),
        of("grown", grown),
    ]);
}

#[test]
fn normalizations_without_a_layer() {
    let normal = |shape: &[i64], axes: &[i64]| {
        Network::new(13, shape)
            .floats("two", &[], &[2.0])
            .floats("little", &[], &[1e-5])
            .node(Node::new("ReduceMean", &["x"], &["m"]).ints("axes", axes))
            .apply("Sub", &["x", "m"], &["c"])
            .apply("Pow", &["c", "two"], &["s"])
            .node(Node::new("ReduceMean", &["s"], &["v"]).ints("axes", axes))
            .apply("Add", &["v", "little"], &["a"])
            .apply("Sqrt", &["a"], &["d"])
            .apply("Div", &["c", "d"], &["y"])
            .bytes(shape)
    };
    let of = |name, bytes| case(name, "squares-as-products", &["Pow"], bytes);
    check(&[
        of("matrix", normal(&[3, 8], &[-1])),
        of("channels", normal(&IMAGE, &[1])),
        of("deep", normal(&[1, 2, 3, 4, 5], &[4])),
    ]);
    let kept = rewritten(&Model::parse(normal(&IMAGE, &[-1]).into()).unwrap(), &myriad_passes());
    assert_eq!(kept.1.len(), 0, "{:?}", kept.1);
}

#[test]
fn running_sums_of_whole_numbers() {
    let positions = Network::fed(14, INT64, &[1, 12])
        .constant(Tensor::integers("axis", &[], &[1]))
        .apply("CumSum", &["x", "axis"], &["p"])
        .node(Node::new("Cast", &["p"], &["y"]).int("to", FLOAT.into()))
        .bytes(&[1, 12]);
    check(&[case("positions", "cumulative-sum-to-matmul", &["CumSum"], positions)]);
}

#[test]
fn truth_values_that_are_given_out() {
    let given_out = |node: Node| {
        let graph = Graph::new()
            .input("x", FLOAT, &sizes(&IMAGE))
            .initializer(Tensor::floats("half", &[], &[0.5]))
            .initializer(Tensor::floats("zero", &[], &[0.0]))
            .node(Node::new("Greater", &["x", "half"], &["a"]))
            .node(Node::new("Less", &["x", "zero"], &["b"]))
            .node(node)
            .output("y", BOOL, &sizes(&IMAGE));
        builder::Model::new(graph).opset(13).bytes()
    };
    let pass = "truth-given-out-by-comparisons";
    let read_too = Graph::new()
        .input("x", FLOAT, &sizes(&IMAGE))
        .initializer(Tensor::floats("half", &[], &[0.5]))
        .node(Node::new("Greater", &["x", "half"], &["y"]))
        .node(Node::new("Not", &["y"], &["n"]))
        .node(Node::new("Cast", &["n"], &["z"]).int("to", FLOAT.into()))
        .output("y", BOOL, &sizes(&IMAGE))
        .output("z", FLOAT, &sizes(&IMAGE));
    let older = Graph::new()
        .input("x", FLOAT, &sizes(&IMAGE))
        .initializer(Tensor::floats("half", &[], &[0.5]))
        .node(Node::new("Greater", &["x", "half"], &["a"]))
        .node(Node::new("Not", &["a"], &["y"]))
        .output("y", BOOL, &sizes(&IMAGE));
    let older = builder::Model::new(older).opset(8).bytes();
    check(&[
        case("opposite", pass, &[], given_out(Node::new("Not", &["a"], &["y"]))),
        case("either", pass, &[], given_out(Node::new("Or", &["a", "b"], &["y"]))),
        case("both", pass, &[], given_out(Node::new("And", &["a", "b"], &["y"]))),
        case("one", pass, &[], given_out(Node::new("Xor", &["a", "b"], &["y"]))),
        case("read", pass, &[], builder::Model::new(read_too).opset(13).bytes()),
        case("older", pass, &[], older),
    ]);
}

#[test]
fn convolutions_of_volumes() {
    let volume = Network::new(13, &[1, 2, 4, 6, 5])
        .weights("w", &[3, 2, 3, 3, 3])
        .node(Node::new("Conv", &["x", "w"], &["y"]).ints("pads", &[1; 6]))
        .bytes(&[1, 3, 4, 6, 5]);
    check(&[case("volume", "volumes-with-bias", &[], volume)]);
}

#[test]
fn tables_of_another_length() {
    let table = |length: i64| {
        Network::new(13, &[1, 4, length])
            .weights("table", &[1, 4, 7])
            .integers("sizes", &[1, 4, length])
            .node(Node::new("Resize", &["table", "", "", "sizes"], &["a"]).text("mode", "linear"))
            .apply("Add", &["x", "a"], &["y"])
            .bytes(&[1, 4, length])
    };
    let of = |name, length| case(name, "resize-to-matmul", &["Resize"], table(length));
    check(&[of("the same", 7), of("longer", 9), of("shorter", 5)]);
}

#[test]
fn whole_numbers_that_are_given_out_as_they_came() {
    let graph = Graph::new().input("x", INT64, &sizes(&[6])).node(Node::new("Identity", &["x"], &["y"])).output(
        "y",
        INT64,
        &sizes(&[6]),
    );
    let bytes = builder::Model::new(graph).opset(13).bytes();
    check(&[case("passed on", "whole-number-inputs-through-floats", &[], bytes)]);
}

#[test]
fn places_in_double_precision() {
    /// Double precision.
    const DOUBLE: i32 = 11;
    let sampled = |element: i32| {
        let network = Network::new(16, &[1, 2, 5, 5])
            .weights("moves", &[2, 2, 1, 1])
            .apply("Conv", &["x", "moves"], &["a"])
            .node(Node::new("Transpose", &["a"], &["b"]).ints("perm", &[0, 2, 3, 1]))
            .node(Node::new("Cast", &["b"], &["c"]).int("to", element.into()))
            .apply("GridSample", &["x", "c"], &["y"])
            .bytes(&[1, 2, 5, 5]);
        Model::parse(network.into()).unwrap()
    };
    // ONNX Runtime does not sample at them itself.
    let (after, _) = rewritten(&sampled(DOUBLE), &myriad_passes());
    let before = sampled(FLOAT);
    assert_same(&[Pair { name: "places".to_owned(), before, after, sizes: BTreeMap::new(), tolerance: 1e-5 }]);
}

#[test]
fn axes_that_count_from_the_end() {
    let gather = Network::new(13, &IMAGE)
        .node(Node::new("TopK", &["x", "k"], &["v", "places"]).int("axis", -1))
        .integers("k", &[3])
        .node(Node::new("GatherElements", &["x", "places"], &["y"]).int("axis", -1))
        .bytes(&[1, 4, 6, 3]);
    check(&[case("elements", "positive-axis", &[], gather)]);
}

#[test]
fn inputs_that_a_node_does_not_have() {
    let padded = Network::new(13, &[1, 4, 6])
        .integers("pads", &[0, 0, 2, 0, 0, 1])
        .apply("Pad", &["x", "pads", ""], &["y"])
        .bytes(&[1, 4, 9]);
    check(&[case("pads", "without-empty-inputs", &[], padded)]);
}

#[test]
fn more_axes_than_the_compiler_takes() {
    let deep = [1, 2, 3, 4, 5];
    let resized = |mode: &str, result: &[i64]| {
        Network::new(13, &deep)
            .floats("scales", &[5], &[1.0, 1.0, 2.0, 2.0, 2.0])
            .node(Node::new("Resize", &["x", "", "scales"], &["y"]).text("mode", mode))
            .bytes(result)
    };
    let instances = Network::new(13, &deep)
        .weights("scale", &[2])
        .weights("shift", &[2])
        .apply("InstanceNormalization", &["x", "scale", "shift"], &["y"])
        .bytes(&deep);
    let of = |name, pass, gone, bytes| Case { tolerance: 1e-5, ..case(name, pass, gone, bytes) };
    check(&[
        of("linear", "resize-to-matmul", &["Resize"], resized("linear", &[1, 2, 6, 8, 10])),
        of("nearest", "resize-to-matmul", &["Resize"], resized("nearest", &[1, 2, 6, 8, 10])),
        of("instances", "instances-of-two-axes", &[], instances),
    ]);
}

#[test]
fn numbers_in_double_precision() {
    /// Double precision.
    const DOUBLE: i32 = 11;
    const PASS: &str = "double-precision-as-single";
    let doubles = |name: &str, values: &[f64]| {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Tensor::raw(name, DOUBLE, &[values.len() as i64], &raw)
    };
    // What goes in is of one type, and what comes out of another.
    let computed = |fed: i32, given: i32, factors: &[f64]| {
        let graph = Graph::new()
            .input("x", fed, &sizes(&[3, 4]))
            .initializer(doubles("factors", factors))
            .value("a", DOUBLE, &sizes(&[3, 4]))
            .node(Node::new("Cast", &["x"], &["a"]).int("to", DOUBLE.into()))
            .node(Node::new("Constant", &[], &["half"]).tensor("value", &doubles("", &[0.5])))
            .node(Node::new("Mul", &["a", "factors"], &["b"]))
            .node(Node::new("Add", &["b", "half"], &["c"]))
            .node(Node::new("Cast", &["c"], &["y"]).int("to", given.into()))
            .output("y", given, &sizes(&[3, 4]));
        builder::Model::new(graph).opset(13).bytes()
    };
    let thirds = [1.0 / 3.0, -2.0 / 3.0, 4.0 / 3.0, 1e-3];
    check(&[
        case("inside", PASS, &[], computed(FLOAT, FLOAT, &thirds)),
        case("fed", PASS, &[], computed(DOUBLE, FLOAT, &thirds)),
        case("given out", PASS, &[], computed(FLOAT, DOUBLE, &thirds)),
        case("through and through", PASS, &[], computed(DOUBLE, DOUBLE, &thirds)),
    ]);
    let remaining = |bytes: Vec<u8>| {
        let passes = [myriad_passes(), vec![&DeadCode as &dyn Pass]].concat();
        let (after, _) = rewritten(&Model::parse(bytes.into()).unwrap(), &passes);
        let types = modelconverter::onnx::element_types(&after);
        let double = |name: &&str| types[*name].code() == DOUBLE;
        types.keys().copied().filter(double).map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(remaining(computed(FLOAT, FLOAT, &thirds)), [].into());
    assert_eq!(remaining(computed(DOUBLE, DOUBLE, &thirds)), ["x", "y"].map(str::to_owned).into());
    // Single precision has no such number.
    assert!(remaining(computed(FLOAT, FLOAT, &[1e300, 1.0, 1.0, 1.0])).contains("b"));
}
