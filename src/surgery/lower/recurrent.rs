//! Recurrent layers, in the one form that the compiler takes or step by step.

use super::super::build::text;
use super::super::draft::{Draft, Site};
use crate::onnx::proto::{AttributeProto, AttributeType};
use crate::onnx::read_integers;

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
    let (gates, longest) = match kind {
        "GRU" => (3, LONGEST_SEQUENCE),
        "RNN" => (1, LONGEST_SEQUENCE),
        // The compiler knows no peepholes.
        "LSTM" if site.input(7).is_some() => (4, LONGEST_SEQUENCE),
        "LSTM" => (4, LONGEST_LSTM),
        _ => return None,
    };
    let hidden = site.integer("hidden_size")?;
    let rows = gates * hidden;
    let direction = site.text("direction", "forward");
    let activation = plain_activation(site);
    let usual = ["activations", "clip", "input_forget"].iter().all(|name| site.attribute(name).is_none())
        || has_usual_activations(site, kind)
        || kind == "RNN" && activation.is_some();
    let whole = site.input(4).is_none()
        || site
            .constant(4)
            .and_then(|tensor| read_integers(tensor).ok())
            .is_some_and(|lengths| lengths.iter().all(|found| *found == length));
    let is_plain = usual && whole && site.integer("layout") != Some(1);
    if !(1..=longest).contains(&length) || !is_plain || direction == "bidirectional" {
        return None;
    }
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
        last = match kind {
            "RNN" => {
                let sum = draft.binary("Add", driven, &recurrent);
                draft.unary(activation.unwrap_or("Tanh"), &sum)
            }
            "LSTM" => {
                let sum = draft.binary("Add", driven, &recurrent);
                let parts = draft.split(&sum, 1, &cut);
                let [input, output, forget, new] = parts.as_slice() else { return None };
                let [input, forget] = [(input, 0), (forget, 2)].map(|(gate, place)| {
                    let gate = seen(draft, gate, &cell, place);
                    draft.unary("Sigmoid", &gate)
                });
                let new = draft.unary("Tanh", new);
                let (kept, added) = (draft.binary("Mul", &forget, &cell), draft.binary("Mul", &input, &new));
                cell = draft.binary("Add", &kept, &added);
                let output = seen(draft, output, &cell, 1);
                let (output, bent) = (draft.unary("Sigmoid", &output), draft.unary("Tanh", &cell));
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
                    draft.unary("Sigmoid", &sum)
                };
                let update = gate(draft, update, update_back);
                let reset = gate(draft, reset, reset_back);
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
                let new = draft.unary("Tanh", &sum);
                // (1 - update) * new + update * last
                let difference = draft.binary("Sub", &last, &new);
                let moved = draft.binary("Mul", &update, &difference);
                draft.binary("Add", &new, &moved)
            }
        };
        last.clone_into(results.get_mut(step)?);
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

/// The only activation of an `RNN`, if it is an operator without parameters and nothing is limited.
fn plain_activation(site: &Site<'_>) -> Option<&'static str> {
    let [activation] = site.attribute("activations")?.strings.as_slice() else { return None };
    let is_known = |known: &&&str| activation.eq_ignore_ascii_case(known.as_bytes());
    ["Relu", "Sigmoid", "Tanh"].iter().find(is_known).copied().filter(|_| site.attribute("clip").is_none())
}

/// Whether the activations are stated and the usual ones, and nothing else is.
fn has_usual_activations(site: &Site<'_>, kind: &str) -> bool {
    let usual: &[&str] = match kind {
        "GRU" => &["Sigmoid", "Tanh"],
        "LSTM" => &["Sigmoid", "Tanh", "Tanh"],
        _ => &["Tanh"],
    };
    let stated = site.attribute("activations").map(|attribute| attribute.strings.as_slice());
    let agrees =
        stated.is_none_or(|stated| stated.iter().map(|text| &text[..]).eq(usual.iter().map(|it| it.as_bytes())));
    agrees && site.attribute("clip").is_none() && site.integer("input_forget").is_none_or(|value| value == 0)
}
