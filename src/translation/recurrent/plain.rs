//! Layers whose cells are what they show, and single steps whose states go in and out.

use super::{Direction, Sizes, begins_anew, drives, joined, split, stacked, turned, write_result};
use crate::tflite::{Activation, Operator};
use crate::translation::network::{Attribute, Network};
use crate::translation::operators::{input, output};
use crate::translation::{Order, Trouble, refused};

/// Where the operands of a layer stand.
const WEIGHTS: usize = 1;
const RECURRENCE: usize = 2;
const BIAS: usize = 3;
const STATE: usize = 4;

pub(in super::super) fn rnn(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (sizes, results) = rnn_results(network, operator, Direction::Forward)?;
    write_result(network, output(operator, 0)?, &sizes, &results)
}

/// Writes `state = activation(weights * x + recurrence * state + bias)` step by step. Returns the sizes and a value with
/// the states after all steps, whose elements lie with the time first.
pub(super) fn rnn_results(
    network: &mut Network<'_>,
    operator: &Operator,
    direction: Direction,
) -> Result<(Sizes, String), Trouble> {
    let options = operator.rnn()?;
    // Nothing is projected.
    let sizes = Sizes::read(network, operator, options.is_time_first, [WEIGHTS; 2])?;
    sizes.writable()?;
    begins_anew(network, operator, &[STATE])?;
    let Sizes { width, cells, .. } = sizes;
    let name = &network.tensor(output(operator, 0)?)?.name;
    let weights = turned(network, operator, "weights", &[WEIGHTS], [cells, width])?;
    let recurrence = turned(network, operator, "recurrence", &[RECURRENCE], [cells, cells])?;
    let bias = stacked(network, operator, &[BIAS], &[cells])?;
    let bias = network.initializer(&format!("{name}/bias"), &bias);
    let mut results: Vec<String> = Vec::new();
    for drive in drives(network, operator, &sizes, [&weights, &bias], direction)? {
        let sum = match results.last() {
            Some(state) => {
                let recurrent = network.inner("MatMul", &[state, &recurrence], &format!("{name}/matmul"), &[]);
                network.inner("Add", &[&drive, &recurrent], &format!("{name}/add"), &[])
            }
            None => drive,
        };
        results.push(match options.activation {
            None => network.inner("Tanh", &[&sum], &format!("{name}/tanh"), &[]),
            Some(Activation::None) => sum,
            Some(Activation::Relu) => network.inner("Relu", &[&sum], &format!("{name}/relu"), &[]),
            Some(Activation::Clip(low, high)) => {
                let limited = network.fresh(&format!("{name}/limited"));
                network.clip(&sum, [low, high], &limited);
                limited
            }
        });
    }
    Ok((sizes, joined(network, name, results, direction)))
}

/// Writes the one step of an LSTM that gets its states from outside and shows them: operands data, result before, weights,
/// bias, cells before; results result, cells, what the weights are multiplied with, and the gates before their activation.
/// The gates are input, cell, forget, output.
pub(in super::super) fn basic_lstm(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    if !operator.shows_its_states()? {
        return Err(refused("keeps a state between runs"));
    }
    let states = [input(operator, 1)?, input(operator, 4)?];
    if states.iter().any(|state| network.tensor(*state).is_ok_and(|tensor| tensor.is_variable)) {
        return Err(refused("keeps a state between runs"));
    }
    let &[rows, columns] = network.tensor(input(operator, 2)?)?.shape.as_slice() else {
        return Err(refused("has odd weights"));
    };
    let name = &network.tensor(output(operator, 0)?)?.name;
    let weights = turned(network, operator, "weights", &[2], [rows, columns])?;
    let bias = network.take(input(operator, 3)?, Order::AsStored)?;
    let data = network.take(input(operator, 0)?, Order::AsStored)?;
    let [before, memory] = [network.take(states[0], Order::AsStored)?, network.take(states[1], Order::AsStored)?];
    let inner = |network: &mut Network<'_>, onnx: &str, operands: &[&str]| {
        network.inner(onnx, operands, &format!("{name}/{}", onnx.to_lowercase()), &[])
    };
    let place = |place| output(operator, place);
    let [result, cells, all, sums] = [place(0)?, place(1)?, place(2)?, place(3)?];
    network.write(all, Order::AsStored, "Concat", &[&data, &before], &[Attribute::Integer("axis", 1)])?;
    let given = network.take(all, Order::AsStored)?;
    let product = inner(network, "MatMul", &[&given, &weights]);
    network.write(sums, Order::AsStored, "Add", &[&product, &bias], &[])?;
    let gates = network.take(sums, Order::AsStored)?;
    let parts = split(network, name, &gates, 1, vec![rows / 4; 4]);
    let [let_in, candidate, kept, let_out] = parts.as_slice() else { return Err(refused("lacks a gate")) };
    let [let_in, kept, let_out] = [let_in, kept, let_out].map(|gate| inner(network, "Sigmoid", &[gate]));
    let candidate = inner(network, "Tanh", &[candidate]);
    let new = inner(network, "Mul", &[&let_in, &candidate]);
    let old = inner(network, "Mul", &[&kept, &memory]);
    network.write(cells, Order::AsStored, "Add", &[&old, &new], &[])?;
    let memory = network.take(cells, Order::AsStored)?;
    let shown = inner(network, "Tanh", &[&memory]);
    network.write(result, Order::AsStored, "Mul", &[&let_out, &shown], &[])
}
