//! What moves elements without changing them.

use super::indices::listable;
use super::network::{Attribute, CHANNELS_FIRST, Network, channels_first};
use super::operators::{axis, axis_in, input, integers, output};
use super::{Order, Trouble, refused};
use crate::onnx::{ElementType, element_count};
use crate::tflite::{Activation, Constant, Operator, Values};

pub(super) fn reshape(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let shape = &network.tensor(to)?.shape;
    if network.tensor(from)?.shape == *shape {
        return network.share(from, to);
    }
    if element_count(shape) != element_count(&network.tensor(from)?.shape) {
        return Err(refused("has a result whose shape the model does not say"));
    }
    if let Some(constant) = network.constant(from)? {
        let reshaped =
            constant.reshaped(shape).ok_or_else(|| refused("has another number of elements than its input"))?;
        network.fold(to, reshaped);
        return Ok(());
    }
    let operand = network.take_elements(from)?;
    let result = network.begin(to, Order::AsStored, Activation::None)?;
    network.reshape(&operand, shape, &result.raw);
    Ok(())
}

pub(super) fn transpose(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let rank = network.tensor(from)?.shape.len();
    let axes = integers(network, operator, 1)?;
    let axes = axes.into_iter().map(|given| axis(given, rank)).collect::<Result<Vec<usize>, _>>()?;
    if let Some(constant) = network.constant(from)? {
        let transposed = constant.transposed(&axes).ok_or_else(|| refused("does not name each dimension once"))?;
        network.fold(to, transposed);
        return Ok(());
    }
    let order = network.order(from);
    let operand = network.take(from, order)?;
    let stays = |axes: &[i64]| axes.iter().copied().eq(0..rank as i64);
    // From the order the input is held in to each order that the result can have; none to write if nothing moves.
    let as_stored: Vec<i64> = axes.iter().map(|axis| axis_in(order, *axis)).collect();
    if stays(&as_stored) {
        network.hold(to, Order::AsStored, operand);
        return Ok(());
    }
    if rank == 4 {
        let first: Vec<i64> = CHANNELS_FIRST.iter().filter_map(|axis| as_stored.get(*axis)).copied().collect();
        if stays(&first) {
            network.hold(to, Order::ChannelsFirst, operand);
            return Ok(());
        }
    }
    network.write(to, Order::AsStored, "Transpose", &[&operand], &[Attribute::Integers("perm", as_stored)])
}

/// Returns the order in which pictures are joined: that in which one of them is held.
fn common_order(network: &Network<'_>, operator: &Operator) -> Order {
    let is_first = |id: &usize| network.order(*id) == Order::ChannelsFirst;
    if operator.inputs.iter().flatten().any(is_first) { Order::ChannelsFirst } else { Order::AsStored }
}

pub(super) fn concatenate(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let to = output(operator, 0)?;
    let along = axis(operator.axis()?, network.tensor(to)?.shape.len())?;
    let order = common_order(network, operator);
    let operands =
        operator.inputs.iter().flatten().map(|id| network.take(*id, order)).collect::<Result<Vec<_>, _>>()?;
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    let result = network.begin(to, order, operator.fused_activation()?)?;
    network.node("Concat", &operands, &result.raw, &[Attribute::Integer("axis", axis_in(order, along))]);
    network.end(&result);
    Ok(())
}

/// Splits the operand at `value` along the axis that the operand at `axis_place` says.
pub(super) fn split(
    network: &mut Network<'_>,
    operator: &Operator,
    value: usize,
    axis_place: usize,
) -> Result<(), Trouble> {
    let from = input(operator, value)?;
    let given = integers(network, operator, axis_place)?.first().copied().unwrap_or(0);
    let along = axis(given, network.tensor(from)?.shape.len())?;
    let order = network.order(from);
    let operand = network.take(from, order)?;
    let mut lengths = Vec::new();
    let mut results = Vec::new();
    for id in &operator.outputs {
        let length = network.tensor(*id)?.shape.get(along).copied();
        lengths.push(length.ok_or_else(|| refused("has a result with too few dimensions"))?);
        results.push(network.begin(*id, order, Activation::None)?.raw);
    }
    let results: Vec<&str> = results.iter().map(String::as_str).collect();
    let attributes = [Attribute::Integer("axis", axis_in(order, along)), Attribute::Integers("split", lengths)];
    network.node_of_many("Split", &[&operand], &results, &attributes);
    Ok(())
}

pub(super) fn pack(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let to = output(operator, 0)?;
    let tensor = network.tensor(to)?;
    let along = axis(operator.axis()?, tensor.shape.len())?;
    let mut layer = tensor.shape.clone();
    if let Some(size) = layer.get_mut(along) {
        *size = 1;
    }
    let mut operands = Vec::new();
    for id in operator.inputs.iter().flatten() {
        let operand = network.take(*id, Order::AsStored)?;
        let name = network.fresh(&format!("{}/layer", tensor.name));
        network.reshape(&operand, &layer, &name);
        operands.push(name);
    }
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    network.write(to, Order::AsStored, "Concat", &operands, &[Attribute::Integer("axis", along as i64)])
}

pub(super) fn unpack(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let from = input(operator, 0)?;
    let tensor = network.tensor(from)?;
    let along = axis(operator.axis()?, tensor.shape.len())?;
    let operand = network.take(from, Order::AsStored)?;
    let layers: Vec<String> =
        operator.outputs.iter().map(|_| network.fresh(&format!("{}/layer", tensor.name))).collect();
    let names: Vec<&str> = layers.iter().map(String::as_str).collect();
    let lengths = vec![1; layers.len()];
    let attributes = [Attribute::Integer("axis", along as i64), Attribute::Integers("split", lengths)];
    network.node_of_many("Split", &[&operand], &names, &attributes);
    for (id, layer) in operator.outputs.iter().zip(&layers) {
        let result = network.begin(*id, Order::AsStored, Activation::None)?;
        network.reshape(layer, &network.tensor(*id)?.shape, &result.raw);
    }
    Ok(())
}

/// Shapes are known, so they are constants.
pub(super) fn shape(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let sizes = network.tensor(from)?.shape.clone();
    let element = network.element(to)?;
    let constant = match operator.name.as_str() {
        "RANK" => Constant { shape: Vec::new(), values: Values::Integer(vec![sizes.len() as i64], element) },
        _ => Constant { shape: vec![sizes.len() as i64], values: Values::Integer(sizes, element) },
    };
    network.fold(to, constant);
    Ok(())
}

pub(super) fn broadcast(network: &mut Network<'_>, operator: &Operator, value: usize) -> Result<(), Trouble> {
    let to = output(operator, 0)?;
    let operand = network.take(input(operator, value)?, Order::AsStored)?;
    let tensor = network.tensor(to)?;
    let shape = network.list(&format!("{}/shape", tensor.name), &tensor.shape);
    network.write(to, Order::AsStored, "Expand", &[&operand, &shape], &[])
}

pub(super) fn zeros(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let to = output(operator, 0)?;
    let values = match network.element(to)? {
        ElementType::Float32 => Values::Real(vec![0.0]),
        element => Values::Integer(vec![0], element),
    };
    let tensor = network.tensor(to)?;
    let zero = network.initializer(&format!("{}/zero", tensor.name), &Constant { shape: Vec::new(), values });
    let shape = network.list(&format!("{}/shape", tensor.name), &tensor.shape);
    network.write(to, Order::AsStored, "Expand", &[&zero, &shape], &[])
}

pub(super) fn tile(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let order = network.order(from);
    let operand = network.take(from, order)?;
    let counts = integers(network, operator, 1)?;
    let counts = match order {
        Order::AsStored => counts,
        Order::ChannelsFirst => channels_first(&counts),
    };
    let counts = network.list(&format!("{}/counts", network.tensor(to)?.name), &counts);
    network.write(to, order, "Tile", &[&operand, &counts], &[])
}

pub(super) fn gather(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, indices, to) = (input(operator, 0)?, input(operator, 1)?, output(operator, 0)?);
    let (sizes, shape) = (&network.tensor(from)?.shape, &network.tensor(indices)?.shape);
    let along = axis(operator.axis()?, sizes.len())?;
    let batches = operator.batch_dimensions()?;
    let batches = if batches < 0 { i64::from(batches) + shape.len() as i64 } else { batches.into() };
    let batches = usize::try_from(batches).ok().filter(|batches| *batches <= along);
    let own = batches.and_then(|batches| Some((sizes.get(..batches)?, shape.get(batches..)?)));
    let Some((together, own)) = own else { return Err(refused("has odd batches")) };
    let name = &network.tensor(to)?.name;
    let operand = network.take(from, Order::AsStored)?;
    let given = network.take(indices, Order::AsStored)?;
    if together.is_empty() {
        let attributes = [Attribute::Integer("axis", along as i64)];
        return network.write(to, Order::AsStored, "Gather", &[&operand, &given], &attributes);
    }
    if together.iter().all(|size| *size == 1) {
        // One member takes what it takes, so its dimension is that of the operand.
        let flat = network.fresh(&format!("{name}/indices"));
        network.reshape(&given, own, &flat);
        let attributes = [Attribute::Integer("axis", along as i64)];
        return network.write(to, Order::AsStored, "Gather", &[&operand, &flat], &attributes);
    }
    if along != together.len() {
        return Err(refused("takes other elements for each member of a batch, of an inner dimension"));
    }
    // With all members below each other, the elements of each begin behind those before it.
    let product = |sizes: &[i64]| sizes.iter().try_fold(1_i64, |all, size| all.checked_mul(*size));
    let length = sizes.get(along).copied().unwrap_or(0);
    let (Some(members), Some(all)) = (product(together), product(sizes.get(..=along).unwrap_or_default())) else {
        return Err(refused("goes through more elements than can be counted"));
    };
    let flat = network.fresh(&format!("{name}/flat"));
    network.reshape(&operand, &[&[all], sizes.get(along + 1..).unwrap_or_default()].concat(), &flat);
    let mut shape = together.to_vec();
    shape.resize(together.len() + own.len(), 1);
    let values =
        Values::Integer((0..listable(members)?).map(|member| member * length).collect(), network.element(indices)?);
    let begins = network.initializer(&format!("{name}/begins"), &Constant { shape, values });
    let places = network.inner("Add", &[&given, &begins], &format!("{name}/places"), &[]);
    network.write(to, Order::AsStored, "Gather", &[&flat, &places], &[Attribute::Integer("axis", 0)])
}

pub(super) fn look_up(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let indices = network.take(input(operator, 0)?, Order::AsStored)?;
    let table = network.take(input(operator, 1)?, Order::AsStored)?;
    let attributes = [Attribute::Integer("axis", 0)];
    network.write(output(operator, 0)?, Order::AsStored, "Gather", &[&table, &indices], &attributes)
}
