//! Operators that combine the elements along axes.

use super::Task;
use super::layout::around;
use crate::onnx::array::{Array, Numbers};
use crate::onnx::element::ElementType;
use crate::onnx::geometry::{self, strides};

/// Returns, for each element of the result, the elements that it combines, as places in the input.
fn groups(sizes: &[usize], axes: &[usize]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let kept: Vec<usize> = (0..sizes.len()).filter(|axis| !axes.contains(axis)).collect();
    let own = strides(sizes);
    let of = |chosen: &[usize]| {
        let sizes: Vec<usize> = chosen.iter().filter_map(|axis| sizes.get(*axis).copied()).collect();
        let steps: Vec<isize> = chosen.iter().filter_map(|axis| own.get(*axis).copied()).collect();
        geometry::Offsets::new(&sizes, &steps, 0).collect::<Vec<usize>>()
    };
    let (starts, within) = (of(&kept), of(axes));
    let groups = starts.iter().map(|start| within.iter().map(|offset| start + offset).collect()).collect();
    let reduced = sizes.iter().enumerate().map(|(axis, size)| if axes.contains(&axis) { 1 } else { *size });
    (reduced.collect(), groups)
}

/// Removes the axes that were reduced to 1, unless they are kept.
fn finish(task: &Task<'_>, result: Array, axes: &[usize]) -> Option<Array> {
    if task.attributes.int("keepdims").unwrap_or(1) != 0 {
        return Some(result);
    }
    let kept = result.sizes().iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    result.reshaped(kept.map(|(_, size)| *size).collect())
}

pub(super) fn reduce(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    task.calculable(input.sizes(), input.element())?;
    let rank = input.sizes().len();
    let axes = match task.integers("axes", 1).filter(|axes| !axes.is_empty()) {
        Some(axes) => geometry::axes(&axes, rank)?,
        None if task.attributes.flag("noop_with_empty_axes") => return Some(input.clone()),
        None => (0..rank).collect(),
    };
    let (sizes, groups) = groups(input.sizes(), &axes);
    let result = match input.numbers()? {
        Numbers::Floats(values) => {
            let function = float_reduction(task.node.op_type())?;
            let one = |group: &Vec<usize>| {
                let members = group.iter().map(|place| values.get(*place).copied()).collect::<Option<Vec<f64>>>()?;
                function(&members)
            };
            Array::of_floats(input.element(), sizes, &groups.iter().map(one).collect::<Option<Vec<_>>>()?)
        }
        Numbers::Whole(values) => {
            let function = whole_reduction(task.node.op_type(), input.element() == ElementType::Boolean)?;
            let one = |group: &Vec<usize>| {
                let members = group.iter().map(|place| values.get(*place).copied()).collect::<Option<Vec<i128>>>()?;
                function(&members)
            };
            Array::of_whole(input.element(), sizes, &groups.iter().map(one).collect::<Option<Vec<_>>>()?)
        }
    }?;
    finish(task, result, &axes)
}

/// Combines numbers; `None` if the result is not defined.
type Reduction<T> = fn(&[T]) -> Option<T>;

/// Adds up from 0, which is also the sum of nothing. The sum of Rust's iterators is -0 then.
fn sum(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    values.iter().fold(0.0, |sum, value| sum + of(*value))
}

fn float_reduction(operator: &str) -> Option<Reduction<f64>> {
    fn extreme(values: &[f64], pick: fn(f64, f64) -> f64) -> Option<f64> {
        let either = |left: f64, right: f64| if left.is_nan() || right.is_nan() { f64::NAN } else { pick(left, right) };
        values.iter().copied().reduce(either)
    }
    Some(match operator {
        "ReduceSum" => |values| Some(sum(values, |it| it)),
        "ReduceMean" => |values| (!values.is_empty()).then(|| sum(values, |it| it) / values.len() as f64),
        "ReduceProd" => |values| Some(values.iter().product()),
        "ReduceMax" => |values| extreme(values, f64::max),
        "ReduceMin" => |values| extreme(values, f64::min),
        "ReduceL1" => |values| Some(sum(values, f64::abs)),
        "ReduceL2" => |values| Some(sum(values, |it| it * it).sqrt()),
        "ReduceSumSquare" => |values| Some(sum(values, |it| it * it)),
        "ReduceLogSum" => |values| Some(libm::log(sum(values, |it| it))),
        "ReduceLogSumExp" => |values| {
            let greatest = extreme(values, f64::max).unwrap_or(0.0);
            let shift = if greatest.is_finite() { greatest } else { 0.0 };
            Some(libm::log(sum(values, |it| libm::exp(it - shift))) + shift)
        },
        _ => return None,
    })
}

fn whole_reduction(operator: &str, boolean: bool) -> Option<Reduction<i128>> {
    Some(match operator {
        "ReduceMax" => |values| values.iter().copied().max(),
        "ReduceMin" => |values| values.iter().copied().min(),
        _ if boolean => return None,
        "ReduceSum" => |values| Some(values.iter().fold(0, |sum: i128, it| sum.wrapping_add(*it))),
        "ReduceProd" => |values| Some(values.iter().fold(1, |product: i128, it| product.wrapping_mul(*it))),
        "ReduceMean" => |values| values.iter().sum::<i128>().checked_div(values.len() as i128),
        "ReduceL1" => |values| Some(values.iter().map(|it| it.abs()).sum()),
        "ReduceSumSquare" => {
            |values| Some(values.iter().fold(0, |sum: i128, it| sum.wrapping_add(it.wrapping_mul(*it))))
        }
        _ => return None,
    })
}

pub(super) fn arg(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    task.calculable(input.sizes(), ElementType::Int64)?;
    let axis = geometry::axis(task.attributes.int("axis").unwrap_or(0), input.sizes().len())?;
    let (sizes, groups) = groups(input.sizes(), &[axis]);
    let (greatest, last) = (task.node.op_type() == "ArgMax", task.attributes.flag("select_last_index"));
    fn best<T: PartialOrd + Copy>(values: &[T], group: &[usize], better: impl Fn(T, T) -> bool) -> Option<i64> {
        let mut found: Option<(usize, T)> = None;
        for (index, place) in group.iter().enumerate() {
            let value = *values.get(*place)?;
            if found.is_none_or(|(_, best)| better(value, best)) {
                found = Some((index, value));
            }
        }
        found.map(|(index, _)| index as i64)
    }
    fn all<T: PartialOrd + Copy>(
        values: &[T],
        groups: &[Vec<usize>],
        (greatest, last): (bool, bool),
    ) -> Option<Vec<i64>> {
        let better = |new: T, old: T| {
            if new == old {
                last
            } else if greatest {
                new > old
            } else {
                new < old
            }
        };
        groups.iter().map(|group| best(values, group, better)).collect()
    }
    let indices = match input.numbers()? {
        Numbers::Floats(values) if values.iter().any(|value| value.is_nan()) => return None,
        Numbers::Floats(values) => all(&values, &groups, (greatest, last))?,
        Numbers::Whole(values) => all(&values, &groups, (greatest, last))?,
    };
    finish(task, Array::integers(sizes, &indices)?, &[axis])
}

pub(super) fn cumulate(task: &Task<'_>) -> Option<Array> {
    let (input, axis) = (task.input(0)?, task.input(1)?);
    task.calculable(input.sizes(), input.element())?;
    let axis = geometry::axis(axis.to_integer()?, input.sizes().len())?;
    let (exclusive, reverse) = (task.attributes.flag("exclusive"), task.attributes.flag("reverse"));
    let (outer, size, inner) = around(input.sizes(), axis)?;
    fn run<T: Copy + Default>(
        values: &[T],
        [outer, size, inner]: [usize; 3],
        (exclusive, reverse): (bool, bool),
        add: fn(T, T) -> T,
    ) -> Option<Vec<T>> {
        let mut sums = values.to_vec();
        for row in 0..outer {
            for column in 0..inner {
                let mut sum = T::default();
                for step in 0..size {
                    let index = if reverse { size - 1 - step } else { step };
                    let place = (row * size + index) * inner + column;
                    let next = add(sum, *values.get(place)?);
                    *sums.get_mut(place)? = if exclusive { sum } else { next };
                    sum = next;
                }
            }
        }
        Some(sums)
    }
    let (element, sizes, shape) = (input.element(), input.sizes().to_vec(), [outer, size, inner]);
    match input.numbers()? {
        Numbers::Floats(values) => {
            Array::of_floats(element, sizes, &run(&values, shape, (exclusive, reverse), |sum, it| sum + it)?)
        }
        Numbers::Whole(values) => {
            Array::of_whole(element, sizes, &run(&values, shape, (exclusive, reverse), i128::wrapping_add)?)
        }
    }
}

pub(super) fn softmax(task: &Task<'_>) -> Option<Array> {
    let input = task.input(0)?;
    task.calculable(input.sizes(), input.element())?;
    let rank = input.sizes().len();
    let axes: Vec<usize> = if task.opset >= 13 {
        vec![geometry::axis(task.attributes.int("axis").unwrap_or(-1), rank)?]
    } else {
        // Before, everything from the axis on was one.
        (geometry::axis(task.attributes.int("axis").unwrap_or(1), rank)?..rank).collect()
    };
    let logarithm = task.node.op_type() == "LogSoftmax";
    let mut values = input.to_floats()?;
    for group in groups(input.sizes(), &axes).1 {
        let members = group.iter().map(|place| values.get(*place).copied()).collect::<Option<Vec<f64>>>()?;
        let greatest = members.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total = sum(&members, |it| libm::exp(it - greatest));
        for (place, member) in group.into_iter().zip(members) {
            let shifted = member - greatest;
            *values.get_mut(place)? = if logarithm { shifted - libm::log(total) } else { libm::exp(shifted) / total };
        }
    }
    Array::of_floats(input.element(), input.sizes().to_vec(), &values)
}
