//! Pieces that are cut out of values, and pieces that values are put together of.

use std::iter;

use super::super::build::integer;
use super::super::copied_views::is_left_behind;
use super::super::draft::{Draft, Site};
use crate::onnx::proto::NodeProto;
use crate::onnx::{Attributes, ElementType, is_onnx_domain};

/// The axis along which the CPU device cuts without copying, if there is one member of the batch.
const CUT_AXIS: usize = 1;

/// The operator that copies a value: neither the compiler nor the CPU device leaves it out.
const COPY: &str = "Max";

/// Operators that OpenVINO knows to repeat operands of a smaller shape.
const ARITHMETIC: [&str; 10] = ["Add", "Div", "Max", "Mean", "Min", "Mod", "Mul", "Pow", "Sub", "Sum"];

/// Reduces a copy of a piece: the CPU device reads other elements than those of a piece, and writes over its neighbours,
/// where it reduces and does not pool. Measured for all axes of two to five dimensions.
pub(super) fn reduced_piece(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let sizes = site.sizes(0)?;
    let axes = site.axes(sizes.len())?;
    let is_pooled = site.node.op_type() != "ReduceMin" && axes.is_sorted_by(|a, b| a + 1 == *b);
    let is_float = site.facts.element(input).is_some_and(ElementType::is_float);
    if is_pooled || !is_float || sizes.len() < 2 || sizes.first() != Some(&1) || !is_cut(site, input) {
        return None;
    }
    reduce_copy(site, draft, input, output)
}

/// Pools a copy of a piece with one channel, and joins a copy of what is pooled: the CPU device divides by the whole window
/// where that is over the edge, too. Measured for poolings of one and more channels, with the edge counted and without.
pub(super) fn pooled_piece(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let counts_edge = site.integer("count_include_pad").unwrap_or(0) != 0;
    let is_padded = site.integers("pads").is_some_and(|pads| pads.iter().any(|pad| *pad != 0));
    if counts_edge || !is_padded || site.sizes(0)?.get(CUT_AXIS) != Some(&1) {
        return None;
    }
    let (is_cut, is_joined) = (is_cut(site, input), is_joined(site, output));
    if !is_cut && !is_joined {
        return None;
    }
    among_copies(site, draft, [is_cut, is_joined])
}

/// Normalizes a copy of a piece, and joins a copy of what is normalized: the CPU device has no layer that reads or writes
/// a part of a value. Measured for pieces along all axes of pictures.
pub(super) fn normalized_piece(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let producer = site.reads.producer(input).and_then(|place| site.model.graph().node.get(place));
    let is_cut = producer.is_some_and(|node| is_onnx_domain(node.domain()) && node.op_type() == "Split");
    let is_joined = is_joined(site, output);
    if !is_cut && !is_joined {
        return None;
    }
    among_copies(site, draft, [is_cut, is_joined])
}

/// Convolves a copy of a piece, and gives a copy of the result to those that read it, where a transposed convolution has
/// groups of several channels: the CPU device reads and writes other places than those of a part, and crashes or computes
/// something else; what it merges with the convolution is in the place of the result. Measured for groups of one to 16
/// channels, and for convolutions that are not transposed, which are right.
pub(super) fn transposed_piece(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let groups = site.integer("group").unwrap_or(1);
    if groups == 1 || site.sizes(1)?.first()? == &groups {
        return None;
    }
    let reads_on = |place: &usize| site.model.graph().node.get(*place).is_some_and(|node| node.op_type() != COPY);
    let (is_cut, is_read) = (is_cut(site, input), site.reads.readers(output).iter().any(reads_on));
    if !is_cut && !is_read {
        return None;
    }
    among_copies(site, draft, [is_cut, is_read])
}

/// Whether others are joined to a value.
fn is_joined(site: &Site<'_>, value: &str) -> bool {
    let joins = |place: &usize| site.model.graph().node.get(*place).is_some_and(|node| node.op_type() == "Concat");
    site.reads.readers(value).iter().any(joins)
}

/// Writes a node that reads a copy, or whose result is copied, as wanted.
fn among_copies(site: &Site<'_>, draft: &mut Draft, [before, behind]: [bool; 2]) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let copy = |draft: &mut Draft, value: &str, wanted: bool| match wanted {
        true => draft.apply(COPY, &[value, value]),
        false => value.to_owned(),
    };
    let input = copy(draft, input, before);
    let others = site.node.input.iter().skip(1).map(String::as_str);
    let inputs: Vec<&str> = iter::once(input.as_str()).chain(others).collect();
    let made = draft.apply_with(site.node.op_type(), &inputs, site.node.attribute.clone());
    let result = copy(draft, &made, behind);
    draft.yields(&result, output);
    Some(())
}

/// The axis of the channels, and the number of dimensions of pictures.
const CHANNELS: usize = 1;
const PICTURE: usize = 4;

/// Reduces a copy of what a convolution or a pooling yields, over its channels: what the compiler leaves in fast memory
/// behind such a layer, it cannot hand to the pooling that it makes of a reduction over channels. Measured for each of
/// these operators and what the compiler merges with them.
pub(super) fn reduced_channels(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let rank = site.rank(0)?;
    let axes = site.axes(rank)?;
    let is_all = axes.len() + 1 >= rank;
    if is_all
        || !axes.contains(&CHANNELS)
        || !site.facts.element(input)?.is_float()
        || !is_left_behind(input, site.model.graph(), site.reads, site.facts)
    {
        return None;
    }
    reduce_copy(site, draft, input, output)
}

/// Writes the reduction of a copy of its input.
fn reduce_copy(site: &Site<'_>, draft: &mut Draft, input: &str, output: &str) -> Option<()> {
    let copy = draft.apply(COPY, &[input, input]);
    let mut inputs: Vec<&str> = site.node.input.iter().map(String::as_str).collect();
    *inputs.first_mut()? = &copy;
    let result = draft.apply_with(site.node.op_type(), &inputs, site.node.attribute.clone());
    draft.yields(&result, output);
    Some(())
}

/// Whether a value is cut out of another one along [`CUT_AXIS`], or what takes its place.
fn is_cut(site: &Site<'_>, value: &str) -> bool {
    let Some(node) = site.reads.producer(value).and_then(|place| site.model.graph().node.get(place)) else {
        return false;
    };
    let sizes = site.facts.sizes(value).unwrap_or_default();
    // Where dimensions of one come first, the next one is cut the same way.
    let before = |axis: usize| sizes.get(CUT_AXIS..axis).unwrap_or_default();
    let is_along = |axis: i64| {
        let axis = Site::axis(axis, sizes.len()).filter(|axis| *axis >= CUT_AXIS);
        axis.is_some_and(|axis| before(axis).iter().all(|size| *size == 1))
    };
    match node.op_type() {
        _ if !is_onnx_domain(node.domain()) => false,
        "Split" => is_along(Attributes(node).int("axis").unwrap_or(0)),
        "Slice" => {
            let cut = Site { node, ..*site };
            // Without axes it is cut along the first ones.
            let axes = cut.integers("axes").map(<[i64]>::to_vec).or_else(|| cut.constant_integers(3));
            axes.is_none_or(|axes| axes.into_iter().any(is_along))
        }
        _ => false,
    }
}

/// Leaves out the parts without elements of what is joined.
pub(super) fn joined_with_nothing(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let output = site.output(0)?;
    let axis = Site::axis(site.integer("axis")?, site.rank(0)?)?;
    let is_empty = |name: &&str| site.facts.sizes(name).is_some_and(|sizes| sizes.get(axis) == Some(&0));
    let parts: Vec<&str> = site.node.input.iter().map(String::as_str).filter(|name| !is_empty(name)).collect();
    if parts.is_empty() || parts.len() == site.node.input.len() {
        return None;
    }
    let result = match parts.as_slice() {
        [part] => (*part).to_owned(),
        parts => draft.apply_with("Concat", parts, vec![integer("axis", axis as i64)]),
    };
    draft.yields(&result, output);
    Some(())
}

/// Joins copies of what is fed to the network along the last dimension, if that is joined along the channels then: the
/// compiler cannot place it in the middle of both. Measured for all axes of three to five dimensions, of what is fed, its
/// parts and shapes; all others it can.
pub(super) fn joined_input(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let output = site.output(0)?;
    let nodes = &site.model.graph().node;
    let is_fed = |value: &str| site.reads.producer(value).is_none() && !site.facts.is_constant(value);
    let joins = |node: &NodeProto, wanted: usize| {
        let axis = Attributes(node).int("axis").and_then(|axis| Site::axis(axis, PICTURE));
        node.op_type() == "Concat" && is_onnx_domain(node.domain()) && axis == Some(wanted)
    };
    let is_joined_again = |place: &usize| nodes.get(*place).is_some_and(|node| joins(node, CHANNELS));
    if site.rank(0)? != PICTURE
        || !joins(site.node, PICTURE - 1)
        || !site.node.input.iter().any(|value| is_fed(value))
        || !site.reads.readers(output).iter().any(is_joined_again)
    {
        return None;
    }
    let part = |draft: &mut Draft, value: &String| match is_fed(value) {
        true => draft.apply(COPY, &[value, value]),
        false => value.clone(),
    };
    let parts: Vec<String> = site.node.input.iter().map(|value| part(draft, value)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let joined = draft.concat(&parts, PICTURE - 1);
    draft.yields(&joined, output);
    Some(())
}

/// Joins what was joined along the last dimension before, with that dimension and the one before it as one: the compiler
/// does not join along the last dimension but one what was itself joined along the last. Measured for all axes of two to
/// five dimensions; of two, it does.
pub(super) fn joined_again(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let output = site.output(0)?;
    let rank = site.rank(0)?;
    let axis = Site::axis(site.integer("axis")?, rank)?;
    let is_joined = |value: &String| {
        let maker = site.reads.producer(value).and_then(|place| site.model.graph().node.get(place));
        let maker = maker.filter(|node| node.op_type() == "Concat" && is_onnx_domain(node.domain()));
        maker.and_then(|node| Site::axis(Attributes(node).int("axis")?, rank)) == Some(axis + 1)
    };
    if rank < 3 || axis + 2 != rank || !site.node.input.iter().any(is_joined) {
        return None;
    }
    let whole = site.facts.sizes(output)?;
    let mut parts = Vec::new();
    for input in &site.node.input {
        let sizes = site.facts.sizes(input)?;
        let (outer, inner) = sizes.split_at_checked(axis)?;
        let length = inner.iter().try_fold(1_i64, |all, size| all.checked_mul(*size))?;
        parts.push(draft.reshape(input, &[outer, &[length]].concat()));
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let joined = draft.concat(&parts, axis);
    let result = draft.reshape(&joined, &whole);
    draft.yields(&result, output);
    Some(())
}

/// Repeats a value that is expanded, if arithmetic is among several readers of that: where the other operand has the whole
/// shape, OpenVINO gives to arithmetic, and to all others that read it, what is not expanded yet.
pub(super) fn expanded(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let nodes = &site.model.graph().node;
    let readers: Vec<&NodeProto> = site.reads.readers(output).iter().filter_map(|place| nodes.get(*place)).collect();
    let reads = readers.iter().flat_map(|node| &node.input).filter(|name| *name == output).count();
    let is_arithmetic = |node: &&NodeProto| is_onnx_domain(node.domain()) && ARITHMETIC.contains(&node.op_type());
    if reads + usize::from(site.reads.is_output(output)) < 2 || !readers.iter().any(is_arithmetic) {
        return None;
    }
    let (own, whole) = (site.sizes(0)?, site.facts.sizes(output)?);
    let added = whole.len().checked_sub(own.len())?;
    let own = [vec![1; added], own].concat();
    let times = |(size, whole): (&i64, &i64)| if size == whole { 1 } else { *whole };
    let times: Vec<i64> = own.iter().zip(&whole).map(times).collect();
    let shaped = if added == 0 { input.to_owned() } else { draft.reshape(input, &own) };
    let times = draft.integers(&times);
    let result = draft.apply("Tile", &[&shaped, &times]);
    draft.yields(&result, output);
    Some(())
}
