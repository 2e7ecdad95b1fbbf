//! Blocks of space that become members of a batch, and back.

use super::network::{Attribute, Network, channels_first};
use super::operators::{input, integers, output};
use super::{Order, Trouble, refused};
use crate::onnx::element_count;
use crate::tflite::{Activation, Operator, TensorId};

/// Blocks of the dimensions after the first, and what stands around all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    /// How long a block is.
    pub(super) sizes: Vec<i64>,
    /// What is put before the first block, or is cut off there.
    pub(super) before: Vec<i64>,
    /// What is put behind the last block, or is cut off there.
    pub(super) behind: Vec<i64>,
}

impl Blocks {
    /// Reads the operands of `SPACE_TO_BATCH_ND` or `BATCH_TO_SPACE_ND`.
    pub(super) fn read(network: &Network<'_>, operator: &Operator) -> Result<Self, Trouble> {
        let (sizes, amounts) = (integers(network, operator, 1)?, integers(network, operator, 2)?);
        let rank = network.tensor(input(operator, 0)?)?.shape.len();
        let is_sane = amounts.len() == 2 * sizes.len() && sizes.len() < rank;
        // Nothing that is computed from what a dimension can have leaves 64 bits.
        let is_size = |size: &i64| (0..=i64::from(i32::MAX)).contains(size);
        if !is_sane || !sizes.iter().chain(&amounts).all(is_size) || sizes.contains(&0) {
            return Err(refused("has odd blocks"));
        }
        let side = |side: usize| amounts.iter().skip(side).step_by(2).copied().collect();
        Ok(Self { sizes, before: side(0), behind: side(1) })
    }

    /// Returns one of the lists for all dimensions of a value.
    fn spread(list: &[i64], rest: i64, rank: usize, order: Order) -> Vec<i64> {
        let mut stored = vec![rest];
        stored.extend(list);
        stored.resize(rank, rest);
        held(&stored, order)
    }
}

/// Returns sizes in the order that a value is held in.
fn held(sizes: &[i64], order: Order) -> Vec<i64> {
    if order == Order::ChannelsFirst { channels_first(sizes) } else { sizes.to_vec() }
}

/// Returns the order to work in: blocks of channels are counted after those of space.
fn order(network: &Network<'_>, from: TensorId, blocks: &Blocks) -> Order {
    if blocks.sizes.len() > 2 { Order::AsStored } else { network.order(from) }
}

/// Dimensions that are split, moved and joined.
#[derive(Default)]
struct Movement {
    split: Vec<i64>,
    order: Vec<i64>,
    joined: Vec<i64>,
}

impl Movement {
    fn write(&self, network: &mut Network<'_>, operand: &str, wanted: &str) {
        let split = network.fresh(&format!("{wanted}/split"));
        network.reshape(operand, &self.split, &split);
        let order = [Attribute::Integers("perm", self.order.clone())];
        let moved = network.inner("Transpose", &[&split], &format!("{wanted}/moved"), &order);
        network.reshape(&moved, &self.joined, wanted);
    }
}

pub(super) fn space_to_batch(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let blocks = Blocks::read(network, operator)?;
    let order = order(network, from, &blocks);
    let (tensor, name) = (network.tensor(from)?, &network.tensor(to)?.name);
    let rank = tensor.shape.len();
    let of = |list: &[i64], rest: i64| Blocks::spread(list, rest, rank, order);
    let (sizes, before, behind) = (of(&blocks.sizes, 1), of(&blocks.before, 0), of(&blocks.behind, 0));
    let mut operand = network.take(from, order)?;
    if before.iter().chain(&behind).any(|amount| *amount != 0) {
        let borders = network.list(&format!("{name}/borders"), &[before.as_slice(), &behind].concat());
        let value = network.number(&format!("{name}/value"), 0.0);
        let constant = [Attribute::Text("mode", "constant")];
        operand = network.inner("Pad", &[&operand, &borders, &value], &format!("{name}/padded"), &constant);
    }
    let mut movement = Movement { joined: held(&network.tensor(to)?.shape, order), ..Movement::default() };
    let (mut parts, mut rest) = (Vec::new(), Vec::new());
    let lengths = held(&tensor.shape, order);
    for (axis, ((length, size), border)) in lengths.iter().zip(&sizes).zip(before.iter().zip(&behind)).enumerate() {
        let length = length + border.0 + border.1;
        if length % size != 0 {
            return Err(refused("does not end with a whole block"));
        }
        // A batch of one moves nowhere, and the compiler takes few dimensions.
        if axis > 0 || length != 1 {
            rest.push(movement.split.len() as i64);
            movement.split.push(length / size);
        }
        if *size > 1 {
            parts.push(movement.split.len() as i64);
            movement.split.push(*size);
        }
    }
    if element_count(&movement.split) != element_count(&movement.joined) {
        return Err(refused("has a result of another size than its blocks"));
    }
    movement.order = [parts, rest].concat();
    let result = network.begin(to, order, Activation::None)?;
    movement.write(network, &operand, &result.raw);
    Ok(())
}

pub(super) fn batch_to_space(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let blocks = Blocks::read(network, operator)?;
    let order = order(network, from, &blocks);
    let lengths = held(&network.tensor(from)?.shape, order);
    let of = |list: &[i64], rest: i64| Blocks::spread(list, rest, lengths.len(), order);
    let (sizes, before, behind) = (of(&blocks.sizes, 1), of(&blocks.before, 0), of(&blocks.behind, 0));
    let members = lengths.first().copied().unwrap_or(0);
    let together = sizes.iter().try_fold(1_i64, |product, size| product.checked_mul(*size));
    let Some(batch) = together.filter(|together| members % together == 0).map(|together| members / together) else {
        return Err(refused("has a batch that is not made of whole blocks"));
    };
    let mut movement = Movement { joined: vec![batch], ..Movement::default() };
    movement.split = sizes.iter().copied().filter(|size| *size > 1).collect();
    if batch != 1 {
        movement.order.push(movement.split.len() as i64);
        movement.split.push(batch);
    }
    let mut part = 0;
    for (length, size) in lengths.iter().zip(&sizes).skip(1) {
        movement.order.push(movement.split.len() as i64);
        movement.split.push(*length);
        if *size > 1 {
            movement.order.push(part);
            part += 1;
        }
        movement.joined.push(length * size);
    }
    let operand = network.take(from, order)?;
    let result = network.begin(to, order, Activation::None)?;
    let cut: Vec<usize> = (0..lengths.len()).filter(|axis| before[*axis] + behind[*axis] > 0).collect();
    if cut.is_empty() {
        movement.write(network, &operand, &result.raw);
        return Ok(());
    }
    let whole = network.fresh(&format!("{}/whole", result.raw));
    movement.write(network, &operand, &whole);
    let mut list = |what: &str, value: &dyn Fn(usize) -> i64| {
        let values: Vec<i64> = cut.iter().map(|axis| value(*axis)).collect();
        network.list(&format!("{}/{what}", result.raw), &values)
    };
    let starts = list("starts", &|axis| before[axis]);
    let ends = list("ends", &|axis| movement.joined[axis] - behind[axis]);
    let axes = list("axes", &|axis| axis as i64);
    network.node("Slice", &[&whole, &starts, &ends, &axes], &result.raw, &[]);
    Ok(())
}
