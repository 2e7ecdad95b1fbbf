//! Values that are written to a block of others, as exporters write an assignment to a slice: `ScatterND` (ONNX's operator
//! set 11) whose indices are all places of the block, in order.

use super::super::draft::{Draft, Site};
use super::scatter::inside;
use crate::onnx::proto::NodeProto;
use crate::onnx::{Attributes, is_onnx_domain};

/// A block of some of the first axes; the others are whole.
struct Block {
    /// The first place along each axis.
    starts: Vec<i64>,
    /// How many places.
    lengths: Vec<i64>,
}

impl Block {
    /// Reads it; `None` where the indices are not known, or are no block inside of the data.
    fn of(site: &Site<'_>) -> Option<Self> {
        let (sizes, indices) = (site.sizes(0)?, site.sizes(1)?);
        let (&depth, grid) = indices.split_last()?;
        let depth = usize::try_from(depth).ok()?;
        if grid.contains(&0) || site.sizes(2)? != [grid, sizes.get(depth..)?].concat() {
            return None;
        }
        let runs = match site.constant_integers(1) {
            Some(indices) => {
                let column = |place| indices.iter().skip(place).step_by(depth).copied().collect::<Vec<_>>();
                (0..depth).map(|place| Run::of(&column(place), grid)).collect::<Option<Vec<_>>>()?
            }
            None => expanded(site, grid, depth)?,
        };
        // Each axis of the indices belongs to one axis of the data, in their order; what belongs to none is one place.
        let mut axes = grid.iter().enumerate().filter(|(_, length)| **length > 1);
        let mut block = Self { starts: Vec::new(), lengths: Vec::new() };
        for (run, size) in runs.iter().zip(&sizes) {
            let length = match run.axis {
                Some(axis) => *axes.next().filter(|(next, _)| *next == axis)?.1,
                None => 1,
            };
            let start = inside(run.first, *size)?;
            block.starts.push(Some(start).filter(|start| length <= size - start)?);
            block.lengths.push(length);
        }
        axes.next().is_none().then_some(block)
    }
}

/// Places along one axis of the data: always the same, or those behind each other along an axis of the indices.
struct Run {
    first: i64,
    axis: Option<usize>,
}

impl Run {
    /// Reads numbers of these sizes.
    fn of(numbers: &[i64], sizes: &[i64]) -> Option<Self> {
        let first = *numbers.first()?;
        if numbers.iter().all(|number| *number == first) {
            return Some(Self { first, axis: None });
        }
        let is_along = |axis: &usize| {
            let length = sizes.get(*axis).copied().unwrap_or(1).max(1);
            let step = sizes.iter().skip(axis + 1).product::<i64>().max(1);
            let at = |place: usize| first.checked_add(place as i64 / step % length);
            numbers.iter().enumerate().all(|(place, number)| at(place) == Some(*number))
        };
        let axis = (0..sizes.len()).find(is_along)?;
        Some(Self { first, axis: Some(axis) })
    }
}

/// The places along each axis, if the indices are put together of them, each repeated along the others. Large indices are
/// not computed.
fn expanded(site: &Site<'_>, grid: &[i64], depth: usize) -> Option<Vec<Run>> {
    let joined = producer(site, site.input(1)?, "Concat")?;
    let axis = Site::axis(Attributes(joined).int("axis")?, grid.len() + 1)?;
    if axis != grid.len() || joined.input.len() != depth {
        return None;
    }
    joined.input.iter().map(|column| repeated(site, column, grid)).collect()
}

/// The places that one of the joined values repeats.
fn repeated(site: &Site<'_>, column: &str, grid: &[i64]) -> Option<Run> {
    let inner = Site { node: producer(site, column, "Unsqueeze")?, ..*site };
    let value = inner.input(0)?;
    if inner.axes(grid.len() + 1)? != [grid.len()] || site.facts.sizes(value)? != grid {
        return None;
    }
    let value = match site.facts.is_constant(value) {
        true => value,
        false => producer(site, value, "Expand")?.input.first()?,
    };
    let mut sizes = site.facts.sizes(value)?;
    sizes.splice(0..0, std::iter::repeat_n(1, grid.len().checked_sub(sizes.len())?));
    Run::of(&site.facts.integers(value)?, &sizes)
}

fn producer<'model>(site: &Site<'model>, value: &str, operator: &str) -> Option<&'model NodeProto> {
    let node = site.model.graph().node.get(site.reads.producer(value)?)?;
    (node.op_type() == operator && is_onnx_domain(node.domain())).then_some(node)
}

/// Writes the block between what is around it.
pub(super) fn assigned(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (data, updates, output) = (site.input(0)?, site.input(2)?, site.output(0)?);
    if site.text("reduction", "none") != "none" {
        return None;
    }
    let (block, sizes) = (Block::of(site)?, site.sizes(0)?);
    let ranges =
        block.starts.iter().zip(&block.lengths).zip(&sizes).map(|((&start, &length), &size)| (start, length, size));
    let cut_axes: Vec<_> = ranges.enumerate().filter(|(_, (_, length, size))| length != size).collect();
    // From the first axis on, the data is cut to what is beside the block along one axis and to what is level with it.
    let mut level = data.to_owned();
    let mut around = Vec::new();
    for (place, &(axis, (start, length, size))) in cut_axes.iter().enumerate() {
        let mut cut = |from: i64, to: i64| draft.slice(&level, &[axis as i64], &[from], &[to]);
        let end = start + length;
        let before = (start > 0).then(|| cut(0, start));
        let after = (end < size).then(|| cut(end, size));
        around.push((axis, before, after));
        if place + 1 < cut_axes.len() {
            level = cut(start, end);
        }
    }
    let mut result = draft.reshape(updates, &[&block.lengths, sizes.get(block.lengths.len()..)?].concat());
    for (axis, before, after) in around.iter().rev() {
        let parts = [before.as_deref(), Some(&result), after.as_deref()];
        result = draft.concat(&parts.into_iter().flatten().collect::<Vec<_>>(), *axis);
    }
    draft.yields(&result, output);
    Some(())
}
