//! What is done to the original of a quantized network before ONNX Runtime measures it: the results stay.

use std::collections::BTreeMap;

use modelconverter::onnx::Model;
use modelconverter::surgery::UnsignedWeights;

use crate::builder::{FLOAT, INT8, Node, Tensor, UINT8};
use crate::network::{Network, numbers};
use crate::pairs::{Pair, assert_same, rewritten};

const IMAGE: [i64; 4] = [1, 4, 6, 8];
const MATRIX: [i64; 2] = [3, 8];

/// Weights of all bytes, so that their products do not fit 16 bits.
fn weights(network: Network, name: &str, dims: &[i64]) -> Network {
    let count: i64 = dims.iter().product();
    let bytes: Vec<u8> = (0..count).map(|at| (at * 89 % 256) as u8).collect();
    network.constant(Tensor::raw(name, INT8, dims, &bytes))
}

fn own(operator: &'static str, inputs: &[&'static str], outputs: &[&'static str]) -> Node {
    Node::new(operator, inputs, outputs).domain("com.microsoft")
}

/// The input of a network as bytes `q` of scale `s` and zero point `z`, and weights `w` of scale `ws` and zero point `wz`.
fn quantized(shape: &[i64], dims: &[i64]) -> Network {
    weights(Network::new(13, shape).domain("com.microsoft"), "w", dims)
        .floats("ws", &[], &[0.01])
        .constant(Tensor::raw("wz", INT8, &[], &[250]))
        .floats("ys", &[], &[0.5])
        .constant(Tensor::raw("yz", UINT8, &[], &[100]))
        .apply("DynamicQuantizeLinear", &["x"], &["q", "s", "z"])
}

fn to_floats(network: Network, result: &[i64]) -> Vec<u8> {
    network.node(Node::new("Cast", &["i"], &["y"]).int("to", FLOAT.into())).bytes(result)
}

#[test]
fn weights_lose_their_signs_and_nothing_else() {
    let matrix = || quantized(&MATRIX, &[8, 5]);
    let image = || quantized(&IMAGE, &[3, 4, 3, 3]);
    let pads = [1, 1, 1, 1];
    let lstm = Node::new("DynamicQuantizeLSTM", &["x", "w", "r", "", "", "", "", "", "ds", "", "ds", "dz"], &["y"])
        .domain("com.microsoft")
        .int("hidden_size", 6)
        .text("direction", "bidirectional");
    // As small as products in 16 bits allow: what is computed from constants is not changed by the reader.
    let computed = Network::new(13, &MATRIX)
        .constant(Tensor::raw("t", INT8, &[5, 8], &(0..40).map(|at| (at * 89 % 127 - 63) as u8).collect::<Vec<u8>>()))
        .apply("Transpose", &["t"], &["w"])
        .apply("DynamicQuantizeLinear", &["x"], &["q", "s", "z"])
        .apply("MatMulInteger", &["q", "w", "z"], &["i"]);
    let networks = [
        ("product", to_floats(matrix().apply("MatMulInteger", &["q", "w", "z", "wz"], &["i"]), &[3, 5])),
        ("no_zero_point", to_floats(matrix().apply("MatMulInteger", &["q", "w", "z"], &["i"]), &[3, 5])),
        (
            "convolution",
            to_floats(
                image().node(Node::new("ConvInteger", &["q", "w", "z", "wz"], &["i"]).ints("pads", &pads)),
                &[1, 3, 6, 8],
            ),
        ),
        (
            "quantized_convolution",
            image()
                .floats("ks", &[3], &[0.01, 0.02, 0.03])
                .constant(Tensor::raw("kz", INT8, &[3], &[0; 3]))
                .node(
                    Node::new("QLinearConv", &["q", "s", "z", "w", "ks", "kz", "ys", "yz"], &["c"]).ints("pads", &pads),
                )
                .apply("DequantizeLinear", &["c", "ys", "yz"], &["y"])
                .bytes(&[1, 3, 6, 8]),
        ),
        (
            "quantized_product",
            matrix()
                .apply("QLinearMatMul", &["q", "s", "z", "w", "ws", "wz", "ys", "yz"], &["c"])
                .apply("DequantizeLinear", &["c", "ys", "yz"], &["y"])
                .bytes(&[3, 5]),
        ),
        ("gemm", matrix().node(own("QGemm", &["q", "s", "z", "w", "ws", "wz", "", "", ""], &["y"])).bytes(&[3, 5])),
        ("to_float", matrix().node(own("MatMulIntegerToFloat", &["q", "w", "s", "ws", "z"], &["y"])).bytes(&[3, 5])),
        ("dynamic", matrix().node(own("DynamicQuantizeMatMul", &["x", "w", "ws", "wz"], &["y"])).bytes(&[3, 5])),
        (
            "attention",
            quantized(&[1, 5, 8], &[8, 24])
                .floats("b", &[24], &numbers(24))
                .node(own("QAttention", &["q", "w", "b", "s", "ws", "", "z", "wz"], &["y"]).int("num_heads", 2))
                .bytes(&[1, 5, 8]),
        ),
        (
            "memory_cells",
            weights(weights(Network::new(13, &[4, 1, 5]).domain("com.microsoft"), "w", &[2, 5, 24]), "r", &[2, 6, 24])
                .floats("ds", &[2], &[0.005, 0.004])
                .constant(Tensor::raw("dz", INT8, &[2], &[3, 254]))
                .node(lstm)
                .bytes(&[4, 2, 1, 6]),
        ),
        ("computed", to_floats(computed, &[3, 5])),
    ];
    let pair = |(name, bytes): (&str, Vec<u8>)| {
        let before = Model::parse(bytes.into()).unwrap();
        let (after, operations) = rewritten(&before, &[&UnsignedWeights]);
        assert_eq!(operations.len(), 1, "{name}");
        assert!(rewritten(&after, &[&UnsignedWeights]).1.is_empty(), "{name}");
        Pair { name: name.to_owned(), before, after, sizes: BTreeMap::new(), tolerance: 1e-6 }
    };
    assert_same(&networks.map(pair));
}

#[test]
fn other_weights_stay() {
    let signed = weights(Network::new(13, &MATRIX), "w", &[8, 5])
        .floats("s", &[], &[0.05])
        .constant(Tensor::raw("z", INT8, &[], &[0]))
        .apply("QuantizeLinear", &["x", "s", "z"], &["q"])
        .apply("MatMulInteger", &["q", "w", "z"], &["i"]);
    let unsigned = Network::new(13, &MATRIX)
        .constant(Tensor::raw("w", UINT8, &[8, 5], &[200; 40]))
        .apply("DynamicQuantizeLinear", &["x"], &["q", "s", "z"])
        .apply("MatMulInteger", &["q", "w", "z"], &["i"]);
    for network in [to_floats(signed, &[3, 5]), to_floats(unsigned, &[3, 5])] {
        let model = Model::parse(network.into()).unwrap();
        assert!(rewritten(&model, &[&UnsignedWeights]).1.is_empty());
    }
}
