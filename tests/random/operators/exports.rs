//! What exporters write of usual layers.

use super::plain;
use crate::builder::Node;
use crate::draft::{Draft, How, Value};

/// Every second pixel of both axes, as channels.
pub fn focus(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    (h % 2 == 0 && w % 2 == 0).then_some(())?;
    let (end, step) = (draft.integers(&[i64::MAX]), draft.integers(&[2]));
    let mut parts = Vec::new();
    for (row, column) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let mut part = x.name.clone();
        for (axis, first) in [(2, row), (3, column)] {
            let (begin, axis) = (draft.integers(&[first]), draft.integers(&[axis]));
            part = draft.node("Slice", &[&part, &begin, &end, &axis, &step], plain);
        }
        parts.push(part);
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    draft.yields("Concat", &parts, vec![n, c * 4, h / 2, w / 2], |node| node.int("axis", 1))
}

/// Boxes and scores by anchor: five axes, and one list of them.
pub fn detections(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, _, h, w] = x.picture()?;
    let c = x.shape[1];
    let (anchors, wide) = how.of(&[(2, 6), (3, 5)]);
    let weights = draft.weights(&[anchors * wide, c, 1, 1], c);
    let scores = draft.node("Conv", &[&x.name, &weights], plain);
    let apart = draft.integers(&[n, anchors, wide, h, w]);
    let apart = draft.node("Reshape", &[&scores, &apart], plain);
    let turned = draft.node("Transpose", &[&apart], |node| node.ints("perm", &[0, 1, 3, 4, 2]));
    let turned = if how.flips() {
        let sizes = draft.integers(&[2, wide - 2]);
        let all = draft.node("Sigmoid", &[&turned], plain);
        let parts = draft.several("Split", &[&all, &sizes], 2, |node| node.int("axis", 4));
        let (two, grid) = (draft.scalar(2.0), draft.weights(&[1, 1, h, w, 2], 1));
        let places = draft.node("Mul", &[&parts[0], &two], plain);
        let places = draft.node("Add", &[&places, &grid], plain);
        draft.node("Concat", &[&places, &parts[1]], |node| node.int("axis", 4))
    } else {
        turned
    };
    let list = draft.integers(&[n, -1, wide]);
    draft.yields("Reshape", &[&turned, &list], vec![n, anchors * h * w, wide], plain)
}

/// Distances as means of distributions.
pub fn distribution(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    (c % 4 == 0 && c > 4 && h * w <= 256).then_some(())?;
    let bins = c / 4;
    let apart = draft.integers(&[n, 4, bins, h * w]);
    let apart = draft.node("Reshape", &[&x.name, &apart], plain);
    let turned = draft.node("Transpose", &[&apart], |node| node.ints("perm", &[0, 2, 1, 3]));
    let shares = draft.node("Softmax", &[&turned], |node| node.int("axis", 1));
    let bins: Vec<f32> = (0..bins).map(|bin| bin as f32 / 4.0).collect();
    let bins = draft.constant(&[1, bins.len() as i64, 1, 1], &bins);
    let means = draft.node("Conv", &[&shares, &bins], plain);
    let list = draft.integers(&[n, 4, h * w]);
    draft.yields("Reshape", &[&means, &list], vec![n, 4, h * w], plain)
}

/// Windows of a picture as a batch, and back: six axes.
pub fn partition(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [1, c, h, w] = x.picture()? else { return None };
    let side = how.of(&[4, 2]);
    (h % side == 0 && w % side == 0 && h > side && w > side).then_some(())?;
    let (rows, columns) = (h / side, w / side);
    let last = draft.node("Transpose", &[&x.name], |node| node.ints("perm", &[0, 2, 3, 1]));
    let apart = draft.integers(&[1, rows, side, columns, side, c]);
    let apart = draft.node("Reshape", &[&last, &apart], plain);
    let turned = draft.node("Transpose", &[&apart], |node| node.ints("perm", &[0, 1, 3, 2, 4, 5]));
    let batch = draft.integers(&[rows * columns, side * side, c]);
    let batch = draft.node("Reshape", &[&turned, &batch], plain);
    let weights = draft.weights(&[c, c], c);
    let inner = draft.node("MatMul", &[&batch, &weights], plain);
    let inner = if how.flips() { draft.node("Softmax", &[&inner], |node| node.int("axis", 1)) } else { inner };
    let apart = draft.integers(&[1, rows, columns, side, side, c]);
    let apart = draft.node("Reshape", &[&inner, &apart], plain);
    let turned = draft.node("Transpose", &[&apart], |node| node.ints("perm", &[0, 1, 3, 2, 4, 5]));
    let whole = draft.integers(&[1, h, w, c]);
    let whole = draft.node("Reshape", &[&turned, &whole], plain);
    draft.yields("Transpose", &[&whole], vec![1, c, h, w], |node| node.ints("perm", &[0, 3, 1, 2]))
}

/// What leaves an axis at one end comes in at the other.
pub fn rolled(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let size = x.shape[axis];
    (size > 2).then_some(())?;
    let [begin, cut, end, axes] = [0, 1 + how.below(2) as i64, i64::MAX, axis as i64].map(|it| draft.integers(&[it]));
    let tail = draft.node("Slice", &[&x.name, &cut, &end, &axes], plain);
    let head = draft.node("Slice", &[&x.name, &begin, &cut, &axes], plain);
    draft.yields("Concat", &[&tail, &head], x.shape.clone(), |node| node.int("axis", axis as i64))
}

/// Which places matter, by the mean and the largest of the channels.
pub fn spatial_gate(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    x.picture()?;
    let sides = ["ReduceMean", "ReduceMax"].map(|operator| {
        if draft.opset >= 18 {
            let axes = draft.integers(&[1]);
            return draft.node(operator, &[&x.name, &axes], plain);
        }
        draft.node(operator, &[&x.name], |node| node.ints("axes", &[1]))
    });
    let both = draft.node("Concat", &[&sides[0], &sides[1]], |node| node.int("axis", 1));
    let weights = draft.weights(&[1, 2, 3, 3], 18);
    let gate = draft.node("Conv", &[&both, &weights], |node| node.ints("pads", &[1; 4]));
    let gate = draft.node("Sigmoid", &[&gate], plain);
    draft.yields("Mul", &[&x.name, &gate], x.shape.clone(), plain)
}

/// Vectors by their mean square, as language models have them.
pub fn root_mean_square(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let last = *x.shape.last().filter(|&&last| last > 3 && x.rank() > 2)?;
    let (two, small) = (draft.scalar(2.0), draft.scalar(0.01));
    let squares = draft.node("Pow", &[&x.name, &two], plain);
    let mean = if draft.opset >= 18 {
        let axes = draft.integers(&[-1]);
        draft.node("ReduceMean", &[&squares, &axes], plain)
    } else {
        draft.node("ReduceMean", &[&squares], |node| node.ints("axes", &[-1]))
    };
    let mean = draft.node("Add", &[&mean, &small], plain);
    let root = draft.node("Sqrt", &[&mean], plain);
    let one = draft.scalar(1.0);
    let factor = draft.node("Div", &[&one, &root], plain);
    let normal = draft.node("Mul", &[&x.name, &factor], plain);
    let weights = draft.weights(&[last], 1);
    draft.yields("Mul", &[&weights, &normal], x.shape.clone(), plain)
}

/// The product of two different values, as queries and keys.
pub fn matched(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let rank = x.rank();
    (rank > 2).then_some(())?;
    let (batch, last) = (&x.shape[..rank - 2], x.shape[rank - 1]);
    let like = |shape: &[i64]| shape.len() == rank && shape[..rank - 2] == *batch && shape[rank - 1] == last;
    let other = draft.other(how, like)?;
    let mut order: Vec<i64> = (0..rank as i64).collect();
    order.swap(rank - 2, rank - 1);
    let turned = draft.node("Transpose", &[&other.name], |node| node.ints("perm", &order));
    let product = draft.node("MatMul", &[&x.name, &turned], plain);
    let scale = draft.scalar(1.0 / last as f32);
    let product = draft.node("Mul", &[&product, &scale], plain);
    draft.yields("Softmax", &[&product], x.with(rank - 1, other.shape[rank - 2]), |node| node.int("axis", -1))
}

/// A product with a batch of constant matrices.
pub fn batched_constant(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    (c <= 8).then_some(())?;
    if how.flips() {
        let weights = draft.weights(&[1, c, w, 4], w);
        return draft.yields("MatMul", &[&x.name, &weights], vec![n, c, h, 4], plain);
    }
    let weights = draft.weights(&[5, h], h);
    draft.yields("MatMul", &[&weights, &x.name], vec![n, c, 5, w], plain)
}

/// Comparison of two values, and the choice between them.
pub fn chosen(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let other = draft.other(how, |shape| shape == x.shape)?;
    let aside = draft.scalar(0.1731);
    let moved = draft.node("Add", &[&other.name, &aside], plain);
    let condition = draft.node(how.of(&["Greater", "LessOrEqual", "GreaterOrEqual"]), &[&x.name, &moved], plain);
    draft.yields("Where", &[&condition, &moved, &x.name], x.shape.clone(), plain)
}

/// A quotient and a power of what is above zero.
pub fn quotient(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let other = draft.other(how, |shape| shape == x.shape)?;
    let [half, most] = [0.5, 3.0].map(|number| draft.scalar(number));
    let above = draft.node("Clip", &[&other.name, &half, &most], plain);
    if how.flips() {
        return draft.yields("Div", &[&x.name, &above], x.shape.clone(), plain);
    }
    let exponent = draft.node("Clip", &[&x.name, &half, &most], plain);
    draft.yields("Pow", &[&above, &exponent], x.shape.clone(), plain)
}

/// Two axes at once, or all but the batch.
pub fn reduced_by_several(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let rank = x.rank();
    (rank > 2).then_some(())?;
    let axes: Vec<i64> = how.of(&[&[-2, -1][..], &[1, -1], &[1, 2]]).to_vec();
    let axes: Vec<i64> = if how.below(4) == 3 { (1..rank as i64).collect() } else { axes };
    let places: Vec<usize> = axes.iter().map(|&axis| axis.rem_euclid(rank as i64) as usize).collect();
    let operator = how.of(&["ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2", "ReduceMin"]);
    let keep = how.flips();
    let mut sorted = axes;
    sorted.sort_unstable_by_key(|axis| axis.rem_euclid(rank as i64));
    sorted.dedup_by_key(|axis| axis.rem_euclid(rank as i64));
    let set = |node: Node| node.int("keepdims", keep.into());
    let name = if draft.opset >= 18 || operator == "ReduceSum" {
        let axes = draft.integers(&sorted);
        draft.node(operator, &[&x.name, &axes], set)
    } else {
        draft.node(operator, &[&x.name], |node| set(node).ints("axes", &sorted))
    };
    let kept = |(place, &size): (usize, &i64)| match (places.contains(&place), keep) {
        (false, _) => Some(size),
        (true, true) => Some(1),
        (true, false) => None,
    };
    draft.keep(name, x.shape.iter().enumerate().filter_map(kept).collect())
}

/// Rows and columns at once, by one table each or by places of both.
pub fn gathered(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let size = x.shape[axis] as usize;
    let table: Vec<i64> = (0..4).map(|_| how.below(size) as i64).collect();
    let table = draft.tensor(&[2, 2], &table);
    let mut shape = x.shape.clone();
    shape.splice(axis..=axis, [2, 2]);
    (shape.len() < 6).then_some(())?;
    draft.yields("Gather", &[&x.name, &table], shape, |node| node.int("axis", axis as i64))
}

/// Equal parts, joined again in another order.
pub fn parts_in_order(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let count = how.of(&[2, 3, 4]);
    (x.shape[axis] % count == 0).then_some(())?;
    let sizes = draft.integers(&vec![x.shape[axis] / count; count as usize]);
    let mut parts = draft.several("Split", &[&x.name, &sizes], count as usize, |node| node.int("axis", axis as i64));
    parts[0] = draft.node(how.of(&["Relu", "Sigmoid", "Neg"]), &[&parts[0]], plain);
    parts.reverse();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    draft.yields("Concat", &parts, x.shape.clone(), |node| node.int("axis", axis as i64))
}

/// A constant joined with a value, as tokens and coordinates are.
pub fn joined_constant(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    (x.shape[0] == 1).then_some(())?;
    let constant = draft.weights(&x.with(axis, 2), 1);
    let inputs = if how.flips() { [&constant, &x.name] } else { [&x.name, &constant] };
    let shape = x.with(axis, x.shape[axis] + 2);
    draft.yields("Concat", &inputs.map(String::as_str), shape, |node| node.int("axis", axis as i64))
}
