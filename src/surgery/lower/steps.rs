//! Small integers that a network gives out or goes through.
//!
//! Integers of 8 and 16 bits are halves to the compiler, which neither rounds to them nor cuts anything off, so that has to
//! be written.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::draft::{Draft, Site};
use super::quantized::{MOVING, limited};
use super::scheme::{Scheme, integers};
use crate::onnx::proto::NodeProto;
use crate::onnx::{Attributes, ElementType, Facts, Model, Reads, is_onnx_domain, is_runtime_domain, read_floats};

/// The first operator set that rounds, and compares floating numbers for equality.
const ROUND: i64 = 11;
/// The first operator set whose comparisons and `Where` do as NumPy does.
const COMPARISONS: i64 = 9;
/// How many nodes are looked at to see that a value is whole.
const MOST_SEEN: usize = 16;

const fn is_small(element: ElementType) -> bool {
    matches!(element, ElementType::Uint8 | ElementType::Int8 | ElementType::Uint16 | ElementType::Int16)
}

fn target(node: &NodeProto) -> Option<ElementType> {
    let is_cast = node.op_type() == "Cast" && is_onnx_domain(node.domain());
    ElementType::from_code(i32::try_from(Attributes(node).int("to").filter(|_| is_cast)?).ok()?)
}

fn maker<'model>(site: &Site<'model>, value: &str) -> Option<&'model NodeProto> {
    site.model.graph().node.get(site.reads.producer(value)?).filter(|node| is_onnx_domain(node.domain()))
}

/// Writes quantization to integers that are given out or converted as arithmetic, with its rounding.
pub(super) fn rounded(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let output = site.output(0)?;
    let scheme = Scheme::of(site.node, site.facts, Some(ElementType::Uint8)).filter(|it| is_small(it.element))?;
    let is_cast = |place: &usize| site.model.graph().node.get(*place).is_some_and(|node| target(node).is_some());
    if site.opset() < ROUND || !site.is_read(0) || !site.reads.readers(output).iter().all(is_cast) {
        return None;
    }
    let dims = scheme.dims(site.rank(0))?;
    let limited = limited(site, draft, &scheme)?;
    let scales = draft.floats(&dims, &scheme.scales);
    let steps = draft.binary("Div", &limited, &scales);
    let mut result = draft.unary("Round", &steps);
    if scheme.zeros.iter().any(|zero| *zero != 0.0) {
        let zeros = draft.floats(&dims, &scheme.zeros);
        result = draft.binary("Add", &result, &zeros);
    }
    let result = draft.cast(&result, scheme.element);
    draft.yields(&result, output);
    Some(())
}

/// Cuts off what stands behind the point before numbers become small integers.
pub(super) fn cut_off(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let input = site.input(0)?;
    let to = target(site.node).filter(|to| is_small(*to))?;
    let is_number = site.facts.element(input).is_some_and(ElementType::is_float);
    if site.opset() < COMPARISONS || !is_number || site.facts.is_constant(input) || is_whole(site, input) {
        return None;
    }
    let zero = draft.number(0.0);
    let is_below = draft.binary("Less", input, &zero);
    let (above, below) = (draft.unary("Ceil", input), draft.unary("Floor", input));
    let cut = draft.apply("Where", &[&is_below, &above, &below]);
    let result = draft.cast(&cut, to);
    draft.yields(&result, site.output(0)?);
    Some(())
}

/// Whether a value has nothing behind the point, as far as the nodes before it tell.
fn is_whole(site: &Site<'_>, value: &str) -> bool {
    let mut waiting = vec![value];
    let mut seen = 0;
    while let Some(value) = waiting.pop() {
        seen += 1;
        if let Some(numbers) = site.facts.floats(value) {
            if numbers.iter().any(|number| number.fract() != 0.0) {
                return false;
            }
            continue;
        }
        let Some(node) = maker(site, value).filter(|_| seen <= MOST_SEEN) else { return false };
        match node.op_type() {
            "Ceil" | "Floor" | "Round" | "Sign" => {}
            "Cast" if node.input.first().and_then(|it| site.facts.element(it)).is_some_and(|it| !it.is_float()) => {}
            "Add" | "Clip" | "Concat" | "Max" | "Min" | "Mul" | "Neg" | "Relu" | "Sub" => {
                waiting.extend(node.input.iter().filter(|name| !name.is_empty()).map(String::as_str));
            }
            // Behind the first are lengths.
            "Split" => waiting.extend(node.input.first().map(String::as_str)),
            "Where" => waiting.extend(node.input.iter().skip(1).map(String::as_str)),
            _ => return false,
        }
    }
    true
}

/// Converts whole numbers at once that go through small integers, which the compiler does not have inside of a network.
pub(super) fn at_once(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let before = maker(site, site.input(0)?)?;
    let (source, to) = (before.input.first()?, target(site.node)?);
    let is_number = site.facts.element(source).is_some_and(ElementType::is_float);
    let is_lost = |element| is_small(element) || matches!(element, ElementType::Uint32 | ElementType::Uint64);
    if !target(before).is_some_and(is_lost) || !is_number || !is_whole(site, source) {
        return None;
    }
    let result = draft.cast(source, to);
    draft.yields(&result, site.output(0)?);
    Some(())
}

/// Writes what is true of numbers as a comparison with zero, which the importer leaves out.
pub(super) fn truth(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let input = site.input(0)?;
    let is_number = site.facts.element(input).is_some_and(ElementType::is_float);
    let is_truth = target(site.node) == Some(ElementType::Boolean) && is_number;
    if !is_truth || site.opset() < ROUND || site.facts.is_constant(input) {
        return None;
    }
    let zero = draft.number(0.0);
    let is_zero = draft.binary("Equal", input, &zero);
    let result = draft.unary("Not", &is_zero);
    draft.yields(&result, site.output(0)?);
    Some(())
}

/// What the integers of an output stand for: `(integer - zero) * scale`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantization {
    /// The scale.
    pub scale: f64,
    /// The zero point.
    pub zero: f64,
}

/// Where operators of quantized networks have the scale of their result; the zero point follows.
const SCALES: &[(&str, usize)] = &[
    ("QGemm", 7),
    ("QLinearAdd", 6),
    ("QLinearAveragePool", 3),
    ("QLinearConcat", 0),
    ("QLinearConv", 6),
    ("QLinearGlobalAveragePool", 3),
    ("QLinearLeakyRelu", 3),
    ("QLinearMatMul", 6),
    ("QLinearMul", 6),
    ("QLinearSigmoid", 3),
    ("QLinearSoftmax", 3),
    ("QuantizeLinear", 1),
];

/// Returns what the integers of those outputs stand for that end with a quantization, where all elements have one scale.
pub fn quantized_outputs(model: &Model, outputs: &[String]) -> BTreeMap<String, Quantization> {
    let (reads, facts) = (Reads::of(model.graph()), Facts::of(model));
    let steps = |output: &str| {
        facts.element(output).filter(|element| is_small(*element))?;
        let mut value = output;
        loop {
            let node = model.graph().node.get(reads.producer(value)?)?;
            let is_own = is_onnx_domain(node.domain());
            if is_own && MOVING.contains(&node.op_type()) {
                value = node.input.get(usize::from(node.op_type() == "Where"))?;
                continue;
            }
            let (_, place) = SCALES.iter().find(|(name, _)| *name == node.op_type())?;
            let constant = |place: usize| facts.constant(node.input.get(place)?);
            let scale = read_floats(constant(*place)?).ok().filter(|_| is_own || is_runtime_domain(node.domain()))?;
            let zero = constant(place + 1).map_or(Some(vec![0.0]), integers)?;
            let (&[scale], &[zero]) = (scale.as_slice(), zero.as_slice()) else { return None };
            return Some(Quantization { scale, zero });
        }
    };
    outputs.iter().filter_map(|output| Some((output.clone(), steps(output)?))).collect()
}
