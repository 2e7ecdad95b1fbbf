//! Windows of all forms: uneven, far apart, of the whole picture, with borders that follow of the size.

use super::pictures::windows;
use super::plain;
use crate::builder::Node;
use crate::draft::{Draft, How, Value};

/// Kernels, strides, dilations and pads that differ by axis, with groups of one to four.
pub fn uneven_convolution(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let kernel = how.of(&[[1, 3], [3, 1], [1, 7], [5, 1], [2, 3], [4, 4]]);
    let (stride, dilation) = how.of(&[([1, 1], [1, 1]), ([2, 1], [1, 1]), ([1, 2], [1, 1]), ([1, 1], [1, 2])]);
    let pads = how.of(&[[0, 0, 0, 0], [1, 1, 1, 1], [0, 3, 0, 3], [2, 0, 1, 1]]);
    let groups = how.of(&[1, 4, 2, 1]);
    let side =
        |size, axis: usize| windows(size, kernel[axis], stride[axis], dilation[axis], pads[axis] + pads[axis + 2]);
    let (rows, columns) = (side(h, 0), side(w, 1));
    (c % groups == 0 && rows > 0 && columns > 0).then_some(())?;
    let weights = draft.weights(&[8, c / groups, kernel[0], kernel[1]], c / groups * kernel[0] * kernel[1]);
    draft.yields("Conv", &[&x.name, &weights], vec![n, 8, rows, columns], |node| {
        node.ints("strides", &stride).ints("dilations", &dilation).ints("pads", &pads).int("group", groups)
    })
}

/// As many windows as strides fit in, whatever borders that takes.
pub fn same_size(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let (kernel, stride) = how.of(&[(3, 2), (3, 1), (2, 2), (4, 2), (5, 3)]);
    let rule = how.of(&["SAME_UPPER", "SAME_LOWER", "SAME_UPPER", "VALID"]);
    let side = |size: i64| match rule {
        "VALID" => windows(size, kernel, stride, 1, 0),
        _ => (size + stride - 1) / stride,
    };
    let (rows, columns) = (side(h), side(w));
    (rows > 0 && columns > 0 && h.min(w) >= kernel).then_some(())?;
    let set = |node: Node| node.text("auto_pad", rule).ints("strides", &[stride; 2]).ints("kernel_shape", &[kernel; 2]);
    if how.flips() {
        return draft.yields(how.of(&["MaxPool", "AveragePool"]), &[&x.name], vec![n, c, rows, columns], set);
    }
    let weights = draft.weights(&[8, c, kernel, kernel], c * kernel * kernel);
    draft.yields("Conv", &[&x.name, &weights], vec![n, 8, rows, columns], set)
}

/// Transposed convolutions with other strides and pads by axis, and those that go one by one.
pub fn uneven_transposed(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let (kernel, stride, pads) = how.of(&[
        ([3, 3], [1, 1], [1, 1, 1, 1]),
        ([2, 4], [2, 4], [0, 0, 0, 0]),
        ([1, 4], [1, 2], [0, 1, 0, 1]),
        ([3, 3], [2, 2], [0, 0, 1, 1]),
        ([5, 5], [2, 2], [2, 2, 2, 2]),
    ]);
    let groups = how.of(&[1, c, 4, 1]);
    (c % groups == 0).then_some(())?;
    let out = if groups == c { 1 } else { 8 / groups };
    let side = |size: i64, axis: usize| (size - 1) * stride[axis] + kernel[axis] - pads[axis] - pads[axis + 2];
    let weights = draft.weights(&[c, out, kernel[0], kernel[1]], c / groups * 4);
    let bias = draft.weights(&[out * groups], 1);
    let shape = vec![n, out * groups, side(h, 0), side(w, 1)];
    draft.yields("ConvTranspose", &[&x.name, &weights, &bias], shape, |node| {
        node.ints("strides", &stride).ints("pads", &pads).int("group", groups)
    })
}

/// Poolings with other windows by axis, of whole rows, and with windows that are far apart.
pub fn uneven_pool(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let (kernel, stride) = how.of(&[
        ([1, 2], [1, 2]),
        ([2, 1], [2, 1]),
        ([3, 3], [3, 3]),
        ([h, 1], [1, 1]),
        ([1, w], [1, 1]),
        ([h, w], [1, 1]),
        ([2, 2], [1, 1]),
    ]);
    (h >= kernel[0] && w >= kernel[1]).then_some(())?;
    let shape = vec![n, c, windows(h, kernel[0], stride[0], 1, 0), windows(w, kernel[1], stride[1], 1, 0)];
    let set = |node: Node| node.ints("kernel_shape", &kernel).ints("strides", &stride);
    draft.yields(how.of(&["MaxPool", "AveragePool", "LpPool"]), &[&x.name], shape, set)
}

/// A pooling whose windows have holes.
pub fn wide_pool(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let (kernel, dilation) = how.of(&[(2, 2), (3, 2), (2, 3)]);
    let side = |size: i64| windows(size, kernel, 1, dilation, 0);
    (side(h) > 0 && side(w) > 0).then_some(())?;
    draft.yields("MaxPool", &[&x.name], vec![n, c, side(h), side(w)], |node| {
        node.ints("kernel_shape", &[kernel; 2]).ints("dilations", &[dilation; 2])
    })
}

/// Averages whose last window is over the edge.
pub fn rounded_up_average(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    (h % 2 == 1 || w % 2 == 1).then_some(())?;
    (h.min(w) > 1).then_some(())?;
    let side = |size: i64| (size + 1) / 2;
    let counted = i64::from(how.flips());
    draft.yields("AveragePool", &[&x.name], vec![n, c, side(h), side(w)], |node| {
        let node = node.ints("kernel_shape", &[2; 2]).ints("strides", &[2; 2]);
        node.int("ceil_mode", 1).int("count_include_pad", counted)
    })
}

/// Borders of any axis but the batch, also such that are cut off.
pub fn bordered(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let (before, behind) = how.of(&[(1, 2), (0, 1), (-1, 1), (2, -1), (-1, -1)]);
    let size = x.shape[axis] + before + behind;
    (x.shape[axis] > 2).then_some(())?;
    let mut pads = vec![0; 2 * x.rank()];
    (pads[axis], pads[axis + x.rank()]) = (before, behind);
    let pads = draft.integers(&pads);
    let mode = if before > 0 && behind > 0 { how.of(&["constant", "edge", "reflect"]) } else { "constant" };
    draft.yields("Pad", &[&x.name, &pads], x.with(axis, size), |node| node.text("mode", mode))
}

/// Sizes that are smaller, or that are not multiples, by all rules for the nearest place.
pub fn resized_by_rule(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    let (scale, shape) = how.of(&[
        ([2.0, 1.0], [h * 2, w]),
        ([0.5, 0.5], [h / 2, w / 2]),
        ([3.0, 2.0], [h * 3, w * 2]),
        ([1.0, 4.0], [h, w * 4]),
    ]);
    (h % 2 == 0 && w % 2 == 0).then_some(())?;
    let scales = draft.constant(&[4], &[1.0, 1.0, scale[0], scale[1]]);
    let rule = how.of(&["round_prefer_floor", "floor", "ceil", "round_prefer_ceil"]);
    let mode = how.of(&["nearest", "nearest", "linear"]);
    let transformation = how.of(&["half_pixel", "asymmetric", "pytorch_half_pixel", "align_corners"]);
    draft.yields("Resize", &[&x.name, "", &scales], vec![n, c, shape[0], shape[1]], |node| {
        let node = node.text("mode", mode).text("coordinate_transformation_mode", transformation);
        if mode == "nearest" { node.text("nearest_mode", rule) } else { node }
    })
}

/// A convolution whose weights are computed of the picture itself.
pub fn own_weights(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [1, c, h, w] = x.picture()? else { return None };
    (c <= 8).then_some(())?;
    let mean = draft.node("GlobalAveragePool", &[&x.name], plain);
    let weights = draft.weights(&[4, 1, 1, 1], 1);
    let weights = if how.flips() {
        draft.node("Mul", &[&mean, &weights], plain)
    } else {
        let shape = draft.integers(&[1, c, 1, 1]);
        let flat = draft.node("Reshape", &[&mean, &shape], plain);
        let flat = draft.node("Tanh", &[&flat], plain);
        draft.node("Mul", &[&flat, &weights], plain)
    };
    draft.yields("Conv", &[&x.name, &weights], vec![1, 4, h, w], plain)
}
