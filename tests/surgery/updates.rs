//! What networks write to constant places, cut out of regions, spread over volumes and take apart into frequencies, before
//! and after it is rewritten.

use modelconverter::onnx::Model;
use modelconverter::surgery::myriad_passes;

use crate::builder::{FLOAT, Node, Tensor};
use crate::lowering::{Case, case, check};
use crate::network::Network;
use crate::pairs::rewritten;

const IMAGE: [i64; 4] = [1, 4, 6, 8];
const INT32: i32 = 6;

#[test]
fn updates_that_are_added_or_compared() {
    // The second and the fourth member of the batch meet the same row twice, one of them from the end.
    let rows = |opset: i64, reduction: &str| {
        Network::new(opset, &IMAGE)
            .constant(Tensor::integers("i", &[4, 2], &[0, 1, 0, 3, 0, -3, 0, 0]))
            .weights("u", &[4, 6, 8])
            .node(Node::new("ScatterND", &["x", "i", "u"], &["y"]).text("reduction", reduction))
            .bytes(&IMAGE)
    };
    // Every second element meets the same place.
    let elements = |opset: i64, reduction: &str| {
        Network::new(opset, &IMAGE)
            .constant(Tensor::integers(
                "i",
                &[1, 2, 3, 4],
                &(0..24).map(|at| at % 2 * (at % 4 - 3)).collect::<Vec<_>>(),
            ))
            .weights("u", &[1, 2, 3, 4])
            .node(Node::new("ScatterElements", &["x", "i", "u"], &["y"]).int("axis", 2).text("reduction", reduction))
            .bytes(&IMAGE)
    };
    // Whole rows, as an exporter expands the indices of channels.
    let indices: Vec<i64> = [3, 0, 3, 3, -1].iter().flat_map(|channel| [*channel; 48]).collect();
    let channels = Network::new(18, &IMAGE)
        .constant(Tensor::integers("i", &[1, 5, 6, 8], &indices))
        .weights("u", &[1, 5, 6, 8])
        .node(Node::new("ScatterElements", &["x", "i", "u"], &["y"]).int("axis", 1).text("reduction", "add"))
        .bytes(&IMAGE);
    let nothing = Network::new(18, &IMAGE)
        .constant(Tensor::integers("i", &[0, 2], &[]))
        .weights("u", &[0, 6, 8])
        .node(Node::new("ScatterND", &["x", "i", "u"], &["y"]).text("reduction", "add"))
        .bytes(&IMAGE);
    let whole = Network::fed(18, INT32, &[2, 3])
        .constant(Tensor::integers("i", &[3, 1], &[1, 1, 0]))
        .constant(Tensor::raw("u", INT32, &[3, 3], &(1..10_i32).flat_map(i32::to_le_bytes).collect::<Vec<_>>()))
        .node(Node::new("ScatterND", &["x", "i", "u"], &["a"]).text("reduction", "add"))
        .node(Node::new("Cast", &["a"], &["y"]).int("to", FLOAT.into()))
        .bytes(&[2, 3]);
    let of = |name, bytes| case(name, "scatter-to-arithmetic", &["ScatterND", "ScatterElements"], bytes);
    check(&[
        of("rows_added", rows(16, "add")),
        of("rows_multiplied", rows(16, "mul")),
        of("rows_max", rows(18, "max")),
        of("rows_min", rows(18, "min")),
        of("elements_added", elements(16, "add")),
        of("elements_multiplied", elements(16, "mul")),
        of("elements_max", elements(18, "max")),
        of("elements_min", elements(18, "min")),
        of("channels", channels),
        of("nothing", nothing),
        of("whole", whole),
    ]);
}

/// An assignment to `x[.., from..to]`, with indices that an exporter expands of the places along each axis.
fn expanded(shape: [i64; 3], places: &[i64]) -> Vec<u8> {
    let [batch, rows, _] = shape;
    let block = [batch, rows, 600];
    let along = |axis: i64| (0..axis).collect::<Vec<_>>();
    let width = places.len() as i64;
    let column = |network: Network, from: &str, repeated: &str, to: &str| {
        network.apply("Expand", &[from, "grid"], &[repeated]).apply("Unsqueeze", &[repeated, "last"], &[to])
    };
    let network = Network::new(13, &shape)
        .integers("grid", &block)
        .integers("last", &[-1])
        .constant(Tensor::integers("of_batch", &[batch, 1, 1], &along(batch)))
        .constant(Tensor::integers("of_rows", &[rows, 1], &along(rows)))
        .constant(Tensor::integers("of_columns", &[width], places));
    let network = column(network, "of_batch", "a", "b");
    let network = column(network, "of_rows", "c", "d");
    column(network, "of_columns", "e", "f")
        .node(Node::new("Concat", &["b", "d", "f"], &["i"]).int("axis", -1))
        .weights("u", &block)
        .apply("ScatterND", &["x", "i", "u"], &["y"])
        .bytes(&shape)
}

#[test]
fn assignments_to_slices() {
    let assigned = |dims: &[i64], indices: &[i64], updates: &[i64]| {
        Network::new(13, &IMAGE)
            .constant(Tensor::integers("i", dims, indices))
            .weights("u", updates)
            .apply("ScatterND", &["x", "i", "u"], &["y"])
            .bytes(&IMAGE)
    };
    let places = (1..3).flat_map(|channel| (2..5).flat_map(move |row| [0, channel, row]));
    let block: Vec<i64> = places.collect();
    let row: Vec<i64> = (0..4).flat_map(|channel| [0, channel, 2]).collect();
    let whole: Vec<i64> = (0..4).flat_map(|channel| [0, channel]).collect();
    let of = |name, bytes| case(name, "assigned-block-to-pieces", &["ScatterND", "Gather"], bytes);
    check(&[
        of("block", assigned(&[1, 2, 3, 3], &block, &[1, 2, 3, 8])),
        of("last_channels", assigned(&[1, 2, 2], &[0, -2, 0, -1], &[1, 2, 6, 8])),
        of("row", assigned(&[1, 4, 3], &row, &[1, 4, 8])),
        of("whole", assigned(&[1, 4, 2], &whole, &IMAGE)),
        of("large", expanded([2, 90, 800], &(150..750).collect::<Vec<_>>())),
    ]);
    // The same place again and again is no block, nor are places in another order.
    for bytes in [expanded([2, 90, 800], &[7]), assigned(&[1, 2, 2], &[0, 2, 0, 1], &[1, 2, 6, 8])] {
        let (_, operations) = rewritten(&Model::parse(bytes.into()).unwrap(), &myriad_passes());
        assert!(!operations.iter().any(|operation| operation.pass == "assigned-block-to-pieces"), "{operations:?}");
    }
}

#[test]
fn regions_smaller_than_an_element() {
    // Regions within, across and outside of the picture, and one without any area.
    let regions =
        [1.3, 2.1, 9.7, 11.2, -4.0, -3.0, 5.0, 20.0, 3.0, 3.0, 3.0, 3.0, 2.2, 2.4, 2.6, 2.9, 30.0, 30.0, 40.0, 44.0];
    let align = |samples: i64, scale: f32, node: fn(Node) -> Node| {
        Network::new(16, &IMAGE)
            .floats("r", &[5, 4], &regions)
            .integers("b", &[0; 5])
            .node(node(
                Node::new("RoiAlign", &["x", "r", "b"], &["y"])
                    .int("output_height", 3)
                    .int("output_width", 2)
                    .int("sampling_ratio", samples)
                    .float("spatial_scale", scale),
            ))
            .bytes(&[5, 4, 3, 2])
    };
    let of = |name, bytes| case(name, "regions-to-products", &["RoiAlign"], bytes);
    check(&[
        of("half_pixel", align(2, 0.5, |node| node)),
        of("one_sample", align(1, 1.0, |node| node.text("coordinate_transformation_mode", "half_pixel"))),
    ]);
}

#[test]
fn transposed_convolutions_of_volumes() {
    let back = |shape: &[i64], kernel: &[i64], node: fn(Node) -> Node, result: &[i64]| {
        let network = Network::new(11, shape).weights("w", kernel).weights("b", &result[1..2]);
        network.node(node(Node::new("ConvTranspose", &["x", "w", "b"], &["y"]))).bytes(result)
    };
    fn double(node: Node) -> Node {
        node.ints("strides", &[2, 2, 2])
    }
    let overlapping = |node: Node| double(node).ints("pads", &[1, 1, 0, 1, 0, 1]).ints("output_padding", &[1, 1, 0]);
    let dilated = |node: Node| {
        node.ints("strides", &[3, 1, 2]).ints("dilations", &[2, 1, 2]).int("group", 2).ints("pads", &[0, 0, 1, 2, 1, 0])
    };
    let sparse = |node: Node| node.ints("strides", &[4, 1, 1]).ints("output_padding", &[2, 0, 0]);
    let same = |node: Node| double(node).text("auto_pad", "SAME_UPPER");
    let without = Network::new(13, &[1, 2, 3, 4, 5])
        .weights("w", &[2, 3, 2, 2, 2])
        .node(double(Node::new("ConvTranspose", &["x", "w"], &["y"])))
        .bytes(&[1, 3, 6, 8, 10]);
    let of = |name, bytes| case(name, "transposed-convolution-of-planes", &[], bytes);
    let cases = [
        of("double", without),
        of("overlapping", back(&[1, 2, 3, 4, 5], &[2, 3, 3, 3, 3], overlapping, &[1, 3, 6, 9, 10])),
        of("dilated", back(&[2, 4, 3, 4, 5], &[4, 3, 2, 2, 3], dilated, &[2, 6, 7, 4, 12])),
        of("sparse", back(&[1, 2, 3, 4, 5], &[2, 3, 3, 1, 1], sparse, &[1, 3, 13, 4, 5])),
        of("same", back(&[1, 2, 3, 4, 5], &[2, 3, 3, 3, 3], same, &[1, 3, 6, 8, 10])),
    ];
    check(&cases);
}

#[test]
fn signals_and_their_frequencies() {
    let whole = |opset: i64, shape: &[i64], inputs: &[&str], node: fn(Node) -> Node, result: &[i64]| {
        Network::new(opset, shape)
            .constant(Tensor::integers("n", &[], &[10]))
            .constant(Tensor::integers("a", &[], &[-3]))
            .node(node(Node::new("DFT", inputs, &["y"])))
            .bytes(result)
    };
    let frames = |shape: &[i64], inputs: &[&str], onesided: i64, result: &[i64]| {
        Network::new(17, shape)
            .constant(Tensor::integers("step", &[], &[5]))
            .weights("window", &[16])
            .constant(Tensor::integers("n", &[], &[16]))
            .node(Node::new("STFT", inputs, &["y"]).int("onesided", onesided))
            .bytes(result)
    };
    let half = |node: Node| node.int("axis", 1).int("onesided", 1);
    let back = |node: Node| node.int("axis", 1).int("inverse", 1);
    let of = |name, bytes| Case { tolerance: 1e-5, ..case(name, "fourier-to-product", &["DFT"], bytes) };
    let by_frame = |name, bytes| Case { tolerance: 1e-5, ..case(name, "frames-to-convolution", &["STFT"], bytes) };
    check(&[
        of("half", whole(17, &[2, 12, 1], &["x"], half, &[2, 7, 2])),
        of("cut", whole(17, &[2, 12, 3, 2], &["x", "n"], |node| node.int("axis", 1), &[2, 10, 3, 2])),
        of("filled", whole(20, &[2, 7, 3, 1], &["x", "n", "a"], |node| node, &[2, 10, 3, 2])),
        of("last", whole(20, &[2, 9, 2], &["x"], |node| node, &[2, 9, 2])),
        of("back", whole(17, &[2, 12, 2], &["x"], back, &[2, 12, 2])),
        by_frame("frames", frames(&[2, 40, 1], &["x", "step", "window"], 1, &[2, 5, 9, 2])),
        by_frame("plain_frames", frames(&[2, 40, 1], &["x", "step", "", "n"], 0, &[2, 5, 16, 2])),
    ]);
}

#[test]
fn edges_that_wrap_and_cuts_in_the_middle() {
    let wrapped = |opset: i64, inputs: &[&str], pads: &[i64], result: &[i64]| {
        Network::new(opset, &IMAGE)
            .integers("p", pads)
            .integers("a", &[-1, 2])
            .node(Node::new("Pad", inputs, &["y"]).text("mode", "wrap"))
            .bytes(result)
    };
    let centred = |axes: &[i64], wanted: &[i64], result: &[i64]| {
        Network::new(18, &IMAGE)
            .integers("n", wanted)
            .node(Node::new("CenterCropPad", &["x", "n"], &["y"]).ints("axes", axes))
            .bytes(result)
    };
    let endless = |value: f32, pads: &[i64], result: &[i64]| {
        Network::new(13, &IMAGE)
            .integers("p", pads)
            .floats("v", &[], &[value])
            .apply("Pad", &["x", "p", "v"], &["a"])
            .node(Node::new("Softmax", &["a"], &["y"]).int("axis", 3))
            .bytes(result)
    };
    let around = |name, bytes| case(name, "endless-padding-to-sum", &[], bytes);
    let of = |name, bytes| case(name, "wrapped-padding-to-lookup", &[], bytes);
    let centre = |name, bytes| case(name, "centred-cut-to-slice", &["CenterCropPad"], bytes);
    check(&[
        of("wrapped", wrapped(19, &["x", "p"], &[0, 0, 1, 3, 0, 2, 0, 1], &[1, 6, 7, 12])),
        of("wrapped_axes", wrapped(19, &["x", "p", "", "a"], &[3, 0, 1, 2], &[1, 4, 8, 12])),
        around("masked", endless(f32::NEG_INFINITY, &[0, 0, 0, 2, 0, 0, 0, 1], &[1, 4, 6, 11])),
        around("lost", endless(f32::NAN, &[0, 1, 0, 0, 0, 0, 2, 0], &[1, 5, 8, 8])),
        centre("both", centred(&[2, 3], &[3, 11], &[1, 4, 3, 11])),
        centre("cut", centred(&[-1, 1], &[5, 1], &[1, 1, 6, 5])),
        centre("filled", centred(&[2], &[9], &[1, 4, 9, 8])),
    ]);
}

#[test]
fn convolutions_with_moved_taps() {
    let moved = |groups: i64, inputs: &[&str], node: fn(Node) -> Node, places: [i64; 2]| {
        let [height, width] = places;
        let network = Network::new(19, &IMAGE)
            .weights("w", &[5, 4, 3, 2])
            .weights("shift", &[5])
            .weights("o", &[1, groups * 12, height, width])
            .weights("m", &[1, groups * 6, height, width]);
        let node = node(Node::new("DeformConv", inputs, &["y"]).int("offset_group", groups));
        // Moved by up to two elements, also out of the picture.
        network
            .floats("two", &[], &[2.0])
            .apply("Mul", &["o", "two"], &["offsets"])
            .node(node)
            .bytes(&[1, 5, height, width])
    };
    // Each half of the results sees a half of the channels, which taps of their own are moved for.
    let halves = Network::new(19, &IMAGE)
        .weights("w", &[6, 2, 3, 2])
        .weights("shift", &[6])
        .weights("o", &[1, 24, 4, 7])
        .node(Node::new("DeformConv", &["x", "w", "o", "shift"], &["y"]).int("group", 2).int("offset_group", 2))
        .bytes(&[1, 6, 4, 7]);
    let strided = |node: Node| node.ints("strides", &[2, 1]).ints("pads", &[1, 1, 1, 0]).ints("dilations", &[1, 2]);
    let of = |name, bytes| Case { tolerance: 1e-5, ..case(name, "moved-taps-to-lookups", &["DeformConv"], bytes) };
    check(&[
        of("moved", moved(1, &["x", "w", "offsets"], |node| node, [4, 7])),
        of("masked", moved(1, &["x", "w", "offsets", "shift", "m"], strided, [3, 7])),
        of("halves", halves),
        of("groups", moved(2, &["x", "w", "offsets", "", "m"], |node| node, [4, 7])),
    ]);
}

/// A few bytes may state sizes that no machine has: such nodes stay as they are, for the refusal that names them.
#[test]
fn sizes_that_no_machine_has_are_not_written_out() {
    const HUGE: i64 = 1 << 40;
    let own = |operator: &str, inputs: &[&str]| Node::new(operator, inputs, &["y"]).domain("com.microsoft");
    let packed = own("MatMulNBits", &["x", "w", "s"]).int("K", 8).int("N", HUGE).int("bits", 8).int("block_size", 16);
    let group = own("GroupQueryAttention", &["x", "k", "v", "", "", "last", "all", "c", "c"]);
    let networks = [
        Network::new(19, &[1, 4])
            .integers("pads", &[0, HUGE, 0, HUGE])
            .node(Node::new("Pad", &["x", "pads"], &["y"]).text("mode", "wrap"))
            .bytes(&[1, 2 * HUGE + 4]),
        Network::new(18, &[HUGE])
            .constant(Tensor::integers("i", &[1, 1], &[0]))
            .weights("u", &[1])
            .node(Node::new("ScatterND", &["x", "i", "u"], &["y"]).text("reduction", "add"))
            .bytes(&[HUGE]),
        Network::new(13, &[1, 1, HUGE, 1, 1])
            .weights("w", &[1, 1, 2, 1, 1])
            .node(Node::new("ConvTranspose", &["x", "w"], &["y"]))
            .bytes(&[1, 1, HUGE + 1, 1, 1]),
        Network::new(19, &[1, 1, HUGE, 1])
            .weights("w", &[1, 1, 1, 1])
            .weights("o", &[1, 2, 1, 1])
            .node(Node::new("DeformConv", &["x", "w", "o"], &["y"]))
            .bytes(&[1, 1, HUGE, 1]),
        Network::new(13, &[1, 8])
            .domain("com.microsoft")
            .constant(Tensor::raw("w", 2, &[1, 1, 8], &[0; 8]))
            .weights("s", &[1])
            .node(packed)
            .bytes(&[1, HUGE]),
        Network::new(13, &[1, HUGE, 4])
            .domain("com.microsoft")
            .integers("last", &[HUGE - 1])
            .integers("all", &[HUGE])
            .weights("k", &[1, 1, 4])
            .weights("v", &[1, 1, 4])
            .weights("c", &[4, 1])
            .node(group.int("num_heads", i64::MAX).int("kv_num_heads", i64::MAX).int("do_rotary", 1))
            .bytes(&[1, HUGE, 4]),
    ];
    for bytes in networks {
        let before = Model::parse(bytes.into()).unwrap();
        let (after, _) = rewritten(&before, &myriad_passes());
        let operator = before.graph().node.last().unwrap().op_type();
        let operators: Vec<&str> = after.graph().node.iter().map(|node| node.op_type()).collect();
        assert!(operators.contains(&operator), "{operator} became {operators:?}");
    }
}
