//! What becomes of rows that belong together, and places in lists that values are sorted into.

use super::indices::{LONGEST, Picked, listable, write_picked};
use super::network::{Attribute, Network};
use super::operators::{axis, input, integers, output};
use super::{Order, Trouble, refused};
use crate::onnx::ElementType;
use crate::tflite::{Activation, Constant, Operator, Values};

/// The number that changes no other one when it is reduced with them; a segment without rows is of it.
fn neutral(name: &str, element: ElementType) -> Option<Values> {
    Some(match (name, element) {
        ("ReduceMax", ElementType::Float32) => Values::Real(vec![f32::MIN]),
        ("ReduceMin", ElementType::Float32) => Values::Real(vec![f32::MAX]),
        ("ReduceMax", ElementType::Int32) => Values::Integer(vec![i32::MIN.into()], element),
        ("ReduceMin", ElementType::Int32) => Values::Integer(vec![i32::MAX.into()], element),
        (_, ElementType::Float32) => Values::Real(vec![1.0]),
        (_, ElementType::Int32) => Values::Integer(vec![1], element),
        _ => return None,
    })
}

fn repeated(values: Values, width: usize) -> Values {
    match values {
        Values::Real(values) => Values::Real(values.repeat(width)),
        Values::Integer(values, element) => Values::Integer(values.repeat(width), element),
    }
}

/// The greatest, the least or the product of the rows with each number, in no order. Negative numbers are left out.
pub(super) fn reduce(network: &mut Network<'_>, operator: &Operator, name: &str) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let numbers = network.constant(input(operator, 1)?)?;
    let numbers = numbers.ok_or_else(|| refused("has segments that are computed"))?;
    let result = network.tensor(to)?;
    let (Some(&count), Some(numbers)) = (result.shape.first(), numbers.integers().map(<[i64]>::to_vec)) else {
        return Err(refused("has segments that are no list of numbers"));
    };
    let width = result.shape.iter().skip(1).try_fold(1_i64, |all, size| all.checked_mul(*size));
    let (Some(width), rows) = (width, numbers.len() as i64) else {
        return Err(refused("goes through more elements than can be counted"));
    };
    let members =
        |segment: i64| (0_i64..).zip(&numbers).filter(move |(_, number)| **number == segment).map(|(row, _)| row);
    let most = (0..listable(count)?).map(|segment| members(segment).count()).max().unwrap_or(0).max(1);
    if count.saturating_mul(most as i64) > LONGEST || numbers.iter().any(|number| *number >= count) {
        return Err(refused(format!("has {count} segments of up to {most} rows, or rows of no segment")));
    }
    let element = network.element(to)?;
    let neutral = neutral(name, element).ok_or_else(|| refused("reduces other numbers than real ones and int32"))?;
    let values = repeated(neutral, usize::try_from(width).unwrap_or(0));
    let neutral = network.initializer(&format!("{}/neutral", result.name), &Constant { shape: vec![1, width], values });
    // All segments get as many rows: what they lack is the neutral one, which stands behind the others.
    let filled = |segment: i64| members(segment).chain(std::iter::repeat(rows)).take(most);
    let sources: Vec<i64> = (0..count).flat_map(filled).collect();
    let operand = network.take(from, Order::AsStored)?;
    let flat = network.fresh(&format!("{}/flat", result.name));
    network.reshape(&operand, &[rows, width], &flat);
    let along = [Attribute::Integer("axis", 0)];
    let all = network.inner("Concat", &[&flat, &neutral], &format!("{}/all", result.name), &along);
    let sources = network.list(&format!("{}/sources", result.name), &sources);
    let sorted = network.inner("Gather", &[&all, &sources], &format!("{}/sorted", result.name), &along);
    let segments = network.fresh(&format!("{}/segments", result.name));
    network.reshape(&sorted, &[count, most as i64, width], &segments);
    let attributes = [Attribute::Integers("axes", vec![1]), Attribute::Integer("keepdims", 0)];
    let reduced = network.inner(name, &[&segments], &format!("{}/reduced", result.name), &attributes);
    let pending = network.begin(to, Order::AsStored, Activation::None)?;
    network.reshape(&reduced, &result.shape, &pending.raw);
    Ok(())
}

/// How many of a sorted list of bounds are not above each number.
pub(super) fn bucketize(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let bounds = operator.bounds()?;
    let name = &network.tensor(to)?.name;
    let cast = |element: ElementType| [Attribute::Integer("to", element.code().into())];
    let mut given = network.take(from, Order::AsStored)?;
    if network.element(from)? != ElementType::Float32 {
        given = network.inner("Cast", &[&given], &format!("{name}/real"), &cast(ElementType::Float32));
    }
    let shape = &network.tensor(to)?.shape;
    let column = network.fresh(&format!("{name}/column"));
    network.reshape(&given, &[shape.as_slice(), &[1]].concat(), &column);
    let bounds = Constant { shape: vec![listable(bounds.len() as i64)?], values: Values::Real(bounds) };
    let bounds = network.initializer(&format!("{name}/bounds"), &bounds);
    let is_below = network.inner("Less", &[&column, &bounds], &format!("{name}/is_below"), &[]);
    let is_not = network.inner("Not", &[&is_below], &format!("{name}/is_not"), &[]);
    let ones = network.inner("Cast", &[&is_not], &format!("{name}/ones"), &cast(ElementType::Float32));
    let along = [Attribute::Integers("axes", vec![shape.len() as i64]), Attribute::Integer("keepdims", 0)];
    let count = network.inner("ReduceSum", &[&ones], &format!("{name}/count"), &along);
    let element = network.element(to)?;
    network.write(to, Order::AsStored, "Cast", &[&count], &cast(element))
}

/// Turns the beginning of each sequence around; how long it is stands in a constant list.
pub(super) fn reverse(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let (sizes, name) = (&network.tensor(from)?.shape, &network.tensor(to)?.name);
    let [time, batch] = operator.sequence_dimensions()?;
    let (time, batch) = (axis(time, sizes.len())?, axis(batch, sizes.len())?);
    let size = |axis: usize| sizes.get(axis).copied().unwrap_or(0);
    let lengths = integers(network, operator, 1)?;
    if time == batch || lengths.len() as i64 != size(batch) {
        return Err(refused("has another number of sequences than of lengths"));
    }
    let steps = listable(size(time))?;
    let turned = |length: i64| (0..length.clamp(0, steps)).rev().chain(length.clamp(0, steps)..steps);
    if let Some((&length, others)) = lengths.split_first()
        && others.iter().all(|other| *other == length)
    {
        return write_picked(network, [from, to], &[Picked { axis: time, indices: turned(length).collect() }]);
    }
    // With sequence and step in one dimension, all steps are picked at once.
    listable(steps.saturating_mul(lengths.len() as i64))?;
    let others = (0..sizes.len()).filter(|axis| ![time, batch].contains(axis));
    let order: Vec<usize> = [batch, time].into_iter().chain(others).collect();
    let back = (0..sizes.len()).filter_map(|axis| order.iter().position(|moved| *moved == axis));
    let permutation =
        |order: Vec<usize>| [Attribute::Integers("perm", order.into_iter().map(|axis| axis as i64).collect())];
    let back = permutation(back.collect());
    let front: Vec<i64> = order.iter().map(|axis| size(*axis)).collect();
    let joined = [&[steps * lengths.len() as i64], front.get(2..).unwrap_or_default()].concat();
    let rows =
        (0_i64..).zip(&lengths).flat_map(|(sequence, length)| turned(*length).map(move |step| sequence * steps + step));
    let rows = network.list(&format!("{name}/steps"), &rows.collect::<Vec<i64>>());
    let operand = network.take(from, Order::AsStored)?;
    let sequences = network.inner("Transpose", &[&operand], &format!("{name}/sequences"), &permutation(order));
    let [flat, wide] = ["flat", "wide"].map(|what| network.fresh(&format!("{name}/{what}")));
    network.reshape(&sequences, &joined, &flat);
    let picked = network.inner("Gather", &[&flat, &rows], &format!("{name}/turned"), &[Attribute::Integer("axis", 0)]);
    network.reshape(&picked, &front, &wide);
    network.write(to, Order::AsStored, "Transpose", &[&wide], &back)
}

/// Puts a part over another one, which begins at a constant place.
pub(super) fn update(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, part, to) = (input(operator, 0)?, input(operator, 1)?, output(operator, 0)?);
    let (sizes, lengths) = (&network.tensor(from)?.shape, &network.tensor(part)?.shape);
    let name = &network.tensor(to)?.name;
    let begins = integers(network, operator, 2)?;
    if begins.len() != sizes.len()
        || lengths.len() != sizes.len()
        || lengths.iter().zip(sizes).any(|(part, all)| part > all)
    {
        return Err(refused("puts a part of other dimensions into a tensor"));
    }
    // The runtime moves parts that would reach over the end.
    let places = begins
        .iter()
        .zip(sizes.iter().zip(lengths))
        .map(|(begin, (all, part))| (*begin.clamp(&0, &(all - part)), *part));
    let places: Vec<(i64, i64)> = places.collect();
    let operand = network.take(from, Order::AsStored)?;
    let mut whole = network.take(part, Order::AsStored)?;
    let cut = |network: &mut Network<'_>, value: &str, axes: &[(i64, i64, i64)]| {
        if axes.is_empty() {
            return value.to_owned();
        }
        let list =
            |network: &mut Network<'_>, what: &str, values: Vec<i64>| network.list(&format!("{name}/{what}"), &values);
        let begins = list(network, "begins", axes.iter().map(|(_, begin, _)| *begin).collect());
        let ends = list(network, "ends", axes.iter().map(|(_, _, end)| *end).collect());
        let axes = list(network, "axes", axes.iter().map(|(axis, _, _)| *axis).collect());
        network.inner("Slice", &[value, &begins, &ends, &axes], &format!("{name}/cut"), &[])
    };
    // From the last dimension on, the part grows to what the tensor has around it.
    let moved = (0_i64..).zip(places.iter().zip(sizes)).filter(|(_, ((_, part), all))| part != *all);
    let moved: Vec<(i64, i64, i64, i64)> =
        moved.map(|(axis, ((begin, part), all))| (axis, *begin, begin + part, *all)).collect();
    for (count, (axis, begin, end, all)) in moved.iter().enumerate().rev() {
        let outer: Vec<(i64, i64, i64)> =
            moved.iter().take(count).map(|(axis, begin, end, _)| (*axis, *begin, *end)).collect();
        let around = cut(network, &operand, &outer);
        let mut joined = Vec::new();
        if *begin > 0 {
            joined.push(cut(network, &around, &[(*axis, 0, *begin)]));
        }
        joined.push(whole);
        if end < all {
            joined.push(cut(network, &around, &[(*axis, *end, *all)]));
        }
        let joined: Vec<&str> = joined.iter().map(String::as_str).collect();
        whole = network.inner("Concat", &joined, &format!("{name}/joined"), &[Attribute::Integer("axis", *axis)]);
    }
    network.hold(to, Order::AsStored, whole);
    Ok(())
}
