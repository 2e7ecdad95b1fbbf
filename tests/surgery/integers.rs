//! Products of integers and moves of quantized values, before and after they are computed with numbers.

use crate::builder::{self, FLOAT, Node, Tensor, UINT8};
use crate::lowering::{Case, case, check};
use crate::network::{Network, numbers};

const INT8: i32 = 3;
const INT32: i32 = 6;
const IMAGE: [i64; 4] = [1, 4, 6, 8];

fn integers(name: &str, dims: &[i64]) -> Tensor {
    let count = dims.iter().product();
    let bytes: Vec<u8> = numbers(count).into_iter().map(|number| (number * 127.0) as i8 as u8).collect();
    Tensor::raw(name, INT8, dims, &bytes)
}

#[test]
fn products_of_integers() {
    // Dynamic quantization with a zero point for each column, or for each kernel.
    let columns = Network::new(13, &IMAGE)
        .constant(integers("w", &[8, 5]))
        .constant(integers("z", &[5]))
        .apply("DynamicQuantizeLinear", &["x"], &["q", "s", "qz"])
        .apply("MatMulInteger", &["q", "w", "qz", "z"], &["i"])
        .node(Node::new("Cast", &["i"], &["f"]).int("to", FLOAT.into()))
        .apply("Mul", &["f", "s"], &["y"])
        .bytes(&[1, 4, 6, 5]);
    let kernels = Network::new(13, &IMAGE)
        .constant(integers("w", &[3, 4, 3, 3]))
        .constant(Tensor::raw("z", INT8, &[], &[9]))
        .apply("DynamicQuantizeLinear", &["x"], &["q", "s", "qz"])
        .node(Node::new("ConvInteger", &["q", "w", "qz", "z"], &["i"]).ints("pads", &[1, 1, 1, 1]))
        .node(Node::new("Cast", &["i"], &["f"]).int("to", FLOAT.into()))
        .apply("Mul", &["f", "s"], &["y"])
        .bytes(&[1, 3, 6, 8]);
    let to_floats = |network: Network| network.node(Node::new("Cast", &["i"], &["y"]).int("to", FLOAT.into()));
    let fed = |shape: &[i64]| Network::fed(13, UINT8, shape).constant(Tensor::raw("xz", UINT8, &[], &[2]));
    let product = fed(&[3, 8]).constant(integers("w", &[8, 5])).constant(integers("z", &[5])).apply(
        "MatMulInteger",
        &["x", "w", "xz", "z"],
        &["i"],
    );
    let convolution = fed(&[1, 2, 6, 5])
        .constant(integers("w", &[4, 1, 3, 3]))
        .constant(Tensor::raw("z", INT8, &[], &[3]))
        .node(Node::new("ConvInteger", &["x", "w", "xz", "z"], &["i"]).ints("pads", &[1, 1, 0, 0]).int("group", 2));
    let rows = Network::fed(13, builder::INT64, &[2, 3])
        .constant(integers("table", &[4, 8]))
        .constant(Tensor::raw("tz", INT8, &[], &[5]))
        .constant(integers("w", &[8, 5]))
        .apply("Gather", &["table", "x"], &["r"])
        .apply("MatMulInteger", &["r", "w", "tz"], &["i"]);
    let left = fed(&[8, 3]).constant(integers("w", &[5, 8])).constant(Tensor::raw("z", INT8, &[], &[3])).apply(
        "MatMulInteger",
        &["w", "x", "z", "xz"],
        &["i"],
    );
    let quantized = Network::new(13, &[3, 8])
        .floats("xs", &[], &[0.5])
        .constant(Tensor::raw("xz", UINT8, &[], &[100]))
        .constant(integers("w", &[8, 5]))
        // Values that the quantization does not round.
        .apply("Floor", &["x"], &["whole"])
        .apply("QuantizeLinear", &["whole", "xs", "xz"], &["q"])
        .apply("MatMulInteger", &["q", "w", "xz"], &["i"]);
    let gone = &["DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QuantizeLinear", "DequantizeLinear"];
    let near = |name, bytes| Case { tolerance: 0.02, ..case(name, "dynamic-quantization-to-numbers", gone, bytes) };
    let same = |name, bytes| Case { tolerance: 0.0, ..case(name, "products-of-integers-to-numbers", gone, bytes) };
    check(&[
        near("columns", columns),
        near("kernels", kernels),
        same("product", to_floats(product).bytes(&[3, 5])),
        same("convolution", to_floats(convolution).bytes(&[1, 4, 5, 4])),
        same("rows", to_floats(rows).bytes(&[2, 3, 5])),
        same("left", to_floats(left).bytes(&[5, 3])),
        same("quantized", to_floats(quantized).bytes(&[3, 5])),
    ]);
}

#[test]
fn moves_of_quantized_values() {
    // Halves stay what they are with this scale, so that nothing is rounded.
    let moved = |nodes: Vec<Node>, result: &[i64]| {
        let network = Network::new(13, &IMAGE)
            .floats("s", &[], &[0.5])
            .constant(Tensor::raw("z", UINT8, &[], &[100]))
            .constant(Tensor::raw("c", builder::BOOL, &[8], &[1, 0, 0, 1, 1, 0, 1, 0]))
            .constant(Tensor::raw("seven", UINT8, &[], &[7]))
            .integers("pads", &[0, 0, 1, 2, 0, 0, 0, 1])
            .integers("parts", &[1, 3])
            .floats("factors", &[4], &[1.0, 1.0, 2.0, 3.0])
            .apply("Floor", &["x"], &["whole"])
            .apply("QuantizeLinear", &["whole", "s", "z"], &["q"]);
        let network = nodes.into_iter().fold(network, Network::node);
        network.apply("DequantizeLinear", &["m", "s", "z"], &["y"]).bytes(result)
    };
    let gone = &["QuantizeLinear", "DequantizeLinear"];
    let of = |name, nodes, result: &[i64]| Case {
        tolerance: 0.0,
        ..case(name, "quantized-movements-to-numbers", gone, moved(nodes, result))
    };
    let pad = |inputs: &[&str]| vec![Node::new("Pad", inputs, &["m"])];
    let chosen = [
        Node::new("Neg", &["whole"], &["turned"]),
        Node::new("QuantizeLinear", &["turned", "s", "z"], &["p"]),
        Node::new("Where", &["c", "q", "p"], &["m"]),
    ];
    let nearest = Node::new("Resize", &["q", "", "factors"], &["m"])
        .text("coordinate_transformation_mode", "asymmetric")
        .text("nearest_mode", "floor");
    check(&[
        of("split", vec![Node::new("Split", &["q", "parts"], &["n", "m"]).int("axis", 1)], &[1, 3, 6, 8]),
        of("where", chosen.to_vec(), &IMAGE),
        of("pad", pad(&["q", "pads"]), &[1, 4, 7, 11]),
        of("pad_with", pad(&["q", "pads", "seven"]), &[1, 4, 7, 11]),
        of("resize", vec![nearest], &[1, 4, 12, 24]),
    ]);
}

#[test]
fn powers_and_limits_of_whole_numbers() {
    let network = |operator: &str, inputs: &[&str]| {
        Network::fed(13, builder::INT64, &[4, 6])
            .constant(Tensor::integers("two", &[], &[2]))
            .floats("three", &[1], &[3.0])
            .apply("Sub", &["x", "two"], &["a"])
            .apply(operator, inputs, &["b"])
            .node(Node::new("Cast", &["b"], &["y"]).int("to", FLOAT.into()))
            .bytes(&[4, 6])
    };
    let limited = Network::new(14, &[4, 6])
        .node(Node::new("Cast", &["x"], &["a"]).int("to", INT32.into()))
        .apply("Relu", &["a"], &["b"])
        .node(Node::new("Cast", &["b"], &["y"]).int("to", FLOAT.into()))
        .bytes(&[4, 6]);
    check(&[
        case("square", "powers-of-whole-numbers", &["Pow"], network("Pow", &["a", "two"])),
        case("cube", "powers-of-whole-numbers", &["Pow"], network("Pow", &["a", "three"])),
        case("limited", "whole-numbers-through-floats", &[], limited),
    ]);
}

/// Networks that end with integers, which are rounded as they were.
#[test]
fn integers_that_are_given_out() {
    let quantized = |network: Network| {
        network
            .floats("s", &[], &[0.02])
            .constant(Tensor::raw("z", UINT8, &[], &[128]))
            .floats("ss", &[4], &[0.01, 0.02, 0.03, 0.04])
            .constant(Tensor::raw("zs", INT8, &[4], &[0, 3, 0xfd, 1]))
    };
    let image = || quantized(Network::new(13, &IMAGE));
    let whole = image().apply("QuantizeLinear", &["x", "s", "z"], &["y"]);
    let channels = image().node(Node::new("QuantizeLinear", &["x", "ss", "zs"], &["y"]).int("axis", 1));
    // Read as numbers, and given out as integers.
    let both = image()
        .apply("QuantizeLinear", &["x", "s", "z"], &["y"])
        .apply("DequantizeLinear", &["y", "s", "z"], &["numbers"])
        .apply("Relu", &["numbers"], &["rest"]);
    let converted = image()
        .apply("QuantizeLinear", &["x", "s", "z"], &["q"])
        .node(Node::new("Cast", &["q"], &["y"]).int("to", FLOAT.into()));
    let fed = quantized(Network::fed(13, UINT8, &[3, 4]))
        .floats("m", &[], &[0.5])
        .constant(integers("w", &[4, 5]))
        .constant(Tensor::raw("wz", INT8, &[], &[2]))
        .apply("QLinearMatMul", &["x", "s", "z", "w", "s", "wz", "m", "z"], &["y"]);
    let moved = image()
        .apply("QuantizeLinear", &["x", "s", "z"], &["q"])
        .node(Node::new("Transpose", &["q"], &["y"]).ints("perm", &[0, 2, 3, 1]));
    let gone = &["QuantizeLinear", "DequantizeLinear", "QLinearMatMul"];
    let of = |name, bytes| Case { tolerance: 0.0, ..case(name, "quantization-to-rounding", gone, bytes) };
    check(&[
        of("whole", whole.bytes_of(UINT8, &IMAGE)),
        of("channels", channels.bytes_of(INT8, &IMAGE)),
        of("both", both.bytes_of(UINT8, &IMAGE)),
        of("converted", converted.bytes(&IMAGE)),
        of("fed", fed.bytes_of(UINT8, &[3, 5])),
        of("moved", moved.bytes_of(UINT8, &[1, 6, 8, 4])),
    ]);
}

#[test]
fn numbers_that_become_small_integers() {
    let network = || Network::new(13, &IMAGE).floats("five", &[], &[5.0]).apply("Mul", &["x", "five"], &["a"]);
    let signed = network().node(Node::new("Cast", &["a"], &["y"]).int("to", INT8.into()));
    let unsigned =
        network().apply("Relu", &["a"], &["b"]).node(Node::new("Cast", &["b"], &["y"]).int("to", UINT8.into()));
    let through = network()
        .node(Node::new("Cast", &["a"], &["b"]).int("to", INT8.into()))
        .node(Node::new("Cast", &["b"], &["y"]).int("to", FLOAT.into()));
    let truth = network()
        .apply("Relu", &["a"], &["b"])
        .node(Node::new("Cast", &["b"], &["c"]).int("to", builder::BOOL.into()))
        .node(Node::new("Cast", &["c"], &["y"]).int("to", UINT8.into()));
    let gone = |name, pass, bytes| Case { tolerance: 0.0, ..case(name, pass, &[], bytes) };
    check(&[
        gone("truth", "truth-of-numbers-to-comparison", truth.bytes_of(UINT8, &IMAGE)),
        gone("signed", "small-integers-cut-off", signed.bytes_of(INT8, &IMAGE)),
        gone("unsigned", "small-integers-cut-off", unsigned.bytes_of(UINT8, &IMAGE)),
        gone("through", "not-through-small-integers", through.bytes(&IMAGE)),
    ]);
}

/// Blocks of elements that have a scale and a zero point each (operator set 21).
#[test]
fn blocks_with_scales_of_their_own() {
    const INT4: i32 = 22;
    let blocks = |count: i64| -> Vec<f32> { numbers(count).into_iter().map(|it| 0.01 + it.abs() / 50.0).collect() };
    // The last block along the axis has 2 of 3 elements.
    let weights = Network::new(21, &[3, 8])
        .constant(integers("w", &[8, 5]))
        .floats("ws", &[3, 5], &blocks(15))
        .constant(integers("wz", &[3, 5]))
        .node(Node::new("DequantizeLinear", &["w", "ws", "wz"], &["k"]).int("axis", 0).int("block_size", 3))
        .apply("MatMul", &["x", "k"], &["y"]);
    let halves = Network::new(21, &[3, 8])
        .constant(Tensor::raw("w", INT4, &[8, 4], &(0..16).map(|it| (it * 17) ^ 0x5a).collect::<Vec<u8>>()))
        .floats("ws", &[2, 4], &blocks(8))
        .constant(Tensor::raw("wz", INT4, &[2, 4], &[0x1f, 0x20, 0xe3, 0x00]))
        .node(Node::new("DequantizeLinear", &["w", "ws", "wz"], &["k"]).int("axis", 0).int("block_size", 4))
        .apply("MatMul", &["x", "k"], &["y"]);
    let fed = Network::fed(21, UINT8, &[3, 8])
        .floats("s", &[3, 2], &blocks(6))
        .constant(Tensor::raw("z", UINT8, &[3, 2], &[1, 2, 3, 0, 0, 2]))
        .node(Node::new("DequantizeLinear", &["x", "s", "z"], &["y"]).int("block_size", 4));
    let quantizer = |operator: &str, inputs: &[&str], output: &str| {
        Node::new(operator, inputs, &[output]).int("axis", -1).int("block_size", 4)
    };
    let inside = Network::new(21, &[3, 8])
        .floats("s", &[3, 2], &blocks(6))
        .constant(Tensor::raw("z", UINT8, &[3, 2], &[128, 100, 3, 0, 255, 2]))
        .node(quantizer("QuantizeLinear", &["x", "s", "z"], "q"))
        .node(quantizer("DequantizeLinear", &["q", "s", "z"], "y"));
    let given = Network::new(21, &[3, 8])
        .floats("s", &[3, 2], &blocks(6))
        .node(quantizer("QuantizeLinear", &["x", "s"], "y").int("output_dtype", INT8.into()));
    let gone = &["QuantizeLinear", "DequantizeLinear"];
    let near = |name, pass, tolerance, bytes| Case { tolerance, ..case(name, pass, gone, bytes) };
    check(&[
        near("weights", "dequantized-constants", 1e-6, weights.bytes(&[3, 5])),
        near("halves", "dequantized-constants", 1e-6, halves.bytes(&[3, 4])),
        near("fed", "dequantization-to-arithmetic", 1e-6, fed.bytes(&[3, 8])),
        near("inside", "quantization-to-clip", 0.02, inside.bytes(&[3, 8])),
        near("given", "quantization-to-rounding", 0.0, given.bytes_of(INT8, &[3, 8])),
    ]);
}
