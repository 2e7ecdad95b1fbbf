//! The bits of whole numbers, which neither the operator set nor the device knows: they are computed with real numbers,
//! where divisions by powers of two are exact.

use super::network::{Attribute, Network};
use super::operators::{constant, input, output};
use super::{Order, Trouble, refused};
use crate::onnx::ElementType;
use crate::tflite::{Constant, Operator, Values};

/// Returns how many bits whole numbers have, and whether the last one counts below zero.
fn bits(element: ElementType) -> Result<(i32, bool), Trouble> {
    Ok(match element {
        ElementType::Int8 => (8, true),
        ElementType::Uint8 => (8, false),
        ElementType::Int16 => (16, true),
        ElementType::Uint16 => (16, false),
        _ => {
            return Err(refused(
                "takes the bits of numbers that have more than 16, for which real numbers are not exact",
            ));
        }
    })
}

const fn to(element: ElementType) -> [Attribute; 1] {
    [Attribute::Integer("to", element.code() as i64)]
}

/// Returns a list of real numbers as a constant.
fn reals(network: &mut Network<'_>, wanted: &str, values: Vec<f32>) -> String {
    network.initializer(wanted, &Constant { shape: vec![values.len() as i64], values: Values::Real(values) })
}

/// Bits in which two numbers differ: they are laid along a dimension of their own, and weighed again.
pub(super) fn differing(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let result = output(operator, 0)?;
    let element = network.element(result)?;
    let (count, is_signed) = bits(element)?;
    let name = &network.tensor(result)?.name;
    let fractions = (0..count).map(|bit| 2_f32.powi(-bit)).collect();
    let mut weights: Vec<f32> = (0..count).map(|bit| 2_f32.powi(bit)).collect();
    if let Some(sign) = weights.last_mut().filter(|_| is_signed) {
        *sign = -*sign;
    }
    let fractions = reals(network, &format!("{name}/fractions"), fractions);
    let weights = reals(network, &format!("{name}/weights"), weights);
    let [half, two] = [0.5, 2.0].map(|value| network.number(&format!("{name}/number"), value));
    let inner = |network: &mut Network<'_>, onnx: &str, operands: &[&str]| {
        network.inner(onnx, operands, &format!("{name}/{}", onnx.to_lowercase()), &[])
    };
    let mut parts = Vec::new();
    for place in 0..2 {
        let id = input(operator, place)?;
        let given = network.take(id, Order::AsStored)?;
        let real = network.inner("Cast", &[&given], &format!("{name}/real"), &to(ElementType::Float32));
        let column = network.fresh(&format!("{name}/column"));
        network.reshape(&real, &[network.tensor(id)?.shape.as_slice(), &[1]].concat(), &column);
        // What is left without the bits below, and without this bit too.
        let moved = inner(network, "Mul", &[&column, &fractions]);
        let with = inner(network, "Floor", &[&moved]);
        let moved = inner(network, "Mul", &[&with, &half]);
        let without = inner(network, "Floor", &[&moved]);
        let without = inner(network, "Mul", &[&without, &two]);
        parts.push(inner(network, "Sub", &[&with, &without]));
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let difference = inner(network, "Sub", &parts);
    let differ = inner(network, "Mul", &[&difference, &difference]);
    let weighed = inner(network, "Mul", &[&differ, &weights]);
    let last = network.tensor(result)?.shape.len() as i64;
    let along = [Attribute::Integers("axes", vec![last]), Attribute::Integer("keepdims", 0)];
    let number = network.inner("ReduceSum", &[&weighed], &format!("{name}/number"), &along);
    network.write(result, Order::AsStored, "Cast", &[&number], &to(element))
}

/// Bits that are moved down by a constant number of places: a division by a power of two, rounded down.
pub(super) fn shifted(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, result) = (input(operator, 0)?, output(operator, 0)?);
    let element = network.element(result)?;
    let (count, _) = bits(element)?;
    let shifts = constant(network, operator, 1)?;
    let Some(places) = shifts.integers() else { return Err(refused("moves bits by what is no whole number")) };
    // The runtime moves by no more places than there are.
    let place = |place: &i64| i32::try_from(*place).map_or(count - 1, |place| place.clamp(0, count - 1));
    let values = Values::Real(places.iter().map(|given| 2_f32.powi(-place(given))).collect());
    let name = &network.tensor(result)?.name;
    let fractions = network.initializer(&format!("{name}/fractions"), &Constant { shape: shifts.shape, values });
    let given = network.take(from, Order::AsStored)?;
    let real = network.inner("Cast", &[&given], &format!("{name}/real"), &to(ElementType::Float32));
    let moved = network.inner("Mul", &[&real, &fractions], &format!("{name}/moved"), &[]);
    let whole = network.inner("Floor", &[&moved], &format!("{name}/whole"), &[]);
    network.write(result, Order::AsStored, "Cast", &[&whole], &to(element))
}
