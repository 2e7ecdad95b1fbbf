//! Networks with the operators and the shapes of chains that exporters write, small.

use crate::builder::{self, BOOL, FLOAT, Graph, INT64, Node, Tensor, UINT8, sizes};
use crate::network::{Network, numbers};

const INT8: i32 = 3;

pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("detector", detector()),
        ("mobile", mobile()),
        ("transformer", transformer()),
        ("diffusion", diffusion()),
        ("recurrent", recurrent()),
        ("quantized", quantized()),
        ("tokens", tokens()),
        ("rows", rows()),
        ("optimized", optimized()),
        ("operators", operators()),
        ("classified", classified()),
        ("placed", placed()),
        ("folded", folded()),
        ("volumes", volumes()),
        ("decided", decided()),
        ("causal", causal()),
        ("turned", turned()),
        ("relative", relative()),
        ("attended", attended()),
        ("assigned", assigned()),
        ("windows", windows()),
        ("masks", masks()),
        ("positions", positions()),
        ("borders", borders()),
        ("pieces", pieces()),
    ]
}

/// Boxes as a distribution over distances, as in a head of YOLOv8 at opset 17.
fn detector() -> Vec<u8> {
    Network::new(17, &[1, 16, 8, 8])
        .weights("w", &[72, 16, 1, 1])
        .weights("bins", &[1, 16, 1, 1])
        .integers("flat", &[1, 72, 64])
        .integers("parts", &[64, 8])
        .integers("apart", &[1, 4, 16, 64])
        .integers("together", &[1, 4, 64])
        .apply("Conv", &["x", "w"], &["a"])
        .apply("Sigmoid", &["a"], &["s"])
        .apply("Mul", &["a", "s"], &["b"])
        .apply("Reshape", &["b", "flat"], &["c"])
        .node(Node::new("Split", &["c", "parts"], &["boxes", "classes"]).int("axis", 1))
        .apply("Reshape", &["boxes", "apart"], &["d"])
        .node(Node::new("Transpose", &["d"], &["e"]).ints("perm", &[0, 2, 1, 3]))
        .node(Node::new("Softmax", &["e"], &["f"]).int("axis", 1))
        .apply("Conv", &["f", "one"], &["g"])
        .weights("one", &[1, 16, 1, 1])
        .apply("Reshape", &["g", "together"], &["h"])
        .apply("Sigmoid", &["classes"], &["i"])
        .node(Node::new("Concat", &["h", "i"], &["y"]).int("axis", 1))
        .bytes(&[1, 12, 64])
}

/// A rotation of two directions that stand behind each other, and nothing behind it, at opset 13.
fn turned() -> Vec<u8> {
    let piece = |network: Network, from: &str, first: &str, last: &str, to: &str| {
        network.apply("Slice", &[from, first, last, "inner"], &[to])
    };
    let network = Network::new(13, &[1, 16, 4, 4])
        .weights("w", &[6, 256])
        .weights("bias", &[6])
        .integers("inner", &[1])
        .integers("zero", &[0])
        .integers("one", &[1])
        .integers("two", &[2])
        .integers("three", &[3])
        .integers("six", &[6])
        .floats("least", &[], &[1e-12])
        .node(Node::new("Flatten", &["x"], &["flat"]).int("axis", 1))
        .node(Node::new("Gemm", &["flat", "w", "bias"], &["a"]).int("transB", 1));
    let network = piece(network, "a", "zero", "three", "b");
    let network = piece(network, "a", "three", "six", "c");
    let network = piece(network, "a", "six", "six", "nothing")
        .node(Node::new("ReduceL2", &["b"], &["d"]).ints("axes", &[-1]))
        .apply("Clip", &["d", "least"], &["e"])
        .apply("Div", &["b", "e"], &["f"])
        .apply("Mul", &["f", "c"], &["g"])
        .apply("ReduceSum", &["g", "inner"], &["h"])
        .apply("Mul", &["h", "f"], &["i"])
        .apply("Sub", &["c", "i"], &["j"]);
    piece(piece(network, "j", "zero", "two", "k"), "j", "two", "three", "l")
        .node(Node::new("Concat", &["nothing", "l", "k", "f"], &["y"]).int("axis", 1))
        .bytes(&[1, 6])
}

/// Attention with a table of relative places that is fitted to the picture, as in SAM, at opset 17.
fn relative() -> Vec<u8> {
    let distances: Vec<i64> = (0..4).flat_map(|row| (0..4).map(move |column| row - column + 3)).collect();
    Network::new(17, &[1, 4, 4, 16])
        .weights("table", &[1, 16, 5])
        .integers("sizes", &[1, 16, 7])
        .integers("flat", &[16, -1])
        .constant(Tensor::integers("distances", &[4, 4], &distances))
        .node(Node::new("Resize", &["table", "", "", "sizes"], &["a"]).text("mode", "linear"))
        .apply("Reshape", &["a", "flat"], &["b"])
        .node(Node::new("Transpose", &["b"], &["c"]).ints("perm", &[1, 0]))
        .apply("Gather", &["c", "distances"], &["d"])
        .node(Node::new("Einsum", &["x", "d"], &["e"]).text("equation", "bhwc,hkc->bhwk"))
        .node(Node::new("Softmax", &["e"], &["y"]).int("axis", -1))
        .bytes(&[1, 4, 4, 4])
}

/// A convolution that is normalized over its channels, as in NAFNet and in the neck of SAM, and attention to places by
/// the mean and the greatest of the channels, as in CBAM, at opset 11.
fn attended() -> Vec<u8> {
    let over = |operator: &str, from: &str, to: &str| Node::new(operator, &[from], &[to]).ints("axes", &[1]);
    Network::new(11, &[1, 4, 64, 64])
        .weights("w", &[16, 4, 3, 3])
        .weights("v", &[16, 16, 3, 3])
        .weights("u", &[1, 2, 7, 7])
        .floats("least", &[], &[1e-6])
        .node(Node::new("Conv", &["x", "w"], &["a"]).ints("pads", &[1, 1, 1, 1]))
        .node(over("ReduceMean", "a", "b"))
        .apply("Sub", &["a", "b"], &["c"])
        .apply("Mul", &["c", "c"], &["d"])
        .node(over("ReduceMean", "d", "e"))
        .apply("Add", &["e", "least"], &["f"])
        .apply("Sqrt", &["f"], &["g"])
        .apply("Div", &["c", "g"], &["h"])
        .node(Node::new("Conv", &["h", "v"], &["i"]).ints("pads", &[1, 1, 1, 1]))
        .apply("Relu", &["i"], &["j"])
        .node(over("ReduceMean", "j", "k"))
        .node(over("ReduceMax", "j", "l"))
        .node(Node::new("Concat", &["k", "l"], &["m"]).int("axis", 1))
        .node(Node::new("Conv", &["m", "u"], &["n"]).ints("pads", &[3, 3, 3, 3]))
        .apply("Sigmoid", &["n"], &["o"])
        .apply("Mul", &["j", "o"], &["y"])
        .bytes(&[1, 16, 64, 64])
}

/// Boxes that are scaled in their place, as in a head of YOLOv5: `y[.., 0..2] = ..`, at opset 13.
fn assigned() -> Vec<u8> {
    let sizes = [1, 3, 80, 80, 2];
    let places = |axis: usize| {
        let dims: Vec<i64> = (0..5).map(|other| if other == axis { sizes[axis] } else { 1 }).collect();
        Tensor::integers(&format!("along_{axis}"), &dims, &(0..sizes[axis]).collect::<Vec<_>>())
    };
    let network = Network::new(13, &[1, 3, 80, 80, 7])
        .integers("grid", &sizes)
        .integers("last", &[-1])
        .integers("first", &[0])
        .integers("two", &[2])
        .weights("offsets", &sizes)
        .apply("Sigmoid", &["x"], &["a"])
        .apply("Slice", &["a", "first", "two", "last"], &["b"])
        .apply("Add", &["b", "offsets"], &["c"]);
    let network = (0..5).fold(network, |network, axis| {
        let (from, repeated, to) = (format!("along_{axis}"), format!("repeated_{axis}"), format!("column_{axis}"));
        let network = network.constant(places(axis)).apply("Expand", &[&from, "grid"], &[&repeated]);
        network.apply("Unsqueeze", &[&repeated, "last"], &[&to])
    });
    let columns = ["column_0", "column_1", "column_2", "column_3", "column_4"];
    network
        .node(Node::new("Concat", &columns, &["d"]).int("axis", -1))
        .apply("ScatterND", &["a", "d", "c"], &["y"])
        .bytes(&[1, 3, 80, 80, 7])
}

/// Many windows of tokens through a layer, and their heads mixed, as in Swin and CaiT, at opset 13.
fn windows() -> Vec<u8> {
    Network::new(13, &[196, 49, 16])
        .weights("w", &[16, 16])
        .weights("v", &[4, 4])
        .integers("heads", &[196, 49, 4, 4])
        .apply("MatMul", &["x", "w"], &["a"])
        .apply("Reshape", &["a", "heads"], &["b"])
        .apply("MatMul", &["b", "v"], &["y"])
        .bytes(&[196, 49, 4, 4])
}

/// A block of MobileNetV3 at opset 18.
fn mobile() -> Vec<u8> {
    Network::new(18, &[1, 8, 12, 12])
        .weights("w", &[16, 8, 1, 1])
        .weights("d", &[16, 1, 3, 3])
        .weights("q", &[4, 16, 1, 1])
        .weights("r", &[16, 4, 1, 1])
        .weights("p", &[8, 16, 1, 1])
        .integers("space", &[2, 3])
        .apply("Conv", &["x", "w"], &["a"])
        .apply("HardSwish", &["a"], &["b"])
        .node(Node::new("Conv", &["b", "d"], &["c"]).ints("pads", &[1, 1, 1, 1]).int("group", 16))
        .apply("ReduceMean", &["c", "space"], &["m"])
        .apply("Conv", &["m", "q"], &["n"])
        .apply("Relu", &["n"], &["o"])
        .apply("Conv", &["o", "r"], &["s"])
        .apply("HardSigmoid", &["s"], &["t"])
        .apply("Mul", &["c", "t"], &["u"])
        .apply("Conv", &["u", "p"], &["v"])
        .apply("Mish", &["v"], &["z"])
        .apply("Add", &["x", "z"], &["y"])
        .bytes(&[1, 8, 12, 12])
}

/// A block of a vision transformer at opset 20.
fn transformer() -> Vec<u8> {
    Network::new(20, &[1, 10, 16])
        .weights("scale", &[16])
        .weights("shift", &[16])
        .weights("wq", &[16, 16])
        .weights("wk", &[16, 16])
        .weights("wv", &[16, 16])
        .weights("w1", &[16, 32])
        .weights("w2", &[32, 16])
        .floats("root", &[], &[0.35])
        .integers("heads", &[1, 10, 2, 8])
        .integers("joined", &[1, 10, 16])
        .node(Node::new("LayerNormalization", &["x", "scale", "shift"], &["n"]).int("axis", -1))
        .apply("MatMul", &["n", "wq"], &["q0"])
        .apply("MatMul", &["n", "wk"], &["k0"])
        .apply("MatMul", &["n", "wv"], &["v0"])
        .apply("Reshape", &["q0", "heads"], &["q"])
        .apply("Reshape", &["k0", "heads"], &["k"])
        .apply("Reshape", &["v0", "heads"], &["v"])
        .node(Node::new("Einsum", &["q", "k"], &["s"]).text("equation", "bqhd,bkhd->bhqk"))
        .apply("Mul", &["s", "root"], &["t"])
        .node(Node::new("Trilu", &["t"], &["u"]).int("upper", 0))
        .node(Node::new("Softmax", &["u"], &["p"]).int("axis", -1))
        .node(Node::new("Einsum", &["p", "v"], &["o"]).text("equation", "bhqk,bkhd->bqhd"))
        .apply("Reshape", &["o", "joined"], &["j"])
        .apply("Add", &["x", "j"], &["r"])
        .apply("MatMul", &["r", "w1"], &["f"])
        .apply("Gelu", &["f"], &["g"])
        .apply("MatMul", &["g", "w2"], &["h"])
        .apply("Add", &["r", "h"], &["y"])
        .bytes(&[1, 10, 16])
}

/// Groups of channels, newer forms of resizing and padding, at opset 21.
fn diffusion() -> Vec<u8> {
    Network::new(21, &[1, 8, 6, 6])
        .weights("scale", &[8])
        .weights("shift", &[8])
        .weights("w", &[8, 8, 3, 3])
        .integers("space", &[2, 3])
        .integers("pads", &[1, 1, 1, 1])
        .floats("twice", &[2], &[2.0, 2.0])
        .node(Node::new("GroupNormalization", &["x", "scale", "shift"], &["a"]).int("num_groups", 4))
        .apply("Sigmoid", &["a"], &["s"])
        .apply("Mul", &["a", "s"], &["b"])
        .apply("Pad", &["b", "pads", "", "space"], &["c"])
        .apply("Conv", &["c", "w"], &["d"])
        .node(
            Node::new("Resize", &["d", "", "twice"], &["e"])
                .ints("axes", &[2, 3])
                .text("coordinate_transformation_mode", "asymmetric")
                .text("nearest_mode", "floor"),
        )
        .node(Node::new("Split", &["e"], &["f", "g"]).int("axis", 1).int("num_outputs", 2))
        .node(Node::new("Concat", &["g", "f"], &["y"]).int("axis", 1))
        .bytes(&[1, 8, 12, 12])
}

/// A network for text with a recurrent layer of both directions, at opset 14.
fn recurrent() -> Vec<u8> {
    Network::new(14, &[12, 1, 10])
        .weights("w", &[2, 24, 10])
        .weights("r", &[2, 24, 6])
        .weights("b", &[2, 48])
        .weights("gw", &[1, 18, 12])
        .weights("gr", &[1, 18, 6])
        .weights("gb", &[1, 36])
        .weights("p", &[6, 7])
        .integers("joined", &[12, 1, 12])
        .integers("one", &[1])
        .node(Node::new("LSTM", &["x", "w", "r", "b"], &["a"]).int("hidden_size", 6).text("direction", "bidirectional"))
        .node(Node::new("Transpose", &["a"], &["c"]).ints("perm", &[0, 2, 1, 3]))
        .apply("Reshape", &["c", "joined"], &["d"])
        .node(Node::new("GRU", &["d", "gw", "gr", "gb"], &["e"]).int("hidden_size", 6).int("linear_before_reset", 1))
        .apply("Squeeze", &["e", "one"], &["f"])
        .apply("MatMul", &["f", "p"], &["y"])
        .bytes(&[12, 1, 7])
}

/// A block of a residual network between quantization and dequantization.
fn quantized() -> Vec<u8> {
    let weights: Vec<u8> = numbers(8 * 8 * 9).into_iter().map(|number| (number * 127.0) as i8 as u8).collect();
    Network::new(13, &[1, 8, 10, 10])
        .constant(Tensor::raw("w", INT8, &[8, 8, 3, 3], &weights))
        .floats("ws", &[8], &[0.002, 0.001, 0.003, 0.002, 0.001, 0.002, 0.003, 0.001])
        .constant(Tensor::raw("wz", INT8, &[8], &[0; 8]))
        .floats("xs", &[], &[0.04])
        .constant(Tensor::raw("xz", UINT8, &[], &[128]))
        .floats("ys", &[], &[0.02])
        .constant(Tensor::raw("yz", UINT8, &[], &[0]))
        .apply("QuantizeLinear", &["x", "xs", "xz"], &["a"])
        .apply("DequantizeLinear", &["a", "xs", "xz"], &["b"])
        .node(Node::new("DequantizeLinear", &["w", "ws", "wz"], &["k"]).int("axis", 0))
        .node(Node::new("Conv", &["b", "k"], &["c"]).ints("pads", &[1, 1, 1, 1]))
        .apply("QuantizeLinear", &["c", "ys", "yz"], &["d"])
        .apply("DequantizeLinear", &["d", "ys", "yz"], &["e"])
        .apply("Add", &["b", "e"], &["y"])
        .bytes(&[1, 8, 10, 10])
}

/// Tokens that are looked up in two tables, one of them by comparison as JAX writes it, and a mask of them.
fn tokens() -> Vec<u8> {
    let columns: Vec<i64> = (0..8).collect();
    Network::fed(14, INT64, &[1, 12])
        .weights("table", &[30_000, 16])
        .weights("kinds", &[8, 16])
        .constant(Tensor::integers("columns", &[1, 1, 8], &columns))
        .integers("flat", &[12])
        .integers("apart", &[1, 12, 1])
        .integers("repeated", &[1, 12, 8])
        .integers("first", &[0])
        .integers("inner", &[1, 2])
        .integers("none", &[0])
        .integers("square", &[1, 1, 12, 12])
        .floats("much", &[], &[-50.0])
        .apply("Reshape", &["x", "flat"], &["a"])
        .apply("Gather", &["table", "a"], &["b"])
        .apply("Unsqueeze", &["b", "first"], &["c"])
        .apply("Reshape", &["x", "apart"], &["d"])
        .apply("Expand", &["d", "repeated"], &["e"])
        .apply("Equal", &["e", "columns"], &["f"])
        .node(Node::new("Cast", &["f"], &["g"]).int("to", FLOAT.into()))
        .apply("MatMul", &["g", "kinds"], &["h"])
        .apply("Add", &["c", "h"], &["i"])
        .node(Node::new("Transpose", &["i"], &["j"]).ints("perm", &[0, 2, 1]))
        .apply("MatMul", &["i", "j"], &["k"])
        .apply("Unsqueeze", &["x", "inner"], &["m"])
        .apply("Greater", &["m", "none"], &["n"])
        .apply("Expand", &["n", "square"], &["o"])
        .apply("Not", &["o"], &["p"])
        .node(Node::new("Cast", &["p"], &["q"]).int("to", FLOAT.into()))
        .apply("Mul", &["q", "much"], &["r"])
        .apply("Add", &["k", "r"], &["s"])
        .node(Node::new("Softmax", &["s"], &["y"]).int("axis", -1))
        .bytes(&[1, 1, 12, 12])
}

/// A product of so many rows that the compiler would not come to an end with it.
fn rows() -> Vec<u8> {
    Network::new(13, &[1, 2048, 257])
        .weights("w", &[257, 64])
        .apply("MatMul", &["x", "w"], &["y"])
        .bytes(&[1, 2048, 64])
}

/// A block of a transformer as the optimizer of ONNX Runtime leaves it.
fn optimized() -> Vec<u8> {
    let own = |operator: &str, inputs: &[&str], outputs: &[&str]| {
        Node::new(operator, inputs, outputs).domain("com.microsoft")
    };
    Network::new(17, &[1, 10, 16])
        .domain("com.microsoft")
        .weights("scale", &[16])
        .weights("shift", &[16])
        .weights("w", &[16, 16])
        .weights("bias", &[32])
        .weights("w1", &[16, 32])
        .weights("w2", &[32, 16])
        .node(Node::new("LayerNormalization", &["x", "scale", "shift"], &["n"]).int("axis", -1))
        .apply("MatMul", &["n", "w"], &["k"])
        .node(own("FusedMatMul", &["n", "k"], &["s"]).int("transB", 1).float("alpha", 0.25))
        .node(Node::new("Softmax", &["s"], &["p"]).int("axis", -1))
        .apply("MatMul", &["p", "n"], &["o"])
        .node(own("SkipLayerNormalization", &["o", "x", "scale", "shift"], &["a", "", "", "sum"]))
        .apply("MatMul", &["a", "w1"], &["f"])
        .node(own("BiasGelu", &["f", "bias"], &["g"]))
        .apply("MatMul", &["g", "w2"], &["h"])
        .apply("Add", &["sum", "h"], &["i"])
        .node(own("QuickGelu", &["i"], &["y"]))
        .bytes(&[1, 10, 16])
}

/// Operators that few networks have.
fn operators() -> Vec<u8> {
    Network::new(13, &[1, 4, 6])
        .floats("divisor", &[], &[0.7])
        .floats("values", &[2], &[0.0, 1.0])
        .constant(Tensor::integers("depth", &[], &[4]))
        .constant(Tensor::integers("two", &[], &[2]))
        .node(Node::new("Mod", &["x", "divisor"], &["a"]).int("fmod", 1))
        .apply("IsNaN", &["x"], &["b"])
        .apply("IsInf", &["x"], &["c"])
        .apply("Or", &["b", "c"], &["d"])
        .apply("Where", &["d", "divisor", "a"], &["e"])
        .node(Node::new("ArgMax", &["x"], &["f"]).int("axis", 1).int("keepdims", 0).int("select_last_index", 1))
        .apply("Sub", &["f", "two"], &["g"])
        .node(Node::new("OneHot", &["g", "depth", "values"], &["h"]).int("axis", 1))
        .apply("Add", &["e", "h"], &["y"])
        .bytes(&[1, 4, 6])
}

/// Head and tail of a vision transformer at opset 11: a token that is learned, and the normalization of what it became.
fn classified() -> Vec<u8> {
    Network::new(11, &[1, 4, 8, 8])
        .weights("patches", &[16, 4, 4, 4])
        .weights("token", &[1, 1, 16])
        .weights("positions", &[1, 5, 16])
        .weights("scale", &[16])
        .weights("classes", &[16, 7])
        .integers("flat", &[1, 16, 4])
        .constant(Tensor::integers("first", &[], &[0]))
        .floats("two", &[], &[2.0])
        .floats("little", &[], &[1e-5])
        .node(Node::new("Conv", &["x", "patches"], &["a"]).ints("strides", &[4, 4]))
        .apply("Reshape", &["a", "flat"], &["b"])
        .node(Node::new("Transpose", &["b"], &["c"]).ints("perm", &[0, 2, 1]))
        .node(Node::new("Concat", &["token", "c"], &["d"]).int("axis", 1))
        .apply("Add", &["d", "positions"], &["e"])
        .node(Node::new("Gather", &["e", "first"], &["f"]).int("axis", 1))
        .node(Node::new("ReduceMean", &["f"], &["mean"]).ints("axes", &[-1]))
        .apply("Sub", &["f", "mean"], &["g"])
        .apply("Pow", &["g", "two"], &["h"])
        .node(Node::new("ReduceMean", &["h"], &["i"]).ints("axes", &[-1]))
        .apply("Add", &["i", "little"], &["j"])
        .apply("Sqrt", &["j"], &["k"])
        .apply("Div", &["g", "k"], &["l"])
        .apply("Mul", &["l", "scale"], &["m"])
        .apply("MatMul", &["m", "classes"], &["y"])
        .bytes(&[1, 7])
}

/// Features sampled at computed places and turned by computed angles, at opset 16.
fn placed() -> Vec<u8> {
    Network::new(16, &[1, 8, 6, 6])
        .weights("moves", &[2, 8, 1, 1])
        .weights("turns", &[1, 8, 1, 1])
        .apply("Conv", &["x", "moves"], &["a"])
        .apply("Tanh", &["a"], &["b"])
        .node(Node::new("Transpose", &["b"], &["places"]).ints("perm", &[0, 2, 3, 1]))
        .node(Node::new("GridSample", &["x", "places"], &["c"]).text("mode", "bilinear").int("align_corners", 0))
        .apply("Conv", &["c", "turns"], &["angle"])
        .apply("Cos", &["angle"], &["cosine"])
        .apply("Sin", &["angle"], &["sine"])
        .apply("Mul", &["c", "cosine"], &["d"])
        .apply("Mul", &["c", "sine"], &["e"])
        .node(Node::new("Concat", &["d", "e"], &["y"]).int("axis", 1))
        .bytes(&[1, 16, 6, 6])
}

/// A picture put together of columns, filtered with a computed kernel, and one part of what becomes of it, at opset 18.
fn folded() -> Vec<u8> {
    Network::new(18, &[1, 8, 6, 6])
        .weights("w", &[18, 8, 1, 1])
        .integers("flat", &[1, 18, 36])
        .integers("lengths", &[6, 6])
        .integers("window", &[3, 3])
        .integers("form", &[4, 2, 1, 1])
        .constant(Tensor::integers("two", &[], &[2]))
        .constant(Tensor::integers("one", &[], &[1]))
        .apply("Conv", &["x", "w"], &["a"])
        .apply("Reshape", &["a", "flat"], &["b"])
        .node(Node::new("Col2Im", &["b", "lengths", "window"], &["c"]).ints("pads", &[1, 1, 1, 1]))
        .apply("GlobalAveragePool", &["x"], &["d"])
        .apply("Reshape", &["d", "form"], &["kernel"])
        .apply("Conv", &["c", "kernel"], &["e"])
        .node(Node::new("SplitToSequence", &["e", "two"], &["parts"]).int("axis", 1))
        .apply("SequenceAt", &["parts", "one"], &["y"])
        .bytes(&[1, 2, 6, 6])
}

/// A convolution of volumes without a bias, as in networks for video, at opset 13.
fn volumes() -> Vec<u8> {
    Network::new(13, &[1, 2, 4, 8, 8])
        .weights("w", &[4, 2, 3, 3, 3])
        .node(Node::new("Conv", &["x", "w"], &["a"]).ints("pads", &[1; 6]))
        .apply("Relu", &["a"], &["y"])
        .bytes(&[1, 4, 4, 8, 8])
}

/// A causal convolution that is padded by a node with an input that it does not have, at opset 13.
fn causal() -> Vec<u8> {
    Network::new(13, &[1, 4, 12])
        .weights("w", &[4, 4, 3])
        .integers("pads", &[0, 0, 2, 0, 0, 0])
        .apply("Pad", &["x", "pads", ""], &["a"])
        .apply("Conv", &["a", "w"], &["y"])
        .bytes(&[1, 4, 12])
}

/// A network that gives out truth values, at opset 13.
fn decided() -> Vec<u8> {
    let image = sizes(&[1, 4, 4, 5]);
    let graph = Graph::new()
        .input("x", FLOAT, &image)
        .initializer(Tensor::floats("half", &[], &[0.5]))
        .initializer(Tensor::floats("zero", &[], &[0.0]))
        .node(Node::new("Greater", &["x", "half"], &["a"]))
        .node(Node::new("Less", &["x", "zero"], &["b"]))
        .node(Node::new("Or", &["a", "b"], &["y"]))
        .output("y", BOOL, &image);
    builder::Model::new(graph).opset(13).bytes()
}

/// Masks that queries draw from what one convolution yields, again and again, and its softmax, at opset 13.
fn masks() -> Vec<u8> {
    let draw = |network: Network, query: &str, [flat, mask, next]: [&str; 3]| {
        network.apply("Reshape", &["b", "flat"], &[flat]).apply("MatMul", &[query, flat], &[mask]).apply(
            "MatMul",
            &[mask, "values"],
            &[next],
        )
    };
    let network = Network::new(13, &[1, 4, 16, 16])
        .weights("w", &[32, 4, 3, 3])
        .weights("v", &[32, 32, 1, 1])
        .weights("queries", &[1, 10, 32])
        .weights("values", &[1, 256, 32])
        .integers("flat", &[1, 32, 256])
        .integers("places", &[1, 10, 16, 16])
        .node(Node::new("Conv", &["x", "w"], &["a"]).ints("pads", &[1; 4]))
        .apply("Conv", &["a", "v"], &["b"]);
    let network = draw(network, "queries", ["c", "d", "e"]);
    draw(network, "e", ["f", "g", "h"])
        .node(Node::new("Softmax", &["b"], &["i"]).int("axis", 1))
        .apply("Reshape", &["g", "places"], &["j"])
        .node(Node::new("Concat", &["i", "j"], &["y"]).int("axis", 1))
        .bytes(&[1, 42, 16, 16])
}

/// A table of positions that small layers make of constants, larger inside than its constants, at opset 13.
fn positions() -> Vec<u8> {
    Network::new(13, &[1, 4, 26, 26])
        .weights("places", &[676, 2])
        .weights("wide", &[2, 512])
        .weights("bias", &[512])
        .weights("narrow", &[512, 4])
        .integers("shape", &[1, 4, 26, 26])
        .apply("Gemm", &["places", "wide", "bias"], &["a"])
        .apply("Relu", &["a"], &["b"])
        .apply("MatMul", &["b", "narrow"], &["c"])
        .node(Node::new("Transpose", &["c"], &["d"]).ints("perm", &[1, 0]))
        .apply("Reshape", &["d", "shape"], &["e"])
        .apply("Add", &["x", "e"], &["y"])
        .bytes(&[1, 4, 26, 26])
}

/// Borders of zeros before poolings of values below zero, at opset 13.
fn borders() -> Vec<u8> {
    let pool = |operator: &str, result: &str| {
        Node::new(operator, &["b"], &[result]).ints("kernel_shape", &[3, 3]).ints("strides", &[2, 2])
    };
    Network::new(13, &[1, 4, 8, 12])
        .floats("above", &[], &[3.0])
        .integers("pads", &[0, 0, 1, 1, 0, 0, 1, 1])
        .apply("Sub", &["x", "above"], &["a"])
        .apply("Pad", &["a", "pads"], &["b"])
        .node(pool("MaxPool", "c"))
        .node(pool("AveragePool", "d"))
        .node(Node::new("Concat", &["c", "d"], &["y"]).int("axis", 1))
        .bytes(&[1, 8, 4, 6])
}

/// A pooled piece of one channel, a length over channels behind a normalization, and channels as places behind a
/// convolution that has a softmax too, at opset 13.
fn pieces() -> Vec<u8> {
    Network::new(13, &[1, 4, 8, 12])
        .weights("w", &[4, 4, 3, 3])
        .integers("lengths", &[3, 1])
        .floats("one", &[], &[1.0])
        .weights("shift", &[12])
        .node(Node::new("Split", &["x", "lengths"], &["a", "b"]).int("axis", 1))
        .node(Node::new("AveragePool", &["b"], &["c"]).ints("kernel_shape", &[3, 3]).ints("pads", &[1; 4]))
        .node(Node::new("ReduceMean", &["a"], &["d"]).ints("axes", &[-1]))
        .apply("Abs", &["d"], &["e"])
        .apply("Add", &["e", "one"], &["f"])
        .apply("Div", &["a", "f"], &["g"])
        .apply("Add", &["g", "shift"], &["h"])
        .node(Node::new("ReduceL2", &["h"], &["i"]).ints("axes", &[1]))
        .node(Node::new("Conv", &["x", "w"], &["j"]).ints("pads", &[1; 4]))
        .node(Node::new("Softmax", &["j"], &["k"]).int("axis", 1))
        .node(Node::new("DepthToSpace", &["j"], &["l"]).int("blocksize", 2).text("mode", "CRD"))
        .node(Node::new("ReduceMax", &["l"], &["m"]).ints("axes", &[2]))
        .node(Node::new("ReduceMean", &["m"], &["n"]).ints("axes", &[3]))
        .node(Node::new("Concat", &["c", "i", "k"], &["o"]).int("axis", 1))
        .apply("Add", &["o", "n"], &["y"])
        .bytes(&[1, 6, 8, 12])
}
