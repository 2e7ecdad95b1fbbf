//! `HardSigmoid` as arithmetic.

use super::build::{Along, Builder};
use super::{Pass, PassError};
use crate::onnx::proto::NodeProto;
use crate::onnx::{ElementType, FreshNames, Known, Patch, TensorError, element_types, is_onnx_domain, node_label};

/// Rewrites `HardSigmoid(x)` as `Clip(alpha * x + beta, 0, 1)`, which is its definition.
#[derive(Clone, Copy, Debug)]
pub struct LowerHardSigmoid;

impl Pass for LowerHardSigmoid {
    fn name(&self) -> &'static str {
        "hard-sigmoid-to-clip"
    }

    fn reason(&self) -> &'static str {
        "the MYRIAD compiler has no HardSigmoid"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let is_hard_sigmoid = |node: &NodeProto| node.op_type() == "HardSigmoid" && is_onnx_domain(node.domain());
        let nodes = model.graph().node.iter().enumerate();
        let found: Vec<_> = nodes.filter(|(_, node)| is_hard_sigmoid(node)).collect();
        if found.is_empty() {
            return Ok(None);
        }
        let types = element_types(model);
        let mut builder = Builder::new(model.opset(), FreshNames::of(model));
        let mut patch = Patch::default();
        for (place, node) in found {
            let (Some(input), Some(output)) = (node.input.first(), node.output.first()) else {
                continue;
            };
            let unknown = || PassError::UnknownElementType { node: node_label(node), value: input.clone() };
            let element = types.get(input.as_str()).copied().ok_or_else(unknown)?;
            let lowered = lower(node, [input, output], element, &mut builder)
                .map_err(|source| PassError::Constant { node: node_label(node), source })?;
            patch.replace(place, lowered);
        }
        patch.added_initializers = builder.constants;
        Ok(Some(patch))
    }
}

fn lower(
    node: &NodeProto,
    [input, output]: [&str; 2],
    element: ElementType,
    builder: &mut Builder,
) -> Result<Vec<NodeProto>, TensorError> {
    let parameter = |name: &str, default: f32| {
        let attribute = node.attribute.iter().find(|attribute| attribute.name() == name);
        f64::from(attribute.and_then(|attribute| attribute.f).unwrap_or(default))
    };
    let (alpha, beta) = (parameter("alpha", 0.2), parameter("beta", 0.5));
    let scaled = builder.name(&format!("{output}/scaled"));
    let shifted = builder.name(&format!("{output}/shifted"));
    Ok(vec![
        builder.arithmetic("Mul", [input, &scaled], (element, &[alpha], Along::Everything))?,
        builder.arithmetic("Add", [&scaled, &shifted], (element, &[beta], Along::Everything))?,
        builder.clip([&shifted, output], element, [0.0, 1.0])?,
    ])
}
