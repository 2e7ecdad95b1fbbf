//! Operators that move elements without looking at them.

use super::Task;
use crate::onnx::array::Array;
use crate::onnx::element::ElementType;
use crate::onnx::geometry::{self, Offsets, broadcast, repeated, strides};

/// Copies the elements at the places that strides describe.
fn pick(task: &Task<'_>, array: &Array, sizes: Vec<usize>, steps: &[isize], start: isize) -> Option<Array> {
    let count = task.room(&sizes, array.element())?;
    let places = Offsets::new(&sizes, steps, start);
    let source = array.bytes();
    // Weights are large, so each width has code of its own.
    let bytes = match array.width() {
        1 => collected::<1>(source, places, count),
        2 => collected::<2>(source, places, count),
        4 => collected::<4>(source, places, count),
        8 => collected::<8>(source, places, count),
        16 => collected::<16>(source, places, count),
        _ => None,
    }?;
    Array::new(array.element(), sizes, bytes.into())
}

fn collected<const WIDTH: usize>(source: &[u8], places: Offsets<'_>, count: usize) -> Option<Vec<u8>> {
    let elements = source.as_chunks::<WIDTH>().0;
    let mut picked = Vec::with_capacity(count);
    for place in places {
        picked.push(*elements.get(place)?);
    }
    Some(picked.into_flattened())
}

pub(super) fn reshape(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    let target = task.integers("shape", 1)?;
    input.reshaped(geometry::reshape(input.sizes(), &target, task.attributes.flag("allowzero"))?)
}

pub(super) fn flatten(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    let rank = input.sizes().len();
    let axis = task.attributes.int("axis").unwrap_or(1);
    let axis = if axis == i64::try_from(rank).ok()? { rank } else { geometry::axis(axis, rank)? };
    let (outer, inner) = input.sizes().split_at_checked(axis)?;
    input.reshaped(vec![outer.iter().product(), inner.iter().product()])
}

pub(super) fn squeeze(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    let sizes = input.sizes();
    let axes = match task.integers("axes", 1) {
        Some(axes) => geometry::axes(&axes, sizes.len())?,
        None => (0..sizes.len()).filter(|axis| sizes.get(*axis) == Some(&1)).collect(),
    };
    if axes.iter().any(|axis| sizes.get(*axis) != Some(&1)) {
        return None;
    }
    let kept = sizes.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    input.reshaped(kept.map(|(_, size)| *size).collect())
}

pub(super) fn unsqueeze(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    let axes = task.integers("axes", 1)?;
    let axes = geometry::axes(&axes, input.sizes().len().checked_add(axes.len())?)?;
    let mut sizes = input.sizes().to_vec();
    axes.iter().for_each(|axis| sizes.insert(*axis, 1));
    input.reshaped(sizes)
}

pub(super) fn dropout(task: &Task<'_>) -> Option<Vec<Array>> {
    let input = task.input(0)?;
    // Old ones say whether they drop by an attribute; in training, results are random.
    if task.input(2).is_some_and(|training| training.to_integer() != Some(0)) || task.opset < 7 {
        return None;
    }
    let mut results = vec![input.clone()];
    if task.node.output.len() > 1 {
        let count = task.calculable(input.sizes(), ElementType::Boolean)?;
        results.push(Array::new(ElementType::Boolean, input.sizes().to_vec(), vec![1; count].into())?);
    }
    Some(results)
}

pub(super) fn transpose(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    let rank = input.sizes().len();
    let order: Vec<usize> = match task.attributes.ints("perm") {
        Some(order) => order.iter().map(|&axis| usize::try_from(axis).ok()).collect::<Option<_>>()?,
        None => (0..rank).rev().collect(),
    };
    let own = strides(input.sizes());
    let sizes = order.iter().map(|axis| input.sizes().get(*axis).copied()).collect::<Option<Vec<_>>>()?;
    let steps = order.iter().map(|axis| own.get(*axis).copied()).collect::<Option<Vec<_>>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    sorted.into_iter().eq(0..rank).then_some(())?;
    pick(task, input, sizes, &steps, 0)
}

pub(super) fn slice(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    let (starts, ends) = (task.integers("starts", 1)?, task.integers("ends", 2)?);
    let axes = task.integers("axes", 3).unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = task.input(4).map_or_else(|| Some(vec![1; starts.len()]), Array::to_integers)?;
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return None;
    }
    let (mut sizes, mut strides) = (input.sizes().to_vec(), strides(input.sizes()));
    let mut first = 0_isize;
    for (((start, end), axis), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
        let axis = geometry::axis(axis, sizes.len())?;
        let (size, stride) = (sizes.get_mut(axis)?, strides.get_mut(axis)?);
        let range = geometry::slice(start, end, step, i64::try_from(*size).ok()?)?;
        *size = usize::try_from(range.count).ok()?;
        first += *stride * isize::try_from(range.start).ok()?;
        *stride = if *size > 1 { stride.checked_mul(isize::try_from(range.step).ok()?)? } else { 0 };
    }
    pick(task, input, sizes, &strides, first)
}

/// Splits sizes at an axis: how many rows there are before it, its size, how many elements one index takes.
pub(super) fn around(sizes: &[usize], axis: usize) -> Option<(usize, usize, usize)> {
    let (outer, rest) = sizes.split_at_checked(axis)?;
    let (size, inner) = rest.split_first()?;
    Some((outer.iter().product(), *size, inner.iter().product()))
}

pub(super) fn split(task: &Task<'_>) -> Option<Vec<Array>> {
    let input = task.input(0)?;
    let axis = geometry::axis(task.attributes.int("axis").unwrap_or(0), input.sizes().len())?;
    let (outer, size, inner) = around(input.sizes(), axis)?;
    let parts = task.node.output.len();
    let lengths: Vec<usize> = match task.integers("split", 1) {
        Some(lengths) => lengths.into_iter().map(|it| usize::try_from(it).ok()).collect::<Option<_>>()?,
        None => {
            // The last part is smaller if the parts do not come out even.
            let length = size.div_ceil(parts.max(1));
            (0..parts).map(|part| size.saturating_sub(part * length).min(length)).collect()
        }
    };
    (lengths.len() == parts && lengths.iter().sum::<usize>() == size).then_some(())?;
    task.room(input.sizes(), input.element())?;
    let unit = inner * input.width();
    let mut start = 0;
    let mut results = Vec::new();
    for length in lengths {
        let mut bytes = Vec::with_capacity(outer * length * unit);
        for row in 0..outer {
            let begin = (row * size + start) * unit;
            bytes.extend_from_slice(input.bytes().get(begin..begin + length * unit)?);
        }
        let mut sizes = input.sizes().to_vec();
        *sizes.get_mut(axis)? = length;
        results.push(Array::new(input.element(), sizes, bytes.into())?);
        start += length;
    }
    Some(results)
}

pub(super) fn concat(task: &Task<'_>) -> Option<Array> {
    let parts = task.inputs.iter().map(Option::as_ref).collect::<Option<Vec<_>>>()?;
    let first = parts.first()?;
    let axis = geometry::axis(task.attributes.int("axis").unwrap_or(1), first.sizes().len())?;
    let mut sizes = first.sizes().to_vec();
    let total = parts.iter().map(|part| part.sizes().get(axis).copied()).sum::<Option<usize>>()?;
    *sizes.get_mut(axis)? = total;
    let fits = |part: &&Array| {
        let mut own = part.sizes().to_vec();
        own.get_mut(axis).map(|size| *size = total).is_some() && own == sizes && part.element() == first.element()
    };
    let count = task.room(&sizes, first.element()).filter(|_| parts.iter().all(fits))?;
    let (outer, _, inner) = around(&sizes, axis)?;
    let mut bytes = Vec::with_capacity(count * first.width());
    for row in 0..outer {
        for part in &parts {
            let unit = part.sizes().get(axis)? * inner * first.width();
            bytes.extend_from_slice(part.bytes().get(row * unit..(row + 1) * unit)?);
        }
    }
    Array::new(first.element(), sizes, bytes.into())
}

pub(super) fn expand(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    let wanted = sizes(&task.input(1)?.to_integers()?)?;
    let sizes = broadcast(input.sizes(), &wanted)?;
    let steps = repeated(input.sizes(), &sizes);
    pick(task, input, sizes, &steps, 0)
}

fn sizes(values: &[i64]) -> Option<Vec<usize>> {
    values.iter().map(|&value| usize::try_from(value).ok()).collect()
}

pub(super) fn tile(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    let repeats = sizes(&task.input(1)?.to_integers()?)?;
    (repeats.len() == input.sizes().len() && task.opset >= 6).then_some(())?;
    let tiled = |(size, times): (&usize, &usize)| size.checked_mul(*times);
    let sizes = input.sizes().iter().zip(&repeats).map(tiled).collect::<Option<Vec<_>>>()?;
    // Each axis as two: the repetitions, and the axis itself.
    let own = strides(input.sizes());
    let pairs = repeats.iter().zip(input.sizes()).flat_map(|(times, size)| [*times, *size]);
    let steps: Vec<isize> = own.into_iter().flat_map(|stride| [0, stride]).collect();
    pick(task, input, pairs.collect(), &steps, 0)?.reshaped(sizes)
}

pub(super) fn pad(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    let rank = input.sizes().len();
    let pads = task.integers("pads", 1)?;
    let axes = match task.input(3) {
        Some(axes) => axes.to_integers()?.into_iter().map(|it| geometry::axis(it, rank)).collect::<Option<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    (pads.len() == 2 * axes.len()).then_some(())?;
    let (mut before, mut sizes) = (vec![0_i64; rank], input.sizes().to_vec());
    for (place, axis) in axes.iter().enumerate() {
        let (begin, end) = (*pads.get(place)?, *pads.get(place + axes.len())?);
        *before.get_mut(*axis)? = begin;
        let size = sizes.get_mut(*axis)?;
        *size = usize::try_from(i64::try_from(*size).ok()?.checked_add(begin)?.checked_add(end)?).ok()?;
    }
    let count = task.room(&sizes, input.element())?;
    let width = input.width();
    let mode = task.attributes.text("mode").unwrap_or("constant");
    let filling = match task.input(2) {
        Some(value) => value.bytes().to_vec(),
        None if mode == "constant" && task.attributes.float("value").unwrap_or(0.0) != 0.0 => return None,
        None => vec![0; width],
    };
    // Where the elements of each axis come from.
    let mut origins = Vec::new();
    for ((size, own), before) in sizes.iter().zip(input.sizes()).zip(&before) {
        let own = i64::try_from(*own).ok()?;
        let from = |index: usize| origin(mode, index as i64 - before, own);
        origins.push((0..*size).map(from).collect::<Option<Vec<_>>>()?);
    }
    let own = strides(input.sizes());
    let mut bytes = Vec::with_capacity(count * width);
    let mut index = vec![0_usize; rank];
    for _ in 0..count {
        let terms = index.iter().zip(&origins).zip(&own).map(|((index, origins), stride)| {
            origins.get(*index).copied().flatten().map(|origin| origin * *stride as usize)
        });
        match terms.sum::<Option<usize>>() {
            Some(at) => bytes.extend_from_slice(input.bytes().get(at * width..(at + 1) * width)?),
            None => bytes.extend_from_slice(filling.get(..width)?),
        }
        for (index, size) in index.iter_mut().zip(&sizes).rev() {
            *index += 1;
            if *index < *size {
                break;
            }
            *index = 0;
        }
    }
    Array::new(input.element(), sizes, bytes.into())
}

/// Returns which element a padded one repeats, `Some(None)` for none of them; `None` if the mode does not say.
fn origin(mode: &str, place: i64, size: i64) -> Option<Option<usize>> {
    let inside = (0..size).contains(&place);
    let origin = match mode {
        _ if inside => place,
        "constant" => return Some(None),
        "edge" if size > 0 => place.clamp(0, size - 1),
        "wrap" if size > 0 => place.rem_euclid(size),
        "reflect" if size > 1 => {
            let period = 2 * (size - 1);
            let folded = place.rem_euclid(period);
            folded.min(period - folded)
        }
        _ => return None,
    };
    usize::try_from(origin).ok().map(Some)
}

/// Reads `[N, C, H, W]` as six axes, in another order.
fn blocks(task: &Task<'_>, six: [usize; 6], order: [usize; 6], sizes: Vec<usize>) -> Option<Array> {
    let own = strides(&six);
    let picked = order.map(|axis| six.get(axis).copied().unwrap_or(0)).to_vec();
    let steps = order.map(|axis| own.get(axis).copied().unwrap_or(0));
    pick(task, &task.input(0)?.reshaped(six.to_vec())?, picked, &steps, 0)?.reshaped(sizes)
}

fn block_size(task: &Task<'_>) -> Option<usize> {
    usize::try_from(task.attributes.int("blocksize")?).ok().filter(|size| *size > 0)
}

pub(super) fn depth_to_space(task: &Task<'_>) -> Option<Array> {
    let (block, &[batch, channels, height, width]) = (block_size(task)?, task.input(0)?.sizes()) else {
        return None;
    };
    let depth = channels.checked_div(block.checked_mul(block)?)?;
    let sizes = vec![batch, depth, height.checked_mul(block)?, width.checked_mul(block)?];
    match task.attributes.text("mode").unwrap_or("DCR") {
        "DCR" => blocks(task, [batch, block, block, depth, height, width], [0, 3, 4, 1, 5, 2], sizes),
        "CRD" => blocks(task, [batch, depth, block, block, height, width], [0, 1, 4, 2, 5, 3], sizes),
        _ => None,
    }
}

pub(super) fn space_to_depth(task: &Task<'_>) -> Option<Array> {
    let (block, &[batch, channels, height, width]) = (block_size(task)?, task.input(0)?.sizes()) else {
        return None;
    };
    let (rows, columns) = (height / block, width / block);
    let sizes = vec![batch, channels.checked_mul(block.checked_mul(block)?)?, rows, columns];
    // From operator set 28 on, the places in a block may come behind the channels.
    let order = if task.attributes.text("mode") == Some("CRD") { [0, 1, 3, 5, 2, 4] } else { [0, 3, 5, 1, 2, 4] };
    blocks(task, [batch, channels, rows, block, columns, block], order, sizes)
}
