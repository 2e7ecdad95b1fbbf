//! Spectra of sequences. Complex numbers are two values, which only the operators here and a change of shape know.

use std::f64::consts::TAU;

use super::network::Network;
use super::operators::{input, integers, output};
use super::{Order, Trouble, refused};
use crate::onnx::element_count;
use crate::tflite::{Constant, Operator, TensorId, Values};

/// The most elements of a matrix that transforms. A model can ask for any length in a few bytes.
const LARGEST: i64 = 1 << 22;

/// Keeps the two values of complex numbers.
fn keep(network: &mut Network<'_>, to: TensorId, parts: [String; 2]) -> Result<(), Trouble> {
    if network.is_output(to) {
        return Err(refused("has a result of complex numbers"));
    }
    network.hold_complex(to, parts);
    Ok(())
}

/// Returns the two values of an operand of complex numbers.
fn complex(network: &Network<'_>, operator: &Operator) -> Result<[String; 2], Trouble> {
    network.complex(input(operator, 0)?).ok_or_else(|| refused("reads complex numbers that no spectrum consists of"))
}

/// The transformation of a dimension is a product with a matrix.
pub(super) fn transform(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let (&[.., rows, width], &[height, length]) =
        (network.tensor(from)?.shape.as_slice(), integers(network, operator, 1)?.as_slice())
    else {
        return Err(refused("transforms other than two dimensions"));
    };
    if rows != 1 || height != 1 {
        return Err(refused("transforms several rows together"));
    }
    let frequencies = length / 2 + 1;
    if length < 1 || frequencies.checked_mul(width).is_none_or(|count| count > LARGEST) {
        return Err(refused(format!("transforms {width} numbers to a spectrum of {length}, which no matrix can hold")));
    }
    // What is longer than the transformation is cut off, what is shorter is filled up with zeros.
    let matrix = |ahead: f64| {
        let weight = |place: i64, frequency: i64| {
            let turns = (place * frequency % length) as f64 / length as f64 + ahead;
            if place < length { libm::cos(turns * TAU) as f32 } else { 0.0 }
        };
        let weights = (0..width).flat_map(|place| (0..frequencies).map(move |frequency| weight(place, frequency)));
        Constant { shape: vec![width, frequencies], values: Values::Real(weights.collect()) }
    };
    let operand = network.take(from, Order::AsStored)?;
    let name = &network.tensor(to)?.name;
    // The wave of the imaginary part is a quarter of a turn ahead.
    let parts = [("real", 0.0), ("imaginary", 0.25)].map(|(what, ahead)| {
        let weights = network.initializer(&format!("{name}/{what}"), &matrix(ahead));
        network.inner("MatMul", &[&operand, &weights], &format!("{name}/{what}"), &[])
    });
    keep(network, to, parts)
}

/// Gives complex numbers another shape.
pub(super) fn reshape(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let to = output(operator, 0)?;
    let tensor = network.tensor(to)?;
    if element_count(&tensor.shape) != element_count(&network.tensor(input(operator, 0)?)?.shape) {
        return Err(refused("has a result whose shape the model does not say"));
    }
    let parts = complex(network, operator)?.map(|part| {
        let reshaped = network.fresh(&format!("{}/part", tensor.name));
        network.reshape(&part, &tensor.shape, &reshaped);
        reshaped
    });
    keep(network, to, parts)
}

pub(super) fn magnitude(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let to = output(operator, 0)?;
    let name = &network.tensor(to)?.name;
    let squares =
        complex(network, operator)?.map(|part| network.inner("Mul", &[&part, &part], &format!("{name}/square"), &[]));
    let [real, imaginary] = &squares;
    let sum = network.inner("Add", &[real, imaginary], &format!("{name}/sum"), &[]);
    network.write(to, Order::AsStored, "Sqrt", &[&sum], &[])
}

pub(super) fn part(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let [real, imaginary] = complex(network, operator)?;
    network.hold(output(operator, 0)?, Order::AsStored, if operator.name == "REAL" { real } else { imaginary });
    Ok(())
}
