//! Layers that go through a sequence step by step.
//!
//! The format's runtime keeps their state from one run to the next until it is told to forget it. Networks of ONNX have
//! no state: every run begins anew, as in the framework that the layer comes from.

mod directions;
mod plain;

pub(super) use self::directions::{lstm_in_both_directions, rnn_in_both_directions};
pub(super) use self::plain::{basic_lstm, rnn};
use super::network::{Attribute, Network};
use super::operators::{constant, input, output};
use super::{Order, Trouble, refused};
use crate::tflite::{Activation, Constant, Lstm, Operator, TensorId, Values};

/// The longest sequence that is written out step by step, as it is elsewhere in this program: each step is several
/// layers of the network.
const LONGEST: i64 = 128;

/// Where the operands of a gate stand.
struct Gate {
    weights: usize,
    recurrence: usize,
    peephole: Option<usize>,
    bias: usize,
}

/// The gates in the format's order: input, forget, cell, output.
const GATES: [Gate; 4] = [
    Gate { weights: 1, recurrence: 5, peephole: Some(9), bias: 12 },
    Gate { weights: 2, recurrence: 6, peephole: Some(10), bias: 13 },
    Gate { weights: 3, recurrence: 7, peephole: None, bias: 14 },
    Gate { weights: 4, recurrence: 8, peephole: Some(11), bias: 15 },
];
const PROJECTION: [usize; 2] = [16, 17];
const STATES: [usize; 2] = [18, 19];
const NORMALIZATIONS: [usize; 4] = [20, 21, 22, 23];

/// Which way a layer goes through a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    /// From the last step to the first. Its results stand at the steps they belong to.
    Backward,
}

/// The sizes of a layer and its data.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    steps: i64,
    batch: i64,
    /// How long what is fed in a step is.
    width: i64,
    /// How many cells there are.
    cells: i64,
    /// How long a result is: as there are cells if nothing is projected.
    result: i64,
    /// Whether sequences have time, batch, features instead of batch, time, features.
    is_time_first: bool,
}

impl Sizes {
    /// Reads the sizes. There is a row of operand `weights` for each cell, and of `projection` for each number of a result.
    fn read(
        network: &Network<'_>,
        operator: &Operator,
        is_time_first: bool,
        [weights, projection]: [usize; 2],
    ) -> Result<Self, Trouble> {
        let shape = |id: TensorId| network.tensor(id).map(|tensor| tensor.shape.as_slice());
        let rows = |place: usize| Ok::<_, Trouble>(shape(input(operator, place)?)?.first().copied().unwrap_or(0));
        let &[first, second, width] = shape(input(operator, 0)?)? else {
            return Err(refused("takes sequences, which have three dimensions"));
        };
        let cells = rows(weights)?;
        let result = if operator.input(projection).is_some() { rows(projection)? } else { cells };
        let (steps, batch) = if is_time_first { (first, second) } else { (second, first) };
        if cells == 0 || steps == 0 {
            return Err(refused("has no cells or no steps"));
        }
        Ok(Self { steps, batch, width, cells, result, is_time_first })
    }

    /// Whether elements lie the same with the time first and with the batch first.
    const fn is_one_sequence(&self) -> bool {
        self.batch == 1 || self.steps == 1
    }

    /// Refuses to write out more steps than there may be.
    fn writable(&self) -> Result<(), Trouble> {
        match self.steps {
            ..=LONGEST => Ok(()),
            steps => {
                Err(refused(format!("does more in its {steps} steps than ONNX knows; up to {LONGEST} are written out")))
            }
        }
    }
}

pub(super) fn lstm(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let (sizes, results) = lstm_results(network, operator, Direction::Forward)?;
    write_result(network, output(operator, 0)?, &sizes, &results)
}

/// Writes an LSTM. Returns its sizes and a value with the results of all steps, whose elements lie with the time first.
fn lstm_results(
    network: &mut Network<'_>,
    operator: &Operator,
    direction: Direction,
) -> Result<(Sizes, String), Trouble> {
    let options = operator.lstm()?;
    let sizes = Sizes::read(network, operator, options.is_time_first, [GATES[1].weights, PROJECTION[0]])?;
    if !options.is_tanh {
        return Err(refused("has another activation than the hyperbolic tangent"));
    }
    if NORMALIZATIONS.iter().any(|place| operator.input(*place).is_some()) {
        return Err(refused("normalizes its gates"));
    }
    begins_anew(network, operator, &STATES)?;
    let has = |place: usize| operator.input(place).is_some();
    let is_coupled = !has(GATES[0].weights);
    let looks_at_cells = GATES.iter().filter_map(|gate| gate.peephole).any(has);
    // No step changes a cell by more than one.
    let is_limited = options.cell_limit > 0.0 && sizes.steps as f32 > options.cell_limit;
    let results = if !is_coupled && !looks_at_cells && !is_limited && !has(PROJECTION[0]) {
        layer(network, operator, &sizes, direction)?
    } else {
        sizes.writable()?;
        Unrolled::read(network, operator, &sizes)?.write(network, operator, options, &sizes, direction)?
    };
    Ok((sizes, results))
}

/// Refuses a layer whose states are not zero at first.
fn begins_anew(network: &Network<'_>, operator: &Operator, states: &[usize]) -> Result<(), Trouble> {
    for place in states {
        let state = input(operator, *place)?;
        let is_zero =
            |values: &Values| matches!(values, Values::Real(values) if values.iter().all(|value| *value == 0.0));
        let is_constant_zero = network.constant(state)?.is_some_and(|state| is_zero(&state.values));
        if !network.tensor(state)?.is_variable && !is_constant_zero {
            return Err(refused("begins with a state that is computed"));
        }
    }
    Ok(())
}

/// Returns constants below each other.
fn stacked(network: &Network<'_>, operator: &Operator, places: &[usize], shape: &[i64]) -> Result<Constant, Trouble> {
    let mut all = Vec::new();
    for place in places {
        let constant = constant(network, operator, *place)?;
        match constant.values {
            Values::Real(values) if constant.shape == shape => all.extend(values),
            _ => return Err(refused(format!("has odd weights as operand {place}"))),
        }
    }
    let mut stacked = shape.to_vec();
    if let Some(rows) = stacked.first_mut() {
        *rows *= places.len() as i64;
    }
    Ok(Constant { shape: stacked, values: Values::Real(all) })
}

/// Returns constant weights with as many columns as there are rows of this shape, to be multiplied from the right.
fn turned(
    network: &mut Network<'_>,
    operator: &Operator,
    what: &str,
    places: &[usize],
    shape: [i64; 2],
) -> Result<String, Trouble> {
    let name = &network.tensor(output(operator, 0)?)?.name;
    let matrix = stacked(network, operator, places, &shape)?.transposed(&[1, 0]);
    let matrix = matrix.ok_or_else(|| refused("has odd weights"))?;
    Ok(network.initializer(&format!("{name}/{what}"), &matrix))
}

/// Returns what a layer is fed, with the time first.
fn time_first(network: &mut Network<'_>, operator: &Operator, sizes: &Sizes) -> Result<String, Trouble> {
    let Sizes { steps, batch, width, .. } = *sizes;
    let from = input(operator, 0)?;
    let sequence = network.take(from, Order::AsStored)?;
    if sizes.is_time_first {
        return Ok(sequence);
    }
    let wanted = format!("{}/time_first", network.tensor(from)?.name);
    if sizes.is_one_sequence() {
        let turned = network.fresh(&wanted);
        network.reshape(&sequence, &[steps, batch, width], &turned);
        return Ok(turned);
    }
    Ok(network.inner("Transpose", &[&sequence], &wanted, &[Attribute::Integers("perm", vec![1, 0, 2])]))
}

/// Returns what each step adds to its gates by what it is fed, in the order in which the steps are computed. What is fed
/// is multiplied for all steps at once.
fn drives(
    network: &mut Network<'_>,
    operator: &Operator,
    sizes: &Sizes,
    [weights, bias]: [&str; 2],
    direction: Direction,
) -> Result<Vec<String>, Trouble> {
    let Sizes { steps, batch, width, .. } = *sizes;
    let name = &network.tensor(output(operator, 0)?)?.name;
    let fed = time_first(network, operator, sizes)?;
    let rows = network.fresh(&format!("{name}/rows"));
    network.reshape(&fed, &[steps * batch, width], &rows);
    let driven = network.inner("MatMul", &[&rows, weights], &format!("{name}/matmul"), &[]);
    let driven = network.inner("Add", &[&driven, bias], &format!("{name}/add"), &[]);
    let mut drives = split(network, name, &driven, 0, (0..steps).map(|_| batch).collect());
    if direction == Direction::Backward {
        drives.reverse();
    }
    Ok(drives)
}

fn split(network: &mut Network<'_>, name: &str, value: &str, axis: i64, lengths: Vec<i64>) -> Vec<String> {
    let parts: Vec<String> = lengths.iter().map(|_| network.fresh(&format!("{name}/part"))).collect();
    let outputs: Vec<&str> = parts.iter().map(String::as_str).collect();
    let attributes = [Attribute::Integer("axis", axis), Attribute::Integers("split", lengths)];
    network.node_of_many("Split", &[value], &outputs, &attributes);
    parts
}

/// Returns results, in the order in which they were computed, below each other with the first step first.
fn joined(network: &mut Network<'_>, name: &str, mut results: Vec<String>, direction: Direction) -> String {
    if direction == Direction::Backward {
        results.reverse();
    }
    let results: Vec<&str> = results.iter().map(String::as_str).collect();
    network.inner("Concat", &results, &format!("{name}/steps"), &[Attribute::Integer("axis", 0)])
}

/// Writes the result, whose elements lie with the time first in a value of any shape.
fn write_result(network: &mut Network<'_>, to: TensorId, sizes: &Sizes, value: &str) -> Result<(), Trouble> {
    let Sizes { steps, batch, result: width, is_time_first, .. } = *sizes;
    let tensor = network.tensor(to)?;
    let shape = if is_time_first { [steps, batch, width] } else { [batch, steps, width] };
    if tensor.shape != shape {
        return Err(refused("has a result of another size than its steps and cells"));
    }
    let result = network.begin(to, Order::AsStored, Activation::None)?;
    if is_time_first || sizes.is_one_sequence() {
        network.reshape(value, &shape, &result.raw);
    } else {
        let by_time = network.fresh(&format!("{}/time_first", tensor.name));
        network.reshape(value, &[steps, batch, width], &by_time);
        network.node("Transpose", &[&by_time], &result.raw, &[Attribute::Integers("perm", vec![1, 0, 2])]);
    }
    Ok(())
}

/// Writes what is an LSTM of ONNX; returns the results of all steps.
fn layer(
    network: &mut Network<'_>,
    operator: &Operator,
    sizes: &Sizes,
    direction: Direction,
) -> Result<String, Trouble> {
    let Sizes { width, cells, .. } = *sizes;
    // ONNX has the gates in the order input, output, forget, cell.
    let gates = [&GATES[0], &GATES[3], &GATES[1], &GATES[2]];
    let places = |place: fn(&Gate) -> usize| gates.map(place);
    let rows = 4 * cells;
    let name = &network.tensor(output(operator, 0)?)?.name;
    let mut operands = vec![time_first(network, operator, sizes)?];
    for (what, places, own, all) in [
        ("weights", places(|gate| gate.weights), vec![cells, width], [1, rows, width]),
        ("recurrence", places(|gate| gate.recurrence), vec![cells, cells], [1, rows, cells]),
    ] {
        let weights = stacked(network, operator, &places, &own)?.reshaped(&all);
        let weights = weights.ok_or_else(|| refused("has odd weights"))?;
        operands.push(network.initializer(&format!("{name}/{what}"), &weights));
    }
    let bias = stacked(network, operator, &places(|gate| gate.bias), &[cells])?;
    let Values::Real(mut bias) = bias.values else { return Err(refused("has odd biases")) };
    // The second half is added to the first.
    bias.resize(2 * bias.len(), 0.0);
    let bias = Constant { shape: vec![1, 2 * rows], values: Values::Real(bias) };
    operands.push(network.initializer(&format!("{name}/bias"), &bias));
    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    let mut attributes = vec![Attribute::Integer("hidden_size", cells)];
    if direction == Direction::Backward {
        attributes.push(Attribute::Text("direction", "reverse"));
    }
    Ok(network.inner("LSTM", &operands, &format!("{name}/steps"), &attributes))
}

/// The constants of a layer that is written out; matrices are multiplied from the right.
struct Unrolled {
    /// The gates that have weights; an input gate without any lets in what the forget gate lets go.
    gates: Vec<&'static Gate>,
    weights: String,
    recurrence: String,
    bias: String,
    projection: Option<String>,
    projection_bias: Option<String>,
    one: String,
}

impl Unrolled {
    fn read(network: &mut Network<'_>, operator: &Operator, sizes: &Sizes) -> Result<Self, Trouble> {
        let Sizes { width, cells, result, .. } = *sizes;
        let name = &network.tensor(output(operator, 0)?)?.name;
        let gates: Vec<&Gate> = GATES.iter().filter(|gate| operator.input(gate.weights).is_some()).collect();
        let places = |place: fn(&Gate) -> usize| gates.iter().map(|gate| place(gate)).collect::<Vec<usize>>();
        let right = |network: &mut Network<'_>, what: &str, places: &[usize], shape: [i64; 2]| {
            turned(network, operator, what, places, shape)
        };
        let [projection, projection_bias] = PROJECTION;
        let bias = stacked(network, operator, &places(|gate| gate.bias), &[cells])?;
        Ok(Self {
            weights: right(network, "weights", &places(|gate| gate.weights), [cells, width])?,
            recurrence: right(network, "recurrence", &places(|gate| gate.recurrence), [cells, result])?,
            bias: network.initializer(&format!("{name}/bias"), &bias),
            projection: match operator.input(projection) {
                Some(_) => Some(right(network, "projection", &[projection], [result, cells])?),
                None => None,
            },
            projection_bias: match operator.input(projection_bias) {
                Some(id) => Some(network.take(id, Order::AsStored)?),
                None => None,
            },
            one: network.number(&format!("{name}/one"), 1.0),
            gates,
        })
    }

    fn write(
        &self,
        network: &mut Network<'_>,
        operator: &Operator,
        options: Lstm,
        sizes: &Sizes,
        direction: Direction,
    ) -> Result<String, Trouble> {
        let cells = sizes.cells;
        let name = &network.tensor(output(operator, 0)?)?.name;
        let inner = |network: &mut Network<'_>, onnx: &str, operands: &[&str]| {
            network.inner(onnx, operands, &format!("{name}/{}", onnx.to_lowercase()), &[])
        };
        let limited = |network: &mut Network<'_>, value: String, limit: f32| {
            if limit <= 0.0 {
                return value;
            }
            let bounded = network.fresh(&format!("{name}/limited"));
            network.clip(&value, [f64::from(-limit), f64::from(limit)], &bounded);
            bounded
        };
        let drives = drives(network, operator, sizes, [&self.weights, &self.bias], direction)?;
        let mut results: Vec<String> = Vec::new();
        let mut memory: Option<String> = None;
        for drive in drives {
            let sum = match results.last() {
                Some(result) => {
                    let recurrent = inner(network, "MatMul", &[result, &self.recurrence]);
                    inner(network, "Add", &[&drive, &recurrent])
                }
                None => drive,
            };
            let parts = split(network, name, &sum, 1, vec![cells; self.gates.len()]);
            let [input_part @ .., forget, candidate, last] = parts.as_slice() else {
                return Err(refused("lacks a gate"));
            };
            let gate = |network: &mut Network<'_>, gate: &Gate, part: &str, memory: Option<&str>| {
                let peephole = gate.peephole.and_then(|place| operator.input(place));
                let mut sum = part.to_owned();
                if let (Some(peephole), Some(memory)) = (peephole, memory) {
                    let weights = network.take(peephole, Order::AsStored)?;
                    let seen = inner(network, "Mul", &[memory, &weights]);
                    sum = inner(network, "Add", &[&sum, &seen]);
                }
                Ok::<String, Trouble>(inner(network, "Sigmoid", &[&sum]))
            };
            // Without a memory there is nothing to forget.
            let kept = match (&memory, input_part) {
                (None, [_]) => None,
                _ => Some(gate(network, &GATES[1], forget, memory.as_deref())?),
            };
            let let_in = match (input_part, &kept) {
                ([part], _) => gate(network, &GATES[0], part, memory.as_deref())?,
                (_, Some(kept)) => inner(network, "Sub", &[&self.one, kept]),
                (_, None) => return Err(refused("lacks a gate")),
            };
            let candidate = inner(network, "Tanh", &[candidate]);
            let mut cell = inner(network, "Mul", &[&let_in, &candidate]);
            if let (Some(kept), Some(memory)) = (kept, &memory) {
                let old = inner(network, "Mul", &[&kept, memory]);
                cell = inner(network, "Add", &[&old, &cell]);
            }
            let cell = limited(network, cell, options.cell_limit);
            let let_out = gate(network, &GATES[3], last, Some(&cell))?;
            let shown = inner(network, "Tanh", &[&cell]);
            let mut result = inner(network, "Mul", &[&let_out, &shown]);
            if let Some(projection) = &self.projection {
                result = inner(network, "MatMul", &[&result, projection]);
                if let Some(bias) = &self.projection_bias {
                    result = inner(network, "Add", &[&result, bias]);
                }
                result = limited(network, result, options.projection_limit);
            }
            memory = Some(cell);
            results.push(result);
        }
        Ok(joined(network, name, results, direction))
    }
}
