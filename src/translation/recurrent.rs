//! Layers that go through a sequence step by step.
//!
//! The format's runtime keeps their state from one run to the next until it is told to forget it. Networks of ONNX have
//! no state: every run begins anew, as in the framework that the layer comes from.

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

/// The sizes of a layer and its data.
struct Sizes {
    steps: i64,
    batch: i64,
    /// How long what is fed in a step is.
    width: i64,
    /// How many cells there are.
    cells: i64,
    /// How long a result is: as there are cells if nothing is projected.
    result: i64,
}

impl Sizes {
    fn read(network: &Network<'_>, operator: &Operator, options: Lstm) -> Result<Self, Trouble> {
        let shape = |id: TensorId| network.tensor(id).map(|tensor| tensor.shape.as_slice());
        let (from, to) = (shape(input(operator, 0)?)?, shape(output(operator, 0)?)?);
        let cells = shape(input(operator, GATES[1].weights)?)?.first().copied().unwrap_or(0);
        let (&[first, second, width], &[_, _, result]) = (from, to) else {
            return Err(refused("takes sequences, which have three dimensions"));
        };
        let is_projected = operator.input(PROJECTION[0]).is_some();
        if !to.starts_with(&[first, second]) || (result != cells && !is_projected) {
            return Err(refused("has a result of another size than its steps and cells"));
        }
        let (steps, batch) = if options.is_time_first { (first, second) } else { (second, first) };
        if cells == 0 || steps == 0 {
            return Err(refused("has no cells or no steps"));
        }
        Ok(Self { steps, batch, width, cells, result })
    }

    /// Whether elements lie the same with the time first and with the batch first.
    const fn is_one_sequence(&self) -> bool {
        self.batch == 1 || self.steps == 1
    }
}

pub(super) fn lstm(network: &mut Network<'_>, operator: &Operator) -> Result<(), Trouble> {
    let options = operator.lstm()?;
    let sizes = Sizes::read(network, operator, options)?;
    if !options.is_tanh {
        return Err(refused("has another activation than the hyperbolic tangent"));
    }
    if NORMALIZATIONS.iter().any(|place| operator.input(*place).is_some()) {
        return Err(refused("normalizes its gates"));
    }
    for place in STATES {
        let state = input(operator, place)?;
        let is_zero =
            |values: &Values| matches!(values, Values::Real(values) if values.iter().all(|value| *value == 0.0));
        let begins_anew = network.constant(state)?.is_some_and(|state| is_zero(&state.values));
        if !network.tensor(state)?.is_variable && !begins_anew {
            return Err(refused("begins with a state that is computed"));
        }
    }
    let has = |place: usize| operator.input(place).is_some();
    let is_coupled = !has(GATES[0].weights);
    let looks_at_cells = GATES.iter().filter_map(|gate| gate.peephole).any(has);
    // No step changes a cell by more than one.
    let is_limited = options.cell_limit > 0.0 && sizes.steps as f32 > options.cell_limit;
    if !is_coupled && !looks_at_cells && !is_limited && !has(PROJECTION[0]) {
        return layer(network, operator, options, &sizes);
    }
    if sizes.steps > LONGEST {
        let steps = sizes.steps;
        return Err(refused(format!(
            "does more in its {steps} steps than ONNX knows; up to {LONGEST} are written out"
        )));
    }
    Unrolled::read(network, operator, &sizes)?.write(network, operator, options, &sizes)
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

/// Returns what a layer is fed, with the time first.
fn time_first(network: &mut Network<'_>, operator: &Operator, options: Lstm, sizes: &Sizes) -> Result<String, Trouble> {
    let Sizes { steps, batch, width, .. } = *sizes;
    let from = input(operator, 0)?;
    let sequence = network.take(from, Order::AsStored)?;
    if options.is_time_first {
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

/// Writes the result, whose elements lie with the time first in a value of any shape.
fn write_result(
    network: &mut Network<'_>,
    operator: &Operator,
    options: Lstm,
    sizes: &Sizes,
    value: &str,
) -> Result<(), Trouble> {
    let to = output(operator, 0)?;
    let tensor = network.tensor(to)?;
    let result = network.begin(to, Order::AsStored, Activation::None)?;
    if options.is_time_first || sizes.is_one_sequence() {
        network.reshape(value, &tensor.shape, &result.raw);
    } else {
        let steps = network.fresh(&format!("{}/time_first", tensor.name));
        network.reshape(value, &[sizes.steps, sizes.batch, sizes.result], &steps);
        network.node("Transpose", &[&steps], &result.raw, &[Attribute::Integers("perm", vec![1, 0, 2])]);
    }
    Ok(())
}

/// Writes what is an LSTM of ONNX.
fn layer(network: &mut Network<'_>, operator: &Operator, options: Lstm, sizes: &Sizes) -> Result<(), Trouble> {
    let Sizes { width, cells, .. } = *sizes;
    // ONNX has the gates in the order input, output, forget, cell.
    let gates = [&GATES[0], &GATES[3], &GATES[1], &GATES[2]];
    let places = |place: fn(&Gate) -> usize| gates.map(place);
    let rows = 4 * cells;
    let name = &network.tensor(output(operator, 0)?)?.name;
    let mut operands = vec![time_first(network, operator, options, sizes)?];
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
    let steps = network.inner("LSTM", &operands, &format!("{name}/steps"), &[Attribute::Integer("hidden_size", cells)]);
    write_result(network, operator, options, sizes, &steps)
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
        let right = |network: &mut Network<'_>, what: &str, places: &[usize], shape: &[i64]| {
            let matrix = stacked(network, operator, places, shape)?.transposed(&[1, 0]);
            let matrix = matrix.ok_or_else(|| refused("has odd weights"))?;
            Ok::<String, Trouble>(network.initializer(&format!("{name}/{what}"), &matrix))
        };
        let [projection, projection_bias] = PROJECTION;
        let bias = stacked(network, operator, &places(|gate| gate.bias), &[cells])?;
        Ok(Self {
            weights: right(network, "weights", &places(|gate| gate.weights), &[cells, width])?,
            recurrence: right(network, "recurrence", &places(|gate| gate.recurrence), &[cells, result])?,
            bias: network.initializer(&format!("{name}/bias"), &bias),
            projection: match operator.input(projection) {
                Some(_) => Some(right(network, "projection", &[projection], &[result, cells])?),
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
    ) -> Result<(), Trouble> {
        let Sizes { steps, batch, width, cells, .. } = *sizes;
        let name = &network.tensor(output(operator, 0)?)?.name;
        let inner = |network: &mut Network<'_>, onnx: &str, operands: &[&str]| {
            network.inner(onnx, operands, &format!("{name}/{}", onnx.to_lowercase()), &[])
        };
        let split = |network: &mut Network<'_>, value: &str, axis: i64, lengths: Vec<i64>| {
            let parts: Vec<String> = lengths.iter().map(|_| network.fresh(&format!("{name}/part"))).collect();
            let outputs: Vec<&str> = parts.iter().map(String::as_str).collect();
            let attributes = [Attribute::Integer("axis", axis), Attribute::Integers("split", lengths)];
            network.node_of_many("Split", &[value], &outputs, &attributes);
            parts
        };
        let limited = |network: &mut Network<'_>, value: String, limit: f32| {
            if limit <= 0.0 {
                return value;
            }
            let bounded = network.fresh(&format!("{name}/limited"));
            network.clip(&value, [f64::from(-limit), f64::from(limit)], &bounded);
            bounded
        };
        // What is fed is multiplied for all steps at once.
        let fed = time_first(network, operator, options, sizes)?;
        let rows = network.fresh(&format!("{name}/rows"));
        network.reshape(&fed, &[steps * batch, width], &rows);
        let driven = inner(network, "MatMul", &[&rows, &self.weights]);
        let driven = inner(network, "Add", &[&driven, &self.bias]);
        let drives = split(network, &driven, 0, (0..steps).map(|_| batch).collect());
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
            let parts = split(network, &sum, 1, vec![cells; self.gates.len()]);
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
        let results: Vec<&str> = results.iter().map(String::as_str).collect();
        let all = network.inner("Concat", &results, &format!("{name}/steps"), &[Attribute::Integer("axis", 0)]);
        write_result(network, operator, options, sizes, &all)
    }
}
