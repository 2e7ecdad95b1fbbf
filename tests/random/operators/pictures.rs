//! What is done to pictures: windows, borders, sizes.

use super::plain;
use crate::builder::Node;
use crate::draft::{Draft, How, Value};

/// What a window that moves over `size` elements yields.
pub fn windows(size: i64, kernel: i64, stride: i64, dilation: i64, pads: i64) -> i64 {
    (size + pads - dilation * (kernel - 1) - 1).div_euclid(stride) + 1
}

pub fn convolution(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let (out, kernel, stride) = (how.of(&[4, 8, 16, 32]), how.of(&[3, 1, 2, 5]), how.of(&[1, 1, 2]));
    let dilation = how.of(&[1, 1, 1, 2]);
    let groups = if how.of(&[false, false, true]) && c % 2 == 0 { 2 } else { 1 };
    let (before, after) = how.of(&[(kernel / 2, kernel / 2), (0, 0), (0, 1), (1, 0)]);
    let side = |size| windows(size, kernel, stride, dilation, before + after);
    let weights = draft.weights(&[out, c / groups, kernel, kernel], c / groups * kernel * kernel);
    let bias = draft.weights(&[out], 1);
    draft.yields("Conv", &[&x.name, &weights, &bias], vec![n, out, side(h), side(w)], |node| {
        node.ints("kernel_shape", &[kernel; 2])
            .ints("strides", &[stride; 2])
            .ints("dilations", &[dilation; 2])
            .ints("pads", &[before, before, after, after])
            .int("group", groups)
    })
}

pub fn pointwise(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let out = how.of(&[4, 8, 16, 32]);
    let weights = draft.weights(&[out, c, 1, 1], c);
    draft.yields("Conv", &[&x.name, &weights], vec![n, out, h, w], plain)
}

pub fn depthwise(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let stride = how.of(&[1, 2]);
    let weights = draft.weights(&[c, 1, 3, 3], 9);
    let side = |size| windows(size, 3, stride, 1, 2);
    draft.yields("Conv", &[&x.name, &weights], vec![n, c, side(h), side(w)], |node| {
        node.ints("pads", &[1; 4]).ints("strides", &[stride; 2]).int("group", c)
    })
}

pub fn transposed_convolution(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let (kernel, pads, more) = how.of(&[(2, 0, 0), (3, 1, 1), (4, 1, 0)]);
    let groups = if how.flips() && c % 2 == 0 { 2 } else { 1 };
    let weights = draft.weights(&[c, 8 / groups, kernel, kernel], c * kernel * kernel / groups / 4);
    draft.yields("ConvTranspose", &[&x.name, &weights], vec![n, 8, h * 2, w * 2], |node| {
        node.ints("strides", &[2; 2]).ints("pads", &[pads; 4]).ints("output_padding", &[more; 2]).int("group", groups)
    })
}

/// A convolution or a pooling of one dimension.
pub fn along_a_line(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, length] = x.shape.as_slice().try_into().ok()?;
    if how.flips() {
        let set = |node: Node| node.ints("kernel_shape", &[2]).ints("strides", &[2]);
        return draft.yields(how.of(&["MaxPool", "AveragePool"]), &[&x.name], vec![n, c, length / 2], set);
    }
    let weights = draft.weights(&[8, c, 3], c * 3);
    draft.yields("Conv", &[&x.name, &weights], vec![n, 8, length], |node| node.ints("pads", &[1, 1]))
}

pub fn slope(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let [_, c, ..] = x.picture()?;
    let slopes = draft.weights(&[c, 1, 1], 4);
    draft.yields("PRelu", &[&x.name, &slopes], x.shape.clone(), plain)
}

pub fn max_pool(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let (kernel, stride, pads) = how.of(&[(2, 2, 0), (3, 2, 1), (3, 1, 1), (5, 1, 2)]);
    let ceil = i64::from(how.of(&[false, false, true]));
    let side = |size: i64| windows(size + ceil * (stride - 1), kernel, stride, 1, 2 * pads);
    // Where the last window begins behind what there is, ONNX Runtime and the standard differ.
    let begins = |size: i64| (side(size) - 1) * stride < size + pads;
    (h.min(w) >= kernel && begins(h) && begins(w)).then_some(())?;
    draft.yields("MaxPool", &[&x.name], vec![n, c, side(h), side(w)], |node| {
        let node = node.ints("kernel_shape", &[kernel; 2]).ints("strides", &[stride; 2]).ints("pads", &[pads; 4]);
        node.int("ceil_mode", ceil)
    })
}

pub fn average_pool(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let (kernel, stride, pads) = how.of(&[(3, 1, 1), (2, 2, 0), (3, 2, 1)]);
    let counted = i64::from(how.flips());
    let side = |size| windows(size, kernel, stride, 1, 2 * pads);
    (h.min(w) >= kernel).then_some(())?;
    draft.yields("AveragePool", &[&x.name], vec![n, c, side(h), side(w)], |node| {
        let node = node.ints("kernel_shape", &[kernel; 2]).ints("strides", &[stride; 2]).ints("pads", &[pads; 4]);
        node.int("count_include_pad", counted)
    })
}

pub fn global_pool(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, ..] = x.picture()?;
    let operator = how.of(&["GlobalAveragePool", "GlobalAveragePool", "GlobalMaxPool"]);
    draft.yields(operator, &[&x.name], vec![n, c, 1, 1], plain)
}

pub fn local_response(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    x.picture()?;
    draft.yields("LRN", &[&x.name], x.shape.clone(), |node| node.int("size", 3).float("alpha", 0.1))
}

pub fn pad(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let mode = how.of(&["constant", "reflect", "edge"]);
    (mode != "reflect" || h.min(w) > 2).then_some(())?;
    let [top, left, bottom, right] = how.of(&[[1, 0, 2, 1], [0, 1, 0, 1], [1, 1, 1, 1]]);
    let pads = draft.integers(&[0, 0, top, left, 0, 0, bottom, right]);
    let value = draft.scalar(how.of(&[0.0, 0.5]));
    let inputs: &[&str] = if mode == "constant" { &[&x.name, &pads, &value] } else { &[&x.name, &pads] };
    let shape = vec![n, c, h + top + bottom, w + left + right];
    draft.yields("Pad", inputs, shape, |node| node.text("mode", mode))
}

/// Channels shuffled in two groups.
pub fn shuffle(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    (c % 2 == 0).then_some(())?;
    let (apart, together) = (draft.integers(&[n, 2, c / 2, h, w]), draft.integers(&x.shape));
    let groups = draft.node("Reshape", &[&x.name, &apart], plain);
    let turned = draft.node("Transpose", &[&groups], |node| node.ints("perm", &[0, 2, 1, 3, 4]));
    draft.yields("Reshape", &[&turned, &together], x.shape.clone(), plain)
}

pub fn blocks(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    if how.flips() && h % 2 == 0 && w % 2 == 0 {
        let set = |node: Node| node.int("blocksize", 2);
        return draft.yields("SpaceToDepth", &[&x.name], vec![n, c * 4, h / 2, w / 2], set);
    }
    (c % 4 == 0).then_some(())?;
    let mode = how.of(&["DCR", "CRD"]);
    let set = |node: Node| node.int("blocksize", 2).text("mode", mode);
    draft.yields("DepthToSpace", &[&x.name], vec![n, c / 4, h * 2, w * 2], set)
}

pub fn resize(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let (mode, transformation) = how.of(&[
        ("nearest", "asymmetric"),
        ("linear", "half_pixel"),
        ("linear", "align_corners"),
        ("linear", "asymmetric"),
        ("linear", "pytorch_half_pixel"),
        ("cubic", "half_pixel"),
    ]);
    let set = |node: Node| {
        let node = node.text("mode", mode).text("coordinate_transformation_mode", transformation);
        if mode == "nearest" { node.text("nearest_mode", "floor") } else { node }
    };
    if how.of(&[false, false, true]) {
        let (rows, columns) = how.of(&[(h + 3, w + 2), (h * 3 / 2, w * 2), (7, 5)]);
        let to = draft.integers(&[n, c, rows, columns]);
        return draft.yields("Resize", &[&x.name, "", "", &to], vec![n, c, rows, columns], set);
    }
    let scales = draft.constant(&[4], &[1.0, 1.0, 2.0, 2.0]);
    draft.yields("Resize", &[&x.name, "", &scales], vec![n, c, h * 2, w * 2], set)
}

/// To the size of another value, computed as exporters do.
pub fn resize_as_another(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, ..] = x.picture()?;
    let other = draft.other(how, |shape| shape.len() == 4)?;
    let sizes = draft.node("Shape", &[&other.name], plain);
    let [from, to] = [2, 4].map(|bound| draft.integers(&[bound]));
    let sides = draft.node("Slice", &[&sizes, &from, &to], plain);
    let whole = draft.node("Shape", &[&x.name], plain);
    let [zero, two] = [0, 2].map(|bound| draft.integers(&[bound]));
    let kept = draft.node("Slice", &[&whole, &zero, &two], plain);
    let sizes = draft.node("Concat", &[&kept, &sides], |node| node.int("axis", 0));
    let set = |node: Node| node.text("mode", "linear").text("coordinate_transformation_mode", "half_pixel");
    draft.yields("Resize", &[&x.name, "", "", &sizes], vec![n, c, other.shape[2], other.shape[3]], set)
}

/// A convolution or a pooling of three dimensions, between a picture and a picture.
pub fn volume(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    (c % 2 == 0 && h.min(w) > 2).then_some(())?;
    let (apart, together) = (draft.integers(&[n, 2, c / 2, h, w]), draft.integers(&[n, -1, h, w]));
    let deep = draft.node("Reshape", &[&x.name, &apart], plain);
    let (deep, channels) = if how.flips() {
        let set = |node: Node| node.ints("kernel_shape", &[3; 3]).ints("pads", &[1; 6]);
        (draft.node(how.of(&["MaxPool", "AveragePool"]), &[&deep], set), c)
    } else {
        let weights = draft.weights(&[4, 2, 3, 3, 3], 54);
        (draft.node("Conv", &[&deep, &weights], |node| node.ints("pads", &[1; 6])), 2 * c)
    };
    draft.yields("Reshape", &[&deep, &together], vec![n, channels, h, w], plain)
}

/// A picture at places that move with its values.
pub fn sampled(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [1, c, h, w] = x.picture()? else { return None };
    (draft.opset >= 16 && c >= 2).then_some(())?;
    let weights = draft.weights(&[2, c, 1, 1], c);
    let moved = draft.node("Conv", &[&x.name, &weights], plain);
    let moved = draft.node("Tanh", &[&moved], plain);
    let grid = draft.node("Transpose", &[&moved], |node| node.ints("perm", &[0, 2, 3, 1]));
    let (mode, border) = ("bilinear", how.of(&["zeros", "border"]));
    draft.yields("GridSample", &[&x.name, &grid], vec![1, c, h, w], |node| {
        node.text("mode", mode).text("padding_mode", border).int("align_corners", how.flips().into())
    })
}

pub fn squeeze_and_excite(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, ..] = x.picture()?;
    let mean = draft.node("GlobalAveragePool", &[&x.name], plain);
    let (down, up) = (draft.weights(&[4, c, 1, 1], c), draft.weights(&[c, 4, 1, 1], 4));
    let gate = if how.flips() {
        let inner = draft.node("Conv", &[&mean, &down], plain);
        let inner = draft.node("Relu", &[&inner], plain);
        draft.node("Conv", &[&inner, &up], plain)
    } else {
        let weights = draft.weights(&[c, c], c);
        let (flat, back) = (draft.integers(&[n, c]), draft.integers(&[n, c, 1, 1]));
        let inner = draft.node("Reshape", &[&mean, &flat], plain);
        let inner = draft.node("MatMul", &[&inner, &weights], plain);
        draft.node("Reshape", &[&inner, &back], plain)
    };
    let gate = draft.node(how.of(&["Sigmoid", "HardSigmoid"]), &[&gate], plain);
    draft.yields("Mul", &[&x.name, &gate], x.shape.clone(), plain)
}
