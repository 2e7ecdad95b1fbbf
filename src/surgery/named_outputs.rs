//! Outputs of the network that a node with several outputs computes.

use super::build::Builder;
use super::{Pass, PassError};
use crate::onnx::proto::NodeProto;
use crate::onnx::{FreshNames, Known, Patch, is_onnx_domain, node_label};

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
        let has_several = |node: &NodeProto| node.output.len() > 1 && is_onnx_domain(node.domain());
        for (place, node) in model.graph().node.iter().enumerate().filter(|(_, node)| has_several(node)) {
            // People find it as before.
            let mut renamed = NodeProto { name: Some(node_label(node).name), ..node.clone() };
            let mut named = Vec::new();
            for output in renamed.output.iter_mut().filter(|output| model.reads().is_output(output)) {
                let inner = builder.name(&format!("{output}/{}", node.op_type()));
                named.push(builder.node("Identity", &[&inner], &[output]));
                *output = inner;
            }
            if !named.is_empty() {
                named.insert(0, renamed);
                patch.replace(place, named);
            }
        }
        Ok(Some(patch))
    }
}
