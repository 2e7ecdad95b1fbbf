//! Operators that take or place elements by number.

use super::Task;
use super::layout::around;
use crate::onnx::array::{Array, Numbers};
use crate::onnx::element::ElementType;
use crate::onnx::geometry::{self, Offsets, strides};

/// Counts an index from 0; negative ones count from the end.
fn counted(index: i64, size: usize) -> Option<usize> {
    geometry::axis(index, size)
}

fn axis(task: &Task<'_>, rank: usize) -> Option<usize> {
    geometry::axis(task.attributes.int("axis").unwrap_or(0), rank)
}

pub(super) fn gather(task: &Task<'_>) -> Option<Array> {
    let (input, indices) = (task.input(0)?, task.input(1)?);
    let axis = axis(task, input.sizes().len())?;
    let (outer, size, inner) = around(input.sizes(), axis)?;
    let (before, behind) = (input.sizes().get(..axis)?, input.sizes().get(axis + 1..)?);
    let sizes = [before, indices.sizes(), behind].concat();
    let count = task.room(&sizes, input.element())?;
    let unit = inner * input.width();
    let places = indices.to_integers()?.into_iter().map(|index| counted(index, size)).collect::<Option<Vec<_>>>()?;
    let mut bytes = Vec::with_capacity(count * input.width());
    for row in 0..outer {
        for place in &places {
            let begin = (row * size + place) * unit;
            bytes.extend_from_slice(input.bytes().get(begin..begin + unit)?);
        }
    }
    Array::new(input.element(), sizes, bytes.into())
}

/// The place in `array` of each element of `indices`, which differs from its own along one axis.
fn elements_along(array: &Array, indices: &Array, axis: usize) -> Option<Vec<usize>> {
    (array.sizes().len() == indices.sizes().len()).then_some(())?;
    let mut steps = strides(array.sizes());
    let stride = usize::try_from(std::mem::take(steps.get_mut(axis)?)).ok()?;
    let size = *array.sizes().get(axis)?;
    let numbers = indices.to_integers()?;
    let places = Offsets::new(indices.sizes(), &steps, 0).zip(numbers);
    places.map(|(offset, index)| Some(offset + counted(index, size)? * stride)).collect()
}

pub(super) fn gather_elements(task: &Task<'_>) -> Option<Array> {
    let (input, indices) = (task.input(0)?, task.input(1)?);
    task.calculable(indices.sizes(), input.element())?;
    let smaller = indices.sizes().iter().zip(input.sizes()).enumerate();
    let axis = axis(task, input.sizes().len())?;
    smaller.into_iter().all(|(place, (own, size))| place == axis || own <= size).then_some(())?;
    let places = elements_along(input, indices, axis)?;
    let width = input.width();
    let mut bytes = Vec::with_capacity(places.len() * width);
    for place in places {
        bytes.extend_from_slice(input.bytes().get(place * width..(place + 1) * width)?);
    }
    Array::new(input.element(), indices.sizes().to_vec(), bytes.into())
}

pub(super) fn scatter_elements(task: &Task<'_>) -> Option<Array> {
    let (input, indices, updates) = (task.input(0)?, task.input(1)?, task.input(2)?);
    task.calculable(input.sizes(), input.element())?;
    (indices.sizes() == updates.sizes() && input.element() == updates.element()).then_some(())?;
    let places = elements_along(input, indices, axis(task, input.sizes().len())?)?;
    place(task, input, updates, &places, 1)
}

/// Returns where the slices begin that the last axis of `indices` names, and how many elements a slice has.
fn slices(input: &Array, indices: &Array, batches: usize) -> Option<(Vec<usize>, usize)> {
    let (length, outer) = indices.sizes().split_last()?;
    let own = strides(input.sizes());
    let unit = input.sizes().get(batches.checked_add(*length)?..)?.iter().product();
    let numbers = indices.to_integers()?;
    let per_batch: usize = outer.get(batches..)?.iter().product();
    let batch_size: usize = input.sizes().get(batches..)?.iter().product();
    let count: usize = outer.iter().product();
    let mut places = Vec::with_capacity(count);
    for row in 0..count {
        let mut place = row.checked_div(per_batch)? * batch_size;
        for (axis, index) in numbers.get(row * length..(row + 1) * length)?.iter().enumerate() {
            let axis = batches + axis;
            place += counted(*index, *input.sizes().get(axis)?)? * usize::try_from(*own.get(axis)?).ok()?;
        }
        places.push(place);
    }
    Some((places, unit))
}

pub(super) fn gather_nd(task: &Task<'_>) -> Option<Array> {
    let (input, indices) = (task.input(0)?, task.input(1)?);
    let batches = usize::try_from(task.attributes.int("batch_dims").unwrap_or(0)).ok()?;
    (input.sizes().get(..batches)? == indices.sizes().get(..batches)?).then_some(())?;
    let (length, outer) = indices.sizes().split_last()?;
    let sizes = [outer, input.sizes().get(batches.checked_add(*length)?..)?].concat();
    task.calculable(&sizes, input.element())?;
    let (places, unit) = slices(input, indices, batches)?;
    let width = input.width();
    let mut bytes = Vec::with_capacity(places.len() * unit * width);
    for place in places {
        bytes.extend_from_slice(input.bytes().get(place * width..(place + unit) * width)?);
    }
    Array::new(input.element(), sizes, bytes.into())
}

pub(super) fn scatter_nd(task: &Task<'_>) -> Option<Array> {
    let (input, indices, updates) = (task.input(0)?, task.input(1)?, task.input(2)?);
    task.calculable(input.sizes(), input.element())?;
    let (places, unit) = slices(input, indices, 0)?;
    (updates.count() == places.len().checked_mul(unit)? && input.element() == updates.element()).then_some(())?;
    place(task, input, updates, &places, unit)
}

/// Puts updates into a copy of the input, or combines them with what is there, each in its turn.
fn place(task: &Task<'_>, input: &Array, updates: &Array, places: &[usize], unit: usize) -> Option<Array> {
    let reduction = task.attributes.text("reduction").unwrap_or("none");
    if reduction == "none" {
        let width = input.width();
        let mut bytes = input.bytes().to_vec();
        for (update, place) in places.iter().enumerate() {
            let from = updates.bytes().get(update * unit * width..(update + 1) * unit * width)?;
            bytes.get_mut(place * width..(place + unit) * width)?.copy_from_slice(from);
        }
        return Array::new(input.element(), input.sizes().to_vec(), bytes.into());
    }
    fn combine<T: Copy>(
        values: &mut [T],
        updates: &[T],
        (places, unit): (&[usize], usize),
        function: fn(T, T) -> T,
    ) -> Option<()> {
        for (update, place) in places.iter().enumerate() {
            for index in 0..unit {
                let value = values.get_mut(place + index)?;
                *value = function(*value, *updates.get(update * unit + index)?);
            }
        }
        Some(())
    }
    let (element, sizes) = (input.element(), input.sizes().to_vec());
    match (input.numbers()?, updates.numbers()?) {
        (Numbers::Floats(mut values), Numbers::Floats(updates)) => {
            let function: fn(f64, f64) -> f64 = match reduction {
                "add" => |left, right| left + right,
                "mul" => |left, right| left * right,
                "max" => f64::max,
                "min" => f64::min,
                _ => return None,
            };
            combine(&mut values, &updates, (places, unit), function)?;
            Array::of_floats(element, sizes, &values)
        }
        (Numbers::Whole(mut values), Numbers::Whole(updates)) => {
            let function: fn(i128, i128) -> i128 = match reduction {
                "add" => i128::wrapping_add,
                "mul" => i128::wrapping_mul,
                "max" => i128::max,
                "min" => i128::min,
                _ => return None,
            };
            combine(&mut values, &updates, (places, unit), function)?;
            Array::of_whole(element, sizes, &values)
        }
        _ => None,
    }
}

pub(super) fn compress(task: &Task<'_>) -> Option<Array> {
    let (input, condition) = (task.input(0)?, task.input(1)?);
    task.calculable(input.sizes(), input.element())?;
    let flat = input.reshaped(vec![input.count()])?;
    let (input, axis) = match task.attributes.int("axis") {
        Some(axis) => (input, geometry::axis(axis, input.sizes().len())?),
        None => (&flat, 0),
    };
    let size = *input.sizes().get(axis)?;
    let kept: Vec<usize> =
        condition.bytes().iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(place, _)| place).collect();
    (condition.element() == ElementType::Boolean && kept.iter().all(|place| *place < size)).then_some(())?;
    slices_at(input, axis, &kept)
}

/// `Unique` (ONNX operator set 11): what differs, where each of that is first, which of that each is, and how often it is.
pub(super) fn unique(task: &Task<'_>) -> Option<Vec<Array>> {
    let input = task.input(0)?;
    task.calculable(input.sizes(), input.element())?;
    let flat = input.reshaped(vec![input.count()])?;
    let (input, axis) = match task.attributes.int("axis") {
        Some(axis) => (input, geometry::axis(axis, input.sizes().len())?),
        None => (&flat, 0),
    };
    let mut groups = equal_slices(input, axis)?;
    if task.attributes.int("sorted") == Some(0) {
        groups.sort();
    }
    let first = groups.iter().map(|group| group.first().copied()).collect::<Option<Vec<usize>>>()?;
    let mut members = vec![0; *input.sizes().get(axis)?];
    for (group, places) in groups.iter().enumerate() {
        for place in places {
            *members.get_mut(*place)? = group;
        }
    }
    let list = |values: &[usize]| {
        Array::integers(vec![values.len()], &values.iter().map(|value| *value as i64).collect::<Vec<_>>())
    };
    let counts: Vec<usize> = groups.iter().map(Vec::len).collect();
    Some(vec![slices_at(input, axis, &first)?, list(&first)?, list(&members)?, list(&counts)?])
}

/// The places of equal slices along an axis, by the value of the slices.
fn equal_slices(input: &Array, axis: usize) -> Option<Vec<Vec<usize>>> {
    let (outer, size, inner) = around(input.sizes(), axis)?;
    let numbers: Vec<f64> = match input.numbers()? {
        Numbers::Floats(values) => values,
        Numbers::Whole(values) => {
            let is_exact = |value: &i128| *value == (*value as f64) as i128;
            values.iter().all(is_exact).then(|| values.iter().map(|value| *value as f64).collect())?
        }
    };
    if numbers.iter().any(|number| number.is_nan()) {
        return None;
    }
    let slice = |place: usize| -> Vec<f64> {
        let row = |row: usize| numbers.iter().skip((row * size + place) * inner).take(inner);
        (0..outer).flat_map(row).copied().collect()
    };
    let mut slices: Vec<(Vec<f64>, usize)> = (0..size).map(|place| (slice(place), place)).collect();
    // The sort is stable: of equal ones, the first stays first.
    slices.sort_by(|(one, _), (other, _)| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    let groups = slices.chunk_by(|(one, _), (other, _)| one == other);
    Some(groups.map(|group| group.iter().map(|(_, place)| *place).collect()).collect())
}

/// The slices of an array at some places along an axis.
fn slices_at(input: &Array, axis: usize, places: &[usize]) -> Option<Array> {
    let (outer, size, inner) = around(input.sizes(), axis)?;
    let unit = inner * input.width();
    let mut bytes = Vec::new();
    for row in 0..outer {
        for place in places {
            let begin = (row * size + place) * unit;
            bytes.extend_from_slice(input.bytes().get(begin..begin + unit)?);
        }
    }
    let mut sizes = input.sizes().to_vec();
    *sizes.get_mut(axis)? = places.len();
    Array::new(input.element(), sizes, bytes.into())
}

pub(super) fn one_hot(task: &Task<'_>) -> Option<Array> {
    let (indices, depth, values) = (task.input(0)?, task.input(1)?, task.input(2)?);
    let depth_size = usize::try_from(depth.to_integer()?).ok()?;
    let rank = indices.sizes().len() + 1;
    let axis = geometry::axis(task.attributes.int("axis").unwrap_or(-1), rank)?;
    let mut sizes = indices.sizes().to_vec();
    sizes.insert(axis, depth_size);
    let count = task.calculable(&sizes, values.element())?;
    let width = values.width();
    let (off, on) = values.bytes().split_at_checked(width).filter(|(_, on)| on.len() == width)?;
    let (outer, _, inner) = around(&sizes, axis)?;
    let hot: Vec<Option<usize>> = indices.to_integers()?.into_iter().map(|index| counted(index, depth_size)).collect();
    let mut bytes = Vec::with_capacity(count * width);
    for row in 0..outer {
        for place in 0..depth_size {
            for column in 0..inner {
                let chosen = *hot.get(row * inner + column)? == Some(place);
                bytes.extend_from_slice(if chosen { on } else { off });
            }
        }
    }
    Array::new(values.element(), sizes, bytes.into())
}

pub(super) fn non_zero(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    task.calculable(input.sizes(), ElementType::Int64)?;
    let found: Vec<usize> = match input.numbers()? {
        Numbers::Floats(values) => (0..values.len()).filter(|at| values.get(*at) != Some(&0.0)).collect(),
        Numbers::Whole(values) => (0..values.len()).filter(|at| values.get(*at) != Some(&0)).collect(),
    };
    let axes = strides(input.sizes()).into_iter().zip(input.sizes());
    let numbers = axes.flat_map(|(stride, size)| {
        found.iter().map(move |place| ((place / (stride.max(1) as usize)) % (*size).max(1)) as i64)
    });
    Array::integers(vec![input.sizes().len(), found.len()], &numbers.collect::<Vec<_>>())
}

/// Sets everything on one side of a diagonal to zero.
pub(super) fn triangle(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    task.calculable(input.sizes(), input.element())?;
    let shift = task.input(1).map_or(Some(0), Array::to_integer)?;
    let upper = task.attributes.int("upper").unwrap_or(1) != 0;
    let [.., rows, columns] = input.sizes() else {
        return None;
    };
    let mut bytes = input.bytes().to_vec();
    for (place, element) in bytes.chunks_exact_mut(input.width()).enumerate() {
        let (row, column) = (((place / columns) % rows) as i64, (place % columns) as i64);
        let diagonal = row.saturating_add(shift);
        if (upper && column < diagonal) || (!upper && column > diagonal) {
            element.fill(0);
        }
    }
    Array::new(input.element(), input.sizes().to_vec(), bytes.into())
}
