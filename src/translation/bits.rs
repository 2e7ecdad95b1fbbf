//! The bits of whole numbers, which the operator set does not know: they are written as rests of divisions.

use super::network::{Attribute, Network};
use super::operators::{constant, input, output};
use super::{Order, Trouble, refused};
use crate::onnx::ElementType;
use crate::tflite::{Activation, Constant, Operator, Values};

/// Returns how many bits whole numbers have, and whether the last one counts below zero.
fn bits(element: ElementType) -> Result<(u32, bool), Trouble> {
    Ok(match element {
        ElementType::Int8 => (8, true),
        ElementType::Uint8 => (8, false),
        ElementType::Int16 => (16, true),
        ElementType::Uint16 => (16, false),
        ElementType::Int32 => (32, true),
        ElementType::Uint32 => (32, false),
        _ => return Err(refused("takes the bits of other numbers than whole ones of up to 32 bits")),
    })
}

const fn to(element: ElementType) -> Attribute {
    Attribute::Integer("to", element.code() as i64)
}

/// Divides whole numbers and rounds down: what the rest leaves is a multiple of the divisor.
fn divided(network: &mut Network<'_>, [dividend, divisor]: [&str; 2], name: &str) -> String {
    let rest = network.inner("Mod", &[dividend, divisor], &format!("{name}/rest"), &[]);
    let multiple = network.inner("Sub", &[dividend, &rest], &format!("{name}/multiple"), &[]);
    network.inner("Div", &[&multiple, divisor], &format!("{name}/quotient"), &[])
}

/// Bits in which two numbers differ: they are laid along a dimension of their own, and weighed again.
pub(super) fn differing(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let result = output(operator, 0)?;
    let element = network.element(result)?;
    let (count, is_signed) = bits(element)?;
    let name = &network.tensor(result)?.name;
    let powers: Vec<i64> = (0..count).map(|bit| 1 << bit).collect();
    let mut weights = powers.clone();
    if let Some(sign) = weights.last_mut().filter(|_| is_signed) {
        *sign = -*sign;
    }
    let (powers, weights) =
        (network.list(&format!("{name}/powers"), &powers), network.list(&format!("{name}/weights"), &weights));
    let two = network.list(&format!("{name}/two"), &[2]);
    let mut parts = Vec::new();
    for place in 0..2 {
        let id = input(operator, place)?;
        let given = network.take(id, Order::AsStored)?;
        let wide = network.inner("Cast", &[&given], &format!("{name}/wide"), &[to(ElementType::Int64)]);
        let column = network.fresh(&format!("{name}/column"));
        network.reshape(&wide, &[network.tensor(id)?.shape.as_slice(), &[1]].concat(), &column);
        let quotient = divided(network, [&column, &powers], name);
        parts.push(network.inner("Mod", &[&quotient, &two], &format!("{name}/bits"), &[]));
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let sum = network.inner("Add", &parts, &format!("{name}/sum"), &[]);
    let differ = network.inner("Mod", &[&sum, &two], &format!("{name}/differ"), &[]);
    let weighed = network.inner("Mul", &[&differ, &weights], &format!("{name}/weighed"), &[]);
    let last = network.tensor(result)?.shape.len() as i64;
    let along = [Attribute::Integers("axes", vec![last]), Attribute::Integer("keepdims", 0)];
    let number = network.inner("ReduceSum", &[&weighed], &format!("{name}/number"), &along);
    network.write(result, Order::AsStored, "Cast", &[&number], &[to(element)])
}

/// Bits that are moved down by a constant number of places: a division by a power of two.
pub(super) fn shifted(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, result) = (input(operator, 0)?, output(operator, 0)?);
    let element = network.element(result)?;
    let (count, _) = bits(element)?;
    let shifts = constant(network, operator, 1)?;
    let Some(places) = shifts.integers() else { return Err(refused("moves bits by what is no whole number")) };
    // The runtime moves by no more places than there are.
    let last = i64::from(count) - 1;
    let powers = Values::Integer(places.iter().map(|place| 1 << place.clamp(&0, &last)).collect(), ElementType::Int64);
    let name = &network.tensor(result)?.name;
    let powers = network.initializer(&format!("{name}/powers"), &Constant { shape: shifts.shape, values: powers });
    let given = network.take(from, Order::AsStored)?;
    let wide = network.inner("Cast", &[&given], &format!("{name}/wide"), &[to(ElementType::Int64)]);
    let quotient = divided(network, [&wide, &powers], name);
    let pending = network.begin(result, Order::AsStored, Activation::None)?;
    network.node("Cast", &[&quotient], &pending.raw, &[to(element)]);
    Ok(())
}
