//! What many elements become one of, or are weighed against each other.

use super::network::{Attribute, CHANNELS_FIRST, Network};
use super::operators::{axis, axis_in, input, integers, output};
use super::{Order, Trouble, refused};
use crate::onnx::ElementType;
use crate::tflite::{Activation, Constant, Operator, TensorId, Values};

/// The most dimensions that the vendor's tools reduce without breaking.
const MOST_DIMENSIONS: usize = 5;

/// What the length of a vector is at least, before it divides: the constant of the format's runtime.
const SHORTEST: f32 = 1e-6;

/// Returns the order to read a value in, and that of the result, when dimensions are reduced.
fn orders(network: &Network<'_>, from: TensorId, reduced: &[usize], keeps: bool) -> (Order, Order) {
    if network.order(from) == Order::AsStored {
        return (Order::AsStored, Order::AsStored);
    }
    let left_in_order = || CHANNELS_FIRST.iter().filter(|axis| !reduced.contains(axis)).is_sorted();
    match keeps {
        true => (Order::ChannelsFirst, Order::ChannelsFirst),
        false if left_in_order() => (Order::ChannelsFirst, Order::AsStored),
        false => (Order::AsStored, Order::AsStored),
    }
}

pub(super) fn reduce(network: &mut Network<'_>, operator: &Operator, name: &str) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let keeps = operator.keeps_dimensions()?;
    let rank = network.tensor(from)?.shape.len();
    let axes = integers(network, operator, 1)?;
    let mut axes = axes.into_iter().map(|given| axis(given, rank)).collect::<Result<Vec<usize>, _>>()?;
    axes.sort_unstable();
    axes.dedup();
    if axes.is_empty() {
        return network.share(from, to);
    }
    if rank > MOST_DIMENSIONS && network.element(from)? != ElementType::Boolean {
        return reduce_runs(network, [from, to], name, &axes);
    }
    let (order, result) = orders(network, from, &axes, keeps);
    let operand = network.take(from, order)?;
    let mut axes: Vec<i64> = axes.into_iter().map(|axis| axis_in(order, axis)).collect();
    axes.sort_unstable();
    let attributes = [Attribute::Integers("axes", axes), Attribute::Integer("keepdims", keeps.into())];
    if network.element(from)? != ElementType::Boolean {
        return network.write(to, result, name, &[&operand], &attributes);
    }
    // Any is the greatest of zeros and ones, all the least.
    let stem = &network.tensor(to)?.name;
    let cast = |element: ElementType| [Attribute::Integer("to", element.code().into())];
    let number = network.inner("Cast", &[&operand], &format!("{stem}/numbers"), &cast(ElementType::Float32));
    let number = network.inner(name, &[&number], &format!("{stem}/number"), &attributes);
    network.write(to, result, "Cast", &[&number], &cast(ElementType::Boolean))
}

/// Reduces each run of neighbouring dimensions as one of three.
fn reduce_runs(
    network: &mut Network<'_>,
    [from, to]: [TensorId; 2],
    name: &str,
    axes: &[usize],
) -> Result<(), Trouble> {
    let mut sizes = network.tensor(from)?.shape.clone();
    let tensor = network.tensor(to)?;
    let mut operand = network.take(from, Order::AsStored)?;
    let product = |sizes: &[i64]| sizes.iter().try_fold(1_i64, |all, size| all.checked_mul(*size));
    for run in axes.chunk_by(|axis, next| axis + 1 == *next) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        let parts = [sizes.get(..*first), sizes.get(*first..=*last), sizes.get(last + 1..)];
        let shape = parts.map(|part| part.and_then(product)).into_iter().collect::<Option<Vec<i64>>>();
        let shape = shape.ok_or_else(|| refused("goes through more elements than can be counted"))?;
        let flat = network.fresh(&format!("{}/flat", tensor.name));
        network.reshape(&operand, &shape, &flat);
        let attributes = [Attribute::Integers("axes", vec![1]), Attribute::Integer("keepdims", 1)];
        operand = network.inner(name, &[&flat], &format!("{}/reduced", tensor.name), &attributes);
        sizes.iter_mut().take(last + 1).skip(*first).for_each(|size| *size = 1);
    }
    let result = network.begin(to, Order::AsStored, Activation::None)?;
    network.reshape(&operand, &tensor.shape, &result.raw);
    Ok(())
}

pub(super) fn cumulate(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let given = integers(network, operator, 1)?.first().copied().unwrap_or(0);
    let along = axis(given, network.tensor(from)?.shape.len())?;
    let sums = operator.cumulative_sum()?;
    let order = network.order(from);
    let operand = network.take(from, order)?;
    let values = Values::Integer(vec![axis_in(order, along)], ElementType::Int64);
    let axis = Constant { shape: Vec::new(), values };
    let axis = network.initializer(&format!("{}/axis", network.tensor(to)?.name), &axis);
    let attributes = [
        Attribute::Integer("exclusive", sums.leaves_own_out.into()),
        Attribute::Integer("reverse", sums.is_from_end.into()),
    ];
    network.write(to, order, "CumSum", &[&operand, &axis], &attributes)
}

pub(super) fn position(network: &mut Network<'_>, operator: &Operator, name: &str) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let rank = network.tensor(from)?.shape.len();
    let along = axis(integers(network, operator, 1)?.first().copied().unwrap_or(-1), rank)?;
    let (order, result) = orders(network, from, &[along], false);
    let operand = network.take(from, order)?;
    let attributes = [Attribute::Integer("axis", axis_in(order, along)), Attribute::Integer("keepdims", 0)];
    match network.element(to)? {
        ElementType::Int64 => network.write(to, result, name, &[&operand], &attributes),
        element => {
            let wanted = format!("{}/wide", network.tensor(to)?.name);
            let wide = network.inner(name, &[&operand], &wanted, &attributes);
            network.write(to, result, "Cast", &[&wide], &[Attribute::Integer("to", element.code().into())])
        }
    }
}

/// The operator set's softmax takes all dimensions from the axis on together, so the axis has to be the last.
pub(super) fn softmax(network: &mut Network<'_>, operator: &Operator, name: &str) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let tensor = network.tensor(from)?;
    let last = axis(-1, tensor.shape.len())?;
    let mut operand = network.take(from, Order::AsStored)?;
    if name == "Softmax" && operator.factor()? != 1.0 {
        let factor = network.number(&format!("{}/beta", network.tensor(to)?.name), operator.factor()?);
        operand = network.inner("Mul", &[&operand, &factor], &format!("{}/scaled", tensor.name), &[]);
    }
    network.write(to, Order::AsStored, name, &[&operand], &[Attribute::Integer("axis", last as i64)])
}

pub(super) fn unit_length(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let last = axis(-1, network.tensor(from)?.shape.len())?;
    let order = network.order(from);
    let operand = network.take(from, order)?;
    let name = &network.tensor(to)?.name;
    let axes = Attribute::Integers("axes", vec![axis_in(order, last)]);
    let length =
        network.inner("ReduceL2", &[&operand], &format!("{name}/length"), &[axes, Attribute::Integer("keepdims", 1)]);
    let shortest = network.number(&format!("{name}/shortest"), SHORTEST);
    let divisor = network.inner("Max", &[&length, &shortest], &format!("{name}/divisor"), &[]);
    let result = network.begin(to, order, operator.fused_activation()?)?;
    network.node("Div", &[&operand, &divisor], &result.raw, &[]);
    network.end(&result);
    Ok(())
}
