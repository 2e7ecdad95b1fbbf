//! Parts of tensors, and borders around them.

use super::indices::{Picked, listable, write_picked};
use super::network::{Attribute, Network, channels_first};
use super::operators::{axis_in, constant, input, integers, output};
use super::{Order, Trouble, refused};
use crate::tflite::{Activation, Constant, Operator, TensorId, Values};

/// What is taken along one dimension: from, to, step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: i64,
    to: i64,
    step: i64,
}

/// Takes a span of each dimension; returns the value.
fn take_spans(
    network: &mut Network<'_>,
    [from, to]: [TensorId; 2],
    order: Order,
    spans: &[Span],
    wanted: &str,
) -> Result<String, Trouble> {
    let operand = network.take(from, order)?;
    let sizes = &network.tensor(from)?.shape;
    let is_whole = |(span, size): &(&Span, &i64)| **span == Span { from: 0, to: **size, step: 1 };
    let cut: Vec<(usize, &Span)> = spans
        .iter()
        .zip(sizes)
        .enumerate()
        .filter(|(_, pair)| !is_whole(pair))
        .map(|(axis, (span, _))| (axis, span))
        .collect();
    if cut.is_empty() {
        return Ok(operand);
    }
    let name = &network.tensor(to)?.name;
    let mut list = |what: &str, value: &dyn Fn(usize, &Span) -> i64| {
        let values: Vec<i64> = cut.iter().map(|(axis, span)| value(*axis, span)).collect();
        network.list(&format!("{name}/{what}"), &values)
    };
    let starts = list("starts", &|_, span| span.from);
    let ends = list("ends", &|_, span| span.to);
    let axes = list("axes", &|axis, _| axis_in(order, axis));
    let steps = list("steps", &|_, span| span.step);
    network.node("Slice", &[&operand, &starts, &ends, &axes, &steps], wanted, &[]);
    Ok(wanted.to_owned())
}

/// Writes spans of a tensor as the result.
fn write_spans(network: &mut Network<'_>, from: TensorId, to: TensorId, spans: &[Span]) -> Result<(), Trouble> {
    if network.tensor(from)?.shape == network.tensor(to)?.shape && spans.iter().all(|span| span.step == 1) {
        return network.share(from, to);
    }
    let order = network.order(from);
    let result = network.begin(to, order, Activation::None)?;
    take_spans(network, [from, to], order, spans, &result.raw)?;
    Ok(())
}

pub(super) fn slice(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let lengths = integers(network, operator, 2)?;
    if network.constant(input(operator, 1)?)?.is_none() {
        return slice_from_computed(network, operator, &lengths);
    }
    let starts = integers(network, operator, 1)?;
    let along = starts.iter().zip(&lengths).zip(&network.tensor(from)?.shape);
    let spans: Vec<Span> = along
        .map(|((&from, &length), &size)| Span {
            from,
            to: if length < 0 { size } else { from.saturating_add(length) },
            step: 1,
        })
        .collect();
    write_spans(network, from, to, &spans)
}

/// Takes spans of a known length that begin where it is computed.
fn slice_from_computed(network: &mut Network<'_>, operator: &Operator, lengths: &[i64]) -> Result<(), Trouble> {
    let (from, begins, to) = (input(operator, 0)?, input(operator, 1)?, output(operator, 0)?);
    let name = &network.tensor(to)?.name;
    let mut spans = Vec::new();
    for (axis, (&length, &size)) in lengths.iter().zip(&network.tensor(from)?.shape).enumerate() {
        match length {
            _ if length == size => {}
            0.. => spans.push((axis, listable(length)?)),
            _ => return Err(refused("takes a part whose length is computed")),
        }
    }
    let mut operand = network.take(from, Order::AsStored)?;
    for (axis, length) in spans {
        let first = element_of(network, begins, axis, name)?;
        let values = Values::Integer((0..length).collect(), network.element(begins)?);
        let steps = network.initializer(&format!("{name}/steps"), &Constant { shape: vec![length], values });
        let places = network.inner("Add", &[&first, &steps], &format!("{name}/places"), &[]);
        let along = [Attribute::Integer("axis", axis as i64)];
        operand = network.inner("Gather", &[&operand, &places], &format!("{name}/part"), &along);
    }
    network.write(to, Order::AsStored, "Identity", &[&operand], &[])
}

/// Returns a list of one element of a computed list.
fn element_of(network: &mut Network<'_>, list: TensorId, place: usize, name: &str) -> Result<String, Trouble> {
    let list = network.take(list, Order::AsStored)?;
    let [start, end] = [place, place + 1].map(|place| place as i64);
    let (starts, ends) =
        (network.list(&format!("{name}/start"), &[start]), network.list(&format!("{name}/end"), &[end]));
    Ok(network.inner("Slice", &[&list, &starts, &ends], &format!("{name}/begin"), &[]))
}

/// Takes single elements of dimensions, where it is computed which.
fn take_computed(network: &mut Network<'_>, operator: &Operator, count: usize) -> Result<(), Trouble> {
    let (from, begins, to) = (input(operator, 0)?, input(operator, 1)?, output(operator, 0)?);
    let name = &network.tensor(to)?.name;
    let mut operand = network.take(from, Order::AsStored)?;
    for axis in 0..count {
        let place = element_of(network, begins, axis, name)?;
        let along = [Attribute::Integer("axis", axis as i64)];
        operand = network.inner("Gather", &[&operand, &place], &format!("{name}/part"), &along);
    }
    let result = network.begin(to, Order::AsStored, Activation::None)?;
    network.reshape(&operand, &network.tensor(to)?.shape, &result.raw);
    Ok(())
}

pub(super) fn strided_slice(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let options = operator.strided_slice()?;
    if options.has_offsets {
        return Err(refused("ends at offsets"));
    }
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let begins = input(operator, 1)?;
    let count = network.tensor(begins)?.shape.first().and_then(|count| u32::try_from(*count).ok()).unwrap_or(0);
    let are_single = 1_i32.checked_shl(count).is_some_and(|mask| options.shrink == mask - 1);
    if network.constant(begins)?.is_none() && are_single && options.ellipsis | options.new_axis | options.begin == 0 {
        return take_computed(network, operator, count as usize);
    }
    let [begins, ends, strides] = [1, 2, 3].map(|place| integers(network, operator, place));
    let (begins, ends, strides) = (begins?, ends?, strides?);
    let sizes = &network.tensor(from)?.shape;
    let mut left = sizes.iter().copied();
    let shifted = |mask: i32, place: usize| mask.checked_shr(u32::try_from(place).ok()?);
    let bit = |mask: i32, place: usize| shifted(mask, place).is_some_and(|mask| mask & 1 == 1);
    let is_own = |place: &usize| !bit(options.ellipsis | options.new_axis, *place);
    let mut unnamed = sizes.len().saturating_sub((0..begins.len()).filter(is_own).count());
    let mut spans = Vec::new();
    for (place, ((&begin, &end), &stride)) in begins.iter().zip(&ends).zip(&strides).enumerate() {
        if bit(options.ellipsis, place) {
            let whole = left.by_ref().take(std::mem::take(&mut unnamed));
            spans.extend(whole.map(|size| Span { from: 0, to: size, step: 1 }));
            continue;
        }
        if bit(options.new_axis, place) {
            continue;
        }
        let size = left.next().ok_or_else(|| refused("slices more dimensions than there are"))?;
        let begin = (!bit(options.begin, place)).then_some(begin);
        let end = (!bit(options.end, place)).then_some(end);
        spans.push(if bit(options.shrink, place) {
            let first = begin.unwrap_or(0);
            let first = if first < 0 { first.saturating_add(size) } else { first };
            Span { from: first, to: first.saturating_add(1), step: 1 }
        } else {
            span(begin, end, stride, size).ok_or_else(|| refused("has a stride of 0"))?
        });
    }
    spans.extend(left.map(|size| Span { from: 0, to: size, step: 1 }));
    if options.shrink == 0 && options.new_axis == 0 {
        return write_spans(network, from, to, &spans);
    }
    let tensor = network.tensor(to)?;
    // The dimensions that go away have one element each by now, and so have those that come.
    let part = network.fresh(&format!("{}/part", tensor.name));
    let part = take_spans(network, [from, to], Order::AsStored, &spans, &part)?;
    let result = network.begin(to, Order::AsStored, Activation::None)?;
    network.reshape(&part, &tensor.shape, &result.raw);
    Ok(())
}

/// Returns what a slice takes of a dimension, as Python does it; `None` for a stride of 0.
fn span(begin: Option<i64>, end: Option<i64>, step: i64, size: i64) -> Option<Span> {
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let place = |given: i64| (if given < 0 { given.saturating_add(size) } else { given }).clamp(low, high);
    let (first, last) = if step > 0 { (low, high) } else { (high, low) };
    let to = end.map_or(last, place);
    // The place before the first element has a name only when it is counted from the end.
    let to = if to < 0 { -size - 1 } else { to };
    (step != 0).then(|| Span { from: begin.map_or(first, place), to, step })
}

/// Returns the border before and after each dimension, in the order that a value is held in.
fn borders(network: &Network<'_>, operator: &Operator, order: Order, rank: usize) -> Result<Vec<i64>, Trouble> {
    let amounts = integers(network, operator, 1)?;
    if amounts.len() != 2 * rank {
        return Err(refused("does not have two amounts for each dimension"));
    }
    let side = |side: usize| {
        let stored: Vec<i64> = amounts.iter().skip(side).step_by(2).copied().collect();
        if order == Order::ChannelsFirst { channels_first(&stored) } else { stored }
    };
    Ok([side(0), side(1)].concat())
}

pub(super) fn pad(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let value = match operator.input(2) {
        None => 0.0,
        Some(_) => match constant(network, operator, 2)?.values {
            Values::Real(values) => values.first().copied().unwrap_or(0.0),
            Values::Integer(..) => return Err(refused("fills with integers")),
        },
    };
    let rank = network.tensor(from)?.shape.len();
    // What does not count is the border of a pooling, which comes behind it and has the channels first.
    let order = if value.is_infinite() && rank == 4 { Order::ChannelsFirst } else { network.order(from) };
    let borders = borders(network, operator, order, rank)?;
    let operand = network.take(from, order)?;
    let name = &network.tensor(to)?.name;
    let borders = network.list(&format!("{name}/borders"), &borders);
    let value = network.number(&format!("{name}/value"), value);
    network.write(to, order, "Pad", &[&operand, &borders, &value], &[Attribute::Text("mode", "constant")])
}

pub(super) fn mirror_pad(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let order = network.order(from);
    let borders = borders(network, operator, order, network.tensor(from)?.shape.len())?;
    let mode = match operator.repeats_border()? {
        false => "reflect",
        // One element of a mirrored border is the border itself.
        true if borders.iter().all(|amount| *amount <= 1) => "edge",
        true => return write_mirrored(network, operator, [from, to]),
    };
    let operand = network.take(from, order)?;
    let borders = network.list(&format!("{}/borders", network.tensor(to)?.name), &borders);
    network.write(to, order, "Pad", &[&operand, &borders], &[Attribute::Text("mode", mode)])
}

/// Mirrors elements with the border itself, which ONNX has no name for.
fn write_mirrored(network: &mut Network<'_>, operator: &Operator, [from, to]: [TensorId; 2]) -> Result<(), Trouble> {
    let amounts = integers(network, operator, 1)?;
    let mut picked = Vec::new();
    for (axis, (amounts, &size)) in amounts.chunks(2).zip(&network.tensor(from)?.shape).enumerate() {
        let &[before, after] = amounts else { return Err(refused("does not have two amounts for each dimension")) };
        let size = listable(size)?;
        if !(0..=size).contains(&before) || !(0..=size).contains(&after) {
            return Err(refused("mirrors more elements than there are"));
        }
        if (before, after) != (0, 0) {
            let indices = (0..before).rev().chain(0..size).chain((size - after..size).rev()).collect();
            picked.push(Picked { axis, indices });
        }
    }
    write_picked(network, [from, to], &picked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_those_of_python() {
        let cases = [
            (None, None, 1, (0, 5, 1)),
            (Some(1), Some(-1), 1, (1, 4, 1)),
            (Some(-9), Some(9), 2, (0, 5, 2)),
            (None, None, -1, (4, -6, -1)),
            (Some(3), Some(0), -1, (3, 0, -1)),
            (Some(-1), Some(-9), -2, (4, -6, -2)),
            (Some(i64::MIN), Some(i64::MAX), 1, (0, 5, 1)),
        ];
        for (begin, end, step, (from, to, by)) in cases {
            assert_eq!(span(begin, end, step, 5), Some(Span { from, to, step: by }), "{begin:?} {end:?} {step}");
        }
        assert_eq!(span(None, None, 0, 5), None);
    }
}
