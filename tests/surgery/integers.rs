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
