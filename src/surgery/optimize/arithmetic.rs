//! Divisions and subtractions of constants.

use super::super::draft::{Draft, Site, rewrite_nodes};
use super::super::{Pass, PassError};
use crate::onnx::{Known, Patch, read_floats};

/// Multiplies with the reciprocal of a constant instead of dividing by it.
#[derive(Clone, Copy, Debug)]
pub struct DivisionToMultiplication;

impl Pass for DivisionToMultiplication {
    fn name(&self) -> &'static str {
        "substitute-div-with-mul"
    }

    fn reason(&self) -> &'static str {
        "a multiplication is cheaper and can be folded into convolutions"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let inverse = |value: f64| Some(1.0 / value).filter(|inverse| inverse.is_finite() && *inverse != 0.0);
        rewrite_nodes(model, |node| node.op_type() == "Div", |site, draft| replace(site, draft, "Mul", inverse))
    }
}

/// Adds the negative of a constant instead of subtracting it.
#[derive(Clone, Copy, Debug)]
pub struct SubtractionToAddition;

impl Pass for SubtractionToAddition {
    fn name(&self) -> &'static str {
        "substitute-sub-with-add"
    }

    fn reason(&self) -> &'static str {
        "an addition can be folded into convolutions"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        rewrite_nodes(
            model,
            |node| node.op_type() == "Sub",
            |site, draft| replace(site, draft, "Add", |value| Some(-value)),
        )
    }
}

fn replace(site: &Site<'_>, draft: &mut Draft, operator: &str, change: impl Fn(f64) -> Option<f64>) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let constant = site.constant(1)?;
    // Tools recognize functions like Gelu by the division before the error function.
    let nodes = &site.model.graph().node;
    let mut readers = site.reads.readers(output).iter().filter_map(|place| nodes.get(*place));
    if site.constant(0).is_some() || site.opset() < 7 || readers.any(|reader| reader.op_type() == "Erf") {
        return None;
    }
    if !site.facts.element(site.input(1)?)?.is_float() {
        return None;
    }
    let values = read_floats(constant).ok()?.into_iter().map(change).collect::<Option<Vec<f64>>>()?;
    let other = draft.floats(&constant.dims, &values);
    let result = draft.binary(operator, input, &other);
    draft.yields(&result, output);
    Some(())
}
