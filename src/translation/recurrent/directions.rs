//! Layers that go through a sequence forwards and backwards: two layers of one direction each.

use super::plain::rnn_results;
use super::{Direction, Sizes, lstm_results, write_result};
use crate::tflite::{Operator, TensorId};
use crate::translation::network::{Attribute, Network};
use crate::translation::operators::output;
use crate::translation::{Trouble, refused};

const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Backward];

pub(in super::super) fn lstm_in_both_directions(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let places = [(1..18).chain(35..37).collect(), (18..35).chain(37..39).collect()];
    write(network, operator, layers(operator, &places, 39)?, lstm_results)
}

pub(in super::super) fn rnn_in_both_directions(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    if operator.input(9).is_some() && !operator.rnn()?.is_time_first {
        return Err(refused("has a second sequence with the batch first, which its own runtime passes over"));
    }
    write(network, operator, layers(operator, &[(1..5).collect(), (5..9).collect()], 9)?, rnn_results)
}

/// Writes a layer; returns its sizes and a value with its results.
type WriteLayer = fn(&mut Network<'_>, &Operator, Direction) -> Result<(Sizes, String), Trouble>;

/// Returns the layer of each direction, with its operands where a layer of one direction has them. `places` says where they
/// stand; `second` is the place of a second sequence, which the way back goes through. What that is mixed into the first
/// with stands behind it.
fn layers(operator: &Operator, places: &[Vec<usize>; 2], second: usize) -> Result<[Operator; 2], Trouble> {
    if operator.inputs.iter().skip(second + 1).any(Option::is_some) {
        return Err(refused("mixes a second sequence into the first"));
    }
    let fed: [Option<TensorId>; 2] = [operator.input(0), operator.input(second).or_else(|| operator.input(0))];
    let mut layers = [operator.clone(), operator.clone()];
    for ((layer, places), fed) in layers.iter_mut().zip(places).zip(fed) {
        layer.inputs = std::iter::once(fed).chain(places.iter().map(|place| operator.input(*place))).collect();
    }
    Ok(layers)
}

/// Writes both layers, and their results side by side or one by one.
fn write(
    network: &mut Network<'_>,
    operator: &Operator,
    layers: [Operator; 2],
    results: WriteLayer,
) -> Result<(), Trouble> {
    let merges = operator.merges_directions()?;
    let mut both = Vec::new();
    for (layer, direction) in layers.iter().zip(DIRECTIONS) {
        both.push(results(network, layer, direction)?);
    }
    if !merges {
        for (place, (sizes, value)) in both.iter().enumerate() {
            write_result(network, output(operator, place)?, sizes, value)?;
        }
        return Ok(());
    }
    let to = output(operator, 0)?;
    let name = &network.tensor(to)?.name;
    let [(forward, _), (backward, _)] = both.as_slice() else { return Err(refused("lacks a direction")) };
    let sizes = Sizes { result: forward.result + backward.result, ..*forward };
    if (forward.steps, forward.batch) != (backward.steps, backward.batch) {
        return Err(refused("goes through sequences of two sizes"));
    }
    let mut parts = Vec::new();
    for (sizes, value) in &both {
        let part = network.fresh(&format!("{name}/direction"));
        network.reshape(value, &[sizes.steps, sizes.batch, sizes.result], &part);
        parts.push(part);
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let all = network.inner("Concat", &parts, &format!("{name}/directions"), &[Attribute::Integer("axis", 2)]);
    write_result(network, to, &sizes, &all)
}
