//! Quantized operators of ONNX Runtime, between dequantization and quantization.

use super::super::super::build::{float, integer};
use super::super::super::draft::{Draft, Site};
use super::super::scheme::integers;
use crate::onnx::proto::{AttributeProto, NodeProto};
use crate::onnx::read_floats;

/// Dequantizes the input at a place, whose scale and zero point follow it.
fn dequantized(site: &Site<'_>, draft: &mut Draft, place: usize, axis: i64) -> Option<String> {
    let mut inputs = vec![site.input(place)?, site.input(place + 1)?];
    inputs.extend(site.input(place + 2));
    Some(draft.apply_with("DequantizeLinear", &inputs, vec![integer("axis", axis)]))
}

pub(super) fn rewrite(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    // The place of the scale of the result; its zero point follows.
    let (result, scale) = match site.node.op_type() {
        operator @ ("DequantizeLinear" | "QuantizeLinear") => {
            let inputs: Vec<&str> =
                site.node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
            let result = draft.apply_with(operator, &inputs, site.node.attribute.clone());
            draft.yields(&result, site.output(0)?);
            return Some(());
        }
        // What is computed with numbers has the type of the scales.
        _ => {
            let scale = if site.node.op_type() == "QLinearConcat" { 0 } else { 1 };
            draft.begin(site.output(0)?, site.facts.element(site.input(scale)?).filter(|it| it.is_float())?);
            numbers(site, draft)?
        }
    };
    if site.input(scale).is_none() {
        draft.yields(&result, site.output(0)?);
        return Some(());
    }
    let mut inputs = vec![result.as_str(), site.input(scale)?];
    inputs.extend(site.input(scale + 1));
    let quantized = draft.apply("QuantizeLinear", &inputs);
    draft.yields(&quantized, site.output(0)?);
    Some(())
}

/// Computes with numbers; returns the result and the place of its scale.
fn numbers(site: &Site<'_>, draft: &mut Draft) -> Option<(String, usize)> {
    match site.node.op_type() {
        "QLinearAdd" | "QLinearMul" => {
            let operator = if site.node.op_type() == "QLinearAdd" { "Add" } else { "Mul" };
            let left = dequantized(site, draft, 0, 0)?;
            let right = dequantized(site, draft, 3, 0)?;
            Some((draft.binary(operator, &left, &right), 6))
        }
        "QLinearConcat" => {
            let count = site.node.input.len();
            let parts = (2..count).step_by(3).map(|place| dequantized(site, draft, place, 0));
            let parts = parts.collect::<Option<Vec<_>>>()?;
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let attributes = site.node.attribute.clone();
            Some((draft.apply_with("Concat", &parts, attributes), 0))
        }
        "QLinearSigmoid" => {
            let input = dequantized(site, draft, 0, 0)?;
            Some((draft.unary("Sigmoid", &input), 3))
        }
        "QLinearLeakyRelu" => {
            let input = dequantized(site, draft, 0, 0)?;
            let alpha = float("alpha", site.float("alpha", 0.01) as f32);
            Some((draft.apply_with("LeakyRelu", &[&input], vec![alpha]), 3))
        }
        "QLinearSoftmax" => Some((softmax(site, draft)?, 3)),
        "QLinearAveragePool" => Some((pooled(site, draft, "AveragePool")?, 3)),
        "QLinearGlobalAveragePool" => Some((pooled(site, draft, "GlobalAveragePool")?, 3)),
        "QGemm" => Some((gemm(site, draft)?, 7)),
        _ => None,
    }
}

/// The first operator set whose `Softmax` is along one axis.
const ONE_AXIS: i64 = 13;

fn softmax(site: &Site<'_>, draft: &mut Draft) -> Option<String> {
    let input = dequantized(site, draft, 0, 0)?;
    let sizes = site.sizes(0)?;
    let axis = Site::axis(site.integer("axis").unwrap_or(-1), sizes.len())?;
    if site.integer("opset")? >= ONE_AXIS {
        draft.softmax(&input, axis, sizes.len())
    } else {
        draft.coerced_softmax("Softmax", &input, axis, &sizes)
    }
}

fn pooled(site: &Site<'_>, draft: &mut Draft, operator: &str) -> Option<String> {
    let input = dequantized(site, draft, 0, 0)?;
    let is_own = |attribute: &&AttributeProto| attribute.name() == "channels_last";
    let attributes = site.node.attribute.iter().filter(|attribute| !is_own(attribute)).cloned().collect();
    if site.integer("channels_last").is_none_or(|value| value == 0) {
        return Some(draft.apply_with(operator, &[&input], attributes));
    }
    let last = site.rank(0)?.checked_sub(1)?;
    let forth: Vec<usize> = [0, last].into_iter().chain(1..last).collect();
    let back: Vec<usize> = [0].into_iter().chain(2..=last).chain([1]).collect();
    let turned = draft.transpose(&input, &forth);
    let result = draft.apply_with(operator, &[&turned], attributes);
    Some(draft.transpose(&result, &back))
}

fn gemm(site: &Site<'_>, draft: &mut Draft) -> Option<String> {
    let is_turned = site.integer("transB").is_some_and(|value| value != 0);
    let left = dequantized(site, draft, 0, 0)?;
    let right = dequantized(site, draft, 3, if is_turned { 0 } else { 1 })?;
    let mut inputs = vec![left, right];
    if let Some(name) = site.input(6) {
        let tensor = site.facts.constant(name)?;
        let (left, right) = (read_floats(site.constant(1)?).ok()?, read_floats(site.constant(4)?).ok()?);
        let factor = site.float("alpha", 1.0) * left.first()?;
        // Scales of columns, or one for all.
        let numbers = integers(tensor)?.into_iter().zip(right.iter().cycle()).map(|(sum, right)| sum * factor * right);
        let numbers: Vec<f64> = numbers.collect();
        inputs.push(draft.floats(&tensor.dims, &numbers));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    Some(draft.apply_with("Gemm", &inputs, site.node.attribute.clone()))
}

/// Products with weights of integers and a value that is quantized where it is used: the product of the numbers themselves.
pub(super) fn dynamic(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    match site.node.op_type() {
        "DynamicQuantizeMatMul" => {
            let right = weights(site, draft, [1, 2, 3], -1)?;
            product(site, draft, site.input(0)?, &right, site.input(4))
        }
        "MatMulIntegerToFloat" => {
            draft.begin(site.output(0)?, site.facts.element(site.input(2)?).filter(|it| it.is_float())?);
            let left = quantized_from(site, [2, 4]).or_else(|| weights(site, draft, [0, 2, 4], -2))?;
            let right = weights(site, draft, [1, 3, 5], -1)?;
            product(site, draft, &left, &right, site.input(6))
        }
        "DynamicQuantizeLSTM" => recurrence(site, draft),
        "QAttention" => attention(site, draft),
        "QEmbedLayerNormalization" => embedding(site, draft),
        _ => None,
    }
}

/// Dequantizes a constant, or what is quantized by constants.
fn weights(site: &Site<'_>, draft: &mut Draft, places: [usize; 3], axis: i64) -> Option<String> {
    let [value, scale, zero] = places;
    let mut inputs = vec![site.input(value)?, site.input(scale)?];
    site.facts.is_constant(site.input(scale)?).then_some(())?;
    inputs.extend(site.input(zero));
    Some(draft.apply_with("DequantizeLinear", &inputs, vec![integer("axis", axis)]))
}

/// What the first input of a node is quantized from, if it is by itself.
fn quantized_from(site: &Site<'_>, [scale, zero]: [usize; 2]) -> Option<String> {
    let quantizer = site.model.graph().node.get(site.reads.producer(site.input(0)?)?)?;
    let is = |place: usize, output: usize| site.input(place) == quantizer.output.get(output).map(String::as_str);
    let fits = quantizer.op_type() == "DynamicQuantizeLinear" && is(0, 0) && is(scale, 1) && is(zero, 2);
    quantizer.input.first().filter(|_| fits).cloned()
}

/// Attention whose input and weights are quantized; the bias is not.
fn attention(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    draft.begin(site.output(0)?, site.facts.element(site.input(2)?).filter(|it| it.is_float())?);
    let value = quantized_from(site, [3, 6]).or_else(|| weights(site, draft, [0, 3, 6], 0))?;
    let matrix = weights(site, draft, [1, 4, 7], -1)?;
    let own = |place: usize| site.input(place).unwrap_or_default().to_owned();
    let inputs = [value, matrix, site.input(2)?.to_owned(), own(5), own(8)];
    plain(site, draft, "Attention", &inputs);
    Some(())
}

/// Tables that are quantized, each with a scale and a zero point behind them.
fn embedding(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let mut inputs = vec![site.input(0)?.to_owned(), site.input(1).unwrap_or_default().to_owned()];
    for place in 2..7 {
        let table = if site.input(place).is_some() {
            weights(site, draft, [place, place + 6, place + 11], 0)?
        } else {
            String::new()
        };
        inputs.push(table);
    }
    inputs.push(site.input(7).unwrap_or_default().to_owned());
    plain(site, draft, "EmbedLayerNormalization", &inputs);
    Some(())
}

/// Writes another operator of ONNX Runtime with the attributes and results of the node.
fn plain(site: &Site<'_>, draft: &mut Draft, operator: &str, inputs: &[String]) {
    let last = inputs.iter().rposition(|input| !input.is_empty());
    draft.keep(NodeProto {
        op_type: Some(operator.to_owned()),
        input: inputs.iter().take(last.map_or(0, |last| last + 1)).cloned().collect(),
        ..site.node.clone()
    });
}

fn product(site: &Site<'_>, draft: &mut Draft, left: &str, right: &str, shift: Option<&str>) -> Option<()> {
    let mut result = draft.apply("MatMul", &[left, right]);
    if let Some(shift) = shift {
        result = draft.binary("Add", &result, shift);
    }
    draft.yields(&result, site.output(0)?);
    Some(())
}

/// Weights stand the other way round than those of ONNX, and have a scale for each direction or each gate.
fn recurrence(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let mut matrices = Vec::new();
    for [value, scale, zero] in [[1, 8, 9], [2, 10, 11]] {
        let tensor = site.constant(value)?;
        let &[directions, rows, columns] = tensor.dims.as_slice() else { return None };
        let (scales, zeros) = (read_floats(site.constant(scale)?).ok()?, integers(site.constant(zero)?)?);
        let columns = usize::try_from(columns).ok().filter(|count| *count > 0)?;
        let each = usize::try_from(rows).ok()?.checked_mul(columns).filter(|count| *count > 0)?;
        let directions = usize::try_from(directions).ok().filter(|count| *count > 0)?;
        let steps = scales.len().checked_div(directions).filter(|steps| [1, columns].contains(steps))?;
        if scales.len() != zeros.len() || steps * directions != scales.len() {
            return None;
        }
        let numbers = integers(tensor)?.into_iter().enumerate().map(|(place, value)| {
            let step = place / each * steps + if steps == 1 { 0 } else { place % columns };
            Some((value - zeros.get(step)?) * scales.get(step)?)
        });
        let numbers = numbers.collect::<Option<Vec<f64>>>()?;
        let matrix = draft.floats(&tensor.dims, &numbers);
        matrices.push(draft.transpose(&matrix, &[0, 2, 1]));
    }
    let mut inputs: Vec<&str> = site.node.input.iter().take(8).map(String::as_str).collect();
    for (place, matrix) in matrices.iter().enumerate() {
        *inputs.get_mut(place + 1)? = matrix;
    }
    while inputs.last() == Some(&"") {
        inputs.pop();
    }
    let results = draft.apply_many("LSTM", &inputs, site.node.output.len(), site.node.attribute.clone());
    for (place, result) in results.iter().enumerate() {
        if let Some(output) = site.output(place) {
            draft.yields(result, output);
        }
    }
    Some(())
}
