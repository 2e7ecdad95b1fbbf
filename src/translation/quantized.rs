//! What makes integers of real numbers and real numbers of integers: here, what keeps their limits.

use super::Trouble;
use super::network::{Limits, Network};
use super::operators::{input, output};
use crate::tflite::{Activation, Constant, Operator, Pretended, Values};

/// Writes real numbers within the limits of the integers that the model makes of them.
pub(super) fn quantize(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let limits = Limits::of(network.tensor(output(operator, 0)?)?);
    match limits {
        Some(limits) => write(network, operator, limits),
        None => network.share(input(operator, 0)?, output(operator, 0)?),
    }
}

/// Writes numbers within the limits of integers that the model only pretends to make of them.
pub(super) fn pretend(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let Pretended { range, step } = operator.pretended()?;
    write(network, operator, Limits { range, step })
}

fn write(network: &mut Network<'_>, operator: &Operator, limits: Limits) -> Result<(), Trouble> {
    let (from, to) = (input(operator, 0)?, output(operator, 0)?);
    let [low, high] = limits.range;
    if let Some(Constant { shape, values: Values::Real(values) }) = network.constant(from)? {
        let values = values.into_iter().map(|value| value.max(low as f32).min(high as f32)).collect();
        network.fold(to, Constant { shape, values: Values::Real(values) });
        return Ok(());
    }
    let order = network.order(from);
    let operand = network.take(from, order)?;
    if network.keeps(&operand, limits) {
        return network.share(from, to);
    }
    let result = network.begin(to, order, Activation::None)?;
    network.clip(&operand, limits.range, &result.raw);
    Ok(())
}
