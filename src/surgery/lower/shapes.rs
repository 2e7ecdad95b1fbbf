//! Selecting, joining and converting elements; functions along axes.

use bytes::Bytes;

use super::super::build::{integer, integers_attribute};
use super::super::draft::{Draft, Site};
use super::whole::{floating, is_whole};
use crate::onnx::proto::TensorProto;
use crate::onnx::{ElementType, element_count, read_floats};

/// The first operator set whose `Softmax` is along one axis. Before it, all axes behind belong to it.
const ONE_AXIS: i64 = 13;

pub(super) fn coerced_softmax(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    if site.opset() >= ONE_AXIS {
        return None;
    }
    let sizes = site.sizes(0)?;
    let axis = Site::axis(site.integer("axis").unwrap_or(1), sizes.len())?;
    if sizes.iter().skip(axis + 1).all(|size| *size == 1) {
        return None;
    }
    let result = draft.coerced_softmax(site.node.op_type(), input, axis, &sizes)?;
    draft.yields(&result, output);
    Some(())
}

pub(super) fn triangle(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let sizes = site.sizes(0)?;
    let (_, &[rows, columns]) = sizes.split_last_chunk()?;
    let diagonal = match site.input(1) {
        Some(_) => *site.constant_integers(1)?.first()?,
        None => 0,
    };
    let element = site.facts.element(input)?;
    if !element.is_float() && !is_whole(element) && element != ElementType::Boolean {
        return None;
    }
    let input = &floating(site, draft, 0)?;
    let upper = site.integer("upper") != Some(0);
    let stays = |row: i64, column: i64| {
        let place = column.saturating_sub(row);
        if upper { place >= diagonal } else { place <= diagonal }
    };
    let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let mask: Vec<u8> = places.map(|(row, column)| stays(row, column).into()).collect();
    let mask = draft.constant(TensorProto {
        data_type: Some(ElementType::Boolean.code()),
        dims: vec![rows, columns],
        raw_data: Some(Bytes::from(mask)),
        ..TensorProto::default()
    });
    let zero = draft.number(0.0);
    let mut result = draft.apply("Where", &[&mask, input, &zero]);
    if !element.is_float() {
        result = draft.cast(&result, element);
    }
    draft.yields(&result, output);
    Some(())
}

pub(super) fn cast_like(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let element = site.facts.element(site.input(1)?)?;
    let result = draft.cast(site.input(0)?, element);
    draft.yields(&result, site.output(0)?);
    Some(())
}

pub(super) fn negative_padding(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let pads = match site.integers("pads") {
        Some(pads) => pads.to_vec(),
        None => site.constant_integers(1)?,
    };
    let sizes = site.sizes(0)?;
    if site.text("mode", "constant") != "constant" || site.input(3).is_some() || pads.iter().all(|pad| *pad >= 0) {
        return None;
    }
    let (before, behind) = pads.split_at_checked(sizes.len()).filter(|(_, behind)| behind.len() == sizes.len())?;
    let axes: Vec<i64> = (0..sizes.len() as i64).collect();
    let starts: Vec<i64> = before.iter().map(|pad| (-pad).max(0)).collect();
    let ends: Vec<i64> = sizes.iter().zip(behind).map(|(size, pad)| size + pad.min(&0)).collect();
    let mut result = draft.slice(input, &axes, &starts, &ends);
    let pads: Vec<i64> = pads.iter().map(|pad| *pad.max(&0)).collect();
    if pads.iter().any(|pad| *pad != 0) {
        let mut node = site.node.clone();
        if let Some(attribute) = node.attribute.iter_mut().find(|attribute| attribute.name() == "pads") {
            attribute.ints = pads;
        } else {
            *node.input.get_mut(1)? = draft.integers(&pads);
        }
        *node.input.first_mut()? = result;
        draft.keep(node);
        return Some(());
    }
    result = draft.unary("Identity", &result);
    draft.yields(&result, output);
    Some(())
}

/// The numbers of axes of which the compiler pads.
const PADDED_RANKS: std::ops::RangeInclusive<usize> = 3..=4;

/// An axis of a value that is padded: its size, and how many elements are added before and behind.
type PaddedAxis = (i64, i64, i64);

/// Pads values with fewer or more axes than the compiler pads: axes of size 1 are added, axes that are not padded joined.
pub(super) fn padding_rank(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let given = padded_axes(site)?;
    let rank = given.len();
    if PADDED_RANKS.contains(&rank) || rank == 0 {
        return None;
    }
    let mut axes: Vec<PaddedAxis> = Vec::new();
    for &(size, before, behind) in &given {
        match axes.last_mut() {
            Some((last, 0, 0)) if rank > *PADDED_RANKS.end() && (before, behind) == (0, 0) => {
                *last = last.checked_mul(size)?;
            }
            _ => axes.push((size, before, behind)),
        }
    }
    pad_as(site, draft, &given, axes)
}

/// The number of first axes that the importer lets be of size 1 where values are reflected.
const FREE_AXES: usize = 2;

/// Reflects values whose last axes are of size 1: such an axis is not padded, and may as well be the first.
pub(super) fn reflection(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let given = padded_axes(site)?;
    let is_short = |axis: &PaddedAxis| *axis == (1, 0, 0);
    if site.text("mode", "constant") != "reflect" || !given.iter().skip(FREE_AXES).any(is_short) {
        return None;
    }
    let axes: Vec<PaddedAxis> = given.iter().filter(|axis| !is_short(axis)).copied().collect();
    // Otherwise there is nothing to pad.
    if axes.is_empty() { None } else { pad_as(site, draft, &given, axes) }
}

/// Reads the axes of what a node pads.
fn padded_axes(site: &Site<'_>) -> Option<Vec<PaddedAxis>> {
    let sizes = site.sizes(0)?;
    let pads = match site.integers("pads") {
        Some(pads) => pads.to_vec(),
        None => site.constant_integers(1)?,
    };
    let (before, behind) = pads.split_at_checked(sizes.len()).filter(|(_, behind)| behind.len() == sizes.len())?;
    let axes = sizes.iter().zip(before).zip(behind).map(|((size, before), behind)| (*size, *before, *behind));
    // With a list of axes, pads are those of the axes in it.
    site.input(3).is_none().then(|| axes.collect())
}

/// Pads what a node pads in another shape, the one of `axes`; axes of size 1 are added in front for the compiler.
fn pad_as(site: &Site<'_>, draft: &mut Draft, given: &[PaddedAxis], mut axes: Vec<PaddedAxis>) -> Option<()> {
    while axes.len() < *PADDED_RANKS.start() {
        axes.insert(0, (1, 0, 0));
    }
    if !PADDED_RANKS.contains(&axes.len()) {
        return None;
    }
    let shape: Vec<i64> = axes.iter().map(|(size, ..)| *size).collect();
    let befores = axes.iter().map(|(_, before, _)| *before);
    let pads: Vec<i64> = befores.chain(axes.iter().map(|(.., behind)| *behind)).collect();
    let reshaped = draft.reshape(site.input(0)?, &shape);
    let mut attributes = site.node.attribute.clone();
    let mut inputs = site.node.input.clone();
    *inputs.first_mut()? = reshaped;
    if let Some(attribute) = attributes.iter_mut().find(|attribute| attribute.name() == "pads") {
        attribute.ints = pads;
    } else {
        *inputs.get_mut(1)? = draft.integers(&pads);
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let padded = draft.apply_with("Pad", &inputs, attributes);
    let wanted: Vec<i64> = given.iter().map(|(size, before, behind)| size + before + behind).collect();
    let result = draft.reshape(&padded, &wanted);
    draft.yields(&result, site.output(0)?);
    Some(())
}

/// The axis along which constants are lost.
const JOINED_AXIS: usize = 1;
/// The first operator set whose `Pad` takes its lengths as an input.
const PADS_AS_INPUT: i64 = 11;
/// The largest constant that is added, in elements.
const LARGEST_SUMMAND: usize = 1 << 24;

/// Writes constants that are joined with values as a sum: the values get zeros where the constants were, and these are
/// added there.
pub(super) fn joined_constants(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let output = site.output(0)?;
    let names: Vec<&str> = site.node.input.iter().map(String::as_str).collect();
    // By now constants are not computed by nodes.
    if names.iter().all(|name| site.reads.producer(name).is_some()) {
        return None;
    }
    let constant = |name: &&str| site.facts.constant(name);
    let (first, values) = (names.iter().find_map(constant)?, names.iter().any(|name| constant(name).is_none()));
    let axis = Site::axis(site.integer("axis")?, first.dims.len())?;
    let is_float = site.facts.element(output).is_some_and(ElementType::is_float);
    if axis != JOINED_AXIS || !values || !is_float || site.opset() < PADS_AS_INPUT {
        return None;
    }
    let inner = usize::try_from(element_count(first.dims.get(axis + 1..)?)?).ok()?;
    let outer = usize::try_from(element_count(first.dims.get(..axis)?)?).ok()?;
    // What is added to each member of the batch, and each value with the number of zeros before and behind it.
    let mut added: Vec<Vec<f64>> = vec![Vec::new(); outer];
    let mut padded: Vec<(&str, [i64; 2])> = Vec::new();
    let mut before = 0;
    for name in &names {
        let length = *site.facts.sizes(name)?.get(axis)?;
        let count = usize::try_from(length).ok()?.checked_mul(inner)?;
        let size = added.first()?.len().checked_add(count)?.checked_mul(outer)?;
        if count == 0 || size > LARGEST_SUMMAND {
            return None;
        }
        match (constant(name), padded.last_mut()) {
            (None, _) => {
                added.iter_mut().for_each(|row| row.resize(row.len() + count, 0.0));
                padded.push((*name, [before, 0]));
                before = 0;
            }
            (Some(tensor), last) => {
                let numbers = read_floats(tensor).ok()?;
                added.iter_mut().zip(numbers.chunks(count)).for_each(|(row, part)| row.extend_from_slice(part));
                *last.map_or(&mut before, |(_, [_, behind])| behind) += length;
            }
        }
    }
    let rank = first.dims.len();
    let parts: Vec<String> = padded
        .into_iter()
        .map(|(name, lengths)| {
            if lengths == [0, 0] {
                return name.to_owned();
            }
            let mut pads = vec![0; 2 * rank];
            for (place, length) in [axis, rank + axis].into_iter().zip(lengths) {
                pads.iter_mut().skip(place).take(1).for_each(|pad| *pad = length);
            }
            let pads = draft.integers(&pads);
            draft.apply("Pad", &[name, &pads])
        })
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let joined = match parts.as_slice() {
        [part] => (*part).to_owned(),
        parts => draft.concat(parts, axis),
    };
    let mut dims = first.dims.clone();
    *dims.get_mut(axis)? = i64::try_from(added.first()?.len().checked_div(inner)?).ok()?;
    let added = draft.floats(&dims, &added.concat());
    let result = draft.binary("Add", &joined, &added);
    draft.yields(&result, output);
    Some(())
}

/// Names the axes of size 1 that a node drops.
pub(super) fn squeezed_axes(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    if site.integers("axes").is_some() || site.input(1).is_some() {
        return None;
    }
    let (input, output) = (site.input(0)?, site.output(0)?);
    let sizes = site.sizes(0)?;
    let axes: Vec<i64> = (0..).zip(&sizes).filter(|(_, size)| **size == 1).map(|(axis, _)| axis).collect();
    let result = if axes.is_empty() { input.to_owned() } else { draft.squeezing("Squeeze", input, &axes) };
    draft.yields(&result, output);
    Some(())
}

/// Leaves out inputs at the end of a node that it does not have.
pub(super) fn without_empty(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    site.node.input.last().filter(|name| name.is_empty())?;
    let mut node = site.node.clone();
    let count = node.input.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    node.input.truncate(count);
    draft.keep(node);
    Some(())
}

/// Says the axes of a `Slice` that says none: the first, as many as there are starts.
pub(super) fn named_axes(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let is_older = site.node.input.len() < 2;
    let count = match site.integers("starts").filter(|_| is_older) {
        Some(starts) => i64::try_from(starts.len()).ok()?,
        None => *site.sizes(1)?.first()?,
    };
    if site.input(3).is_some() || site.attribute("axes").is_some() {
        return None;
    }
    let axes: Vec<i64> = (0..count).collect();
    let mut node = site.node.clone();
    if is_older {
        node.attribute.push(integers_attribute("axes", axes));
    } else {
        let axes = draft.integers(&axes);
        node.input.resize(node.input.len().max(4), String::new());
        *node.input.get_mut(3)? = axes;
    }
    draft.keep(node);
    Some(())
}

/// Counts the axis of a node from the beginning.
pub(super) fn positive_axis(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let given = site.integer("axis").filter(|axis| *axis < 0)?;
    let axis = i64::try_from(Site::axis(given, site.rank(0)?)?).ok()?;
    let mut node = site.node.clone();
    node.attribute.retain(|attribute| attribute.name() != "axis");
    node.attribute.push(integer("axis", axis));
    draft.keep(node);
    Some(())
}

/// Counts constant indices from the beginning.
pub(super) fn positive_indices(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let indices = site.constant_integers(1)?;
    if indices.iter().all(|index| *index >= 0) {
        return None;
    }
    let sizes = site.sizes(0)?;
    let axis = Site::axis(site.integer("axis").unwrap_or(0), sizes.len())?;
    let size = *sizes.get(axis)?;
    let indices: Vec<i64> = indices.iter().map(|index| if *index < 0 { index + size } else { *index }).collect();
    if indices.iter().any(|index| *index < 0) {
        return None;
    }
    let mut node = site.node.clone();
    *node.input.get_mut(1)? = draft.shaped_integers(&site.constant(1)?.dims, &indices);
    draft.keep(node);
    Some(())
}

pub(super) fn sum_of_one(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let [input] = site.node.input.as_slice() else { return None };
    draft.yields(input, site.output(0)?);
    Some(())
}
