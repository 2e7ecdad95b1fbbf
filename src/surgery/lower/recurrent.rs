//! Recurrent layers, in the one form that the compiler takes or step by step.

use super::super::build::text;
use super::super::draft::{Draft, Site};
use super::gates::Functions;
use crate::onnx::proto::{AttributeProto, AttributeType};
use crate::onnx::{ElementType, read_integers};

/// The longest sequence of a layer that is written out step by step. The steps share their weights, but each is several
/// layers of the network.
const LONGEST_SEQUENCE: i64 = 128;
/// The longest sequence of an LSTM that is written out: the compiler takes longer ones as they are.
const LONGEST_LSTM: i64 = 2;

/// Feeds layers whose first axis is the batch with the time first.
pub(super) fn time_first(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    if site.integer("layout") != Some(1) {
        return None;
    }
    let mut node = site.node.clone();
    node.attribute.retain(|attribute| attribute.name() != "layout");
    for place in [0, 5, 6] {
        if let Some(input) = site.input(place) {
            *node.input.get_mut(place)? = draft.transpose(input, &[1, 0, 2]);
        }
    }
    let inputs: Vec<&str> = node.input.iter().map(String::as_str).collect();
    let results = draft.apply_many(site.node.op_type(), &inputs, node.output.len(), node.attribute.clone());
    let orders: [&[usize]; 3] = [&[2, 0, 1, 3], &[1, 0, 2], &[1, 0, 2]];
    for (place, (result, order)) in results.iter().zip(orders).enumerate() {
        if let Some(output) = site.output(place) {
            let turned = draft.transpose(result, order);
            draft.yields(&turned, output);
        }
    }
    Some(())
}

/// Computes both directions by layers of one direction.
pub(super) fn one_direction(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    if site.text("direction", "forward") != "bidirectional" {
        return None;
    }
    let mut halves = Vec::new();
    for (half, direction) in ["forward", "reverse"].into_iter().enumerate() {
        let start = half as i64;
        let mut inputs = Vec::new();
        for place in 0..site.node.input.len() {
            let input = site.input(place);
            inputs.push(match input {
                None => String::new(),
                Some(input) if matches!(place, 0 | 4) => input.to_owned(),
                Some(input) => draft.slice(input, &[0], &[start], &[start + 1]),
            });
        }
        let mut attributes: Vec<AttributeProto> =
            site.node.attribute.iter().filter(|attribute| attribute.name() != "direction").cloned().collect();
        for attribute in &mut attributes {
            if attribute.r#type == Some(AttributeType::Strings as i32) {
                let each = attribute.strings.len() / 2;
                attribute.strings = attribute.strings.iter().skip(half * each).take(each).cloned().collect();
            } else if attribute.r#type == Some(AttributeType::Floats as i32) {
                let each = attribute.floats.len() / 2;
                attribute.floats = attribute.floats.iter().skip(half * each).take(each).copied().collect();
            }
        }
        attributes.push(text("direction", direction));
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        halves.push(draft.apply_many(site.node.op_type(), &inputs, site.node.output.len(), attributes));
    }
    let [forward, backward] = halves.as_slice() else { return None };
    for (place, (forward, backward)) in forward.iter().zip(backward).enumerate() {
        if let Some(output) = site.output(place) {
            let both = draft.concat(&[forward, backward], if place == 0 { 1 } else { 0 });
            draft.yields(&both, output);
        }
    }
    Some(())
}

/// Makes something of every result of an LSTM: the compiler fails on results that nothing reads.
pub(super) fn whole_lstm(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let &[length, _, _] = site.sizes(0)?.as_slice() else { return None };
    if (0..3).all(|place| site.is_read(place)) || site.text("direction", "forward") == "bidirectional" {
        return None;
    }
    let inputs: Vec<&str> = site.node.input.iter().map(String::as_str).collect();
    let results = draft.apply_many("LSTM", &inputs, 3, site.node.attribute.clone());
    let [steps, last, cell] = results.as_slice() else { return None };
    let steps = draft.squeezing("Squeeze", steps, &[1]);
    let all = draft.concat(&[&steps, last, cell], 0);
    if let Some(output) = site.output(0) {
        let steps = draft.slice(&all, &[0], &[0], &[length]);
        let steps = draft.squeezing("Unsqueeze", &steps, &[1]);
        draft.yields(&steps, output);
    }
    for (place, start) in [(1, length), (2, length + 1)] {
        if let Some(output) = site.output(place) {
            let part = draft.slice(&all, &[0], &[start], &[start + 1]);
            draft.yields(&part, output);
        }
    }
    Some(())
}

/// Writes a layer of one direction step by step.
pub(super) fn unrolled(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let kind = site.node.op_type();
    let &[length, batch, width] = site.sizes(0)?.as_slice() else { return None };
    let functions = Functions::of(site)?;
    let (gates, longest) = match kind {
        "GRU" => (3, LONGEST_SEQUENCE),
        "RNN" => (1, LONGEST_SEQUENCE),
        // The compiler knows no peepholes, ignores other functions than the usual ones, and refuses lengths that it is fed.
        "LSTM" if site.input(7).is_some() || !functions.are_usual() || is_fed_lengths(site) => (4, LONGEST_SEQUENCE),
        "LSTM" => (4, LONGEST_LSTM),
        _ => return None,
    };
    let hidden = site.integer("hidden_size")?;
    let rows = gates * hidden;
    let direction = site.text("direction", "forward");
    if !(1..=longest).contains(&length) || direction == "bidirectional" || site.integer("layout") == Some(1) {
        return None;
    }
    let masks = masks(site, draft, length, batch)?;
    let reset_late = site.integer("linear_before_reset") == Some(1);

    let matrix = |draft: &mut Draft, place: usize| -> Option<String> {
        let flat = draft.squeezing("Squeeze", site.input(place)?, &[0]);
        Some(draft.transpose(&flat, &[1, 0]))
    };
    let (weights, recurrence) = (matrix(draft, 1)?, matrix(draft, 2)?);
    // What comes from the input is computed for all steps at once.
    let inputs = draft.reshape(site.input(0)?, &[length * batch, width]);
    let mut driven = draft.apply("MatMul", &[&inputs, &weights]);
    let mut shift = None;
    if let Some(bias) = site.input(3) {
        let first = draft.slice(bias, &[1], &[0], &[rows]);
        driven = draft.binary("Add", &driven, &first);
        shift = Some(draft.slice(bias, &[1], &[rows], &[2 * rows]));
    }
    let lengths = vec![batch; usize::try_from(length).ok()?];
    let steps = if length == 1 { vec![driven] } else { draft.split(&driven, 0, &lengths) };

    let state = |draft: &mut Draft, place: usize| match site.input(place) {
        Some(initial) => draft.reshape(initial, &[batch, hidden]),
        None => {
            let zeros = usize::try_from(batch * hidden).unwrap_or_default();
            draft.floats(&[batch, hidden], &vec![0.0; zeros])
        }
    };
    let mut last = state(draft, 5);
    let mut cell = if kind == "LSTM" { state(draft, 6) } else { String::new() };
    // How much the cell adds to the gates: input, output, forget.
    let peepholes = site.input(7).map(|weights| draft.split(weights, 1, &[hidden; 3])).unwrap_or_default();
    let seen = |draft: &mut Draft, gate: &str, cell: &str, place: usize| match peepholes.get(place) {
        Some(weights) => {
            let part = draft.binary("Mul", weights, cell);
            draft.binary("Add", gate, &part)
        }
        None => gate.to_owned(),
    };
    let cut = vec![hidden; usize::try_from(gates).ok()?];
    let mut results = vec![String::new(); steps.len()];
    let order: Vec<usize> =
        if direction == "reverse" { (0..steps.len()).rev().collect() } else { (0..steps.len()).collect() };
    for step in order {
        let driven = steps.get(step)?;
        let mut recurrent = draft.apply("MatMul", &[&last, &recurrence]);
        if let Some(shift) = &shift {
            recurrent = draft.binary("Add", &recurrent, shift);
        }
        let (last_before, cell_before) = (last.clone(), cell.clone());
        last = match kind {
            "RNN" => {
                let sum = draft.binary("Add", driven, &recurrent);
                functions.apply(draft, 0, &sum)?
            }
            "LSTM" => {
                let sum = draft.binary("Add", driven, &recurrent);
                let parts = draft.split(&sum, 1, &cut);
                let [input, output, forget, new] = parts.as_slice() else { return None };
                let input = seen(draft, input, &cell, 0);
                let input = functions.apply(draft, 0, &input)?;
                let forget = if functions.coupled {
                    let one = draft.number(1.0);
                    draft.binary("Sub", &one, &input)
                } else {
                    let forget = seen(draft, forget, &cell, 2);
                    functions.apply(draft, 0, &forget)?
                };
                let new = functions.apply(draft, 1, new)?;
                let (kept, added) = (draft.binary("Mul", &forget, &cell), draft.binary("Mul", &input, &new));
                cell = draft.binary("Add", &kept, &added);
                let output = seen(draft, output, &cell, 1);
                let (output, bent) = (functions.apply(draft, 0, &output)?, functions.apply(draft, 2, &cell)?);
                draft.binary("Mul", &output, &bent)
            }
            _ => {
                let (from_input, from_state) = (draft.split(driven, 1, &cut), draft.split(&recurrent, 1, &cut));
                let ([update, reset, new], [update_back, reset_back, new_back]) =
                    (from_input.as_slice(), from_state.as_slice())
                else {
                    return None;
                };
                let gate = |draft: &mut Draft, left: &str, right: &str| {
                    let sum = draft.binary("Add", left, right);
                    functions.apply(draft, 0, &sum)
                };
                let update = gate(draft, update, update_back)?;
                let reset = gate(draft, reset, reset_back)?;
                let reset = if reset_late {
                    draft.binary("Mul", &reset, new_back)
                } else {
                    let kept = draft.binary("Mul", &reset, &last);
                    let part = draft.slice(&recurrence, &[1], &[2 * hidden], &[3 * hidden]);
                    let mut product = draft.apply("MatMul", &[&kept, &part]);
                    if let Some(shift) = &shift {
                        let part = draft.slice(shift, &[1], &[2 * hidden], &[3 * hidden]);
                        product = draft.binary("Add", &product, &part);
                    }
                    product
                };
                let sum = draft.binary("Add", new, &reset);
                let new = functions.apply(draft, 1, &sum)?;
                // (1 - update) * new + update * last
                let difference = draft.binary("Sub", &last, &new);
                let moved = draft.binary("Mul", &update, &difference);
                draft.binary("Add", &new, &moved)
            }
        };
        match masks.get(step) {
            // Behind the end of a sequence nothing comes out, and nothing changes.
            Some(mask) => {
                *results.get_mut(step)? = draft.binary("Mul", &last, mask);
                last = moved(draft, mask, &last_before, &last);
                if kind == "LSTM" {
                    cell = moved(draft, mask, &cell_before, &cell);
                }
            }
            None => last.clone_into(results.get_mut(step)?),
        }
    }
    if let Some(output) = site.output(0).filter(|_| site.is_read(0)) {
        let parts: Vec<&str> = results.iter().map(String::as_str).collect();
        let all = draft.concat(&parts, 0);
        let shaped = draft.reshape(&all, &[length, 1, batch, hidden]);
        draft.yields(&shaped, output);
    }
    for (place, value) in [(1, &last), (2, &cell)] {
        if let Some(output) = site.output(place).filter(|_| site.is_read(place)) {
            let shaped = draft.reshape(value, &[1, batch, hidden]);
            draft.yields(&shaped, output);
        }
    }
    Some(())
}

/// Whether the network is fed or computes the lengths of sequences.
fn is_fed_lengths(site: &Site<'_>) -> bool {
    site.input(4).is_some_and(|lengths| !site.facts.is_constant(lengths))
}

/// For each step 1 where a sequence goes on and 0 behind its end, `[batch, 1]`; none where all are whole.
fn masks(site: &Site<'_>, draft: &mut Draft, length: i64, batch: i64) -> Option<Vec<String>> {
    let Some(lengths) = site.input(4) else { return Some(Vec::new()) };
    let known = site.constant(4).and_then(|tensor| read_integers(tensor).ok());
    if known.is_some_and(|lengths| lengths.iter().all(|found| *found == length)) {
        return Some(Vec::new());
    }
    let lengths = draft.cast(lengths, ElementType::Float32);
    let lengths = draft.reshape(&lengths, &[batch, 1]);
    let mask = |step: i64| {
        let step = draft.number(step as f64);
        let goes_on = draft.binary("Less", &step, &lengths);
        draft.cast(&goes_on, ElementType::Float32)
    };
    Some((0..length).map(mask).collect())
}

/// Goes from one value to another where a mask is 1.
fn moved(draft: &mut Draft, mask: &str, from: &str, to: &str) -> String {
    let way = draft.binary("Sub", to, from);
    let way = draft.binary("Mul", &way, mask);
    draft.binary("Add", from, &way)
}
