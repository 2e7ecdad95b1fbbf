//! Outputs of the network that a node with several outputs computes, in ONNX or in OpenVINO.

use super::build::Builder;
use super::{Pass, PassError};
use crate::onnx::proto::NodeProto;
use crate::onnx::{FreshNames, Known, Patch, integers, is_onnx_domain, node_label};

/// An operator that has one output, and several in OpenVINO, and the sizes of its output. There a node that does nothing has
/// the name with the number.
const SEVERAL_IN_OPENVINO: &str = "NonMaxSuppression";
const CHOSEN: [i64; 2] = [-1, 3];

/// Gives outputs of the network a node of their own where the node that computes them has several outputs.
#[derive(Clone, Copy, Debug)]
pub struct NamedOutputs;

impl Pass for NamedOutputs {
    fn name(&self) -> &'static str {
        "outputs-with-names"
    }

    fn reason(&self) -> &'static str {
        "the ONNX importer of OpenVINO names the outputs of a node with several of them after its last, with a number"
    }

    fn apply<'model>(&self, model: &'model Known<'model>) -> Result<Option<Patch>, PassError> {
        let mut builder = Builder::new(model.opset(), FreshNames::of(model));
        let mut patch = Patch::default();
        let is_chosen = |node: &NodeProto| node.op_type() == SEVERAL_IN_OPENVINO;
        let has_several =
            |node: &NodeProto| (node.output.len() > 1 || is_chosen(node)) && is_onnx_domain(node.domain());
        for (place, node) in model.graph().node.iter().enumerate().filter(|(_, node)| has_several(node)) {
            // People find it as before.
            let mut renamed = NodeProto { name: Some(node_label(node).name), ..node.clone() };
            let mut named = Vec::new();
            for output in renamed.output.iter_mut().filter(|output| model.reads().is_output(output)) {
                let inner = builder.name(&format!("{output}/{}", node.op_type()));
                named.push(if is_chosen(node) {
                    let sizes = builder.name(&format!("{output}/sizes"));
                    builder.constants.push(integers(&sizes, &[CHOSEN.len() as i64], &CHOSEN));
                    builder.node("Reshape", &[&inner, &sizes], &[output])
                } else {
                    builder.node("Identity", &[&inner], &[output])
                });
                *output = inner;
            }
            if !named.is_empty() {
                named.insert(0, renamed);
                patch.replace(place, named);
            }
        }
        patch.added_initializers = builder.constants;
        Ok(Some(patch))
    }
}
