//! Elements that indices name, and lists of indices.

use super::elementwise::choose_truth;
use super::network::{Attribute, Network};
use super::operators::{axis, axis_in, constant, input, integers, output};
use super::{Order, Trouble, refused};
use crate::onnx::ElementType;
use crate::tflite::{Activation, Constant, Operator, TensorId, Values};

/// The longest list of indices that is written into a network. A model can ask for any length in a few bytes.
pub(super) const LONGEST: i64 = 1 << 17;

/// Which elements are taken along a dimension.
pub(super) struct Picked {
    pub(super) axis: usize,
    pub(super) indices: Vec<i64>,
}

/// Writes picked elements of a tensor as the result.
pub(super) fn write_picked(
    network: &mut Network<'_>,
    [from, to]: [TensorId; 2],
    picked: &[Picked],
) -> Result<(), Trouble> {
    let Some((last, first)) = picked.split_last() else { return network.share(from, to) };
    let order = network.order(from);
    let mut operand = network.take(from, order)?;
    let name = &network.tensor(to)?.name;
    let along = |picked: &Picked| [Attribute::Integer("axis", axis_in(order, picked.axis))];
    for picked in first {
        let indices = network.list(&format!("{name}/indices"), &picked.indices);
        operand = network.inner("Gather", &[&operand, &indices], &format!("{name}/part"), &along(picked));
    }
    let indices = network.list(&format!("{name}/indices"), &last.indices);
    network.write(to, order, "Gather", &[&operand, &indices], &along(last))
}

/// Refuses dimensions with more elements than a list of indices can have.
pub(super) fn listable(size: i64) -> Result<i64, Trouble> {
    match size {
        0..=LONGEST => Ok(size),
        _ => Err(refused(format!("needs a list of {size} indices, which is too long"))),
    }
}

pub(super) fn reverse(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let sizes = &network.tensor(from)?.shape;
    let mut picked = Vec::new();
    for given in integers(network, operator, 1)? {
        let axis = axis(given, sizes.len())?;
        let size = listable(sizes.get(axis).copied().unwrap_or(0))?;
        picked.push(Picked { axis, indices: (0..size).rev().collect() });
    }
    write_picked(network, [from, to], &picked)
}

/// The greatest elements of the last dimension, the greatest first, and where they are.
pub(super) fn greatest(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, values, places) = (input(operator, 0)?, output(operator, 0)?, output(operator, 1)?);
    let last = axis(-1, network.tensor(from)?.shape.len())?;
    let counts = integers(network, operator, 1)?;
    let order = network.order(from);
    let operand = network.take(from, order)?;
    let counts = network.list(&format!("{}/count", network.tensor(values)?.name), &counts);
    let values = network.begin(values, order, Activation::None)?;
    let wide = network.fresh(&format!("{}/wide", network.tensor(places)?.name));
    let attributes = [Attribute::Integer("axis", axis_in(order, last))];
    network.node_of_many("TopK", &[&operand, &counts], &[&values.raw, &wide], &attributes);
    let element = network.element(places)?;
    network.write(places, order, "Cast", &[&wide], &[Attribute::Integer("to", element.code().into())])
}

/// Each index has as many parts as dimensions are gone through.
pub(super) fn gather_points(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, indices, to) = (input(operator, 0)?, input(operator, 1)?, output(operator, 0)?);
    let sizes = &network.tensor(from)?.shape;
    let Some((&parts, shape)) = network.tensor(indices)?.shape.split_last() else {
        return Err(refused("has a single number as indices"));
    };
    let parts = usize::try_from(parts).ok().filter(|parts| (1..=sizes.len()).contains(parts));
    let parts = parts.ok_or_else(|| refused("has indices with another number of parts than dimensions"))?;
    let (through, kept) = sizes.split_at(parts);
    let name = &network.tensor(to)?.name;
    let first = [Attribute::Integer("axis", 0)];
    if let Some(constant) = network.constant(indices)? {
        // With all dimensions in one, an index has one part.
        let places = places(&constant, through).ok_or_else(|| refused("has indices that name no elements"))?;
        let mut operand = network.take(from, Order::AsStored)?;
        if parts > 1 {
            let flat = network.fresh(&format!("{name}/flat"));
            let all = through.iter().try_fold(1_i64, |all, size| all.checked_mul(*size));
            let all = all.ok_or_else(|| refused("goes through more elements than can be counted"))?;
            network.reshape(&operand, &[&[all], kept].concat(), &flat);
            operand = flat;
        }
        let places = Constant { shape: shape.to_vec(), values: Values::Integer(places, ElementType::Int64) };
        let places = network.initializer(&format!("{name}/places"), &places);
        return network.write(to, Order::AsStored, "Gather", &[&operand, &places], &first);
    }
    let operand = network.take(from, Order::AsStored)?;
    let mut given = network.take(indices, Order::AsStored)?;
    if parts == 1 {
        let flat = network.fresh(&format!("{name}/places"));
        network.reshape(&given, shape, &flat);
        return network.write(to, Order::AsStored, "Gather", &[&operand, &flat], &first);
    }
    if network.element(indices)? != ElementType::Int64 {
        let wide = [Attribute::Integer("to", ElementType::Int64.code().into())];
        given = network.inner("Cast", &[&given], &format!("{name}/places"), &wide);
    }
    network.write(to, Order::AsStored, "GatherND", &[&operand, &given], &[])
}

/// Returns where indices of several parts are when the dimensions are one.
pub(super) fn places(indices: &Constant, sizes: &[i64]) -> Option<Vec<i64>> {
    let place = |index: &[i64]| {
        let mut parts = index.iter().zip(sizes);
        parts.try_fold(0_i64, |place, (part, size)| {
            let place = place.checked_mul(*size)?.checked_add(*part)?;
            (0..*size).contains(part).then_some(place)
        })
    };
    indices.integers()?.chunks(sizes.len()).map(place).collect()
}

/// Indices out of bounds have nothing switched on; what ONNX has for this counts some of them from the end.
pub(super) fn one_hot(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (indices, to) = (input(operator, 0)?, output(operator, 0)?);
    let tensor = network.tensor(to)?;
    let along = axis(operator.axis()?, tensor.shape.len())?;
    let depth = listable(tensor.shape.get(along).copied().unwrap_or(0))?;
    if integers(network, operator, 1)? != [depth] {
        return Err(refused("has a result of another depth than it says"));
    }
    let mut shape = tensor.shape.clone();
    shape.fill(1);
    if let Some(size) = shape.get_mut(along) {
        *size = depth;
    }
    let values = Values::Integer((0..depth).collect(), network.element(indices)?);
    let places = network.initializer(&format!("{}/places", tensor.name), &Constant { shape, values });
    let mut shape = tensor.shape.clone();
    if let Some(size) = shape.get_mut(along) {
        *size = 1;
    }
    let given = network.take_elements(indices)?;
    let wide = network.fresh(&format!("{}/indices", tensor.name));
    network.reshape(&given, &shape, &wide);
    let is_on = network.inner("Equal", &[&wide, &places], &format!("{}/is_on", tensor.name), &[]);
    let on = network.take(input(operator, 2)?, Order::AsStored)?;
    let off = network.take(input(operator, 3)?, Order::AsStored)?;
    if network.element(to)? == ElementType::Boolean {
        let result = network.begin(to, Order::AsStored, Activation::None)?;
        choose_truth(network, [&is_on, &on, &off], &result.raw);
        return Ok(());
    }
    network.write(to, Order::AsStored, "Where", &[&is_on, &on, &off], &[])
}

/// From a number on in steps; the shape of the result says how many.
pub(super) fn range(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let to = output(operator, 0)?;
    let &[length] = network.tensor(to)?.shape.as_slice() else {
        return Err(refused("has a result of several dimensions"));
    };
    let numbers = 0..listable(length)?;
    let (first, step) = (constant(network, operator, 0)?.values, constant(network, operator, 2)?.values);
    let values = match (first, step) {
        (Values::Integer(first, element), Values::Integer(step, _)) => {
            let (&[first], &[step]) = (first.as_slice(), step.as_slice()) else { return Err(not_single()) };
            Values::Integer(numbers.map(|number| first.saturating_add(number.saturating_mul(step))).collect(), element)
        }
        (Values::Real(first), Values::Real(step)) => {
            let (&[first], &[step]) = (first.as_slice(), step.as_slice()) else { return Err(not_single()) };
            Values::Real(numbers.map(|number| first + number as f32 * step).collect())
        }
        _ => return Err(refused("mixes integers and real numbers")),
    };
    network.fold(to, Constant { shape: vec![length], values });
    Ok(())
}

fn not_single() -> Trouble {
    refused("has several numbers where one is needed")
}
