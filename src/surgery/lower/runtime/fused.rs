//! Several operators that the optimizer of ONNX Runtime made one of, taken apart.

use super::super::super::build::{float, integer, text};
use super::super::super::draft::{Draft, Site};
use crate::onnx::proto::AttributeProto;

pub(super) fn rewrite(site: &Site<'_>, draft: &mut Draft) -> Option<()> {
    let (input, output) = (site.input(0)?, site.output(0)?);
    let result = match site.node.op_type() {
        "Gelu" => gelu(draft, input, "none"),
        "BiasGelu" => {
            let raised = draft.binary("Add", input, site.input(1)?);
            gelu(draft, &raised, "none")
        }
        "FastGelu" => match site.input(1) {
            Some(shift) => {
                let raised = draft.binary("Add", input, shift);
                gelu(draft, &raised, "tanh")
            }
            None => gelu(draft, input, "tanh"),
        },
        "QuickGelu" => {
            let scaled = draft.with_number("Mul", input, site.float("alpha", 1.702));
            let gate = draft.unary("Sigmoid", &scaled);
            draft.binary("Mul", input, &gate)
        }
        "FusedConv" => convolution(site, draft)?,
        "FusedGemm" => {
            let attributes = without(site, |name| name.starts_with("activation"));
            let sum = draft.apply_with("Gemm", &inputs(site, 3), attributes);
            let parameter = |name: &str| site.attribute(name).and_then(|attribute| attribute.f);
            let parameters = [parameter("activation_alpha"), parameter("activation_beta")];
            activated(site, draft, &sum, parameters)?
        }
        "FusedMatMul" => product(site, draft)?,
        "SkipLayerNormalization" => return skipped(site, draft, "LayerNormalization"),
        "SkipSimplifiedLayerNormalization" => return skipped(site, draft, "RMSNormalization"),
        _ => return None,
    };
    draft.yields(&result, output);
    Some(())
}

fn gelu(draft: &mut Draft, input: &str, approximate: &str) -> String {
    draft.apply_with("Gelu", &[input], vec![text("approximate", approximate)])
}

/// The first inputs of a node, without those left out at the end.
fn inputs<'site>(site: &'site Site<'_>, count: usize) -> Vec<&'site str> {
    let mut inputs: Vec<&str> = site.node.input.iter().take(count).map(String::as_str).collect();
    while inputs.last() == Some(&"") {
        inputs.pop();
    }
    inputs
}

fn without(site: &Site<'_>, is_own: impl Fn(&str) -> bool) -> Vec<AttributeProto> {
    site.node.attribute.iter().filter(|attribute| !is_own(attribute.name())).cloned().collect()
}

fn convolution(site: &Site<'_>, draft: &mut Draft) -> Option<String> {
    let attributes = without(site, |name| name.starts_with("activation"));
    let mut result = draft.apply_with("Conv", &inputs(site, 3), attributes);
    if let Some(other) = site.input(3) {
        result = draft.binary("Add", &result, other);
    }
    let given = site.attribute("activation_params").map_or(&[][..], |attribute| attribute.floats.as_slice());
    activated(site, draft, &result, [given.first().copied(), given.get(1).copied()])
}

/// Applies the activation that a node names, with the parameters that it has.
fn activated(site: &Site<'_>, draft: &mut Draft, value: &str, parameters: [Option<f32>; 2]) -> Option<String> {
    let activation = site.text("activation", "");
    let [alpha, beta] = parameters;
    let attributes = match (&*activation, parameters) {
        ("", _) => return Some(value.to_owned()),
        ("Clip", [Some(least), Some(greatest)]) => return Some(draft.clip(value, [least.into(), greatest.into()])),
        ("Relu" | "Sigmoid" | "Softplus" | "Softsign" | "Tanh", _) => Vec::new(),
        ("LeakyRelu" | "Elu" | "ThresholdedRelu", [Some(alpha), _]) => vec![float("alpha", alpha)],
        ("HardSigmoid", [Some(_), Some(_)]) => {
            let named = [("alpha", alpha), ("beta", beta)];
            named.into_iter().filter_map(|(name, value)| Some(float(name, value?))).collect()
        }
        _ => return None,
    };
    Some(draft.apply_with(&activation, &[value], attributes))
}

fn product(site: &Site<'_>, draft: &mut Draft) -> Option<String> {
    let flag = |name: &str| site.integer(name).is_some_and(|value| value != 0);
    let mut side = |place: usize, [turned, with_batch]: [&str; 2]| {
        let input = site.input(place)?;
        if !flag(turned) && !flag(with_batch) {
            return Some(input.to_owned());
        }
        let rank = site.rank(place)?;
        let last = rank.checked_sub(2)?;
        let mut order: Vec<usize> = (0..rank).collect();
        if flag(with_batch) {
            // The rows stand first, before the axes of the batch.
            order.get_mut(..=last)?.rotate_left(1);
        }
        if flag(turned) {
            order.swap(last, last + 1);
        }
        Some(draft.transpose(input, &order))
    };
    let left = side(0, ["transA", "transBatchA"])?;
    let right = side(1, ["transB", "transBatchB"])?;
    let result = draft.apply("MatMul", &[&left, &right]);
    let alpha = site.float("alpha", 1.0);
    Some(if alpha == 1.0 { result } else { draft.with_number("Mul", &result, alpha) })
}

/// Writes the normalization of a sum as a sum and a normalization.
fn skipped(site: &Site<'_>, draft: &mut Draft, operator: &str) -> Option<()> {
    let is_simple = operator == "RMSNormalization";
    let shift = if is_simple { None } else { site.input(3) };
    let bias = site.input(if is_simple { 3 } else { 4 });
    if site.is_read(1) || site.is_read(2) {
        return None;
    }
    let mut sum = draft.binary("Add", site.input(0)?, site.input(1)?);
    if let Some(bias) = bias {
        sum = draft.binary("Add", &sum, bias);
    }
    let inputs: Vec<&str> = [sum.as_str(), site.input(2)?].into_iter().chain(shift).collect();
    let attributes = vec![integer("axis", -1), float("epsilon", site.float("epsilon", 1e-12) as f32)];
    let result = draft.apply_with(operator, &inputs, attributes);
    draft.yields(&result, site.output(0)?);
    if let Some(output) = site.output(3) {
        draft.yields(&sum, output);
    }
    Some(())
}
