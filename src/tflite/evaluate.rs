//! Small lists of integers that follow from constants: counters of loops, conditions, shapes that are computed.
//!
//! Owns what operators do to them. Whatever is not known here stays an operator.

use std::collections::HashMap;

use super::{Graph, Operator, Tensor, TensorId, Values, constant};
use crate::onnx::{ElementType, element_count};

/// The most elements that are followed. Shapes and counters have few.
const LARGEST: usize = 64;

/// What is known of the tensors of a graph, beside its constants.
pub(super) type Known = HashMap<TensorId, Vec<i64>>;

/// Returns the elements of a tensor, if they follow from constants.
pub(super) fn elements(tensors: &[Tensor], known: &Known, id: TensorId) -> Option<Vec<i64>> {
    if let Some(values) = known.get(&id) {
        return Some(values.clone());
    }
    let tensor = tensors.get(id).filter(|tensor| tensor.quantization.is_none() && tensor.sparsity.is_none())?;
    if element_count(&tensor.shape)? > LARGEST as u64 {
        return None;
    }
    match constant::stored(tensor)? {
        Values::Integer(values, _) => Some(values),
        Values::Real(_) => None,
    }
}

/// Returns what a graph computes of what is known of its inputs.
pub(super) fn results(graph: &Graph, inputs: &[Option<Vec<i64>>]) -> Vec<Option<Vec<i64>>> {
    let given = graph.inputs.iter().zip(inputs);
    let mut known: Known = given.filter_map(|(id, values)| Some((*id, values.clone()?))).collect();
    for operator in &graph.operators {
        for (place, &output) in operator.outputs.iter().enumerate() {
            let Some(result) = graph.tensors.get(output) else { continue };
            if let Some(values) = evaluate(operator, (place, result), &operator.inputs, &graph.tensors, &known) {
                known.insert(output, values);
            }
        }
    }
    graph.outputs.iter().map(|id| elements(&graph.tensors, &known, *id)).collect()
}

/// Returns what an operator computes as a result; `inputs` says what it reads among `tensors`.
pub(super) fn evaluate(
    operator: &Operator,
    (place, result): (usize, &Tensor),
    inputs: &[Option<TensorId>],
    tensors: &[Tensor],
    known: &Known,
) -> Option<Vec<i64>> {
    if operator.is_custom || (operator.outputs.len() != 1 && operator.name != "UNPACK") {
        return None;
    }
    let input = |place: usize| inputs.get(place).copied().flatten();
    let shape = |place: usize| Some(tensors.get(input(place)?)?.shape.as_slice());
    let operand = |place: usize| elements(tensors, known, input(place)?);
    let all = || (0..inputs.len()).map(operand).collect::<Option<Vec<Vec<i64>>>>();
    let is_list = |place: usize| shape(place).is_some_and(|shape| shape.len() <= 1);
    let values = match operator.name.as_str() {
        "SHAPE" => shape(0)?.to_vec(),
        "RANK" => vec![shape(0)?.len() as i64],
        "RESHAPE" | "SQUEEZE" | "EXPAND_DIMS" => operand(0)?,
        "CAST" if result.element == Some(ElementType::Boolean) => {
            operand(0)?.into_iter().map(|value| i64::from(value != 0)).collect()
        }
        "CAST" => operand(0)?,
        "NEG" => operand(0)?.into_iter().map(i64::checked_neg).collect::<Option<_>>()?,
        "ABS" => operand(0)?.into_iter().map(i64::checked_abs).collect::<Option<_>>()?,
        "LOGICAL_NOT" => operand(0)?.into_iter().map(|value| i64::from(value == 0)).collect(),
        "CONCATENATION" if (0..inputs.len()).all(is_list) => all()?.concat(),
        "PACK" if (0..inputs.len()).all(is_list) => packed(&all()?, operator.axis().ok()?, result.shape.len())?,
        "GATHER" if is_list(0) => {
            let list = operand(0)?;
            let pick = |place: i64| list.get(usize::try_from(place).ok()?).copied();
            operand(1)?.into_iter().map(pick).collect::<Option<_>>()?
        }
        "SLICE" if is_list(0) => {
            let (&[begin], &[size]) = (operand(1)?.as_slice(), operand(2)?.as_slice()) else { return None };
            let list = operand(0)?.into_iter().skip(usize::try_from(begin).ok()?);
            list.take(usize::try_from(size).unwrap_or(LARGEST)).collect()
        }
        // A slice that has all elements has them in their order.
        "STRIDED_SLICE" if !is_list(0) && operand(3)?.iter().all(|step| *step == 1) => operand(0)?,
        "STRIDED_SLICE" if is_list(0) => part(operator, &operand(0)?, [operand(1)?, operand(2)?, operand(3)?])?,
        "REDUCE_PROD" | "SUM" if is_list(0) && operand(1)?.len() == 1 => {
            let join = if operator.name == "SUM" { i64::checked_add } else { i64::checked_mul };
            let neutral = i64::from(operator.name != "SUM");
            vec![operand(0)?.into_iter().try_fold(neutral, join)?]
        }
        "UNSORTED_SEGMENT_PROD" | "UNSORTED_SEGMENT_SUM" if is_list(0) => {
            let is_sum = operator.name == "UNSORTED_SEGMENT_SUM";
            let count = operand(2)?.into_iter().find_map(|count| usize::try_from(count).ok())?;
            segments(&operand(0)?, &operand(1)?, count.min(LARGEST + 1), is_sum)?
        }
        "UNPACK" if is_list(0) => vec![*operand(0)?.get(place)?],
        "BROADCAST_ARGS" => common(operand(0)?, operand(1)?)?,
        "SELECT" | "SELECT_V2" => match *operand(0)?.as_slice() {
            [condition] => operand(if condition == 0 { 2 } else { 1 })?,
            _ => return None,
        },
        name => pairs(&operand(0)?, &operand(1)?, |left, right| pair(name, left, right))?,
    };
    fits(result, &values).then_some(values)
}

/// Returns lists, or numbers, one after the other, or their elements in turn.
fn packed(lists: &[Vec<i64>], axis: i64, rank: usize) -> Option<Vec<i64>> {
    let axis = if axis < 0 { axis.checked_add(rank as i64)? } else { axis };
    if axis == 0 || rank < 2 {
        return Some(lists.concat());
    }
    let length = lists.first()?.len();
    (0..length).flat_map(|place| lists.iter().map(move |list| list.get(place).copied())).collect()
}

/// Returns the sums or the products of the numbers in each segment. What belongs to none is left out.
fn segments(list: &[i64], numbers: &[i64], count: usize, is_sum: bool) -> Option<Vec<i64>> {
    let mut all = vec![i64::from(!is_sum); count];
    for (value, number) in list.iter().zip(numbers) {
        if let Some(slot) = usize::try_from(*number).ok().and_then(|number| all.get_mut(number)) {
            *slot = if is_sum { slot.checked_add(*value)? } else { slot.checked_mul(*value)? };
        }
    }
    (list.len() == numbers.len()).then_some(all)
}

/// Returns the shape that two shapes are broadcast to.
fn common(mut left: Vec<i64>, mut right: Vec<i64>) -> Option<Vec<i64>> {
    let rank = left.len().max(right.len());
    for shape in [&mut left, &mut right] {
        shape.splice(0..0, vec![1; rank - shape.len()]);
    }
    let size = |(left, right)| match (left, right) {
        (1, size) | (size, 1) => Some(size),
        (left, right) => (left == right).then_some(left),
    };
    left.into_iter().zip(right).map(size).collect()
}

/// Whether a result is of integers, of as many as its shape says, and none of them would have been wrapped.
fn fits(result: &Tensor, values: &[i64]) -> bool {
    let limits = match result.element {
        Some(ElementType::Boolean) => 0..=1,
        Some(ElementType::Int32) => i64::from(i32::MIN)..=i64::from(i32::MAX),
        Some(ElementType::Int64) => i64::MIN..=i64::MAX,
        _ => return false,
    };
    let is_whole = element_count(&result.shape) == Some(values.len() as u64) && values.len() <= LARGEST;
    is_whole && result.quantization.is_none() && values.iter().all(|value| limits.contains(value))
}

/// Takes a part of a list, without the rarer ways to say which.
fn part(operator: &Operator, list: &[i64], [begin, end, step]: [Vec<i64>; 3]) -> Option<Vec<i64>> {
    let options = operator.strided_slice().ok()?;
    let (&[begin], &[end], &[step]) = (begin.as_slice(), end.as_slice(), step.as_slice()) else { return None };
    if options.ellipsis | options.new_axis != 0 || options.has_offsets || step < 1 {
        return None;
    }
    let length = list.len() as i64;
    let from_front = |place: i64| if place < 0 { place.saturating_add(length) } else { place };
    if options.shrink != 0 {
        return Some(vec![*list.get(usize::try_from(from_front(begin)).ok()?)?]);
    }
    let bounded = |place: i64| usize::try_from(from_front(place).clamp(0, length)).ok();
    let from = if options.begin == 0 { bounded(begin)? } else { 0 };
    let to = if options.end == 0 { bounded(end)? } else { list.len() };
    Some(list.get(from..to)?.iter().step_by(usize::try_from(step).ok()?).copied().collect())
}

/// Applies an operation to two lists, or to a list and a number.
fn pairs(left: &[i64], right: &[i64], apply: impl Fn(i64, i64) -> Option<i64>) -> Option<Vec<i64>> {
    match (left, right) {
        (_, &[right]) => left.iter().map(|left| apply(*left, right)).collect(),
        (&[left], _) => right.iter().map(|right| apply(left, *right)).collect(),
        _ if left.len() == right.len() => left.iter().zip(right).map(|(left, right)| apply(*left, *right)).collect(),
        _ => None,
    }
}

fn pair(name: &str, left: i64, right: i64) -> Option<i64> {
    Some(match name {
        "ADD" => left.checked_add(right)?,
        "SUB" => left.checked_sub(right)?,
        "MUL" => left.checked_mul(right)?,
        "DIV" => left.checked_div(right)?,
        "FLOOR_DIV" => left.checked_sub(floor_mod(left, right)?)?.checked_div(right)?,
        "FLOOR_MOD" => floor_mod(left, right)?,
        "MAXIMUM" => left.max(right),
        "MINIMUM" => left.min(right),
        "EQUAL" => i64::from(left == right),
        "NOT_EQUAL" => i64::from(left != right),
        "LESS" => i64::from(left < right),
        "LESS_EQUAL" => i64::from(left <= right),
        "GREATER" => i64::from(left > right),
        "GREATER_EQUAL" => i64::from(left >= right),
        "LOGICAL_AND" => i64::from(left != 0 && right != 0),
        "LOGICAL_OR" => i64::from(left != 0 || right != 0),
        _ => return None,
    })
}

/// The rest of a division, with the sign of the divisor.
fn floor_mod(left: i64, right: i64) -> Option<i64> {
    left.checked_rem(right)?.checked_add(right)?.checked_rem(right)
}
