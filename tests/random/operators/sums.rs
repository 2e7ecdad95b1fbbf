//! Sums along axes, and norms.

use super::plain;
use crate::builder::Node;
use crate::draft::{Draft, How, Value};

pub fn batch_norm(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let [_, c, _, ..] = x.shape[..] else { return None };
    let (scale, bias) = (draft.positive(c), draft.weights(&[c], 1));
    let (mean, variance) = (draft.weights(&[c], 1), draft.positive(c));
    draft.yields("BatchNormalization", &[&x.name, &scale, &bias, &mean, &variance], x.shape.clone(), plain)
}

pub fn instance_norm(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let [_, c, h, w] = x.picture()?;
    (h * w > 3).then_some(())?;
    let (scale, bias) = (draft.positive(c), draft.weights(&[c], 1));
    let set = |node: Node| node.float("epsilon", 0.01);
    draft.yields("InstanceNormalization", &[&x.name, &scale, &bias], x.shape.clone(), set)
}

/// Written out where the opset has none.
pub fn layer_norm(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = if how.flips() { x.rank() - 1 } else { how.axis(x)? };
    let sizes = &x.shape[axis..];
    let count: i64 = sizes.iter().product();
    (count > 3 && axis > 0).then_some(())?;
    if draft.opset >= 17 {
        let (scale, bias) = (draft.weights(sizes, 1), draft.weights(sizes, 1));
        let set = |node: Node| node.int("axis", axis as i64).float("epsilon", 0.01);
        return draft.yields("LayerNormalization", &[&x.name, &scale, &bias], x.shape.clone(), set);
    }
    let axes: Vec<i64> = (axis..x.rank()).map(|axis| axis as i64).collect();
    let mean = draft.node("ReduceMean", &[&x.name], |node| node.ints("axes", &axes));
    let centred = draft.node("Sub", &[&x.name, &mean], plain);
    let (two, epsilon) = (draft.scalar(2.0), draft.scalar(0.01));
    let squares = draft.node("Pow", &[&centred, &two], plain);
    let variance = draft.node("ReduceMean", &[&squares], |node| node.ints("axes", &axes));
    let variance = draft.node("Add", &[&variance, &epsilon], plain);
    let deviation = draft.node("Sqrt", &[&variance], plain);
    draft.yields("Div", &[&centred, &deviation], x.shape.clone(), plain)
}

/// Vectors of length one.
pub fn length_norm(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    let length = reduced(draft, "ReduceL2", &x.name, axis, true);
    let least = draft.scalar(0.05);
    let length = draft.node("Clip", &[&length, &least], plain);
    draft.yields("Div", &[&x.name, &length], x.shape.clone(), plain)
}

/// As exporters write it for opsets that lack it.
pub fn group_norm(draft: &mut Draft, x: &Value, _: &mut How) -> Option<()> {
    let [n, c, h, w] = x.picture()?;
    (c % 2 == 0 && c * h * w > 8).then_some(())?;
    let (flat, back) = (draft.integers(&[0, 2, -1]), draft.integers(&[n, c, h, w]));
    let groups = draft.node("Reshape", &[&x.name, &flat], plain);
    let (ones, zeros) = (draft.constant(&[2], &[1.0; 2]), draft.constant(&[2], &[0.0; 2]));
    let set = |node: Node| node.float("epsilon", 0.01);
    let normal = draft.node("InstanceNormalization", &[&groups, &ones, &zeros], set);
    let normal = draft.node("Reshape", &[&normal, &back], plain);
    let scale = draft.weights(&[c, 1, 1], 1);
    draft.yields("Mul", &[&normal, &scale], x.shape.clone(), plain)
}

pub fn softmax(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)? as i64;
    let operator = how.of(&["Softmax", "Softmax", "LogSoftmax"]);
    draft.yields(operator, &[&x.name], x.shape.clone(), |node| node.int("axis", axis))
}

/// A reduction of one axis, whose place depends on the opset.
fn reduced(draft: &mut Draft, operator: &str, x: &str, axis: usize, keep: bool) -> String {
    let axis = axis as i64;
    if draft.opset >= 18 || operator == "ReduceSum" {
        let axes = draft.integers(&[axis]);
        return draft.node(operator, &[x, &axes], |node| node.int("keepdims", keep.into()));
    }
    draft.node(operator, &[x], |node| node.ints("axes", &[axis]).int("keepdims", keep.into()))
}

pub fn reduce(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    const ALL: [&str; 7] = ["ReduceMean", "ReduceMax", "ReduceSum", "ReduceMin", "ReduceL2", "ReduceL1", "ReduceMean"];
    let (operator, axis, keep) = (how.of(&ALL), how.axis(x)?, how.of(&[true, true, false]));
    let name = reduced(draft, operator, &x.name, axis, keep);
    let mut shape = x.with(axis, 1);
    if !keep {
        shape.remove(axis);
    }
    draft.keep(name, shape)
}

pub fn running_sum(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let axis = how.axis(x)?;
    (x.shape[axis] <= 16).then_some(())?;
    let place = draft.tensor(&[], &[axis as i64]);
    let scale = draft.scalar(0.25);
    let sums = draft.node("CumSum", &[&x.name, &place], |node| node.int("reverse", how.flips().into()));
    draft.yields("Mul", &[&sums, &scale], x.shape.clone(), plain)
}

pub fn standard_moments(draft: &mut Draft, x: &Value, how: &mut How) -> Option<()> {
    let [_, c, h, w] = x.picture()?;
    (h * w > 3 && c > 1).then_some(())?;
    let axes: &[i64] = if how.flips() { &[2, 3] } else { &[1, 2, 3] };
    // Where all are the same, their deviation is zero.
    let noise = draft.weights(&x.shape, 1);
    let inner = draft.node("Add", &[&x.name, &noise], plain);
    draft.yields("MeanVarianceNormalization", &[&inner], x.shape.clone(), |node| node.ints("axes", axes))
}
