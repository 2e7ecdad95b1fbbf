//! Products of integers, as numbers: single precision holds their sums exactly up to 2^24.

use super::super::draft::{Draft, Site};
use super::scheme::{Scheme, integers};
use crate::onnx::proto::NodeProto;
use crate::onnx::{ElementType, Facts, element_count, is_onnx_domain};

/// A constant of integers, less its zero point.
pub(super) struct Shifted {
    dims: Vec<i64>,
    numbers: Vec<f64>,
}

impl Shifted {
    /// Reads an operand of `ConvInteger` or `MatMulInteger` (ONNX operator set 10). There is one zero point for all elements,
    /// or one for each column of a right matrix, or for each kernel.
    pub(super) fn of(node: &NodeProto, facts: &Facts<'_>, place: usize) -> Option<Self> {
        let tensor = facts.constant(node.input.get(place)?)?;
        let mut numbers = integers(tensor)?;
        let dims = tensor.dims.clone();
        if let Some(zero) = node.input.get(place + 2).filter(|name| !name.is_empty()) {
            let zeros = integers(facts.constant(zero)?)?;
            // What has a zero point of its own, and how many elements behind each other that is.
            let (count, each) = match (node.op_type(), dims.as_slice()) {
                _ if zeros.len() == 1 => (1, numbers.len()),
                ("ConvInteger", [kernels, each @ ..]) => (*kernels, usize::try_from(element_count(each)?).ok()?),
                ("MatMulInteger", [.., columns]) if place == 1 => (*columns, 1),
                _ => return None,
            };
            if usize::try_from(count).ok()? != zeros.len() {
                return None;
            }
            for (row, zero) in numbers.chunks_mut(each.max(1)).zip(zeros.iter().cycle()) {
                row.iter_mut().for_each(|number| *number -= zero);
            }
        }
        Some(Self { dims, numbers })
    }

    pub(super) fn written(&self, draft: &mut Draft) -> String {
        draft.floats(&self.dims, &self.numbers)
    }
}

/// Writes products of integers that are constants, fed, looked up, or quantized by constants.
pub(super) fn product(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    draft.begin(site.output(0)?, ElementType::Float32);
    let operands = [operand(site, draft, 0)?, operand(site, draft, 1)?];
    let operator = if site.node.op_type() == "ConvInteger" { "Conv" } else { "MatMul" };
    let sum = draft.apply_with(operator, &operands.each_ref().map(String::as_str), site.node.attribute.clone());
    let whole = draft.cast(&sum, ElementType::Int32);
    draft.yields(&whole, site.output(0)?);
    Some(())
}

fn operand(site: &Site<'_>, draft: &mut Draft, place: usize) -> Option<String> {
    if let Some(constant) = Shifted::of(site.node, site.facts, place) {
        return Some(constant.written(draft));
    }
    let (input, zero) = (site.input(place)?, site.input(place + 2));
    if zero.is_some_and(|zero| site.facts.constant(zero).and_then(integers).is_none_or(|zeros| zeros.len() != 1)) {
        return None;
    }
    let maker = site.reads.producer(input).and_then(|place| site.model.graph().node.get(place));
    match maker.filter(|maker| is_onnx_domain(maker.domain())).map(|maker| (maker, maker.op_type())) {
        Some((maker, "QuantizeLinear")) => {
            let &[scale] = Scheme::of(maker, site.facts, None)?.scales.as_slice() else { return None };
            let mut inputs = vec![input, maker.input.get(1)?];
            inputs.extend(zero);
            let numbers = draft.apply("DequantizeLinear", &inputs);
            Some(draft.with_number("Div", &numbers, scale))
        }
        Some((_, "Gather")) => Some(shifted(draft, input, zero)),
        None if site.model.is_fed(input) => Some(shifted(draft, input, zero)),
        _ => None,
    }
}

fn shifted(draft: &mut Draft, input: &str, zero: Option<&str>) -> String {
    let one = draft.number(1.0);
    let mut inputs = vec![input, &one];
    inputs.extend(zero);
    draft.apply("DequantizeLinear", &inputs)
}
