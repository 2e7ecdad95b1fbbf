//! Normalizations, as arithmetic on means.

use super::super::draft::{Draft, Site};
use super::comparisons::magnitude;
use crate::onnx::{element_count, read_floats};

pub(super) fn rewrite(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    match site.node.op_type() {
        "LayerNormalization" => layer(site, draft),
        // What ONNX Runtime put into the domain of ONNX, which named it later.
        "RMSNormalization" | "SimplifiedLayerNormalization" => root_mean_square(site, draft),
        "GroupNormalization" => group(site, draft),
        _ => None,
    }
}

/// Centres a value along axes and divides it by its deviation; returns the result, the mean and the inverse deviation.
fn standardized(draft: &mut Draft, input: &str, axes: &[usize], epsilon: f64) -> [String; 3] {
    let mean = draft.reduce("ReduceMean", input, axes, true);
    let centred = draft.binary("Sub", input, &mean);
    let deviation = root_mean(draft, &centred, axes, epsilon);
    let result = draft.binary("Div", &centred, &deviation);
    [result, mean, deviation]
}

/// The root of the mean of squares along axes.
fn root_mean(draft: &mut Draft, input: &str, axes: &[usize], epsilon: f64) -> String {
    let square = draft.binary("Mul", input, input);
    let mean = draft.reduce("ReduceMean", &square, axes, true);
    let raised = if epsilon == 0.0 { mean } else { draft.with_number("Add", &mean, epsilon) };
    draft.unary("Sqrt", &raised)
}

/// A length along axes, as the common transformations of OpenVINO write it.
pub(super) fn length(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let axes = site.axes(site.rank(0)?)?;
    if axes.is_empty() || !site.facts.element(input)?.is_float() {
        return None;
    }
    let square = draft.with_number("Pow", input, 2.0);
    let sum = draft.reduce("ReduceSum", &square, &axes, site.integer("keepdims") != Some(0));
    let root = draft.unary("Sqrt", &sum);
    draft.yields(&root, output);
    Some(())
}

fn trailing_axes(site: &Site<'_>) -> Option<Vec<usize>> {
    let rank = site.rank(0)?;
    let first = Site::axis(site.integer("axis").unwrap_or(-1), rank)?;
    Some((first..rank).collect())
}

fn layer(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, scale, output) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let axes = trailing_axes(site)?;
    let [normal, mean, deviation] = standardized(draft, input, &axes, site.float("epsilon", 1e-5));
    let mut result = draft.binary("Mul", &normal, scale);
    if let Some(shift) = site.input(2) {
        result = draft.binary("Add", &result, shift);
    }
    draft.yields(&result, output);
    if let Some(output) = site.output(1) {
        draft.yields(&mean, output);
    }
    if let Some(output) = site.output(2) {
        let inverse = draft.unary("Reciprocal", &deviation);
        draft.yields(&inverse, output);
    }
    Some(())
}

fn root_mean_square(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, scale, output) = (site.input(0)?, site.input(1)?, site.output(0)?);
    let axes = trailing_axes(site)?;
    let deviation = root_mean(draft, input, &axes, site.float("epsilon", 1e-5));
    let normal = draft.binary("Div", input, &deviation);
    let result = draft.binary("Mul", &normal, scale);
    draft.yields(&result, output);
    if let Some(output) = site.output(1) {
        let inverse = draft.unary("Reciprocal", &deviation);
        draft.yields(&inverse, output);
    }
    Some(())
}

/// The first operator set in which scale and shift are given for each channel and not for each group.
const AFFINE_BY_CHANNEL: i64 = 21;

fn group(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let sizes = site.sizes(0)?;
    let &[_, channels, ref space @ ..] = sizes.as_slice() else { return None };
    let groups = site.integer("num_groups").filter(|groups| *groups > 0 && channels % groups == 0)?;
    let inner = i64::try_from(element_count(space)?).ok()?;
    let members = channels / groups;
    // The compiler changes the size of the batch, so it is copied and not stated.
    let apart = draft.reshape(input, &[0, groups, members.checked_mul(inner)?]);
    let whole = [&[0], sizes.get(1..)?].concat();
    let [normal, ..] = standardized(draft, &apart, &[2], site.float("epsilon", 1e-5));
    let (scale, shift) = (site.input(1)?, site.input(2)?);
    let affine = |draft: &mut Draft, value: &str, dims: &[i64]| {
        let scale = draft.reshape(scale, dims);
        let shift = draft.reshape(shift, dims);
        let scaled = draft.binary("Mul", value, &scale);
        draft.binary("Add", &scaled, &shift)
    };
    let result = if site.opset() >= AFFINE_BY_CHANNEL {
        let together = draft.reshape(&normal, &whole);
        let mut dims = vec![1; sizes.len()];
        *dims.get_mut(1)? = channels;
        affine(draft, &together, &dims)
    } else {
        let scaled = affine(draft, &normal, &[1, groups, 1]);
        draft.reshape(&scaled, &whole)
    };
    draft.yields(&result, output);
    Some(())
}

/// What the standard's definition of the operator adds to the deviation.
const EPSILON: f64 = 1e-9;

/// The compiler takes the axes of height and width, with or without those of channels.
pub(super) fn mean_variance(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let rank = site.rank(0)?;
    let axes = site.integers("axes").unwrap_or(&[0, 2, 3]);
    let mut axes = axes.iter().map(|&axis| Site::axis(axis, rank)).collect::<Option<Vec<_>>>()?;
    axes.sort_unstable();
    if rank == 4 && (axes == [2, 3] || axes == [1, 2, 3]) {
        return None;
    }
    let mean = draft.reduce("ReduceMean", input, &axes, true);
    let centred = draft.binary("Sub", input, &mean);
    let deviation = root_mean(draft, &centred, &axes, 0.0);
    let raised = draft.with_number("Add", &deviation, EPSILON);
    let result = draft.binary("Div", &centred, &raised);
    draft.yields(&result, output);
    Some(())
}

/// Normalizes each channel by its own statistics, as a batch normalization does that is still in training (ONNX's
/// `BatchNormalization` from operator set 14 on, `training_mode`): networks with standardized weights are exported so, and
/// what is computed of weights becomes constants.
pub(super) fn trained(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    if site.integer("training_mode") != Some(1) || (1..=2).any(|place| site.is_read(place)) {
        return None;
    }
    let sizes = site.sizes(0)?;
    let axes: Vec<usize> = (0..sizes.len()).filter(|axis| *axis != 1).collect();
    let by_channel: Vec<i64> = (0..sizes.len()).map(|axis| if axis == 1 { -1 } else { 1 }).collect();
    let [normal, ..] = standardized(draft, input, &axes, site.float("epsilon", 1e-5));
    let (scale, shift) = (draft.reshape(site.input(1)?, &by_channel), draft.reshape(site.input(2)?, &by_channel));
    let scaled = draft.binary("Mul", &normal, &scale);
    let result = draft.binary("Add", &scaled, &shift);
    draft.yields(&result, output);
    Some(())
}

/// Writes the squares of a centred value as products where the compiler has no layer for its normalization: OpenVINO makes
/// one layer of a mean, of what is left without it, and of the mean of the squares of that, if they are powers.
pub(super) fn squares(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let maker = |name: &str| site.model.graph().node.get(site.reads.producer(name)?);
    let centring = maker(input).filter(|node| node.op_type() == "Sub")?;
    let [value, mean] = centring.input.as_slice() else { return None };
    let mean = maker(mean).filter(|node| node.op_type() == "ReduceMean" && node.input.first() == Some(value))?;
    let mean = Site { node: mean, ..*site };
    let [exponent] = read_floats(site.constant(1)?).ok()?[..] else { return None };
    let rank = site.facts.rank(value)?;
    if exponent != 2.0 || is_normalized(rank, &mean.axes(rank)?) {
        return None;
    }
    let result = draft.binary("Mul", input, input);
    draft.yields(&result, output);
    Some(())
}

/// Whether the compiler has a layer that normalizes along these axes of a value.
fn is_normalized(rank: usize, axes: &[usize]) -> bool {
    match rank {
        3 => matches!(axes, [2] | [1, 2] | [0, 1, 2]),
        4 => matches!(axes, [3] | [2, 3] | [1, 2, 3]),
        _ => false,
    }
}

/// Normalizes the instances of a value with many axes of space as those of one with two.
pub(super) fn instances(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let sizes = site.sizes(0)?;
    let &[_, channels, first, _, _, ..] = sizes.as_slice() else { return None };
    // The compiler changes the size of the batch, so it is copied and not stated.
    let flat = draft.reshape(input, &[0, channels, first, -1]);
    let inputs = [flat.as_str(), site.input(1)?, site.input(2)?];
    let normal = draft.apply_with("InstanceNormalization", &inputs, site.node.attribute.clone());
    let result = draft.reshape(&normal, &[&[0], sizes.get(1..)?].concat());
    draft.yields(&result, output);
    Some(())
}

/// Less than any sum of magnitudes that is not zero, as halves go.
const LEAST_SUM: f64 = 5.9e-8;

/// Divides by the sum of the magnitudes along an axis (`LpNormalization` with `p` of 1).
pub(super) fn shares(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let input = site.input(0)?;
    if site.integer("p") != Some(1) {
        return None;
    }
    let axis = Site::axis(site.integer("axis").unwrap_or(-1), site.rank(0)?)?;
    let sizes = magnitude(draft, input);
    let sum = draft.reduce("ReduceSum", &sizes, &[axis], true);
    // Zeros stay zeros.
    let least = draft.number(LEAST_SUM);
    let sum = draft.apply("Max", &[&sum, &least]);
    let result = draft.binary("Div", input, &sum);
    draft.yields(&result, site.output(0)?);
    Some(())
}
